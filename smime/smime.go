// Package smime signs, encrypts, decrypts and verifies mails as RFC 8551 (S/MIME 4.0) describes, with protected headers as in
// RFC 9788. Mail goes in, and mail or a [Verification] comes out; CMS itself is package cms's work.
//
// # What it promises
//
//   - Nothing is written before every recipient has a certificate that may be used. One recipient without refuses the whole
//     mail, with a [RecipientsError] that names every such recipient.
//   - Blind copies stay blind: the Bcc field is never written, and each Bcc recipient gets a message of its own, with its
//     own content key, so that the copy for To and Cc does not show in its recipient list that there were others.
//   - No byte of a decrypted mail is written before the whole message was checked as far as its cipher allows, and the
//     result says how far that is ([cms.Protection]).
//   - One part in, one part out: a mail is decrypted when it is encrypted as a whole. An encrypted part inside a multipart
//     is left alone, because showing it beside parts that somebody else may have added gives it away (EFAIL). One mail
//     makes a key work once.
//   - Signatures are verified over the bytes as they were received. Where programs could disagree about what is signed, or
//     whom the mail is from, the verdict is not Valid. A mail with signed parts is never called signed.
//   - Headers are bounded in size and number. Signing and encrypting stream: memory does not grow with the mail, except
//     that the AEAD ciphers hold the content (see package cms). Verifying holds the signed content once, in memory, because
//     the signature stands behind it; plaintext is never written to disk.
//
// The fields outside, Subject among them, stay readable for everybody on the way unless they are protected
// (EncryptOptions.ProtectHeaders).
package smime

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Errors that a caller may want to tell apart.
var (
	// ErrHeader means that the header of the mail cannot be read or is beyond a limit.
	ErrHeader = errors.New("unusable mail header")
	// ErrNoRecipients means that neither the caller nor the mail names anybody.
	ErrNoRecipients = errors.New("no recipients: the mail has no address in To, Cc or Bcc, and none was given")
	// ErrTooManyRecipients means more than MaxRecipients.
	ErrTooManyRecipients = errors.New("more than 1000 recipients")
	// ErrBcc means that the mail has Bcc recipients and the caller has no place for their own copies.
	ErrBcc = errors.New("the mail has Bcc recipients, who need copies of their own, and there is no place for these")
	// ErrNoOwnCertificate means that the sender wants to read the mail and has no certificate for that.
	ErrNoOwnCertificate = errors.New("no own certificate to encrypt to for the From address")
	// ErrAlreadyEncrypted means that the mail is, or may be, an encrypted one already.
	ErrAlreadyEncrypted = errors.New("the mail is already encrypted")
	// ErrUnprotectable means that header fields cannot be protected, because nobody could find them inside.
	ErrUnprotectable = errors.New("the header fields of the mail cannot be protected")
	// ErrNotEncrypted means that the mail is not encrypted as a whole. The text says what it is.
	ErrNotEncrypted = errors.New("not an encrypted mail")
	// ErrEncoding means that the transfer encoding of an encrypted mail is damaged or unknown.
	ErrEncoding = errors.New("damaged transfer encoding")
)

// MaxRecipients is how many recipients one mail may have.
const MaxRecipients = 1000

// RecipientSource finds certificates.
type RecipientSource interface {
	// ForEncryption returns for each address, in the same order, the certificates to encrypt to so that everybody behind
	// the address can read the mail, and nobody else: one for a person, one for each member for a group. When that is not
	// possible for all of them the error is a *RecipientsError that names every address which stands in the way, or
	// another error when the question could not be answered.
	ForEncryption(ctx context.Context, addresses []mailaddr.Address) ([][]*x509.Certificate, error)
}

// RecipientsError refuses a mail because some of its recipients have no usable certificate.
type RecipientsError struct {
	// Refused are all of them, in the order of the mail; never empty.
	Refused []Refusal
}

// Refusal is one recipient without a usable certificate.
type Refusal struct {
	// Address in canonical form; the text of the mail when that is no address.
	Address string
	State   trust.State
	// Reasons and Hints are sentences for people.
	Reasons, Hints []string
}

// Error names all refused addresses and why.
func (e *RecipientsError) Error() string {
	var who []string
	for _, r := range e.Refused {
		text := fmt.Sprintf("%s (%s)", r.Address, r.State)
		if len(r.Reasons) > 0 {
			text = fmt.Sprintf("%s (%s: %s)", r.Address, r.State, strings.Join(r.Reasons, "; "))
		}
		who = append(who, text)
	}
	return "no usable certificate for " + strings.Join(who, ", ")
}
