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
	"path/filepath"
	"syscall"
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
	looked := look(path) // before it is read: what comes after that is seen the next time
	b, err := readPrivate(path, maxMemory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read the count of refusals: %w", err)
	default:
		g.kept = true
		g.restore(b)
	}
	g.path, g.looked = path, looked
	return nil
}

// stamp tells one state of a file from another: root's probe writes it, and hands it to the daemon's user after that. The
// zero value: there is no file.
type stamp struct {
	inode   uint64
	changed syscall.Timespec
}

func look(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	t, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{t.Ino, t.Ctim}
}

// refresh takes up what another process, such as galsyncd probe beside the daemon, noted about a secret since the memory was
// last looked at. Each process has a salt of its own, so that the secret itself tells whether it is meant.
func (g *guard) refresh(secret []byte) {
	now := look(g.path)
	if now == g.looked {
		return
	}
	if g.looked, g.kept = now, now != (stamp{}); !g.kept {
		return // another one was accepted, perhaps with another secret: that forgives nothing here
	}
	m, ok := g.read()
	if !ok || fingerprint(m.credential) != slowFingerprint(secret, m.salt) {
		return
	}
	if g.credential != g.slow {
		g.credential, g.refusals, g.showing = g.slow, 0, 0
	}
	if m.Refusals > g.refusals || m.Until.After(g.until) {
		g.take(m)
	}
}

// elsewhere is how many refusals another process noted since the memory was last looked at. Whether they are of the same
// secret is not known here; it is taken to be.
func (g *guard) elsewhere() int {
	if g.path == "" || look(g.path) == g.looked {
		return 0
	}
	m, _ := g.read()
	return m.Refusals
}

// alone keeps other processes from counting at the same time. Without the right to it the guard counts on.
func (g *guard) alone() (release func()) {
	if g.path == "" {
		return func() {}
	}
	dir, err := os.Open(filepath.Dir(g.path))
	if err != nil {
		return func() {}
	}
	_ = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
	return func() { _ = dir.Close() }
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

// counted is a memory that was read and makes sense.
type counted struct {
	memory
	salt, credential []byte
}

func (g *guard) read() (counted, bool) {
	b, err := readPrivate(g.path, maxMemory)
	if err != nil {
		return counted{}, false
	}
	return g.parse(b)
}

func (g *guard) parse(b []byte) (c counted, ok bool) {
	if json.Unmarshal(b, &c.memory) != nil {
		return counted{}, false
	}
	var err1, err2 error
	c.salt, err1 = base64.StdEncoding.DecodeString(c.Salt)
	c.credential, err2 = base64.StdEncoding.DecodeString(c.Credential)
	if err1 != nil || err2 != nil || len(c.salt) != len(g.salt) || len(c.credential) != len(g.credential) || c.Refusals < 1 || c.Refusals > maxRefusals {
		return counted{}, false
	}
	return c, true
}

// restore takes the count of an earlier process.
func (g *guard) restore(b []byte) {
	if m, ok := g.parse(b); ok {
		g.salt, g.credential = [16]byte(m.salt), fingerprint(m.credential)
		g.take(m)
	}
}

// take takes a count over. A clock that was wrong then cannot make the wait longer than it is now.
func (g *guard) take(m counted) {
	g.refusals, g.since, g.until = m.Refusals, m.Since, m.Until
	if latest := g.now().Add(g.coolDown); g.until.After(latest) {
		g.until = latest
	}
}

// save writes the count down, or removes the file when there is none. The guard works on without it when that fails.
func (g *guard) save() {
	if g.path == "" {
		return
	}
	defer func() { g.looked = look(g.path) }()
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
