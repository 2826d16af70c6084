package recipients

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"

	"github.com/galsyncd/galsyncd/trust"
)

// generationSize is how many certificates one generation of the cache holds, about 10 KiB each with their descriptions; two
// generations are kept.
const generationSize = 2048

// parsedCache remembers certificates that were read, by the SHA-256 of their DER: reading one costs more than everything
// else about a recipient. Only what could be read is kept. When the younger of two generations is full, the older one is
// forgotten; what is in use moves to the younger.
type parsedCache struct {
	mu           sync.Mutex
	young, older map[[sha256.Size]byte]*Certificate
}

// read returns the description of a certificate, which must not be changed.
func (p *parsedCache) read(der []byte) (*Certificate, error) {
	sum := sha256.Sum256(der)
	if c := p.known(sum); c != nil {
		return c, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := Describe(cert)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(sum, c)
	return c, nil
}

func (p *parsedCache) known(sum [sha256.Size]byte) *Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.young[sum]
	if c == nil {
		if c = p.older[sum]; c != nil {
			p.put(sum, c)
		}
	}
	return c
}

func (p *parsedCache) put(sum [sha256.Size]byte, c *Certificate) {
	if p.young == nil || len(p.young) >= generationSize {
		p.older, p.young = p.young, make(map[[sha256.Size]byte]*Certificate)
	}
	p.young[sum] = c
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
