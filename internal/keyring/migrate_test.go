package keyring

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// schema1 makes a keyring of schema 1 with two identities and returns it as it is on the disk.
func schema1(t *testing.T) (path string, data []byte) {
	t.Helper()
	k, path := newKeyring(t)
	unlock(t, k)
	ca := newCA(t)
	for _, who := range []string{"alice@example.com", "bob@example.com"} {
		if _, err := k.ImportPEM(pemOf(t, ca, who), ""); err != nil {
			t.Fatal(err)
		}
	}
	k.Close()
	rewrite(t, path, func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		for _, tab := range tables() {
			if err := meta.Delete(tab.sumKey()); err != nil {
				return err
			}
			if tab.name != identitiesTable.name {
				if err := tx.DeleteBucket([]byte(tab.name)); err != nil {
					return err
				}
			}
		}
		h := sha256.New()
		if err := identitiesTable.bucket(tx).ForEach(func(key, _ []byte) error { h.Write(key); return nil }); err != nil {
			return err
		}
		return errors.Join(meta.Delete(keyKind), meta.Put(keySchema, []byte("1")), meta.Put(keyIdentitiesV1, h.Sum(nil)))
	})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestMigration(t *testing.T) {
	path, before := schema1(t)
	k := reopen(t, path)
	unlock(t, k)
	if list, err := k.Identities(); err != nil || len(list) != 2 {
		t.Fatalf("after the migration: %d, %v", len(list), err)
	}
	if err := errors.Join(k.SetPreferences("", Preferences{Sign: new(bool)}), k.Check()); err != nil {
		t.Error(err)
	}
	k.Close()
	kept := path + ".schema-1"
	if got, err := os.ReadFile(kept); err != nil || !bytes.Equal(got, before) {
		t.Fatalf("the copy is not what was there before: %v", err)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	reopen(t, path).Close()
	if names, _ := filepath.Glob(path + ".*"); len(names) != 1 {
		t.Errorf("opening again copies again: %v", names)
	}

	// The copy put back migrates again, and is not copied twice.
	overwrite(t, path, before)
	k = reopen(t, path)
	if list, err := k.List(); err != nil || len(list) != 2 {
		t.Errorf("a restored copy: %d, %v", len(list), err)
	}
	k.Close()
	if names, _ := filepath.Glob(path + ".*"); len(names) != 1 {
		t.Errorf("the same copy twice: %v", names)
	}
	// A copy of something else is never written over.
	overwrite(t, kept, []byte("something else"))
	overwrite(t, path, before)
	reopen(t, path).Close()
	if got, err := os.ReadFile(kept); err != nil || string(got) != "something else" {
		t.Errorf("an older copy was written over: %v", err)
	}
	if got, err := os.ReadFile(kept + ".1"); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the second copy: %v", err)
	}
}

// TestMigrationRefuses holds that a damaged file of schema 1 is left as it is, without a copy of damage beside it.
func TestMigrationRefuses(t *testing.T) {
	path, _ := schema1(t)
	rewrite(t, path, func(tx *bbolt.Tx) error {
		key, _ := identitiesTable.bucket(tx).Cursor().First()
		return identitiesTable.delete(tx, key)
	})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, cheap()); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
	if names, _ := filepath.Glob(path + ".*"); len(names) != 0 {
		t.Errorf("left beside it: %v", names)
	}
	good, _ := schema1(t)
	opts := cheap()
	opts.CertificatesOnly = true
	if _, err := Open(good, opts); !errors.Is(err, ErrOtherKind) {
		t.Errorf("schema 1 as a file of certificates: %v", err)
	}
}
