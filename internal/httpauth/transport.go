package httpauth

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// transport is the http.RoundTripper of a client: it adds the credential and chooses the connection.
type transport struct {
	base   *url.URL
	kind   string // name of the method
	scope  string // what refusals are counted for together
	method method
	guard  *guard
	lanes  *lanes
}

// RoundTrip implements http.RoundTripper. The connection is the request's until the body of the answer is read or closed.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	p, credential, err := t.prepare(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	l, err := t.lanes.take(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	l.credential = credential
	resp, err := p.do(l, req)
	if err != nil {
		t.lanes.give(l)
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, release: sync.OnceFunc(func() { t.lanes.give(l) })}
	return resp, nil
}

// prepare reads the credential of a request, and refuses one that is not for this server or not to be tried now.
func (t *transport) prepare(req *http.Request) (proof, fingerprint, error) {
	if err := t.mine(req); err != nil {
		return nil, fingerprint{}, err
	}
	p, secret, err := t.method.read(req.Context())
	if err != nil || secret == nil {
		return p, fingerprint{}, err
	}
	c := t.guard.fingerprint(append([]byte(t.scope+"\x00"+t.kind+"\x00"), secret...))
	return p, c, t.guard.check(c)
}

// CloseIdleConnections is called by the method of http.Client.
func (t *transport) CloseIdleConnections() {
	for _, l := range t.lanes.all {
		l.http.CloseIdleConnections()
	}
}

// mine refuses requests to any other server.
func (t *transport) mine(req *http.Request) error {
	if u := req.URL; u.Scheme != t.base.Scheme || !strings.EqualFold(u.Host, t.base.Host) || u.User != nil {
		return fmt.Errorf("this client speaks to %s://%s only", t.base.Scheme, t.base.Host)
	}
	return nil
}

// body is the body of an answer; its end gives the connection to the next request.
type body struct {
	io.ReadCloser
	release func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}
