package recipients

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Extra is a source of certificates beside the address book: personal contacts, certificates installed by hand. Whoever
// makes a Directory asks its extras and puts what they offer into Found.
type Extra interface {
	// Offers returns all that the source holds for address, in any order. None is not an error; an error means that the
	// source could not be read, and makes the whole look-up fail.
	Offers(ctx context.Context, address mailaddr.Address) ([]Offer, error)
}

// Found is all that is known about an address before any verdict. The zero value: nothing.
type Found struct {
	// Sightings are the entries of the address book that claim the address: usually none or one, several when the address
	// book contradicts itself.
	Sightings []directory.Sighting
	// Offers are the certificates of other sources.
	Offers []Offer
}

// Offer is one certificate that a source beside the address book holds for an address, or one value that should have held
// one.
type Offer struct {
	// Source is Contacts or Installed.
	Source Source `json:"source"`
	// Raw is the certificate in DER; empty for a value that holds none.
	Raw []byte `json:"raw,omitempty"`
	// Fault says why a value cannot be read as a certificate.
	Fault string `json:"fault,omitempty"`
	// Property is the Exchange property that held it; empty for what did not come from Exchange.
	Property directory.Property `json:"property,omitempty"`
	// Default reports Outlook's mark (directory.UserCertificate.Default).
	Default bool `json:"default,omitempty"`
	// Name is the display name of the person there.
	Name string `json:"name,omitempty"`
	// Intermediates are certificates in DER that may help to build the chain; they prove nothing.
	Intermediates [][]byte `json:"intermediates,omitempty"`
	// Seen is when the source last confirmed it; zero for what does not age, such as a certificate installed by hand.
	Seen time.Time `json:"seen,omitzero"`
	// Preferred reports that the person chose this certificate for this address. Candidates of other sources with the
	// same certificate are preferred with it.
	Preferred bool `json:"preferred,omitempty"`
	// Vouched reports that the person decided to trust this certificate for this address: that stands in for the chain,
	// and for nothing else.
	Vouched bool `json:"vouched,omitempty"`
	// Beside has the issuers that the person trusts (trust.Question.Beside); nil: none.
	Beside *trust.Policy `json:"-"`
}

// offered judges an offer. Its certificate must name the address itself, and the address book's word says nothing about
// it.
func (q *question) offered(address mailaddr.Address, o Offer) Candidate {
	c := Candidate{Source: o.Source, Property: o.Property, Default: o.Default, Preferred: o.Preferred}
	if len(o.Raw) == 0 {
		c.judged([]trust.Finding{{State: trust.Undecodable, Reason: "a value that cannot be read as a certificate: " + o.Fault}})
		return c
	}
	cert, err := q.book.parsed.read(o.Raw)
	if err != nil {
		c.judged([]trust.Finding{{State: trust.Undecodable, Reason: "a certificate that cannot be read: " + err.Error()}})
		return c
	}
	c.Certificate = cert
	ask := trust.Question{
		Addresses:     []mailaddr.Address{address},
		Names:         cert.Addresses,
		Intermediates: q.book.parsed.readAll(o.Intermediates),
		Now:           q.now,
		Vouched:       o.Vouched,
		Beside:        o.Beside,
	}
	findings, known := q.book.policy().Encryption(cert.X509, ask)
	c.Revocation = revocation(known)
	onTheirWord(findings, cert)
	if old := q.tooOld(o); old != nil {
		findings = append(findings, *old)
	}
	c.judged(findings)
	return c
}

// onTheirWord gives the hint how a person's word makes a certificate usable, when nothing else stands in the way.
func onTheirWord(findings []trust.Finding, cert *Certificate) {
	if len(findings) == 1 && findings[0].State == trust.Untrusted {
		findings[0].Hint = "if you are sure that it is theirs: galsyncd cert trust " + cert.SHA256
	}
}

// tooOld is the finding against an offer that its source did not confirm for too long; nil while it is fresh.
func (q *question) tooOld(o Offer) *trust.Finding {
	old := q.now.Sub(o.Seen)
	if old < -24*time.Hour {
		return &trust.Finding{State: trust.Stale, Reason: fmt.Sprintf("confirmed in %s at a time that has not come yet: a clock was wrong", o.Source), Hint: "set the clock and run a sync"}
	}
	if o.Seen.IsZero() || q.book.RefuseAfter <= 0 || old <= q.book.RefuseAfter {
		return nil
	}
	return &trust.Finding{
		State:  trust.Stale,
		Reason: fmt.Sprintf("last confirmed in %s %s ago; after %s it is no longer used", o.Source, age(old), age(q.book.RefuseAfter)),
		Hint:   "run a sync: the server was not read completely for too long",
	}
}

// sharePreference gives the person's choice of a certificate to the same certificate of every source.
func sharePreference(candidates []Candidate) {
	chosen := map[string]bool{}
	for _, c := range candidates {
		if c.Preferred && c.Certificate != nil {
			chosen[c.Certificate.SHA256] = true
		}
	}
	for i, c := range candidates {
		if c.Certificate != nil && chosen[c.Certificate.SHA256] {
			candidates[i].Preferred = true
		}
	}
}

// fromOffer makes the answer when the chosen certificate, the first of candidates, is not from the address book.
func (q *question) fromOffer(address mailaddr.Address, claims []directory.Sighting, offers []Offer, candidates []Candidate) Answer {
	candidates[0].Chosen = true
	candidates[0].Reasons = []string{whyFirst(candidates)}
	chosen := candidates[0]
	a := Answer{
		State:       trust.Encryptable,
		Source:      chosen.Source,
		Certificate: chosen.Certificate,
		Reasons:     []string{"from " + sourceName(chosen.Source) + ": " + whyNotGAL(address, claims, candidates)},
		Explain:     candidates,
	}
	i := slices.IndexFunc(offers, func(o Offer) bool {
		return o.Source == chosen.Source && string(o.Raw) == string(chosen.Certificate.X509.Raw)
	})
	a.Name, a.Seen = offers[i].Name, offers[i].Seen
	if len(claims) == 1 {
		a.Name = cmp.Or(claims[0].Entry.DisplayName, a.Name)
	}
	if old := q.now.Sub(a.Seen); !a.Seen.IsZero() && q.book.WarnAfter > 0 && old > q.book.WarnAfter {
		a.Warnings = []string{fmt.Sprintf("last confirmed in %s %s ago; the certificate may have been replaced since", chosen.Source, age(old))}
	}
	a.warn(chosen)
	return a
}

// whyNotGAL says why the chosen certificate is not one of the address book.
func whyNotGAL(address mailaddr.Address, claims []directory.Sighting, candidates []Candidate) string {
	if candidates[0].Preferred {
		return "chosen by the user for this address"
	}
	if len(claims) == 0 {
		return fmt.Sprintf("%s is not in the address book", address)
	}
	var why []string
	for _, c := range candidates {
		if c.Source == GAL {
			why = append(why, c.Reasons...)
		}
	}
	if len(why) == 0 {
		return fmt.Sprintf("the address book has no certificate for %s", claims[0].Entry.Primary)
	}
	return "the address book has no certificate that can be used: " + strings.Join(why[:min(len(why), maxReasons)], "; ")
}

func sourceName(s Source) string {
	switch s {
	case Contacts:
		return "contacts"
	case Installed:
		return "installed certificates"
	}
	return "the address book"
}
