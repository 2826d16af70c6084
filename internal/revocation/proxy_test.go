package revocation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// testProxy forwards requests, and opens tunnels, to one server, whatever host is asked for.
type testProxy struct {
	*httptest.Server
	target string // HOST:PORT
	status int    // in place of all that; 0 is none

	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T, target string) *testProxy {
	t.Helper()
	p := &testProxy{target: target}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	switch {
	case p.status != 0:
		w.WriteHeader(p.status)
	case r.Method == http.MethodConnect:
		p.tunnel(w)
	default:
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", p.target
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}
}

func (p *testProxy) tunnel(w http.ResponseWriter) {
	back, err := net.Dial("tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	front, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		back.Close()
		return
	}
	io.WriteString(front, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { io.Copy(back, front); back.Close() }()
	go func() { io.Copy(front, back); front.Close() }()
}

// requests are those of the proxy since the last call.
func (p *testProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.asked = nil }()
	return p.asked
}

// proxied makes a client that asks through p, on a machine whose name servers know these names.
func proxied(t *testing.T, p *testProxy, allow []string, names map[string]string) *Client {
	t.Helper()
	c, err := NewClient(ClientOptions{Allow: allow, Proxy: p.URL, Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDestinations(allow)
	if err != nil {
		t.Fatal(err)
	}
	at := &proxy{url: c.proxy, address: c.proxy.Host, destinations: d, lookup: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		if a, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{a}, nil
		}
		var found []netip.Addr
		for text := range strings.FieldsSeq(names[host]) {
			found = append(found, netip.MustParseAddr(text))
		}
		if found == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return found, nil
	}}
	transport := c.http.Transport.(*http.Transport)
	transport.Proxy, transport.DialContext = at.route, at.dial
	return c
}

// TestProxy: what is out is asked through the proxy, what is inside not at all, or without it when it is allowed.
func TestProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		io.WriteString(w, "the list")
	}))
	t.Cleanup(server.Close)
	target := strings.TrimPrefix(server.URL, "http://")
	p := newProxy(t, target)
	names := map[string]string{"crl.example": "203.0.113.7 2001:db8::7", "pki.corp.example": "10.1.2.3", "mixed.example": "203.0.113.7 10.1.2.3",
		"metadata.example": "169.254.169.254", "here.corp.example": "127.0.0.1"}
	for _, tc := range []struct {
		url, allow string
		asked      []string // of the proxy
		err        string
	}{
		{url: "http://crl.example/a.crl", asked: []string{"GET http://crl.example/a.crl"}},
		{url: "http://203.0.113.7:8080/a.crl", asked: []string{"GET http://203.0.113.7:8080/a.crl"}},
		{url: "http://unknown.here.example/a.crl", asked: []string{"GET http://unknown.here.example/a.crl"}},
		{url: "http://crl.example/?to=http://other.example/b", asked: []string{"GET http://crl.example/?to=http://other.example/b", "GET http://other.example/b"}},
		{url: "http://crl.example/?to=http://10.0.0.1/b", asked: []string{"GET http://crl.example/?to=http://10.0.0.1/b"}, err: "10.0.0.1 is a private address"},
		{url: "http://crl.example/?to=http://pki.corp.example/b", asked: []string{"GET http://crl.example/?to=http://pki.corp.example/b"}, err: "pki.corp.example is at 10.1.2.3, a private address"},
		{url: "http://127.0.0.1/a.crl", err: "an address of this machine"},
		{url: "http://[::ffff:10.0.0.1]/a.crl", err: "a private address"},
		{url: "http://pki.corp.example/a.crl", err: "a private address"},
		{url: "http://mixed.example/a.crl", err: "a private address"},
		{url: "http://metadata.example/latest", err: "a link-local address"},
		{url: "http://pki/a.crl", err: "of the own network"},
		{url: "http://pki.local./a.crl", err: "of the own network"},
		{url: "http://2130706433/a.crl", err: "of the own network"},
		{url: "http://127.1/a.crl", err: "of the own network"},
		{url: "http://0x7f.0x1/a.crl", err: "of the own network"},
		{url: server.URL + "/a.crl", allow: "127.0.0.0/8"},
		{url: "http://here.corp.example:" + server.URL[strings.LastIndex(server.URL, ":")+1:] + "/a.crl", allow: "127.0.0.1", err: "lookup here.corp.example"}, // asked directly, of whatever name servers this machine has
		{url: "http://" + strings.TrimPrefix(p.URL, "http://") + "/a.crl", err: "an address of this machine"},
	} {
		var allow []string
		if tc.allow != "" {
			allow = []string{tc.allow}
		}
		c := proxied(t, p, allow, names)
		body, err := c.Fetch(t.Context(), tc.url, "*/*", 1000)
		if tc.err == "" && (err != nil || string(body) != "the list") || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %q, %v", tc.url, body, err)
		}
		if got := p.requests(); !slices.Equal(got, tc.asked) {
			t.Errorf("%s: the proxy was asked for %q", tc.url, got)
		}
	}
}

// TestProxyTunnel: https goes end to end, and its certificate is verified.
func TestProxyTunnel(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the list") }))
	t.Cleanup(server.Close)
	p := newProxy(t, strings.TrimPrefix(server.URL, "https://"))
	for _, trusted := range []bool{true, false} {
		c := proxied(t, p, nil, map[string]string{"example.com": "203.0.113.7"})
		if trusted {
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
		}
		body, err := c.Fetch(t.Context(), "https://example.com/a.crl", "*/*", 1000)
		if trusted && (err != nil || string(body) != "the list") || !trusted && (err == nil || !strings.Contains(err.Error(), "certificate")) {
			t.Errorf("trusted %v: %q, %v", trusted, body, err)
		}
		if got := p.requests(); !slices.Equal(got, []string{"CONNECT example.com:443"}) {
			t.Errorf("the proxy was asked for %q", got)
		}
	}
}

// TestProxyUnknownNames: a name that is unknown here is looked up once in ten minutes, so that name servers that do not answer
// cost little; one that is known every time.
func TestProxyUnknownNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		p := &proxy{url: &url.URL{Scheme: "http", Host: "proxy:3128"}, lookup: func(ctx context.Context, _, host string) ([]netip.Addr, error) {
			if asked[host]++; host == "known.example" {
				return []netip.Addr{netip.MustParseAddr("203.0.113.7")}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		began := time.Now()
		for range 3 {
			for _, host := range []string{"silent.example", "known.example"} {
				r := (&http.Request{URL: &url.URL{Scheme: "http", Host: host}}).WithContext(t.Context())
				if way, err := p.route(r); way != p.url || err != nil {
					t.Errorf("%s goes %v, %v", host, way, err)
				}
			}
		}
		if asked["silent.example"] != 1 || asked["known.example"] != 3 || time.Since(began) != lookupTime {
			t.Errorf("%v in %s", asked, time.Since(began))
		}
		time.Sleep(unknownTime)
		for i := range 2 * maxUnknown {
			_, _ = p.addresses(context.Background(), fmt.Sprintf("n%d.example", i))
		}
		if len(p.unknown) > maxUnknown || asked["silent.example"] != 1 {
			t.Errorf("%d names are remembered", len(p.unknown))
		}
	})
}

// TestProxyInTheWay: a proxy that does not let requests through is named, with what to do; the environment's is not used.
func TestProxyInTheWay(t *testing.T) {
	p := newProxy(t, "127.0.0.1:1")
	names := map[string]string{"crl.example": "203.0.113.7"}
	for _, scheme := range []string{"http", "https"} {
		p.status = http.StatusProxyAuthRequired
		_, err := proxied(t, p, nil, names).Fetch(t.Context(), scheme+"://crl.example/a.crl", "*/*", 1000)
		if err == nil || !strings.Contains(err.Error(), "the proxy 127.0.0.1:") || !strings.Contains(err.Error(), "407") || !strings.Contains(hintOf(err), "trust.proxy") {
			t.Errorf("%s: %v, hint %q", scheme, err, hintOf(err))
		}
	}
	p.Close()
	_, err := proxied(t, p, nil, names).Fetch(t.Context(), "http://crl.example/a.crl", "*/*", 1000)
	if err == nil || !strings.HasPrefix(err.Error(), "connect to the proxy: ") || !strings.Contains(hintOf(err), "trust.proxy") {
		t.Errorf("no proxy there: %v", err)
	}
	c, err := NewClient(ClientOptions{})
	if err != nil || c.http.Transport.(*http.Transport).Proxy != nil {
		t.Errorf("without trust.proxy there is one: %v", err)
	}
}

func TestParseProxy(t *testing.T) {
	for text, ok := range map[string]bool{"http://proxy:3128": true, "https://proxy.example/": true, "http://[::1]:8080": true, "proxy:3128": false, "": false,
		"socks5://proxy:1080": false, "http://user:secret@proxy:3128": false, "http://proxy/path": false, "http://proxy?x": false, "http://": false, "http://proxy:port": false} {
		u, err := ParseProxy(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v, %v", text, u, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows what may be secret: %v", text, err)
		}
	}
}

// FuzzProxyRoute: whatever a URL says, an address that is inside is not handed to the proxy.
func FuzzProxyRoute(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1/", "http://[::ffff:10.0.0.1]:80/", "http://0x7f.1/", "http://example.com./", "http://[fe80::1%25eth0]/"} {
		f.Add(seed)
	}
	out := &url.URL{Scheme: "http", Host: "proxy:3128"}
	p := &proxy{url: out, lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if a, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{a}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		way, err := p.route((&http.Request{URL: u}).WithContext(t.Context()))
		if err != nil {
			return
		}
		a, literal := netip.ParseAddr(u.Hostname())
		if way != out || literal == nil && inside(a.WithZone("").Unmap()) != "" || literal != nil && !strings.Contains(u.Hostname(), ".") {
			t.Fatalf("%q goes %v", text, way)
		}
	})
}
