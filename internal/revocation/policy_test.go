package revocation_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

// TestPolicy puts both halves together: a person's certificate under an intermediate authority, each with a list of its
// own; verdicts that are remembered change as soon as the lists do.
func TestPolicy(t *testing.T) {
	w := newWorld(t, false)
	subKey, personKey := newKey(t), newKey(t)
	const subSerial = 40
	sub := w.issue(&x509.Certificate{SerialNumber: big.NewInt(subSerial), Subject: pkix.Name{CommonName: "Sub"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{4}, CRLDistributionPoints: []string{w.server.URL + "/root.crl"}}, subKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(person), Subject: pkix.Name{CommonName: "Alice"}, NotBefore: w.now.AddDate(-1, 0, 0), NotAfter: w.now.AddDate(1, 0, 0),
		EmailAddresses: []string{"alice@corp.example"}, KeyUsage: x509.KeyUsageKeyAgreement, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
	der, err := x509.CreateCertificate(rand.Reader, template, sub, personKey.Public(), subKey)
	w.check(err)
	alice, err := x509.ParseCertificate(der)
	w.check(err)

	p := &trust.Policy{Anchors: x509.NewCertPool(), AnchorCount: 1, Revocations: w.service}
	p.Anchors.AddCert(w.ca)
	verdict := func() string {
		q := trust.Question{Addresses: []mailaddr.Address{"alice@corp.example"}, Intermediates: []*x509.Certificate{sub}, Now: w.now}
		var texts []string
		for _, f := range p.ForEncryption(alice, q) {
			texts = append(texts, string(f.State)+": "+f.Reason)
		}
		return strings.Join(append(texts, p.Revocation(alice, q).Warning()), "; ")
	}
	want := func(what, text string) {
		t.Helper()
		for range 2 {
			if got := verdict(); !strings.Contains(got, text) || text == "" && got != "" {
				t.Errorf("%s: %q, want %q", what, got, text)
			}
		}
	}
	want("at first", "it is not known whether the certificate of CN=Sub, in its chain, was revoked: its CRL")
	w.run(true, revocation.Report{Fetched: 1})
	want("the root's list is there; the person's certificate names none", "")
	w.publish(2, subSerial)
	want("published, not fetched", "")
	w.run(true, revocation.Report{Fetched: 1})
	want("fetched", "revoked: issued under CN=Sub, whose own certificate was revoked on 2027-01-05 (compromise of the authority)")
	w.publish(2)
	w.run(true, revocation.Report{Fetched: 1})
	w.pass(25 * time.Hour)
	want("ended", "held until 2027-01-06 12:00 UTC")
}
