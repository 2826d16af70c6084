package revocation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of the look-up of a name whose address the proxy will look up again: its time, how long a name is taken for unknown
// without asking again, because name servers that know nothing of the Internet may not even say so, and how many such names
// are remembered.
const (
	lookupTime  = 5 * time.Second
	unknownTime = 10 * time.Minute
	maxUnknown  = 1024
)

// proxy is a way out of a network that has no other one.
type proxy struct {
	url     *url.URL
	address string // host and port
	destinations
	// lookup is that of net.Resolver.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu      sync.Mutex
	unknown map[string]time.Time // when a name was found unknown here
}

// addresses are those that a name has here; none when it is unknown.
func (p *proxy) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	p.mu.Lock()
	since, unknown := p.unknown[host]
	p.mu.Unlock()
	if unknown && time.Since(since) < unknownTime {
		return nil, nil
	}
	ask, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := p.lookup(ask, "ip", host)
	if err == nil || ctx.Err() != nil {
		return addrs, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unknown == nil || len(p.unknown) >= maxUnknown {
		p.unknown = map[string]time.Time{}
	}
	p.unknown[host] = time.Now()
	return nil, nil
}

// ParseProxy reads the address of a proxy: http://HOST:PORT or https://HOST:PORT. One with a user name is refused, because
// nothing is signed in to.
func ParseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("is not of the form http://HOST:PORT")
	case u.User != nil:
		return nil, errors.New("has a user name; a proxy that wants a sign-in is not supported")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has more than host and port; write http://HOST:PORT")
	}
	u.Path = ""
	return u, nil
}

// through makes a transport ask through a proxy, whose address it returns.
func (d destinations) through(t *http.Transport, text string) (*url.URL, error) {
	u, err := ParseProxy(text)
	if err != nil {
		return nil, fmt.Errorf("the proxy %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p := &proxy{url: u, address: net.JoinHostPort(u.Hostname(), port), destinations: d, lookup: net.DefaultResolver.LookupNetIP}
	t.Proxy, t.DialContext = p.route, p.dial
	t.OnProxyConnectResponse = func(_ context.Context, u *url.URL, _ *http.Request, r *http.Response) error {
		if r.StatusCode != http.StatusOK {
			return refusedBy(u, r.StatusCode)
		}
		return nil
	}
	return u, nil
}

// refusedBy is the error of a proxy that does not let a request through.
func refusedBy(u *url.URL, status int) error {
	return &errProxy{fmt.Errorf("the proxy %s answers %d %s", u.Host, status, http.StatusText(status))}
}

// errProxy reports a proxy that stands in the way.
type errProxy struct{ error }

func (e *errProxy) Unwrap() error { return e.error }

func (e *errProxy) Hint() string {
	return "check trust.proxy, and that the proxy lets this machine through"
}

// route is the Proxy of an http.Transport, which calls it for every request and redirect. The proxy connects to what the URL
// names, so that the rules for addresses are applied to that before: to an address in the URL, and to those that the name
// has here. A name that is not known here is left to the proxy, unless it can only be one of the own network. What is inside
// and allowed is asked without the proxy, which leads out.
func (p *proxy) route(r *http.Request) (*url.URL, error) {
	host := strings.ToLower(strings.TrimSuffix(r.URL.Hostname(), "."))
	if p.named(host) {
		return nil, nil
	}
	addrs, err := p.addresses(r.Context(), host)
	switch {
	case err != nil:
		return nil, err
	case len(addrs) == 0 && ownName(host):
		return nil, &errInside{host: host, kind: "a name or address of the own network"}
	}
	direct := false
	for _, a := range addrs {
		a = a.WithZone("").Unmap()
		kind := inside(a)
		if kind != "" && !p.allowed(a) {
			return nil, &errInside{host, a, kind}
		}
		direct = direct || kind != ""
	}
	if direct {
		return nil, nil
	}
	return p.url, nil
}

// ownName reports whether a name that is not known here can only be one of the own network: one without a dot, one of the
// domains for that (RFC 6761, RFC 6762, RFC 8375 and ICANN's .internal), or an address in a form that only some programs
// read ("127.1").
func ownName(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == host || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") ||
		slices.Contains([]string{"localhost", "local", "internal"}, last) || strings.HasSuffix(host, ".home.arpa")
}

// dial connects to the proxy wherever it is, and to others as they may be.
func (p *proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.EqualFold(address, p.address) {
		return p.destinations.dial(ctx, network, address)
	}
	c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
	if err != nil {
		return nil, &errProxy{fmt.Errorf("connect to the proxy: %w", err)}
	}
	return c, nil
}
