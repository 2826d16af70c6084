package httpauth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const secret = "Pa55-not-in-any-error"

// exchangeTest is a client and the password it uses.
type exchangeTest struct {
	*http.Client
	url      string
	password atomic.Value
	now      atomic.Value
}

func newClient(t *testing.T, url string, pool *x509.CertPool, change func(*Options)) *exchangeTest {
	t.Helper()
	x := &exchangeTest{url: url}
	x.password.Store(secret)
	x.now.Store(time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC))
	o := Options{
		URL: url + "/EWS/Exchange.asmx", Roots: pool, Method: NTLM, Username: `CORP\svc-galsync`,
		Password: func() ([]byte, error) { return []byte(x.password.Load().(string)), nil },
		Now:      func() time.Time { return x.now.Load().(time.Time) },
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	x.Client = c
	return x
}

// ask posts a question and returns the status and the answer.
func (x *exchangeTest) ask(t *testing.T, question string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.url+"/EWS/Exchange.asmx", strings.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Idempotency-Key"] = nil
	resp, err := x.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error has the password in it: %v", err)
		}
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.ProtoMajor != 1 {
		t.Errorf("the answer came over %s", resp.Proto)
	}
	return resp.StatusCode, string(body), err
}

func TestNTLMCostsOneRequestPerQuestion(t *testing.T) {
	for name, offers := range map[string][]string{
		"ntlm":            {"NTLM"},
		"several values":  {"Negotiate", "NTLM", `Basic realm="x"`},
		"one line":        {`Negotiate, NTLM, Basic realm="a, b"`},
		"lower case":      {"ntlm"},
		"negotiate alone": {"Negotiate"},
	} {
		t.Run(name, func(t *testing.T) {
			// A page with the 401 must not keep the connection.
			s := &ntlmServer{t: t, user: "svc-galsync", offers: offers, page: strings.Repeat("<p>401</p>", 2000)}
			url, pool := start(t, s)
			x := newClient(t, url, pool, nil)
			const questions = 20
			var want []string
			for i := range questions {
				q := fmt.Sprintf("<question>%d</question>", i)
				want = append(want, q)
				if status, body, err := x.ask(t, q); err != nil || status != 200 || body != "hello" {
					t.Fatalf("question %d: %d %q %v", i, status, body, err)
				}
			}
			// On a machine that is very busy net/http may give a connection up, and a second handshake is right then.
			shown := s.shown.Load()
			if got := s.requests.Load(); got != questions+2*shown {
				t.Errorf("%d questions with %d handshakes cost %d requests, want %d", questions, shown, got, questions+2*shown)
			}
			if shown < 1 || shown > 2 {
				t.Errorf("the proof was sent %d times, want once", shown)
			}
			if got := strings.Join(s.bodies, ""); got != strings.Join(want, "") {
				t.Errorf("the server read %q", got)
			}
			t.Logf("%d questions, %d requests", questions, s.requests.Load())
		})
	}
}

func TestNTLMAtTheSameTime(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"Negotiate", "NTLM"}, page: "no"}
	url, pool := start(t, s)
	x := newClient(t, url, pool, func(o *Options) { o.MaxConns = 4 })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				if status, _, err := x.ask(t, fmt.Sprint(i, j)); err != nil || status != 200 {
					t.Errorf("question %d.%d: %d %v", i, j, status, err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.shown.Load(); got > 4 {
		t.Errorf("the proof was sent %d times over 4 connections", got)
	}
}

func TestStopsAfterTwoRefusals(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	s.refuse.Store(true)
	for i := range 2 {
		if status, _, err := x.ask(t, "q"); status != 401 || err != nil {
			t.Fatalf("try %d: %d %v", i, status, err)
		}
	}
	before := s.requests.Load()
	for range 5 {
		_, _, err := x.ask(t, "q")
		var u interface{ Unauthorized() bool }
		if !errors.Is(err, ErrLockedOut) || !errors.As(err, &u) || !u.Unauthorized() {
			t.Fatalf("third try: %v", err)
		}
	}
	if s.requests.Load() != before || s.shown.Load() != 2 {
		t.Fatalf("%d proofs and %d requests after the second refusal", s.shown.Load()-2, s.requests.Load()-before)
	}
	// The cool-down allows one more.
	x.now.Store(x.now.Load().(time.Time).Add(6*time.Hour + time.Second))
	if status, _, err := x.ask(t, "q"); status != 401 || err != nil {
		t.Fatalf("after the cool-down: %d %v", status, err)
	}
	if _, _, err := x.ask(t, "q"); !errors.Is(err, ErrLockedOut) || s.shown.Load() != 3 {
		t.Fatalf("second try after the cool-down: %v, %d proofs", err, s.shown.Load())
	}
	// A new password is tried at once, and success forgets the refusals.
	s.refuse.Store(false)
	x.password.Store("another")
	if status, _, err := x.ask(t, "q"); status != 200 || err != nil {
		t.Fatalf("with a new password: %d %v", status, err)
	}
}

func TestOneRefusalIsForgottenAfterSuccess(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	for range 3 {
		s.refuse.Store(true)
		x.CloseIdleConnections()
		if status, _, err := x.ask(t, "q"); status != 401 || err != nil {
			t.Fatalf("refused: %d %v", status, err)
		}
		s.refuse.Store(false)
		if status, _, err := x.ask(t, "q"); status != 200 || err != nil {
			t.Fatalf("accepted: %d %v", status, err)
		}
	}
}

// TestTroubleForgivesNothing has a front end that is often too busy to ask whether the password is right: its complaints are no
// word about the credential.
func TestTroubleForgivesNothing(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusForbidden} {
		var shown, refusals atomic.Int64
		url, pool := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" && shown.Add(1)%2 == 0 {
				w.WriteHeader(status)
				return
			}
			refusals.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		x := newClient(t, url, pool, func(o *Options) { o.Method = Basic })
		for range 10 {
			_, _, _ = x.ask(t, "question")
		}
		if n := refusals.Load(); n != maxRefusals {
			t.Errorf("with %d in between the password was refused %d times, want %d", status, n, maxRefusals)
		}
	}
}

func TestTwoRefusalsAtTheSameTime(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	s.refuse.Store(true)
	url, pool := start(t, s)
	x := newClient(t, url, pool, func(o *Options) { o.MaxConns = 8 })
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { _, _, _ = x.ask(t, "q") })
	}
	wg.Wait()
	if got := s.shown.Load(); got != 2 {
		t.Errorf("the proof was sent %d times, want 2", got)
	}
}

func TestNoWayToSignIn(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{`Basic realm="x"`, "Bearer"}}
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	for range 2 {
		if status, _, err := x.ask(t, "q"); status != 401 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
	}
	if _, _, err := x.ask(t, "q"); !errors.Is(err, ErrLockedOut) {
		t.Errorf("401 for ever is asked again: %v", err)
	}
	if s.shown.Load() != 0 || s.requests.Load() != 2 {
		t.Errorf("%d proofs, %d requests", s.shown.Load(), s.requests.Load())
	}
}

func TestHandshakeLostIsNoRefusal(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	for range 3 {
		s.dropNext.Store(true)
		if status, _, err := x.ask(t, "q"); err == nil || errors.Is(err, ErrLockedOut) {
			t.Fatalf("broken handshake: %d %v", status, err)
		}
	}
	if status, _, err := x.ask(t, "q"); status != 200 || err != nil {
		t.Fatalf("after it: %d %v", status, err)
	}
}

func TestChallengeThatIsNotAnswered(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	s.oldNTLM.Store(true)
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	for range 3 {
		if _, _, err := x.ask(t, "q"); !errors.Is(err, errChallenge) {
			t.Errorf("NTLM version 1: %v", err)
		}
	}
	if s.shown.Load() != 0 {
		t.Error("the credential was shown")
	}
}

func TestBasic(t *testing.T) {
	var asked atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if u, p, ok := r.BasicAuth(); !ok || u != `CORP\svc-galsync` || p != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	url, pool := start(t, h)
	x := newClient(t, url, pool, func(o *Options) { o.Method = Basic })
	for i := range 4 {
		status, _, err := x.ask(t, "q")
		if i < 2 && status != 401 || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("try %d: %d %v", i, status, err)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("the password was sent %d times, want 2", asked.Load())
	}
	x.password.Store("right")
	for range 3 {
		if status, _, err := x.ask(t, "q"); status != 200 || err != nil {
			t.Errorf("right password: %d %v", status, err)
		}
	}
	if asked.Load() != 5 {
		t.Errorf("%d requests for 5 questions", asked.Load())
	}
}

// TestClosedConnection loses the kept connection between two questions. The second is asked on a new one, or, when the
// loss shows only while it is written, breaks and is no refusal.
func TestClosedConnection(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	x := newClient(t, url, pool, nil)
	for range 10 {
		status, _, err := x.ask(t, "q")
		if err != nil {
			t.Log(err)
			status, _, err = x.ask(t, "q")
		}
		if status != 200 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		s.mu.Lock()
		_ = s.conn.Close()
		s.mu.Unlock()
	}
}
