package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"
)

// TestChecksAreBounded: every signer may be anybody of several, with keys of their own.
func TestChecksAreBounded(t *testing.T) {
	var certs []*x509.Certificate
	var key *ecdsa.PrivateKey
	for range maxCandidates {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs, key = append(certs, cert), k
	}
	signers := make([]SigningKey, maxSigners)
	for i := range signers {
		signers[i] = SigningKey{Certificate: certs[len(certs)-1], Key: key}
	}
	signed, err := Verify(bytes.NewReader(signAll(t, []byte("hello"), signers, &SignOptions{Certificates: certs})), nil)
	if err != nil || len(signed.Signers) != maxSigners {
		t.Fatal(err)
	}
	for i, s := range signed.Signers {
		if examined := i < maxChecks/maxCandidates; examined != (s.Err == nil) || !examined && !errors.Is(s.Err, ErrSyntax) {
			t.Errorf("signer %d: %v", i, s.Err)
		}
	}
}

func TestSlow(t *testing.T) {
	for _, tt := range []struct {
		bits uint
		e    int
		want bool
	}{{2048, 1<<31 - 1, false}, {4096, 65539, false}, {4104, 65539, true}, {8192, 65537, false}, {8193, 3, true}} {
		if got := slow(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), tt.bits-1), E: tt.e}); got != tt.want {
			t.Errorf("%d bits, exponent %d: %v", tt.bits, tt.e, got)
		}
	}
	if slow(crypto.PublicKey(nil)) {
		t.Error("no key is slow")
	}
}
