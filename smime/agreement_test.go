package smime

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// exponent is a key whose certificate says another public exponent.
type exponent struct {
	*rsa.PrivateKey
	e int
}

func (k exponent) Public() crypto.PublicKey { return &rsa.PublicKey{N: k.N, E: k.e} }

// What trust lets pass, cms must be able to encrypt to: else a mail program shows a lock that does not close.
func TestTrustAndCMSAgree(t *testing.T) {
	ca, err := testca.New("Root")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	policy := &trust.Policy{Anchors: pool, AnchorCount: 1}
	made := map[string]func() (crypto.Signer, error){
		"RSA 1024": func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 1024) },
		"RSA 2048": func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		"RSA 3072": func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) },
		"P-224":    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P224(), rand.Reader) },
		"P-256":    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"P-384":    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		"P-521":    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
		"Ed25519":  func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err },
	}
	for _, e := range []int{2, 3, 4, 1<<31 - 1, 1<<31 + 1, 1<<40 + 1} {
		made[fmt.Sprintf("RSA 2048, exponent %d", e)] = func() (crypto.Signer, error) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			return exponent{key, e}, err
		}
	}
	usable := 0
	for name, make := range made {
		key, err := make()
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.KeyUsage{x509.KeyUsageKeyEncipherment, x509.KeyUsageKeyAgreement, x509.KeyUsageDigitalSignature} {
			leaf, err := ca.Leaf(testca.Options{Addresses: []string{string(alice)}, Key: key, KeyUsage: usage})
			if err != nil {
				t.Fatal(err)
			}
			found := policy.ForEncryption(leaf.Certificate, trust.Question{Addresses: []mailaddr.Address{alice}, Now: time.Now()})
			if len(found) > 0 {
				continue
			}
			usable++
			if _, err := cms.Encrypt(io.Discard, []*x509.Certificate{leaf.Certificate}, nil); err != nil {
				t.Errorf("%s, usage %b: trust lets it pass, cms says %v", name, usage, err)
			}
		}
	}
	if usable != 7 {
		t.Errorf("%d certificates were usable, want 7", usable)
	}
}
