package keyring

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// issue signs a request as a certification authority does.
func issue(t *testing.T, ca *testca.CA, csr *x509.CertificateRequest, serial int64) *x509.Certificate {
	t.Helper()
	if err := csr.CheckSignature(); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: csr.Subject, EmailAddresses: csr.EmailAddresses,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, csr.PublicKey, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestRequest(t *testing.T) {
	k, path := newKeyring(t)
	ask := RequestOptions{Addresses: []mailaddr.Address{"alice@example.com", "al@example.com"}}
	if _, err := k.NewRequest(ask); !errors.Is(err, ErrLocked) {
		t.Errorf("a request of a locked keyring: %v", err)
	}
	unlock(t, k)
	r, err := k.NewRequest(ask)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := r.CSR.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() != 3072 {
		t.Errorf("the key is a %T", r.CSR.PublicKey)
	}
	if r.CSR.Subject.CommonName != "alice@example.com" || len(r.CSR.EmailAddresses) != 2 {
		t.Errorf("the request is for %v, %v", r.CSR.Subject, r.CSR.EmailAddresses)
	}
	k.Close()
	k = reopen(t, path)
	if list, err := k.Requests(); err != nil || len(list) != 1 || list[0].ID != r.ID {
		t.Fatalf("requests: %d, %v", len(list), err)
	}
	ca := newCA(t)
	cert := issue(t, ca, r.CSR, 7)
	if _, err := k.ImportCertificates([]*x509.Certificate{cert}); !errors.Is(err, ErrLocked) {
		t.Errorf("import into a locked keyring: %v", err)
	}
	unlock(t, k)
	if err := k.Check(); err != nil {
		t.Error(err)
	}
	if _, err := k.ImportCertificates([]*x509.Certificate{leafOf(t, ca, "alice@example.com")}); !errors.Is(err, ErrNoKey) {
		t.Errorf("somebody else's certificate: %v", err)
	}
	got, err := k.ImportCertificates([]*x509.Certificate{ca.Certificate, cert})
	if err != nil || len(got) != 1 || !got[0].Certificate.Equal(cert) || len(got[0].Chain) != 1 {
		t.Fatalf("import: %+v, %v", got, err)
	}
	if list, err := k.Requests(); err != nil || len(list) != 0 {
		t.Errorf("the request still waits: %d, %v", len(list), err)
	}
	// The same key, certified again.
	if got, err := k.ImportCertificates([]*x509.Certificate{issue(t, ca, r.CSR, 8)}); err != nil || len(got) != 1 || got[0].Updated {
		t.Errorf("renewal: %+v, %v", got, err)
	}
	if own, err := k.Identities(); err != nil || len(own) != 2 {
		t.Errorf("identities: %d, %v", len(own), err)
	}
	if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte("PRIVATE")) {
		t.Errorf("the file has a key in the clear, or cannot be read: %v", err)
	}
}

func TestRequestKindsAndBounds(t *testing.T) {
	k, _ := newKeyring(t)
	unlock(t, k)
	for name, o := range map[string]RequestOptions{
		"no address":      {Key: KeyP256},
		"bad address":     {Addresses: []mailaddr.Address{"alice"}, Key: KeyP256},
		"not ASCII":       {Addresses: []mailaddr.Address{"jürgen@example.com"}, Key: KeyP256},
		"unknown kind":    {Addresses: []mailaddr.Address{"a@example.com"}, Key: "dsa"},
		"name of control": {Addresses: []mailaddr.Address{"a@example.com"}, Key: KeyP256, Name: "a\nb"},
	} {
		if _, err := k.NewRequest(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, kind := range []KeyKind{KeyP256, KeyP384} {
		r, err := k.NewRequest(RequestOptions{Addresses: []mailaddr.Address{"a@example.com"}, Key: kind, Name: "Änne Ö."})
		if err != nil || r.CSR.Subject.CommonName != "Änne Ö." {
			t.Errorf("%s: %v", kind, err)
		}
		if there, err := k.RemoveRequest(r.ID); !there || err != nil {
			t.Errorf("remove: %v, %v", there, err)
		}
		if there, err := k.RemoveRequest(r.ID); there || err != nil {
			t.Errorf("remove again: %v, %v", there, err)
		}
	}
}

func TestRemoveIdentity(t *testing.T) {
	k, path := newKeyring(t)
	unlock(t, k)
	infos, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com"), "")
	if err != nil {
		t.Fatal(err)
	}
	print := infos[0].Fingerprint
	err = errors.Join(k.SetPreferences("", Preferences{Identity: print}), k.SetPreferences("alice@example.com", Preferences{Identity: print, Sign: new(bool)}))
	if err != nil {
		t.Fatal(err)
	}
	k.Lock()
	if _, err := k.RemoveIdentity([32]byte{}); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("remove what is not there: %v", err)
	}
	if gone, err := k.RemoveIdentity(print); err != nil || !gone.Certificate.Equal(infos[0].Certificate) {
		t.Errorf("remove: %v", err)
	}
	k.Close()
	k = reopen(t, path)
	if list, err := k.List(); err != nil || len(list) != 0 {
		t.Errorf("%d left, %v", len(list), err)
	}
	all, err := k.Preferences()
	if err != nil || len(all) != 1 || all["alice@example.com"].Identity != [32]byte{} {
		t.Errorf("preferences: %+v, %v", all, err)
	}
}

// FuzzStore holds that no stored bytes make the reading of a record of the other tables panic, and that what is read keeps
// the bounds.
func FuzzStore(f *testing.F) {
	ca, err := testca.New("Test CA")
	if err != nil {
		f.Fatal(err)
	}
	print := sha256.Sum256(ca.Certificate.Raw)
	for _, v := range []any{
		installedRecord{Certificate: ca.Certificate.Raw, Chain: [][]byte{{1}}, Addresses: []InstalledAddress{{Address: "a@b"}}, How: HowFile},
		issuerRecord{Certificate: ca.Certificate.Raw}, choiceRecord{Address: "a@b", Fingerprint: print[:]},
		preferencesRecord{Address: "a@b", Sign: new(bool), Identity: print[:]}, capabilitiesRecord{Fingerprint: print[:], Raw: []byte{0x30, 0}},
		requestRecord{CSR: []byte{0x30, 0}, Sealed: []byte{1}},
	} {
		f.Add(marshalRecord(f, v))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		data := withChecksum(text)
		k := &Keyring{parsed: map[[32]byte]*x509.Certificate{}}
		var keys struct {
			Certificate, Fingerprint []byte
			Address                  string
		}
		_ = json.Unmarshal(text, &keys)
		for _, key := range [][]byte{sum(keys.Certificate), keys.Fingerprint, []byte(keys.Address), []byte("*"), {}} {
			if rec, err := parseInstalled(key, data); err == nil {
				if len(rec.Addresses) > maxAddresses || len(rec.Chain) > maxChain {
					t.Fatal("the bounds are not kept")
				}
				_, _ = k.installedInfo(rec, [32]byte(key))
			}
			if rec, err := parseIssuer(key, data); err == nil {
				_, _ = k.issuerInfo(rec)
			}
			if rec, err := parseChoice(key, data); err == nil && len(rec.Fingerprint) != 32 {
				t.Fatal("a choice without a fingerprint")
			}
			if rec, err := parsePreferences(key, data); err == nil && len(rec.Identity) != 0 && len(rec.Identity) != 32 {
				t.Fatal("an identity that is no fingerprint")
			}
			_, _ = parseCapabilities(key, data)
			_, _ = parseRequest(key, data)
		}
	})
}
