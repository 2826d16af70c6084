package aia

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// FuzzHelpful holds that no bytes of a server panic, and that what is taken has the name and the key that were asked for.
func FuzzHelpful(f *testing.F) {
	now := time.Now()
	root, err := testca.New("Root")
	if err != nil {
		f.Fatal(err)
	}
	sub, err := root.Intermediate("Sub")
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := sub.Leaf(testca.Options{Addresses: []string{"p@corp.example"}})
	if err != nil {
		f.Fatal(err)
	}
	waiting := []waiter{{cert: leaf.Certificate}}
	f.Add(sub.Certificate.Raw)
	f.Add(root.Certificate.Raw)
	f.Add(testca.CertificatePEM(sub.Certificate))
	f.Add(cms.MarshalCertificates([]*x509.Certificate{root.Certificate, sub.Certificate}))
	f.Fuzz(func(t *testing.T, body []byte) {
		came, err := helpful(body, waiting, now)
		if (err == nil) != (len(came) > 0) {
			t.Errorf("%d came, %v", len(came), err)
		}
		for _, c := range came {
			if !bytes.Equal(c.cert.RawSubject, sub.Certificate.RawSubject) || !bytes.Equal(c.cert.RawSubjectPublicKeyInfo, sub.Certificate.RawSubjectPublicKeyInfo) {
				t.Errorf("took %s", c.cert.Subject)
			}
		}
	})
}

// FuzzRecord reads what may be in a damaged store.
func FuzzRecord(f *testing.F) {
	root, err := testca.New("Root")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(storeKey(root.Certificate), []byte(`{"certificate":"AAAA"}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if k, err := parseRecord(key, value); err == nil && !k.cert.IsCA {
			t.Error("took what is no authority")
		}
	})
}
