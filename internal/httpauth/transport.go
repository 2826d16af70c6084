package httpauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// transport is the http.RoundTripper of a client: it adds the credential and chooses the connection.
type transport struct {
	base     *url.URL
	method   Method
	username string
	password func() ([]byte, error)
	guard    *guard
	lanes    *lanes
}

// RoundTrip implements http.RoundTripper. The connection is the request's until the body of the answer is read or closed.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.mine(req); err != nil {
		closeBody(req)
		return nil, err
	}
	req, credential, err := t.sign(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	l, err := t.lanes.take(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := l.do(req, credential)
	if err != nil {
		t.lanes.give(l)
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, release: sync.OnceFunc(func() { t.lanes.give(l) })}
	return resp, nil
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

// sign gives a copy of the request the credential; for NTLM, in the form that the negotiator takes off again.
func (t *transport) sign(req *http.Request) (*http.Request, fingerprint, error) {
	if t.method == None {
		return req, fingerprint{}, nil
	}
	password, err := t.password()
	if err != nil {
		return req, fingerprint{}, fmt.Errorf("read the password: %w", err)
	}
	if len(password) == 0 {
		return req, fingerprint{}, errors.New("the password is empty; check exchange.auth.password_file")
	}
	c := t.guard.fingerprint(t.username, password)
	if err := t.guard.check(c); err != nil {
		return req, c, err
	}
	signed := req.Clone(req.Context())
	signed.SetBasicAuth(t.username, string(password))
	return signed, c, nil
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
