package installed

import (
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/smime"
)

// Report says what a file or mail holds and what installing it does, or did.
type Report struct {
	// Format is "mail", "pem", "der", "pkcs7" or "vcard".
	Format string `json:"format"`
	// Signature is that of a mail; nil for other files, which have none.
	Signature *Signature `json:"signature,omitempty"`
	// Certificates are those of people, one for encryption first. Certificates of authorities stand in their chains.
	Certificates []Item `json:"certificates"`
	// Done reports that the certificates are installed; false for a dry run.
	Done bool `json:"done"`
	// Remarks are what is unusual about the file as a whole.
	Remarks []Remark `json:"remarks"`
}

// Signature is what verification says about a mail.
type Signature struct {
	Verdict  smime.Verdict `json:"verdict"`
	Reasons  []string      `json:"reasons"`
	Warnings []string      `json:"warnings,omitempty"`
	// From is the sender's address; empty when the mail has not exactly one.
	From string `json:"from,omitempty"`
	// SigningTime is what the signer claims.
	SigningTime *time.Time `json:"signingTime,omitempty"`
}

// Item is one certificate that can be installed.
type Item struct {
	recipients.Certificate
	// Uses are "encryption" and "signature", as far as the certificate and its key allow.
	Uses []string `json:"uses"`
	// For are the addresses that it is installed for.
	For []mailaddr.Address `json:"for"`
	// Chain are the certificates of authorities that came with it, from its issuer upwards.
	Chain []recipients.Certificate `json:"chain"`
	// Chained reports that its chain leads to an anchor, or to an issuer that the person trusts: then no decision about the
	// certificate itself is recorded.
	Chained bool `json:"chained"`
	// State is "new", "changed" (it is installed, and an address or a decision is added) or "unchanged".
	State string `json:"state"`
	// Unusual is what a person should know before installing it.
	Unusual []Remark `json:"unusual"`
	// Obstacles forbid installing it.
	Obstacles []Obstacle `json:"obstacles"`
}

// States of an Item.
const (
	New       = "new"
	Changed   = "changed"
	Unchanged = "unchanged"
)

// Uses of a certificate.
const (
	Encryption = "encryption"
	Signing    = "signature"
)

// Remark is something unusual.
type Remark struct {
	// Code is stable.
	Code string `json:"code"`
	// Text is a clause for people.
	Text string `json:"text"`
}

// Obstacle forbids something.
type Obstacle struct {
	Remark
	// Hint says how to do it all the same; empty when there is no way.
	Hint string `json:"hint,omitempty"`
}

// Codes of remarks and obstacles.
const (
	CodeSelfSigned       = "self-signed"
	CodeUnknownIssuer    = "unknown-issuer"
	CodeAuthority        = "ca-certificate"
	CodeWeakKey          = "weak-key"
	CodeExpired          = "expired"
	CodeNotYetValid      = "not-yet-valid"
	CodeWrongUsage       = "wrong-usage"
	CodeSigningOnly      = "signature-only"
	CodeRevoked          = "revoked"
	CodeLongValidity     = "long-validity"
	CodeOtherAddresses   = "other-addresses"
	CodeOtherAddress     = "other-address"
	CodeNoAddress        = "no-address"
	CodeDirectoryDiffers = "directory-differs"
	CodeNotCompared      = "not-compared"
	CodeInUse            = "in-use"
	CodeOwn              = "own"
	CodeRenewal          = "renewal"
	CodeOlder            = "older"
	CodeInvalidSignature = "invalid-signature"
	CodeNoSignature      = "no-signature"
	CodeUnproven         = "unproven"
	CodePartlySigned     = "partly-signed"
	CodeUnreadable       = "unreadable"
	CodePrivateKey       = "private-key"
	CodeSeveralPeople    = "several-people"
)

// Refusal is the error of Install when nothing was installed because of obstacles.
type Refusal struct{ Report *Report }

func (r *Refusal) Error() string {
	if s := r.Report.Signature; s != nil && len(r.Report.Certificates) == 0 {
		return "install certificate: the mail carries none that its sender's signature proves: " + strings.Join(s.Reasons, "; ")
	}
	for _, c := range r.Report.Certificates {
		for _, o := range c.Obstacles {
			return "install certificate " + c.SHA256[:16] + "…: " + o.Text
		}
	}
	return "install certificate: there is nothing to install"
}

// Hint says how to do it all the same; empty when there is no way.
func (r *Refusal) Hint() string {
	for _, c := range r.Report.Certificates {
		for _, o := range c.Obstacles {
			return o.Hint
		}
	}
	return ""
}
