package keyring

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// leafOf makes a certificate of some addresses.
func leafOf(t testing.TB, ca *testca.CA, addresses ...string) *x509.Certificate {
	t.Helper()
	leaf, err := ca.Leaf(testca.Options{Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate
}

func TestInstalledLife(t *testing.T) {
	k, path := newKeyring(t) // locked all the time
	ca := newCA(t)
	cert := leafOf(t, ca, "bob@example.org", "robert@example.org")
	print := sha256.Sum256(cert.Raw)
	in := Installation{Certificate: cert, Addresses: []mailaddr.Address{"bob@example.org"}, How: HowMail, From: "Bob <bob@example.org>\x1b[2J"}
	first, err := k.Install(in)
	if err != nil || !first.New || first.Changed || len(first.Chain) != 0 {
		t.Fatalf("install: %+v, %v", first, err)
	}
	if strings.ContainsRune(first.From, 0x1b) {
		t.Errorf("control characters are kept: %q", first.From)
	}
	version := k.Version()
	if again, err := k.Install(in); err != nil || again.New || again.Changed || k.Version() != version {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	in.Chain, in.Addresses, in.How, in.Trust = []*x509.Certificate{ca.Certificate}, []mailaddr.Address{"robert@example.org"}, HowFile, true
	more, err := k.Install(in)
	if err != nil || more.New || !more.Changed || len(more.Chain) != 1 || len(more.Addresses) != 2 || more.How != HowMail {
		t.Errorf("more about it: %+v, %v", more, err)
	}
	if there, trusted := more.For("robert@example.org"); !there || !trusted {
		t.Error("the second address is not trusted")
	}
	if there, trusted := more.For("bob@example.org"); !there || trusted {
		t.Error("the trust for one address is counted for the other")
	}
	if there, _ := more.For("bob@example.org.evil.example"); there {
		t.Error("another address is installed")
	}

	if _, err := k.Trust(print, "carol@example.org"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("trust for an address it is not installed for: %v", err)
	}
	if _, err := k.Trust(sha256.Sum256(nil)); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("trust in what is not there: %v", err)
	}
	if got, err := k.Trust(print); err != nil || got.Addresses[0].Trusted.IsZero() || got.Addresses[1].Trusted.IsZero() {
		t.Errorf("trust for all: %+v, %v", got, err)
	}
	if got, err := k.Untrust(print, "robert@example.org"); err != nil || got.Addresses[0].Trusted.IsZero() || !got.Addresses[1].Trusted.IsZero() {
		t.Errorf("untrust one: %+v, %v", got, err)
	}

	newer, err := ca.Leaf(testca.Options{Addresses: []string{"bob@example.org"}, NotBefore: cert.NotBefore.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Install(Installation{Certificate: newer.Certificate, Addresses: []mailaddr.Address{"bob@example.org"}, How: HowFile}); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k = reopen(t, path)
	list, err := k.InstalledFor("bob@example.org")
	if err != nil || len(list) != 2 || !list[0].Certificate.Equal(newer.Certificate) || !list[1].Chain[0].Equal(ca.Certificate) {
		t.Fatalf("after opening again: %d, %v", len(list), err)
	}
	if all, err := k.Installed(); err != nil || len(all) != 2 {
		t.Errorf("all: %d, %v", len(all), err)
	}
	if one, err := k.InstalledCertificate(print); err != nil || !one.Certificate.Equal(cert) {
		t.Errorf("one: %+v, %v", one, err)
	}

	if err := k.Choose("bob@example.org", print); err != nil {
		t.Fatal(err)
	}
	if stored, err := k.Learn(Capabilities{Certificate: print, Raw: []byte{0x30, 0}, Signed: time.Now()}, false); err != nil || !stored {
		t.Fatalf("learn: %v, %v", stored, err)
	}
	if gone, err := k.Uninstall(print); err != nil || !gone.Certificate.Equal(cert) {
		t.Errorf("uninstall: %v", err)
	}
	if _, err := k.Uninstall(print); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("uninstall again: %v", err)
	}
	if list, err := k.InstalledFor("bob@example.org"); err != nil || len(list) != 1 {
		t.Errorf("after removal: %d, %v", len(list), err)
	}
	if _, ok, err := k.Choice("bob@example.org"); ok || err != nil {
		t.Errorf("the choice of a removed certificate stays: %v", err)
	}
	if _, ok, err := k.Capabilities(print); ok || err != nil {
		t.Errorf("the capabilities of a removed certificate stay: %v", err)
	}
	if err := k.Check(); err != nil {
		t.Error(err)
	}
}

func TestInstallRefuses(t *testing.T) {
	k, _ := newKeyring(t)
	cert := leafOf(t, newCA(t), "bob@example.org")
	good := Installation{Certificate: cert, Addresses: []mailaddr.Address{"bob@example.org"}, How: HowFile}
	for name, change := range map[string]func(*Installation){
		"no certificate":    func(in *Installation) { in.Certificate = nil },
		"huge certificate":  func(in *Installation) { in.Certificate = &x509.Certificate{Raw: make([]byte, maxCertificate+1)} },
		"no address":        func(in *Installation) { in.Addresses = nil },
		"no canonical form": func(in *Installation) { in.Addresses = []mailaddr.Address{"Bob@example.org"} },
		"no address at all": func(in *Installation) { in.Addresses = []mailaddr.Address{"bob"} },
		"no way":            func(in *Installation) { in.How = "" },
		"long chain":        func(in *Installation) { in.Chain = make([]*x509.Certificate, maxChain+1) },
	} {
		in := good
		change(&in)
		if _, err := k.Install(in); err == nil {
			t.Errorf("%s was installed", name)
		}
	}
	if list, err := k.Installed(); err != nil || len(list) != 0 {
		t.Errorf("%d are installed, %v", len(list), err)
	}
}

func TestIssuersAndChoices(t *testing.T) {
	k, path := newKeyring(t)
	ca := newCA(t)
	if _, err := k.TrustIssuer(leafOf(t, ca, "bob@example.org"), ""); !errors.Is(err, ErrNotCA) {
		t.Errorf("a person's certificate as an issuer: %v", err)
	}
	if fresh, err := k.TrustIssuer(ca.Certificate, "ca.pem"); !fresh || err != nil {
		t.Errorf("trust: %v, %v", fresh, err)
	}
	if fresh, err := k.TrustIssuer(ca.Certificate, "other.pem"); fresh || err != nil {
		t.Errorf("trust again: %v, %v", fresh, err)
	}
	if err := k.Choose("Bob@example.org", [32]byte{1}); err == nil {
		t.Error("an address that is not canonical was chosen for")
	}
	if err := k.Choose("bob@example.org", [32]byte{1}); err != nil {
		t.Error(err)
	}
	k.Close()
	k = reopen(t, path)
	list, err := k.Issuers()
	if err != nil || len(list) != 1 || !list[0].Certificate.Equal(ca.Certificate) || list[0].From != "ca.pem" {
		t.Errorf("issuers: %+v, %v", list, err)
	}
	if got, ok, err := k.Choice("bob@example.org"); !ok || got != [32]byte{1} || err != nil {
		t.Errorf("choice: %x, %v, %v", got, ok, err)
	}
	if there, err := k.Unchoose("bob@example.org"); !there || err != nil {
		t.Errorf("unchoose: %v, %v", there, err)
	}
	if there, err := k.Unchoose("bob@example.org"); there || err != nil {
		t.Errorf("unchoose again: %v, %v", there, err)
	}
	if choices, err := k.Choices(); len(choices) != 0 || err != nil {
		t.Errorf("choices: %v, %v", choices, err)
	}
	if there, err := k.UntrustIssuer(list[0].Fingerprint); !there || err != nil {
		t.Errorf("untrust: %v, %v", there, err)
	}
	if there, err := k.UntrustIssuer(list[0].Fingerprint); there || err != nil {
		t.Errorf("untrust again: %v, %v", there, err)
	}
}

func TestPreferences(t *testing.T) {
	k, path := newKeyring(t)
	yes, no := new(bool), new(bool)
	*yes = true
	standard := Preferences{Sign: yes, ToSelf: yes, Identity: [32]byte{7}}
	own := Preferences{Sign: no, ProtectHeaders: no}
	if err := errors.Join(k.SetPreferences("", standard), k.SetPreferences("alice@example.com", own)); err != nil {
		t.Fatal(err)
	}
	if err := k.SetPreferences("Alice@example.com", own); err == nil {
		t.Error("an address that is not canonical was accepted")
	}
	k.Close()
	k = reopen(t, path)
	all, err := k.Preferences()
	if err != nil || !reflect.DeepEqual(all, map[mailaddr.Address]Preferences{"": standard, "alice@example.com": own}) {
		t.Errorf("all: %+v, %v", all, err)
	}
	for a, want := range map[mailaddr.Address]Preferences{
		"alice@example.com": {Sign: no, ToSelf: yes, ProtectHeaders: no, Identity: [32]byte{7}},
		"bob@example.com":   standard,
		"":                  standard,
	} {
		if got, err := k.PreferencesFor(a); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", a, got, err)
		}
	}
	if err := errors.Join(k.SetPreferences("", Preferences{}), k.SetPreferences("", Preferences{})); err != nil {
		t.Error(err)
	}
	if got, err := k.PreferencesFor("bob@example.com"); err != nil || got != (Preferences{}) {
		t.Errorf("without a default: %+v, %v", got, err)
	}
}

func TestCapabilities(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	opts := cheap()
	opts.Now = func() time.Time { return at }
	k, err := Open(filepath.Join(t.TempDir(), "keys", FileName), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ca := newCA(t)
	cert, other := leafOf(t, ca, "bob@example.org"), leafOf(t, ca, "bob@example.org")
	print := sha256.Sum256(cert.Raw)
	c := Capabilities{Certificate: print, Raw: []byte{0x30, 0}, Encryption: other, Signed: at.Add(-time.Hour)}
	learn := func(c Capabilities, known, want bool) {
		t.Helper()
		if got, err := k.Learn(c, known); err != nil || got != want {
			t.Errorf("learned: %v, %v", got, err)
		}
	}
	learn(c, false, false) // nobody knows the certificate
	learn(c, true, true)
	learn(c, true, false) // the same mail again
	older := c
	older.Signed, older.Raw = at.Add(-2*time.Hour), nil
	learn(older, true, false)
	future := c
	future.Signed = at.Add(2 * time.Hour)
	learn(future, true, false)
	never := c
	never.Signed = time.Time{}
	learn(never, true, false)
	newer := c
	newer.Signed, newer.Raw = at, []byte{0x30, 2, 5, 0}
	if _, err := k.Install(Installation{Certificate: cert, Addresses: []mailaddr.Address{"bob@example.org"}, How: HowMail}); err != nil {
		t.Fatal(err)
	}
	learn(newer, false, true) // installed by now
	got, ok, err := k.Capabilities(print)
	if err != nil || !ok || !bytes.Equal(got.Raw, newer.Raw) || !got.Encryption.Equal(other) || !got.Signed.Equal(at) {
		t.Errorf("got %+v, %v, %v", got, ok, err)
	}
	huge := newer
	huge.Raw, huge.Signed = make([]byte, maxCapabilities+1), at.Add(time.Minute)
	if _, err := k.Learn(huge, true); err == nil {
		t.Error("capabilities without bounds")
	}
}

// TestFull holds that a full table refuses or, where it is learned again, makes room.
func TestFull(t *testing.T) {
	k, _ := newKeyring(t)
	err := k.update("fill", func(tx *bbolt.Tx) error {
		for i := range capabilitiesTable.most {
			key := sha256.Sum256(fmt.Append(nil, i))
			rec := capabilitiesRecord{Fingerprint: key[:], Signed: time.Unix(int64(i+1), 0)}
			if err := capabilitiesTable.put(tx, key[:], rec); err != nil {
				return err
			}
		}
		for i := range preferencesTable.most {
			if err := putPreferences(tx, mailaddr.Address(fmt.Sprintf("p%d@example.com", i)), Preferences{Sign: new(bool)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := k.Learn(Capabilities{Certificate: [32]byte{1}, Signed: time.Now()}, true); !stored || err != nil {
		t.Errorf("learn: %v, %v", stored, err)
	}
	if _, ok, _ := k.Capabilities(sha256.Sum256([]byte("0"))); ok {
		t.Error("the oldest is still there")
	}
	full := new(FullError)
	if err := k.SetPreferences("new@example.com", Preferences{Sign: new(bool)}); !errors.As(err, &full) {
		t.Errorf("preferences: %v", err)
	}
	if err := k.Check(); err != nil {
		t.Error(err)
	}
}

// TestCertificatesOnly holds that the file for everyone takes certificates and no keys.
func TestCertificatesOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, InstalledFileName)
	opts := cheap()
	opts.CertificatesOnly = true
	k, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	ca := newCA(t)
	if _, err := k.Install(Installation{Certificate: leafOf(t, ca, "bob@example.org"), Addresses: []mailaddr.Address{"bob@example.org"}, How: HowAdmin}); err != nil {
		t.Error(err)
	}
	_, requestErr := k.NewRequest(RequestOptions{Addresses: []mailaddr.Address{"alice@example.com"}, Key: KeyP256})
	_, pemErr := k.ImportPEM(pemOf(t, ca, "alice@example.com"), "")
	_, pfxErr := k.Import(vectorFile(t, "testdata/rfc9216/alice.p12.pem"), "alice")
	_, certErr := k.ImportCertificates([]*x509.Certificate{ca.Certificate})
	for name, err := range map[string]error{"passphrase": k.SetPassphrase(secret), "request": requestErr, "PEM": pemErr, "PFX": pfxErr, "certificate": certErr} {
		if !errors.Is(err, ErrNoIdentities) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.Close()
	if k, err = Open(path, opts); err != nil {
		t.Fatal(err)
	}
	if list, err := k.InstalledFor("bob@example.org"); err != nil || len(list) != 1 {
		t.Errorf("after opening again: %d, %v", len(list), err)
	}
	k.Close()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, cheap()); !errors.Is(err, ErrOtherKind) {
		t.Errorf("opened as a keyring: %v", err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, opts); !errors.Is(err, ErrExposed) {
		t.Errorf("in a folder that others write to: %v", err)
	}
	keys, keysPath := newKeyring(t)
	keys.Close()
	if _, err := Open(keysPath, opts); !errors.Is(err, ErrOtherKind) {
		t.Errorf("a keyring opened for certificates only: %v", err)
	}
}
