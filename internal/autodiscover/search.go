package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// step is one question to be asked.
type step struct {
	way     Way
	url     string // for SRV the name of the record
	address mailaddr.Address
}

// search is one run of Discover.
type search struct {
	*Client
	rule      rule
	queue     []step
	asked     map[step]bool
	dead      map[string]bool // hosts that nothing more is asked of
	redirects int
	noSignIn  string // why the credential is not shown any more
	result    Result
}

// steps are the questions for an address. The host autodiscover.DOMAIN comes before DOMAIN, which is often a web site at
// somebody else's place.
func (s *search) steps(address mailaddr.Address) []step {
	domain := address.Domain()
	hosts := []string{"autodiscover." + domain, domain}
	for _, h := range s.rule.hosts {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	var steps []step
	for _, way := range s.ways() {
		for _, host := range hosts {
			steps = append(steps, s.step(way, "https://"+host, address))
		}
	}
	if s.Resolver != nil {
		steps = append(steps, step{SRV, "_autodiscover._tcp." + domain, address})
	}
	return steps
}

// ways are those that know the protocol.
func (s *search) ways() []Way {
	if s.Protocol == EAS {
		return []Way{JSON, POX}
	}
	return []Way{JSON, POX, SOAP}
}

// step is the question at a server.
func (s *search) step(way Way, base string, address mailaddr.Address) step {
	path := map[Way]string{POX: "/autodiscover/autodiscover.xml", SOAP: "/autodiscover/autodiscover.svc"}[way]
	if way == JSON {
		path = "/autodiscover/autodiscover.json/v1.0/" + url.PathEscape(string(address)) + "?Protocol=" + map[Protocol]string{EWS: "EWS", EAS: "ActiveSync"}[s.Protocol]
	}
	return step{way, base + path, address}
}

// run asks what is queued until something is found or nothing is left.
func (s *search) run(ctx context.Context) {
	for n := 0; len(s.queue) > 0 && s.result.URL == ""; n++ {
		next := s.queue[0]
		s.queue = s.queue[1:]
		switch {
		case ctx.Err() != nil:
			s.note(next, false, "not asked: the time for all questions is over")
			return
		case n >= maxSteps:
			s.note(next, false, fmt.Sprintf("not asked: more than %d questions", maxSteps))
			return
		case next.way == SRV:
			s.lookUp(ctx, next)
		default:
			s.ask(ctx, next)
		}
	}
}

func (s *search) note(at step, signedIn bool, outcome string) {
	s.result.Attempts = append(s.result.Attempts, Attempt{Way: at.way, URL: at.url, SignedIn: signedIn, Outcome: httpfault.Clean(outcome, 300)})
}

// lookUp queues what the SRV record names. DNS is not authenticated: only its hosts inside the rule are asked, and their
// certificates prove them.
func (s *search) lookUp(ctx context.Context, at step) {
	_, records, err := s.Resolver.LookupSRV(ctx, "autodiscover", "tcp", at.address.Domain())
	if err != nil || len(records) == 0 {
		s.note(at, false, "there is no such record")
		return
	}
	bases, refused := s.rule.targets(records)
	for _, host := range refused {
		s.note(at, false, fmt.Sprintf("names %s, which is outside of %s and not allowed", host, s.rule.domain))
	}
	var steps []step
	for _, base := range bases {
		s.note(at, false, "names "+base)
		for _, way := range s.ways() {
			if next := s.step(way, base, at.address); !s.asked[next] {
				steps = append(steps, next)
			}
		}
	}
	s.queue = append(steps, s.queue...)
}

// ask asks one question, without a credential first, and acts on the answer.
func (s *search) ask(ctx context.Context, at step) {
	u, err := url.Parse(at.url)
	switch {
	case err != nil || s.dead[u.Host]:
		return // said already
	case s.asked[at]:
		s.note(at, false, "not asked again: it was asked before")
		return
	}
	s.asked[at] = true
	a := s.exchange(ctx, s.Anonymous, at)
	signedIn := false
	if a.status == http.StatusUnauthorized && at.way != JSON {
		if client, why := s.credential(u); client == nil {
			s.result.Answered = true
			s.note(at, false, "asks for a sign-in: "+why)
			return
		} else {
			signedIn = true
			a = s.exchange(ctx, client, at)
			client.CloseIdleConnections()
		}
	}
	s.judge(at, a, signedIn, u.Host)
}

// credential is the client that signs in at a host, or why there is none.
func (s *search) credential(u *url.URL) (*http.Client, string) {
	if s.noSignIn != "" {
		return nil, s.noSignIn
	}
	if s.SignIn == nil {
		return nil, "no credential is configured in [exchange.auth]"
	}
	client, err := s.SignIn("https://" + u.Host)
	if refusal, ok := errors.AsType[interface {
		error
		Unauthorized() bool
	}](err); ok && refusal.Unauthorized() { // by an earlier search
		s.result.Refused, s.noSignIn = true, refusal.Error()
	}
	if err != nil {
		return nil, err.Error()
	}
	return client, ""
}

// judge notes what an answer means, and queues where it leads.
func (s *search) judge(at step, a answer, signedIn bool, host string) {
	if a.err != nil {
		if a.status == 0 && a.unreachable {
			s.dead[host] = true
		}
		s.result.Answered = s.result.Answered || a.status != 0
		s.note(at, signedIn, a.err.Error())
		return
	}
	s.result.Answered = true
	switch r := a.reply; {
	case a.status == http.StatusUnauthorized:
		s.result.Refused, s.noSignIn = true, "the credential was refused before, and is not shown again"
		s.note(at, signedIn, "refuses the credential; it offers "+a.offers)
	case r.redirectURL != "":
		s.redirect(at, signedIn, r.redirectURL)
	case r.redirectAddress != "":
		s.redirectAddress(at, signedIn, r.redirectAddress)
	case r.refusal != "":
		s.note(at, signedIn, r.refusal)
	default:
		s.found(at, signedIn, r.urls)
	}
}

// found keeps the first of the addresses that can be used.
func (s *search) found(at step, signedIn bool, urls []string) {
	var good []string
	problem := "names no address of the service"
	for _, raw := range urls {
		usable, err := serviceURL(raw)
		if err != nil {
			problem = "names an address that cannot be used: " + err.Error()
			continue
		}
		if !slices.Contains(good, usable) {
			good = append(good, usable)
		}
	}
	if len(good) == 0 {
		s.note(at, signedIn, problem)
		return
	}
	u, _ := url.Parse(good[0]) // serviceURL has parsed it
	s.result.URL, s.result.Others, s.result.Address = good[0], good[1:], at.address
	s.result.Outside = !s.rule.inside(u.Hostname())
	s.note(at, signedIn, "names "+good[0])
}

// redirect queues the same question at another URL, if the rule lets it.
func (s *search) redirect(at step, signedIn bool, target string) {
	u, err := url.Parse(target)
	problem := ""
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || len(target) > maxURL || strings.ContainsFunc(target, notInURL):
		problem = "which is not a usable address"
	case u.Scheme != "https":
		problem = "which is not https"
	case !s.rule.inside(u.Hostname()):
		problem = fmt.Sprintf("which is outside of %s; allow %s if it is yours", s.rule.domain, u.Hostname())
	case s.redirects >= maxRedirects:
		problem = fmt.Sprintf("which is one redirect too many (%d are followed)", maxRedirects)
	}
	shown := httpfault.Clean(target, 200)
	if problem != "" {
		s.note(at, signedIn, fmt.Sprintf("redirects to %s, %s", shown, problem))
		return
	}
	s.redirects++
	s.note(at, signedIn, "redirects to "+shown)
	u.Fragment = ""
	u.Host = strings.ToLower(u.Host)
	s.queue = append([]step{{at.way, u.String(), at.address}}, s.queue...)
}

// redirectAddress starts over with another address, if its domain is inside the rule.
func (s *search) redirectAddress(at step, signedIn bool, text string) {
	address, err := mailaddr.Parse(text)
	problem := ""
	switch {
	case err != nil:
		problem = "which is no mail address"
	case !s.rule.inside(address.Domain()):
		problem = fmt.Sprintf("whose domain is outside of %s; allow .%s if it is yours", s.rule.domain, address.Domain())
	case s.redirects >= maxRedirects:
		problem = fmt.Sprintf("which is one redirect too many (%d are followed)", maxRedirects)
	case address == at.address:
		problem = "which is the one that was asked for"
	}
	shown := httpfault.Clean(text, 100)
	if problem != "" {
		s.note(at, signedIn, fmt.Sprintf("redirects to the mailbox %s, %s", shown, problem))
		return
	}
	s.redirects++
	s.note(at, signedIn, "redirects to the mailbox "+shown)
	var steps []step
	for _, next := range s.steps(address) {
		if !s.asked[next] {
			steps = append(steps, next)
		}
	}
	s.queue = append(steps, s.queue...)
}
