package httpauth

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

func (o *Options) dial(h *http.Transport, base *url.URL) {
	if o.Dial != nil && base.Scheme == "https" {
		h.DialContext = o.Dial
	}
}

// NewAnonymous returns a client that shows no credential, for the question of which way in there is. It speaks https only,
// to any host, verifies the certificate with the roots of o, follows no redirect and uses no proxy.
func NewAnonymous(o Options) (*http.Client, error) {
	roots, err := o.roots()
	if err != nil {
		return nil, fmt.Errorf("prepare the roots: %w", err)
	}
	base := &url.URL{Scheme: "https"}
	h := newTransport(base, roots)
	o.dial(h, base)
	return &http.Client{
		Transport:     httpsOnly{h},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// httpsOnly refuses other schemes, and credentials that slipped into a request.
type httpsOnly struct{ http *http.Transport }

func (t httpsOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || req.URL.User != nil || req.Header.Get("Authorization") != "" {
		closeBody(req)
		return nil, errors.New("this client speaks https only, and shows no credential")
	}
	return t.http.RoundTrip(req)
}

// CloseIdleConnections is called by the method of http.Client.
func (t httpsOnly) CloseIdleConnections() { t.http.CloseIdleConnections() }

// Handshake connects to the server of o.URL, offers HTTP/2 beside HTTP/1.1, and returns what came of it. The certificate
// is verified as ever, and no request is sent.
func Handshake(ctx context.Context, o Options) (tls.ConnectionState, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return tls.ConnectionState{}, errors.New("the URL is not of the form https://HOST/PATH")
	}
	roots, err := o.roots()
	if err != nil {
		return tls.ConnectionState{}, fmt.Errorf("prepare the roots: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+tlsTimeout)
	defer cancel()
	dial := o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	if err := c.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}
