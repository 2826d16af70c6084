package exchangesim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// today is a day within the validity of usable certificates.
var today = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// verdicts of one certificate on today.
type verdict struct {
	inTime, trusted, encrypts, names bool
}

func judge(t *testing.T, s *Server, cert *x509.Certificate, address string) verdict {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.SMIMECA())
	at := cert.NotBefore.Add(time.Hour)
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}})
	return verdict{
		inTime:   !today.Before(cert.NotBefore) && !today.After(cert.NotAfter),
		trusted:  err == nil,
		encrypts: cert.KeyUsage&(x509.KeyUsageKeyEncipherment|x509.KeyUsageKeyAgreement) != 0,
		names:    slices.Contains(cert.EmailAddresses, strings.ToLower(address)),
	}
}

func TestPeopleHoldWhatTheirRecipeSays(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	usable := verdict{true, true, true, true}
	for address, want := range map[string]verdict{
		Alice: usable, Bob: usable, BobElsewhere: usable, Carol: usable, SettingsForm: usable, GoodOneLast: usable, Curve: usable, CurveLong: usable,
		MixedCase: usable, NonASCII: usable, Alias: usable, WithoutDetail: usable, Partner: usable, WeakRSA: usable,
		ExpiredPerson: {false, true, true, true},
		Future:        {false, true, true, true},
		Signer:        {true, true, false, true},
		WrongAddress:  {true, true, true, false},
		Untrusted:     {true, false, true, true},
	} {
		cert, key, err := s.Identity(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := judge(t, s, cert, address); got != want {
			t.Errorf("%s: %+v, want %+v", address, got, want)
		}
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
			t.Errorf("%s: the key is not that of the certificate", address)
		}
	}
	for _, address := range []string{NoCertificate, GarbageValues, SharedMailbox, Team, Nobody} {
		if cert, _, err := s.Identity(address); err == nil {
			t.Errorf("%s has the certificate %v", address, cert.Subject)
		}
	}
	size := func(address string) any {
		cert, _, err := s.Identity(address)
		if err != nil {
			t.Fatal(err)
		}
		switch key := cert.PublicKey.(type) {
		case *rsa.PublicKey:
			return key.N.BitLen()
		case *ecdsa.PublicKey:
			return key.Params().Name
		}
		return nil
	}
	for address, want := range map[string]any{Alice: 2048, WeakRSA: 1024, Curve: "P-256", CurveLong: "P-384"} {
		if got := size(address); got != want {
			t.Errorf("%s has a key %v, want %v", address, got, want)
		}
	}
}

// values returns what the directory shows for an address.
func values(t *testing.T, s *Server, address string) *certificates {
	t.Helper()
	e, ok := s.dir.lookup(address)
	if !ok {
		t.Fatalf("no %s", address)
	}
	c, err := s.dir.certificates(e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSeveralValuesAndRenewal(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	several := values(t, s, GoodOneLast)
	want := []verdict{{false, true, true, true}, {true, true, false, true}, {true, true, true, true}}
	if len(several.smime) != len(want) {
		t.Fatalf("%d values", len(several.smime))
	}
	for i, der := range several.smime {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got := judge(t, s, cert, GoodOneLast); got != want[i] {
			t.Errorf("value %d: %+v, want %+v", i, got, want[i])
		}
	}
	old, err := x509.ParseCertificate(values(t, s, Carol).exchange[0])
	if err != nil {
		t.Fatal(err)
	}
	current, _, err := s.Identity(Carol)
	if err != nil {
		t.Fatal(err)
	}
	if !old.NotAfter.Before(today) || old.SerialNumber.Cmp(current.SerialNumber) == 0 || !bytes.Contains(values(t, s, Carol).smime[0], current.Raw) {
		t.Errorf("the renewal: old until %v, serial numbers %v and %v", old.NotAfter, old.SerialNumber, current.SerialNumber)
	}
	for _, v := range slices.Concat(values(t, s, GarbageValues).smime, values(t, s, GarbageValues).exchange) {
		if _, err := x509.ParseCertificate(v); err == nil {
			t.Error("garbage parses")
		}
	}
}

func TestSettingsValue(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := s.Identity(SettingsForm)
	if err != nil {
		t.Fatal(err)
	}
	b := values(t, s, SettingsForm).smime[0]
	found := map[uint16][]byte{}
	for len(b) > 0 {
		length := int(binary.LittleEndian.Uint16(b[2:]))
		found[binary.LittleEndian.Uint16(b)], b = b[4:length], b[length:]
	}
	if !bytes.Equal(found[tagKeyExchangeCertificate], cert.Raw) || !bytes.Equal(found[tagChainCertificate], s.SMIMECA().Raw) || found[tagUnknown] == nil {
		t.Errorf("settings %v", found)
	}
}

// TestSignedDataValue lets openssl verify what Outlook would have published, with an RSA and with an EC key.
func TestSignedDataValue(t *testing.T) {
	openssl := program(t, "openssl")
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := s.Identity(Curve)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := signedDataValue(cert, s.SMIMECA(), key)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string][]byte{"rsa": values(t, s, Alice).smime[0], "ec": curve} {
		folder := t.TempDir()
		for file, data := range map[string][]byte{"value.der": value, "ca.pem": testca.CertificatePEM(s.SMIMECA())} {
			if err := os.WriteFile(filepath.Join(folder, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), openssl, "cms", "-verify", "-inform", "DER", "-in", "value.der", "-CAfile", "ca.pem", "-purpose", "smimesign", "-out", "content")
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, "content"))
		if err != nil || string(content) != published {
			t.Errorf("%s: content %q, %v", name, content, err)
		}
	}
	again, err := signedDataValue(cert, s.SMIMECA(), key)
	if err != nil || !bytes.Equal(again, curve) {
		t.Error("the value is another one the second time")
	}
}

// TestEveryRecipeOfManyPeople makes the certificates of a whole directory once.
func TestEveryRecipeOfManyPeople(t *testing.T) {
	s, err := New(Options{Entries: 1500, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]string{}
	for _, p := range s.Directory().People() {
		c := values(t, s, p.Primary)
		if c.own == nil || p.Recipe == SomeoneElse {
			continue
		}
		cert, err := x509.ParseCertificate(c.own)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := serials[cert.SerialNumber.String()]; taken {
			t.Errorf("%s and %s have one serial number", p.Primary, other)
		}
		serials[cert.SerialNumber.String()] = p.Primary
		if got := judge(t, s, cert, p.Primary); p.Recipe == Usable && got != (verdict{true, true, true, true}) {
			t.Errorf("%s: %+v", p.Primary, got)
		}
	}
}
