package keyring

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/testca"
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
		"short passphrase":           k.SetPassphrase([]byte("seven77")),
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
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "bob@example.com"), ""); err != nil {
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
	if _, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com"), ""); err != nil {
		t.Fatal(err)
	}
	if err := k.ChangePassphrase(t.Context(), []byte("wrong"), []byte("the new one")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("wrong old passphrase: %v", err)
	}
	if err := k.ChangePassphrase(t.Context(), secret, nil); err == nil {
		t.Error("an empty passphrase was accepted")
	}
	if err := k.ChangePassphrase(t.Context(), secret, []byte("seven77")); !errors.Is(err, ErrShortPassphrase) {
		t.Errorf("a short new passphrase: %v", err)
	}
	if err := k.ChangePassphrase(t.Context(), secret, []byte("the new one")); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k = reopen(t, path)
	if err := k.Unlock(t.Context(), []byte("the new one"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if list, err := k.Identities(); err != nil || len(list) != 1 {
		t.Errorf("%d identities, %v", len(list), err)
	}
	if err := k.Unlock(t.Context(), secret, time.Hour); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("the old passphrase: %v", err)
	}
}

// TestShortPassphrase holds that a keyring from times when passphrases could be short still opens.
func TestShortPassphrase(t *testing.T) {
	k, _ := newKeyring(t)
	master, err := k.openMaster(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	rec := sealMaster(master, []byte("four"), k.argon2)
	if err := k.update("change passphrase", func(tx *bbolt.Tx) error { return putMaster(tx, &rec) }); err != nil {
		t.Fatal(err)
	}
	if err := k.Unlock(t.Context(), []byte("four"), time.Hour); err != nil {
		t.Errorf("the short passphrase: %v", err)
	}
	if err := k.CheckPassphrase(t.Context(), []byte("four")); err != nil {
		t.Errorf("the short passphrase once more: %v", err)
	}
	if err := k.CheckPassphrase(t.Context(), secret); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	if unlocked, _ := k.Unlocked(); !unlocked {
		t.Error("a wrong passphrase locked the keyring")
	}
}

func TestUnlockEnds(t *testing.T) {
	k, path := newKeyring(t)
	for _, period := range []time.Duration{0, -1, MaxUnlock + 1} {
		if err := k.Unlock(t.Context(), secret, period); err == nil {
			t.Errorf("unlock for %v was accepted", period)
		}
	}
	unlock(t, k)
	if _, until := k.Unlocked(); strings.Contains(until.String(), " m=") {
		t.Errorf("until %v, by a clock that stands still while the machine is suspended", until)
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
	one, err := parsePEM(pemOf(t, newCA(t), "alice@example.com"), "")
	if err != nil {
		t.Fatal(err)
	}
	list := make([]Identity, identitiesTable.most+1)
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
