// Package revocation knows which certificates their authorities revoked: it fetches certificate revocation lists (RFC 5280
// section 5) and OCSP answers (RFC 6960) on a schedule, keeps them for offline use, and answers from what is kept.
//
// It promises that an answer never waits for the network; that "good" is said only on the word of the certificate's own
// authority, signed and current; that whatever a server sends is bounded in size, count and time and proven before it
// replaces anything; and that no server inside of the own network is asked unless the configuration names it.
//
// Delta CRLs are not read: the base is complete in itself, and as current as it says. Indirect CRLs, and those that cover
// only some reasons, are refused.
package revocation

import (
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// DefaultMaxSize is the largest CRL that is read unless the configuration says otherwise, in bytes.
const DefaultMaxSize = 32 << 20

// Bounds of what is kept in mind and asked for.
const (
	maxLists     = 512  // CRLs
	maxQuestions = 5000 // certificates asked about over OCSP
	maxDropped   = 10_000
	keepUnasked  = 30 * 24 * time.Hour
)

// skew is how far the clocks of authorities may be off.
const skew = 5 * time.Minute

// Service fetches, keeps and answers. It implements trust.Revocations. Its fields must not change after the first use; it
// may be used from any number of goroutines.
type Service struct {
	// Store keeps everything.
	Store Store
	// OCSP asks the OCSP responders of certificates first; CRLs are what is fallen back on.
	OCSP bool
	// Client asks; see NewClient.
	Client *Client
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is told what was fetched; nil means silence.
	Log *slog.Logger

	generation atomic.Uint64
	running    sync.Mutex // one Run at a time

	mu          sync.Mutex
	targets     map[key]*target
	authorities map[key]*x509.Certificate
	counts      [2]int       // targets by kind
	dropped     map[key]bool // targets that found no room since the last run, up to maxDropped
	restored    bool
	woken       chan struct{} // made when it is first needed
}

var _ trust.Revocations = (*Service)(nil)

// Generation implements trust.Revocations.
func (s *Service) Generation() uint64 { return s.generation.Load() }

func (s *Service) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// key names an authority, a list, or a certificate.
type key [sha256.Size]byte

// authorityKey names an authority by its name and key: two certificates of one authority are the same.
func authorityKey(issuer *x509.Certificate) key {
	return hash(issuer.RawSubject, issuer.RawSubjectPublicKeyInfo)
}

// listKey names the CRL that an authority publishes at a URL.
func listKey(authority key, url string) key { return hash([]byte("crl"), authority[:], []byte(url)) }

// certificateKey names a certificate by its authority and serial number.
func certificateKey(authority key, serial []byte) key {
	return hash([]byte("certificate"), authority[:], serial)
}

// hash of several parts, each of which has its own hash, so that they cannot run into one another.
func hash(parts ...[]byte) key {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	return key(h.Sum(nil))
}
