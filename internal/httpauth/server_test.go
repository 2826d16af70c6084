package httpauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf16"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// ntlmServer plays the server's half of NTLM for one user. It judges by the user name in the message and by the switch
// refuse; that the proof in it is right is for servers that verify it.
type ntlmServer struct {
	t        *testing.T
	user     string
	offers   []string
	page     string // the body of a 401
	refuse   atomic.Bool
	oldNTLM  atomic.Bool // ask for NTLM version 1
	dropNext atomic.Bool // close the connection instead of sending the next challenge's answer

	requests, shown atomic.Int64 // HTTP requests; messages with a proof
	mu              sync.Mutex
	bodies          []string
	conn            net.Conn // of the last request
}

type connKey struct{}

// connState is what the server knows of a connection.
type connState struct {
	net.Conn
	challenged, signedIn bool
}

func (s *ntlmServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	body, _ := io.ReadAll(r.Body)
	conn := r.Context().Value(connKey{}).(*connState)
	s.mu.Lock()
	s.conn = conn.Conn
	s.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	msg, _ := base64.StdEncoding.DecodeString(token)
	switch {
	case scheme == "Basic":
		s.t.Error("the password itself came with Basic")
	case conn.signedIn && token == "":
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		_, _ = io.WriteString(w, "hello")
		return
	case len(msg) > 12 && msg[8] == 1:
		conn.challenged = true
		c := challenge()
		if s.oldNTLM.Load() {
			c[20] |= 0x80 // NTLMSSP_NEGOTIATE_LM_KEY
		}
		w.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(c))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, s.page)
		return
	case len(msg) > 12 && msg[8] == 3:
		s.shown.Add(1)
		if s.dropNext.Swap(false) {
			panic(http.ErrAbortHandler)
		}
		if conn.challenged && !s.refuse.Load() && userOf(msg) == s.user {
			conn.signedIn = true
			s.mu.Lock()
			s.bodies = append(s.bodies, string(body))
			s.mu.Unlock()
			_, _ = io.WriteString(w, "hello")
			return
		}
	}
	for _, o := range s.offers {
		w.Header().Add("WWW-Authenticate", o)
	}
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, s.page)
}

// challenge is a CHALLENGE_MESSAGE with the target CORP (MS-NLMP section 2.2.1.2).
func challenge() []byte {
	name := utf16le("CORP")
	var info []byte
	for _, id := range []uint16{2, 1} {
		info = binary.LittleEndian.AppendUint16(info, id)
		info = binary.LittleEndian.AppendUint16(info, uint16(len(name)))
		info = append(info, name...)
	}
	info = append(info, 0, 0, 0, 0)
	m := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	m = field(m, len(name), 56)
	m = binary.LittleEndian.AppendUint32(m, 0xa2898205) // Unicode, NTLM, target info, extended session security; no key exchange
	m = append(m, 1, 2, 3, 4, 5, 6, 7, 8)
	m = append(m, make([]byte, 8)...)
	m = field(m, len(info), 56+len(name))
	m = append(m, 10, 0, 0x63, 0x45, 0, 0, 0, 15)
	return append(append(m, name...), info...)
}

func field(m []byte, length, offset int) []byte {
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	return binary.LittleEndian.AppendUint32(m, uint32(offset))
}

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// userOf reads the user name of an AUTHENTICATE_MESSAGE.
func userOf(m []byte) string {
	if len(m) < 64 {
		return ""
	}
	n, at := int(binary.LittleEndian.Uint16(m[36:])), int(binary.LittleEndian.Uint32(m[40:]))
	if at+n > len(m) {
		return ""
	}
	var u []uint16
	for i := at; i+1 < at+n; i += 2 {
		u = append(u, binary.LittleEndian.Uint16(m[i:]))
	}
	return string(utf16.Decode(u))
}

// start serves on loopback over TLS, and returns the URL and the roots.
func start(t *testing.T, h http.Handler) (string, *x509.CertPool) {
	t.Helper()
	ca, cert := authority(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return serve(t, h, &tls.Config{Certificates: []tls.Certificate{cert}}), pool
}

// authority makes a CA and a certificate of it.
func authority(t *testing.T, o testca.Options) (*testca.CA, tls.Certificate) {
	t.Helper()
	ca, err := testca.New("httpauth test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(o)
	if err != nil {
		t.Fatal(err)
	}
	return ca, tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.Key}
}

func serve(t *testing.T, h http.Handler, config *tls.Config) string {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, &connState{Conn: c})
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.TLS = config
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}
