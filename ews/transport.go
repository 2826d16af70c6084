package ews

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// retryAfter reads Retry-After (RFC 9110 section 10.2.3): seconds, or a date.
func (c *Client) retryAfter(resp *http.Response) time.Duration {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(max(0, min(n, int64(maxBackOff/time.Second)))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return max(0, min(at.Sub(now()), maxBackOff))
}

// statusError is the error of an answer that says all with its HTTP status.
func (x *exchange) statusError(resp *http.Response) error {
	e := &Error{BackOff: x.client.retryAfter(resp)}
	s := resp.StatusCode
	status := fmt.Sprintf("http status %d", s)
	switch {
	case s == http.StatusUnauthorized:
		e.reason = fmt.Sprintf("the server refused the credential (%s; it offers %s)", status, offers(resp.Header))
		e.hint = "check exchange.auth: method, username and password; when these are right, look for a proxy that ends TLS with another certificate"
		e.causes = []error{ErrUnauthorized}
	case s == http.StatusForbidden:
		e.reason = fmt.Sprintf("the server forbids it (%s)", status)
		e.hint = "let the account and this program's user agent use EWS (Set-CASMailbox -EwsEnabled, EwsAllowList), and look for a filter in front of the server"
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		e.reason = fmt.Sprintf("there is no EWS under this address (%s)", status)
		e.hint = "check exchange.url; it usually ends in /EWS/Exchange.asmx"
	case s == http.StatusProxyAuthRequired:
		e.reason = fmt.Sprintf("a proxy wants a credential (%s)", status)
	case 300 <= s && s < 400:
		e.reason = fmt.Sprintf("the server redirects to %s (%s); redirects are not followed", location(resp), status)
		e.hint = "if that address is right, write it into exchange.url; a sign-in page there means that EWS is not open to this kind of sign-in"
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		e.reason, e.Temporary = fmt.Sprintf("the server is busy or down for a while (%s)", status), true
	case s == http.StatusRequestTimeout || s >= 500:
		e.reason, e.Temporary = fmt.Sprintf("the server, or something in front of it, is in trouble (%s)", status), true
	default:
		e.reason = fmt.Sprintf("the server answered with %s, which says nothing about the question", status)
		e.hint = "check exchange.url; it usually ends in /EWS/Exchange.asmx"
	}
	return x.fail(e)
}

// offers names the authentication schemes of a 401.
func offers(h http.Header) string {
	var schemes []string
	for _, v := range h.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(v), " ")
		if scheme = clean(strings.TrimSuffix(scheme, ","), 20); scheme != "" && !slices.Contains(schemes, scheme) && len(schemes) < 8 {
			schemes = append(schemes, scheme)
		}
	}
	return cmp.Or(strings.Join(schemes, ", "), "no way to sign in")
}

// location is the target of a redirect without what may be secret in it.
func location(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return clean(u.String(), 200)
}

// contentError is the error of an answer that cannot be read: cut off, not EWS, or out of bounds.
func (x *exchange) contentError(ctx context.Context, err error) error {
	var syntax *xml.SyntaxError
	e := &Error{causes: []error{err}}
	switch {
	case ctx.Err() != nil:
		return x.transportError(ctx, err)
	case errors.Is(err, errHTML):
		e.reason, e.Temporary = "the answer is an HTML page, not EWS", true
		e.hint = "check exchange.url; a sign-in or maintenance page in front of Exchange answers like this"
	case errors.Is(err, errEmpty):
		e.reason, e.Temporary = "the answer is empty", true
		e.hint = "look for a proxy or filter in front of Exchange that drops answers"
	case errors.Is(err, errRefused):
		e.reason = err.Error()
		e.hint = "check that exchange.url leads to Exchange and to nothing else"
	case errors.As(err, &syntax) && strings.HasSuffix(syntax.Msg, "EOF"):
		e.reason, e.Temporary = "the answer is cut off: "+clean(err.Error(), 120), true
	case errors.As(err, &syntax):
		e.reason, e.Temporary = "the answer is not well-formed XML: "+clean(err.Error(), 120), true
	case isTransport(err):
		return x.transportError(ctx, err)
	default:
		e.reason, e.Temporary = clean(err.Error(), 160), true
	}
	return x.fail(e)
}

func isTransport(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// unauthorized is implemented by the error of an HTTP client that did not send a request because the credential was
// refused before.
type unauthorized interface {
	error
	Unauthorized() bool
}

// hinter is implemented by errors that know what to do.
type hinter interface {
	error
	Hint() string
}

// transportError is the error of a request that got no answer, or not all of it.
func (x *exchange) transportError(ctx context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the URL is named already
	}
	e := &Error{causes: []error{err}}
	var before unauthorized
	var hint hinter
	switch {
	case x.caller.Err() != nil:
		e.reason, e.causes = "given up: "+x.caller.Err().Error(), []error{context.Cause(x.caller), x.caller.Err()}
	case errors.Is(context.Cause(ctx), errTimeLimit):
		e.reason, e.Temporary = fmt.Sprintf("no complete answer within %s", cmp.Or(x.client.Timeout, DefaultTimeout)), true
	case errors.As(err, &before) && before.Unauthorized():
		e.reason, e.causes = before.Error(), append(e.causes, ErrUnauthorized)
	default:
		e.reason, e.hint, e.Temporary = explain(err)
	}
	if errors.As(err, &hint) {
		e.hint = hint.Hint()
	}
	return x.fail(e)
}

// explain says in words what went wrong below HTTP, what to do, and whether it may pass.
func explain(err error) (reason, hint string, temporary bool) {
	if reason, hint = explainTLS(err); reason != "" {
		return reason, hint, false
	}
	var dns *net.DNSError
	var network net.Error
	const reach = "check exchange.url, the network, and any firewall between here and there"
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %q was not found", clean(dns.Name, 100)), "check exchange.url and the name servers of this machine", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused; nothing listens there", reach, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the server from here", reach, true
	case errors.As(err, &network) && network.Timeout():
		return "the server did not answer in time", reach, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke before the answer was complete", "", true
	case errors.As(err, &network):
		return clean(err.Error(), 200), reach, true
	}
	var passes interface{ Temporary() bool }
	return clean(err.Error(), 200), "", errors.As(err, &passes) && passes.Temporary()
}

// explainTLS says what is wrong with the server's certificate or its TLS; empty when that is not it.
func explainTLS(err error) (reason, hint string) {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		remote    *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "the server's certificate comes from an authority that is not trusted here",
			"save that authority's root certificate as PEM and name the file in exchange.ca_file"
	case errors.As(err, &host):
		return "the server's certificate is for another host: " + clean(host.Error(), 200),
			"write a name that is in the certificate into exchange.url, or have a certificate with this name installed on the server"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the server's certificate %q is valid only from %s to %s", clean(invalid.Cert.Subject.String(), 80),
				invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly)),
			"have the certificate renewed on the server, and check the clock of this machine"
	case errors.As(err, &verify):
		return "the server's certificate was refused: " + clean(verify.Err.Error(), 200),
			"have a certificate for this host name from a trusted authority installed on the server; exchange.ca_file adds an authority"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "the server does not speak TLS on this port", "check host and port of exchange.url"
	case errors.As(err, &remote) && remote.Op == "remote error": // so crypto/tls marks an alert of the other side
		return "the server ended the TLS handshake: " + clean(remote.Err.Error(), 100), "the server must offer TLS 1.2 or newer"
	}
	return "", ""
}
