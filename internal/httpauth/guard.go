package httpauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrLockedOut is wrapped by the error of a request that was not sent, because its credential was refused twice in a row.
var ErrLockedOut = errors.New("stopped after two refusals so that the account is not locked")

// maxRefusals is how often a credential may be refused in a row. Domains lock an account after as few as three.
const maxRefusals = 2

// Lockout says since when a credential is left alone, and until when unless it changes. Since is zero when it is not known.
type Lockout struct{ Since, Until time.Time }

// Hint says what to do.
func (Lockout) Hint() string { return (&lockedOut{}).Hint() }

// lockedOut is ErrLockedOut with the time at which the credential is tried again.
type lockedOut struct{ until time.Time }

func (l *lockedOut) Error() string {
	return fmt.Sprintf("%s; the next try is after %s, or when the credential changes", ErrLockedOut, l.until.UTC().Format("2006-01-02 15:04 MST"))
}

func (l *lockedOut) Unwrap() error { return ErrLockedOut }

// Unauthorized tells sources that the credential is the cause.
func (l *lockedOut) Unauthorized() bool { return true }

// Hint says what to do.
func (l *lockedOut) Hint() string {
	return "check exchange.auth: method, the account and its secret; a new secret is tried at once"
}

// fingerprint stands for a credential without revealing it.
type fingerprint [sha256.Size]byte

// outcome is what became of a credential that was shown to the server.
type outcome int

const (
	unanswered outcome = iota // no answer came, or one of trouble (4xx, 5xx); nothing is known
	refused                   // 401
	accepted                  // an answer to the question
)

// guard counts refusals, and lets no more showings of a credential be on the way than refusals are left.
type guard struct {
	salt     [16]byte
	coolDown time.Duration
	now      func() time.Time
	path     string // of the memory; empty is none
	kept     bool   // there is, or may be, something in the memory
	looked   stamp  // the memory as this process last read or wrote it

	mu         sync.Mutex
	known      fingerprint // of the secret seen last, within this process
	slow       fingerprint // of the same one, for the memory
	credential fingerprint
	refusals   int
	showing    int
	since      time.Time     // with refusals == maxRefusals: when it was reached
	until      time.Time     // and the end of the cool-down
	changed    chan struct{} // closed and replaced when one of the above changes
}

func newGuard(coolDown time.Duration, now func() time.Time) *guard {
	g := &guard{coolDown: coolDown, now: now, changed: make(chan struct{})}
	rand.Read(g.salt[:])
	return g
}

// fingerprint tells credentials apart. With a memory it costs time once for each secret, and takes up what other processes
// noted about this one.
func (g *guard) fingerprint(secret []byte) fingerprint {
	h := sha256.New()
	h.Write(g.salt[:])
	h.Write(secret)
	quick := fingerprint(h.Sum(nil))
	if g.path == "" {
		return quick
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if quick != g.known {
		g.known, g.slow = quick, slowFingerprint(secret, g.salt[:])
	}
	g.refresh(secret)
	return g.slow
}

// check returns an error that wraps ErrLockedOut while the credential is not to be tried.
func (g *guard) check(c fingerprint) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.locked(c)
}

// locked forgets the refusals of another credential, and allows one more try after the cool-down.
func (g *guard) locked(c fingerprint) error {
	if c != g.credential {
		g.credential, g.refusals, g.showing = c, 0, 0
	}
	if g.refusals < maxRefusals {
		return nil
	}
	if g.now().Before(g.until) {
		return &lockedOut{g.until}
	}
	g.refusals = maxRefusals - 1
	return nil
}

// enter waits until the credential may be shown to the server. After it, leave must be called.
func (g *guard) enter(ctx context.Context, c fingerprint) error {
	for {
		g.mu.Lock()
		if err := g.locked(c); err != nil {
			g.mu.Unlock()
			return err
		}
		if g.refusals+g.showing < maxRefusals {
			g.showing++
			g.mu.Unlock()
			return nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave tells what became of a credential that was shown.
func (g *guard) leave(c fingerprint, o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c != g.credential {
		return
	}
	g.showing = max(0, g.showing-1)
	switch o {
	case accepted:
		if g.refusals > 0 || g.kept { // what is kept may be about a secret from before
			g.refusals = 0
			g.save()
		}
	case refused:
		g.refuse()
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// refusedUnseen counts a 401 that came before the credential was shown: the server offered no way to.
func (g *guard) refusedUnseen(c fingerprint) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c == g.credential {
		g.refuse()
	}
}

func (g *guard) refuse() {
	defer g.alone()()
	if g.refusals = min(max(g.refusals, g.elsewhere())+1, maxRefusals); g.refusals == maxRefusals {
		g.since = g.now()
		g.until = g.since.Add(g.coolDown)
	}
	g.save()
}
