package installed

import (
	"bytes"
	"context"
	"crypto/x509"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/trust"
)

// Judge decides about the signers of one mail: by the policy, with what is known about the From address, which lends
// intermediate certificates, and with what the person decided. It implements smime.Judge. It is for one goroutine.
type Judge struct {
	// Context bounds the look-ups.
	Context context.Context
	Policy  *trust.Policy
	// Directory knows the address book and other sources; nil: none.
	Directory recipients.Directory
	// Shelf knows which issuers the person trusts; nil: none.
	Shelf *Shelf

	known map[mailaddr.Address]recipients.Found
}

// ForSigning returns what is held against a signer's certificate, as trust.Policy does. A certificate that is installed
// and trusted for the address needs no chain, nor does one whose chain leads to an issuer that the person trusts.
func (j *Judge) ForSigning(cert *x509.Certificate, q trust.Question) []trust.Finding {
	return j.policy().ForSigning(cert, j.informed(cert, q))
}

// Revocation returns what is known about the revocation of cert, as trust.Policy does.
func (j *Judge) Revocation(cert *x509.Certificate, q trust.Question) trust.Revocation {
	return j.policy().Revocation(cert, j.informed(cert, q))
}

// informed adds what is known about the addresses of a question, and the issuers that the person trusts. A store in trouble
// makes nobody trusted.
func (j *Judge) informed(cert *x509.Certificate, q trust.Question) trust.Question {
	if j.Shelf != nil {
		q.Beside, _ = j.Shelf.issuerPolicy()
	}
	var more []*x509.Certificate
	for _, a := range q.Addresses {
		found := j.found(a)
		for _, s := range found.Sightings {
			more = appendParsed(more, s.Entry.Intermediates)
			q.FromDirectory = q.FromDirectory || !s.Claimed && carries(s.Entry, cert)
		}
		for _, o := range found.Offers {
			more = appendParsed(more, o.Intermediates)
			q.Vouched = q.Vouched || o.Vouched && bytes.Equal(o.Raw, cert.Raw)
		}
	}
	q.Intermediates = append(more, q.Intermediates...)
	return q
}

func (j *Judge) policy() *trust.Policy {
	if j.Policy == nil {
		return &trust.Policy{}
	}
	return j.Policy
}

// found is what is known about an address. When the directory does not answer, what the person installed counts alone.
func (j *Judge) found(a mailaddr.Address) recipients.Found {
	if f, ok := j.known[a]; ok || j.Directory == nil {
		return f
	}
	f, err := j.Directory.Lookup(j.Context, a)
	if err != nil && j.Shelf != nil {
		f.Offers, _ = j.Shelf.Offers(j.Context, a)
	}
	if j.known == nil {
		j.known = map[mailaddr.Address]recipients.Found{}
	}
	j.known[a] = f
	return f
}

func carries(e directory.Entry, cert *x509.Certificate) bool {
	for _, u := range e.Certificates {
		if bytes.Equal(u.Raw, cert.Raw) {
			return true
		}
	}
	return false
}

// appendParsed appends the certificates that can be parsed, as long as there is room for those of the mail.
func appendParsed(list []*x509.Certificate, ders [][]byte) []*x509.Certificate {
	for _, der := range ders {
		if len(list) >= trust.MaxIntermediates/2 {
			break
		}
		if c, err := x509.ParseCertificate(der); err == nil {
			list = append(list, c)
		}
	}
	return list
}
