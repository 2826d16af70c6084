package service

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// Code names a kind of refusal. Codes are stable: programs decide on them, never on the texts.
type Code string

// The codes. What each means to a program that meets it is in the table below, which the OpenAPI file repeats.
const (
	CodeBadRequest          Code = "bad-request"
	CodeBadMessage          Code = "bad-message"
	CodeBadIdentity         Code = "bad-identity"
	CodeBadCertificate      Code = "bad-certificate"
	CodeCertificateRefused  Code = "certificate-refused"
	CodeNoRecipients        Code = "no-recipients"
	CodeRecipientUnknown    Code = "recipient-unknown"
	CodeRecipientsUnusable  Code = "recipients-unusable"
	CodeBccNeedsMultipart   Code = "bcc-needs-multipart"
	CodeSplitNeedsMultipart Code = "split-needs-multipart"
	CodeNoOwnCertificate    Code = "no-own-certificate"
	CodeAlreadyEncrypted    Code = "already-encrypted"
	CodeNotEncrypted        Code = "not-encrypted"
	CodeNoRecipientKey      Code = "no-recipient-key"
	CodeDecryptFailed       Code = "decrypt-failed"
	CodeNoSigningKey        Code = "no-signing-key"
	CodeKeyringLocked       Code = "keyring-locked"
	CodeWrongPassphrase     Code = "wrong-passphrase"
	CodeNotAllowed          Code = "not-allowed"
	CodeNotFound            Code = "not-found"
	CodeMethodNotAllowed    Code = "method-not-allowed"
	CodeNotAcceptable       Code = "not-acceptable"
	CodeUnsupportedMedia    Code = "unsupported-media-type"
	CodeTooLarge            Code = "too-large"
	CodeMessageTooLarge     Code = "message-too-large"
	CodeTimeout             Code = "timeout"
	CodeSyncRunning         Code = "sync-running"
	CodeBusy                Code = "busy"
	CodeNotAvailable        Code = "not-available"
	CodeCacheDamaged        Code = "cache-damaged"
	CodeKeyringDamaged      Code = "keyring-damaged"
	CodeKeyringUnavailable  Code = "keyring-unavailable"
	CodeNotStored           Code = "not-stored"
	CodeInternal            Code = "internal"
)

// kind is what all problems with one code have in common.
type kind struct {
	Code   Code
	Status int
	Title  string
}

// kinds is the one table of codes.
var kinds = []kind{
	{CodeBadRequest, 400, "The request is not one that this service understands"},
	{CodeBadMessage, 422, "The body is not a mail that can be worked on"},
	{CodeBadIdentity, 422, "The file holds no key and certificate that can be used"},
	{CodeBadCertificate, 422, "The body holds no certificate that can be installed"},
	{CodeCertificateRefused, 422, "The certificate is not installed unless it is wished explicitly"},
	{CodeNoRecipients, 422, "The mail names no recipient"},
	{CodeRecipientUnknown, 422, "Nothing is known about a recipient"},
	{CodeRecipientsUnusable, 422, "A recipient has no usable certificate"},
	{CodeBccNeedsMultipart, 422, "A mail with Bcc recipients needs a copy for each of them"},
	{CodeSplitNeedsMultipart, 422, "The mail becomes a copy for each kind of key"},
	{CodeNoOwnCertificate, 422, "The keyring has no certificate to encrypt to for the sender"},
	{CodeAlreadyEncrypted, 422, "The mail is encrypted already"},
	{CodeNotEncrypted, 422, "The mail is not encrypted"},
	{CodeNoRecipientKey, 422, "The mail is not encrypted to a key in the keyring"},
	{CodeDecryptFailed, 422, "The mail cannot be decrypted"},
	{CodeNoSigningKey, 422, "The keyring has no key that can sign this mail"},
	{CodeKeyringLocked, 423, "The keyring is locked"},
	{CodeWrongPassphrase, 403, "The passphrase is wrong"},
	{CodeNotAllowed, 403, "This caller may not do this"},
	{CodeNotFound, 404, "There is no such thing here"},
	{CodeMethodNotAllowed, 405, "This path does not take this method"},
	{CodeNotAcceptable, 406, "The answer does not exist in a form that the caller accepts"},
	{CodeUnsupportedMedia, 415, "The body is of a kind that this request does not take"},
	{CodeTooLarge, 413, "The request is larger than the limit"},
	{CodeMessageTooLarge, 413, "The mail is larger than the limit"},
	{CodeTimeout, 408, "The body stopped coming"},
	{CodeSyncRunning, 409, "A synchronisation is running already"},
	{CodeBusy, 429, "Too many requests at once"},
	{CodeNotAvailable, 501, "This daemon runs without the part that answers this request"},
	{CodeCacheDamaged, 503, "The cache is damaged"},
	{CodeKeyringDamaged, 503, "The keyring is damaged"},
	{CodeKeyringUnavailable, 503, "The keyring cannot be used"},
	{CodeNotStored, 507, "There is no room on the disk"},
	{CodeInternal, 500, "The daemon met an error of its own"},
}

// Problem is a refusal as the caller sees it: a problem detail (RFC 9457). Whatever the parts behind the service want a
// caller to know they return as a *Problem; any other error is logged and becomes CodeInternal without its text.
type Problem struct {
	// Type is a reference to the description of Code in the OpenAPI document.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   Code   `json:"code"`
	// Detail says what was attempted, on what, and why it was refused; for people.
	Detail string `json:"detail,omitempty"`
	// Hint says what to do about it; for people.
	Hint string `json:"hint,omitempty"`
	// Recipients are the addresses that stand in the way, for CodeRecipientUnknown and CodeRecipientsUnusable.
	Recipients []Obstacle `json:"recipients,omitempty"`
}

// Obstacle is a recipient without a usable certificate.
type Obstacle struct {
	Address string `json:"address"`
	// State is one of the states of a recipient; never "encryptable".
	State   string   `json:"state"`
	Reasons []string `json:"reasons"`
	Hints   []string `json:"hints,omitempty"`
}

// Error returns the detail, or the title when there is none.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// NewProblem makes the problem with this code. Detail and hint may be empty. An unknown code becomes CodeInternal.
func NewProblem(code Code, detail, hint string) *Problem {
	for _, k := range kinds {
		if k.Code == code {
			return &Problem{
				Type: "/v1/openapi.json#/x-problems/" + string(code), Title: k.Title, Status: k.Status,
				Code: code, Detail: detail, Hint: hint,
			}
		}
	}
	return NewProblem(CodeInternal, detail, hint)
}

// UnusableRecipients makes the refusal of a message because of these recipients: CodeRecipientUnknown when nothing is
// known about any of them, else CodeRecipientsUnusable.
func UnusableRecipients(obstacles []Obstacle) *Problem {
	code := CodeRecipientUnknown
	var names []string
	for i, o := range obstacles {
		if o.State != "unknown" {
			code = CodeRecipientsUnusable
		}
		if i < 10 {
			names = append(names, fmt.Sprintf("%s (%s)", o.Address, o.State))
		}
	}
	if n := len(obstacles) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	p := NewProblem(code, "nothing was encrypted: no usable certificate for "+strings.Join(names, ", "), "")
	p.Recipients = obstacles
	return p
}

// ErrNotFound is what the parts behind the service return for a thing that does not exist.
var ErrNotFound = errors.New("not found")

// problemOf makes of any error what the caller may see of it. The second result reports that err has text of its own
// which only the log may have.
func problemOf(err error) (p *Problem, internal bool) {
	if errors.As(err, &p) {
		return p, false
	}
	if errors.Is(err, ErrNotFound) {
		return NewProblem(CodeNotFound, "", ""), false
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return NewProblem(CodeNotStored, "there is no room for the work of the daemon: the disk, or what its user may have of it, is full",
			"make room on the disk of cache.dir (galsyncd status names the folder), and try again"), true
	}
	return NewProblem(CodeInternal, "the daemon could not answer; its log says why", ""), true
}

// writeProblem writes p as the whole answer.
func writeProblem(w http.ResponseWriter, p *Problem) {
	body, err := marshal(p)
	if err != nil { // no value of a Problem can fail to marshal
		body = []byte(`{"status":500,"code":"internal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.Code == CodeBusy {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the caller may be gone
}
