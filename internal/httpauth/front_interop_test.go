//go:build interop

package httpauth

import (
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// basicDirectives make Apache check passwords itself, beside whatever else is offered.
const basicDirectives = `AuthType Basic
AuthBasicProvider file
AuthUserFile FOLDER/htpasswd
`

// htpasswd is a password file with one user, as the client names it.
func htpasswd(user string) map[string][]byte {
	sum := sha1.Sum([]byte(testPassword))
	return map[string][]byte{"htpasswd": []byte(user + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\n")}
}

// TestInteropBasicApache: one request for each question, and two with a wrong password, however often it is asked for. The
// port offers HTTP/2, which is not taken.
func TestInteropBasicApache(t *testing.T) {
	x := newApache(t, basicDirectives, nil, htpasswd(testUser))
	c := newClient(t, x.url, x.pool, func(o *Options) { o.Method, o.Username, o.MaxConns = Basic, testUser, 1 })
	c.password.Store("wrong")
	for i := range 5 {
		status, _, err := c.ask(t, "q")
		if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("wrong password, try %d: %d %v", i, status, err)
		}
	}
	if log := x.waitSeen(t, 2); strings.Count(log, "\n") != 2 {
		t.Errorf("a wrong password was shown in\n%s", log)
	}
	c.password.Store(testPassword)
	askAll(t, c, 5)
	log := x.waitSeen(t, 7)
	if strings.Count(log, "\n") != 7 || strings.Contains(log, "HTTP/2") || strings.Count(log, "200 HTTP/1.1") != 5 {
		t.Errorf("log:\n%s", log)
	}
}

// TestInteropOffers: the scheme is found among several offers, on lines of their own and on one line, and Basic is never
// used because a server asks for it.
func TestInteropOffers(t *testing.T) {
	r := newRealm(t, "1h")
	for name, header := range map[string]string{
		"several lines, ours last":  "Header always set WWW-Authenticate 'Basic realm=\"a, b\"' \"expr=%{REQUEST_STATUS} == 401\"\nHeader always add WWW-Authenticate NTLM \"expr=%{REQUEST_STATUS} == 401\"\nHeader always add WWW-Authenticate Negotiate \"expr=%{REQUEST_STATUS} == 401\"\n",
		"several lines, ours first": "Header always set WWW-Authenticate Negotiate \"expr=%{REQUEST_STATUS} == 401\"\nHeader always add WWW-Authenticate 'Basic realm=\"Negotiate, x\"' \"expr=%{REQUEST_STATUS} == 401\"\n",
		"one line":                  "Header always set WWW-Authenticate 'Basic realm=\"a, b\", NTLM, Negotiate' \"expr=%{REQUEST_STATUS} == 401\"\n",
		"one line, lower case":      "Header always set WWW-Authenticate 'negotiate, basic realm=\"x\"' \"expr=%{REQUEST_STATUS} == 401\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			x := r.apache(t, "GssapiConnectionBound On\n"+header)
			askAll(t, r.client(t, x, nil), 3)
			if user, _ := x.user.Load().(string); user != principalName {
				t.Errorf("signed in as %q", user)
			}
		})
	}
	t.Run("only Basic is offered", func(t *testing.T) {
		x := newApache(t, basicDirectives, nil, htpasswd(testUser))
		c := newClient(t, x.url, x.pool, func(o *Options) { o.Method, o.MaxConns = NTLM, 1 })
		c.password.Store(testPassword)
		for i := range 4 {
			status, _, err := c.ask(t, "q")
			if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
				t.Errorf("try %d: %d %v", i, status, err)
			}
		}
		if x.requests.Load() != 0 {
			t.Error("the password went over in Basic")
		}
	})
}

// TestInteropCertificates: a front end that cannot prove who it is is told nothing.
func TestInteropCertificates(t *testing.T) {
	here := testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	expired := here
	expired.NotBefore, expired.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(0, 0, -1)
	for name, tc := range map[string]struct {
		leaf    testca.Options
		trusted bool
		as      any
	}{
		"good":        {here, true, nil},
		"unknown CA":  {here, false, new(x509.UnknownAuthorityError)},
		"expired":     {expired, true, new(x509.CertificateInvalidError)},
		"wrong host":  {testca.Options{DNSNames: []string{"mail.example.com"}}, true, new(x509.HostnameError)},
		"unknown too": {testca.Options{DNSNames: []string{"mail.example.com"}}, false, new(*tls.CertificateVerificationError)},
	} {
		t.Run(name, func(t *testing.T) {
			x := newApacheAs(t, tc.leaf, basicDirectives, nil, htpasswd(testUser))
			pool := x.pool
			if !tc.trusted {
				other, err := testca.New("another authority")
				if err != nil {
					t.Fatal(err)
				}
				pool = x509.NewCertPool()
				pool.AddCert(other.Certificate)
			}
			c := newClient(t, x.url, pool, func(o *Options) { o.Method, o.Username = Basic, testUser })
			c.password.Store(testPassword)
			status, _, err := c.ask(t, "q")
			if tc.as == nil {
				if status != 200 || err != nil {
					t.Errorf("%d %v", status, err)
				}
				return
			}
			if !errors.As(err, tc.as) {
				t.Errorf("%d %v", status, err)
			}
			if n := x.seen(t); n != 0 {
				t.Errorf("%d requests reached it", n)
			}
		})
	}
}

// TestInteropRedirectToHTTP: a redirect is an answer, not a way to go.
func TestInteropRedirectToHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Error("the client went to the address of the redirect")
			_ = conn.Close()
		}
	}()
	x := newApache(t, basicDirectives+"Redirect 302 http://"+l.Addr().String()+"/EWS/Exchange.asmx\n", nil, htpasswd(testUser))
	c := newClient(t, x.url, x.pool, func(o *Options) { o.Method, o.Username = Basic, testUser })
	c.password.Store(testPassword)
	if status, _, err := c.ask(t, "q"); status != 302 || err != nil {
		t.Errorf("%d %v", status, err)
	}
}
