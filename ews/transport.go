package ews

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// statusError is the error of an answer that says all with its HTTP status.
func (x *exchange) statusError(resp *http.Response) error {
	e := &Error{BackOff: httpfault.RetryAfter(resp, x.client.Now)}
	s := resp.StatusCode
	status := fmt.Sprintf("http status %d", s)
	switch {
	case s == http.StatusUnauthorized:
		e.reason = fmt.Sprintf("the server refused the credential (%s; it offers %s)", status, httpfault.Offers(resp.Header))
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
		e.hint = "let this machine reach Exchange without that proxy; none is configured here"
	case 300 <= s && s < 400:
		e.reason = fmt.Sprintf("the server redirects to %s (%s); redirects are not followed", httpfault.Location(resp), status)
		e.hint = "if that address is right, write it into exchange.url; a sign-in page there means that EWS is not open to this kind of sign-in"
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		e.reason, e.Temporary = fmt.Sprintf("the server is busy or down for a while (%s)", status), true
		e.hint = hintWait
	case s == http.StatusRequestTimeout || s >= 500:
		e.reason, e.Temporary = fmt.Sprintf("the server, or something in front of it, is in trouble (%s)", status), true
		e.hint = hintWait
	default:
		e.reason = fmt.Sprintf("the server answered with %s, which says nothing about the question", status)
		e.hint = "check exchange.url; it usually ends in /EWS/Exchange.asmx"
	}
	return x.fail(e)
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
		e.reason, e.Temporary = "the answer is cut off: "+httpfault.Clean(err.Error(), 120), true
		e.hint = httpfault.HintFront
	case errors.As(err, &syntax):
		e.reason, e.Temporary = "the answer is not well-formed XML: "+httpfault.Clean(err.Error(), 120), true
		e.hint = httpfault.HintFront
	case httpfault.IsBroken(err):
		return x.transportError(ctx, err)
	default:
		e.reason, e.Temporary, e.hint = httpfault.Clean(err.Error(), 160), true, httpfault.HintFront
	}
	return x.fail(e)
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
		e.hint = "look for an overloaded server, or for something on the way that holds back answers"
	case errors.As(err, &before) && before.Unauthorized():
		e.reason, e.causes = before.Error(), append(e.causes, ErrUnauthorized)
	default:
		e.reason, e.hint, e.Temporary = httpfault.Explain(err)
	}
	if errors.As(err, &hint) {
		e.hint = hint.Hint()
	}
	return x.fail(e)
}
