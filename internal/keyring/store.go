package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

const (
	// schema is the version of the file's contents.
	schema = 1
	// maxRecord is the largest record, in bytes; maxIdentities is how many there may be.
	maxRecord     = 1 << 20
	maxIdentities = 1000
)

var (
	bucketMeta       = []byte("meta")
	bucketIdentities = []byte("identities")
	keySchema        = []byte("schema")
	keyMaster        = []byte("master")
	keyIdentities    = []byte("identities")
)

// initialise writes the empty keyring.
func initialise(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket(bucketIdentities); err != nil {
		return err
	}
	return errors.Join(meta.Put(keySchema, []byte(strconv.Itoa(schema))), putSetDigest(tx))
}

// verifyRecords checks the schema first, then reads everything.
func verifyRecords(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return damaged("it has no schema version")
	}
	text := meta.Get(keySchema)
	version, err := strconv.ParseUint(string(text), 10, 31)
	switch {
	case err != nil || version == 0:
		return damaged("it has no schema version")
	case version > schema:
		return fmt.Errorf("%w: schema %d, this version knows %d", ErrNewerSchema, version, schema)
	case tx.Bucket(bucketIdentities) == nil:
		return damaged("it has no identities bucket")
	}
	if _, err := getMaster(tx); err != nil && !errors.Is(err, ErrNoPassphrase) {
		return err
	}
	_, err = getIdentities(tx)
	return err
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

func (k *Keyring) updateLocked(what string, f func(*bbolt.Tx) error) error {
	if k.db == nil {
		return ErrClosed
	}
	if k.broken != nil {
		return k.broken
	}
	return k.check(what, guard(func() error { return k.db.Update(f) }))
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

// putRecord writes v as JSON after its SHA-256, which tells damage from content.
func putRecord(b *bbolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxRecord {
		return fmt.Errorf("the record would be larger than %d bytes", maxRecord)
	}
	sum := sha256.Sum256(text)
	return b.Put(key, append(sum[:], text...))
}

// parseRecord is the inverse of putRecord.
func parseRecord(data []byte, v any) error {
	if len(data) < sha256.Size || len(data) > sha256.Size+maxRecord {
		return damaged("a record has a wrong length")
	}
	sum := sha256.Sum256(data[sha256.Size:])
	if !bytes.Equal(sum[:], data[:sha256.Size]) {
		return damaged("a record does not match its checksum")
	}
	if err := json.Unmarshal(data[sha256.Size:], v); err != nil {
		return damaged("a record cannot be read")
	}
	return nil
}

func putMaster(tx *bbolt.Tx, rec *masterRecord) error {
	return putRecord(tx.Bucket(bucketMeta), keyMaster, rec)
}

func getMaster(tx *bbolt.Tx) (*masterRecord, error) {
	data := tx.Bucket(bucketMeta).Get(keyMaster)
	if data == nil {
		// Identities are sealed under a master key: without one they are lost, and a new one must not hide that.
		if first, _ := tx.Bucket(bucketIdentities).Cursor().First(); first != nil {
			return nil, damaged("the record of the passphrase is missing")
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

// load reads all identities. The caller holds mu.
func (k *Keyring) load() (list []*identityRecord, err error) {
	err = k.view("read identities", func(tx *bbolt.Tx) error {
		list, err = getIdentities(tx)
		return err
	})
	return list, err
}

// getIdentities reads all identities in the order of their fingerprints, and compares their set with its digest.
func getIdentities(tx *bbolt.Tx) ([]*identityRecord, error) {
	var list []*identityRecord
	err := tx.Bucket(bucketIdentities).ForEach(func(key, data []byte) error {
		if len(list) == maxIdentities {
			return damaged("it has more than %d identities", maxIdentities)
		}
		rec, err := parseIdentity(key, data)
		list = append(list, rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tx.Bucket(bucketMeta).Get(keyIdentities), setDigest(tx)) {
		return nil, damaged("an identity is missing")
	}
	return list, nil
}

// putIdentity writes one identity; putSetDigest has to follow in the same transaction.
func putIdentity(tx *bbolt.Tx, rec *identityRecord) error {
	return putRecord(tx.Bucket(bucketIdentities), rec.fingerprint(), rec)
}

func putSetDigest(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).Put(keyIdentities, setDigest(tx))
}

// setDigest hashes the fingerprints of all identities in order.
func setDigest(tx *bbolt.Tx) []byte {
	h := sha256.New()
	c := tx.Bucket(bucketIdentities).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		h.Write(key)
	}
	return h.Sum(nil)
}
