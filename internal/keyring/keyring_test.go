package keyring

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
	"go.etcd.io/bbolt"
)

// cheap are costs that let tests run fast.
func cheap() *Options { return &Options{Argon2: Argon2{Time: 1, Memory: 8, Threads: 1}} }

var secret = []byte("correct horse")

func newKeyring(t testing.TB) (*Keyring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys", FileName)
	k := reopen(t, path)
	if err := k.SetPassphrase(secret); err != nil {
		t.Fatal(err)
	}
	return k, path
}

func reopen(t testing.TB, path string) *Keyring {
	t.Helper()
	k, err := Open(path, cheap())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func unlock(t testing.TB, k *Keyring) {
	t.Helper()
	if err := k.Unlock(t.Context(), secret, time.Hour); err != nil {
		t.Fatal(err)
	}
}

// pemOf makes a key and certificate of one address.
func pemOf(t testing.TB, ca *testca.CA, address string) []byte {
	t.Helper()
	text, err := makePEM(ca, address)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func makePEM(ca *testca.CA, address string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{address}, Key: key})
	if err != nil {
		return nil, err
	}
	text, err := leaf.KeyPEM()
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{text, testca.CertificatePEM(leaf.Certificate), testca.CertificatePEM(ca.Certificate)}, nil), nil
}

func newCA(t testing.TB) *testca.CA {
	t.Helper()
	ca, err := testca.New("Test CA")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestLifeOfAKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", FileName)
	k := reopen(t, path)
	for name, err := range map[string]error{
		"unlock before a passphrase": k.Unlock(t.Context(), secret, time.Hour),
		"empty passphrase":           k.SetPassphrase(nil),
		"long passphrase":            k.SetPassphrase(make([]byte, maxPassphrase+1)),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if has, err := k.HasPassphrase(); has || err != nil {
		t.Errorf("a new keyring has a passphrase: %v, %v", has, err)
	}
	if err := k.SetPassphrase(secret); err != nil {
		t.Fatal(err)
	}
	if err := k.SetPassphrase(secret); !errors.Is(err, ErrHasPassphrase) {
		t.Errorf("second passphrase: %v", err)
	}
	pfx := vectorFile(t, "testdata/rfc9216/alice.p12.pem")
	if _, err := k.Import(pfx, "alice"); !errors.Is(err, ErrLocked) {
		t.Errorf("import into a locked keyring: %v", err)
	}
	unlock(t, k)
	added, err := k.Import(pfx, "alice")
	if err != nil || len(added) != 2 || added[0].Updated || len(added[0].Chain) == 0 {
		t.Fatalf("import: %+v, %v", added, err)
	}
	if again, err := k.Import(pfx, "alice"); err != nil || len(again) != 2 || !again[0].Updated {
		t.Errorf("second import: %+v, %v", again, err)
	}
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "bob@example.com")); err != nil {
		t.Error(err)
	}
	if err := k.Check(); err != nil {
		t.Error(err)
	}
	k.Lock()
	if _, err := k.Identities(); !errors.Is(err, ErrLocked) {
		t.Errorf("identities of a locked keyring: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.List(); !errors.Is(err, ErrClosed) {
		t.Errorf("list after close: %v", err)
	}
	if err := k.Unlock(t.Context(), secret, time.Hour); !errors.Is(err, ErrClosed) {
		t.Errorf("unlock after close: %v", err)
	}

	k = reopen(t, path)
	list, err := k.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("list: %d, %v", len(list), err)
	}
	unlock(t, k)
	identities, err := k.Identities()
	if err != nil || len(identities) != 3 {
		t.Fatalf("identities: %d, %v", len(identities), err)
	}
	for i, id := range identities {
		if !id.Certificate.Equal(list[i].Certificate) {
			t.Error("list and identities differ in order")
		}
	}
	if err := k.Check(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, secret) || bytes.Contains(data, []byte("PRIVATE KEY")) {
		t.Error("the file holds a secret in the clear")
	}
}

func TestChangePassphrase(t *testing.T) {
	k, path := newKeyring(t)
	unlock(t, k)
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com")); err != nil {
		t.Fatal(err)
	}
	if err := k.ChangePassphrase(t.Context(), []byte("wrong"), []byte("new")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("wrong old passphrase: %v", err)
	}
	if err := k.ChangePassphrase(t.Context(), secret, nil); err == nil {
		t.Error("an empty passphrase was accepted")
	}
	if err := k.ChangePassphrase(t.Context(), secret, []byte("new")); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k = reopen(t, path)
	if err := k.Unlock(t.Context(), []byte("new"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if list, err := k.Identities(); err != nil || len(list) != 1 {
		t.Errorf("%d identities, %v", len(list), err)
	}
	if err := k.Unlock(t.Context(), secret, time.Hour); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("the old passphrase: %v", err)
	}
}

func TestUnlockEnds(t *testing.T) {
	k, path := newKeyring(t)
	for _, period := range []time.Duration{0, -1, MaxUnlock + 1} {
		if err := k.Unlock(t.Context(), secret, period); err == nil {
			t.Errorf("unlock for %v was accepted", period)
		}
	}
	k.Close()
	synctest.Test(t, func(t *testing.T) {
		k := reopen(t, path)
		unlock(t, k)
		master := masterOf(k)
		time.Sleep(time.Hour - time.Second)
		if on, until := k.Unlocked(); !on || !until.Equal(time.Now().Round(0).Add(time.Second)) {
			t.Errorf("unlocked %v until %v", on, until)
		}
		// A second Unlock counts anew, and the timer of the first does not end it.
		unlock(t, k)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if on, _ := k.Unlocked(); !on {
			t.Error("the first timer ended the second unlock")
		}
		if !wiped(k, master) {
			t.Error("the first copy of the master key was not wiped")
		}
		master = masterOf(k)
		time.Sleep(time.Hour)
		synctest.Wait()
		if !wiped(k, master) {
			t.Error("the master key was not wiped when its time was over")
		}
		if on, _ := k.Unlocked(); on {
			t.Error("still unlocked")
		}
		k.Close()
	})
	// Calendar time passes while a machine sleeps, the timer does not.
	now := time.Now()
	opts := cheap()
	opts.Now = func() time.Time { return now }
	k, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	unlock(t, k)
	now = now.Add(time.Hour)
	if _, err := k.Identities(); !errors.Is(err, ErrLocked) || k.master != nil {
		t.Errorf("after an hour of sleep: %v", err)
	}
}

func masterOf(k *Keyring) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.master
}

func wiped(k *Keyring, key []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Equal(key, make([]byte, keySize))
}

func TestWrongPassphrasesAreSlow(t *testing.T) {
	k, path := newKeyring(t)
	k.Close()
	synctest.Test(t, func(t *testing.T) {
		k := reopen(t, path)
		begin := time.Now()
		var waits []time.Duration
		for i := range 9 {
			at := time.Now()
			err := k.Unlock(t.Context(), fmt.Appendf(nil, "guess %d", i), time.Hour)
			if err != ErrWrongPassphrase {
				t.Fatalf("guess %d: %v", i, err)
			}
			waits = append(waits, time.Since(at).Round(time.Second)/time.Second)
		}
		if want := []time.Duration{0, 1, 2, 4, 8, 16, 30, 30, 30}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v; %v in all", waits, want, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Unlock(ctx, secret, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
		if err := k.Unlock(t.Context(), secret, time.Hour); err != nil {
			t.Errorf("the right one at last: %v", err)
		}
		at := time.Now()
		if err := k.Unlock(t.Context(), nil, time.Hour); err != ErrWrongPassphrase || time.Since(at) > 0 {
			t.Errorf("after the right one: %v after %v", err, time.Since(at))
		}
		k.Close()
	})
}

func TestInUse(t *testing.T) {
	_, path := newKeyring(t)
	opts := cheap()
	opts.LockTimeout = 100 * time.Millisecond
	if _, err := Open(path, opts); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestExposed(t *testing.T) {
	k, path := newKeyring(t)
	k.Close()
	dir := filepath.Dir(path)
	for _, tt := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o640}, {path, 0o604}, {path, 0o620}, {dir, 0o750}, {dir, 0o701}} {
		info, err := os.Stat(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(tt.path, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, cheap()); !errors.Is(err, ErrExposed) {
			t.Errorf("%s with mode %#o: %v", filepath.Base(tt.path), tt.mode, err)
		}
		if err := os.Chmod(tt.path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, cheap()); !errors.Is(err, ErrExposed) {
			t.Errorf("a file of another user: %v", err)
		}
		if err := os.Chown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, cheap()); err == nil {
		t.Error("a symbolic link was followed")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, ".keyring-*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

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
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("2")) })
		}, ErrNewerSchema},
		"no schema": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) })
		}, ErrDamaged},
		"schema of nonsense": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("0")) })
		}, ErrDamaged},
		"an identity is gone": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				key, _ := tx.Bucket(bucketIdentities).Cursor().First()
				return tx.Bucket(bucketIdentities).Delete(key)
			})
		}, ErrDamaged},
		"an identity under another name": {func(t *testing.T, path string) {
			rewrite(t, path, func(tx *bbolt.Tx) error {
				key, data := tx.Bucket(bucketIdentities).Cursor().First()
				data = bytes.Clone(data)
				other := bytes.Clone(key)
				other[0] ^= 1
				return errors.Join(tx.Bucket(bucketIdentities).Delete(key), tx.Bucket(bucketIdentities).Put(other, data), putSetDigest(tx))
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
	} {
		t.Run(name, func(t *testing.T) {
			k, path := newKeyring(t)
			unlock(t, k)
			if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com")); err != nil {
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
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com")); err != nil {
		t.Fatal(err)
	}
	k.Close()
	rewrite(t, path, func(tx *bbolt.Tx) error {
		key, data := tx.Bucket(bucketIdentities).Cursor().First()
		rec, err := parseIdentity(key, data)
		if err != nil {
			return err
		}
		rec.Chain = nil
		return putIdentity(tx, rec)
	})
	k = reopen(t, path)
	if _, err := k.List(); err != nil {
		t.Error(err)
	}
	unlock(t, k)
	if _, err := k.Identities(); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "bob@example.com")); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged keyring was written to: %v", err)
	}
}

// TestDamage flips bits and cuts the file, as failing disks do: every outcome is an error or all that was there.
func TestDamage(t *testing.T) {
	k, path := newKeyring(t)
	unlock(t, k)
	ca := newCA(t)
	for i := range 30 {
		if _, err := k.ImportPEM(pemOf(t, ca, fmt.Sprintf("person%d@example.com", i))); err != nil {
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
	flips, cuts, errorsSeen, reads := 400, 100, 0, 0
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
		unlock(t, k)
		if list, err := k.Identities(); err != nil || len(list) != 30 {
			t.Fatalf("damage %d: %d identities, %v", i, len(list), err)
		}
		// What opened can be written to and is whole afterwards.
		if _, err := k.ImportPEM(pemOf(t, ca, "new@example.com")); err != nil {
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

func TestArgon2Bounds(t *testing.T) {
	for _, costs := range []Argon2{{0, 64, 1}, {21, 64, 1}, {1, 7, 1}, {1, 64, 0}, {1, 64, 17}, {1, 1<<20 + 1, 1}, {1, 64, 9}} {
		if _, err := Open(filepath.Join(t.TempDir(), "k", FileName), &Options{Argon2: costs}); err == nil {
			t.Errorf("%+v was accepted", costs)
		}
	}
	if err := DefaultArgon2().check(); err != nil {
		t.Error(err)
	}
}

func TestTooManyIdentities(t *testing.T) {
	k, _ := newKeyring(t)
	unlock(t, k)
	one, err := parsePEM(pemOf(t, newCA(t), "alice@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	list := make([]Identity, maxIdentities+1)
	for i := range list {
		cert := *one[0].Certificate
		cert.Raw = append(bytes.Clone(cert.Raw), byte(i), byte(i>>8))
		list[i] = one[0]
		list[i].Certificate = &cert
	}
	if _, err := k.add("import", list); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
	if left, err := k.List(); err != nil || len(left) != 0 {
		t.Errorf("%d identities are left of a refused import, %v", len(left), err)
	}
	if _, err := k.add("import", list[:10]); err != nil {
		t.Error(err)
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
