package trust_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

func TestForSigning(t *testing.T) {
	ca, other := newCA(t, "Corp Root"), newCA(t, "Other Root")
	middle, err := ca.Intermediate("Corp Issuing")
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alices := []string{string(alice)}
	for _, tc := range []struct {
		name          string
		ca            *testca.CA
		o             testca.Options
		intermediates []*x509.Certificate
		want          []string
	}{
		{name: "plain", o: testca.Options{Addresses: alices}},
		{name: "for signing only", o: testca.Options{Addresses: alices, KeyUsage: x509.KeyUsageDigitalSignature}},
		{name: "nonRepudiation", o: testca.Options{Addresses: alices, KeyUsage: x509.KeyUsageContentCommitment}},
		{name: "any extended usage", o: testca.Options{Addresses: alices, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}},
		{name: "no extended usage", o: testca.Options{Addresses: alices, ExtKeyUsage: []x509.ExtKeyUsage{}}},
		{name: "Ed25519", o: testca.Options{Addresses: alices, Key: ed, KeyUsage: x509.KeyUsageDigitalSignature}},
		{name: "through an intermediate", ca: middle, o: testca.Options{Addresses: alices}, intermediates: []*x509.Certificate{middle.Certificate}},
		{name: "intermediate missing", ca: middle, o: testca.Options{Addresses: alices},
			want: []string{"untrusted: issued by CN=Corp Issuing,O=galsyncd test, which is not among the trusted anchors"}},
		{name: "for encryption only", o: testca.Options{Addresses: alices, KeyUsage: x509.KeyUsageKeyEncipherment},
			want: []string{"wrong-usage: not for signing: its key usage lacks digitalSignature and nonRepudiation"}},
		{name: "server", o: testca.Options{Addresses: alices, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
			want: []string{"wrong-usage: not for mail: its extended key usage lacks emailProtection"}},
		{name: "weak", o: testca.Options{Addresses: alices, Key: keys().rsa1024},
			want: []string{"weak-key: an RSA key of 1024 bits; at least 2048 are needed"}},
		{name: "another person", o: testca.Options{Addresses: []string{"bob@corp.example"}},
			want: []string{"wrong-address: names bob@corp.example, not alice@corp.example"}},
		{name: "expired", o: testca.Options{Addresses: alices, NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(-1, 0, 0)},
			want: []string{"expired: expired 365 days ago (2026-01-05)"}},
		{name: "unknown issuer", ca: other, o: testca.Options{Addresses: alices},
			want: []string{"untrusted: issued by CN=Other Root,O=galsyncd test, which is not among the trusted anchors"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.ca == nil {
				tc.ca = ca
			}
			cert := issue(t, tc.ca, tc.o)
			q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: tc.intermediates}
			if diff := cmp.Diff(tc.want, reasons(policy(ca.Certificate).ForSigning(cert, q))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	leaf := selfSigned(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}
	if got := reasons(policy(leaf).ForSigning(leaf, q)); !cmp.Equal(got, []string{"wrong-usage: the certificate of a certification authority, not of a person"}) {
		t.Errorf("authority: %q", got)
	}
	p := &trust.Policy{AcceptDirectory: true}
	cert := issue(t, other, testca.Options{Addresses: alices})
	if got := p.ForSigning(cert, q); len(got) != 1 || got[0].State != trust.Untrusted {
		t.Errorf("certificate out of a mail: %q", reasons(got))
	}
	q.FromDirectory = true
	if got := p.ForSigning(cert, q); len(got) > 0 {
		t.Errorf("certificate of the directory: %q", reasons(got))
	}
	if got := policy(ca.Certificate).ForSigning(issue(t, ca, testca.Options{Addresses: alices}), trust.Question{Now: now}); len(got) != 1 || got[0].State != trust.WrongAddress {
		t.Errorf("without an address: %q", reasons(got))
	}
}

// TestSlow: keys that make every question slow vouch for nobody.
func TestSlow(t *testing.T) {
	for _, tt := range []struct {
		bits uint
		e    int
		want bool
	}{{2048, 1<<31 - 1, false}, {4096, 65539, false}, {4104, 65539, true}, {8192, 65537, false}, {8193, 3, true}} {
		key := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), tt.bits-1), big.NewInt(1)), E: tt.e}
		if got := trust.Slow(key); got != tt.want {
			t.Errorf("%d bits, exponent %d: %v", tt.bits, tt.e, got)
		}
	}
}
