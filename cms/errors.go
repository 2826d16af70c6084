package cms

import (
	"errors"
	"fmt"
)

var (
	// ErrDecrypt is the one answer to every decryption failure that depends on a secret: wrong key, damaged key
	// block, wrong padding, wrong tag.
	ErrDecrypt = errors.New("message cannot be decrypted: the key does not fit or the message was altered")
	// ErrNoRecipient means that none of the message's recipients is one of the given identities. Anybody can see that.
	ErrNoRecipient = errors.New("message is not encrypted for any of the given identities")
	// ErrSyntax means that the bytes are not the message they should be: damaged, cut short, or beyond a limit.
	ErrSyntax = errors.New("malformed CMS message")
	// ErrUnsupported means that the message is well-formed but uses an algorithm or form that is not accepted.
	ErrUnsupported = errors.New("unsupported CMS message")
	// ErrNotSignedData means that the bytes are not a ContentInfo of type SignedData.
	ErrNotSignedData = errors.New("not a CMS SignedData")
	// ErrTooLarge means that the content is longer than the caller's limit.
	ErrTooLarge = errors.New("content is larger than the limit")
	// ErrNoRecipients means that Encrypt was called without a recipient: nobody could read the message.
	ErrNoRecipients = errors.New("encrypt: no recipients given, nobody could read the message")
)

// Findings about one signer.
var (
	// ErrSignature means that no certificate at hand with the signer's identifier verifies the signature.
	ErrSignature = errors.New("signature does not verify")
	// ErrContentChanged means that the content is not what was signed.
	ErrContentChanged = errors.New("content differs from what was signed")
	// ErrNoCertificate means that neither the message nor the caller has a certificate with the signer's identifier.
	ErrNoCertificate = errors.New("signer's certificate is not at hand")
	// ErrWeakDigest means a digest that no longer proves anything: SHA-1 without the caller's consent, or MD5.
	ErrWeakDigest = errors.New("signature with a digest algorithm that is too weak")
	// ErrNoSignedAttributes means a signature over the bare content, which could also be one over attributes.
	ErrNoSignedAttributes = errors.New("signature without signed attributes")
	// ErrAttributes means that the signed attributes break RFC 5652 section 11: content-type or message-digest is
	// missing, repeated, has not exactly one value, or names another type than the content's.
	ErrAttributes = errors.New("signed attributes are not what they must be")
)

// ErrNoContent means that a detached signature was read without its content, or that content was given for a
// signature that has its own.
var ErrNoContent = errors.New("content and signature do not belong together")

// RecipientError says which recipient's certificate cannot be encrypted to, and why.
type RecipientError struct {
	// Index of the certificate in the recipients given to Encrypt.
	Index int
	Err   error
}

func (e *RecipientError) Error() string {
	return fmt.Sprintf("encrypt content key for recipient %d: %v", e.Index+1, e.Err)
}

func (e *RecipientError) Unwrap() error { return e.Err }

// fault is an ErrSyntax with a sentence.
type fault struct{ text string }

func (f *fault) Error() string { return ErrSyntax.Error() + ": " + f.text }
func (f *fault) Unwrap() error { return ErrSyntax }

func syntaxError(format string, args ...any) error {
	return &fault{fmt.Sprintf(format, args...)}
}

// within says in which part of the message a fault is; other errors stay as they are.
func within(what string, err error) error {
	if f := (*fault)(nil); errors.As(err, &f) {
		return syntaxError("%s: %s", what, f.text)
	}
	return err
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}
