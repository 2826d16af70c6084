package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
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

// anchored is a policy that trusts an authority, and knows one certificate to be revoked.
func anchored(ca *testca.CA, revoked *x509.Certificate) *trust.Policy {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return &trust.Policy{Anchors: pool, AnchorCount: 1, Revocations: knownRevoked{revoked}}
}

// knownRevoked is a trust.Revocations.
type knownRevoked struct{ cert *x509.Certificate }

func (k knownRevoked) Revocation(cert, _ *x509.Certificate, _ time.Time) trust.Revocation {
	if cert.Equal(k.cert) {
		return trust.Revocation{Status: trust.StatusRevoked, Since: keysNow.AddDate(0, 0, -2)}
	}
	return trust.Revocation{Status: trust.StatusUnknown, Reason: "nobody asked"}
}

func (knownRevoked) Generation() uint64 { return 1 }

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
		5: ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-time.Hour), NotAfter: keysNow.Add(day)}),
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
		"the choice was revoked":                 {"alice@example.com", 5, -1, 1},
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
		keys := &Keys{Now: func() time.Time { return keysNow }, Policy: anchored(ca, list[5].Certificate)}
		if got := keys.choose(list, preferences, from); got != tt.want {
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

	// At the start, before anybody needs a key.
	ring.Lock()
	keys.Probe(t.Context())
	warned("")
	passphrase = "wrong"
	keys.Probe(t.Context())
	if unlocked, _ := ring.Unlocked(); unlocked {
		t.Error("it is open")
	}
	warned("is not that of the keyring")
	n := asked
	keys.Probe(t.Context())
	open(keyring.ErrLocked, n)
}

// openRing is an open keyring with identities of alice@example.com.
func openRing(t *testing.T, ca *testca.CA, options ...testca.Options) (ring *keyring.Keyring, certs []*x509.Certificate) {
	t.Helper()
	ring, err := keyring.Open(filepath.Join(t.TempDir(), "keys", keyring.FileName), &keyring.Options{Argon2: keyring.Argon2{Time: 1, Memory: 8, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	if err := errors.Join(ring.SetPassphrase([]byte("a passphrase")), ring.Unlock(t.Context(), []byte("a passphrase"), time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		o.Addresses = []string{"alice@example.com"}
		leaf, err := ca.Leaf(o)
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
		certs = append(certs, leaf.Certificate)
	}
	return ring, certs
}

func newTestCA(t *testing.T) *testca.CA {
	t.Helper()
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestTwoKeys holds that a mail signed with a certificate for signing only names the one to encrypt to.
func TestTwoKeys(t *testing.T) {
	ring, certs := openRing(t, newTestCA(t), testca.Options{KeyUsage: x509.KeyUsageDigitalSignature}, testca.Options{KeyUsage: x509.KeyUsageKeyEncipherment})
	s := Signer{Keys: &Keys{Keyring: ring, Now: time.Now}, Now: time.Now}
	got, err := s.choose(t.Context(), "", []mailaddr.Address{"alice@example.com"})
	if err != nil || !got.Certificate.Equal(certs[0]) || !got.Encryption.Equal(certs[1]) {
		t.Errorf("signs with %v, encryption %v, %v", got.Certificate, got.Encryption, err)
	}
}

// TestSpentIdentity holds that what readers would refuse signs nothing, also when it is named, and that nothing is encrypted
// to an own certificate that was revoked.
func TestSpentIdentity(t *testing.T) {
	from := []mailaddr.Address{"alice@example.com"}
	for name, tt := range map[string]struct {
		options testca.Options
		revoked bool
		want    string
	}{
		"expired":       {testca.Options{NotBefore: keysNow.AddDate(-1, 0, 0), NotAfter: keysNow.AddDate(0, 0, -3)}, false, "expired 3 days ago"},
		"not yet valid": {testca.Options{NotBefore: keysNow.AddDate(0, 0, 2), NotAfter: keysNow.AddDate(1, 0, 0)}, false, "valid from 2026-06-03"},
		"revoked":       {testca.Options{Now: keysNow}, true, "revoked on 2026-05-30"},
		"not to sign":   {testca.Options{Now: keysNow, KeyUsage: x509.KeyUsageKeyEncipherment}, false, "not for signing"},
	} {
		ca := newTestCA(t)
		ring, certs := openRing(t, ca, tt.options)
		keys := &Keys{Keyring: ring, Now: func() time.Time { return keysNow }}
		if tt.revoked {
			keys.Policy = anchored(ca, certs[0])
		}
		s := Signer{Keys: keys, Now: keys.Now}
		for _, fingerprint := range []string{"", fmt.Sprintf("%X", sha256.Sum256(certs[0].Raw))} {
			_, err := s.choose(t.Context(), fingerprint, from)
			problem, _ := errors.AsType[*service.Problem](err)
			if problem == nil || problem.Code != service.CodeNoSigningKey || !strings.Contains(problem.Detail, tt.want) {
				t.Errorf("%s, named %q: %v", name, fingerprint, err)
			}
		}
		if self, err := s.ownCertificates(from); err != nil || len(self) > 0 != (name == "not to sign") {
			t.Errorf("%s: encrypts to %v, %v", name, self, err)
		}
		if own, err := keys.unlocked(t.Context()); err != nil || len(own) != 1 {
			t.Errorf("%s: opens old mail with %d keys, %v", name, len(own), err)
		}
	}
}

// TestSelfMadeIdentity: what openssl req -x509 makes, marked as an authority, signs for its owner.
func TestSelfMadeIdentity(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: keysNow.Add(-time.Hour), NotAfter: keysNow.Add(time.Hour),
		EmailAddresses: []string{"alice@example.com"}, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keys := &Keys{Now: func() time.Time { return keysNow }}
	list := []keyring.Info{{Fingerprint: sha256.Sum256(der), Certificate: cert}}
	from := []mailaddr.Address{"alice@example.com"}
	if i := keys.choose(list, nil, from); i != 0 || !cert.IsCA {
		t.Errorf("chosen: %d, obstacles %q", i, keys.obstacles(&list[0]))
	}
	ca, err := testca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, ownInfo(t, ca, testca.Options{Addresses: []string{"alice@example.com"}, NotBefore: keysNow.Add(-100 * time.Hour), NotAfter: keysNow.Add(time.Hour)}))
	if i := keys.choose(list, nil, from); i != 1 {
		t.Errorf("%d is chosen before one that readers take for a person's", i)
	}
	chosen := map[mailaddr.Address]keyring.Preferences{from[0]: {Identity: list[0].Fingerprint}}
	if i := keys.choose(list, chosen, from); i != 0 {
		t.Errorf("%d is chosen, not the one that its owner chose", i)
	}
}
