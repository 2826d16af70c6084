package installed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/certfile"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// MaxMail is the largest mail that certificates are installed from, in bytes.
const MaxMail = 32 << 20

// ErrTooLarge reports more than MaxMail bytes.
var ErrTooLarge = errors.New("too large to install a certificate from: save the mail without its attachments")

// material is what was found in a file or mail, before anything is judged.
type material struct {
	format    string
	signature *Signature // nil unless it is a mail
	// addresses are those that the source names for its person: the sender of a mail, the addresses of a vCard; none when
	// it names none.
	addresses []mailaddr.Address
	people    []*x509.Certificate // those of people, one to encrypt to first
	all       []*x509.Certificate
	remarks   []Remark
	// capabilities are those of the signer, who is the last of people.
	capabilities cms.Capabilities
	preferred    *x509.Certificate
	signed       time.Time
}

// read finds out what data is, and takes it apart.
func (i *Installer) read(ctx context.Context, data []byte) (*material, error) {
	switch {
	case len(data) > MaxMail:
		return nil, ErrTooLarge
	case certfile.Detect(data[:min(len(data), 512)]) != certfile.None:
		return readFile(data)
	}
	v, err := i.verify(ctx, data)
	if err != nil {
		return nil, err
	}
	return i.fromMail(v), nil
}

// verify verifies a mail, and opens it before when it is encrypted and there are keys.
func (i *Installer) verify(ctx context.Context, data []byte) (*smime.Verification, error) {
	v, err := i.Verify(ctx, bytes.NewReader(data))
	if err != nil || i.Decrypt == nil || !sealed(v) {
		return v, err
	}
	return i.Decrypt(ctx, bytes.NewReader(data))
}

// sealed reports whether a mail has an encrypted layer that was not opened.
func sealed(v *smime.Verification) bool {
	return slices.ContainsFunc(v.Layers, func(l smime.Layer) bool { return l.Kind == smime.EncryptedLayer && l.Cipher == "" })
}

func readFile(data []byte) (*material, error) {
	f, err := certfile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	m := &material{format: string(f.Format), all: f.Certificates, capabilities: f.Capabilities, preferred: f.Preferred}
	for _, text := range f.Addresses {
		if a, err := mailaddr.Parse(text); err == nil {
			m.addresses = append(m.addresses, a)
		}
	}
	if f.Preferred != nil {
		m.people = append(m.people, f.Preferred)
	}
	for _, c := range f.Certificates {
		if c != f.Preferred && !isAuthority(c) {
			m.people = append(m.people, c)
		}
	}
	if len(m.people) == 0 {
		m.people = f.Certificates[:1]
	}
	if f.Unreadable > 0 {
		m.remark(CodeUnreadable, "%d certificates of the file cannot be read", f.Unreadable)
	}
	if f.PrivateKey {
		m.remark(CodePrivateKey, "the file also holds a private key, which is not needed here and was not read")
	}
	if several(m.people) {
		m.remark(CodeSeveralPeople, "the file holds certificates of several people")
	}
	return m, nil
}

func (m *material) remark(code, format string, args ...any) {
	m.remarks = append(m.remarks, Remark{code, fmt.Sprintf(format, args...)})
}

// isAuthority reports whether a certificate says that it is one of a certification authority (RFC 5280 section 4.2.1.9).
func isAuthority(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

// authorities are the certificates of authorities of a file, or those of a mail that lead upwards from its signer: no
// signature covers the certificates of a mail, so anybody on the way may have added others.
func (m *material) authorities() (list []*x509.Certificate) {
	found := slices.DeleteFunc(slices.Clone(m.all), func(c *x509.Certificate) bool { return !isAuthority(c) })
	if m.signature != nil {
		found = nil
		for _, c := range m.people {
			found = append(found, chain(c, m.all)...)
		}
	}
	for _, c := range found {
		if !slices.ContainsFunc(list, c.Equal) {
			list = append(list, c)
		}
	}
	return list
}

// several reports whether certificates name people who have no address in common.
func several(certs []*x509.Certificate) bool {
	if len(certs) == 0 {
		return false
	}
	common := trust.CertificateAddresses(certs[0])
	for _, c := range certs[1:] {
		named := trust.CertificateAddresses(c)
		common = slices.DeleteFunc(common, func(a mailaddr.Address) bool { return !slices.Contains(named, a) })
	}
	return len(common) == 0 && len(certs) > 1
}

// fromMail takes the certificates of the best signature of a mail.
func (i *Installer) fromMail(v *smime.Verification) *material {
	m := &material{format: "mail", signature: &Signature{Verdict: v.Verdict, Reasons: v.Reasons, Warnings: v.Warnings, From: v.From}}
	if m.signature.Reasons == nil {
		m.signature.Reasons = []string{}
	}
	if a, err := mailaddr.Parse(v.From); err == nil {
		m.addresses = []mailaddr.Address{a}
	}
	verification := v
	if v.Verdict == smime.Partial {
		verification = bestPart(v)
		m.signature.Verdict = verification.Verdict
		m.remark(CodePartlySigned, "only a part of the mail is signed, as mailing lists cause it")
	}
	layer, s := bestSignature(verification.Layers)
	if s == nil {
		return m
	}
	m.all = layer.Certificates
	m.signature.SigningTime = s.SigningTime
	m.capabilities, m.preferred = s.Capabilities, s.Preferred
	if s.SigningTime != nil {
		m.signed = *s.SigningTime
	}
	m.people = m.pair(s, func(c *x509.Certificate) bool { return i.chained(c, m.all) || i.has(c) })
	return m
}

// has reports whether a certificate was installed before.
func (i *Installer) has(c *x509.Certificate) bool {
	_, err := i.Shelf.Store.InstalledCertificate(fingerprint(c))
	return err == nil
}

// chained reports whether a certificate has a chain that is trusted without anybody's word about it.
func (i *Installer) chained(c *x509.Certificate, all []*x509.Certificate) bool {
	q := trust.Question{Addresses: trust.CertificateAddresses(c), Intermediates: all, Now: i.Shelf.now()}
	return chained(i.policy().ForEncryption(c, q))
}

// bestPart is the signed part with the best verdict.
func bestPart(v *smime.Verification) *smime.Verification {
	best := &v.Parts[0].Verification
	for i := range v.Parts {
		if p := &v.Parts[i].Verification; rank(p.Verdict) < rank(best.Verdict) {
			best = p
		}
	}
	return best
}

// rank orders verdicts, the best first.
func rank(v smime.Verdict) int {
	order := []smime.Verdict{smime.Valid, smime.OtherAddress, smime.ExpiredThen, smime.Untrusted, smime.Invalid}
	if i := slices.Index(order, v); i >= 0 {
		return i
	}
	return len(order)
}

// bestSignature is the best signature of all layers, with its layer; nil when there is none.
func bestSignature(layers []smime.Layer) (layer *smime.Layer, best *smime.Signature) {
	for i := range layers {
		for j := range layers[i].Signatures {
			if s := &layers[i].Signatures[j]; best == nil || rank(s.Verdict) < rank(best.Verdict) {
				layer, best = &layers[i], s
			}
		}
	}
	return layer, best
}

// maxUnproven is how many certificates of a mail are shown whose signature proves none of them.
const maxUnproven = 4

// pair returns the certificate that answers are to be encrypted to and the signer's, or the one that is both. The signed
// attributes name the former (RFC 8551 section 2.5.3); else it is one that came with the mail under the signer's name
// and from the same authority (section 2.5.3.1), and the signer's own when there is none.
//
// A certificate besides the signer's own is taken when the same authority signed both, or when it is known: its chain is
// trusted, or it was installed before. Where nobody vouches for the signer either, the word of the person who installs is
// what counts for both, unless the mail itself disproves that they belong together; it is said that nothing proves it.
func (m *material) pair(s *smime.Signature, known func(*x509.Certificate) bool) []*x509.Certificate {
	var signer *x509.Certificate
	if s.Certificate != nil {
		signer = s.Certificate.X509
	}
	if signer == nil { // the signature does not verify: what names the sender is all there is to show
		naming := slices.DeleteFunc(slices.Clone(m.all), func(c *x509.Certificate) bool {
			named := trust.CertificateAddresses(c)
			return isAuthority(c) || !slices.ContainsFunc(m.addresses, func(a mailaddr.Address) bool { return slices.Contains(named, a) })
		})
		return naming[:min(len(naming), maxUnproven)]
	}
	encryption := s.Preferred
	switch {
	case encryption == nil || encryption.Equal(signer) || sameAuthority(signer, encryption, m.all) || known(encryption):
	case s.Verdict == smime.Untrusted && sayTheSame(signer, encryption) && len(chain(signer, m.all)) == 0:
		m.remark(CodeUnproven, "the authority that issued both certificates did not come along, so nothing proves that the one for encryption is the one that the signature names: compare its fingerprint too")
	default:
		m.remark(CodeUnproven, "the signature names another certificate for encryption, and nothing proves that the one which came along is it; have it sent in a file")
		encryption, m.preferred = nil, nil
	}
	if encryption == nil && !fits(signer, Encryption) {
		encryption = sibling(signer, m.all)
	}
	if encryption == nil || encryption.Equal(signer) {
		return []*x509.Certificate{signer}
	}
	return []*x509.Certificate{encryption, signer}
}

// sibling finds the certificate for encryption of somebody whose own is for signatures only: of the same name, and signed
// with the same authority's key.
func sibling(signer *x509.Certificate, all []*x509.Certificate) *x509.Certificate {
	for _, c := range all {
		if !isAuthority(c) && bytes.Equal(c.RawSubject, signer.RawSubject) && fits(c, Encryption) && sameAuthority(signer, c, all) {
			return c
		}
	}
	return nil
}

// sameAuthority reports whether one of the authorities of a message signed both certificates. No signature covers the
// certificates of a message, and attributes name them by issuer and number only, so that anybody on the way may have put
// one of his own in the place of another; the authority's key he has not.
func sameAuthority(a, b *x509.Certificate, all []*x509.Certificate) bool {
	return bytes.Equal(a.RawIssuer, b.RawIssuer) && slices.ContainsFunc(all, func(authority *x509.Certificate) bool {
		return isAuthority(authority) && bytes.Equal(authority.RawSubject, a.RawIssuer) && signedBy(a, authority) && signedBy(b, authority)
	})
}

// sayTheSame reports whether two certificates name the same issuer, key of the issuer included, and an address in common. Anybody
// can write that.
func sayTheSame(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawIssuer, b.RawIssuer) && bytes.Equal(a.AuthorityKeyId, b.AuthorityKeyId) && !several([]*x509.Certificate{a, b})
}

// fits reports whether the extensions and the key of a certificate allow a use.
func fits(c *x509.Certificate, use string) bool { return slices.Contains(uses(c), use) }

// uses are what the extensions and the key of a certificate allow.
func uses(c *x509.Certificate) []string {
	var p trust.Policy
	q := trust.Question{Now: c.NotBefore, Vouched: true, Addresses: trust.CertificateAddresses(c)}
	allows := func(findings []trust.Finding) bool {
		return !slices.ContainsFunc(findings, func(f trust.Finding) bool { return f.State == trust.WrongUsage })
	}
	list := []string{}
	if allows(p.ForEncryption(c, q)) {
		list = append(list, Encryption)
	}
	if allows(p.ForSigning(c, q)) {
		list = append(list, Signing)
	}
	return list
}

// chain orders the authorities of a message from the issuer of cert upwards. Each signature was verified, no trust follows.
func chain(cert *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	const most = 8
	var found []*x509.Certificate
	for len(found) < most && !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		next := slices.IndexFunc(all, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, cert.RawIssuer) && isAuthority(c) && !slices.Contains(found, c) && signedBy(cert, c)
		})
		if next < 0 {
			break
		}
		cert = all[next]
		found = append(found, cert)
	}
	return found
}

// signedBy reports whether the key of an authority verifies the signature on cert. Keys that make that slow are
// left out.
func signedBy(cert, authority *x509.Certificate) bool {
	return !trust.Slow(authority.PublicKey) && cert.CheckSignatureFrom(authority) == nil
}

func fingerprint(c *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// list writes addresses into a sentence.
func list(addresses []mailaddr.Address) string {
	var texts []string
	for _, a := range addresses[:min(len(addresses), 5)] {
		texts = append(texts, string(a))
	}
	if more := len(addresses) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}
