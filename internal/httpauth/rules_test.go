package httpauth

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

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
		oldTLS bool
		file   bool // give the CA in ca_file
		ok     bool
	}{
		"authority in ca_file": {leaf: testca.Options{IPs: loopback}, file: true, ok: true},
		"unknown authority":    {leaf: testca.Options{IPs: loopback}},
		"another host":         {leaf: testca.Options{DNSNames: []string{"mail.example.com"}}, file: true},
		"expired":              {leaf: testca.Options{IPs: loopback, NotBefore: time.Now().AddDate(-2, 0, 0)}, file: true},
		"TLS 1.1":              {leaf: testca.Options{IPs: loopback}, oldTLS: true, file: true},
	} {
		for _, only := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, only %t", name, only), func(t *testing.T) {
				ca, cert := authority(t, tc.leaf)
				config := &tls.Config{Certificates: []tls.Certificate{cert}}
				if tc.oldTLS {
					config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				}
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
