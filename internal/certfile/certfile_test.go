package certfile

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// fixture is a person with a certificate for signatures and one for encryption.
type fixture struct {
	ca            *testca.CA
	sign, encrypt *testca.Leaf
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	ca, err := testca.New("Outside CA")
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{ca: ca}
	for _, leaf := range []**testca.Leaf{&f.sign, &f.encrypt} {
		if *leaf, err = ca.Leaf(testca.Options{Addresses: []string{"carol@outside.example"}}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// message is a signed PKCS #7 message that names the certificate for encryption.
func (f *fixture) message(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := cms.Sign(&out, []cms.SigningKey{{Certificate: f.sign.Certificate, Key: f.sign.Key, Attributes: []cms.Attribute{cms.KeyPreferenceAttribute(f.encrypt.Certificate)}}},
		&cms.SignOptions{Certificates: []*x509.Certificate{f.encrypt.Certificate, f.ca.Certificate}})
	if err == nil {
		_, err = io.WriteString(w, "hello")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func lines(b []byte, width int, prefix, end string) string {
	var out strings.Builder
	for text := base64.StdEncoding.EncodeToString(b); text != ""; {
		n := min(width, len(text))
		out.WriteString(prefix + text[:n] + end)
		text = text[n:]
	}
	return out.String()
}

func TestParse(t *testing.T) {
	f := newFixture(t)
	leaf, ca := f.sign.Certificate, f.ca.Certificate
	p7 := f.message(t)
	b64 := base64.StdEncoding.EncodeToString(leaf.Raw)
	key, err := f.sign.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	card := func(version, rest string) string {
		return "BEGIN:VCARD\r\nVERSION:" + version + "\r\nFN:Carol\r\nEMAIL;TYPE=INTERNET:carol@outside.example\r\n" + rest + "\r\nEND:VCARD\r\n"
	}
	one, pair := []*x509.Certificate{leaf}, []*x509.Certificate{leaf, ca}
	for _, tc := range []struct {
		name   string
		data   string
		format Format
		want   []*x509.Certificate
	}{
		{"PEM", block("CERTIFICATE", leaf.Raw) + block("CERTIFICATE", ca.Raw), PEM, pair},
		{"PEM with a listing before it", "Certificate:\n    Data:\n        Version: 3 (0x2)\n" + block("CERTIFICATE", leaf.Raw), PEM, one},
		{"PEM with bag attributes", "Bag Attributes\n    friendlyName: carol\n" + block("CERTIFICATE", leaf.Raw), PEM, one},
		{"PEM after a byte order mark", "\xef\xbb\xbf\r\n" + block("CERTIFICATE", leaf.Raw), PEM, one},
		{"PEM, the same twice", block("CERTIFICATE", leaf.Raw) + block("X509 CERTIFICATE", leaf.Raw), PEM, one},
		{"PEM of openssl with trust", block("TRUSTED CERTIFICATE", append(bytes.Clone(leaf.Raw), 0x30, 0)), PEM, one},
		{"PEM with PKCS #7", block("PKCS7", p7), PEM, []*x509.Certificate{leaf, f.encrypt.Certificate, ca}},
		{"PEM with a key", string(key) + block("CERTIFICATE", leaf.Raw), PEM, one},
		{"DER", string(leaf.Raw), DER, one},
		{"DER, two in a row", string(leaf.Raw) + string(ca.Raw), DER, pair},
		{"DER and a line end", string(leaf.Raw) + "\n", DER, one},
		{"base64 alone", lines(leaf.Raw, 64, "", "\r\n"), DER, one},
		{"PKCS #7", string(p7), PKCS7, []*x509.Certificate{leaf, f.encrypt.Certificate, ca}},
		{"vCard 2.1", card("2.1", "KEY;X509;ENCODING=BASE64:\r\n"+lines(leaf.Raw, 72, "    ", "\r\n")), VCard, one},
		{"vCard 2.1, not indented", card("2.1", "KEY;X509;BASE64:\n"+lines(leaf.Raw, 72, "", "\n")), VCard, one},
		{"vCard 3.0", card("3.0", "item1.KEY;TYPE=X509;ENCODING=b:"+lines(leaf.Raw, 70, "", "\r\n ")), VCard, one},
		{"vCard 3.0 with PEM inside", card("3.0", "KEY;ENCODING=b:"+base64.StdEncoding.EncodeToString([]byte(block("CERTIFICATE", leaf.Raw)))), VCard, one},
		{"vCard 4.0", card("4.0", "KEY:data:application/pkix-cert;base64,"+b64), VCard, one},
		{"vCard 4.0, escaped and folded", card("4.0", "KEY;PREF=1;MEDIATYPE=\"application/pkix-cert\":data:application/pkix-cert;base64\r\n ,"+strings.NewReplacer("+", "%2B", "/", "%2F").Replace(b64)), VCard, one},
		{"vCard 4.0 with PKCS #7", card("4.0", "KEY:data:application/pkcs7-mime;base64,"+base64.StdEncoding.EncodeToString(p7)), VCard, []*x509.Certificate{leaf, f.encrypt.Certificate, ca}},
		{"vCard, a PGP key beside it", card("4.0", "KEY:data:application/pgp-keys;base64,"+b64[:40]+"\r\nKEY:https://outside.example/key\r\nKEY:data:application/pkix-cert;base64,"+b64), VCard, one},
		{"two vCards", card("3.0", "KEY;ENCODING=b:"+b64) + card("3.0", "KEY;ENCODING=B:"+base64.StdEncoding.EncodeToString(ca.Raw)), VCard, pair},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse([]byte(tc.data))
			if err != nil {
				t.Fatal(err)
			}
			if got.Format != tc.format || len(got.Certificates) != len(tc.want) {
				t.Fatalf("%s with %d certificates, want %s with %d", got.Format, len(got.Certificates), tc.format, len(tc.want))
			}
			for _, c := range tc.want { // a PKCS #7 message has no order
				if got.find(c.Raw) == nil {
					t.Errorf("the certificate of %s is missing", c.Subject)
				}
			}
			if got.Format == VCard && got.Addresses[0] != "carol@outside.example" {
				t.Errorf("addresses %v", got.Addresses)
			}
			if got.PrivateKey != strings.Contains(tc.data, "PRIVATE KEY") {
				t.Errorf("private key: %v", got.PrivateKey)
			}
		})
	}
}

func TestParsePreferred(t *testing.T) {
	f := newFixture(t)
	got, err := Parse(f.message(t))
	if err != nil || !f.encrypt.Certificate.Equal(got.Preferred) {
		t.Errorf("preferred %v, %v", got.Preferred, err)
	}
}

func TestParseRefuses(t *testing.T) {
	f := newFixture(t)
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.sign.Certificate.Raw})
	var many bytes.Buffer
	for i := range maxBlocks + 1 {
		fmt.Fprintf(&many, "-----BEGIN X-----\n%04d\n-----END X-----\n", i)
	}
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                 {nil, ErrUnknownFormat},
		"text":                  {[]byte("hello\n"), ErrUnknownFormat},
		"a mail":                {append([]byte("From: a@b.example\nSubject: my certificate\n\n"), good...), ErrUnknownFormat},
		"an mbox":               {append([]byte("From a@b.example Mon\nSubject: my certificate\n\n"), good...), ErrUnknownFormat},
		"damaged PEM":           {bytes.Replace(good, []byte("MII"), []byte("AAA"), 1), ErrNoCertificate},
		"half a certificate":    {f.sign.Certificate.Raw[:300], ErrNoCertificate},
		"half a message":        {f.message(t)[:300], ErrNoCertificate},
		"a vCard without a key": {[]byte("BEGIN:VCARD\nVERSION:4.0\nEND:VCARD\n"), ErrNoCertificate},
		"too many blocks":       {many.Bytes(), ErrTooLarge},
		"too large":             {make([]byte, MaxSize+1), ErrTooLarge},
		"too many keys":         {append([]byte("BEGIN:VCARD\n"), bytes.Repeat([]byte("KEY:x\n"), maxCards+1)...), ErrTooLarge},
	} {
		if got, err := Parse(tc.data); !errors.Is(err, tc.want) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	fix := newFixture(f)
	b64 := base64.StdEncoding.EncodeToString(fix.sign.Certificate.Raw)
	for _, seed := range []string{
		string(fix.sign.Certificate.Raw), string(fix.message(f)), b64,
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fix.sign.Certificate.Raw})),
		"BEGIN:VCARD\r\nKEY;X509;ENCODING=BASE64:\r\n " + b64 + "\r\n\r\nEND:VCARD\r\n",
		"BEGIN:VCARD\nitem1.KEY;MEDIATYPE=\"a:b\":data:application/pkix-cert;base64," + b64 + "\nEMAIL:a@b.example\nEND:VCARD\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if err != nil {
			return
		}
		if len(got.Certificates) == 0 || len(got.Certificates) > MaxCertificates {
			t.Fatalf("%d certificates", len(got.Certificates))
		}
		if got.Preferred != nil && got.find(got.Preferred.Raw) == nil {
			t.Fatal("the preferred certificate is not one of the file")
		}
	})
}

// TestTooManyInAMessage: who is refused is told why.
func TestTooManyInAMessage(t *testing.T) {
	f := newFixture(t)
	_, err := Parse(cms.MarshalCertificates(slices.Repeat([]*x509.Certificate{f.sign.Certificate}, MaxCertificates+1)))
	if !errors.Is(err, ErrNoCertificate) || !strings.Contains(err.Error(), "more than 64 certificates") {
		t.Errorf("got %v", err)
	}
}
