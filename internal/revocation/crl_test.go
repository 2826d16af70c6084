package revocation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

// authority is a CA for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, name string, usage x509.KeyUsage) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	a.cert = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: usage,
	}, key)
	return a
}

// sign issues a certificate; one's own when there is none yet.
func (a *authority) sign(t testing.TB, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) crl(t testing.TB, template x509.RevocationList) []byte {
	t.Helper()
	if template.Number == nil {
		template.Number = big.NewInt(7)
	}
	if template.ThisUpdate.IsZero() {
		template.ThisUpdate = now.Add(-time.Hour)
	}
	if template.NextUpdate.IsZero() {
		template.NextUpdate = now.Add(24 * time.Hour)
	}
	// crypto/x509 insists that the issuer may sign CRLs, which is what some tests want to be otherwise.
	issuer := *a.cert
	issuer.KeyUsage = x509.KeyUsageCRLSign
	if len(issuer.SubjectKeyId) == 0 {
		issuer.SubjectKeyId = []byte{1}
	}
	der, err := x509.CreateRevocationList(rand.Reader, &template, &issuer, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// raw encodes DER from a tag and contents.
func raw(tag byte, content ...[]byte) []byte {
	var all []byte
	for _, c := range content {
		all = append(all, c...)
	}
	switch n := len(all); {
	case n < 128:
		return append([]byte{tag, byte(n)}, all...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, all...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, all...)
	}
}

func scopeExtension(content ...[]byte) []pkix.Extension {
	return []pkix.Extension{{Id: oidScope, Critical: true, Value: raw(0x30, content...)}}
}

const listURL = "http://pki.example.com/ca.crl"

// TestParseCRL reads CRLs that crypto/x509 made.
func TestParseCRL(t *testing.T) {
	ca := newAuthority(t, "CA", x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
	other := newAuthority(t, "Other", x509.KeyUsageCRLSign)
	namesake := newAuthority(t, "CA", x509.KeyUsageCRLSign)
	mute := newAuthority(t, "CA", x509.KeyUsageCertSign)
	entry := func(serial int64, reason int, more ...pkix.Extension) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: now.Add(-48 * time.Hour), ReasonCode: reason, ExtraExtensions: more}
	}
	entries := func(e ...x509.RevocationListEntry) x509.RevocationList {
		return x509.RevocationList{RevokedCertificateEntries: e}
	}
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	point := raw(0xa0, raw(0xa0, raw(0x86, []byte(listURL))))
	yes := []byte{0xff}
	for name, tc := range map[string]struct {
		der    []byte
		issuer *authority
		want   string // serial/reason of each entry, or the error
	}{
		"empty":           {ca.crl(t, x509.RevocationList{}), ca, ""},
		"in order":        {ca.crl(t, entries(entry(900, 1), entry(2, 0), entry(300, 6))), ca, "2/0 300/6 900/1"},
		"twice":           {ca.crl(t, entries(entry(2, 1), entry(2, 1))), ca, "2/1"},
		"taken off":       {ca.crl(t, entries(entry(2, removeFromCRL), entry(3, 0))), ca, "3/0"},
		"negative number": {ca.crl(t, entries(entry(-2, 0), entry(3, 0))), ca, "3/0"},
		"invalidity date": {ca.crl(t, entries(entry(2, 0, pkix.Extension{Id: oidInvalidity, Critical: true, Value: raw(0x18, []byte("20270101000000Z"))}))), ca, "2/0"},
		"another CA":      {other.crl(t, x509.RevocationList{}), ca, "it is of CN=Other, not of CN=CA"},
		"another key":     {namesake.crl(t, x509.RevocationList{}), ca, "its signature is not of the key of CN=CA"},
		"may not sign":    {mute.crl(t, x509.RevocationList{}), mute, "does not allow it to sign CRLs"},
		"of tomorrow":     {ca.crl(t, x509.RevocationList{ThisUpdate: now.Add(time.Hour)}), ca, "has not come yet"},
		"a clock is off":  {ca.crl(t, x509.RevocationList{ThisUpdate: now.Add(time.Minute)}), ca, ""},
		"ended":           {ca.crl(t, x509.RevocationList{ThisUpdate: now.Add(-9 * time.Hour), NextUpdate: now.Add(-8 * time.Hour), RevokedCertificateEntries: entries(entry(2, 0)).RevokedCertificateEntries}), ca, "2/0"},
		"delta":           {ca.crl(t, x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: oidDelta, Critical: true, Value: []byte{2, 1, 1}}}}), ca, "a delta CRL"},
		"critical":        {ca.crl(t, x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: unknown, Critical: true, Value: []byte{5, 0}}}}), ca, "critical extension"},
		"not critical":    {ca.crl(t, x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: unknown, Value: []byte{5, 0}}}}), ca, ""},
		"critical entry":  {ca.crl(t, entries(entry(2, 0, pkix.Extension{Id: unknown, Critical: true, Value: []byte{5, 0}}))), ca, "critical extension"},
		"users":           {ca.crl(t, x509.RevocationList{ExtraExtensions: scopeExtension(point, raw(0x81, yes))}), ca, ""},
		"some reasons":    {ca.crl(t, x509.RevocationList{ExtraExtensions: scopeExtension(raw(0x83, []byte{6, 0x40}))}), ca, "only some reasons"},
		"indirect":        {ca.crl(t, x509.RevocationList{ExtraExtensions: scopeExtension(raw(0x84, yes))}), ca, "indirect"},
		"attributes":      {ca.crl(t, x509.RevocationList{ExtraExtensions: scopeExtension(raw(0x85, yes))}), ca, "attribute"},
		"relative":        {ca.crl(t, x509.RevocationList{ExtraExtensions: scopeExtension(raw(0xa0, raw(0xa1, raw(0x30))))}), ca, "relative"},
		"no DER":          {[]byte("<html>"), ca, "not one DER structure"},
		"a certificate":   {ca.cert.Raw, ca, "not a CRL that can be used"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parseCRL(tc.der, tc.issuer.cert, now)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				var list []string
				for _, r := range c.revoked {
					list = append(list, fmt.Sprintf("%d/%d", new(big.Int).SetBytes(r.serial[:]), r.reason))
				}
				got = strings.Join(list, " ")
			}
			if got != tc.want && (err == nil || tc.want == "" || !strings.Contains(got, tc.want)) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestChangedCRL flips every byte of a CRL: whatever is still read was proven all the same.
func TestChangedCRL(t *testing.T) {
	ca := newAuthority(t, "CA", x509.KeyUsageCRLSign)
	der := ca.crl(t, x509.RevocationList{RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(2), RevocationTime: now}}})
	for i := range der {
		bad := append([]byte(nil), der...)
		bad[i] ^= 0x01
		if c, err := parseCRL(bad, ca.cert, now); err == nil {
			t.Errorf("byte %d was changed, and the CRL was taken: %+v", i, c)
		}
	}
}

func TestScope(t *testing.T) {
	person := &x509.Certificate{BasicConstraintsValid: true}
	ca := &x509.Certificate{BasicConstraintsValid: true, IsCA: true}
	name, other := raw(0x86, []byte(listURL)), raw(0x86, []byte("http://pki.example.com/2.crl"))
	for _, tc := range []struct {
		scope          scope
		names          [][]byte
		person, ofAnCA bool
	}{
		{scope{}, nil, true, true},
		{scope{Users: true}, nil, true, false},
		{scope{Authorities: true}, nil, false, true},
		{scope{Names: [][]byte{name}}, [][]byte{other, name}, true, true},
		{scope{Names: [][]byte{name}}, [][]byte{other}, false, false},
		{scope{Names: [][]byte{name}, Users: true}, [][]byte{name}, true, false},
	} {
		if p, c := tc.scope.covers(person, tc.names), tc.scope.covers(ca, tc.names); p != tc.person || c != tc.ofAnCA {
			t.Errorf("%+v covers a person %v, a CA %v", tc.scope, p, c)
		}
	}
}

func TestPoints(t *testing.T) {
	web := func(url string) []byte { return raw(0x86, []byte(url)) }
	point := func(names ...[]byte) []byte { return raw(0x30, raw(0xa0, raw(0xa0, names...))) }
	for name, tc := range map[string]struct {
		value []byte
		lists string
		other string
	}{
		"http":        {raw(0x30, point(web(listURL))), listURL, ""},
		"ldap first":  {raw(0x30, point(web("ldap:///CN=CA,DC=corp?certificateRevocationList"), web(listURL))), listURL, ""},
		"ldap only":   {raw(0x30, point(web("ldap:///CN=CA,DC=corp?certificateRevocationList"))), "", "over LDAP only"},
		"two points":  {raw(0x30, point(web(listURL)), point(web("https://b.example/x"), web(listURL))), listURL + " https://b.example/x", ""},
		"reasons":     {raw(0x30, raw(0x30, raw(0xa0, raw(0xa0, web(listURL))), raw(0x81, []byte{6, 0x40}))), "", "for some reasons only"},
		"indirect":    {raw(0x30, raw(0x30, raw(0xa0, raw(0xa0, web(listURL))), raw(0xa2, raw(0xa4, raw(0x30))))), "", "by another authority (an indirect CRL)"},
		"relative":    {raw(0x30, raw(0x30, raw(0xa0, raw(0xa1, raw(0x30))))), "", "relative to the name of the authority, which needs its directory"},
		"file":        {raw(0x30, point(web("file:///etc/passwd"))), "", "neither over http nor over https"},
		"password":    {raw(0x30, point(web("http://me:secret@pki.example/"))), "", "neither over http nor over https"},
		"no host":     {raw(0x30, point(web("http:///ca.crl"))), "", "neither over http nor over https"},
		"nothing":     {raw(0x30, raw(0x30)), "", "without a place"},
		"garbage":     {[]byte("garbage"), "", "named in a form that cannot be read"},
		"more behind": {append(raw(0x30, point(web(listURL))), 0), "", "named in a form that cannot be read"},
	} {
		cert := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidCRLPoints, Value: tc.value}}}
		p := pointsOf(cert)
		if got := strings.Join(p.lists, " "); got != tc.lists {
			t.Errorf("%s: lists %q, want %q", name, got, tc.lists)
		}
		if got := strings.Join(p.others, ", "); got != tc.other {
			t.Errorf("%s: left out %q, want %q", name, got, tc.other)
		}
	}
}

// TestManyEntries is about size: a CRL of a hundred thousand entries is read in one go, within a few times its size.
func TestManyEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	ca := newAuthority(t, "CA", x509.KeyUsageCRLSign)
	template := x509.RevocationList{}
	for i := range 100_000 {
		serial := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(int64(i)*7919))
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now, ReasonCode: 4})
	}
	der := ca.crl(t, template)
	start := time.Now()
	c, err := parseCRL(der, ca.cert, now)
	if err != nil || len(c.revoked) != 100_000 {
		t.Fatalf("%v, %v", c, err)
	}
	t.Logf("%d bytes with %d entries in %s", len(der), len(c.revoked), time.Since(start).Round(time.Millisecond))
}
