package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Codes of refusals that callers commonly decide on; the OpenAPI document lists all.
const (
	CodeRecipientUnknown    = "recipient-unknown"
	CodeRecipientsUnusable  = "recipients-unusable"
	CodeBadCertificate      = "bad-certificate"
	CodeCertificateRefused  = "certificate-refused"
	CodeNoRecipients        = "no-recipients"
	CodeBccNeedsMultipart   = "bcc-needs-multipart"
	CodeSplitNeedsMultipart = "split-needs-multipart"
	CodeNoOwnCertificate    = "no-own-certificate"
	CodeBadMessage          = "bad-message"
	CodeBadIdentity         = "bad-identity"
	CodeMessageTooLarge     = "message-too-large"
	CodeAlreadyEncrypted    = "already-encrypted"
	CodeNotEncrypted        = "not-encrypted"
	CodeNoRecipientKey      = "no-recipient-key"
	CodeDecryptFailed       = "decrypt-failed"
	CodeNoSigningKey        = "no-signing-key"
	CodeKeyringLocked       = "keyring-locked"
	CodeWrongPassphrase     = "wrong-passphrase"
	CodeNotAllowed          = "not-allowed"
	CodeNotFound            = "not-found"
	CodeSyncRunning         = "sync-running"
	CodeBusy                = "busy"
	CodeNotAvailable        = "not-available"
	CodeCacheDamaged        = "cache-damaged"
	CodeKeyringDamaged      = "keyring-damaged"
	CodeKeyringUnavailable  = "keyring-unavailable"
	CodeNotStored           = "not-stored"
	CodeInternal            = "internal"
)

// Error is a refusal of the daemon.
type Error struct {
	// Code names the kind of refusal; decide on it, never on texts. It is empty when the answer was no problem details.
	Code string `json:"code"`
	// Status is the HTTP status.
	Status int    `json:"status"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	// Detail says what was refused and why, Hint what to do about it; for people.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Recipients are the addresses that stand in the way, for CodeRecipientUnknown and CodeRecipientsUnusable.
	Recipients []Obstacle `json:"recipients,omitempty"`
}

// Obstacle is a recipient without a usable certificate.
type Obstacle struct {
	Address string   `json:"address"`
	State   string   `json:"state"`
	Reasons []string `json:"reasons"`
	Hints   []string `json:"hints,omitempty"`
}

// Error returns the detail, or the title when there is none. The hint is not in it.
func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return strings.ToLower(e.Title[:1]) + e.Title[1:]
	}
	return fmt.Sprintf("galsyncd answered with status %d", e.Status)
}

// readProblem makes an *Error of any answer that is not a success.
func readProblem(answer *http.Response) error {
	e := &Error{}
	if expectType(answer, "application/problem+json") == nil {
		if data, err := readAll(answer.Body, maxProblem); err == nil && json.Unmarshal(data, e) != nil {
			e = &Error{}
		}
	}
	e.Status = answer.StatusCode
	if e.Code == "" && e.Status == http.StatusRequestHeaderFieldsTooLarge { // refused before anything was looked at
		e.Code, e.Detail, e.Hint = "too-large", "the request is too long", "ask about fewer addresses at once"
	}
	return e
}
