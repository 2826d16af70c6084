package installed

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/certfile"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

var now = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

const carol = mailaddr.Address("carol@outside.example")

var rsaKeys = sync.OnceValue(func() (keys [2]crypto.Signer) {
	for i, bits := range []int{2048, 1024} {
		keys[i], _ = rsa.GenerateKey(rand.Reader, bits)
	}
	return keys
})

// fixture is a user with an empty shelf, an address book, and an authority that nobody trusts.
type fixture struct {
	t              *testing.T
	home, outside  *testca.CA
	book           map[mailaddr.Address]recipients.Found
	shelf          *Shelf
	installer      *Installer
	failingLookups bool
}

func (f *fixture) Lookup(ctx context.Context, a mailaddr.Address) (recipients.Found, error) {
	if f.failingLookups {
		return recipients.Found{}, errors.New("nobody answers")
	}
	found := f.book[a]
	offers, err := f.shelf.Offers(ctx, a)
	return recipients.Found{Sightings: found.Sightings, Offers: append(slices.Clone(found.Offers), offers...)}, err
}

func (f *fixture) Freshness(context.Context) (recipients.Freshness, error) {
	return recipients.Freshness{Completed: now, Walked: now}, nil
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, book: map[mailaddr.Address]recipients.Found{}}
	f.home, f.outside = must(testca.New("Home CA")), must(testca.New("Outside CA"))
	store, err := keyring.Open(filepath.Join(t.TempDir(), "keys", keyring.FileName), &keyring.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	pool := x509.NewCertPool()
	pool.AddCert(f.home.Certificate)
	policy := &trust.Policy{Anchors: pool, AnchorCount: 1}
	clock := func() time.Time { return now }
	f.shelf = &Shelf{Store: store, Policy: policy, Now: clock}
	f.installer = &Installer{Shelf: f.shelf, Book: &recipients.Book{Directory: f, Policy: policy, Now: clock}, Verify: f.verify}
	return f
}

func (f *fixture) verify(ctx context.Context, r io.Reader) (*smime.Verification, error) {
	judge := &Judge{Context: ctx, Policy: f.shelf.Policy, Directory: f, Shelf: f.shelf}
	return smime.Verify(ctx, r, &smime.VerifyOptions{Policy: judge, Now: f.shelf.Now})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (f *fixture) leaf(o testca.Options) *testca.Leaf {
	f.t.Helper()
	if o.Addresses == nil {
		o.Addresses = []string{string(carol)}
	}
	if o.Key == nil {
		o.Key = rsaKeys()[0]
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = now.Add(-24 * time.Hour)
	}
	return must(f.outside.Leaf(o))
}

// signed is a mail of an address, signed with a leaf.
func (f *fixture) signed(from string, leaf *testca.Leaf) []byte {
	f.t.Helper()
	var out bytes.Buffer
	mail := "From: " + from + "\r\nTo: me@corp.example\r\nSubject: x\r\n\r\nHello there.\r\n"
	_, err := smime.Sign(f.t.Context(), strings.NewReader(mail), &out, &smime.SignOptions{Time: now, Choose: func([]mailaddr.Address) (smime.Signer, error) {
		return smime.Signer{Certificate: leaf.Certificate, Key: leaf.Key, Intermediates: []*x509.Certificate{f.outside.Certificate}}, nil
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

func (f *fixture) examine(data []byte, o Options) *Report {
	f.t.Helper()
	r, err := f.installer.Examine(f.t.Context(), data, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func remarks(list []Remark) (codes []string) {
	for _, r := range list {
		codes = append(codes, r.Code)
	}
	return codes
}

func obstacles(list []Obstacle) (codes []string) {
	for _, o := range list {
		codes = append(codes, o.Code)
	}
	return codes
}

// TestUnusual is the table of what a person is told before installing a certificate.
func TestUnusual(t *testing.T) {
	f := newFixture(t)
	self := func() []byte { // signed with its own key
		l := f.leaf(testca.Options{})
		made := *l.Certificate
		made.Issuer, made.SignatureAlgorithm = made.Subject, x509.UnknownSignatureAlgorithm
		return must(x509.CreateCertificate(rand.Reader, &made, &made, l.Key.Public(), l.Key))
	}()
	var many []string
	for i := range maxTargets + 1 {
		many = append(many, fmt.Sprintf("carol%d@outside.example", i))
	}
	homely := must(f.home.Leaf(testca.Options{Addresses: []string{string(carol)}, Key: rsaKeys()[0], NotBefore: now.Add(-time.Hour)}))
	for _, tc := range []struct {
		name            string
		data            []byte
		o               Options
		unusual, forbid []string
		chained         bool
	}{
		{name: "nothing but the issuer", data: f.leaf(testca.Options{}).Certificate.Raw, unusual: []string{CodeUnknownIssuer}},
		{name: "a trusted chain", data: homely.Certificate.Raw, chained: true},
		{name: "self-signed", data: self, unusual: []string{CodeSelfSigned}},
		{name: "an authority", data: f.outside.Certificate.Raw, unusual: []string{CodeSelfSigned, CodeLongValidity}, forbid: []string{CodeAuthority}},
		{name: "weak key", data: f.leaf(testca.Options{Key: rsaKeys()[1]}).Certificate.Raw, unusual: []string{CodeWeakKey, CodeUnknownIssuer}},
		{name: "expired", data: f.leaf(testca.Options{NotBefore: now.AddDate(-2, 0, 0)}).Certificate.Raw, unusual: []string{CodeExpired, CodeUnknownIssuer}},
		{name: "not yet valid", data: f.leaf(testca.Options{NotBefore: now.AddDate(0, 1, 0)}).Certificate.Raw, unusual: []string{CodeNotYetValid, CodeUnknownIssuer}},
		{name: "for servers", data: f.leaf(testca.Options{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).Certificate.Raw, unusual: []string{CodeUnknownIssuer}, forbid: []string{CodeWrongUsage}},
		{name: "for signatures only", data: f.leaf(testca.Options{KeyUsage: x509.KeyUsageDigitalSignature}).Certificate.Raw, unusual: []string{CodeUnknownIssuer, CodeSigningOnly}},
		{name: "no address", data: f.leaf(testca.Options{Addresses: []string{}, CommonName: "Carol"}).Certificate.Raw, unusual: []string{CodeUnknownIssuer}, forbid: []string{CodeNoAddress}},
		{name: "several addresses", data: f.leaf(testca.Options{Addresses: []string{string(carol), "boss@corp.example"}}).Certificate.Raw, unusual: []string{CodeUnknownIssuer, CodeOtherAddresses}},
		{name: "too many addresses", data: f.leaf(testca.Options{Addresses: many}).Certificate.Raw, unusual: []string{CodeUnknownIssuer, CodeOtherAddresses}, forbid: []string{CodeOtherAddresses}},
		{name: "several, one wished", data: f.leaf(testca.Options{Addresses: []string{string(carol), "boss@corp.example"}}).Certificate.Raw,
			o: Options{Addresses: []mailaddr.Address{carol}}, unusual: []string{CodeUnknownIssuer, CodeOtherAddresses}},
		{name: "valid for long", data: f.leaf(testca.Options{NotAfter: now.AddDate(12, 0, 0)}).Certificate.Raw, unusual: []string{CodeUnknownIssuer, CodeLongValidity}},
		{name: "a mail", data: f.signed(string(carol), f.leaf(testca.Options{})), unusual: []string{CodeUnknownIssuer}},
		{name: "a mail of somebody else", data: f.signed("mallory@outside.example", f.leaf(testca.Options{})), unusual: []string{CodeUnknownIssuer}, forbid: []string{CodeOtherAddress}},
		{name: "the same, told so", data: f.signed("mallory@outside.example", f.leaf(testca.Options{})), o: Options{Addresses: []mailaddr.Address{carol}}, unusual: []string{CodeUnknownIssuer}},
		{name: "a mail of nobody", data: f.signed("carol@outside.example, dan@outside.example", f.leaf(testca.Options{})), unusual: []string{CodeUnknownIssuer}, forbid: []string{CodeOtherAddress}},
		{name: "a mail that was changed", data: bytes.Replace(f.signed(string(carol), f.leaf(testca.Options{})), []byte("Hello"), []byte("Jello"), 1), unusual: []string{CodeUnknownIssuer}, forbid: []string{CodeInvalidSignature}},
		{name: "the same, told so", data: bytes.Replace(f.signed(string(carol), f.leaf(testca.Options{})), []byte("Hello"), []byte("Jello"), 1), o: Options{AnySignature: true}, unusual: []string{CodeUnknownIssuer}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := f.examine(tc.data, tc.o)
			if len(r.Certificates) != 1 {
				t.Fatalf("%+v", r)
			}
			c := r.Certificates[0]
			if got := remarks(c.Unusual); !slices.Equal(got, tc.unusual) {
				t.Errorf("unusual: %v %+v, want %v", got, c.Unusual, tc.unusual)
			}
			if got := obstacles(c.Obstacles); !slices.Equal(got, tc.forbid) {
				t.Errorf("obstacles: %v %+v, want %v", got, c.Obstacles, tc.forbid)
			}
			if c.Chained != tc.chained {
				t.Errorf("chained: %v", c.Chained)
			}
			_, err := f.installer.Install(t.Context(), tc.data, tc.o)
			if _, refused := errors.AsType[*Refusal](err); refused != (len(tc.forbid) > 0) || !refused && err != nil {
				t.Errorf("install: %v", err)
			}
			for _, e := range must(f.installer.List(t.Context())).Certificates {
				if err := f.installer.Remove([32]byte(fingerprint(e.X509))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRivals: other certificates for the same address are spoken of, and the address book's goes first.
func TestRivals(t *testing.T) {
	f := newFixture(t)
	gal := must(f.home.Leaf(testca.Options{Addresses: []string{string(carol)}, Key: rsaKeys()[0], NotBefore: now.AddDate(0, -6, 0)}))
	f.book[carol] = recipients.Found{Sightings: []directory.Sighting{{Seen: now, Entry: directory.Entry{Primary: carol, Addresses: []directory.Address{carol},
		Certificates: []directory.UserCertificate{{Raw: gal.Certificate.Raw}}}}}}
	older, newer := f.leaf(testca.Options{NotBefore: now.AddDate(0, -2, 0)}), f.leaf(testca.Options{})
	spoof := f.signed(string(carol), newer)
	if got := remarks(f.examine(spoof, Options{}).Certificates[0].Unusual); !slices.Contains(got, CodeDirectoryDiffers) {
		t.Errorf("unusual: %v, want the address book's certificate", got)
	}
	if _, err := f.installer.Install(t.Context(), spoof, Options{}); err != nil {
		t.Fatal(err)
	}
	used := func() recipients.Answer {
		return must(f.installer.Book.Lookup(t.Context(), []string{string(carol)})).Recipients[0]
	}
	if a := used(); a.Source != recipients.GAL || !a.Certificate.X509.Equal(gal.Certificate) {
		t.Errorf("a spoofed mail that was installed beats the address book: %+v", a)
	}
	if got := remarks(f.examine(older.Certificate.Raw, Options{}).Certificates[0].Unusual); !slices.Contains(got, CodeOlder) {
		t.Errorf("unusual: %v, want that a newer one is installed", got)
	}
	renewal := f.leaf(testca.Options{NotBefore: now.Add(-time.Minute)})
	advice, err := f.installer.Signer(t.Context(), must(f.verify(t.Context(), bytes.NewReader(f.signed(string(carol), renewal)))))
	if err != nil || advice.Action != "install" || !advice.Renewal {
		t.Errorf("advice %+v, %v: want that it is a renewal", advice, err)
	}
	// Only the person's explicit wish goes before the address book, and it can be taken back.
	sum := fingerprint(newer.Certificate)
	if _, err := f.installer.Trust(t.Context(), sum, TrustOptions{Prefer: true}); err != nil {
		t.Fatal(err)
	}
	if a := used(); a.Source != recipients.Installed {
		t.Errorf("preferred, and %+v is used", a)
	}
	if err := f.installer.Untrust(sum, nil); err != nil {
		t.Fatal(err)
	}
	if a := used(); a.Source != recipients.GAL {
		t.Errorf("no longer preferred, and %+v is used", a)
	}
}

// TestInstallTwice: the second time changes nothing, and a further address is a change.
func TestInstallTwice(t *testing.T) {
	f := newFixture(t)
	data := f.leaf(testca.Options{Addresses: []string{string(carol), "c@outside.example"}}).Certificate.Raw
	one := Options{Addresses: []mailaddr.Address{carol}, Name: "carol.der"}
	for _, want := range []string{New, Unchanged, Unchanged} {
		r, err := f.installer.Install(t.Context(), data, one)
		if err != nil || !r.Done || r.Certificates[0].State != want {
			t.Fatalf("%+v, %v; want %s", r, err, want)
		}
	}
	if r := f.examine(data, Options{}); r.Certificates[0].State != Changed || r.Done {
		t.Errorf("%+v, want a change", r.Certificates[0])
	}
	list := must(f.installer.List(t.Context()))
	if len(list.Certificates) != 1 || len(list.Certificates[0].For) != 1 || list.Certificates[0].From != "carol.der" || !list.Certificates[0].For[0].Used {
		t.Errorf("%+v", list)
	}
}

// TestJudge: what was installed decides about signatures, for the addresses it was installed for only.
func TestJudge(t *testing.T) {
	f := newFixture(t)
	leaf := f.leaf(testca.Options{Addresses: []string{string(carol), "c@outside.example"}})
	mail, other := f.signed(string(carol), leaf), f.signed("c@outside.example", leaf)
	verdict := func(mail []byte) smime.Verdict {
		return must(f.verify(t.Context(), bytes.NewReader(mail))).Verdict
	}
	if got := verdict(mail); got != smime.Untrusted {
		t.Errorf("before: %s", got)
	}
	if _, err := f.installer.Install(t.Context(), mail, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := verdict(mail); got != smime.Valid {
		t.Errorf("installed: %s", got)
	}
	if got := verdict(other); got != smime.Untrusted {
		t.Errorf("installed for another address: %s", got)
	}
	f.failingLookups = true // what was installed counts without the address book
	if got := verdict(mail); got != smime.Valid {
		t.Errorf("without the address book: %s", got)
	}
	f.failingLookups = false
	if err := f.installer.Remove(fingerprint(leaf.Certificate)); err != nil {
		t.Fatal(err)
	}
	if got := verdict(mail); got != smime.Untrusted {
		t.Errorf("removed: %s", got)
	}
	// A trusted issuer makes all of its signatures trusted, and nothing of the address book.
	if _, err := f.installer.Install(t.Context(), testca.CertificatePEM(f.outside.Certificate), Options{Issuer: true}); err != nil {
		t.Fatal(err)
	}
	if got := verdict(other); got != smime.Valid {
		t.Errorf("under a trusted issuer: %s", got)
	}
	f.book[carol] = recipients.Found{Sightings: []directory.Sighting{{Seen: now, Entry: directory.Entry{Primary: carol, Addresses: []directory.Address{carol},
		Certificates: []directory.UserCertificate{{Raw: leaf.Certificate.Raw}}}}}}
	if a := must(f.installer.Book.Lookup(t.Context(), []string{string(carol)})).Recipients[0]; a.State != trust.Untrusted {
		t.Errorf("a certificate of the address book under that issuer: %s", a.State)
	}
	if err := f.installer.Untrust(fingerprint(f.outside.Certificate), nil); err != nil {
		t.Fatal(err)
	}
	if got := verdict(other); got != smime.Untrusted {
		t.Errorf("under an issuer no longer trusted: %s", got)
	}
}

// TestIntermediatesOfTheDirectory: a mail without its chain is verified with what the address book has for its sender.
func TestIntermediatesOfTheDirectory(t *testing.T) {
	f := newFixture(t)
	sub := must(f.home.Intermediate("Sub CA"))
	leaf := must(sub.Leaf(testca.Options{Addresses: []string{string(carol)}, Key: rsaKeys()[0], NotBefore: now.Add(-time.Hour)}))
	mail := f.signed(string(carol), leaf)
	verdict := func() smime.Verdict { return must(f.verify(t.Context(), bytes.NewReader(mail))).Verdict }
	if got := verdict(); got != smime.Untrusted {
		t.Errorf("without the intermediate: %s", got)
	}
	f.book[carol] = recipients.Found{Sightings: []directory.Sighting{{Seen: now, Entry: directory.Entry{Primary: carol, Addresses: []directory.Address{carol},
		Intermediates: [][]byte{sub.Certificate.Raw}}}}}
	if got := verdict(); got != smime.Valid {
		t.Errorf("with that of the address book: %s", got)
	}
}

// TestTrustFromDirectory: a certificate that the address book has can be trusted without being installed before.
func TestTrustFromDirectory(t *testing.T) {
	f := newFixture(t)
	leaf := f.leaf(testca.Options{})
	sum := fingerprint(leaf.Certificate)
	if _, err := f.installer.Trust(t.Context(), sum, TrustOptions{}); !errors.Is(err, keyring.ErrNotInstalled) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := f.installer.Trust(t.Context(), sum, TrustOptions{Known: leaf.Certificate, Addresses: []mailaddr.Address{"x@outside.example"}}); !errors.Is(err, ErrNotNamed) {
		t.Errorf("another address: %v", err)
	}
	e, err := f.installer.Trust(t.Context(), sum, TrustOptions{Known: leaf.Certificate})
	if err != nil || !e.For[0].Used || e.For[0].Trusted.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestListWithoutDirectory: what is installed is listed, and decided about, while the address book does not answer.
func TestListWithoutDirectory(t *testing.T) {
	f := newFixture(t)
	leaf := f.leaf(testca.Options{})
	sum := fingerprint(leaf.Certificate)
	if _, err := f.installer.Trust(t.Context(), sum, TrustOptions{Known: leaf.Certificate}); err != nil {
		t.Fatal(err)
	}
	f.failingLookups = true
	list, err := f.installer.List(t.Context())
	if err != nil || len(list.Certificates) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if p := list.Certificates[0].For[0]; p.State != trust.Unknown || p.Used || len(p.Reasons) != 1 || !strings.Contains(p.Reasons[0], "nobody answers") {
		t.Errorf("%+v", p)
	}
	if e, err := f.installer.Trust(t.Context(), sum, TrustOptions{}); err != nil || e == nil {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	f := newFixture(t)
	for name, tc := range map[string]struct {
		data []byte
		o    Options
		want error
	}{
		"too large":           {make([]byte, MaxMail+1), Options{}, ErrTooLarge},
		"damaged":             {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Options{}, certfile.ErrNoCertificate},
		"no mail":             {[]byte("\x00\x01\x02"), Options{}, smime.ErrHeader},
		"not named":           {f.leaf(testca.Options{}).Certificate.Raw, Options{Addresses: []mailaddr.Address{"x@y.example"}}, ErrNotNamed},
		"no authority inside": {f.leaf(testca.Options{}).Certificate.Raw, Options{Issuer: true}, ErrNoAuthority},
	} {
		if _, err := f.installer.Install(t.Context(), tc.data, tc.o); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	var refusal *Refusal
	if _, err := f.installer.Install(t.Context(), []byte("From: a@b.example\r\n\r\nhello\r\n"), Options{}); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "no signature") {
		t.Errorf("an unsigned mail: %v", err)
	}
}

// TestSibling: of a sender with a certificate for signatures only, the one for encryption that came along is taken when the
// same authority signed it, and not when somebody on the way added one with the same names.
func TestSibling(t *testing.T) {
	f := newFixture(t)
	signing := f.leaf(testca.Options{CommonName: "Carol", KeyUsage: x509.KeyUsageDigitalSignature})
	genuine := f.leaf(testca.Options{CommonName: "Carol", KeyUsage: x509.KeyUsageKeyEncipherment}).Certificate
	impostor := must(testca.New("Outside CA")) // of the same name
	forged := must(impostor.Leaf(testca.Options{CommonName: "Carol", Addresses: []string{string(carol)}, Key: rsaKeys()[0], KeyUsage: x509.KeyUsageKeyEncipherment})).Certificate
	trusted := must(f.home.Leaf(testca.Options{CommonName: "Carol", Addresses: []string{string(carol)}, Key: rsaKeys()[0], NotBefore: now.Add(-time.Hour), KeyUsage: x509.KeyUsageKeyEncipherment})).Certificate
	elsewhere := must(must(testca.New("Elsewhere CA")).Leaf(testca.Options{CommonName: "Carol", Addresses: []string{string(carol)}, Key: rsaKeys()[0], KeyUsage: x509.KeyUsageKeyEncipherment})).Certificate
	somebody := must(f.outside.Leaf(testca.Options{CommonName: "Dave", Addresses: []string{"dave@outside.example"}, Key: rsaKeys()[0], KeyUsage: x509.KeyUsageKeyEncipherment})).Certificate
	for name, tc := range map[string]struct {
		beside    []*x509.Certificate
		preferred *x509.Certificate
		want      *x509.Certificate // besides the signer's
		trusted   bool              // the signer is
	}{
		"genuine":                      {[]*x509.Certificate{f.outside.Certificate, genuine}, nil, genuine, false},
		"forged":                       {[]*x509.Certificate{f.outside.Certificate, forged, impostor.Certificate}, nil, nil, false},
		"without its authority":        {[]*x509.Certificate{genuine}, nil, nil, false},
		"named":                        {[]*x509.Certificate{f.outside.Certificate, genuine}, genuine, genuine, false},
		"named, forged":                {[]*x509.Certificate{f.outside.Certificate, forged, impostor.Certificate}, forged, nil, false},
		"named, of another, trusted":   {[]*x509.Certificate{trusted}, trusted, trusted, false},
		"named, without its authority": {[]*x509.Certificate{genuine}, genuine, genuine, false},
		"named, of another, untrusted": {[]*x509.Certificate{elsewhere}, elsewhere, nil, false},
		"named, of somebody else":      {[]*x509.Certificate{somebody}, somebody, nil, false},
		"named, without its authority, by a trusted signer": {[]*x509.Certificate{genuine}, genuine, nil, true},
	} {
		certs := append([]*x509.Certificate{signing.Certificate}, tc.beside...)
		verdict := smime.Untrusted
		if tc.trusted {
			verdict = smime.Valid
		}
		m := f.installer.fromMail(&smime.Verification{Verdict: verdict, From: string(carol), Layers: []smime.Layer{{Kind: smime.SignedLayer, Verdict: verdict, Certificates: certs,
			Signatures: []smime.Signature{{Verdict: verdict, Preferred: tc.preferred, Certificate: &smime.SignerCertificate{X509: signing.Certificate}}}}}})
		want := []*x509.Certificate{signing.Certificate}
		if tc.want != nil {
			want = []*x509.Certificate{tc.want, signing.Certificate}
		}
		if !slices.EqualFunc(m.people, want, (*x509.Certificate).Equal) {
			t.Errorf("%s: %d certificates, want %d", name, len(m.people), len(want))
		}
		if unproven := slices.Contains(remarks(m.remarks), CodeUnproven); unproven != (tc.preferred != nil && (tc.want == nil || name == "named, without its authority")) {
			t.Errorf("%s: %v", name, m.remarks)
		}
	}
}

// revoked knows that some certificates were revoked, by their serial numbers, and that all others were not.
type revoked map[string]bool

func (r revoked) Generation() uint64 { return uint64(len(r)) }

func (r revoked) Revocation(cert, _ *x509.Certificate, now time.Time) trust.Revocation {
	if r[cert.SerialNumber.String()] {
		return trust.Revocation{Status: trust.StatusRevoked, Since: now.Add(-time.Hour), From: now.Add(-time.Hour)}
	}
	return trust.Revocation{Status: trust.StatusGood, From: now.Add(-time.Hour), Until: now.Add(time.Hour)}
}

// TestRevokedUnderTrustedIssuer: what an issuer that the person trusts has revoked is neither encrypted to nor believed,
// also when the person had trusted the certificate itself before.
func TestRevokedUnderTrustedIssuer(t *testing.T) {
	for _, tc := range []struct {
		name     string
		anchor   bool // the authority is one of the anchors, too
		decision bool // the person trusted the certificate before the issuer
	}{
		{"by the issuer", false, false},
		{"by the issuer, of a trusted certificate", false, true},
		{"by the issuer, which is an anchor too, of a trusted certificate", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			list := revoked{}
			f.shelf.Policy.Revocations = list
			leaf := f.leaf(testca.Options{})
			mail := f.signed(string(carol), leaf)
			issuer := testca.CertificatePEM(f.outside.Certificate)
			files := [][]byte{issuer, mail}
			if tc.decision {
				files = [][]byte{mail, issuer}
			}
			for _, file := range files {
				if _, err := f.installer.Install(t.Context(), file, Options{Issuer: bytes.Equal(file, issuer)}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.anchor {
				f.shelf.Policy.Anchors.AddCert(f.outside.Certificate)
			}
			look := func() trust.State {
				return must(f.installer.Book.Lookup(t.Context(), []string{string(carol)})).Recipients[0].State
			}
			if state, v := look(), must(f.verify(t.Context(), bytes.NewReader(mail))); state != trust.Encryptable || v.Verdict != smime.Valid {
				t.Errorf("before: %s, %s", state, v.Verdict)
			}
			list[leaf.Certificate.SerialNumber.String()] = true
			if state, v := look(), must(f.verify(t.Context(), bytes.NewReader(mail))); state != trust.Revoked || v.Verdict != smime.Untrusted {
				t.Errorf("revoked: %s, %s", state, v.Verdict)
			}
		})
	}
}

// TestRevokedAuthority: an authority that one above it has revoked is not saved by a person's trust in it.
func TestRevokedAuthority(t *testing.T) {
	f := newFixture(t)
	sub := must(f.home.Intermediate("Sub CA"))
	f.outside = sub // the fixture's mails come from there
	list := revoked{}
	f.shelf.Policy.Revocations = list
	mail := f.signed(string(carol), f.leaf(testca.Options{}))
	if _, err := f.installer.Install(t.Context(), testca.CertificatePEM(sub.Certificate), Options{Issuer: true}); err != nil {
		t.Fatal(err)
	}
	if v := must(f.verify(t.Context(), bytes.NewReader(mail))); v.Verdict != smime.Valid {
		t.Errorf("before: %s", v.Verdict)
	}
	list[sub.Certificate.SerialNumber.String()] = true
	if v := must(f.verify(t.Context(), bytes.NewReader(mail))); v.Verdict != smime.Untrusted {
		t.Errorf("revoked: %s", v.Verdict)
	}
}

// TestIssuerFromMail: of the authorities that come with a mail only those above its signer are trusted, and none when the mail
// was changed.
func TestIssuerFromMail(t *testing.T) {
	f := newFixture(t)
	stranger := must(testca.New("Stranger CA"))
	leaf := f.leaf(testca.Options{})
	var out bytes.Buffer
	_, err := smime.Sign(t.Context(), strings.NewReader("From: carol@outside.example\r\n\r\nHello there.\r\n"), &out, &smime.SignOptions{Time: now,
		Signer: smime.Signer{Certificate: leaf.Certificate, Key: leaf.Key, Intermediates: []*x509.Certificate{stranger.Certificate, f.outside.Certificate}}})
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(out.Bytes(), []byte("Hello there"), []byte("Hello here!"), 1)
	if _, err := f.installer.Install(t.Context(), changed, Options{Issuer: true}); err == nil {
		t.Error("a changed mail brought an issuer")
	}
	if _, err := f.installer.Install(t.Context(), out.Bytes(), Options{Issuer: true}); err != nil {
		t.Fatal(err)
	}
	list := must(f.shelf.Store.Issuers())
	if len(list) != 1 || !list[0].Certificate.Equal(f.outside.Certificate) {
		t.Errorf("%d issuers are trusted: %v", len(list), list)
	}
}
