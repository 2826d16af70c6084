//go:build interop

package httpauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// boundServer is a server with Extended Protection: an acceptor that is not ours judges its tokens.
type boundServer struct {
	acceptor *acceptor
	mech     string
	binding  []byte
	require  bool

	mu    sync.Mutex
	begun map[net.Conn]bool
	in    map[net.Conn]bool
}

func (s *boundServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	conn := r.Context().Value(connKey{}).(*connState).Conn
	_, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token, _ := base64.StdEncoding.DecodeString(text)
	if s.in[conn] && len(token) == 0 {
		_, _ = w.Write(body)
		return
	}
	answer := ""
	if len(token) > 0 {
		got := s.acceptor.accept(s.mech, token, s.binding, !s.begun[conn])
		s.begun[conn] = got.Error == "" && !got.Complete
		if len(got.Token) > 0 {
			answer = " " + base64.StdEncoding.EncodeToString(got.Token)
		}
		if got.Complete && (!s.require || got.Flags&channelBound != 0) {
			s.in[conn] = true
			w.Header().Set("WWW-Authenticate", "Negotiate"+answer)
			_, _ = w.Write(body)
			return
		}
		if got.Complete {
			answer = ""
		}
	}
	w.Header().Set("WWW-Authenticate", "Negotiate"+answer)
	w.WriteHeader(http.StatusUnauthorized)
}

// startBound starts it over TLS.
func startBound(t *testing.T, s *boundServer) (string, *x509.CertPool) {
	t.Helper()
	ca, cert := authority(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}})
	sum := sha256.Sum256(cert.Certificate[0])
	s.binding = append([]byte("tls-server-end-point:"), sum[:]...)
	s.begun, s.in = map[net.Conn]bool{}, map[net.Conn]bool{}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return serve(t, s, &tls.Config{Certificates: []tls.Certificate{cert}}), pool
}

// localhost names a loopback URL by name, as the Kerberos service is.
func localhost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// TestInteropExtendedProtection asks servers whose acceptor checks the channel binding: through TLS to the server itself,
// through a relay with another certificate, and through one without TLS.
func TestInteropExtendedProtection(t *testing.T) {
	needNTLMPlugin(t)
	r := newRealm(t, "1h")
	users := write(t, r.dir, "users", "CORP:"+testUser+":"+testPassword+"\n")
	a := newAcceptor(t, "NTLM_USER_FILE="+users, "KRB5_KTNAME="+r.service, "KRB5_CONFIG="+r.conf, "KRB5RCACHENAME=none:")
	for method, mech := range map[Method]string{NTLM: mechNTLM, Kerberos: mechSPNEGO} {
		for _, tc := range []struct {
			front       string
			require, ok bool
		}{
			{"none", true, true},
			{"none", false, true},
			{"other certificate", true, false},
			{"other certificate", false, false},
			{"plain http", true, false},
			{"plain http", false, true},
		} {
			t.Run(fmt.Sprintf("%s, %s, required %t", method, tc.front, tc.require), func(t *testing.T) {
				url, pool := startBound(t, &boundServer{acceptor: a, mech: mech, require: tc.require})
				if tc.front != "none" {
					url = relay(t, strings.TrimPrefix(url, "https://"), pool, tc.front == "other certificate")
				}
				if method == Kerberos && tc.front != "other certificate" {
					url = localhost(url)
				}
				c := newClient(t, url, pool, func(o *Options) {
					o.Method, o.MaxConns = method, 1
					o.Kerberos = KerberosOptions{Keytab: r.keytab, Config: r.conf, Service: "HTTP/localhost"}
					if method == Kerberos {
						o.Username, o.Now = principalName, nil
					}
				})
				c.password.Store(testPassword)
				if !tc.ok {
					wantRefusals(t, c)
					return
				}
				for range 3 {
					if status, body, err := c.ask(t, "q"); status != 200 || body != "q" || err != nil {
						t.Errorf("%d %q %v", status, body, err)
					}
				}
			})
		}
	}
}

// TestInteropKerberosAcceptor looks at single tokens, at the server's proof, and at a proof that is not the server's.
func TestInteropKerberosAcceptor(t *testing.T) {
	r := newRealm(t, "1h")
	a := newAcceptor(t, "KRB5_KTNAME="+r.service, "KRB5_CONFIG="+r.conf, "KRB5RCACHENAME=none:")
	m, err := newKerberos(KerberosOptions{Keytab: r.keytab, Config: r.conf, Service: "HTTP/localhost"}, principalName, mustURL(t, "https://localhost/"), nowUTC)
	if err != nil {
		t.Fatal(err)
	}
	key, err := readPrivate(r.keytab, maxKeytab)
	if err != nil {
		t.Fatal(err)
	}
	tk, _, err := m.ticketFor(t.Context(), &lane{guard: newGuard(0, nowUTC)}, key)
	if err != nil {
		t.Fatal(err)
	}
	right := append([]byte("tls-server-end-point:"), bytes.Repeat([]byte{7}, 32)...)
	wrong := append([]byte("tls-server-end-point:"), bytes.Repeat([]byte{8}, 32)...)
	for name, tc := range map[string]struct {
		server, client []byte
		ok, bound      bool
	}{
		"right":                {right, right, true, true},
		"wrong":                {right, wrong, false, false},
		"asked, absent":        {right, nil, true, false},
		"not asked":            {nil, right, true, false},
		"neither asked nor in": {nil, nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := newSPNEGO(tk, tc.client)
			if err != nil {
				t.Fatal(err)
			}
			got := a.accept(mechSPNEGO, token.token, tc.server, true)
			if tc.ok != (got.Complete && got.Error == "") || tc.bound != (got.Flags&channelBound != 0) {
				t.Fatalf("%+v", got)
			}
			if !tc.ok {
				return
			}
			if got.Initiator != principalName || len(got.Token) == 0 {
				t.Errorf("%+v", got)
			}
			if err := token.verify(got.Token); err != nil {
				t.Errorf("the server's proof: %v", err)
			}
			other, err := newSPNEGO(tk, tc.client)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.verify(got.Token); err == nil {
				t.Error("the proof of another sign-in was accepted")
			}
			for i := len(got.Token) - 40; i < len(got.Token); i++ { // of the ciphertext
				bad := bytes.Clone(got.Token)
				bad[i] ^= 1
				if err := token.verify(bad); err == nil {
					t.Errorf("a proof with byte %d changed was accepted", i)
				}
			}
		})
	}
}
