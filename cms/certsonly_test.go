package cms

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestMarshalCertificates holds that we and openssl read what is made.
func TestMarshalCertificates(t *testing.T) {
	var certs []*x509.Certificate
	for _, name := range []string{"One CA", "Another CA"} {
		ca, err := testca.New(name)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, ca.Certificate)
	}
	der := MarshalCertificates(certs)
	set, err := ParseCertificates(der)
	if err != nil || len(set.Certificates) != 2 {
		t.Fatalf("%d certificates, %v", len(set.Certificates), err)
	}
	for _, c := range certs {
		if !bytes.Equal(set.Certificates[0], c.Raw) && !bytes.Equal(set.Certificates[1], c.Raw) {
			t.Error("a certificate is missing")
		}
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have openssl")
		}
		t.Skip("openssl is not installed")
	}
	path := filepath.Join(t.TempDir(), "certs.p7c")
	if err := os.WriteFile(path, der, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openssl", "pkcs7", "-inform", "DER", "-in", path, "-print_certs", "-noout").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("One CA")) || !bytes.Contains(out, []byte("Another CA")) {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}
