// Package trust decides whether a certificate may be used to encrypt a mail to an address now, or to believe a signature
// on a mail from an address, and says why not.
//
// It follows RFC 8550 (S/MIME certificate handling) and RFC 5280. It promises to name every obstacle that it finds, not
// only the first, in a fixed order and in words a person understands; to look at nothing but its arguments (no network,
// no files, no clock of its own); and to do a bounded amount of work for any certificate that crypto/x509 parses.
// Whether a certificate was revoked is the answer of somebody else (Revocations); what follows from it is decided here.
package trust

import (
	"crypto/x509"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// State is the one word that answers "may I encrypt to this address?". The words are part of the socket's contract.
type State string

// States. All but Encryptable forbid encryption; RevocationUnknown does so only where revocation data is required.
const (
	Encryptable       State = "encryptable"
	NoCertificate     State = "no-certificate" // the server says there is none
	Unknown           State = "unknown"        // never asked, or no usable answer
	Expired           State = "expired"
	NotYetValid       State = "not-yet-valid"
	WrongUsage        State = "wrong-usage"
	WrongAddress      State = "wrong-address"
	WeakKey           State = "weak-key"
	Untrusted         State = "untrusted"
	Revoked           State = "revoked"
	RevocationUnknown State = "revocation-unknown"
	Undecodable       State = "undecodable"
	Ambiguous         State = "ambiguous"
	GroupIncomplete   State = "group-incomplete"
	Stale             State = "stale"
)

// Policy holds what the administrator decided about trust, and remembers chains that it verified. Use it by pointer,
// from any number of goroutines; do not change its fields after the first use. The zero value trusts nothing.
type Policy struct {
	// Anchors are the certificates that a chain must end in. Nil trusts nothing: the system's roots are used only when
	// the caller puts them here.
	Anchors *x509.CertPool
	// AnchorCount is how many certificates Anchors holds. With zero no chain is looked for, and the finding says that
	// anchors must be configured.
	AnchorCount int
	// AcceptDirectory takes the address book's word in place of a chain: certificates asked about with FromDirectory
	// need none. Everything else is still checked.
	AcceptDirectory bool
	// Revocations knows which certificates were revoked; nil checks no revocation. A revoked certificate, or one with a
	// revoked authority in its chain, is never usable.
	Revocations Revocations
	// RevocationRequired forbids certificates of which it is not known whether they were revoked.
	RevocationRequired bool
	// Issuers knows further certificates of authorities; nil knows none.
	Issuers Issuers

	chains chainCache
}

// Question is what is asked about a certificate.
type Question struct {
	// Addresses belong to the person to whom the mail goes, or are those that a signed mail says it is from. The
	// certificate must name at least one of them.
	Addresses []mailaddr.Address
	// Intermediates may help to build the chain; they prove nothing. At most MaxIntermediates are looked at.
	Intermediates []*x509.Certificate
	// Now is the time of the decision.
	Now time.Time
	// Names are the addresses that the certificate names, for a caller that has them from CertificateAddresses; nil: they
	// are looked up.
	Names []mailaddr.Address
	// FromDirectory reports that the certificate came from the address book entry of the person.
	FromDirectory bool
	// Vouched reports that somebody decided to trust this very certificate for these addresses: no chain is asked for.
	// Everything else is still checked.
	Vouched bool
	// Beside has further anchors, asked only where the policy finds no chain; its other settings should be the same. A
	// chain that it finds counts like one of the policy, with everything that was revoked in it. Nil: none.
	Beside *Policy
}

// Finding is one reason why a certificate may not be used.
type Finding struct {
	State State
	// Reason completes "the certificate is/has ..." for people, for example "expired 3 days ago (2027-01-02)".
	Reason string
	// Hint says what somebody can do about it; empty when there is nothing better than a new certificate.
	Hint string
	// Since is when the certificate was revoked; zero with other states.
	Since time.Time
}

// ForEncryption returns every obstacle to encrypting to cert, in the order validity, usage, key, address, chain, revocation.
// An empty result means that cert may be used.
func (p *Policy) ForEncryption(cert *x509.Certificate, q Question) []Finding {
	findings, _ := p.Encryption(cert, q)
	return findings
}

// Encryption returns what ForEncryption and Revocation do.
func (p *Policy) Encryption(cert *x509.Certificate, q Question) ([]Finding, Revocation) {
	findings := checkValidity(cert, q.Now)
	findings = append(findings, checkUsage(cert, keyUsageObstacle(cert))...)
	findings = append(findings, checkKey(cert)...)
	findings = append(findings, checkAddress(cert, q)...)
	findings = append(findings, checkCritical(cert)...)
	obstacles, known := p.checkStanding(cert, q)
	return append(findings, obstacles...), known
}
