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
)

// Bounds of what a handshake reads and keeps, in bytes.
const (
	max401  = 64 << 10 // the page that comes with a 401, which nobody reads
	maxBody = 16 << 20 // a question that may have to be sent again
)

// handshakeError reports that a handshake did not stay on its connection; asking again may work.
type handshakeError struct{}

var errHandshake = &handshakeError{}

func (*handshakeError) Error() string {
	return "the connection was lost in the middle of the sign-in"
}
func (*handshakeError) Temporary() bool { return true }

// method is one way to prove who this program is.
type method interface {
	// read reads what the next request is signed with, and the secret in it, which the guard tells credentials apart by.
	// Nothing is sent to the server.
	read(ctx context.Context) (proof, []byte, error)
}

// proof signs one request.
type proof interface {
	// do sends a request over a lane, with its handshake when there is one. A 401 that it returns was counted.
	do(l *lane, req *http.Request) (*http.Response, error)
}

// lane is one connection, used by one request at a time: NTLM authenticates a connection, so its three messages must not
// be spread over several.
type lane struct {
	http  *http.Transport
	guard *guard

	credential fingerprint // of the request under way
	spnego     spnegoState
}

// ask sends a request that does not show the credential, and tells whether its connection is a new one.
func (l *lane) ask(req *http.Request) (resp *http.Response, fresh bool, err error) {
	if resp, fresh, err = l.send(req); err == nil {
		resp, err = settled(resp)
	}
	return resp, fresh, err
}

func (l *lane) send(req *http.Request) (resp *http.Response, fresh bool, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { fresh = !i.Reused }}
	resp, err = l.http.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	return resp, fresh, err
}

// show sends a request that carries the credential, or its proof, under the eyes of the guard. What a 401 means is judged
// by the caller, who is told whether the connection was a new one; with nil it is a refusal.
func (l *lane) show(req *http.Request, judge func(resp *http.Response, fresh bool) outcome) (*http.Response, error) {
	if err := l.guard.enter(req.Context(), l.credential); err != nil {
		closeBody(req)
		return nil, err
	}
	resp, fresh, err := l.send(req)
	o := unanswered
	switch {
	case err != nil:
	case resp.StatusCode < 400:
		o = accepted
	case resp.StatusCode != http.StatusUnauthorized: // somebody on the way may have said so, without a look at the credential
	case judge == nil:
		o = refused
	default:
		o = judge(resp, fresh)
	}
	l.guard.leave(l.credential, o)
	if err != nil {
		return nil, err
	}
	return settled(resp)
}

// refuseUnseen counts a 401 that came before the credential was shown: the server offers no way to.
func (l *lane) refuseUnseen() { l.guard.refusedUnseen(l.credential) }

// question is a request that can be sent several times.
type question struct {
	req  *http.Request
	body []byte
}

// newQuestion reads the body of a request, within bounds.
func newQuestion(req *http.Request) (*question, error) {
	q := &question{req: req}
	if req.Body == nil || req.Body == http.NoBody {
		return q, nil
	}
	defer req.Body.Close()
	var err error
	if q.body, err = io.ReadAll(io.LimitReader(req.Body, maxBody+1)); err != nil {
		return nil, err
	}
	if len(q.body) > maxBody {
		return nil, errors.New("the question is too long to be sent again after a sign-in")
	}
	return q, nil
}

// plain is the question without a credential. It keeps the leave to be sent again on another connection.
func (q *question) plain() *http.Request {
	req := q.req.Clone(q.req.Context())
	req.Header.Del("Authorization")
	q.fill(req, q.body)
	return req
}

// empty is a request with a token and no body: a step of a handshake that asks nothing yet.
func (q *question) empty(scheme string, token []byte) *http.Request {
	req := q.signed(scheme, token)
	q.fill(req, nil)
	return req
}

// signed is the question with a token. It is sent once.
func (q *question) signed(scheme string, token []byte) *http.Request {
	req := q.plain()
	req.Header.Del("Idempotency-Key")
	req.Header.Set("Authorization", scheme+" "+base64.StdEncoding.EncodeToString(token))
	return req
}

func (q *question) fill(req *http.Request, body []byte) {
	req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, int64(len(body))
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// settled reads the body of a 401, so that the connection is free for the next message, and writes the offers one to a
// line.
func settled(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode != http.StatusUnauthorized {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, max401+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(body) > max401 {
		return nil, errors.New("the page that came with the server's 401 has no end")
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.TransferEncoding = nil
	offers := splitOffers(resp.Header.Values("WWW-Authenticate"))
	resp.Header.Del("WWW-Authenticate")
	for _, o := range offers {
		resp.Header.Add("WWW-Authenticate", o)
	}
	return resp, nil
}

// offered tells whether an answer offers a scheme, and the token that came with the offer, if any.
func offered(resp *http.Response, scheme string) (token []byte, ok bool) {
	for _, o := range splitOffers(resp.Header.Values("WWW-Authenticate")) {
		if name, rest, _ := strings.Cut(o, " "); name == scheme {
			ok = true
			if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)); err == nil && len(b) > 0 {
				return b, true
			}
		}
	}
	return nil, ok
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
