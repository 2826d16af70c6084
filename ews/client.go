// Package ews asks Exchange Web Services for address book entries and their certificates: the ResolveNames operation
// (MS-OXWSRSLNM), the only one that carries certificates of the Global Address List.
//
// Client is a directory.Source. It asks one question per HTTP request, repeats none (but net/http may send one again when
// a kept connection turns out to be closed), and reads the answer as a stream within fixed bounds: whatever a server
// sends costs a bounded amount of memory and of time. Server answers are matched on response codes, never on text, which
// servers translate. An error means that there is no usable answer; only the server's own word, which is
// ErrorNameResolutionNoResults or a complete and empty ResolutionSet, means that there is nobody.
package ews

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// Defaults of the zero values of Client.
const (
	DefaultVersion   = "Exchange2013_SP1"
	DefaultUserAgent = "galsyncd"
	DefaultTimeout   = 60 * time.Second
)

// maxDrain is how much of an answer that nobody wants is read so that its connection can be used again.
const maxDrain = 256 << 10

// Client speaks to one Exchange server. Its fields are not changed after first use; its methods may be called at the
// same time.
type Client struct {
	// URL of the service, for example https://mail.example.com/EWS/Exchange.asmx. Plain http is accepted for loopback
	// addresses only.
	URL string
	// HTTP carries the requests and knows the credential; nil is http.DefaultClient. Redirects are never followed,
	// whatever it says.
	HTTP *http.Client
	// UserAgent is sent with each request; administrators admit programs by it. Printable ASCII; empty is DefaultUserAgent.
	UserAgent string
	// Mailbox is the SMTP address of the mailbox on whose behalf the requests are made (ExchangeImpersonation,
	// MS-OXWSCDATA section 2.2.4.41), for an account that has none of its own. It is sent as X-AnchorMailbox, too, so that
	// the front end finds the right server. Empty is the account's own mailbox.
	Mailbox string
	// Version is the RequestServerVersion (MS-OXWSCDATA section 2.2.5.3); empty is DefaultVersion, or what comes before it
	// and the server knows. Versions below
	// Exchange2010_SP2 are refused, because they hide all certificates.
	Version string
	// Timeout bounds each request from its start to the last byte of its answer; zero is DefaultTimeout.
	Timeout time.Duration
	// Logger is told of each request at debug level, without names or addresses; nil is silence.
	Logger *slog.Logger
	// Observe is told what each answer looked like; nil is nobody. It may be called by several requests at once.
	Observe func(Observation)
	// Now is the clock for Retry-After dates; nil is time.Now.
	Now func() time.Time

	lower atomic.Int32 // how many versions below DefaultVersion the server turned out to want
	exact atomic.Bool  // the server has shown that it knows "="
}

// versions are the values of RequestServerVersion that have certificates, in order.
var versions = []string{"Exchange2010_SP2", "Exchange2013", "Exchange2013_SP1", "Exchange2016"}

// errTimeLimit is the cause of a context that ran into Client.Timeout.
var errTimeLimit = errors.New("time limit of the request")

// ResolveNames asks the server for the entries that match one name. No entries, not Truncated and no error mean that the
// server says there is nobody. The error wraps *Error.
func (c *Client) ResolveNames(ctx context.Context, req ResolveNamesRequest) (ResolveNamesResponse, error) {
	const op = "ResolveNames"
	x, a, err := c.ask(ctx, op, req.envelope)
	if err != nil {
		return ResolveNamesResponse{}, err
	}
	return a.resolveNames(x)
}

// ask sends the request that envelope makes for a version, and reads the answer. When the server does not know the version
// and the caller named none, it asks again in the one before, and remembers. It never goes below Exchange2010_SP2, where
// all certificates would be missing.
func (c *Client) ask(ctx context.Context, op string, envelope func(header) ([]byte, error)) (*exchange, *answer, error) {
	for {
		x := &exchange{client: c, op: op, id: newRequestID(), caller: ctx}
		lower := c.lower.Load()
		body, err := envelope(header{version: c.version(lower), mailbox: c.Mailbox})
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return x, nil, x.refuse(err)
		}
		a, err := x.do(body)
		e, failed := errors.AsType[*Error](err)
		if !failed || e.Code != codeInvalidVersion || c.Version != "" || c.version(lower) == versions[0] {
			return x, a, err
		}
		c.lower.CompareAndSwap(lower, lower+1)
	}
}

// version is the one to ask in, lower steps below the default.
func (c *Client) version(lower int32) string {
	if c.Version != "" {
		return c.Version
	}
	return versions[max(0, slices.Index(versions, DefaultVersion)-int(lower))]
}

// check reports settings that no request may be sent with.
func (c *Client) check() error {
	if v := c.version(0); !slices.Contains(versions, v) {
		return fmt.Errorf("version %q is not one of %s", v, strings.Join(versions, ", "))
	}
	if strings.ContainsFunc(c.UserAgent+c.Mailbox, notInHeader) {
		return errors.New("the user agent or the mailbox has a character that no HTTP header has")
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("the URL is not of the form https://HOST/EWS/Exchange.asmx")
	case u.Scheme == "https" || u.Scheme == "http" && httpfault.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("plain http is accepted for loopback addresses only; use https")
	}
	return fmt.Errorf("scheme %q is not https", u.Scheme)
}

// notInHeader reports what does not belong into a header field: controls, which could begin another one, and all that is
// not ASCII (RFC 9110 section 5.5).
func notInHeader(r rune) bool { return r < ' ' || r > '~' }

// newRequestID makes a random UUID for client-request-id (RFC 9562 section 5.4).
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// exchange is one request and its answer.
type exchange struct {
	client *Client
	op, id string
	caller context.Context
	status int
	size   int64
	header http.Header
	// theirs is the identifier that the server gave the request; empty when it did not say.
	theirs string
}

// do sends an envelope and reads the answer, all within the time limit.
func (x *exchange) do(envelope []byte) (*answer, error) {
	started := time.Now()
	ctx, cancel := context.WithTimeoutCause(x.caller, cmp.Or(x.client.Timeout, DefaultTimeout), errTimeLimit)
	defer cancel()
	a, err := x.roundTrip(ctx, envelope)
	if log := x.client.Logger; log != nil {
		facts := []any{"operation", x.op, "status", x.status, "bytes", x.size, "duration", time.Since(started),
			"client-request-id", x.id, "request-id", x.theirs}
		if err != nil {
			facts = append(facts, "error", err)
		}
		log.Log(ctx, x.level(err), "exchange answered", facts...)
	}
	x.observe(a, err, time.Since(started))
	return a, err
}

// level is how loud the log is about a request: one without a usable answer is worth its identifiers, under which the
// server's administrator finds it.
func (x *exchange) level(err error) slog.Level {
	if err == nil || x.caller.Err() != nil || errors.Is(err, directory.ErrInvalidName) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (x *exchange) roundTrip(ctx context.Context, envelope []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.client.URL, bytes.NewReader(envelope))
	if err != nil {
		return nil, x.refuse(err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Accept", "text/xml")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", cmp.Or(x.client.UserAgent, DefaultUserAgent))
	req.Header.Set("client-request-id", x.id)
	req.Header.Set("return-client-request-id", "true")
	if x.client.Mailbox != "" {
		req.Header.Set("X-AnchorMailbox", x.client.Mailbox)
	}
	// Present and empty: not sent, but tells net/http that the question may be asked again on a new connection when a
	// kept one turns out to be closed.
	req.Header["Idempotency-Key"] = nil

	resp, err := x.httpClient().Do(req)
	if err != nil {
		return nil, x.transportError(ctx, err)
	}
	x.status, x.header, x.theirs = resp.StatusCode, resp.Header, httpfault.Clean(resp.Header.Get("request-id"), 64)
	a, err := x.read(ctx, resp)
	// What is left is read within bounds, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	_ = resp.Body.Close()
	return a, err
}

// httpClient is the client's own, except that it follows no redirect: a redirect would carry the question, and with some
// clients the credential, to another host.
func (x *exchange) httpClient() *http.Client {
	h := http.Client{}
	if x.client.HTTP != nil {
		h = *x.client.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

// read turns an HTTP answer into an EWS answer without an error code, or into an error.
func (x *exchange) read(ctx context.Context, resp *http.Response) (*answer, error) {
	if !maySpeakEWS(resp) {
		return nil, x.statusError(resp)
	}
	body, err := decoded(resp)
	if err != nil {
		return nil, x.contentError(ctx, err)
	}
	in := newInput(body)
	a, err := x.parse(resp, in)
	x.size = in.read
	switch {
	case err != nil && resp.StatusCode != http.StatusOK && x.caller.Err() == nil:
		return nil, x.statusError(resp)
	case err != nil:
		return nil, x.contentError(ctx, err)
	case a.failed():
		return nil, x.codeError(a, resp)
	case resp.StatusCode != http.StatusOK:
		return nil, x.statusError(resp)
	}
	return a, nil
}

// maySpeakEWS reports whether the answer can be an EWS message: 200, or a SOAP fault under an error status.
func maySpeakEWS(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch s := resp.StatusCode; s {
	case http.StatusOK, http.StatusInternalServerError:
		return true
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false
	default:
		return s >= 400 && strings.HasSuffix(kind, "xml")
	}
}

func (x *exchange) parse(resp *http.Response, in *input) (*answer, error) {
	kind, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if charset := params["charset"]; charset != "" && !isUTF8(charset) {
		return nil, refusedf("the answer is in %q; only UTF-8 is read", charset)
	}
	if err := in.sniff(kind == "text/html"); err != nil {
		return nil, err
	}
	return readAnswer(in)
}

// decoded undoes gzip. The bound on the answer holds for what comes out of it.
func decoded(resp *http.Response) (io.Reader, error) {
	switch e := strings.ToLower(resp.Header.Get("Content-Encoding")); e {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		z.Multistream(false)
		return z, nil
	default:
		return nil, refusedf("the answer has the content encoding %q; only gzip was offered", e)
	}
}
