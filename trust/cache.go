package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"time"

	"github.com/galsyncd/galsyncd/internal/recent"
)

// generationSize is how many verified chains one generation remembers, about 300 bytes each; two generations are kept, so
// that a directory of thirty thousand people fits.
const generationSize = 16384

// chainCache remembers certificates for which a chain was verified, how long that chain lasts, and what is known about its
// revocation. Whatever the cache affirms, verification would affirm at that time too. Failures are kept apart, see failure.
type chainCache struct {
	standings recent.Map[chainID, standing]
	failures  recent.Map[chainID, *failure]
}

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

// Bounds of what is remembered about failures.
const (
	failureTime    = time.Minute
	failureEntries = 256 // of a generation
)

// failure is why no chain was found. Somebody can bring along authorities whose signatures take long to check, all of them
// for nothing, so that it is remembered for a short time.
type failure struct {
	error
	reason, hint string // in words
	tips         []tip  // the certificates that lack an issuer
	given        int    // how many of the intermediates came with the question
	// now holds for failureTime, and at while nothing at hand becomes valid. What is at hand is part of the key. An anchor
	// that becomes valid meanwhile counts when failureTime is over.
	now, at window
}

// fail examines and remembers a failure at at, which is now moved into the validity of cert.
func (p *Policy) fail(key chainID, err error, cert *x509.Certificate, intermediates []*x509.Certificate, given int, at, now time.Time) *failure {
	f := &failure{error: err, given: given, now: window{now, now.Add(failureTime - 1)}, at: window{at, at.Add(failureTime - 1)}}
	f.reason, f.hint = p.explainChain(cert, intermediates, at, err)
	var unknown x509.UnknownAuthorityError
	if p.Issuers != nil && errors.As(err, &unknown) {
		f.tips = tips(cert, intermediates, given, at)
	}
	for _, c := range intermediates {
		if c.NotBefore.After(at) {
			f.at = f.at.and(window{to: c.NotBefore.Add(-1)})
		}
	}
	p.chains.failures.Put(key, f, failureEntries)
	return f
}

// failed returns a failure that is remembered and holds at now.
func (c *chainCache) failed(key chainID, given int, at, now time.Time) (*failure, bool) {
	f, ok := c.failures.Get(key)
	return f, ok && f.given == given && f.now.holds(now) && f.at.holds(at)
}
