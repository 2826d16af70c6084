package revocation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"time"
)

// target is something to fetch: a CRL, or an OCSP answer when responders are set.
type target struct {
	id         key
	authority  key
	issuer     *x509.Certificate
	url        string   // of a CRL
	responders []string // of an OCSP answer
	serial     [maxSerial]byte
	asked      time.Time
	due        time.Time // zero is now
	tried      time.Time
}

// want notes what a question needs, and reports whether there was room for all of it. A certificate that expired needs
// nothing.
func (s *Service) want(q question, issuer *x509.Certificate) bool {
	if q.now.After(q.cert.NotAfter) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	room := true
	for _, url := range q.points.lists {
		room = s.note(target{id: listKey(q.authority, url), authority: q.authority, issuer: issuer, url: url, asked: q.now}) && room
	}
	if s.OCSP && len(q.points.responders) > 0 {
		room = s.note(target{id: certificateKey(q.authority, q.serial[:]), authority: q.authority, issuer: issuer, serial: q.serial,
			responders: q.points.responders, asked: q.now}) && room
	}
	return room
}

// note adds a target, or notes that somebody asked again. The lock is held.
func (s *Service) note(t target) bool {
	if known := s.targets[t.id]; known != nil {
		if t.asked.After(known.asked) {
			known.asked = t.asked
		}
		return true
	}
	kind := kindOf(&t)
	if s.counts[kind] >= limits[kind] {
		if s.dropped == nil {
			s.dropped = map[key]bool{}
		}
		if len(s.dropped) < maxDropped {
			s.dropped[t.id] = true
		}
		return false
	}
	if s.targets == nil {
		s.targets, s.authorities = map[key]*target{}, map[key]*x509.Certificate{}
	}
	if known := s.authorities[t.authority]; known != nil { // one certificate of each authority is enough to keep
		t.issuer = known
	}
	s.authorities[t.authority] = t.issuer
	s.targets[t.id] = &t
	s.counts[kind]++
	return true
}

// Kinds of targets, and how many of each there is room for.
const (
	kindList = iota
	kindQuestion
)

var limits = [...]int{kindList: maxLists, kindQuestion: maxQuestions}

func kindOf(t *target) int {
	if t.responders != nil {
		return kindQuestion
	}
	return kindList
}

// restore takes up the lists of the store, so that they stay current whether or not somebody asks. It is done once.
func (s *Service) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restored {
		return nil
	}
	err := s.Store.ViewRevocations(func(tx Tx) error {
		return tx.Each([]byte{keyList}, func(k, v []byte) error {
			r, err := decode[listRecord](v)
			if err != nil || len(k) != 1+len(key{}) {
				return errors.Join(err, errRecord)
			}
			issuer, err := loadAuthority(tx, r.Authority)
			if err != nil || issuer == nil {
				return errors.Join(err, errRecord)
			}
			t := target{id: key(k[1:]), authority: r.Authority, issuer: issuer, url: r.URL, asked: r.Asked, tried: r.Tried, due: r.due()}
			if r.Hint == hintAllow {
				t.due = time.Time{} // it was this machine that refused, and its configuration may have changed since
			}
			if s.note(t) && s.targets[t.id].due.IsZero() {
				s.targets[t.id].due, s.targets[t.id].tried = t.due, t.tried
			}
			return nil
		})
	})
	s.restored = err == nil
	return err
}

// pending returns what is to be fetched, what waited longest first: what is due, or everything that is asked for.
func (s *Service) pending(now time.Time, all bool) []target {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []target
	for _, t := range s.targets {
		if all || !t.due.After(now) {
			out = append(out, *t)
		}
	}
	slices.SortFunc(out, func(a, b target) int {
		return cmp.Or(a.tried.Compare(b.tried), bytes.Compare(a.id[:], b.id[:]))
	})
	return out
}

// settle notes when a target is due again.
func (s *Service) settle(id key, due, tried time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.targets[id]; t != nil {
		t.due, t.tried = due, tried
	}
}

// Times between two attempts: half of what is left of an answer, within bounds; after failures more each time.
const (
	soonest    = time.Hour
	latest     = 20 * time.Hour
	retryFirst = 15 * time.Minute
	retryMost  = 12 * time.Hour
)

func (a *attempts) dueAfter(next time.Time) time.Time {
	if a.Failures > 0 {
		return a.Tried.Add(min(retryFirst<<min(a.Failures-1, 10), retryMost))
	}
	return a.Fetched.Add(min(max(next.Sub(a.Fetched)/2, soonest), latest))
}

func (r *listRecord) due() time.Time {
	if r.List == nil {
		return r.dueAfter(r.Fetched)
	}
	return r.dueAfter(r.List.Next)
}

// failed notes a failure.
func (a *attempts) failed(err error, now time.Time) {
	a.Tried = now
	a.Failures++
	a.Failure, a.Hint = clipText(err.Error()), hintOf(err)
}

// succeeded notes a success.
func (a *attempts) succeeded(now time.Time) {
	a.Tried, a.Fetched, a.Failures, a.Failure, a.Hint = now, now, 0, "", ""
}

// clipText bounds the text of an error.
func clipText(s string) string {
	const most = 300
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

func (t target) number() *big.Int { return new(big.Int).SetBytes(t.serial[:]) }
