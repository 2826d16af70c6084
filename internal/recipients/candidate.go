package recipients

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// candidates judges everything that an entry holds for an address.
//
// The certificate must name an address that the address book ties to the entry; then it serves for all of these. An
// address that only certificates of the entry claim (directory.Entry.Claimed) is as good as the certificate that names
// it: it must be that certificate, and the address book's word does not replace the chain.
func (q *question) candidates(address mailaddr.Address, s *directory.Sighting) []Candidate {
	listed := lists(s.Entry, address)
	ask := trust.Question{
		Addresses:     entryAddresses(s.Entry),
		Intermediates: q.book.parsed.readAll(s.Entry.Intermediates),
		Now:           q.now,
		FromDirectory: listed,
	}
	all := make([]Candidate, 0, len(s.Entry.Certificates)+len(s.Entry.Undecodable))
	for _, u := range s.Entry.Certificates {
		c := Candidate{Source: GAL, Entry: s.Entry.Primary, Property: u.Property, Default: u.Default}
		cert, err := q.book.parsed.read(u.Raw)
		if err != nil {
			c.judged([]trust.Finding{{State: trust.Undecodable, Reason: "a certificate that cannot be read: " + err.Error()}})
			all = append(all, c)
			continue
		}
		c.Certificate = cert
		ask.Names = cert.Addresses
		findings, known := q.book.policy().Encryption(cert.X509, ask)
		c.Revocation = revocation(known)
		if bytes.Equal(cert.X509.RawIssuer, cert.X509.RawSubject) && !cert.X509.IsCA {
			onTheirWord(findings, cert) // there is no authority that could be trusted instead
		}
		if !listed && !slices.Contains(c.Certificate.Addresses, address) {
			findings = append(findings, trust.Finding{State: trust.WrongAddress, Reason: "does not name " + string(address) + ", which the address book does not list for " + string(s.Entry.Primary)})
		}
		if old := q.staleness(s); old != nil {
			findings = append(findings, *old)
		}
		c.judged(findings)
		all = append(all, c)
	}
	for _, u := range s.Entry.Undecodable {
		c := Candidate{Source: GAL, Entry: s.Entry.Primary, Property: u.Property}
		c.judged([]trust.Finding{{State: trust.Undecodable, Reason: "a value that cannot be read as a certificate: " + u.Reason, Hint: "have the certificate published again"}})
		all = append(all, c)
	}
	return all
}

// entryAddresses are the addresses that the address book ties to an entry.
func entryAddresses(e directory.Entry) []mailaddr.Address {
	if slices.Contains(e.Addresses, e.Primary) {
		return e.Owned()
	}
	return append([]mailaddr.Address{e.Primary}, e.Owned()...)
}

// judged records findings: the state is the most serious one, the one farthest from a usable certificate.
func (c *Candidate) judged(findings []trust.Finding) {
	c.State, c.Reasons = trust.Encryptable, []string{}
	for _, f := range findings {
		if closeness(f.State) > closeness(c.State) {
			c.State = f.State
		}
		c.Reasons = append(c.Reasons, f.Reason)
		if f.Hint != "" && !slices.Contains(c.Hints, f.Hint) {
			c.Hints = append(c.Hints, f.Hint)
		}
	}
}

// Describe makes the description of a certificate.
func Describe(cert *x509.Certificate) *Certificate {
	sum := sha256.Sum256(cert.Raw)
	return &Certificate{
		SHA256:    hex.EncodeToString(sum[:]),
		Subject:   cert.Subject.String(),
		Issuer:    cert.Issuer.String(),
		Serial:    cert.SerialNumber.Text(16),
		NotBefore: cert.NotBefore.UTC(),
		NotAfter:  cert.NotAfter.UTC(),
		Key:       trust.KeyName(cert),
		Addresses: trust.CertificateAddresses(cert),
		X509:      cert,
	}
}

// short names a certificate in a sentence.
func short(c *Certificate) string { return "SHA-256 " + c.SHA256[:16] + "…" }
