package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"

	"github.com/galsyncd/galsyncd/internal/recent"
)

// generationSize is how many verified chains one generation remembers, about 300 bytes each; two generations are kept, so
// that a directory of thirty thousand people fits.
const generationSize = 16384

// chainCache remembers certificates for which a chain was verified, how long that chain lasts, and what is known about its
// revocation. Only success is kept: what failed may succeed as soon as an authority's validity begins, and failing is
// cheap. Whatever the cache affirms, verification would affirm at that time too.
type chainCache struct{ standings recent.Map[chainID, standing] }

// chainID stands for a certificate, everything that was at hand to build its chain, and the revocation data.
type chainID [sha256.Size]byte

func (p *Policy) chainKey(cert *x509.Certificate, intermediates []*x509.Certificate) chainID {
	h := sha256.New()
	if p.Revocations != nil {
		h.Write(binary.BigEndian.AppendUint64(nil, p.Revocations.Generation()))
	}
	for _, c := range append([]*x509.Certificate{cert}, intermediates...) {
		sum := sha256.Sum256(c.Raw)
		h.Write(sum[:])
	}
	return chainID(h.Sum(nil))
}

// get returns what is known and holds at now; at is now moved into the validity of the certificate.
func (c *chainCache) get(id chainID, at, now time.Time) (standing, bool) {
	s, ok := c.standings.Get(id)
	return s, ok && s.holds(at, now)
}

func (c *chainCache) add(id chainID, s standing) { c.standings.Put(id, s, generationSize) }
