package httpauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/argon2"
)

// The memory of refusals is a file, so that a restarted daemon, or one that a timer starts for each run, does not lock an
// account. It says how often in a row which credential was refused, and until when it is left alone. The credential stands
// there as Argon2id (RFC 9106) over server, method, account and secret, with a random salt. The file has mode 0600, and
// whoever can read it can read the secret as well, as a rule; the hash is for copies of the file, in backups and bug
// reports, from which a password must not be found by trying. A secret made by a machine cannot be found anyway; a
// password can still be tried, at the price of Argon2id for each guess.

// Cost of the hash: the second choice of RFC 9106 section 4 with less memory and more passes, about 50 ms, paid once for
// each secret that a process uses.
const (
	hashPasses = 3
	hashMemory = 16 << 10 // KiB
)

// maxMemory bounds the file, in bytes.
const maxMemory = 4 << 10

// memory is the content of the file.
type memory struct {
	Salt       string    `json:"salt"`
	Credential string    `json:"credential"`
	Refusals   int       `json:"refusals"`
	Since      time.Time `json:"since,omitzero"`
	Until      time.Time `json:"until,omitzero"`
}

// slowFingerprint stands for a credential outside of this process.
func slowFingerprint(secret, salt []byte) fingerprint {
	return fingerprint(argon2.IDKey(secret, salt, hashPasses, hashMemory, 1, uint32(len(fingerprint{}))))
}

// remember makes the guard keep its count in a file, and starts with what is there. A file that is not there, or damaged,
// is none; one that others can read, or in a folder that cannot be written, is an error.
func (g *guard) remember(path string) error {
	if err := writable(path); err != nil {
		return fmt.Errorf("keep the count of refusals: %w", err)
	}
	b, err := readPrivate(path, maxMemory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read the count of refusals: %w", err)
	default:
		g.kept = true
		g.restore(b)
	}
	g.path = path
	return nil
}

// ReadLockout tells from the file of Options.LockoutFile whether a credential is left alone at a time, so that this can be
// shown also after a restart. A file that is not there, or cannot be read, tells of none. That the credential has changed
// since shows with its next use.
func ReadLockout(path string, now time.Time) (Lockout, bool) {
	b, err := readPrivate(path, maxMemory)
	var m memory
	if err != nil || json.Unmarshal(b, &m) != nil || m.Refusals < maxRefusals || !now.Before(m.Until) {
		return Lockout{}, false
	}
	l := Lockout{Since: m.Since, Until: m.Until}
	if latest := now.Add(defaultCooling); l.Until.After(latest) {
		l.Until = latest // a clock was wrong then; the guard does not wait longer either
	}
	return l, true
}

// LockedOut returns the error that wraps ErrLockedOut when a client of New with the same options would not show its
// credential now, because of what LockoutFile remembers; else nil. It sends nothing and changes nothing: it is for a program
// that keeps a count of its own, and respects that of another.
func LockedOut(ctx context.Context, o Options) error {
	t, err := o.transport()
	if err != nil {
		return nil
	}
	if _, locked := ReadLockout(o.LockoutFile, o.Now()); !locked {
		return nil
	}
	b, err := readPrivate(o.LockoutFile, maxMemory)
	if err != nil {
		return nil
	}
	t.guard.path = o.LockoutFile
	t.guard.restore(b)
	if _, _, err := t.prepare((&http.Request{URL: t.base}).WithContext(ctx)); errors.Is(err, ErrLockedOut) {
		return err
	}
	return nil
}

// restore takes the count of an earlier process. A clock that was wrong then cannot make the wait longer than it is now.
func (g *guard) restore(b []byte) {
	var m memory
	if json.Unmarshal(b, &m) != nil {
		return
	}
	salt, err1 := base64.StdEncoding.DecodeString(m.Salt)
	credential, err2 := base64.StdEncoding.DecodeString(m.Credential)
	if err1 != nil || err2 != nil || len(salt) != len(g.salt) || len(credential) != len(g.credential) || m.Refusals < 1 || m.Refusals > maxRefusals {
		return
	}
	g.salt, g.credential, g.refusals = [16]byte(salt), fingerprint(credential), m.Refusals
	g.since, g.until = m.Since, m.Until
	if latest := g.now().Add(g.coolDown); g.until.After(latest) {
		g.until = latest
	}
}

// save writes the count down, or removes the file when there is none. The guard works on without it when that fails.
func (g *guard) save() {
	if g.path == "" {
		return
	}
	if g.kept = g.refusals > 0; !g.kept {
		_ = os.Remove(g.path)
		return
	}
	m := memory{
		Salt: base64.StdEncoding.EncodeToString(g.salt[:]), Credential: base64.StdEncoding.EncodeToString(g.credential[:]),
		Refusals: g.refusals, Since: g.since.UTC(), Until: g.until.UTC(),
	}
	if b, err := json.Marshal(m); err == nil {
		_ = replaceFile(g.path, append(b, '\n'))
	}
}
