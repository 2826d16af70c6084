// Package installed is about the certificates of people outside the organisation, which a person installs by hand: it reads
// them out of signed mails and files, says what is unusual about them, keeps them, and answers for them when a mail is
// encrypted or a signature judged.
//
// It promises that nothing is stored by itself; that a decision to trust a certificate for an address stands in for its
// chain and for nothing else; that an installed certificate never goes before a usable one of the address book unless the
// person chose it; and that what is unusual is said before anything is stored.
package installed

import (
	"context"
	"crypto/x509"
	"slices"
	"sync/atomic"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/trust"
)

// Shelf is where installed certificates stand: those of one user, or in the system role those of everyone. Set its fields
// before the first use. It implements recipients.Extra.
type Shelf struct {
	Store *keyring.Keyring
	// Policy is the one of the daemon; its settings hold for issuers that the person trusts, too.
	Policy *trust.Policy
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	issuers atomic.Pointer[issuerPolicy]
}

// issuerPolicy trusts the issuers that the person trusts, as of a version of the store.
type issuerPolicy struct {
	version uint64
	policy  *trust.Policy
}

func (s *Shelf) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// Offers implements recipients.Extra: the certificates that are installed for address, with what the person decided.
func (s *Shelf) Offers(_ context.Context, address mailaddr.Address) ([]recipients.Offer, error) {
	list, err := s.Store.InstalledFor(address)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	choice, chosen, err := s.Store.Choice(address)
	if err != nil {
		return nil, err
	}
	beside, err := s.issuerPolicy()
	if err != nil {
		return nil, err
	}
	var offers []recipients.Offer
	for _, in := range list {
		o := recipients.Offer{Source: recipients.Installed, Raw: in.Certificate.Raw, Name: in.Certificate.Subject.CommonName,
			Preferred: chosen && choice == in.Fingerprint, Vouched: s.vouched(&in, address, beside), Beside: beside}
		for _, c := range in.Chain {
			o.Intermediates = append(o.Intermediates, c.Raw)
		}
		offers = append(offers, o)
	}
	return offers, nil
}

// vouched reports whether the person's word stands for a certificate. Where its chain leads to an issuer that the person
// trusts, the chain decides: what that issuer revoked is not to be used, whatever was decided about it before.
func (s *Shelf) vouched(in *keyring.Installed, address mailaddr.Address, issuers *trust.Policy) bool {
	_, trusted := in.For(address)
	if issuers == nil {
		return trusted
	}
	findings := issuers.ForEncryption(in.Certificate, trust.Question{Addresses: []mailaddr.Address{address}, Intermediates: in.Chain, Now: s.now()})
	if untrusted(findings) {
		return trusted
	}
	return chained(findings)
}

// chained reports that nothing is held against the chain of a certificate.
func chained(findings []trust.Finding) bool {
	return !slices.ContainsFunc(findings, func(f trust.Finding) bool {
		return f.State == trust.Untrusted || f.State == trust.Revoked || f.State == trust.RevocationUnknown
	})
}

// untrusted reports that no chain was found.
func untrusted(findings []trust.Finding) bool {
	return slices.ContainsFunc(findings, func(f trust.Finding) bool { return f.State == trust.Untrusted })
}

// issuerPolicy is the policy under which the issuers that the person trusts are the only anchors; nil when there are none.
func (s *Shelf) issuerPolicy() (*trust.Policy, error) {
	version := s.Store.Version()
	if known := s.issuers.Load(); known != nil && known.version == version {
		return known.policy, nil
	}
	list, err := s.Store.Issuers()
	if err != nil {
		return nil, err
	}
	made := &issuerPolicy{version: version}
	if len(list) > 0 {
		pool := x509.NewCertPool()
		for _, issuer := range list {
			pool.AddCert(issuer.Certificate)
		}
		made.policy = under(s.Policy, pool, len(list))
	}
	s.issuers.Store(made)
	return made.policy, nil
}

// under makes a policy with other anchors and the same settings.
func under(p *trust.Policy, anchors *x509.CertPool, count int) *trust.Policy {
	made := &trust.Policy{Anchors: anchors, AnchorCount: count}
	if p != nil {
		made.Revocations, made.RevocationRequired, made.Issuers = p.Revocations, p.RevocationRequired, p.Issuers
	}
	return made
}
