package httpauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"

	ntlmssp "github.com/Azure/go-ntlmssp"
)

// max401 bounds the body of a 401, in bytes: a page that nobody reads.
const max401 = 64 << 10

// errHandshake reports that a handshake did not stay on its connection; asking again may work.
var errHandshake = &handshakeError{}

// errChallenge reports a challenge that was not answered, so that the credential was not shown.
var errChallenge = errors.New("the server's NTLM challenge is damaged, or asks for what is not supported (NTLM version 1, key exchange)")

type handshakeError struct{}

func (*handshakeError) Error() string {
	return "the connection was lost in the middle of the NTLM handshake"
}
func (*handshakeError) Temporary() bool { return true }

// lane is one connection, used by one request at a time: NTLM authenticates a connection, so its three messages must not
// be spread over several.
type lane struct {
	http  *http.Transport
	guard *guard
	outer http.RoundTripper // what a request enters: the NTLM negotiator, or the lane itself

	// Of the request under way:
	credential fingerprint
	shown      bool  // the credential was shown to the server
	challenged bool  // the server sent a challenge
	err        error // what the negotiator hides: it returns the first 401 when its handshake breaks
}

func newLane(t *http.Transport, m Method, g *guard) *lane {
	l := &lane{http: t, guard: g}
	l.outer = l
	if m == NTLM {
		l.outer = ntlmssp.Negotiator{RoundTripper: l}
	}
	return l
}

// do sends a request, with its handshake when there is one.
func (l *lane) do(req *http.Request, c fingerprint) (*http.Response, error) {
	l.credential, l.shown, l.challenged, l.err = c, false, false, nil
	resp, err := l.outer.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if l.err != nil {
		_ = resp.Body.Close()
		return nil, l.err
	}
	if resp.StatusCode != http.StatusUnauthorized || l.shown {
		return resp, nil
	}
	if l.challenged {
		_ = resp.Body.Close()
		return nil, errChallenge
	}
	l.guard.refusedUnseen(c)
	return resp, nil
}

// RoundTrip sends one HTTP request; of a handshake, one of its messages.
func (l *lane) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.send(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		err = settle401(resp)
		l.challenged = l.challenged || messageType(resp.Header.Get("WWW-Authenticate")) == challengeMessage
	}
	if err != nil {
		l.err = err
		return nil, err
	}
	return resp, nil
}

func (l *lane) send(req *http.Request) (*http.Response, error) {
	authorization := req.Header.Get("Authorization")
	switch {
	case authorization == "":
		return l.http.RoundTrip(req)
	case messageType(authorization) == authenticateMessage:
		return l.show(once(req), true)
	case strings.HasPrefix(authorization, "Basic "):
		return l.show(req, false)
	}
	return l.http.RoundTrip(once(req))
}

// show sends a request that carries the credential, or its proof, under the eyes of the guard.
func (l *lane) show(req *http.Request, handshake bool) (*http.Response, error) {
	if err := l.guard.enter(req.Context(), l.credential); err != nil {
		closeBody(req)
		return nil, err
	}
	fresh := false
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { fresh = !i.Reused }}
	resp, err := l.http.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	l.shown = true
	switch {
	case err != nil:
		l.guard.leave(l.credential, unanswered)
	case resp.StatusCode != http.StatusUnauthorized:
		l.guard.leave(l.credential, accepted)
	case handshake && fresh:
		// The server did not see the first half of the handshake, so it judged nothing.
		l.guard.leave(l.credential, unanswered)
		_ = resp.Body.Close()
		return nil, errHandshake
	default:
		l.guard.leave(l.credential, refused)
	}
	return resp, err
}

// once takes back the leave to send a request again on another connection.
func once(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Del("Idempotency-Key")
	return req
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// settle401 reads the body of a 401, so that the connection is free for the next message, and writes the offers one to a
// line, as the negotiator expects them.
func settle401(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, max401+1))
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	if len(body) > max401 {
		return errors.New("the page that came with the server's 401 has no end")
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.TransferEncoding = nil
	offers := splitOffers(resp.Header.Values("WWW-Authenticate"))
	resp.Header.Del("WWW-Authenticate")
	for _, o := range offers {
		resp.Header.Add("WWW-Authenticate", o)
	}
	return nil
}

// Messages of NTLM (MS-NLMP section 2.2.1). The last one proves knowledge of the password.
const (
	challengeMessage    = 2
	authenticateMessage = 3
)

// messageType tells which message of NTLM a header value holds; 0 is none.
func messageType(value string) byte {
	_, token, _ := strings.Cut(value, " ")
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) < 12 || string(b[:8]) != "NTLMSSP\x00" {
		return 0
	}
	return b[8]
}

// lanes are the connections of one client. The one used last is used next, because it is signed in.
type lanes struct {
	slots chan struct{}
	mu    sync.Mutex
	free  []*lane
	all   []*lane
}

func newLanes(n int, make1 func() *lane) *lanes {
	ls := &lanes{slots: make(chan struct{}, n)}
	for range n {
		ls.all = append(ls.all, make1())
		ls.slots <- struct{}{}
	}
	ls.free = append(ls.free, ls.all...)
	return ls
}

func (ls *lanes) take(ctx context.Context) (*lane, error) {
	select {
	case <-ls.slots:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	last := len(ls.free) - 1
	l := ls.free[last]
	ls.free = ls.free[:last]
	return l, nil
}

func (ls *lanes) give(l *lane) {
	ls.mu.Lock()
	ls.free = append(ls.free, l)
	ls.mu.Unlock()
	ls.slots <- struct{}{}
}
