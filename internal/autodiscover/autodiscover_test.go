package autodiscover

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/httpauth"
)

// town is a network of one stand-in under several names. Every other name does not exist.
type town struct {
	sim     *exchangesim.Server
	options httpauth.Options
	records []*net.SRV
	noSRV   error

	mu     sync.Mutex
	dialed []string // hosts and ports that were connected to
	signed []string // hosts that a credential was meant for
}

var names = []string{"autodiscover.corp.example", "corp.example", "mail.corp.example", "autodiscover.sales.corp.example", "outside.example"}

func newTown(t *testing.T, auth exchangesim.Auth) *town {
	t.Helper()
	const password = "a password of the tests"
	sim, err := exchangesim.New(exchangesim.Options{Auth: auth, User: `CORP\svc`, Password: password, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(sim.TLSCA())
	w := &town{sim: sim, noSRV: errors.New("no such record")}
	w.options = httpauth.Options{Method: httpauth.Method(auth), Username: `CORP\svc`, Roots: roots, Dial: w.dial, Password: func() ([]byte, error) { return []byte(password), nil }}
	return w
}

func (w *town) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	w.mu.Unlock()
	host, _, _ := net.SplitHostPort(address)
	if !slices.Contains(names, host) && host != "autodiscover.elsewhere.example" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	at := strings.TrimSuffix(strings.TrimPrefix(w.sim.URL(), "https://"), exchangesim.Path)
	return new(net.Dialer).DialContext(ctx, network, at)
}

func (w *town) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "autodiscover" || proto != "tcp" || name != "corp.example" {
		return "", nil, errors.New("another record")
	}
	return "", w.records, w.noSRV
}

func (w *town) signIn(base string) (*http.Client, error) {
	w.mu.Lock()
	w.signed = append(w.signed, base)
	w.mu.Unlock()
	o := w.options
	o.URL = base
	return httpauth.New(o)
}

func (w *town) client(t *testing.T) *Client {
	t.Helper()
	anonymous, err := httpauth.NewAnonymous(w.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(anonymous.CloseIdleConnections)
	return &Client{Address: "bob.brown@corp.example", Protocol: EWS, Resolver: w, Anonymous: anonymous, SignIn: w.signIn, UserAgent: "galsyncd", Timeout: 20 * time.Second}
}

// told are the outcomes of a result, one to a line.
func told(r *Result) string {
	var b strings.Builder
	for _, a := range r.Attempts {
		fmt.Fprintf(&b, "%s %s %t: %s\n", a.Way, a.URL, a.SignedIn, a.Outcome)
	}
	return b.String()
}

func TestDiscover(t *testing.T) {
	const mail = "https://mail.corp.example/EWS/Exchange.asmx"
	for _, tc := range []struct {
		name     string
		set      exchangesim.Autodiscover
		change   func(*town, *Client)
		url      string
		outside  bool
		says     string // in one of the attempts
		signed   bool   // a credential was shown, or meant to be
		refused  bool
		requests int64 // at most; 0 is not looked at
	}{
		{name: "json needs no credential", set: exchangesim.Autodiscover{EWS: mail}, url: mail, says: "json https://autodiscover.corp.example/autodiscover/autodiscover.json/v1.0/bob.brown@corp.example?Protocol=EWS false: names " + mail, requests: 1},
		{name: "xml", set: exchangesim.Autodiscover{EWS: mail, Only: []string{"xml"}}, url: mail, says: "xml https://autodiscover.corp.example/autodiscover/autodiscover.xml true: names", signed: true},
		{name: "soap", set: exchangesim.Autodiscover{EWS: mail, Only: []string{"svc"}}, url: mail, says: "soap https://autodiscover.corp.example/autodiscover/autodiscover.svc true: names", signed: true},
		{name: "eas by json", set: exchangesim.Autodiscover{EAS: "https://mail.corp.example/Microsoft-Server-ActiveSync"}, change: func(_ *town, c *Client) { c.Protocol = EAS },
			url: "https://mail.corp.example/Microsoft-Server-ActiveSync", says: "?Protocol=ActiveSync false: names", requests: 1},
		{name: "eas by xml", set: exchangesim.Autodiscover{EAS: "https://mail.corp.example/Microsoft-Server-ActiveSync", Only: []string{"xml", "svc"}}, change: func(_ *town, c *Client) { c.Protocol = EAS },
			url: "https://mail.corp.example/Microsoft-Server-ActiveSync", signed: true},
		{name: "no credential", set: exchangesim.Autodiscover{Only: []string{"xml", "svc"}}, change: func(_ *town, c *Client) { c.SignIn = nil }, says: "asks for a sign-in: no credential is configured"},
		{name: "wrong credential", set: exchangesim.Autodiscover{Only: []string{"xml", "svc"}}, signed: true, refused: true, says: "refuses the credential; it offers Negotiate, NTLM",
			change: func(w *town, _ *Client) {
				w.options.Password = func() ([]byte, error) { return []byte("wrong"), nil }
			}},
		{name: "the service is elsewhere", set: exchangesim.Autodiscover{EWS: "https://outlook.example/EWS/Exchange.asmx"}, url: "https://outlook.example/EWS/Exchange.asmx", outside: true},
		{name: "the service is elsewhere and allowed", set: exchangesim.Autodiscover{EWS: "https://outlook.example/EWS/Exchange.asmx"}, url: "https://outlook.example/EWS/Exchange.asmx",
			change: func(_ *town, c *Client) { c.Allow = []string{".example"} }},
		{name: "service over plain http", set: exchangesim.Autodiscover{EWS: "http://mail.corp.example/EWS/Exchange.asmx"}, says: "names an address that cannot be used: http://mail.corp.example/EWS/Exchange.asmx is not https", signed: true},
		{name: "service with a line in it", set: exchangesim.Autodiscover{EWS: "https://mail.corp.example/\nurl"}, says: "cannot be used: it is not a web address", signed: true},
		{name: "redirect to http", set: exchangesim.Autodiscover{Fault: "redirect", Target: "http://mail.corp.example/x"}, says: "redirects to http://mail.corp.example/x, which is not https"},
		{name: "redirect to a foreign host", set: exchangesim.Autodiscover{Fault: "redirect", Target: "https://outside.example/x"}, says: "redirects to https://outside.example/x, which is outside of corp.example; allow outside.example if it is yours"},
		{name: "redirect to the parent", set: exchangesim.Autodiscover{Fault: "redirect", Target: "https://autodiscover.example/x"}, says: "which is outside of corp.example"},
		{name: "redirect to a host that ends alike", set: exchangesim.Autodiscover{Fault: "redirect", Target: "https://evilcorp.example/x"}, says: "which is outside of corp.example"},
		{name: "redirect with a user", set: exchangesim.Autodiscover{Fault: "redirect", Target: "https://corp.example@outside.example/x"}, says: "which is not a usable address"},
		{name: "redirect to nowhere", set: exchangesim.Autodiscover{Fault: "redirect", Target: "https://mail.corp.example/nothing"}, says: "xml https://mail.corp.example/nothing false: http status 404"},
		{name: "redirect loop", set: exchangesim.Autodiscover{Fault: "loop"}, says: "not asked again: it was asked before", requests: 10},
		{name: "redirect to http in the answer", set: exchangesim.Autodiscover{Fault: "redirect-in-answer", Only: []string{"xml"}, Target: "http://mail.corp.example/autodiscover/autodiscover.xml"}, says: "which is not https", signed: true},
		{name: "redirect to a foreign host in the answer", set: exchangesim.Autodiscover{Fault: "redirect-in-answer", Only: []string{"xml", "svc"}, Target: "https://outside.example/autodiscover/autodiscover.xml"}, says: "soap https://autodiscover.corp.example/autodiscover/autodiscover.svc true: redirects to https://outside.example", signed: true},
		{name: "redirect to another mailbox", set: exchangesim.Autodiscover{Fault: "redirect-address", Only: []string{"xml", "svc"}, Target: "bob@outside.example"}, says: "redirects to the mailbox bob@outside.example, whose domain is outside of corp.example; allow .outside.example if it is yours", signed: true},
		{name: "redirect to itself", set: exchangesim.Autodiscover{Fault: "redirect-address", Only: []string{"xml"}, Target: "Bob.Brown@corp.example"}, says: "which is the one that was asked for", signed: true},
		{name: "redirect to a mailbox below", set: exchangesim.Autodiscover{Fault: "redirect-address", Only: []string{"xml", "svc"}, Target: "bob@sales.corp.example"}, says: "xml https://autodiscover.sales.corp.example/autodiscover/autodiscover.xml", signed: true},
		{name: "401 for ever", set: exchangesim.Autodiscover{Fault: "unauthorized"}, says: "refuses the credential", signed: true, refused: true},
		{name: "a web site", set: exchangesim.Autodiscover{Fault: "html"}, says: "the answer is an HTML page, not Autodiscover"},
		{name: "endless", set: exchangesim.Autodiscover{Fault: "huge"}, says: "the answer is longer than 262144 bytes"},
		{name: "bomb", set: exchangesim.Autodiscover{Fault: "bomb"}, says: "document type declaration, which is refused"},
		{name: "deep", set: exchangesim.Autodiscover{Fault: "deep"}, says: "elements, or 32 inside each other"},
		{name: "empty", set: exchangesim.Autodiscover{Fault: "empty"}, says: "read the answer: not well-formed XML"},
		{name: "unavailable", set: exchangesim.Autodiscover{Fault: "unavailable"}, says: "http status 503"},
		{name: "unknown mailbox", set: exchangesim.Autodiscover{Fault: "error"}, says: "says UserNotFound: The given user is not found.", signed: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTown(t, exchangesim.AuthNTLM)
			if err := w.sim.SetAutodiscover(tc.set); err != nil {
				t.Fatal(err)
			}
			c := w.client(t)
			if tc.change != nil {
				tc.change(w, c)
			}
			r, err := c.Discover(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.URL != tc.url || r.Outside != tc.outside || r.Refused != tc.refused || !r.Answered || !strings.Contains(told(r), tc.says) {
				t.Errorf("url %q, outside %t, refused %t; told:\n%s", r.URL, r.Outside, r.Refused, told(r))
			}
			if signed := len(w.signed) > 0; signed != tc.signed || tc.refused && len(w.signed) != 1 {
				t.Errorf("the credential was meant for %q", w.signed)
			}
			for _, at := range append(slices.Clone(w.dialed), w.signed...) {
				host := strings.TrimSuffix(strings.TrimPrefix(at, "https://"), ":443")
				if host != "corp.example" && !strings.HasSuffix(host, ".corp.example") {
					t.Errorf("%s was asked", at)
				}
			}
			if n := w.sim.Requests().HTTP; tc.requests > 0 && n > tc.requests {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestAllowed: a host that is allowed is asked, and may be redirected to.
func TestAllowed(t *testing.T) {
	w := newTown(t, exchangesim.AuthNTLM)
	c := w.client(t)
	c.Address, c.Allow = "bob@elsewhere.example", []string{"Outside.Example."}
	r, err := c.Discover(t.Context())
	if err != nil || !strings.HasSuffix(r.URL, exchangesim.Path) || !strings.Contains(told(r), "json https://outside.example/autodiscover/") {
		t.Errorf("%v %v", r, err)
	}
	// The certificate does not name autodiscover.elsewhere.example, and nothing makes up for that.
	if !strings.Contains(told(r), "json https://autodiscover.elsewhere.example/autodiscover/autodiscover.json/v1.0/bob@elsewhere.example?Protocol=EWS false: its certificate is for another host") {
		t.Error(told(r))
	}
	if strings.Count(told(r), "autodiscover.elsewhere.example") > 3 {
		t.Errorf("a host that cannot be reached was asked again:\n%s", told(r))
	}
}

// TestSRV: the record leads to another port of the domain, and nowhere else.
func TestSRV(t *testing.T) {
	w := newTown(t, exchangesim.AuthNTLM)
	if err := w.sim.SetAutodiscover(exchangesim.Autodiscover{EWS: "https://mail.corp.example/EWS/Exchange.asmx"}); err != nil {
		t.Fatal(err)
	}
	c := w.client(t)
	c.Address = "bob@corp.example"
	w.noSRV = nil
	w.records = []*net.SRV{{Target: "outside.example.", Port: 443}, {Target: "example.", Port: 443}, {Target: "MAIL.corp.example.", Port: 8443, Priority: 1}}
	// The usual two hosts answer with a web site.
	c.Anonymous = &http.Client{Transport: onlyPort{c.Anonymous.Transport}}
	r, err := c.Discover(t.Context())
	if err != nil || r.URL != "https://mail.corp.example/EWS/Exchange.asmx" || r.Outside {
		t.Fatalf("%v %v", r, err)
	}
	for _, want := range []string{"srv _autodiscover._tcp.corp.example false: names outside.example.:443, which is outside of corp.example and not allowed",
		"names example.:443, which is outside", "names https://mail.corp.example:8443", "json https://mail.corp.example:8443/autodiscover/"} {
		if !strings.Contains(told(r), want) {
			t.Errorf("no %q in\n%s", want, told(r))
		}
	}
	if slices.ContainsFunc(w.dialed, func(s string) bool { return strings.HasPrefix(s, "outside.example") || strings.HasPrefix(s, "example") }) {
		t.Errorf("connected to %q", w.dialed)
	}
}

// onlyPort answers nothing on the usual port.
type onlyPort struct{ next http.RoundTripper }

func (o onlyPort) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Port() == "" {
		return nil, errors.New("the connection broke")
	}
	return o.next.RoundTrip(r)
}

// TestTimeLimit: servers that never answer cost the time of the whole search and no more.
func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := &Client{Address: "bob@corp.example", Protocol: EWS, Anonymous: &http.Client{Transport: silence{}}, Timeout: 20 * time.Second}
		r, err := c.Discover(t.Context())
		if took := time.Since(began); err != nil || took != 20*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if r.URL != "" || r.Answered || !strings.Contains(told(r), "no answer in time") {
			t.Error(told(r))
		}
	})
}

type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestRule(t *testing.T) {
	r := newRule("Corp.Example", []string{"Mail.Partner.example", ".cloud.example", " ", "."})
	for host, want := range map[string]bool{
		"corp.example": true, "CORP.example.": true, "a.b.corp.example": true, "example": false, "xcorp.example": false, "corp.example.org": false,
		"corp.example.evil": false, "mail.partner.example": true, "x.mail.partner.example": false, "partner.example": false, "cloud.example": true,
		"x.cloud.example": true, "xcloud.example": false, "": false, "corp.example:443": false, "a..corp.example": false, "corp.example/x": false,
		"x@corp.example": false, "a b.corp.example": false, "127.0.0.1": false,
	} {
		if got := r.inside(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func TestServiceURL(t *testing.T) {
	for raw, want := range map[string]string{
		" https://Mail.corp.example/EWS/Exchange.asmx\n": "https://mail.corp.example/EWS/Exchange.asmx", "HTTPS://h.example:444/x": "https://h.example:444/x",
		"http://h.example/": "", "https://": "", "https://u@h.example/": "", "https://h.example/?q": "", "https://h.example/#f": "", "https://h.example/\"x": "",
		"https://h.example/a b": "", "ftp://h.example/": "", "//h.example/": "", "": "", "https://h.example/" + strings.Repeat("x", 3000): "", "https://[::1]/": "",
	} {
		got, err := serviceURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []*Client{{}, {Protocol: "pop3", Address: "a@b", Anonymous: http.DefaultClient}, {Protocol: EWS, Anonymous: http.DefaultClient}, {Protocol: EWS, Address: "a@b"}} {
		if _, err := c.Discover(t.Context()); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
