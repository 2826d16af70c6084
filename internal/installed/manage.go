package installed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/trust"
)

// List is everything that was installed.
type List struct {
	// Certificates are those of people, in the order of their first address.
	Certificates []Entry `json:"certificates"`
	// Issuers are the authorities that the person trusts.
	Issuers []Issuer `json:"issuers"`
}

// Entry is an installed certificate.
type Entry struct {
	recipients.Certificate
	Uses []string `json:"uses"`
	// For are the addresses that it is installed for.
	For []Place `json:"for"`
	// Chain are the certificates that came with it.
	Chain []recipients.Certificate `json:"chain"`
	// How is "mail", "file" or "admin" (by an administrator, for everyone); From is the sender of the mail or the name of the
	// file.
	How  string `json:"how"`
	From string `json:"from,omitempty"`
	// Installed is when it came, Updated when something about it changed last.
	Installed time.Time `json:"installed"`
	Updated   time.Time `json:"updated"`
}

// Place is an address that a certificate is installed for.
type Place struct {
	Address mailaddr.Address `json:"address"`
	// Trusted is when the person decided that the certificate is the right one for the address; zero without a decision.
	Trusted time.Time `json:"trusted,omitzero"`
	// Chosen reports that the person wants this certificate to go before all others.
	Chosen bool `json:"chosen,omitempty"`
	// State is the verdict about encrypting to the certificate; empty for one that is for signatures only.
	State trust.State `json:"state,omitempty"`
	// Reasons explain the state. Never nil.
	Reasons []string `json:"reasons"`
	// Used reports that mail to the address is encrypted to this certificate now.
	Used bool `json:"used,omitempty"`
}

// Issuer is an authority that the person trusts.
type Issuer struct {
	recipients.Certificate
	Trusted time.Time `json:"trusted"`
	From    string    `json:"from,omitempty"`
}

// List returns everything that was installed.
func (i *Installer) List(ctx context.Context) (*List, error) {
	all, err := i.Shelf.Store.Installed()
	if err != nil {
		return nil, err
	}
	out := &List{Certificates: []Entry{}, Issuers: []Issuer{}}
	for _, in := range all {
		e, err := i.entry(ctx, in)
		if err != nil {
			return nil, err
		}
		out.Certificates = append(out.Certificates, *e)
	}
	slices.SortStableFunc(out.Certificates, func(a, b Entry) int {
		return bytes.Compare([]byte(a.For[0].Address), []byte(b.For[0].Address))
	})
	issuers, err := i.Shelf.Store.Issuers()
	for _, issuer := range issuers {
		out.Issuers = append(out.Issuers, describeIssuer(issuer))
	}
	return out, err
}

func describeIssuer(in keyring.Issuer) Issuer {
	return Issuer{Certificate: *recipients.Describe(in.Certificate), Trusted: in.Trusted, From: in.From}
}

// Entry returns one installed certificate; keyring.ErrNotInstalled when there is none with this fingerprint.
func (i *Installer) Entry(ctx context.Context, sum [sha256.Size]byte) (*Entry, error) {
	in, err := i.Shelf.Store.InstalledCertificate(sum)
	if err != nil {
		return nil, err
	}
	return i.entry(ctx, in)
}

// Find returns a certificate that is installed, came with one that is, is that of an authority that the person trusts, or is
// of an own identity; nil when there is none with this fingerprint.
func (i *Installer) Find(sum [sha256.Size]byte) (*x509.Certificate, error) {
	all, err := i.certificates()
	return all[sum], err
}

// Fingerprints returns those of such certificates that begin with these lower-case hex digits.
func (i *Installer) Fingerprints(beginning string) (found [][sha256.Size]byte, err error) {
	all, err := i.certificates()
	for sum := range all {
		if strings.HasPrefix(hex.EncodeToString(sum[:]), beginning) {
			found = append(found, sum)
		}
	}
	return found, err
}

// certificates are all certificates of the store: those that are installed, those of own identities, which look-ups show as
// installed, those that came with them, and trusted issuers.
func (i *Installer) certificates() (map[[sha256.Size]byte]*x509.Certificate, error) {
	list, err := i.Shelf.Store.Installed()
	if err != nil {
		return nil, err
	}
	issuers, err := i.Shelf.Store.Issuers()
	if err != nil {
		return nil, err
	}
	identities, err := i.Shelf.Store.List()
	if err != nil {
		return nil, err
	}
	all := make(map[[sha256.Size]byte]*x509.Certificate)
	note := func(cert *x509.Certificate, chain []*x509.Certificate) {
		all[fingerprint(cert)] = cert
		for _, c := range chain {
			all[fingerprint(c)] = c
		}
	}
	for _, in := range list {
		note(in.Certificate, in.Chain)
	}
	for _, own := range identities {
		note(own.Certificate, own.Chain)
	}
	for _, issuer := range issuers {
		all[issuer.Fingerprint] = issuer.Certificate
	}
	return all, nil
}

func (i *Installer) entry(ctx context.Context, in keyring.Installed) (*Entry, error) {
	e := &Entry{Certificate: *recipients.Describe(in.Certificate), Uses: uses(in.Certificate), For: []Place{}, Chain: []recipients.Certificate{},
		How: string(in.How), From: in.From, Installed: in.Installed, Updated: in.Updated}
	for _, c := range in.Chain {
		e.Chain = append(e.Chain, *recipients.Describe(c))
	}
	for _, a := range in.Addresses {
		p := Place{Address: a.Address, Trusted: a.Trusted, Reasons: []string{}}
		choice, ok, err := i.Shelf.Store.Choice(a.Address)
		if err != nil {
			return nil, err
		}
		p.Chosen = ok && choice == in.Fingerprint
		if slices.Contains(e.Uses, Encryption) {
			if err := i.state(ctx, &p, e.SHA256); err != nil { // an address book that does not answer hides nothing of what is here
				p.State, p.Reasons = trust.Unknown, []string{err.Error()}
			}
		}
		e.For = append(e.For, p)
	}
	return e, nil
}

// state fills in what a look-up of the address says about the certificate.
func (i *Installer) state(ctx context.Context, p *Place, sha256 string) error {
	result, err := i.Book.Lookup(ctx, []string{string(p.Address)})
	if err != nil {
		return err
	}
	for _, c := range result.Recipients[0].Explain {
		if c.Certificate == nil || c.Certificate.SHA256 != sha256 || c.Source != recipients.Installed && !c.Chosen {
			continue
		}
		// An administrator may have installed the same for everyone: the best of the two counts, which comes first.
		if p.Used = p.Used || c.Chosen; p.State == "" {
			p.State, p.Reasons = c.State, c.Reasons
		}
	}
	return nil
}

// TrustOptions say what is to be trusted.
type TrustOptions struct {
	// Addresses are those that the decision is about; none: all that the certificate is installed for.
	Addresses []mailaddr.Address
	// Prefer lets the certificate go before all others for these addresses, those of the address book too.
	Prefer bool
	// Issuer means an authority: mail certificates below it are to be trusted.
	Issuer bool
	// Known is the certificate as another source has it, in case that it is not installed; nil for none.
	Known *x509.Certificate
}

// Trust records that a certificate is the right one for addresses, or that an authority is to be trusted. A certificate that
// is known from elsewhere, the address book for example, is installed for that. keyring.ErrNotInstalled reports a
// fingerprint of which nothing is known.
func (i *Installer) Trust(ctx context.Context, sum [sha256.Size]byte, o TrustOptions) (*Entry, error) {
	if o.Issuer {
		return nil, i.trustIssuer(sum, o.Known)
	}
	in, err := i.Shelf.Store.InstalledCertificate(sum)
	if errors.Is(err, keyring.ErrNotInstalled) && o.Known != nil {
		return i.adopt(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	if err := i.decide(in, o); err != nil {
		return nil, err
	}
	return i.Entry(ctx, sum)
}

// decide records the decision about an installed certificate.
func (i *Installer) decide(in keyring.Installed, o TrustOptions) error {
	if len(o.Addresses) > 0 { // it may be for an address for which it is not installed yet
		if err := allNamed(in.Certificate, o.Addresses); err != nil {
			return err
		}
		_, err := i.Shelf.Store.Install(keyring.Installation{Certificate: in.Certificate, Addresses: o.Addresses, How: in.How, From: in.From, Trust: true})
		if err != nil {
			return err
		}
	}
	if _, err := i.Shelf.Store.Trust(in.Fingerprint, o.Addresses...); err != nil {
		return err
	}
	if !o.Prefer {
		return nil
	}
	places := o.Addresses
	if len(places) == 0 {
		for _, a := range in.Addresses {
			places = append(places, a.Address)
		}
	}
	for _, a := range places {
		if err := i.Shelf.Store.Choose(a, in.Fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// allNamed refuses addresses that a certificate does not name: it could never be used for them.
func allNamed(c *x509.Certificate, addresses []mailaddr.Address) error {
	named := trust.CertificateAddresses(c)
	for _, a := range addresses {
		if !slices.Contains(named, a) {
			return fmt.Errorf("%w: %s", ErrNotNamed, a)
		}
	}
	return nil
}

// adopt installs a certificate that another source has.
func (i *Installer) adopt(ctx context.Context, o TrustOptions) (*Entry, error) {
	named := trust.CertificateAddresses(o.Known)
	if len(o.Addresses) == 0 {
		o.Addresses = named
	}
	if err := allNamed(o.Known, o.Addresses); err != nil {
		return nil, err
	}
	if len(o.Addresses) == 0 || isAuthority(o.Known) {
		return nil, fmt.Errorf("%w: it is not the certificate of a person with a mail address", ErrNotNamed)
	}
	how := keyring.HowFile
	if i.ForEveryone {
		how = keyring.HowAdmin
	}
	from, err := i.origin(ctx, o)
	if err != nil {
		return nil, err
	}
	made, err := i.Shelf.Store.Install(keyring.Installation{Certificate: o.Known, Addresses: o.Addresses, How: how, From: from, Trust: true})
	if err != nil {
		return nil, err
	}
	if err := i.decide(made.Installed, o); err != nil {
		return nil, err
	}
	return i.Entry(ctx, made.Fingerprint)
}

// origin says which source has a certificate that is adopted.
func (i *Installer) origin(ctx context.Context, o TrustOptions) (string, error) {
	result, err := i.Book.Lookup(ctx, []string{string(o.Addresses[0])})
	if err != nil {
		return "", err
	}
	for _, c := range result.Recipients[0].Explain {
		if c.Certificate == nil || !c.Certificate.X509.Equal(o.Known) {
			continue
		}
		switch c.Source {
		case recipients.Contacts:
			return "the contacts", nil
		case recipients.Installed:
			return "what an administrator installed for everyone", nil
		}
		break
	}
	return "the address book", nil
}

func (i *Installer) trustIssuer(sum [sha256.Size]byte, known *x509.Certificate) error {
	c, err := i.Find(sum)
	if err != nil {
		return err
	}
	if c == nil {
		c = known
	}
	if c == nil {
		return keyring.ErrNotInstalled
	}
	_, err = i.Shelf.Store.TrustIssuer(c, "a certificate that it issued")
	return err
}

// Untrust takes back decisions: about a certificate for addresses (none: all), with the choice of it, or about an authority.
func (i *Installer) Untrust(sum [sha256.Size]byte, addresses []mailaddr.Address) error {
	if was, err := i.Shelf.Store.UntrustIssuer(sum); was || err != nil {
		return err
	}
	in, err := i.Shelf.Store.Untrust(sum, addresses...)
	if err != nil {
		return err
	}
	for _, a := range in.Addresses {
		choice, ok, err := i.Shelf.Store.Choice(a.Address)
		if err == nil && ok && choice == sum && (len(addresses) == 0 || slices.Contains(addresses, a.Address)) {
			_, err = i.Shelf.Store.Unchoose(a.Address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Remove forgets an installed certificate, or an authority that the person trusted.
func (i *Installer) Remove(sum [sha256.Size]byte) error {
	was, err := i.Shelf.Store.UntrustIssuer(sum)
	if err != nil {
		return err
	}
	if _, err = i.Shelf.Store.Uninstall(sum); was && errors.Is(err, keyring.ErrNotInstalled) {
		return nil
	}
	return err
}
