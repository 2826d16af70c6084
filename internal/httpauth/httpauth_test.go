package httpauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
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
			if got := s.requests.Load(); got != questions+2 {
				t.Errorf("%d questions cost %d requests, want %d (a handshake of 3, then 1 each)", questions, got, questions+2)
			}
			if got := s.shown.Load(); got != 1 {
				t.Errorf("the proof was sent %d times, want once", got)
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

func TestOptions(t *testing.T) {
	password := func() ([]byte, error) { return []byte(secret), nil }
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const url = "https://mail.example.com/EWS/Exchange.asmx"
	for name, tc := range map[string]struct {
		o    Options
		want string // in the error; empty: none
	}{
		"ntlm over https":        {Options{URL: url, Method: NTLM, Username: "u", Password: password}, ""},
		"basic over https":       {Options{URL: url, Method: Basic, Username: "u", Password: password}, ""},
		"http to loopback":       {Options{URL: "http://127.0.0.1:8080/x", Method: None}, ""},
		"http to localhost":      {Options{URL: "http://localhost/x", Method: NTLM, Username: "u", Password: password}, ""},
		"http to IPv6 loopback":  {Options{URL: "http://[::1]:80/x", Method: None}, ""},
		"http elsewhere":         {Options{URL: "http://mail.example.com/x", Method: NTLM, Username: "u", Password: password}, "use https"},
		"http to 127.evil":       {Options{URL: "http://127.0.0.1.example.com/x", Method: None}, "use https"},
		"basic over http":        {Options{URL: "http://127.0.0.1/x", Method: Basic, Username: "u", Password: password}, "needs https"},
		"none elsewhere":         {Options{URL: url, Method: None}, "loopback"},
		"no method":              {Options{URL: url, Username: "u", Password: password}, "exchange.auth.method"},
		"no username":            {Options{URL: url, Method: NTLM, Password: password}, "exchange.auth.username"},
		"colon in username":      {Options{URL: url, Method: NTLM, Username: "a:b", Password: password}, "colon"},
		"no password":            {Options{URL: url, Method: NTLM, Username: "u"}, "password_file"},
		"credential in URL":      {Options{URL: "https://u:p@mail.example.com/", Method: NTLM, Username: "u", Password: password}, "exchange.url"},
		"other scheme":           {Options{URL: "ftp://mail.example.com/", Method: NTLM, Username: "u", Password: password}, "https"},
		"only no roots":          {Options{URL: url, Method: NTLM, Username: "u", Password: password, CAOnly: true}, "exchange.ca_file"},
		"no such file":           {Options{URL: url, Method: NTLM, Username: "u", Password: password, CAFile: filepath.Join(dir, "none")}, "no such file"},
		"empty file":             {Options{URL: url, Method: NTLM, Username: "u", Password: password, CAFile: write("empty", "")}, "no PEM certificate"},
		"a key in the file":      {Options{URL: url, Method: NTLM, Username: "u", Password: password, CAFile: write("key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}, "only certificates"},
		"garbage in the file":    {Options{URL: url, Method: NTLM, Username: "u", Password: password, CAFile: write("bad", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, "certificate 1"},
		"too many connections":   {Options{URL: url, Method: NTLM, Username: "u", Password: password, MaxConns: 99}, "between"},
		"a cool-down below zero": {Options{URL: url, Method: NTLM, Username: "u", Password: password, CoolDown: -1}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.o)
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v, want %q", err, tc.want)
			}
		})
	}
}

func TestServerMustProveWhoItIs(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	for name, tc := range map[string]struct {
		leaf   testca.Options
		config tls.Config
		file   bool // give the CA in ca_file
		ok     bool
	}{
		"authority in ca_file": {leaf: testca.Options{IPs: loopback}, file: true, ok: true},
		"unknown authority":    {leaf: testca.Options{IPs: loopback}},
		"another host":         {leaf: testca.Options{DNSNames: []string{"mail.example.com"}}, file: true},
		"expired":              {leaf: testca.Options{IPs: loopback, NotBefore: time.Now().AddDate(-2, 0, 0)}, file: true},
		"TLS 1.1":              {leaf: testca.Options{IPs: loopback}, config: tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, file: true},
	} {
		for _, only := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, only %t", name, only), func(t *testing.T) {
				ca, cert := authority(t, tc.leaf)
				config := tc.config.Clone()
				config.Certificates = []tls.Certificate{cert}
				url := serve(t, hello, config)
				other, _ := authority(t, testca.Options{IPs: loopback})
				pem := testca.CertificatePEM(other.Certificate)
				if tc.file {
					pem = append(pem, testca.CertificatePEM(ca.Certificate)...)
				}
				file := filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(file, pem, 0o600); err != nil {
					t.Fatal(err)
				}
				x := newClient(t, url, nil, func(o *Options) { o.Method, o.CAFile, o.CAOnly = Basic, file, only })
				status, _, err := x.ask(t, "q")
				if tc.ok != (err == nil && status == 200) {
					t.Errorf("%d %v", status, err)
				}
			})
		}
	}
}

func TestOneServerOnly(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the client went elsewhere") }))
	defer elsewhere.Close()
	t.Setenv("HTTPS_PROXY", elsewhere.URL)
	t.Setenv("ALL_PROXY", elsewhere.URL)
	url, pool := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	x := newClient(t, url, pool, nil)
	if status, _, err := x.ask(t, "q"); status != http.StatusTemporaryRedirect || err != nil {
		t.Errorf("redirect: %d %v", status, err)
	}
	x.url = elsewhere.URL
	if _, _, err := x.ask(t, "q"); err == nil || !strings.Contains(err.Error(), "only") {
		t.Errorf("another host: %v", err)
	}
}

func TestBoundedAnswers(t *testing.T) {
	url, pool := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Big") != "" {
			w.Header().Set("X-Fill", strings.Repeat("x", 80<<10))
			return
		}
		w.Header().Set("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
				return
			}
		}
	}))
	x := newClient(t, url, pool, nil)
	if _, _, err := x.ask(t, "q"); err == nil || !strings.Contains(err.Error(), "has no end") {
		t.Errorf("endless 401: %v", err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	req.Header.Set("X-Big", "1")
	if resp, err := x.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a header of 80 KiB was accepted")
	}
}

func TestPlainHTTPStaysHere(t *testing.T) {
	if err := loopbackOnly("tcp", "192.0.2.1:80", nil); err == nil {
		t.Error("a connection that leaves this machine was allowed")
	}
	for _, a := range []string{"127.0.0.1:80", "[::1]:80"} {
		if err := loopbackOnly("tcp", a, nil); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer srv.Close()
	x := newClient(t, srv.URL, nil, func(o *Options) { o.Method, o.Username, o.Password = None, "", nil })
	if status, body, err := x.ask(t, "q"); status != 200 || body != "hello" || err != nil {
		t.Errorf("%d %q %v", status, body, err)
	}
}

func TestPasswordThatCannotBeRead(t *testing.T) {
	url, pool := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }))
	for name, f := range map[string]func() ([]byte, error){
		"error": func() ([]byte, error) { return nil, os.ErrNotExist },
		"empty": func() ([]byte, error) { return nil, nil },
	} {
		x := newClient(t, url, pool, func(o *Options) { o.Password = f })
		if _, _, err := x.ask(t, "q"); err == nil || !strings.Contains(err.Error(), "password") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAbandonedQuestionGivesItsConnectionBack(t *testing.T) {
	url, pool := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) }))
	x := newClient(t, url, pool, func(o *Options) { o.Method, o.MaxConns = Basic, 1 })
	for range 3 {
		resp, err := x.Get(url + "/EWS/Exchange.asmx")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() // unread
	}
}
