// Package recipients answers the question behind the lock of a mail client: may I encrypt to these people, with which
// certificates, and if not, why?
//
// It is the one place where certificates of all sources are merged, judged (by package trust), ranked and explained, so
// that the socket, the command line and the encryptor can never disagree. It promises that a message is "encrypted" only
// when every recipient is encryptable, and that an encryptable recipient has a certificate to which trust has no
// objection.
package recipients

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// MaxAddresses is how many addresses one question may name.
const MaxAddresses = 1000

// Errors of Lookup that concern the whole question.
var (
	// ErrNoAddresses: a message without recipients is neither encrypted nor blocked.
	ErrNoAddresses = errors.New("no address was asked about")
	// ErrTooManyAddresses: more than MaxAddresses.
	ErrTooManyAddresses = errors.New("more than 1000 addresses in one question")
)

// Directory is the local copy of the address book, with what other sources offer.
type Directory interface {
	// Lookup returns all that is known about address. Nothing is not an error.
	Lookup(ctx context.Context, address mailaddr.Address) (Found, error)
	// Freshness says how well the copy is known to agree with the server.
	Freshness(ctx context.Context) (Freshness, error)
}

// Freshness is what is known about the copy as a whole.
type Freshness struct {
	// Completed is when the last complete run began, over the whole address book or over known addresses alone; zero when
	// there never was one.
	Completed time.Time
	// Walked is when the last complete run over the whole address book began; zero when there never was one. Only such a
	// run can tell that somebody is not there.
	Walked time.Time
	// Absent says why there is no address book here at all; empty when there is one.
	Absent string
	// Remedy is what helps while Completed is zero; empty means a sync.
	Remedy string
}

// Book answers questions about recipients. Its fields must not change after the first use; it may be used from any number
// of goroutines.
type Book struct {
	Directory Directory
	Policy    *trust.Policy
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// WarnAfter is the age of a sighting from which on the answer carries a warning; zero means never.
	WarnAfter time.Duration
	// RefuseAfter is the age from which on an entry is too old to encrypt with; zero means never.
	RefuseAfter time.Duration

	parsed parsedCache
}

// States of a message.
const (
	Encrypted       = "encrypted"
	UnableToEncrypt = "unable-to-encrypt"
)

// Result is the answer for a message.
type Result struct {
	// State is Encrypted when every recipient is encryptable, else UnableToEncrypt.
	State string `json:"state"`
	// Blocking are the addresses that cannot be encrypted to, in the order of the question. Never nil.
	Blocking []string `json:"blocking"`
	// Recipients holds one answer for each address of the question, in its order.
	Recipients []Answer `json:"recipients"`
}

// Answer is the answer for one recipient.
type Answer struct {
	// Address is the canonical form; the text as asked when that is no address.
	Address string `json:"address"`
	// Asked is the text of the question, when it differs from Address.
	Asked string      `json:"asked,omitempty"`
	State trust.State `json:"state"`
	// Source is where the chosen certificate came from; empty unless State is encryptable.
	Source Source `json:"source,omitempty"`
	// Certificate is the chosen one; nil unless State is encryptable, and for groups.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Members are the answers for the direct members of a group; it is encryptable when all of them are.
	Members []Answer `json:"members,omitempty"`
	// Reasons say in sentences why the state is what it is. Never nil.
	Reasons []string `json:"reasons"`
	// Hints say what somebody can do about it.
	Hints []string `json:"hints,omitempty"`
	// Warnings do not change the state: old data, entries about to disappear.
	Warnings []string `json:"warnings,omitempty"`
	// Revocation is what is known about the revocation of the chosen certificate; nil when nobody asks.
	Revocation *Revocation `json:"revocation,omitempty"`
	// Name is the display name of the address book entry.
	Name string `json:"name,omitempty"`
	// Seen is when the server last confirmed the entry; zero without an entry.
	Seen time.Time `json:"seen,omitzero"`
	// Explain holds every candidate, best first, each with its verdict.
	Explain []Candidate `json:"explain,omitempty"`
}

// Certificates are all that a mail to an encryptable recipient must be encrypted to, each once: the chosen one, or those
// of the members of a group.
func (a *Answer) Certificates() []*x509.Certificate {
	if a.Certificate != nil {
		return []*x509.Certificate{a.Certificate.X509}
	}
	var all []*x509.Certificate
	for i := range a.Members {
		for _, cert := range a.Members[i].Certificates() {
			if !slices.ContainsFunc(all, cert.Equal) {
				all = append(all, cert)
			}
		}
	}
	return all
}

// Source is where a certificate came from.
type Source string

// Sources, in order of preference.
const (
	GAL       Source = "gal"
	Contacts  Source = "contacts"
	Installed Source = "installed"
)

// Certificate describes a certificate for people and programs.
type Certificate struct {
	// SHA256 is the fingerprint over the DER in lower-case hex.
	SHA256  string `json:"sha256"`
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// Serial is in lower-case hex.
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Key is algorithm and size, for example "RSA 2048" or "EC P-256".
	Key string `json:"key"`
	// Addresses are the mail addresses that the certificate names.
	Addresses []mailaddr.Address `json:"addresses,omitempty"`
	X509      *x509.Certificate  `json:"-"`
}

// Candidate is one certificate, or one value that should have held one, that was considered for a recipient.
type Candidate struct {
	// Certificate is nil for a value that held none.
	Certificate *Certificate `json:"certificate,omitempty"`
	Source      Source       `json:"source"`
	// Entry is the primary address of the entry that the candidate belongs to.
	Entry mailaddr.Address `json:"entry,omitempty"`
	// Property is the Exchange property that held it; empty for other sources.
	Property directory.Property `json:"property,omitempty"`
	// Default reports Outlook's mark (directory.UserCertificate.Default).
	Default bool `json:"default,omitempty"`
	// Preferred reports that the user chose this certificate for this address.
	Preferred bool `json:"preferred,omitempty"`
	// State is encryptable, or the most serious finding.
	State trust.State `json:"state"`
	// Reasons are all findings, or for the chosen one why it was preferred. Never nil.
	Reasons []string `json:"reasons"`
	Hints   []string `json:"hints,omitempty"`
	// Revocation is what is known about its revocation; nil when nobody asks (see trust.StatusGood).
	Revocation *Revocation `json:"revocation,omitempty"`
	// Chosen marks the one that is used.
	Chosen bool `json:"chosen,omitempty"`
}
