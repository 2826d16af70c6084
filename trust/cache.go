package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"
)

// generationSize is how many verified chains one generation remembers, about 100 bytes each; two generations are kept, so
// that a directory of thirty thousand people fits.
const generationSize = 16384

// chainCache remembers certificates for which a chain was verified, and how long that chain lasts. Only success is kept:
// what failed may succeed as soon as an authority's validity begins, and failing is cheap. Whatever the cache affirms,
// verification would affirm at that time too.
//
// It keeps two generations: when the younger one is full, the older one is forgotten. What is in use moves to the younger.
type chainCache struct {
	mu           sync.Mutex
	young, older map[chainID]window
}

// chainID stands for a certificate and everything that was at hand to build its chain.
type chainID [sha256.Size]byte

func chainKey(cert *x509.Certificate, intermediates []*x509.Certificate) chainID {
	h := sha256.New()
	for _, c := range append([]*x509.Certificate{cert}, intermediates...) {
		sum := sha256.Sum256(c.Raw)
		h.Write(sum[:])
	}
	return chainID(h.Sum(nil))
}

// holds reports whether a chain is known that is valid at t.
func (c *chainCache) holds(id chainID, t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.young[id]
	if !ok {
		if w, ok = c.older[id]; ok {
			c.put(id, w)
		}
	}
	return ok && w.holds(t)
}

func (c *chainCache) add(id chainID, w window) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(id, w)
}

func (c *chainCache) put(id chainID, w window) {
	if c.young == nil || len(c.young) >= generationSize {
		c.older, c.young = c.young, make(map[chainID]window)
	}
	c.young[id] = w
}
