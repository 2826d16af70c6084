package revocation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of one request.
const (
	requestTime  = 60 * time.Second
	dialTime     = 10 * time.Second
	maxRedirects = 3
	maxAnswer    = 128 << 10 // of an OCSP answer, in bytes
)

// Client asks the servers of authorities.
type Client struct {
	http    *http.Client
	proxy   *url.URL // nil for none
	maxSize int64
	agent   string
}

// ClientOptions say how servers are asked. The zero value asks the open Internet, without a proxy.
type ClientOptions struct {
	// Allow names what may be asked inside of a network: host names, IP addresses and networks ("10.1.0.0/16").
	Allow []string
	// Proxy is what ParseProxy takes, for everything that Allow does not name; empty is none, whatever the environment says.
	Proxy string
	// MaxSize is the size of the largest CRL, in bytes; 0 is DefaultMaxSize.
	MaxSize int64
	// Agent is the User-Agent.
	Agent string
}

// NewClient makes a client that asks over http, because what it fetches is signed, and https; and no address inside of a
// network unless it is allowed. The address is checked when the connection is made, after the name was resolved, so that no
// name leads around it; with a proxy, which resolves names by itself, before it is asked. Redirects are followed three
// times, under the same rules.
func NewClient(o ClientOptions) (*Client, error) {
	d, err := parseDestinations(o.Allow)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: d.dial, TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: requestTime, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true, DisableKeepAlives: true,
	}
	var way *url.URL
	if o.Proxy != "" {
		if way, err = d.through(transport, o.Proxy); err != nil {
			return nil, err
		}
	}
	redirects := func(next *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if webAddress(next.URL.String()) == "" {
			return errors.New("redirected to what is neither http nor https")
		}
		return nil
	}
	return &Client{http: &http.Client{Transport: transport, CheckRedirect: redirects, Timeout: requestTime}, proxy: way, maxSize: cmp.Or(o.MaxSize, DefaultMaxSize), agent: o.Agent}, nil
}

// destinations are inside addresses that may be asked all the same.
type destinations struct {
	hosts    []string // lower case
	networks []netip.Prefix
}

func parseDestinations(allow []string) (destinations, error) {
	var d destinations
	for _, text := range allow {
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap()
			d.networks = append(d.networks, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(text); err == nil {
			d.networks = append(d.networks, p.Masked())
		} else if text == "" || strings.ContainsAny(text, "/:@ \t") {
			return d, fmt.Errorf("%q is not a host name, an address or a network", text)
		} else {
			d.hosts = append(d.hosts, strings.ToLower(strings.TrimSuffix(text, ".")))
		}
	}
	return d, nil
}

// dial connects like net.Dialer, but checks every resolved address first.
func (d destinations) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTime}
	if !d.named(strings.ToLower(strings.TrimSuffix(host, "."))) {
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error { return d.check(host, resolved) }
	}
	return dialer.DialContext(ctx, network, address)
}

// named reports whether a host is allowed by its name, in lower case.
func (d destinations) named(host string) bool { return slices.Contains(d.hosts, host) }

// allowed reports whether an address is.
func (d destinations) allowed(addr netip.Addr) bool {
	return slices.ContainsFunc(d.networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// errInside reports an address that is not asked.
type errInside struct {
	host string
	addr netip.Addr
	kind string
}

func (e *errInside) Error() string {
	if !e.addr.IsValid() || e.host == e.addr.String() {
		return fmt.Sprintf("%s is %s", e.host, e.kind)
	}
	return fmt.Sprintf("%s is at %s, %s", e.host, e.addr, e.kind)
}

func (e *errInside) Hint() string { return hintAllow }

const hintAllow = "if that server is the authority's, name it in trust.revocation_allow"

// check refuses an address inside of a network.
func (d destinations) check(host, resolved string) error {
	at, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return fmt.Errorf("connect to %s: no address", host)
	}
	addr := at.Addr().WithZone("").Unmap()
	kind := inside(addr)
	if kind == "" || d.allowed(addr) {
		return nil
	}
	return &errInside{host, addr, kind}
}

// inside names the kind of an address that is not of the open Internet (RFC 6890 and its registries); empty for one that
// is. Addresses that hold an IPv4 address are what that is.
func inside(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "an address of this machine"
	case a.IsUnspecified():
		return "no address of a machine"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsPrivate():
		return "a private address"
	}
	for _, r := range reserved {
		if r.network.Contains(a) {
			return r.kind
		}
	}
	if v4, ok := embedded(a); ok {
		return inside(v4)
	}
	return ""
}

// reserved are the networks that netip has no word for.
var reserved = []struct {
	network netip.Prefix
	kind    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "no address of a machine"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a private address of a provider"},
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address"},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address for measurements"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a private address"},
	{netip.MustParsePrefix("fec0::/10"), "a private address"},
}

// embedded returns the IPv4 address that NAT64 (RFC 6052), 6to4 (RFC 3056) and IPv4-compatible addresses lead to.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return a, false
}

// fetched is what a server sent.
type fetched struct {
	body           []byte
	unchanged      bool
	etag, modified string
}

// list fetches a CRL, unless the server says that it is the one with these marks.
func (c *Client) list(ctx context.Context, url, etag, modified string) (*fetched, error) {
	header := http.Header{"Accept": {"application/pkix-crl, */*"}}
	if etag != "" {
		header.Set("If-None-Match", etag)
	}
	if modified != "" {
		header.Set("If-Modified-Since", modified)
	}
	return c.do(ctx, http.MethodGet, url, nil, header, c.maxSize)
}

// ask sends an OCSP request (RFC 6960 appendix A).
func (c *Client) ask(ctx context.Context, url string, request []byte) ([]byte, error) {
	header := http.Header{"Content-Type": {"application/ocsp-request"}, "Accept": {"application/ocsp-response"}}
	f, err := c.do(ctx, http.MethodPost, url, request, header, maxAnswer)
	if err != nil {
		return nil, err
	}
	return f.body, nil
}

// Fetch gets what is at a URL for which WebAddress is not empty, at most so many bytes, under the rules of NewClient. Its
// errors may advise with Hint.
func (c *Client) Fetch(ctx context.Context, url, accept string, most int64) ([]byte, error) {
	f, err := c.do(ctx, http.MethodGet, url, nil, http.Header{"Accept": {accept}}, most)
	if err != nil {
		return nil, err
	}
	return f.body, nil
}

func (c *Client) do(ctx context.Context, method, address string, body []byte, header http.Header, most int64) (*fetched, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, plain(err)
	}
	request.Header = header
	request.Header.Set("User-Agent", c.agent)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, plain(err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && len(header["If-None-Match"])+len(header["If-Modified-Since"]) > 0:
		return &fetched{unchanged: true}, nil
	case response.StatusCode == http.StatusProxyAuthRequired && c.proxy != nil:
		return nil, refusedBy(c.proxy, response.StatusCode)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	case response.ContentLength > most:
		return nil, c.tooLarge(most)
	}
	f := &fetched{etag: mark(response.Header.Get("ETag")), modified: strong(response.Header)}
	var all bytes.Buffer
	all.Grow(int(max(response.ContentLength, 0)) + bytes.MinRead)
	if _, err := all.ReadFrom(io.LimitReader(response.Body, most+1)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", plain(err))
	}
	f.body = all.Bytes()
	if int64(len(f.body)) > most {
		return nil, c.tooLarge(most)
	}
	return f, nil
}

func (c *Client) tooLarge(most int64) error {
	if most == c.maxSize {
		return &errTooLarge{most}
	}
	return fmt.Errorf("the answer is longer than %d bytes", most)
}

// errTooLarge reports a CRL that is too large.
type errTooLarge struct{ most int64 }

func (e *errTooLarge) Error() string {
	return fmt.Sprintf("the answer is longer than %d bytes", e.most)
}

func (e *errTooLarge) Hint() string {
	return "when CRLs of that authority are so large, raise trust.revocation_max_size"
}

// mark is a header field that is sent back; a long one is forgotten.
func mark(s string) string {
	if len(s) > 256 {
		return ""
	}
	return s
}

// strong is Last-Modified where it tells two versions apart: it counts in seconds, so that a list that was published
// within the minute may still change under the same mark (RFC 9110 section 8.8.2.2).
func strong(h http.Header) string {
	date, err := http.ParseTime(h.Get("Date"))
	modified, err2 := http.ParseTime(h.Get("Last-Modified"))
	if err != nil || err2 != nil || date.Sub(modified) < time.Minute {
		return ""
	}
	return mark(h.Get("Last-Modified"))
}

// plain takes the request out of an error of net/http: who reads it knows the URL.
func plain(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		if outer.Timeout() {
			return fmt.Errorf("no answer within %s", requestTime)
		}
		err = outer.Err
	}
	if inside, ok := errors.AsType[*errInside](err); ok {
		return inside
	}
	if way, ok := errors.AsType[*errProxy](err); ok {
		return way
	}
	return err
}

// hintOf returns what an error advises.
func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
