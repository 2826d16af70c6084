package keyring

import (
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

const (
	// schema is the version of the file's contents.
	schema = 2
	// maxRecord is the largest record, in bytes.
	maxRecord = 1 << 20

	// What a file is for, under keyKind: everything of one user, or certificates of other people alone.
	kindKeyring      = "keyring"
	kindCertificates = "certificates"
)

var (
	bucketMeta = []byte("meta")
	keySchema  = []byte("schema")
	keyKind    = []byte("kind")
	keyMaster  = []byte("master")
)

// initialise writes the empty keyring.
func initialise(tx *bbolt.Tx, kind string) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	if err := meta.Put(keyKind, []byte(kind)); err != nil {
		return err
	}
	return layOut(tx)
}

// layOut makes the tables that are missing, their sums, and says that this is the schema.
func layOut(tx *bbolt.Tx) error {
	for _, t := range tables() {
		if _, err := tx.CreateBucketIfNotExists([]byte(t.name)); err != nil {
			return err
		}
		if err := t.putSum(tx); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keySchema, []byte(strconv.Itoa(schema)))
}

// schemaOf reads the schema version of a file.
func schemaOf(tx *bbolt.Tx) (int, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return 0, damaged("it has no schema version")
	}
	version, err := strconv.ParseUint(string(meta.Get(keySchema)), 10, 31)
	switch {
	case err != nil || version == 0:
		return 0, damaged("it has no schema version")
	case version > schema:
		return 0, fmt.Errorf("%w: schema %d, this version knows %d", ErrNewerSchema, version, schema)
	}
	return int(version), nil
}

// verifyRecords reads everything in a file of this schema.
func (k *Keyring) verifyRecords(tx *bbolt.Tx) error {
	switch kind := string(tx.Bucket(bucketMeta).Get(keyKind)); {
	case kind != kindKeyring && kind != kindCertificates:
		return damaged("it does not say what it is for")
	case kind != k.kind():
		return fmt.Errorf("%w: it holds %s", ErrOtherKind, map[string]string{kindKeyring: "the keys of a user", kindCertificates: "certificates for everyone"}[kind])
	}
	for _, t := range tables() {
		if err := t.verify(tx); err != nil {
			return err
		}
	}
	_, err := getMaster(tx)
	if errors.Is(err, ErrNoPassphrase) {
		return nil
	}
	return err
}

func (k *Keyring) kind() string {
	if k.certificatesOnly {
		return kindCertificates
	}
	return kindKeyring
}

// view reads in a transaction. The caller holds mu.
func (k *Keyring) view(what string, f func(*bbolt.Tx) error) error {
	if k.db == nil {
		return ErrClosed
	}
	if isFault(k.broken) {
		return k.broken
	}
	return k.check(what, guard(func() error { return k.db.View(f) }))
}

// update writes in a transaction. Nothing is written after damage was met.
func (k *Keyring) update(what string, f func(*bbolt.Tx) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.updateLocked(what, f)
}

// updateLocked is update for a caller that holds mu. The sums are compared before f and written after it, for all tables:
// so that no writer can forget one, and damage that came since is not written down as right.
func (k *Keyring) updateLocked(what string, f func(*bbolt.Tx) error) error {
	if k.db == nil {
		return ErrClosed
	}
	if k.broken != nil {
		return k.broken
	}
	err := k.check(what, guard(func() error {
		return k.db.Update(func(tx *bbolt.Tx) error {
			for _, t := range tables() {
				if err := t.verifySum(tx); err != nil {
					return err
				}
			}
			if err := f(tx); err != nil {
				return err
			}
			for _, t := range tables() {
				if err := t.putSum(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	if err == nil {
		k.version++
		k.contents = nil
	}
	return err
}

// check remembers damage and says what was attempted.
func (k *Keyring) check(what string, err error) error {
	if errors.Is(err, ErrDamaged) && (k.broken == nil || isFault(err)) {
		k.broken = fmt.Errorf("%s: keyring %s: %w", what, k.path, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func putMaster(tx *bbolt.Tx, rec *masterRecord) error {
	return putRecord(tx.Bucket(bucketMeta), keyMaster, rec)
}

func getMaster(tx *bbolt.Tx) (*masterRecord, error) {
	data := tx.Bucket(bucketMeta).Get(keyMaster)
	if data == nil {
		// Private keys are sealed under a master key: without one they are lost, and a new one must not hide that.
		for _, t := range []table{identitiesTable, requestsTable} {
			if first, _ := t.bucket(tx).Cursor().First(); first != nil {
				return nil, damaged("the record of the passphrase is missing")
			}
		}
		return nil, ErrNoPassphrase
	}
	return parseMaster(data)
}

func parseMaster(data []byte) (*masterRecord, error) {
	rec := new(masterRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	return rec, rec.check()
}

func (k *Keyring) masterRecord() (rec *masterRecord, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.view("read passphrase record", func(tx *bbolt.Tx) error {
		rec, err = getMaster(tx)
		return err
	})
	return rec, err
}

// load reads all identities in the order of their fingerprints. The caller holds mu.
func (k *Keyring) load() (list []*identityRecord, err error) {
	err = k.view("read identities", func(tx *bbolt.Tx) error {
		list, err = all(tx, identitiesTable, parseIdentity)
		return err
	})
	return list, err
}
