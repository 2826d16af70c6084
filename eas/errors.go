package eas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// ErrUnauthorized is wrapped by the error of a request whose credential was refused, or not even tried because it was
// refused before.
var ErrUnauthorized = directory.ErrUnauthorized

// Error says why there is no usable answer. One that may pass is wrapped in a directory.RetryError.
type Error struct {
	// Op is the command, for example "ResolveRecipients"; URL is the service that was asked.
	Op, URL string
	// Status is the number in the answer (MS-ASCMD section 2.2.2); 0 when there was none.
	Status int
	// HTTPStatus is the status of the answer; 0 when there was none.
	HTTPStatus int
	// BackOff is how long the server asked to be left alone; zero when it did not say.
	BackOff time.Duration
	// Temporary reports that the same question may be asked again.
	Temporary bool

	reason, hint string
	moved        string // where the server says the account lives
	causes       []error
}

// Error says what was attempted, on what, and why it did not work, in one line.
func (e *Error) Error() string { return fmt.Sprintf("%s at %s: %s", e.Op, e.URL, e.reason) }

// Hint says what to do, in one line; empty when there is nothing but to wait.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the causes: ErrUnauthorized, directory.ErrInvalidName, directory.ErrRemoteWipe, and the error of a lower
// layer.
func (e *Error) Unwrap() []error { return e.causes }

// wantsPolicy reports that the server wants the device to fetch its policy first.
func (e *Error) wantsPolicy() bool {
	switch e.Status {
	case statusNotProvisioned, statusPolicyRefresh, statusInvalidKey:
		return true
	}
	return e.HTTPStatus == statusProvision
}

// passing is an Error that may pass.
type passing struct{ err *Error }

var _ directory.RetryError = passing{}

func (p passing) Error() string             { return p.err.Error() }
func (p passing) Hint() string              { return p.err.hint }
func (p passing) Unwrap() error             { return p.err }
func (p passing) RetryAfter() time.Duration { return p.err.BackOff }

// fail completes an Error and makes it a RetryError where it may pass.
func (c *call) fail(cmd command, e *Error) error {
	e.Op = cmd.name
	e.URL, _ = c.place()
	if e.BackOff > 0 {
		e.reason += fmt.Sprintf("; it asks to be left alone for %s", e.BackOff.Round(time.Second))
	}
	if e.Temporary && e.hint == "" {
		e.hint = hintWait
	}
	if e.Temporary {
		return passing{e}
	}
	return e
}

func asError(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

func movedTo(err error) (string, bool) {
	e := asError(err)
	if e == nil || e.moved == "" {
		return "", false
	}
	return e.moved, true
}

// refuse is the error of a request that is not sent.
func (c *call) refuse(cmd command, err error) error {
	return c.fail(cmd, &Error{reason: "the request was not sent: " + err.Error(), hint: "check the section exchange of the configuration", causes: []error{err}})
}

// malformed is the error of an answer that makes no sense.
func (c *call) malformed(cmd command, err error) error {
	return c.fail(cmd, &Error{reason: err.Error(), Temporary: true, causes: []error{err}})
}

// Status numbers that decide something (MS-ASCMD section 2.2.2, MS-ASPROV section 3.1.5.2).
const (
	statusOK                 = 1
	statusFolderSyncRequired = 11 // of Search
	statusRemoteWipe         = 140
	statusNotProvisioned     = 142
	statusPolicyRefresh      = 143
	statusInvalidKey         = 144
)

// fact is what is known of a status number.
type fact struct {
	temporary    bool
	reason, hint string
}

const (
	hintWait   = "galsyncd asks again by itself; if it lasts, the administrators of the server find the reason in its event log"
	hintCut    = "look for a proxy, load balancer or filter in front of the server that drops or cuts answers"
	hintOffer  = "the server offers no policy that it accepts; look at the mobile device mailbox policy of the account, and for the device in Get-MobileDevice"
	hintStatus = "look for the number in the server's event log and in MS-ASCMD section 2.2.2"
	hintDevice = "look for the device in Get-MobileDevice and in the allow, block and quarantine lists (Get-ActiveSyncDeviceAccessRule); its type is galsyncd"
	hintBug    = "report this as a bug, with the versions of the server and of this program"
	hintPolicy = "give the account a mobile device mailbox policy that allows devices which do not enforce all of it (AllowNonProvisionableDevices), or name what this machine meets in exchange.eas.policy_met"
)

// facts are the common status numbers (MS-ASCMD section 2.2.2).
var facts = map[int]fact{
	101:                  {reason: "the server finds the request not valid", hint: hintBug},
	102:                  {reason: "the server cannot read the request", hint: hintBug},
	103:                  {reason: "the server finds the document not valid", hint: hintBug},
	108:                  {reason: "the server does not accept the device identifier", hint: "check the file exchange-device in cache.dir"},
	109:                  {reason: "the server does not accept the device type", hint: hintDevice},
	110:                  {temporary: true, reason: "the server has an internal error"},
	111:                  {temporary: true, reason: "the server has a passing trouble"},
	112:                  {reason: "the server cannot reach Active Directory for this account", hint: "have the domain controllers that the server uses looked at"},
	126:                  {reason: "the account may not use ActiveSync", hint: "enable it for the account (Set-CASMailbox -ActiveSyncEnabled)"},
	129:                  {reason: "this device is blocked or waits for an administrator", hint: hintDevice},
	130:                  {reason: "the account may not do this", hint: "look at the rights of the account"},
	131:                  {reason: "the account is disabled", hint: "enable the account, or use another"},
	132:                  {temporary: true, reason: "the mailbox of the account is not available"},
	133:                  {temporary: true, reason: "the mailbox of the account is being moved"},
	139:                  {reason: "the server admits only devices that enforce its whole policy", hint: hintPolicy},
	statusRemoteWipe:     {reason: "the server asks this device to forget what it has"},
	141:                  {reason: "the server admits only devices that enforce its policy", hint: hintPolicy},
	statusNotProvisioned: {reason: "the server wants this device to have its policy", hint: hintOffer},
	statusPolicyRefresh:  {reason: "the server has a new policy for this device", hint: hintOffer},
	statusInvalidKey:     {reason: "the server does not know the policy key of this device", hint: hintOffer},
	145:                  {reason: "the server does not admit devices that another program manages", hint: hintPolicy},
	165:                  {reason: "the server wants to know the device first", hint: hintBug},
	177:                  {reason: "the account has too many devices", hint: "remove old devices of the account (Get-MobileDevice, Remove-MobileDevice)"},
}

// codeError is the error of an answer whose status is not success.
func (c *call) codeError(cmd command, status int) error {
	f, known := facts[status]
	reason := fmt.Sprintf("%s (status %d)", f.reason, status)
	if !known {
		reason, f.hint = fmt.Sprintf("the server answered with status %d", status), hintStatus
	}
	e := &Error{Status: status, HTTPStatus: http.StatusOK, Temporary: f.temporary, reason: reason, hint: f.hint}
	if status == statusRemoteWipe {
		e.hint, e.causes = hintWipe, []error{directory.ErrRemoteWipe}
	}
	return c.fail(cmd, e)
}

// statusError is the error of an answer that says all with its HTTP status (MS-ASHTTP section 2.2.2.1.1).
func (c *call) statusError(cmd command, resp *http.Response) error {
	e := &Error{HTTPStatus: resp.StatusCode, BackOff: httpfault.RetryAfter(resp, c.Now)}
	s := resp.StatusCode
	status := fmt.Sprintf("http status %d", s)
	switch {
	case s == statusMoved:
		e.reason = fmt.Sprintf("the account lives on another server, and the answer does not say which (%s)", status)
		e.hint = "ask galsyncd discover for the address of the service, and write it into exchange.url"
		if e.moved = strings.TrimSpace(resp.Header.Get("X-MS-Location")); e.moved != "" {
			e.reason = fmt.Sprintf("the servers send each other the account, the last one to %s (%s)", httpfault.Clean(e.moved, 200), status)
		}
	case s == statusProvision:
		e.reason = fmt.Sprintf("the server wants this device to have its policy (%s)", status)
		e.hint = hintOffer
	case s == http.StatusUnauthorized:
		e.reason = fmt.Sprintf("the server refused the credential (%s; it offers %s)", status, httpfault.Offers(resp.Header))
		e.hint, e.causes = "check exchange.auth: method, username and password", []error{ErrUnauthorized}
	case s == statusExpired:
		e.reason, e.hint = fmt.Sprintf("the password of the account has expired (%s)", status), "change the password"
		e.causes = []error{ErrUnauthorized}
	case s == statusBlocked:
		e.reason, e.hint = fmt.Sprintf("the account is blocked (%s)", status), "unblock the account, or use another"
	case s == http.StatusForbidden:
		e.reason = fmt.Sprintf("the account or this device may not use ActiveSync (%s)", status)
		e.hint = "enable ActiveSync for the account (Set-CASMailbox -ActiveSyncEnabled), and " + hintDevice
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s == http.StatusNotImplemented:
		e.reason, e.hint = fmt.Sprintf("there is no ActiveSync, or not this command, under this address (%s)", status), wrongURL
	case 300 <= s && s < 400:
		e.reason = fmt.Sprintf("the server redirects to %s (%s); redirects are not followed", httpfault.Location(resp), status)
		e.hint = "if that address is right, write it into exchange.url"
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		e.reason, e.Temporary = fmt.Sprintf("the server is busy or down for a while (%s)", status), true
	case s == http.StatusInsufficientStorage:
		e.reason, e.hint = fmt.Sprintf("the mailbox of the account is full (%s)", status), "make room in the mailbox"
	case s == http.StatusRequestTimeout || s >= 500:
		e.reason, e.Temporary = fmt.Sprintf("the server, or something in front of it, is in trouble (%s)", status), true
	default:
		e.reason, e.hint = fmt.Sprintf("the server answered with %s, which says nothing about the question", status), wrongURL
	}
	return c.fail(cmd, e)
}

// contentError is the error of an answer that cannot be read: cut off, not WBXML, or out of bounds.
func (c *call) contentError(ctx context.Context, cmd command, err error) error {
	e := &Error{HTTPStatus: http.StatusOK, causes: []error{err}, Temporary: true}
	switch {
	case ctx.Err() != nil:
		return c.transportError(ctx, cmd, err)
	case errors.Is(err, wbxml.ErrLimit):
		e.reason, e.Temporary, e.hint = err.Error(), false, "check that exchange.url leads to Exchange and to nothing else"
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.reason, e.hint = "the answer is cut off: "+httpfault.Clean(err.Error(), 120), hintCut
	case httpfault.IsBroken(err):
		return c.transportError(ctx, cmd, err)
	default:
		e.reason = "the answer cannot be read: " + httpfault.Clean(err.Error(), 160)
	}
	return c.fail(cmd, e)
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
func (c *call) transportError(ctx context.Context, cmd command, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL is named already, and the query is nobody's business
	}
	e := &Error{causes: []error{err}}
	before, refused := errors.AsType[unauthorized](err)
	switch {
	case c.ctx.Err() != nil:
		e.reason, e.causes = "given up: "+c.ctx.Err().Error(), []error{context.Cause(c.ctx), c.ctx.Err()}
	case errors.Is(context.Cause(ctx), errTimeLimit):
		e.reason, e.Temporary = fmt.Sprintf("no complete answer within %s", cmp.Or(c.Timeout, DefaultTimeout)), true
	case refused && before.Unauthorized():
		e.reason, e.causes = before.Error(), append(e.causes, ErrUnauthorized)
	default:
		e.reason, e.hint, e.Temporary = httpfault.Explain(err)
	}
	if hint, ok := errors.AsType[hinter](err); ok {
		e.hint = hint.Hint()
	}
	return c.fail(cmd, e)
}
