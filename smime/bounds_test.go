package smime

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// counting is a Judge that counts how often it is asked.
type counting struct {
	trust.Policy
	asked int
}

func (c *counting) ForSigning(cert *x509.Certificate, q trust.Question) []trust.Finding {
	c.asked++
	return c.Policy.ForSigning(cert, q)
}

// crowded is a signed message with many signers, each of whom may be any of several certificates with the same key, issuer and
// serial number.
func crowded(t *testing.T, first int64) []byte {
	t.Helper()
	id := crowd()[alice]
	var certs []*x509.Certificate
	for i := range 8 {
		template := &x509.Certificate{SerialNumber: big.NewInt(first), Subject: pkix.Name{CommonName: fmt.Sprint(i)}, EmailAddresses: []string{string(alice)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, crowdRoot(), id.Certificate.PublicKey, crowdAuthority().Key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	signers := make([]cms.SigningKey, 8)
	for i := range signers {
		signers[i] = cms.SigningKey{Certificate: certs[0], Key: id.Key.(crypto.Signer)}
	}
	return signedBy(t, signers, certs)
}

// signedBy is a small entity, signed by all of them.
func signedBy(t *testing.T, signers []cms.SigningKey, certs []*x509.Certificate) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := cms.Sign(&out, signers, &cms.SignOptions{Certificates: certs})
	if err == nil {
		_, err = io.WriteString(w, "Content-Type: text/plain\r\n\r\nhello\r\n")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestManySigners: a mail that many have signed is judged to the last of them, in whatever order they stand in it.
func TestManySigners(t *testing.T) {
	var signers []cms.SigningKey
	var certs []*x509.Certificate
	for i := range 20 {
		leaf, err := crowdAuthority().Leaf(testca.Options{Addresses: []string{fmt.Sprintf("person%d@corp.example", i)}, Key: crowd()[alice].Key.(crypto.Signer)})
		if err != nil {
			t.Fatal(err)
		}
		signers, certs = append(signers, cms.SigningKey{Certificate: leaf.Certificate, Key: leaf.Key}), append(certs, leaf.Certificate)
	}
	message := signedBy(t, signers, certs)
	for i := range signers {
		from := fmt.Sprintf("person%d@corp.example", i)
		if got := verifyString(t, opaqueMail(from, message), &VerifyOptions{Policy: trusting(crowdRoot())}); got.Verdict != Valid {
			t.Errorf("from %s: %s %q", from, got.Verdict, got.Reasons)
		}
	}
}

// TestVerifyIsBounded: a mail can have signatures, certificates and parts without end, and a chain may take long to look for.
func TestVerifyIsBounded(t *testing.T) {
	mail := "From: alice@corp.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	for i := range 6 {
		_, part, _ := strings.Cut(opaqueMail("alice@corp.example", crowded(t, int64(i+1))), "\r\n")
		mail += "--b\r\n" + part + "\r\n"
	}
	judge := &counting{Policy: *trusting(crowdRoot())}
	got := verifyString(t, mail+"--b--\r\n", &VerifyOptions{Policy: judge})
	if judge.asked != maxJudged || got.Verdict != Partial || len(got.Parts) != 6 {
		t.Fatalf("asked %d times about %d parts: %s %q", judge.asked, len(got.Parts), got.Verdict, got.Reasons)
	}
	if first, last := got.Parts[0].Verification, got.Parts[5].Verification; first.Verdict != Valid || last.Verdict != Untrusted || !strings.Contains(strings.Join(last.Layers[0].Signatures[0].Reasons, " "), "not examined") {
		t.Errorf("the first part is %s, the last %s: %+v", first.Verdict, last.Verdict, last.Layers)
	}

	mail = "From: alice@corp.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	for range maxMessages + 1 {
		_, part, _ := strings.Cut(compressedMail(t, "From: alice@corp.example\r\n", "Content-Type: text/plain\r\n\r\nhello\r\n"), "\r\n")
		mail += "--b\r\n" + part + "\r\n"
	}
	if got := verifyString(t, mail+"--b--\r\n", nil); !strings.Contains(strings.Join(got.Warnings, " "), "not examined") {
		t.Errorf("%d compressed parts: %q %q", maxMessages+1, got.Reasons, got.Warnings)
	}
}
