package aia

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/internal/certfile"
	"github.com/galsyncd/galsyncd/trust"
)

// Bounds of one run.
const (
	maxSize    = 64 << 10 // of what a server sends, in bytes
	maxFetches = 64       // requests
	maxDepth   = 3        // certificates above one another
	fetchTime  = 20 * time.Second
	runTime    = 5 * time.Minute
)

// Times between two attempts at one place: after a success that did not help, and after failures.
const (
	again      = 20 * time.Hour
	retryFirst = 15 * time.Minute
	retryMost  = 12 * time.Hour
)

// accept is what servers are asked for (RFC 5280 section 4.2.2.1, RFC 2585 section 3).
const accept = "application/pkix-cert, application/pkcs7-mime, */*"

// Run fetches what is missing and due, or, with all, everything that is missing. It returns how many certificates came
// in. What fails is noted and tried again later; the error is only about the store.
func (s *Service) Run(ctx context.Context, all bool) (fetched int, err error) {
	s.running.Lock()
	defer s.running.Unlock()
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	tried := map[string]bool{}
	for len(tried) < maxFetches && ctx.Err() == nil {
		t, ok := s.next(all, tried)
		if !ok {
			break
		}
		tried[t.url] = true
		fetched += s.fetch(ctx, t)
	}
	if err := s.save(fetched > 0); err != nil {
		return fetched, fmt.Errorf("store certificates of authorities: %w", err)
	}
	return fetched, nil
}

// Serve runs whenever something is due, until ctx ends. It looks so often. When certificates came in, it calls arrived.
func (s *Service) Serve(ctx context.Context, every time.Duration, arrived func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n, err := s.Run(ctx, false)
			if err != nil {
				s.log().Warn("certificates of authorities are not kept", "error", err)
			}
			if n > 0 {
				arrived()
			}
		}
	}
}

// next returns the place that waited longest of those for which something waits.
func (s *Service) next(all bool, tried map[string]bool) (target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var first *target
	for _, t := range s.targets {
		if len(t.waiting) == 0 || tried[t.url] || !all && t.due.After(now) {
			continue
		}
		if first == nil || cmp.Or(t.tried.Compare(first.tried), cmp.Compare(t.url, first.url)) < 0 {
			first = t
		}
	}
	if first == nil {
		return target{}, false
	}
	t := *first
	t.waiting = slices.Clone(first.waiting)
	return t, true
}

// fetch asks at one place, and keeps what helps.
func (s *Service) fetch(ctx context.Context, t target) int {
	limited, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	body, err := s.Client.Fetch(limited, t.url, accept, maxSize)
	if ctx.Err() != nil {
		return 0 // told to stop: that is not the server's failure
	}
	if limited.Err() != nil && err != nil {
		err = fmt.Errorf("no answer within %s", fetchTime)
	}
	now := s.now()
	var came []waiter
	if err == nil {
		came, err = helpful(body, t.waiting, now)
	}
	if err != nil {
		s.log().Warn("the certificate of an authority could not be fetched", "from", t.url, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(t.url, err, now)
	n := 0
	for _, w := range came {
		if s.keep(w.cert, t.url, now) {
			s.log().Info("fetched the certificate of an authority", "subject", clip(w.cert.Subject.String()), "from", t.url)
			n++
		}
		s.climb(w, now)
	}
	return n
}

// settle notes how an attempt went. Whatever still waits reports itself again. The lock is held.
func (s *Service) settle(url string, err error, now time.Time) {
	t := s.targets[url]
	t.waiting, t.tried = nil, now
	if err == nil {
		t.failures, t.failure, t.hint, t.due = 0, "", "", now.Add(again)
		return
	}
	t.due = now.Add(min(retryFirst<<min(t.failures, 10), retryMost))
	t.failures++
	t.failure, t.hint = clip(err.Error()), ""
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		t.hint = h.Hint()
	}
}

// climb wants the issuer of a certificate that came, unless the chain is complete with it. The lock is held.
func (s *Service) climb(w waiter, now time.Time) {
	if w.depth >= maxDepth || bytes.Equal(w.cert.RawSubject, w.cert.RawIssuer) || s.Anchored != nil && s.Anchored(w.cert, now) {
		return
	}
	for _, k := range s.kept[string(w.cert.RawIssuer)] {
		if issued(w.cert, k.cert, now) {
			return
		}
	}
	s.want(w)
}

// helpful takes the certificates out of what a server sent that are of an issuer of something that waits.
func helpful(body []byte, waiting []waiter, now time.Time) (came []waiter, err error) {
	file, err := certfile.Parse(body)
	if err != nil {
		return nil, err
	}
	for _, c := range file.Certificates {
		for _, w := range waiting {
			if issued(w.cert, c, now) {
				came = append(came, waiter{cert: c, depth: w.depth + 1})
				break
			}
		}
	}
	if len(came) == 0 {
		return nil, errors.New("what is there is not the certificate of an authority that issued what it was asked for")
	}
	return came, nil
}

// issued reports whether issuer is the valid certificate of an authority with the name of the issuer of cert, and its key
// verifies cert.
func issued(cert, issuer *x509.Certificate, now time.Time) bool {
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) || !issuer.BasicConstraintsValid || !issuer.IsCA {
		return false
	}
	if now.Before(issuer.NotBefore) || now.After(issuer.NotAfter) {
		return false
	}
	return !trust.Slow(issuer.PublicKey) && cert.CheckSignatureFrom(issuer) == nil
}
