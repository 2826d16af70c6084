package smime

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Verdict is the one word about a signature, and about a mail.
type Verdict string

// Verdicts. Only Valid lets a mail be taken for its author's.
const (
	// Valid: the signature is good, its certificate is trusted now and names the From address.
	Valid Verdict = "valid"
	// OtherAddress: as Valid, but the certificate does not name the From address, or there is not one From address.
	OtherAddress Verdict = "valid-but-other-address"
	// ExpiredThen: the signature is good and its certificate has expired. It may have been valid when the mail was
	// signed; nobody can prove when that was. With a claimed time of signing at which it was not the verdict is Untrusted.
	ExpiredThen Verdict = "expired-then"
	// Untrusted: the signature is good, but nobody who is trusted says whose it is, or its certificate or its digest is
	// not fit for signatures, or the mail has too many certificates of signers to examine all of them.
	Untrusted Verdict = "untrusted"
	// Invalid: the mail was changed, or is not what a signed mail must be, or the signature cannot be checked.
	Invalid Verdict = "invalid"
	// Unsigned: there is no signature.
	Unsigned Verdict = "unsigned"
	// Partial: parts of the mail are signed and the mail as a whole is not; everything else in it may be anybody's.
	Partial Verdict = "partial"
)

// verdicts are those of signatures, the best first.
var verdicts = []Verdict{Valid, OtherAddress, ExpiredThen, Untrusted, Invalid}

// worse returns the worse of two verdicts about signatures.
func worse(a, b Verdict) Verdict {
	return verdicts[max(slices.Index(verdicts, a), slices.Index(verdicts, b))]
}

// better reports whether a is a better verdict about a signature than b.
func better(a, b Verdict) bool { return slices.Index(verdicts, a) < slices.Index(verdicts, b) }

// Verification is what is known about the signatures of a mail.
type Verification struct {
	Verdict Verdict `json:"verdict"`
	// Reasons are sentences for people that explain the verdict; Warnings do not change it.
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings,omitempty"`
	// Inside is the verdict of the signatures inside of the encrypted layer alone, empty for a mail that was not decrypted.
	// Valid means that the decrypted content is what its author signed, even when its cipher is malleable.
	Inside Verdict `json:"inside,omitempty"`
	// From is the address that signers were compared with, in canonical form; empty when the mail has not exactly one.
	From string `json:"from,omitempty"`
	// Layers are what the mail is wrapped into, the outermost first.
	Layers []Layer `json:"layers,omitempty"`
	// Parts are the signed parts of a mail whose verdict is Partial.
	Parts []Part `json:"parts,omitempty"`
	// Headers tells which header fields are protected; nil when none is.
	Headers *ProtectedHeaders `json:"headers,omitempty"`
	// Install says what can be done with the certificate of the signer. It is for the caller to fill in.
	Install *Install `json:"install,omitempty"`
}

// Install says what one can do with the certificate of somebody who signed a mail.
type Install struct {
	// Action is "remove" when it is installed, "install" when it can be, and empty when it cannot.
	Action string `json:"action,omitempty"`
	// Certificates are the SHA-256 fingerprints of what is, or would be, installed: the one to encrypt to first.
	Certificates []string `json:"certificates"`
	// Addresses are those that it is, or would be, installed for.
	Addresses []mailaddr.Address `json:"addresses"`
	// Encryption reports that one can encrypt to one of the certificates.
	Encryption bool `json:"encryption"`
	// Renewal reports that another certificate of the same person is installed, and this one is newer.
	Renewal bool `json:"renewal,omitempty"`
	// Used reports that mail to Addresses is encrypted to it already, because the address book or the contacts have it.
	Used bool `json:"used,omitempty"`
	// Own reports that it is the user's own: the keyring has the key for it.
	Own bool `json:"own,omitempty"`
	// Reasons say why it cannot be installed. Never nil.
	Reasons []string `json:"reasons"`
}

// LayerKind is what a layer does.
type LayerKind string

// Kinds of layers.
const (
	SignedLayer     LayerKind = "signed"
	EncryptedLayer  LayerKind = "encrypted"
	CompressedLayer LayerKind = "compressed"
)

// Layer is one wrapping of a mail.
type Layer struct {
	Kind LayerKind `json:"kind"`
	// Verdict of a signed layer is that of its best signature: anybody can add a bad one.
	Verdict Verdict `json:"verdict,omitempty"`
	// Reasons say what is wrong with the layer as a whole.
	Reasons []string `json:"reasons,omitempty"`
	// Detached tells multipart/signed from application/pkcs7-mime.
	Detached   bool        `json:"detached,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
	// Protection and Cipher are those of an encrypted layer that was decrypted.
	Protection string `json:"protection,omitempty"`
	Cipher     string `json:"cipher,omitempty"`
	// Certificates are all that a signed layer carries. They prove nothing by being there.
	Certificates []*x509.Certificate `json:"-"`
}

// Part is a signed part of a mail.
type Part struct {
	// Path counts the parts from 1, "2.1" is the first part of the second part.
	Path         string       `json:"path"`
	Verification Verification `json:"verification"`
}

// Signature is one signature with its outcome.
type Signature struct {
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings,omitempty"`
	// Certificate is the signer's; nil when it is not at hand or none verifies the signature.
	Certificate *SignerCertificate `json:"certificate,omitempty"`
	Algorithm   string             `json:"algorithm,omitempty"`
	Digest      string             `json:"digest,omitempty"`
	// SigningTime is what the signer claims.
	SigningTime *time.Time `json:"signingTime,omitempty"`
	// Capabilities and Preferred, the certificate to encrypt answers with, are the signer's wishes; nil when there are
	// none or the signature does not verify. They may be believed only as far as the verdict goes.
	Capabilities cms.Capabilities  `json:"-"`
	Preferred    *x509.Certificate `json:"-"`

	fromFuture bool // the claimed time has not come
}

// SignerCertificate describes a signer's certificate.
type SignerCertificate struct {
	SHA256    string            `json:"sha256"`
	Subject   string            `json:"subject"`
	Issuer    string            `json:"issuer"`
	Serial    string            `json:"serial"`
	Addresses []string          `json:"addresses"`
	NotBefore time.Time         `json:"notBefore"`
	NotAfter  time.Time         `json:"notAfter"`
	Key       string            `json:"key"`
	X509      *x509.Certificate `json:"-"`
}

// signed reports whether a layer has a signature, be it good or bad.
func (l *Layer) signed() bool { return l.Kind == SignedLayer && l.Verdict != Unsigned }

// conclude derives the verdict of the mail from its layers. A layer that was changed makes the mail invalid. Else the best
// layer counts: a mailing list may have signed once more what its author had signed.
func (v *Verification) conclude() {
	decisive := decisive(v.Layers)
	if v.Verdict = Unsigned; decisive == nil {
		return
	}
	v.Verdict = decisive.Verdict
	v.Reasons = append(v.Reasons, decisive.Reasons...)
	for _, s := range decisive.Signatures {
		if s.Verdict == decisive.Verdict {
			v.Reasons = append(v.Reasons, s.Reasons...)
			v.Warnings = append(v.Warnings, s.Warnings...)
			break
		}
	}
}

func decisive(layers []Layer) (found *Layer) {
	for i := range layers {
		l := &layers[i]
		switch {
		case !l.signed(), found != nil && found.Verdict == Invalid:
		case found == nil, l.Verdict == Invalid, better(l.Verdict, found.Verdict):
			found = l
		}
	}
	return found
}

// intact reports that the mail is signed as a whole and as its signer, whoever that is, has signed it.
func (v *Verification) intact() bool {
	return slices.Contains(verdicts, v.Verdict) && v.Verdict != Invalid
}

// lower makes a verdict about signatures worse, never better.
func (v *Verification) lower(to Verdict, reason string) {
	if slices.Contains(verdicts, v.Verdict) && better(v.Verdict, to) {
		v.Verdict, v.Reasons = to, append(v.Reasons, reason)
	}
}

// verdictOf judges the findings about a signer's certificate.
func verdictOf(findings []trust.Finding) Verdict {
	v := Valid
	for _, f := range findings {
		switch f.State {
		case trust.WrongAddress:
			v = worse(v, OtherAddress)
		case trust.Expired:
			v = worse(v, ExpiredThen)
		default:
			v = Untrusted
		}
	}
	return v
}
