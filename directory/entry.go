package directory

import (
	"crypto/sha256"
	"slices"
	"time"
)

// Entry is one person, contact or group of the address book, as it is kept: one canonical record, its certificates
// decoded. No verdict is in it; whether a certificate may be used is for package trust to say, at the time of use.
type Entry struct {
	// Primary identifies the entry.
	Primary Address `json:"primary"`
	// Addresses are the addresses proven to belong to the entry: Primary first, then the others in order.
	Addresses []Address `json:"addresses"`
	// Proven are addresses that the server does not list for the entry, but by which an exact look-up found it.
	Proven []Address `json:"proven,omitempty"`
	// Claimed are further addresses that certificates of the entry name, certificates which also name one of Addresses.
	// They are as good as that certificate: only with a trusted chain, and never against an entry that lists the address.
	Claimed     []Address `json:"claimed,omitempty"`
	DisplayName string    `json:"displayName,omitempty"`
	GivenName   string    `json:"givenName,omitempty"`
	Surname     string    `json:"surname,omitempty"`
	Alias       string    `json:"alias,omitempty"`
	Kind        Kind      `json:"kind"`
	// Certificates are the candidates for the entry's own certificate, from all values, each once.
	Certificates []UserCertificate `json:"certificates,omitempty"`
	// Intermediates are the CA certificates that came along (DER), each once. They help to build a chain and prove
	// nothing.
	Intermediates [][]byte `json:"intermediates,omitempty"`
	// Undecodable names each value that held no certificate.
	Undecodable []Undecodable `json:"undecodable,omitempty"`
	// Partial reports that the server leaves out certificates which it does not find valid (Record.Partial).
	Partial bool `json:"partial,omitempty"`
	// Undetermined says why nothing is known about the certificates of the entry (Record.Undetermined); empty when the
	// server said what there is.
	Undetermined string `json:"undetermined,omitempty"`
	// Changed is when this content was first seen.
	Changed time.Time `json:"changed"`
	// Missing is when a complete run first did not find the entry any more; zero while it is found.
	Missing time.Time `json:"missing,omitzero"`
	// Unconfirmed is the start of the last run that did not confirm the entry as it is, although that run counts for others:
	// the server gave no usable answer about it, or what it said was held back by the guard. Zero: there was none. A later
	// run that counts, and says nothing of it here, confirmed the entry.
	Unconfirmed time.Time `json:"unconfirmed,omitzero"`
	// LastSeen is, with Missing or Unconfirmed, the start of the last run before that did confirm the entry.
	LastSeen time.Time `json:"lastSeen,omitzero"`
	// Digest identifies the record that the entry was decoded from.
	Digest [sha256.Size]byte `json:"-"`
}

// Owned are the addresses that the address book ties to the entry: Addresses and Proven.
func (e *Entry) Owned() []Address {
	return slices.Concat(e.Addresses, e.Proven)
}

// UserCertificate is one certificate of an entry and where it was found.
type UserCertificate struct {
	// Raw is the certificate in DER. It parsed with crypto/x509 when it was stored.
	Raw      []byte   `json:"raw"`
	Property Property `json:"property"`
	Encoding Encoding `json:"encoding"`
	// Default reports that the value itself names this certificate as the one to encrypt to: Outlook's mark, the
	// encryption key preference among the signed attributes, or the KeyExchangeCertificate setting.
	Default bool `json:"default,omitempty"`
}

// Encoding is how a value held its certificate.
type Encoding string

// Encodings, in the order in which a value is tried.
const (
	EncodingSignedData Encoding = "signed-data" // CMS SignedData (RFC 2798 userSMIMECertificate)
	EncodingX509       Encoding = "x509"        // one bare certificate (MS-OXOABK section 2.2.4.35)
	EncodingSettings   Encoding = "settings"    // tag, length, value (MS-OXOABK section 2.2.4.36)
)

// Undecodable is a value that held no certificate.
type Undecodable struct {
	Property Property `json:"property"`
	// Reason is fit for people.
	Reason string `json:"reason"`
	// SHA256 of the value in lower-case hex, so that two machines can compare; empty when the value could not be read.
	SHA256 string `json:"sha256,omitempty"`
	// Size of the value in bytes.
	Size int `json:"size"`
}

// Sighting is an entry together with how sure we are that it still stands.
type Sighting struct {
	Entry Entry
	// Seen is when the server last confirmed the entry: the start of the last finished run that found it.
	Seen time.Time
	// Claimed reports that the address which was looked up is only among Entry.Claimed: a certificate names it, the
	// directory does not list it.
	Claimed bool
	// Members are those of a group, as far as they are known; nil when they were never asked for.
	Members *Members
}
