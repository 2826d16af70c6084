// Package cache keeps the local copy of the address book in one bbolt file. The file is disposable: whatever is in it can
// be fetched again. It is therefore verified as a whole when it is opened, and a damaged one is set aside rather than
// repaired.
//
// One canonical record per entry lives in the bucket "entries"; "addresses", "words" and "certificates" are indexes, which
// hold what finds and ranks entries. Everything of one change is in one transaction.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/galsyncd/galsyncd/directory"
)

// Errors of Open and of every access. Each message says what to do.
var (
	// ErrInUse: another process has the file open.
	ErrInUse = errors.New("in use by another process (is galsyncd running?)")
	// ErrNewerSchema: a newer program wrote the file.
	ErrNewerSchema = errors.New("written by a newer galsyncd")
	// ErrOlderSchema: an older program wrote the file, and this one does not convert it.
	ErrOlderSchema = errors.New("written by an older galsyncd")
	// ErrDamaged: the content is not what was written.
	ErrDamaged = errors.New("damaged")
)

// Schema is the version of the layout, stored as the number "schema" in the bucket "meta" by every version, also later
// ones.
const Schema = 4

// Buckets.
var (
	bucketMeta          = []byte("meta")          // "schema", "entries", "certified", "sum/BUCKET": numbers
	bucketEntries       = []byte("entries")       // primary address: record
	bucketAddresses     = []byte("addresses")     // address 0x00 primary: 'l' listed, 'c' claimed by a certificate
	bucketWords         = []byte("words")         // folded word 0x00 primary: what ranks a completion (see search.go)
	bucketCertificates  = []byte("certificates")  // SHA-256 of the certificate, primary: empty
	bucketIntermediates = []byte("intermediates") // SHA-256 of the certificate: certificate with checksum
	bucketGroups        = []byte("groups")        // primary address: members as JSON, with checksum; empty when not known
	bucketContacts      = []byte("contacts")      // identifier: personal contact as JSON, with checksum
	bucketContactIndex  = []byte("contactindex")  // see contacts.go: empty
	bucketRevocations   = []byte("revocations")   // kept for package internal/revocation: values with checksum
	bucketLosses        = []byte("losses")        // primary address: empty, or the record as found
	bucketState         = []byte("state")         // key: value, kept for package directory
)

var buckets = [][]byte{bucketMeta, bucketEntries, bucketAddresses, bucketWords, bucketCertificates, bucketIntermediates, bucketGroups, bucketContacts, bucketContactIndex, bucketRevocations, bucketLosses, bucketState}

// Cache is an open cache file. It implements directory.Store and revocation.Store. Its methods may be used concurrently;
// readers see a consistent snapshot while a sync writes.
type Cache struct {
	path   string
	db     *bbolt.DB
	broken atomic.Bool
	known  atomic.Pointer[snapshot] // nil until the first look-up
}

// Open opens the cache file in dir, or makes a new one. It first verifies every byte of an existing file.
//
// Errors wrap ErrInUse, ErrNewerSchema, ErrOlderSchema or ErrDamaged, or are the operating system's. After any of the last
// three a caller that wants to go on calls SetAside and opens again.
func Open(dir string) (*Cache, error) {
	path := filepath.Join(dir, "cache.db")
	if err := Verify(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open cache %s: %w", path, err)
	}
	c := &Cache{path: path}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", path, err)
	}
	return c, nil
}

func (c *Cache) open() (err error) {
	defer guard(&err)
	// Without a free list on disk there is nothing about free pages that could be damaged, and less to write.
	c.db, err = bbolt.Open(c.path, 0o600, &bbolt.Options{Timeout: 500 * time.Millisecond, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return ErrInUse
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum), errors.Is(err, bbolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	}
	if err := c.prepare(); err != nil {
		return errors.Join(err, c.db.Close())
	}
	return nil
}

// prepare checks the schema of an old file and makes the buckets of a new one.
func (c *Cache) prepare() error {
	isNew := false
	err := c.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if isNew = meta == nil; isNew {
			return nil
		}
		n, err := number(meta, "schema")
		return errors.Join(err, checkSchema(n))
	})
	if err != nil || !isNew {
		return err
	}
	return c.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return setNumber(tx.Bucket(bucketMeta), "schema", Schema)
	})
}

func checkSchema(n uint64) error {
	switch {
	case n > Schema:
		return fmt.Errorf("%w: schema %d, this program knows %d", ErrNewerSchema, n, Schema)
	case n < Schema:
		return fmt.Errorf("%w: schema %d, this program writes %d", ErrOlderSchema, n, Schema)
	}
	return nil
}

// SetAside renames the cache file in dir, so that the next Open makes a new one, and returns where it is now. Earlier ones
// set aside are replaced: one is kept to look into.
func SetAside(dir string) (string, error) {
	path := filepath.Join(dir, "cache.db")
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("set the cache aside: %w", err)
	}
	return aside, nil
}

// RemoveCopies removes the file that SetAside left beside this one.
func (c *Cache) RemoveCopies() error {
	if err := os.Remove(c.path + ".aside"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the cache that was set aside: %w", err)
	}
	return nil
}

// Path of the cache file.
func (c *Cache) Path() string { return c.path }

// Size of the cache file in bytes.
func (c *Cache) Size() int64 {
	info, err := os.Stat(c.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Close waits for transactions and closes the file. A cache that was found damaged is left to the operating system:
// bbolt's locks may be held for ever.
func (c *Cache) Close() error {
	if c.broken.Load() {
		return nil
	}
	return c.db.Close()
}

// Broken reports that damage was found since Open. Every later access fails.
func (c *Cache) Broken() bool { return c.broken.Load() }

// View implements directory.Store.
func (c *Cache) View(f func(directory.Tx) error) error {
	return c.transact(func() error {
		return c.db.View(func(tx *bbolt.Tx) error { return f(&transaction{tx: tx}) })
	})
}

// Update implements directory.Store.
func (c *Cache) Update(f func(directory.Tx) error) error {
	return c.transact(func() error {
		return c.db.Update(func(tx *bbolt.Tx) error {
			t := &transaction{tx: tx}
			if err := f(t); err != nil {
				return err
			}
			return t.flush()
		})
	})
}

// transact turns damage that bbolt meets as a panic or a memory fault into an error, and stops using the file then.
func (c *Cache) transact(f func() error) error {
	if c.broken.Load() {
		return fmt.Errorf("cache %s: %w", c.path, ErrDamaged)
	}
	err := guarded(f)
	if errors.Is(err, ErrDamaged) {
		c.broken.Store(true)
		return fmt.Errorf("cache %s: %w", c.path, err)
	}
	return err
}

func guarded(f func() error) (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f()
}

// guard makes ErrDamaged of a panic. The panics that can come are bbolt's own checks, index errors in its pages and
// faults of the memory map: everything of ours in a transaction checks what it reads.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}

// Check verifies the whole file, as Open does, while it is in use.
func (c *Cache) Check(ctx context.Context) error {
	f, err := os.Open(c.path)
	if err != nil {
		return fmt.Errorf("check cache: %w", err)
	}
	defer f.Close()
	return c.transact(func() error {
		// The transaction keeps every page that it can reach from being reused meanwhile. The meta pages are not among
		// these: what they said when it began comes from bbolt.
		return c.db.View(func(tx *bbolt.Tx) error {
			size := uint64(c.db.Info().PageSize)
			return verifyFile(ctx, f, &meta{pageSize: size, root: uint64(tx.Cursor().Bucket().Root()), freelist: noFreelist,
				pages: uint64(tx.Size()) / size})
		})
	})
}
