// Package keyring keeps one user's private keys in one precious file.
//
// The file is a bbolt database. Private keys are PKCS #8 (RFC 5958), each sealed with AES-256-GCM under a random master key,
// which is sealed under the user's passphrase by Argon2id (RFC 9106). Certificates are readable while the keyring is locked.
//
// The package promises:
//   - every change is one transaction: after a crash the file holds the state before it or after it;
//   - the file is verified in full before bbolt maps it, so that damage is the error ErrDamaged, never a crash; a damaged
//     file and one of a newer schema are left exactly as they are, and no file is ever deleted;
//   - no private key, master key or passphrase is written in the clear or put into an error.
//
// Beside identities the file holds what a person decided about others: installed certificates with the addresses they are
// trusted for, trusted issuers, the choice of a certificate for an address, preferences per From address, and what signers
// say their programs can do. These are readable while the keyring is locked. A file opened with CertificatesOnly has the
// same form and no identities: it is what an administrator installs for everyone.
//
// Schema 2. The bucket "meta" holds "schema" (the number in decimal), "kind" ("keyring" or "certificates"), "master" (a
// masterRecord) and one sum for each table (see table). The tables are the buckets "identities", "installed", "issuers" and
// "capabilities", keyed by the SHA-256 of the certificate, "requests", keyed by the SHA-256 of the public key, "choices" and
// "preferences", keyed by the address ("*" is the default). Records are JSON after their SHA-256. A file of schema 1 is
// copied beside itself, as PATH.schema-1, before it is changed.
package keyring

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// FileName is the name of the keyring's file in its directory, InstalledFileName that of a file of certificates only.
const (
	FileName          = "keyring.db"
	InstalledFileName = "installed.db"
)

var (
	// ErrInUse reports that another process has the file open.
	ErrInUse = errors.New("the keyring is in use by another process")
	// ErrDamaged reports a file that is not what was written. It is left as it is: restore a copy.
	ErrDamaged = errors.New("the keyring is damaged")
	// ErrNewerSchema reports a file of a later version of galsyncd. It is left as it is.
	ErrNewerSchema = errors.New("the keyring was written by a newer version of galsyncd")
	// ErrExposed reports a file or directory that belongs to somebody else or that others can get at.
	ErrExposed = errors.New("the keyring is exposed to others")
	// ErrLocked reports that an operation needs Unlock before.
	ErrLocked = errors.New("the keyring is locked")
	// ErrNoPassphrase reports that SetPassphrase was never called.
	ErrNoPassphrase = errors.New("the keyring has no passphrase yet")
	// ErrHasPassphrase reports that SetPassphrase was called before; ChangePassphrase replaces it.
	ErrHasPassphrase = errors.New("the keyring has a passphrase already")
	// ErrWrongPassphrase is the one answer to every passphrase that does not open the keyring.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrOtherKind reports a file of certificates opened as a keyring, or a keyring opened as a file of certificates.
	ErrOtherKind = errors.New("the file is of another kind")
	// ErrNoIdentities is the answer of a file of certificates to whatever concerns private keys.
	ErrNoIdentities = errors.New("this file holds certificates for everyone and no private keys")
	// ErrClosed reports the use of a keyring after Close.
	ErrClosed = errors.New("the keyring is closed")
)

// Options vary Open; nil is the default of every field.
type Options struct {
	// LockTimeout is how long to wait for another process to close the file; 0 is one second.
	LockTimeout time.Duration
	// Argon2 are the costs of the passphrase when it is set or changed; zero is DefaultArgon2.
	Argon2 Argon2
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// CertificatesOnly opens a file without identities (InstalledFileName).
	CertificatesOnly bool
}

// Keyring is an open keyring. Its methods may be called by any goroutine.
type Keyring struct {
	path   string
	argon2 Argon2
	clock  func() time.Time

	certificatesOnly bool

	attempts sync.Mutex // serialises what derives a key from a passphrase; taken before mu
	failures int        // wrong passphrases in a row, under attempts
	lastFail time.Time  // under attempts

	mu     sync.Mutex
	db     *bbolt.DB // nil after Close
	file   *os.File  // db's
	broken error     // the first damage met since Open: nothing is written after it, and nothing read after a fault
	master []byte    // nil when locked
	until  time.Time
	timer  *time.Timer // wipes master at until

	version  uint64                                  // grows with every change
	contents *contents                               // nil when it has to be read again
	parsed   map[[sha256.Size]byte]*x509.Certificate // certificates of contents
}

// Open opens the keyring at path and makes an empty one when there is no file, with its directory. The errors wrap ErrInUse,
// ErrDamaged, ErrNewerSchema or ErrExposed where they apply. The keyring is locked.
func Open(path string, opts *Options) (*Keyring, error) {
	if opts == nil {
		opts = &Options{}
	}
	k := &Keyring{path: path, argon2: opts.Argon2, clock: opts.Now, certificatesOnly: opts.CertificatesOnly, parsed: map[[sha256.Size]byte]*x509.Certificate{}}
	if k.argon2 == (Argon2{}) {
		k.argon2 = DefaultArgon2()
	}
	if err := k.argon2.check(); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if err := k.open(opts.LockTimeout); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	return k, nil
}

func (k *Keyring) open(timeout time.Duration) error {
	if timeout <= 0 {
		timeout = time.Second
	}
	if err := k.secureDirectory(filepath.Dir(k.path)); err != nil {
		return err
	}
	if _, err := os.Lstat(k.path); errors.Is(err, os.ErrNotExist) {
		if err := create(k.path, k.kind()); err != nil {
			return err
		}
	}
	err := guard(func() (err error) {
		k.db, err = bbolt.Open(k.path, 0o600, &bbolt.Options{Timeout: timeout, OpenFile: func(path string, _ int, _ os.FileMode) (*os.File, error) {
			f, err := openChecked(path, timeout)
			k.file = f
			return f, err
		}})
		if err != nil {
			return err
		}
		version := 0
		if err := k.db.View(func(tx *bbolt.Tx) (err error) { version, err = schemaOf(tx); return err }); err != nil {
			return err
		}
		if version < schema {
			if err := k.migrate(); err != nil {
				return err
			}
		}
		return k.db.View(k.verifyRecords)
	})
	if err != nil {
		_ = k.close(isFault(err))
	}
	return err
}

// close closes the file, and bbolt's database unless it must not be touched.
func (k *Keyring) close(faulty bool) error {
	db, f := k.db, k.file
	k.db = nil
	var err error
	if db != nil && !faulty {
		err = guard(db.Close)
	}
	if f != nil {
		f.Close() // bbolt has done so in the usual case; else this lets go of the lock
	}
	return err
}

// Close locks the keyring and closes its file.
func (k *Keyring) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lock()
	if k.db == nil {
		return nil
	}
	return k.close(isFault(k.broken))
}

// Check reads the file again and verifies its structure and every record; when the keyring is unlocked also that every
// private key opens and belongs to its certificate.
func (k *Keyring) Check() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		return ErrClosed
	}
	if err := verifyPages(k.file); err != nil {
		return k.check("check keyring", err)
	}
	if err := k.view("check keyring", k.verifyRecords); err != nil {
		return err
	}
	k.contents = nil
	if _, err := k.read("check keyring"); err != nil || !k.unlocked() {
		return err
	}
	return k.checkKeys()
}

// checkKeys opens every private key. The caller holds mu, and the keyring is unlocked.
func (k *Keyring) checkKeys() error {
	identities, err := k.load()
	if err != nil {
		return err
	}
	for _, rec := range identities {
		if _, err := rec.open(k.master); err != nil {
			return k.check("check keyring", err)
		}
	}
	waiting, err := k.requests()
	if err != nil {
		return err
	}
	for _, rec := range waiting {
		if _, err := rec.open(k.master); err != nil {
			return k.check("check keyring", err)
		}
	}
	return nil
}

// now returns calendar time: a machine that slept has to count the time it slept.
func (k *Keyring) now() time.Time {
	if k.clock != nil {
		return k.clock().Round(0)
	}
	return time.Now().Round(0)
}
