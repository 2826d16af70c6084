package installed

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// Lookup answers for addresses; *recipients.Book does.
type Lookup interface {
	Lookup(ctx context.Context, addresses []string) (recipients.Result, error)
}

// Installer installs certificates out of mails and files. Its fields must not change after the first use.
type Installer struct {
	Shelf *Shelf
	Book  Lookup
	// Verify judges the signatures of a mail.
	Verify func(ctx context.Context, message io.Reader) (*smime.Verification, error)
	// Decrypt opens an encrypted mail and judges the signatures in it; nil: there are no keys.
	Decrypt func(ctx context.Context, message io.Reader) (*smime.Verification, error)
	// ForEveryone says that an administrator installs for all users of the machine.
	ForEveryone bool
}

// Options are the wishes of the person.
type Options struct {
	// Addresses are those to install for. None: the sender of a mail, the addresses of a vCard that the certificate names,
	// or all that the certificate names.
	Addresses []mailaddr.Address
	// Name is that of the file, for people.
	Name string
	// AnySignature installs from a mail whose signature is invalid.
	AnySignature bool
	// NoTrust stores the certificates without a decision to trust them.
	NoTrust bool
	// Issuer takes certificates of authorities: mail certificates below them are to be trusted. Nothing else is installed.
	Issuer bool
}

// Errors of Examine and Install.
var (
	// ErrNotNamed reports an address that no certificate of the file names. Such a certificate could never be used for it.
	ErrNotNamed = errors.New("no certificate of the file names this address")
	// ErrNoAuthority reports that Options.Issuer was set for a file without the certificate of an authority.
	ErrNoAuthority = errors.New("the file holds no certificate of an authority")
)

// Examine says what Install would do.
func (i *Installer) Examine(ctx context.Context, data []byte, o Options) (*Report, error) {
	r, _, err := i.examine(ctx, data, o)
	return r, err
}

// Install stores what the file or mail holds. The error is a *Refusal when obstacles forbid it; the errors of package
// certfile, smime.Verify, ErrTooLarge, ErrNotNamed and ErrNoAuthority say that the file is not what it should be. To install
// the same again changes nothing.
func (i *Installer) Install(ctx context.Context, data []byte, o Options) (*Report, error) {
	r, m, err := i.examine(ctx, data, o)
	if err != nil {
		return nil, err
	}
	if len(r.Certificates) == 0 || slices.ContainsFunc(r.Certificates, func(c Item) bool { return len(c.Obstacles) > 0 }) {
		return nil, &Refusal{r}
	}
	for n := range r.Certificates {
		if err := i.store(m, &r.Certificates[n], o); err != nil {
			return nil, err
		}
	}
	if err := i.learn(m); err != nil {
		return nil, err
	}
	r.Done = true
	return r, nil
}

// store installs one certificate.
func (i *Installer) store(m *material, item *Item, o Options) error {
	if o.Issuer {
		_, err := i.Shelf.Store.TrustIssuer(item.X509, i.from(m, o))
		return err
	}
	_, err := i.Shelf.Store.Install(keyring.Installation{Certificate: item.X509, Chain: chain(item.X509, m.all), Addresses: item.For,
		How: i.how(m), From: i.from(m, o), Trust: trusts(item, o)})
	return err
}

// trusts reports whether a decision is recorded: one that the chain does not make unnecessary.
func trusts(item *Item, o Options) bool { return !o.NoTrust && !item.Chained }

// learn keeps what the signer says about his programs.
func (i *Installer) learn(m *material) error {
	if len(m.capabilities) == 0 || m.signed.IsZero() || m.signature == nil || m.signature.Verdict == smime.Invalid {
		return nil
	}
	for _, c := range m.people {
		_, err := i.Shelf.Store.Learn(keyring.Capabilities{Certificate: fingerprint(c), Raw: m.capabilities.Encode(), Encryption: m.preferred, Signed: m.signed}, false)
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *Installer) how(m *material) keyring.How {
	switch {
	case i.ForEveryone:
		return keyring.HowAdmin
	case m.signature != nil:
		return keyring.HowMail
	}
	return keyring.HowFile
}

func (i *Installer) from(m *material, o Options) string {
	if m.signature != nil {
		return m.signature.From
	}
	return o.Name
}

// examine reads and judges.
func (i *Installer) examine(ctx context.Context, data []byte, o Options) (*Report, *material, error) {
	m, err := i.read(ctx, data)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{Format: m.format, Signature: m.signature, Certificates: []Item{}, Remarks: m.remarks}
	if r.Remarks == nil {
		r.Remarks = []Remark{}
	}
	if o.Issuer {
		return r, m, i.authorities(r, m, o)
	}
	people := m.people
	if len(o.Addresses) > 0 {
		people = slices.DeleteFunc(slices.Clone(people), func(c *x509.Certificate) bool { return !namesOne(c, o.Addresses) })
		if len(people) == 0 {
			return nil, nil, fmt.Errorf("%w: %s", ErrNotNamed, list(o.Addresses))
		}
	}
	for _, c := range people {
		item, err := i.item(ctx, m, c, o)
		if err != nil {
			return nil, nil, err
		}
		r.Certificates = append(r.Certificates, *item)
	}
	return r, m, nil
}

func namesOne(c *x509.Certificate, addresses []mailaddr.Address) bool {
	named := trust.CertificateAddresses(c)
	return slices.ContainsFunc(addresses, func(a mailaddr.Address) bool { return slices.Contains(named, a) })
}

// item judges one certificate of a person.
func (i *Installer) item(ctx context.Context, m *material, c *x509.Certificate, o Options) (*Item, error) {
	item := &Item{Certificate: *recipients.Describe(c), Uses: uses(c), For: []mailaddr.Address{}, Chain: []recipients.Certificate{}, State: New, Unusual: []Remark{}, Obstacles: []Obstacle{}}
	for _, ca := range chain(c, m.all) {
		item.Chain = append(item.Chain, *recipients.Describe(ca))
	}
	item.For = append(item.For, targets(m, c, o)...)
	findings, err := i.judge(m, item)
	if err != nil {
		return nil, err
	}
	item.Chained = chained(findings)
	item.oddities(m, findings, i.Shelf.now())
	item.obstruct(m, findings, o)
	if err := i.remarkOwn(item); err != nil {
		return nil, err
	}
	if err := i.compare(ctx, item, o); err != nil {
		return nil, err
	}
	return item, nil
}

// remarkOwn says that a certificate is one of the user's own.
func (i *Installer) remarkOwn(item *Item) error {
	own, err := i.Shelf.Store.List()
	if slices.ContainsFunc(own, func(id keyring.Info) bool { return id.Certificate.Equal(item.X509) }) {
		item.remark(CodeOwn, "it is your own: its key is in the keyring (galsyncd identity list), and mail to yourself is encrypted to it without its being installed")
	}
	return err
}

// remarked reports whether a certificate has a remark with this code.
func (item *Item) remarked(code string) bool {
	return slices.ContainsFunc(item.Unusual, func(r Remark) bool { return r.Code == code })
}

// targets are the addresses that a certificate is installed for: always some that it names itself.
func targets(m *material, c *x509.Certificate, o Options) []mailaddr.Address {
	named := trust.CertificateAddresses(c)
	wanted := o.Addresses
	if len(wanted) == 0 {
		wanted = m.addresses
	}
	if len(wanted) == 0 && m.signature == nil {
		return named
	}
	return slices.DeleteFunc(slices.Clone(named), func(a mailaddr.Address) bool { return !slices.Contains(wanted, a) })
}

// judge returns what is held against a certificate for the best of its uses, under the anchors and the trusted issuers.
func (i *Installer) judge(m *material, item *Item) ([]trust.Finding, error) {
	issuers, err := i.Shelf.issuerPolicy()
	if err != nil {
		return nil, err
	}
	q := trust.Question{Addresses: item.For, Intermediates: m.all, Now: i.Shelf.now(), Beside: issuers}
	if slices.Contains(item.Uses, Signing) && !slices.Contains(item.Uses, Encryption) {
		return i.policy().ForSigning(item.X509, q), nil
	}
	return i.policy().ForEncryption(item.X509, q), nil
}

func (i *Installer) policy() *trust.Policy {
	if i.Shelf.Policy == nil {
		return &trust.Policy{}
	}
	return i.Shelf.Policy
}

// authorities fills in the certificates of authorities of a file or mail.
func (i *Installer) authorities(r *Report, m *material, o Options) error {
	known, err := i.Shelf.Store.Issuers()
	if err != nil {
		return err
	}
	for _, c := range m.authorities() {
		item := Item{Certificate: *recipients.Describe(c), Uses: []string{}, For: []mailaddr.Address{}, Chain: []recipients.Certificate{}, State: New, Unusual: []Remark{}, Obstacles: []Obstacle{}}
		if slices.ContainsFunc(known, func(k keyring.Issuer) bool { return k.Certificate.Equal(c) }) {
			item.State = Unchanged
		}
		if now := i.Shelf.now(); now.After(c.NotAfter) {
			item.remark(CodeExpired, "it expired on %s", day(c.NotAfter))
		}
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			item.remark(CodeSelfSigned, "it is self-signed: nobody else vouches for it, so compare its fingerprint with one that you got from its owner")
		}
		item.obstructSignature(m, o)
		r.Certificates = append(r.Certificates, item)
	}
	if len(r.Certificates) == 0 {
		return ErrNoAuthority
	}
	return nil
}

// compare fills in what is installed already, and what other sources have for the same addresses.
func (i *Installer) compare(ctx context.Context, item *Item, o Options) error {
	sum := fingerprint(item.X509)
	own, err := i.Shelf.Store.InstalledCertificate(sum)
	switch {
	case errors.Is(err, keyring.ErrNotInstalled):
	case err != nil:
		return err
	default:
		item.State = Unchanged
		for _, a := range item.For {
			if there, trusted := own.For(a); !there || !trusted && trusts(item, o) {
				item.State = Changed
			}
		}
	}
	for _, a := range item.For[:min(len(item.For), maxCompared)] {
		if err := i.rivals(ctx, item, a); err != nil {
			return err
		}
	}
	return nil
}

// maxCompared is for how many addresses of one certificate others are looked up.
const maxCompared = 10

// rivals are other certificates for an address.
func (i *Installer) rivals(ctx context.Context, item *Item, a mailaddr.Address) error {
	if !slices.Contains(item.Uses, Encryption) {
		return nil
	}
	others, err := i.Shelf.Store.InstalledFor(a)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.Certificate.Equal(item.X509) || !fits(other.Certificate, Encryption) {
			continue
		}
		name := hex.EncodeToString(other.Fingerprint[:8]) + "…, valid until " + day(other.Certificate.NotAfter)
		if item.X509.NotBefore.After(other.Certificate.NotBefore) {
			item.remark(CodeRenewal, "another certificate is installed for %s (SHA-256 %s); this one is newer and will be used in its place", a, name)
		} else {
			item.remark(CodeOlder, "a newer certificate is installed for %s (SHA-256 %s); it will be used before this one", a, name)
		}
	}
	result, err := i.Book.Lookup(ctx, []string{string(a)})
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil { // it is asked again before anything is encrypted
		item.remark(CodeNotCompared, "what the address book has for %s is not known: %v", a, err)
		return nil
	}
	for _, c := range result.Recipients[0].Explain {
		if c.Chosen && c.Source != recipients.Installed && c.Certificate.SHA256 == item.SHA256 {
			where := map[recipients.Source]string{recipients.GAL: "the address book has", recipients.Contacts: "the contacts have"}[c.Source]
			item.remark(CodeInUse, "%s this very certificate for %s, and it is used without being installed", where, a)
			return nil
		}
		if c.Source == recipients.GAL && c.Certificate != nil && c.Certificate.SHA256 != item.SHA256 {
			how := "which cannot be used"
			if c.State == trust.Encryptable {
				how = "which is used before this one"
			}
			item.remark(CodeDirectoryDiffers, "the address book has a different certificate for %s (SHA-256 %s…), %s", a, c.Certificate.SHA256[:16], how)
			return nil
		}
	}
	return nil
}
