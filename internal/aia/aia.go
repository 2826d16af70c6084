// Package aia fetches the certificates of authorities that a chain lacks from where the certificates below them say that
// they are (authority information access, RFC 5280 section 4.2.2.1), and keeps them for offline use.
//
// It promises that nobody is asked while somebody waits for an answer; that what it keeps is the certificate of an
// authority with the name asked for, whose key verifies the certificate below, and that nothing is trusted because it was
// fetched; and that size, number, depth and time are bounded. Whom it may ask is decided by revocation.Client.
package aia

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

// Bounds of what is kept in mind.
const (
	maxPlaces   = 3   // places of one certificate
	maxTargets  = 256 // places in all
	maxWaiting  = 8   // certificates that wait for one place
	maxKept     = 256 // certificates
	keepUnasked = 30 * 24 * time.Hour
)

// Service fetches, keeps and answers. It implements trust.Issuers. Its fields must not change after the first use; it may
// be used from any number of goroutines.
type Service struct {
	// Store keeps everything, under keys of its own.
	Store revocation.Store
	// Client asks.
	Client *revocation.Client
	// Anchored reports whether a trusted anchor issued a certificate, so that nothing above it is needed; nil: none did.
	Anchored func(cert *x509.Certificate, now time.Time) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is told what was fetched; nil means silence.
	Log *slog.Logger

	running sync.Mutex // one Run at a time

	mu      sync.Mutex
	kept    map[string][]*kept // by subject
	count   int                // of kept
	targets map[string]*target // by URL
	tidied  time.Time          // when everything was last stored
}

var _ trust.Issuers = (*Service)(nil)

// kept is a certificate that was fetched.
type kept struct {
	cert *x509.Certificate
	record
}

// target is a place to fetch from.
type target struct {
	url     string
	waiting []waiter
	// asked is when somebody last wanted it, tried the last attempt, due the next one; zero is now.
	asked, tried, due time.Time
	failures          int
	failure, hint     string
}

// waiter is a certificate whose issuer is wanted.
type waiter struct {
	cert  *x509.Certificate
	depth int // how many on the way to it were fetched, itself included
}

func (s *Service) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Service) log() *slog.Logger { return cmp.Or(s.Log, slog.New(slog.DiscardHandler)) }

// Issuers implements trust.Issuers.
func (s *Service) Issuers(cert *x509.Certificate) []*x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*x509.Certificate
	for _, k := range s.kept[string(cert.RawIssuer)] {
		if now := s.now(); now.Sub(k.Asked) > 24*time.Hour {
			k.Asked = now
		}
		out = append(out, k.cert)
	}
	return out
}

// Missing implements trust.Issuers.
func (s *Service) Missing(cert *x509.Certificate, depth int) (note, hint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(cert.IssuingCertificateURL) == 0 {
		return "", ""
	}
	places := s.want(waiter{cert, depth})
	switch {
	case len(places) == 0 && len(webPlaces(cert)) > 0:
		return "the certificate of the issuer was not fetched: more is asked for than there is room for", ""
	case len(places) == 0:
		return "the certificate of the issuer is published neither over http nor over https", ""
	case places[0].failure != "":
		return fmt.Sprintf("the certificate of the issuer could not be fetched from %s (%s): %s", clip(places[0].url), moment(places[0].tried), places[0].failure), places[0].hint
	case places[0].tried.IsZero():
		return "the certificate of the issuer was not fetched yet", "it is fetched in the background, and by the next sync"
	}
	return "", ""
}

// want notes where the issuer of a certificate is published, and returns these places. The lock is held.
func (s *Service) want(w waiter) (places []*target) {
	for _, url := range webPlaces(w.cert) {
		t := s.targets[url]
		if t == nil {
			if len(s.targets) >= maxTargets && !s.makeRoom() {
				continue
			}
			if s.targets == nil {
				s.targets = map[string]*target{}
			}
			t = &target{url: url}
			s.targets[url] = t
		}
		t.asked = s.now()
		known := func(other waiter) bool { return other.cert.Equal(w.cert) }
		if len(t.waiting) < maxWaiting && !slices.ContainsFunc(t.waiting, known) {
			t.waiting = append(t.waiting, w)
		}
		places = append(places, t)
	}
	return places
}

// makeRoom forgets the place that nobody wanted for longest, when it was tried and that is an hour ago: whoever sends mails
// with made-up places must not keep the others away. The lock is held.
func (s *Service) makeRoom() bool {
	var oldest *target
	for _, t := range s.targets {
		if len(t.waiting) == 0 && (oldest == nil || t.asked.Before(oldest.asked)) {
			oldest = t
		}
	}
	if oldest == nil || s.now().Sub(oldest.asked) < time.Hour {
		return false
	}
	delete(s.targets, oldest.url)
	return true
}

// webPlaces are the places that can be fetched from, each once.
func webPlaces(cert *x509.Certificate) (urls []string) {
	for _, text := range cert.IssuingCertificateURL {
		if u := revocation.WebAddress(text); u != "" && !slices.Contains(urls, u) && len(urls) < maxPlaces {
			urls = append(urls, u)
		}
	}
	return urls
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// clip bounds a text of others in a sentence.
func clip(s string) string {
	const most = 120
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
