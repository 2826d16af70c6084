package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// rewrite changes the file through bbolt, as another version or a vandal could.
func rewrite(t *testing.T, path string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestForeignFiles holds that whatever Open refuses stays as it is.
func TestForeignFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, path string)
		want   error
	}{
		"newer schema": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("3")) })
		}, ErrNewerSchema},
		"no schema": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) })
		}, ErrDamaged},
		"schema of nonsense": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("0")) })
		}, ErrDamaged},
		"an identity is gone": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				key, _ := identitiesTable.bucket(tx).Cursor().First()
				return identitiesTable.delete(tx, key)
			})
		}, ErrDamaged},
		"an identity under another name": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				key, data := identitiesTable.bucket(tx).Cursor().First()
				data = bytes.Clone(data)
				other := bytes.Clone(key)
				other[0] ^= 1
				return errors.Join(identitiesTable.delete(tx, key), identitiesTable.bucket(tx).Put(other, data), identitiesTable.putSum(tx))
			})
		}, ErrDamaged},
		"the passphrase is gone": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyMaster) })
		}, ErrDamaged},
		"costs beyond bounds": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				rec, err := getMaster(tx)
				if err != nil {
					return err
				}
				rec.Memory = 1 << 31
				return putMaster(tx, rec)
			})
		}, ErrDamaged},
		"empty":        {func(t *testing.T, path string) { overwrite(t, path, nil) }, ErrDamaged},
		"zeros":        {func(t *testing.T, path string) { overwrite(t, path, make([]byte, 1<<16)) }, ErrDamaged},
		"another file": {func(t *testing.T, path string) { overwrite(t, path, bytes.Repeat([]byte("hello\n"), 5000)) }, ErrDamaged},
		"a preference is put back in an older state": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return putPreferences(tx, "", Preferences{Sign: new(bool)}) })
		}, ErrDamaged},
		"an installed certificate is gone": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				key, _ := installedTable.bucket(tx).Cursor().First()
				return installedTable.delete(tx, key)
			})
		}, ErrDamaged},
		"a bucket is gone": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(choicesTable.name)) })
		}, ErrDamaged},
		"no kind": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyKind) })
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			k, path := newKeyring(t)
			unlock(t, k)
			if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com"), ""); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Install(Installation{Certificate: leafOf(t, newCA(t), "bob@example.org"), Addresses: []mailaddr.Address{"bob@example.org"}, How: HowFile}); err != nil {
				t.Fatal(err)
			}
			k.Close()
			tt.change(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, cheap()); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed: %v", err)
			}
			// The lock is free again.
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := lockFile(f, 0); err != nil {
				t.Errorf("the lock is still held: %v", err)
			}
		})
	}
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTamperedPublicHalf changes what can be read while locked, with a good checksum; the seal of the key notices.
func TestTamperedPublicHalf(t *testing.T) {
	k, path := newKeyring(t)
	unlock(t, k)
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com"), ""); err != nil {
		t.Fatal(err)
	}
	k.Close()
	rewrite(t, path, func(tx *bbolt.Tx) error {
		key, data := identitiesTable.bucket(tx).Cursor().First()
		rec, err := parseIdentity(key, data)
		if err != nil {
			return err
		}
		rec.Chain = nil
		return errors.Join(identitiesTable.put(tx, rec.fingerprint(), rec), identitiesTable.putSum(tx))
	})
	k = reopen(t, path)
	if _, err := k.List(); err != nil {
		t.Error(err)
	}
	unlock(t, k)
	if _, err := k.Identities(); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "bob@example.com"), ""); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged keyring was written to: %v", err)
	}
}

// TestDamage flips bits and cuts the file, as failing disks do: every outcome is an error or all that was there.
func TestDamage(t *testing.T) {
	k, path := newKeyring(t)
	unlock(t, k)
	ca := newCA(t)
	for i := range 30 {
		if _, err := k.ImportPEM(pemOf(t, ca, fmt.Sprintf("person%d@example.com", i)), ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		a := mailaddr.Address(fmt.Sprintf("person%d@example.org", i))
		_, err := k.Install(Installation{Certificate: leafOf(t, ca, string(a)), Addresses: []mailaddr.Address{a}, How: HowFile})
		if err := errors.Join(err, k.SetPreferences(a, Preferences{Sign: new(bool)}), k.Choose(a, [32]byte{byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	k.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(1)
	random := func(n int) int { // a linear congruential generator: the same damage in every run
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed >> 33 % uint64(n))
	}
	flips, cuts, errorsSeen, reads := 240, 40, 0, 0
	for i := range flips + cuts {
		data := bytes.Clone(good)
		if i < flips {
			at := random(len(data))
			if i%4 == 0 {
				at = random(4)*os.Getpagesize() + random(96) // the heads of pages, where it hurts most
			}
			data[at] ^= 1 << random(8)
		} else {
			data = data[:random(len(data))]
		}
		overwrite(t, path, data)
		k, err := Open(path, cheap())
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerSchema) {
				t.Fatalf("damage %d: %v", i, err)
			}
			errorsSeen++
			if after, _ := os.ReadFile(path); !bytes.Equal(after, data) {
				t.Fatalf("damage %d: the damaged file was changed", i)
			}
			continue
		}
		reads++
		if list, err := k.List(); err != nil || len(list) != 30 {
			t.Fatalf("damage %d: a good read of %d identities, %v", i, len(list), err)
		}
		if list, err := k.Installed(); err != nil || len(list) != 8 {
			t.Fatalf("damage %d: %d installed certificates, %v", i, len(list), err)
		}
		if list, err := k.Preferences(); err != nil || len(list) != 8 {
			t.Fatalf("damage %d: %d preferences, %v", i, len(list), err)
		}
		unlock(t, k)
		if list, err := k.Identities(); err != nil || len(list) != 30 {
			t.Fatalf("damage %d: %d identities, %v", i, len(list), err)
		}
		// What opened can be written to and is whole afterwards.
		if _, err := k.ImportPEM(pemOf(t, ca, "new@example.com"), ""); err != nil {
			t.Fatalf("damage %d: %v", i, err)
		}
		if err := k.Check(); err != nil {
			t.Fatalf("damage %d: after writing: %v", i, err)
		}
		k.Close()
	}
	if errorsSeen < flips/4 || reads == 0 {
		t.Errorf("%d errors and %d good reads: the damage does not reach what it should", errorsSeen, reads)
	}
	t.Logf("%d errors, %d good reads", errorsSeen, reads)
}

// TestCutUnderOurFeet shortens the file while it is mapped, which is a fault at the next read of it.
func TestCutUnderOurFeet(t *testing.T) {
	k, path := newKeyring(t)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.List(); !errors.Is(err, ErrDamaged) {
		t.Errorf("list: %v", err)
	}
	if err := k.SetPassphrase(secret); !errors.Is(err, ErrDamaged) {
		t.Errorf("write: %v", err)
	}
}

// FuzzRecords holds that no stored bytes make the reading of a record panic.
func FuzzRecords(f *testing.F) {
	rec := sealMaster(make([]byte, keySize), secret, cheap().Argon2)
	for _, v := range []any{rec, identityRecord{Certificate: []byte{1}, Chain: [][]byte{{2}}, Sealed: []byte{3}}} {
		f.Add(marshalRecord(f, v))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		data := withChecksum(text)
		if rec, err := parseMaster(data); err == nil {
			if err := rec.check(); err != nil {
				t.Fatal(err)
			}
		}
		if rec, err := parseIdentity(sum(data), data); err == nil {
			_, _ = rec.info()
			_, _ = rec.open(make([]byte, keySize))
		}
	})
}

// TestPagesOfBbolt holds that the verification accepts whatever bbolt writes.
func TestPagesOfBbolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 512, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		grows := round%100 < 50
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte{byte(round % 3)})
			if err != nil {
				return err
			}
			for range 20 {
				key := fmt.Appendf(nil, "key %0*d", 1+random.IntN(60), random.IntN(300))
				if grows == (random.IntN(4) > 0) {
					err = errors.Join(err, b.Put(key, make([]byte, random.IntN(200))))
				} else if c := b.Cursor(); true {
					if k, _ := c.Seek(key); k != nil {
						err = errors.Join(err, c.Delete())
					}
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifyBolt(data); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// FuzzPages holds that what the verification accepts, bbolt reads and writes without harm.
func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), FileName)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 512})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			_, err = b.CreateBucketIfNotExists([]byte("inline"))
			return errors.Join(err, b.Put(fmt.Appendf(nil, "key%d", i), bytes.Repeat([]byte("v"), 300*i)))
		}); err != nil {
			f.Fatal(err)
		}
	}
	db.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := verifyBolt(data); err != nil {
		f.Fatalf("a good file of %d bytes: %v", len(data), err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		data = withHeadChecksums(data)
		if verifyBolt(data) != nil {
			return
		}
		path := filepath.Join(t.TempDir(), FileName)
		overwrite(t, path, data)
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			_, err := tx.WriteTo(io.Discard)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}
