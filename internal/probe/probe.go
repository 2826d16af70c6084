// Package probe asks an Exchange server a bounded number of harmless questions and reports what it really returns:
// versions, ways to sign in, limits, how it searches, and in which forms it keeps certificates. The report is fit for a
// bug report: it holds numbers, response codes and words of this package, and no name, address, host, certificate or
// secret. What was found is counted, what was asked for is described.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/ews"
)

// MaxRequests is the most requests that a run makes, without those of a sign-in.
const MaxRequests = 40

// Probe is one run. Its fields are not changed while it runs.
type Probe struct {
	// NewClient makes a client with the credential that asks in a version (empty is the client's default) and tells the
	// observer.
	NewClient func(version string, observe func(ews.Observation)) *ews.Client
	// ActiveSync, when set, asks with the credential, and the server is asked as one of ActiveSync; NewClient is then not
	// used.
	ActiveSync *http.Client
	// Handshake connects to the server, offers HTTP/2 beside HTTP/1.1, and verifies the certificate; nil for plain http.
	Handshake func(context.Context) (tls.ConnectionState, error)
	// Anonymous speaks https without a credential to URL; nil for plain http.
	Anonymous *http.Client
	URL       string
	// Program names the program and its version in the report; UserAgent is sent with the request without a credential.
	Program, UserAgent string
	// Interval is waited between two questions.
	Interval time.Duration
	// Now is the clock for the life of the server's certificate; nil is time.Now.
	Now func() time.Time
}

// Report is what was found. Its texts are words of this package, response codes and version numbers.
type Report struct {
	Format   int      `json:"format"` // 1
	Program  string   `json:"program"`
	Requests int      `json:"requests"`
	TLS      TLS      `json:"tls"`
	Offers   []string `json:"offers"` // ways to sign in
	// Software is the product in the header Server; Headers are the names of the header fields of answers.
	Software string   `json:"software"`
	Headers  []string `json:"headers"`
	Version  string   `json:"version"` // of Exchange, for example 15.2.1544.4
	Schema   string   `json:"schema"`
	// Versions are the values of RequestServerVersion and how they were answered.
	Versions []Fact `json:"versions"`
	// Behaviour says how the server searches.
	Behaviour []Fact  `json:"behaviour"`
	Entries   Entries `json:"entries"`
	// Values are the shapes of the values of both certificate properties.
	Values []ValueShape `json:"values"`
	// Answers are all questions with the size and time of their answers.
	Answers []Answer `json:"answers"`
	// NotAsked says what could not be found out, and why.
	NotAsked []Fact `json:"not_asked"`
}

// Fact is one thing that was found out.
type Fact struct {
	What  string `json:"what"`
	Found string `json:"found"`
}

// Answer is one question and the size of its answer.
type Answer struct {
	// Question describes what was asked, with placeholders for names.
	Question string `json:"question"`
	// Outcome is the response code, the HTTP status, or why there was no answer.
	Outcome   string `json:"outcome"`
	Entries   int    `json:"entries"`
	Truncated bool   `json:"truncated"`
	Bytes     int64  `json:"bytes"`
	Millis    int64  `json:"milliseconds"`
}

// TLS is how the connection is secured.
type TLS struct {
	// Verified reports that the chain leads to a root that is trusted here; Problem is why it does not.
	Verified bool   `json:"verified"`
	Problem  string `json:"problem,omitempty"`
	Version  string `json:"version,omitempty"`
	Cipher   string `json:"cipher,omitempty"`
	// HTTP2 reports that the server would speak it.
	HTTP2 bool `json:"http2"`
	// Key and Signature are of the server's certificate; the latter decides the channel binding (RFC 5929).
	Key       string `json:"key,omitempty"`
	Signature string `json:"signature,omitempty"`
	DaysLeft  int    `json:"days_left"`
	Chain     int    `json:"chain_length"`
}

// errStop ends a run: asking on would not be harmless, or would give nothing.
type errStop struct{ reason string }

func (e *errStop) Error() string { return e.reason }

// run is the state of one probing.
type run struct {
	*Probe
	report Report
	client *ews.Client
	// seen is the last observation; asked is whether there was a question before.
	seen    ews.Observation
	asked   bool
	answers bool // whether one question at least was answered
	failed  int  // questions in a row that were not
	sample  sample
	headers map[string]bool
}

// Ways in which a run ended without asking everything.
var (
	// ErrRefused reports that the credential was refused.
	ErrRefused = errors.New("the credential was refused")
	// ErrUnreachable reports that the server gave no usable answer.
	ErrUnreachable = errors.New("the server gave no usable answer")
)

// Run asks everything and returns the report, which is usable beside an error, too: the error is ErrRefused,
// ErrUnreachable or that of the context.
func (p *Probe) Run(ctx context.Context) (*Report, error) {
	r := &run{Probe: p, headers: map[string]bool{}}
	r.report = Report{Format: 1, Program: p.Program, Offers: []string{}, Headers: []string{}, Versions: []Fact{}, Behaviour: []Fact{}, Values: []ValueShape{}, Answers: []Answer{}, NotAsked: []Fact{}}
	stages := r.stages()
	var err error
	for _, s := range stages {
		if err == nil {
			err = s.do(ctx)
			if err == nil {
				continue
			}
			r.notAsked(s.what+", in part", reasonOf(err))
			continue
		}
		r.notAsked(s.what, reasonOf(err))
	}
	r.finish()
	return &r.report, outcomeOf(ctx, err)
}

// stage is a part of a run.
type stage struct {
	what string
	do   func(context.Context) error
}

func (r *run) stages() []stage {
	list := []stage{{"the connection", r.connection}, {"ways to sign in", r.offers}}
	if r.ActiveSync != nil {
		return append(list, stage{"versions and commands", r.activeSync})
	}
	r.client = r.NewClient("", r.observe)
	return append(list, stage{"versions", r.versions}, stage{"the first letters of addresses", r.letters}, stage{"what an entry has", r.shapes},
		stage{"how addresses are searched", r.searches}, stage{"names that are refused", r.refusals}, stage{"groups", r.groups},
		stage{"personal contacts", r.contacts})
}

func (r *run) notAsked(what, why string) {
	r.report.NotAsked = append(r.report.NotAsked, Fact{what, why})
}

func (r *run) behaves(what, found string) {
	r.report.Behaviour = append(r.report.Behaviour, Fact{what, found})
}

// reasonOf is why a run stopped, in words of this package.
func reasonOf(err error) string {
	if stop, ok := errors.AsType[*errStop](err); ok {
		return stop.reason
	}
	return "interrupted"
}

func outcomeOf(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case reasonOf(err) == refusedReason:
		return ErrRefused
	}
	return ErrUnreachable
}

const refusedReason = "the credential was refused"

// wait keeps the distance between questions.
func (r *run) wait(ctx context.Context) error {
	if r.report.Requests >= MaxRequests {
		return &errStop{"the number of questions is used up"}
	}
	r.report.Requests++
	if !r.asked || r.Interval <= 0 {
		r.asked = true
		return ctx.Err()
	}
	timer := time.NewTimer(r.Interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// observe keeps what the last answer looked like.
func (r *run) observe(o ews.Observation) {
	r.seen = o
	if o.Server.Numbers != [4]int{} {
		r.report.Version, r.report.Schema = dotted(o.Server.Numbers), version(o.Server.Schema)
	}
	r.noteHeader(o.Header)
}

func (r *run) noteHeader(h http.Header) {
	for name := range h {
		if isFieldName(name) {
			r.headers[strings.ToLower(name)] = true
		}
	}
	if s := h.Get("Server"); s != "" && r.report.Software == "" {
		r.report.Software = software(s)
	}
}

// resolve asks one question; description stands for it in the report.
func (r *run) resolve(ctx context.Context, description string, q ews.ResolveNamesRequest) (ews.ResolveNamesResponse, string, error) {
	return r.resolveWith(ctx, r.client, description, q)
}

func (r *run) resolveWith(ctx context.Context, c *ews.Client, description string, q ews.ResolveNamesRequest) (ews.ResolveNamesResponse, string, error) {
	if err := r.wait(ctx); err != nil {
		return ews.ResolveNamesResponse{}, "", err
	}
	r.seen = ews.Observation{}
	resp, err := c.ResolveNames(ctx, q)
	result, err := r.record(ctx, description, len(resp.Resolutions), resp.Truncated, resp.ResponseCode, err)
	return resp, result, err
}

// record writes an answer down, and decides whether the run goes on.
func (r *run) record(ctx context.Context, description string, entries int, truncated bool, code string, err error) (string, error) {
	result := outcome(code, err)
	r.report.Answers = append(r.report.Answers, Answer{Question: description, Outcome: result, Entries: entries, Truncated: truncated,
		Bytes: r.seen.Bytes, Millis: r.seen.Duration.Milliseconds()})
	if err == nil {
		r.failed, r.answers = 0, true
		return result, nil
	}
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	return result, r.judge(err)
}

// judge returns an error when nothing more should be asked.
func (r *run) judge(err error) error {
	e, ok := errors.AsType[*ews.Error](err)
	switch {
	case errors.Is(err, ews.ErrUnauthorized):
		return &errStop{refusedReason}
	case !ok:
		return &errStop{"a question could not be sent"}
	case e.Code == ews.CodeServerBusy || e.BackOff > 0 || e.HTTPStatus == http.StatusServiceUnavailable || e.HTTPStatus == http.StatusTooManyRequests:
		return &errStop{"the server is busy and wants to be left alone"}
	case e.Code == ews.CodeNoMailbox:
		return &errStop{"the account has no mailbox"}
	case e.Code == ews.CodeAccessDenied:
		return &errStop{"the account may not ask"}
	case e.Code != "":
		r.failed, r.answers = 0, true
		return nil
	}
	if r.failed++; r.failed >= 2 || !r.answers {
		return &errStop{"no usable answer: " + outcome("", err)}
	}
	return nil
}
