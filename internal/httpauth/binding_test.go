package httpauth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestEndPointHash holds the rule of RFC 5929 section 4.1 for every algorithm that Go can name.
func TestEndPointHash(t *testing.T) {
	state := func(a x509.SignatureAlgorithm) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("leaf"), SignatureAlgorithm: a}, {Raw: []byte("issuer")}}}
	}
	h256, h384, h512 := sha256.Sum256([]byte("leaf")), sha512.Sum384([]byte("leaf")), sha512.Sum512([]byte("leaf"))
	for a := x509.UnknownSignatureAlgorithm; a <= x509.PureEd25519; a++ {
		want := ""
		switch a {
		case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.PureEd25519:
		case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
			want = "tls-server-end-point:" + string(h384[:])
		case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
			want = "tls-server-end-point:" + string(h512[:])
		default: // SHA-256, and MD5 and SHA-1
			want = "tls-server-end-point:" + string(h256[:])
		}
		if got := string(endPoint(state(a))); got != want {
			t.Errorf("%v: %q, want %q", a, got, want)
		}
	}
	if endPoint(nil) != nil || endPoint(&tls.ConnectionState{}) != nil {
		t.Error("a binding without TLS")
	}
}

// TestEndPointOfRealCertificates reads the algorithm from certificates that were signed with it.
func TestEndPointOfRealCertificates(t *testing.T) {
	ca, err := testca.New("binding")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{DNSNames: []string{"mail.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.Certificate.Raw)
	got := endPoint(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Certificate}})
	if string(got) != "tls-server-end-point:"+string(sum[:]) {
		t.Errorf("%x", got)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got := endPoint(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{ed}}); got != nil {
		t.Errorf("Ed25519 has no hash, and the binding is %x", got)
	}
}

// TestBindingHash checks the layout against one written out by hand.
func TestBindingHash(t *testing.T) {
	// printf 000000000000000000000000000000000400000061626364 | xxd -r -p | md5sum
	got := bindingHash([]byte("abcd"))
	if want := "e3873c291580bf8a146910aeeba08c2e"; hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, want %s", got, want)
	}
}
