package trust

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPKITS judges every certificate of NIST's PKITS, while they were valid and with all of its authorities at hand. Its keys
// have 1024 bits, so whatever the suite thinks of a path, nobody may be encrypted to or be believed by it; and it has every odd
// form that a certificate can have.
func TestPKITS(t *testing.T) {
	root := os.Getenv("GALSYNCD_SMIME_VECTORS")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "smime-vectors")
	}
	files, err := filepath.Glob(filepath.Join(root, "pkits", "certs", "*.crt"))
	if err != nil || len(files) == 0 {
		t.Skip("vectors pkits are not here")
	}
	var authorities, people []*x509.Certificate
	pool := x509.NewCertPool()
	for _, file := range files {
		der, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			t.Logf("Go does not read %s: %v", filepath.Base(file), err)
		case strings.HasPrefix(filepath.Base(file), "TrustAnchorRoot"):
			pool.AddCert(cert)
		case strings.HasSuffix(file, "EE.crt"):
			people = append(people, cert)
		default:
			authorities = append(authorities, cert)
		}
	}
	policy := &Policy{Anchors: pool, AnchorCount: 1}
	for _, cert := range people {
		q := Question{Now: time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), Addresses: CertificateAddresses(cert)}
		for _, a := range authorities {
			if bytes.Equal(a.RawSubject, cert.RawIssuer) {
				q.Intermediates = append(q.Intermediates, a)
			}
		}
		for _, findings := range [][]Finding{policy.ForSigning(cert, q), policy.ForEncryption(cert, q)} {
			if !slices.ContainsFunc(findings, func(f Finding) bool { return f.State == WeakKey || f.State == Untrusted }) {
				t.Errorf("%s is believed: %+v", cert.Subject, findings)
			}
		}
	}
	if len(people) < 80 || len(authorities) < 80 {
		t.Errorf("%d people, %d authorities", len(people), len(authorities))
	}
}
