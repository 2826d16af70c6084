package ews

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// ErrUnauthorized is wrapped by the error of a request whose credential was refused, or not even tried because it was
// refused before.
var ErrUnauthorized = directory.ErrUnauthorized

// Error says why there is no usable answer. One that may pass is wrapped in a directory.RetryError.
type Error struct {
	// Op is the operation, for example "ResolveNames"; URL is the service that was asked.
	Op, URL string
	// RequestID is the client-request-id, under which the server's log has the request.
	RequestID string
	// Code is the ResponseCode (MS-OXWSCDATA section 2.2.5.24), the inner one where the server wraps it; empty when the
	// answer had none.
	Code string
	// HTTPStatus is the status of the answer; 0 when there was none.
	HTTPStatus int
	// BackOff is how long the server asked to be left alone; zero when it did not say.
	BackOff time.Duration
	// Temporary reports that the same question may be asked again.
	Temporary bool

	reason, hint string
	causes       []error
}

// Error says what was attempted, on what, and why it did not work, in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s at %s: %s", e.Op, e.URL, e.reason)
}

// Hint says what to do, in one line; empty when there is nothing but to wait.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the causes: ErrUnauthorized, directory.ErrInvalidName, and the error of a lower layer.
func (e *Error) Unwrap() []error { return e.causes }

// passing is an Error that may pass.
type passing struct{ err *Error }

var _ directory.RetryError = passing{}

func (p passing) Error() string             { return p.err.Error() }
func (p passing) Hint() string              { return p.err.hint }
func (p passing) Unwrap() error             { return p.err }
func (p passing) RetryAfter() time.Duration { return p.err.BackOff }

// fail completes an Error and makes it a RetryError where it may pass.
func (x *exchange) fail(e *Error) error {
	e.Op, e.URL, e.RequestID = x.op, x.client.URL, x.id
	if e.BackOff > 0 {
		e.reason += fmt.Sprintf("; it asks to be left alone for %s", e.BackOff.Round(time.Second))
	}
	if e.HTTPStatus == 0 {
		e.HTTPStatus = x.status
	}
	if e.Temporary {
		return passing{e}
	}
	return e
}

// refuse is the error of a request that is not sent.
func (x *exchange) refuse(err error) error {
	e := &Error{reason: "the request was not sent: " + err.Error(), causes: []error{err}}
	if errors.Is(err, errEntry) {
		e.causes = append(e.causes, directory.ErrInvalidName)
	} else {
		e.hint = "check exchange.url"
	}
	return x.fail(e)
}

// malformed is the error of an answer that makes no sense.
func (x *exchange) malformed(err error) error {
	return x.fail(&Error{reason: err.Error(), hint: hintWait, Temporary: !errors.Is(err, errRefused), causes: []error{err}})
}

// codeFacts is what is known of a response code.
type codeFacts struct {
	temporary    bool
	reason, hint string
	cause        error
}

// What to do about troubles of the other side.
const (
	hintWait   = "galsyncd asks again by itself; if it lasts, the administrators of Exchange find the reason in the server's event log"
	hintDomain = "galsyncd asks again by itself; if it lasts, have the domain controllers that Exchange uses looked at"
)

// codes are the response codes that people are told more about (MS-OXWSCDATA section 2.2.5.24).
var codes = map[string]codeFacts{
	CodeServerBusy:                      {temporary: true, reason: "the server is busy, or this account has used up its share of it", hint: "the next sync goes on from here; lower sync.requests_per_second, or have a throttling policy with more room given to the account, if it happens often"},
	"ErrorExceededConnectionCount":      {temporary: true, reason: "this account has too many connections to the server", hint: "let fewer programs share the account"},
	"ErrorInternalServerTransientError": {temporary: true, reason: "the server has a passing trouble", hint: hintWait},
	codeInternal:                        {temporary: true, reason: "the server has an internal error", hint: hintWait},
	"ErrorTimeoutExpired":               {temporary: true, reason: "the server did not finish in its own time", hint: hintWait},
	"ErrorTooManyObjectsOpened":         {temporary: true, reason: "this account has too many objects open on the server", hint: "let fewer programs share the account"},
	"ErrorADUnavailable":                {temporary: true, reason: "the server cannot reach Active Directory", hint: hintDomain},
	"ErrorADOperation":                  {temporary: true, reason: "the server's question to Active Directory did not work", hint: hintDomain},
	"ErrorConnectionFailed":             {temporary: true, reason: "the server could not reach another server", hint: hintWait},
	"ErrorMailboxStoreUnavailable":      {temporary: true, reason: "the mailbox database of the account is not available", hint: "have the administrators of Exchange mount the database of the account, or use another account"},
	"ErrorMailboxMoveInProgress":        {temporary: true, reason: "the mailbox of the account is being moved", hint: "wait until the move is over"},
	"ErrorInsufficientResources":        {temporary: true, reason: "the server is short of resources", hint: hintWait},
	"ErrorNotEnoughMemory":              {temporary: true, reason: "the server is short of memory", hint: hintWait},
	CodeNoMailbox:                       {reason: "the account has no mailbox, and Exchange resolves names only for accounts that have one", hint: "give the account a mailbox, or use one that has"},
	CodeAccessDenied:                    {reason: "the account may not do this", hint: "let the account use EWS (Set-CASMailbox -EwsEnabled, EwsApplicationAccessPolicy)"},
	"ErrorImpersonateUserDenied":        {reason: "the account may not act for exchange.mailbox", hint: "give the account the role ApplicationImpersonation (full_access_as_app with OAuth2), or leave exchange.mailbox out"},
	"ErrorImpersonationDenied":          {reason: "the account may not act for other mailboxes", hint: "give the account the role ApplicationImpersonation, or leave exchange.mailbox out"},
	"ErrorImpersonationFailed":          {reason: "the server could not act for exchange.mailbox", hint: "check that exchange.mailbox is the primary address of a mailbox"},
	"ErrorNonExistentMailbox":           {reason: "the mailbox does not exist", hint: "check exchange.mailbox"},
	"ErrorFolderNotFound":               {reason: "the mailbox has no such folder", hint: "look at the mailbox of the account, or set sync.contacts = false"},
	"ErrorAccountDisabled":              {reason: "the account is disabled", hint: "enable the account, or use another"},
	"ErrorPasswordExpired":              {reason: "the password of the account has expired", hint: "change the password", cause: ErrUnauthorized},
	"ErrorPasswordChangeRequired":       {reason: "the password of the account must be changed first", hint: "change the password", cause: ErrUnauthorized},
	CodeInvalidName:                     {reason: "the server does not search for this name", cause: directory.ErrInvalidName},
	CodeADSessionFilter:                 {reason: "the server cannot search its directory for this name", cause: directory.ErrInvalidName},
	codeInvalidVersion:                  {reason: "the server does not know any version of EWS that has certificates", hint: "Exchange 2010 SP2 or later is needed"},
	"ErrorIncorrectSchemaVersion":       {reason: "the server does not have this request in the version of EWS that was asked for", hint: "report this as a bug, with the versions of Exchange and of this program"},
	"ErrorSchemaValidation":             {reason: "the server finds the request not valid", hint: "report this as a bug, with the versions of Exchange and of this program"},
	"ErrorInvalidRequest":               {reason: "the server finds the request not valid", hint: "report this as a bug, with the versions of Exchange and of this program"},
}

// codeError is the error of an answer with a response code that is neither success nor "none".
func (x *exchange) codeError(a *answer, resp *http.Response) error {
	code := a.effectiveCode()
	facts, known := codes[code]
	reason := code
	if known {
		reason = fmt.Sprintf("%s (%s)", facts.reason, code)
	} else {
		reason = "the server answered " + code
	}
	if text := httpfault.Clean(a.text, 200); text != "" && !known {
		reason += fmt.Sprintf("; it says %q", text)
	}
	if !known {
		facts.hint = "look the code up in Microsoft's list of EWS response codes; if it should be handled, report this as a bug"
	}
	e := &Error{Code: code, BackOff: a.backOff, Temporary: facts.temporary, reason: reason, hint: facts.hint}
	switch {
	case facts.cause != nil:
		e.causes = []error{facts.cause}
	case !known: // it may be about this question alone, and must not end every run there
		e.causes = []error{directory.ErrUnreadable}
	}
	if e.BackOff == 0 {
		e.BackOff = httpfault.RetryAfter(resp, x.client.Now)
	}
	return x.fail(e)
}
