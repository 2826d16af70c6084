//go:build interop

package autodiscover

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/horde"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestInteropHorde finds ActiveSync at a server that is not ours, behind a TLS front of this test: by JSON and, when the
// front hides that, by XML in the mobilesync schema with a sign-in by Basic.
func TestInteropHorde(t *testing.T) {
	h := horde.Start(t, []horde.Person{{Name: "Ada", Alias: "ada", Address: "ada@corp.example"}}, horde.Options{})
	back, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := testca.New("autodiscover test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{DNSNames: []string{"autodiscover.corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	hidden := false
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", back.Host },
		ModifyResponse: func(r *http.Response) error { // Horde does not know of the front
			body, err := io.ReadAll(r.Body)
			body = bytes.ReplaceAll(body, []byte("http://127.0.0.1/"), []byte("https://autodiscover.corp.example/"))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		}}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hidden && strings.Contains(r.URL.Path, ".json") {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.Key}}}
	front.StartTLS()
	t.Cleanup(front.Close)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	o := httpauth.Options{Roots: roots, Method: httpauth.Basic, Username: horde.User, Password: func() ([]byte, error) { return []byte(horde.Password), nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "autodiscover.corp.example:443" {
				return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
			}
			return new(net.Dialer).DialContext(ctx, network, front.Listener.Addr().String())
		}}
	anonymous, err := httpauth.NewAnonymous(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(anonymous.CloseIdleConnections)
	c := &Client{Address: horde.User + "@corp.example", Protocol: EAS, Anonymous: anonymous, UserAgent: "galsyncd", SignIn: func(base string) (*http.Client, error) {
		o := o
		o.URL = base
		return httpauth.New(o)
	}}
	for _, way := range []Way{JSON, POX} {
		r, err := c.Discover(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last := r.Attempts[len(r.Attempts)-1]
		if !strings.HasSuffix(r.URL, "/Microsoft-Server-ActiveSync") || last.Way != way || last.SignedIn != (way == POX) {
			t.Errorf("%s: %q\n%s", way, r.URL, told(r))
		}
		t.Logf("%s\n%s", r.URL, told(r))
		hidden = true
	}
}
