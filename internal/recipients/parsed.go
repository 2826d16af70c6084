package recipients

import (
	"crypto/sha256"
	"crypto/x509"

	"github.com/galsyncd/galsyncd/internal/recent"
	"github.com/galsyncd/galsyncd/trust"
)

// generationSize is how many certificates one generation of the cache holds, about 10 KiB each with their descriptions; two
// generations are kept.
const generationSize = 2048

// parsedCache remembers certificates that were read, by the SHA-256 of their DER: reading one costs more than everything
// else about a recipient. Only what could be read is kept.
type parsedCache struct {
	known recent.Map[[sha256.Size]byte, *Certificate]
}

// read returns the description of a certificate, which must not be changed.
func (p *parsedCache) read(der []byte) (*Certificate, error) {
	sum := sha256.Sum256(der)
	if c, ok := p.known.Get(sum); ok {
		return c, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := Describe(cert)
	p.known.Put(sum, c, generationSize)
	return c, nil
}

// readAll reads what can be read: an intermediate that cannot does not help, and does no harm.
func (p *parsedCache) readAll(ders [][]byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, der := range ders[:min(len(ders), trust.MaxIntermediates)] {
		if c, err := p.read(der); err == nil {
			certs = append(certs, c.X509)
		}
	}
	return certs
}
