package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

var keysNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// ownInfo makes the public half of an identity.
func ownInfo(t *testing.T, ca *testca.CA, o testca.Options) keyring.Info {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o.Key, o.Now = key, keysNow
	leaf, err := ca.Leaf(o)
	if err != nil {
		t.Fatal(err)
	}
	return keyring.Info{Fingerprint: sha256.Sum256(leaf.Certificate.Raw), Certificate: leaf.Certificate}
}

// TestChoose is the table of which identity signs.
func TestChoose(t *testing.T) {
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	list := []keyring.Info{
		0: ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-300 * day), NotAfter: keysNow.Add(day)}),
		1: ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-10 * day), NotAfter: keysNow.Add(300 * day)}),
		2: ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-5 * day), NotAfter: keysNow.Add(-day)}),
		3: ownInfo(t, ca, testca.Options{Addresses: []string{"sales@example.com"}, NotBefore: keysNow.Add(-5 * day), NotAfter: keysNow.Add(day)}),
		4: ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-day), NotAfter: keysNow.Add(day), KeyUsage: x509.KeyUsageKeyAgreement}),
	}
	of := func(i int) keyring.Preferences {
		if i < 0 {
			return keyring.Preferences{}
		}
		return keyring.Preferences{Identity: list[i].Fingerprint}
	}
	for name, tt := range map[string]struct {
		from          string
		own, standard int // indexes of what was chosen; -1 is nothing
		want          int
	}{
		"the newest that is valid and signs":     {"alice@example.com", -1, -1, 1},
		"nobody":                                 {"bob@example.com", -1, -1, -1},
		"the choice for the address":             {"alice@example.com", 0, 1, 0},
		"the choice names another address":       {"alice@example.com", 3, -1, 3},
		"the choice has expired":                 {"alice@example.com", 2, -1, 1},
		"the choice is not for signing":          {"alice@example.com", 4, -1, 1},
		"the default names the address":          {"alice@example.com", -1, 0, 0},
		"the default names another address":      {"alice@example.com", -1, 3, 1},
		"the default when there is no other":     {"bob@example.com", -1, 3, 3},
		"an expired default, when no other":      {"bob@example.com", -1, 2, -1},
		"no From address":                        {"", -1, -1, -1},
		"no From address, and a default":         {"", -1, 3, 3},
		"case and suffix are not the address":    {"alice@example.com.evil.example", -1, -1, -1},
		"the choice for one is not that for all": {"sales@example.com", 0, -1, 0},
	} {
		preferences := map[mailaddr.Address]keyring.Preferences{"": of(tt.standard)}
		var from []mailaddr.Address
		if tt.from != "" {
			from = []mailaddr.Address{mailaddr.Address(tt.from)}
			preferences[from[0]] = of(tt.own)
		}
		if got := choose(list, preferences, from, keysNow); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}

	warnings := strings.Join(expiryWarnings(list, keysNow), "\n")
	if strings.Contains(warnings, "alice@") || !strings.Contains(warnings, "sales@example.com expires in 1 days") {
		t.Errorf("warnings: %s", warnings)
	}
	if warnings := expiryWarnings(list[2:3], keysNow); len(warnings) != 1 || !strings.Contains(warnings[0], "expired on 2026-05-31") {
		t.Errorf("warnings: %q", warnings)
	}
}

// TestOpenByConfiguration holds when the passphrase of the configuration is tried, and how often.
func TestOpenByConfiguration(t *testing.T) {
	ring, err := keyring.Open(filepath.Join(t.TempDir(), "keys", keyring.FileName), &keyring.Options{Argon2: keyring.Argon2{Time: 1, Memory: 8, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	passphrase, asked, fails := "the right one", 0, false
	keys := &Keys{Keyring: ring, Now: time.Now, UnlockFor: time.Hour, Log: slog.New(slog.DiscardHandler), Passphrase: func() (string, error) {
		asked++
		if fails {
			return "", errors.New("no such file")
		}
		return passphrase, nil
	}}
	open := func(want error, wantAsked int) {
		t.Helper()
		if _, err := keys.unlocked(t.Context()); !errors.Is(err, want) || asked != wantAsked {
			t.Errorf("got %v after %d questions; want %v after %d", err, asked, want, wantAsked)
		}
	}
	open(keyring.ErrNoPassphrase, 1)
	if err := ring.SetPassphrase([]byte("the right one")); err != nil {
		t.Fatal(err)
	}
	open(nil, 2)
	open(nil, 2) // it is open
	if _, until := ring.Unlocked(); time.Until(until) > time.Hour {
		t.Errorf("open until %v", until)
	}
	service := Keyring{Keys: keys}
	if err := service.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(keyring.ErrLocked, 2) // somebody locked it
	if err := service.Unlock(t.Context(), []byte("the right one"), 0); err != nil {
		t.Fatal(err)
	}
	open(nil, 2)
	ring.Lock() // its time is over
	fails = true
	open(keyring.ErrLocked, 3)
	fails = false
	open(nil, 4)
	ring.Lock()
	passphrase = "wrong"
	open(keyring.ErrLocked, 5)
	open(keyring.ErrLocked, 5) // a wrong one is tried once
	warned := func(want string) {
		t.Helper()
		s, err := service.Status(t.Context())
		if text := strings.Join(s.Warnings, "\n"); err != nil || !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("warnings %q, %v; want %q", text, err, want)
		}
	}
	warned("is not that of the keyring")
	fails = true
	warned("cannot be used: no such file")
	fails, passphrase = false, "the right one"
	keys.manual(true)
	open(nil, 8)
	warned("")
}

// TestTwoKeys holds that a mail signed with a certificate for signing only names the one to encrypt to.
func TestTwoKeys(t *testing.T) {
	ring, err := keyring.Open(filepath.Join(t.TempDir(), "keys", keyring.FileName), &keyring.Options{Argon2: keyring.Argon2{Time: 1, Memory: 8, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	if err := errors.Join(ring.SetPassphrase([]byte("a passphrase")), ring.Unlock(t.Context(), []byte("a passphrase"), time.Hour)); err != nil {
		t.Fatal(err)
	}
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	certs := map[x509.KeyUsage]*x509.Certificate{}
	for _, usage := range []x509.KeyUsage{x509.KeyUsageDigitalSignature, x509.KeyUsageKeyEncipherment} {
		leaf, err := ca.Leaf(testca.Options{Addresses: []string{"alice@example.com"}, KeyUsage: usage})
		if err != nil {
			t.Fatal(err)
		}
		text, err := leaf.KeyPEM()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.ImportPEM(append(text, testca.CertificatePEM(leaf.Certificate)...), ""); err != nil {
			t.Fatal(err)
		}
		certs[usage] = leaf.Certificate
	}
	s := Signer{Keys: &Keys{Keyring: ring, Now: time.Now}, Now: time.Now}
	got, err := s.choose(t.Context(), "", []mailaddr.Address{"alice@example.com"})
	if err != nil || !got.Certificate.Equal(certs[x509.KeyUsageDigitalSignature]) || !got.Encryption.Equal(certs[x509.KeyUsageKeyEncipherment]) {
		t.Errorf("signs with %v, encryption %v, %v", got.Certificate, got.Encryption, err)
	}
}
