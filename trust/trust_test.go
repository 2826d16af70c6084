package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

var now = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

const alice = mailaddr.Address("alice@corp.example")

// keys are made once: making RSA keys is the slow part of these tests.
var keys = sync.OnceValue(func() (k struct{ rsa2048, rsa1024, p256, p224 crypto.Signer }) {
	k.rsa2048, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.rsa1024, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p224, _ = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	return k
})

func newCA(t testing.TB, name string) *testca.CA {
	t.Helper()
	ca, err := testca.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue makes a certificate; the zero Options make a good one for alice with an RSA key.
func issue(t testing.TB, ca *testca.CA, o testca.Options) *x509.Certificate {
	t.Helper()
	if o.Key == nil {
		o.Key = keys().rsa2048
	}
	if o.Addresses == nil && o.SubjectEmail == "" {
		o.Addresses = []string{string(alice)}
	}
	o.Now = now
	leaf, err := ca.Leaf(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate
}

func policy(anchors ...*x509.Certificate) *trust.Policy {
	pool := x509.NewCertPool()
	for _, c := range anchors {
		pool.AddCert(c)
	}
	return &trust.Policy{Anchors: pool, AnchorCount: len(anchors)}
}

func reasons(findings []trust.Finding) (texts []string) {
	for _, f := range findings {
		texts = append(texts, string(f.State)+": "+f.Reason)
	}
	return texts
}

// extension makes an extension from an ASN.1 value.
func extension(t testing.TB, oid asn1.ObjectIdentifier, critical bool, value any) pkix.Extension {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oid, Critical: critical, Value: der}
}

var (
	oidUPN      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	oidSmtpUTF8 = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9}
)

// otherNames makes a subject alternative name extension that holds one otherName.
func otherNames(t testing.TB, oid asn1.ObjectIdentifier, critical bool, text string) pkix.Extension {
	t.Helper()
	name := struct {
		Name struct {
			Type  asn1.ObjectIdentifier
			Value string `asn1:"explicit,tag:0,utf8"`
		} `asn1:"tag:0"`
	}{}
	name.Name.Type, name.Name.Value = oid, text
	return extension(t, asn1.ObjectIdentifier{2, 5, 29, 17}, critical, name)
}

func TestForEncryption(t *testing.T) {
	ca := newCA(t, "Corp Root")
	other := newCA(t, "Other Root")
	root := "CN=Corp Root,O=galsyncd test"
	signing := x509.KeyUsageDigitalSignature
	email := []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	for _, tc := range []struct {
		name string
		o    testca.Options
		ca   *testca.CA
		want []string
	}{
		{name: "good"},
		{name: "any extended key usage", o: testca.Options{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}},
		{name: "no extended key usage", o: testca.Options{ExtKeyUsage: []x509.ExtKeyUsage{}}},
		{name: "key encipherment alone", o: testca.Options{KeyUsage: x509.KeyUsageKeyEncipherment, ExtKeyUsage: email}},
		{name: "case", o: testca.Options{Addresses: []string{"ALICE@Corp.Example"}}},
		{name: "one of several", o: testca.Options{Addresses: []string{"bob@corp.example", string(alice)}}},
		{name: "subject address", o: testca.Options{SubjectEmail: string(alice)}},
		{name: "EC", o: testca.Options{Key: keys().p256, KeyUsage: x509.KeyUsageKeyAgreement}},
		{name: "expired", o: testca.Options{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(-75 * time.Hour)},
			want: []string{"expired: expired 3 days ago (2027-01-02)"}},
		{name: "expired just now", o: testca.Options{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(-time.Second)},
			want: []string{"expired: expired a moment ago (2027-01-05)"}},
		{name: "last moment", o: testca.Options{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now}},
		{name: "first moment", o: testca.Options{NotBefore: now}},
		{name: "not yet valid", o: testca.Options{NotBefore: now.Add(25 * time.Hour)},
			want: []string{"not-yet-valid: valid from 2027-01-06, in 1 day"}},
		{name: "signing only", o: testca.Options{KeyUsage: signing},
			want: []string{"wrong-usage: for signing only: its key usage lacks keyEncipherment"}},
		{name: "no encryption", o: testca.Options{KeyUsage: x509.KeyUsageDataEncipherment},
			want: []string{"wrong-usage: not for encryption: its key usage lacks keyEncipherment"}},
		{name: "EC for RSA's usage", o: testca.Options{Key: keys().p256},
			want: []string{"wrong-usage: for signing only: its key usage lacks keyAgreement"}},
		{name: "TLS", o: testca.Options{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}},
			want: []string{"wrong-usage: not for mail: its extended key usage lacks emailProtection"}},
		{name: "1024 bits", o: testca.Options{Key: keys().rsa1024},
			want: []string{"weak-key: an RSA key of 1024 bits; at least 2048 are needed"}},
		{name: "P-224", o: testca.Options{Key: keys().p224, KeyUsage: x509.KeyUsageKeyAgreement},
			want: []string{"weak-key: an EC key on the curve P-224; P-256, P-384 or P-521 is needed"}},
		{name: "other address", o: testca.Options{Addresses: []string{"bob@corp.example"}},
			want: []string{"wrong-address: names bob@corp.example, not alice@corp.example"}},
		{name: "longer domain", o: testca.Options{Addresses: []string{"alice@corp.example.org"}},
			want: []string{"wrong-address: names alice@corp.example.org, not alice@corp.example"}},
		{name: "shorter local part", o: testca.Options{Addresses: []string{"ice@corp.example"}},
			want: []string{"wrong-address: names ice@corp.example, not alice@corp.example"}},
		{name: "many addresses", o: testca.Options{Addresses: []string{"a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"}},
			want: []string{"wrong-address: names a@x.example, b@x.example, c@x.example and 2 more, not alice@corp.example"}},
		{name: "subject address beside an alternative name", o: testca.Options{Addresses: []string{"bob@corp.example"}, SubjectEmail: string(alice)},
			want: []string{"wrong-address: names bob@corp.example, not alice@corp.example"}},
		{name: "no address", o: testca.Options{Addresses: []string{}, CommonName: string(alice)},
			want: []string{"wrong-address: without any mail address, so nothing ties it to alice@corp.example"}},
		{name: "user principal name", o: testca.Options{Addresses: []string{}, CommonName: "Alice", ExtraExtensions: []pkix.Extension{otherNames(t, oidUPN, false, string(alice))}},
			want: []string{"wrong-address: without any mail address, so nothing ties it to alice@corp.example"}},
		{name: "unknown critical extension", o: testca.Options{ExtraExtensions: []pkix.Extension{extension(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, true, 1)}},
			want: []string{"untrusted: marked with a critical extension that this program does not know (1.3.6.1.4.1.99999.1)"}},
		{name: "unknown extension", o: testca.Options{ExtraExtensions: []pkix.Extension{extension(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, false, 1)}}},
		{name: "unknown issuer", ca: other,
			want: []string{"untrusted: issued by CN=Other Root,O=galsyncd test, which is not among the trusted anchors"}},
		{name: "everything at once", ca: other, o: testca.Options{Key: keys().rsa1024, KeyUsage: signing, Addresses: []string{"bob@corp.example"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(-1, 0, 0)},
			want: []string{
				"expired: expired 365 days ago (2026-01-05)",
				"wrong-usage: for signing only: its key usage lacks keyEncipherment",
				"wrong-usage: not for mail: its extended key usage lacks emailProtection",
				"weak-key: an RSA key of 1024 bits; at least 2048 are needed",
				"wrong-address: names bob@corp.example, not alice@corp.example",
				"untrusted: issued by CN=Other Root,O=galsyncd test, which is not among the trusted anchors",
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.ca == nil {
				tc.ca = ca
			}
			if tc.o.Addresses == nil && tc.o.SubjectEmail != "" {
				tc.o.CommonName = "Alice"
			}
			cert := issue(t, tc.ca, tc.o)
			got := policy(ca.Certificate).ForEncryption(cert, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now})
			if diff := cmp.Diff(tc.want, reasons(got)); diff != "" {
				t.Errorf("findings (-want +got), issuer %s:\n%s", root, diff)
			}
		})
	}
}

func TestSmtpUTF8Mailbox(t *testing.T) {
	ca := newCA(t, "Corp Root")
	for _, tc := range []struct {
		name, text string
		critical   bool
		address    mailaddr.Address
		usable     bool
	}{
		{"named", "grün@corp.example", false, "grün@corp.example", true},
		{"named, critical", "grün@corp.example", true, "grün@corp.example", true},
		{"decomposed and upper case", "GRU\u0308N@Corp.example", false, "grün@corp.example", true},
		{"other", "grün@corp.example", false, alice, false},
		{"ASCII is not for this name form", "alice@corp.example", false, alice, false},
		{"the Kelvin sign is not a k", "\u212Aim@corp.example", false, "kim@corp.example", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert := issue(t, ca, testca.Options{Addresses: []string{}, CommonName: "G", ExtraExtensions: []pkix.Extension{otherNames(t, oidSmtpUTF8, tc.critical, tc.text)}})
			got := policy(ca.Certificate).ForEncryption(cert, trust.Question{Addresses: []mailaddr.Address{tc.address}, Now: now})
			if (len(got) == 0) != tc.usable {
				t.Errorf("findings %q, want usable %v", reasons(got), tc.usable)
			}
		})
	}
}

func TestKeysThatCannotEncrypt(t *testing.T) {
	ca := newCA(t, "Corp Root")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, ca, testca.Options{Key: ed, KeyUsage: x509.KeyUsageKeyAgreement})
	got := reasons(policy(ca.Certificate).ForEncryption(cert, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}))
	if want := []string{"wrong-usage: for signing only: an Ed25519 key cannot encrypt"}; !cmp.Equal(got, want) {
		t.Errorf("Ed25519: %q, want %q", got, want)
	}

	// crypto/x509 cannot make a certificate with an RSA-PSS key: change rsaEncryption's identifier into id-RSASSA-PSS.
	// The signature breaks with it, so there is a second finding.
	rsaCert := issue(t, ca, testca.Options{})
	spki := strings.Replace(string(rsaCert.RawSubjectPublicKeyInfo), "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 1)
	der := strings.Replace(string(rsaCert.Raw), string(rsaCert.RawSubjectPublicKeyInfo), spki, 1)
	pss, err := x509.ParseCertificate([]byte(der))
	if err != nil {
		t.Fatal(err)
	}
	got = reasons((&trust.Policy{AcceptDirectory: true}).ForEncryption(pss, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, FromDirectory: true}))
	if len(got) == 0 || got[len(got)-1] != "wrong-usage: for signing only: an RSA-PSS key cannot encrypt" {
		t.Errorf("RSA-PSS: %q", got)
	}
}

// TestSelfSignedHint holds that nobody is told to make a person's certificate an anchor.
func TestSelfSignedHint(t *testing.T) {
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}
	got := policy(newCA(t, "Root").Certificate).ForEncryption(selfSigned(t, nil), q)
	if len(got) != 1 || !strings.Contains(got[0].Hint, "galsyncd cert trust") || strings.Contains(got[0].Hint, "anchors") {
		t.Errorf("%+v", got)
	}
}

// selfSigned makes a self-signed certificate for alice.
func selfSigned(t *testing.T, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Alice"}, EmailAddresses: []string{string(alice)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	key := keys().rsa2048
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSelfSigned(t *testing.T) {
	leaf := selfSigned(t, nil)
	authority := selfSigned(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}
	for _, tc := range []struct {
		name   string
		cert   *x509.Certificate
		policy *trust.Policy
		want   []string
	}{
		{"anchor itself", leaf, policy(leaf), nil},
		{"not an anchor", leaf, policy(newCA(t, "Root").Certificate), []string{"untrusted: self-signed and not among the trusted anchors"}},
		{"authority that is an anchor", authority, policy(authority), []string{"wrong-usage: the certificate of a certification authority, not of a person"}},
		{"no anchors", leaf, &trust.Policy{}, []string{"untrusted: issued by CN=Alice, and no trusted anchors are configured"}},
		{"empty pool", leaf, policy(), []string{"untrusted: issued by CN=Alice, and no trusted anchors are configured"}},
	} {
		got := tc.policy.ForEncryption(tc.cert, q)
		if diff := cmp.Diff(tc.want, reasons(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if strings.Contains(tc.name, "no anchors") && !strings.Contains(got[0].Hint, "trust.anchors") {
			t.Errorf("%s: the hint %q does not name trust.anchors", tc.name, got[0].Hint)
		}
	}
}

func TestAcceptDirectory(t *testing.T) {
	stranger := newCA(t, "Nobody's Root")
	p := &trust.Policy{AcceptDirectory: true}
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, FromDirectory: true}
	if got := p.ForEncryption(issue(t, stranger, testca.Options{}), q); len(got) > 0 {
		t.Errorf("a directory certificate needs no chain: %q", reasons(got))
	}
	if got := p.ForEncryption(issue(t, stranger, testca.Options{Addresses: []string{"bob@corp.example"}}), q); len(got) != 1 || got[0].State != trust.WrongAddress {
		t.Errorf("everything but the chain is still checked: %q", reasons(got))
	}
	critical := extension(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, true, 1)
	if got := p.ForEncryption(issue(t, stranger, testca.Options{ExtraExtensions: []pkix.Extension{critical}}), q); len(got) != 1 || got[0].State != trust.Untrusted {
		t.Errorf("an unknown critical extension still forbids: %q", reasons(got))
	}
	q.FromDirectory = false
	if got := p.ForEncryption(issue(t, stranger, testca.Options{}), q); len(got) != 1 || got[0].State != trust.Untrusted {
		t.Errorf("a certificate from elsewhere needs its chain: %q", reasons(got))
	}
}
