package keyring

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Schema 1 had the bucket "identities" and, in "meta" under the same name, the SHA-256 over its keys.
var keyIdentitiesV1 = []byte("identities")

// migrate brings a file of schema 1 to this schema, after it was verified and copied beside itself. The change is one
// transaction: a crash leaves the file as it was, or as it is to be.
func (k *Keyring) migrate() error {
	if k.certificatesOnly {
		return fmt.Errorf("%w: it holds the keys of a user", ErrOtherKind)
	}
	if err := k.db.View(verifySchema1); err != nil {
		return err
	}
	if err := copyAside(k.file, k.path, 1); err != nil {
		return fmt.Errorf("copy the keyring before it is changed: %w", err)
	}
	err := k.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if err := errors.Join(meta.Delete(keyIdentitiesV1), meta.Put(keyKind, []byte(kindKeyring))); err != nil {
			return err
		}
		return layOut(tx)
	})
	if err != nil {
		return fmt.Errorf("bring the keyring to schema %d: %w", schema, err)
	}
	return nil
}

// verifySchema1 reads everything in a file of schema 1.
func verifySchema1(tx *bbolt.Tx) error {
	bucket := identitiesTable.bucket(tx)
	if bucket == nil {
		return damaged("it has no bucket %q", identitiesTable.name)
	}
	h, n := sha256.New(), 0
	err := bucket.ForEach(func(key, data []byte) error {
		if n++; n > identitiesTable.most {
			return damaged("it has more than %d identities", identitiesTable.most)
		}
		h.Write(key)
		return identitiesTable.check(key, data)
	})
	if err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	if !bytes.Equal(meta.Get(keyIdentitiesV1), h.Sum(nil)) {
		return damaged("an identity is missing")
	}
	master := meta.Get(keyMaster)
	if master == nil {
		if n > 0 {
			return damaged("the record of the passphrase is missing")
		}
		return nil
	}
	_, err = parseMaster(master)
	return err
}

// copyAside writes what the file holds to a new file beside it, PATH.schema-N, and has it on the disk before it returns.
// Copies are never written over: one that is there and differs stays, and the new one gets a number.
func copyAside(from *os.File, path string, version int) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".keyring-*.copy") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(from, 0, maxFile)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	for i := range 1000 {
		name := fmt.Sprintf("%s.schema-%d", path, version)
		if i > 0 {
			name = fmt.Sprintf("%s.%d", name, i)
		}
		err := os.Link(f.Name(), name)
		if errors.Is(err, fs.ErrExist) {
			if same(f.Name(), name) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		return syncDirectory(filepath.Dir(path))
	}
	return fmt.Errorf("there are too many copies beside %s", path)
}

func same(a, b string) bool {
	one, errOne := os.ReadFile(a)
	other, errOther := os.ReadFile(b)
	return errOne == nil && errOther == nil && bytes.Equal(one, other)
}
