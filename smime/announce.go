package smime

import (
	"crypto/x509"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Announcement is what the signer of a mail lets know about answers (RFC 8551 sections 2.5.2 and 2.5.3).
type Announcement struct {
	// Address is the From address, which the signer's certificate names.
	Address mailaddr.Address
	// Certificate is the one to encrypt answers to: that which the signer prefers when it names the From address too, else
	// the one that signed.
	Certificate *x509.Certificate
	// Signer is the one that signed.
	Signer *x509.Certificate
	// Capabilities are what the signer can read, the most wanted first; never nil.
	Capabilities cms.Capabilities
	// Signed is the claimed time of signing, never in the future when the mail was verified.
	Signed time.Time
}

// Announcement returns what the signer announces; nil unless the mail is Valid, and has capabilities and a time of signing that
// had come when it was verified. Only then it may be remembered, and only instead of what was signed earlier (RFC 8551
// section 2.7.1).
func (v *Verification) Announcement() *Announcement {
	layer := decisive(v.Layers)
	if v.Verdict != Valid || layer == nil {
		return nil
	}
	for i := range layer.Signatures {
		s := &layer.Signatures[i]
		if s.Verdict != Valid || s.Capabilities == nil || s.SigningTime == nil || s.fromFuture {
			continue
		}
		a := &Announcement{Address: mailaddr.Address(v.From), Signer: s.Certificate.X509, Certificate: s.Certificate.X509, Capabilities: s.Capabilities, Signed: *s.SigningTime}
		// Else somebody could announce for others.
		if s.Preferred != nil && (author{address: a.Address}).namedBy(s.Preferred) {
			a.Certificate = s.Preferred
		}
		return a
	}
	return nil
}
