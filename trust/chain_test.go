package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// authority makes a CA certificate that the template's changes describe, signed by parent, or by itself.
func authority(t testing.TB, name string, parent *testca.CA, change func(*x509.Certificate)) *testca.CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return authorityWithKey(t, name, parent, key, change)
}

func authorityWithKey(t testing.TB, name string, parent *testca.CA, key crypto.Signer, change func(*x509.Certificate)) *testca.CA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(mathrand.Int64()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(5, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	if change != nil {
		change(template)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Certificate, parent.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testca.CA{Certificate: cert, Key: key}
}

func TestChain(t *testing.T) {
	root := authority(t, "Root", nil, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	sub := func(name string, change func(*x509.Certificate)) *testca.CA { return authority(t, name, root, change) }
	short := sub("Short", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	constrained := func(permitted, excluded []string) *testca.CA {
		return sub("Constrained", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedEmailAddresses, c.ExcludedEmailAddresses = true, permitted, excluded
		})
	}
	expiredLeaf := testca.Options{NotBefore: now.AddDate(-3, 0, 0), NotAfter: now.AddDate(-2, 0, 0)}
	subject := testca.Options{Addresses: []string{}, CommonName: "Alice", SubjectEmail: string(alice)}
	const notAllowed = "untrusted: issued by CN=Constrained, but an authority in its chain may not issue certificates for this address"
	for _, tc := range []struct {
		name string
		ca   *testca.CA
		o    testca.Options
		want []string
	}{
		{name: "intermediate", ca: sub("Sub", nil)},
		{name: "expired intermediate", ca: sub("Old Sub", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }),
			o:    testca.Options{NotBefore: now.AddDate(0, -1, 0)},
			want: []string{"untrusted: issued by CN=Old Sub, but the authority CN=Old Sub expired on 2027-01-04"}},
		{name: "leaf expired before its intermediate did", ca: sub("Old Sub", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }),
			o: expiredLeaf, want: []string{"expired: expired 730 days ago (2025-01-05)"}},
		{name: "intermediate that is no authority", ca: sub("Person", func(c *x509.Certificate) { c.IsCA = false }),
			want: []string{"untrusted: issued by CN=Person, but its chain to a trusted anchor does not hold: invalid signature: parent certificate cannot sign this kind of certificate"}},
		{name: "intermediate that may not sign certificates", ca: sub("Signer", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }),
			want: []string{"untrusted: issued by CN=Signer, but its chain to a trusted anchor does not hold: invalid signature: parent certificate cannot sign this kind of certificate"}},
		{name: "chain that ends elsewhere", ca: authority(t, "Foreign Sub", authority(t, "Foreign Root", nil, nil), nil),
			want: []string{"untrusted: issued by CN=Foreign Sub, whose chain ends in CN=Foreign Root, which is not among the trusted anchors"}},
		{name: "intermediate for TLS", ca: sub("TLS", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
			want: []string{"untrusted: issued by CN=TLS, but an authority in its chain is not for mail certificates"}},
		{name: "intermediate for mail", ca: sub("Mail", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })},
		{name: "intermediate for anything", ca: sub("Any", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		{name: "leaf for TLS under a good authority is one finding", ca: sub("Sub", nil), o: testca.Options{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
			want: []string{"wrong-usage: not for mail: its extended key usage lacks emailProtection"}},
		{name: "weak intermediate key", ca: authorityWithKey(t, "Weak", root, weak, nil),
			want: []string{"untrusted: issued by CN=Weak, which is not among the trusted anchors"}},
		{name: "path too long", ca: authority(t, "Sub of sub", short, nil),
			want: []string{"untrusted: issued by CN=Sub of sub, but its chain to a trusted anchor does not hold: too many intermediates for path length constraint"}},

		{name: "permitted host", ca: constrained([]string{"corp.example"}, nil)},
		{name: "permitted mailbox in other case", ca: constrained([]string{"alice@corp.example"}, nil)},
		{name: "permitted domain, host itself is not in it", ca: constrained([]string{".corp.example"}, nil), want: []string{notAllowed}},
		{name: "other domain permitted", ca: constrained([]string{"other.example"}, nil), want: []string{notAllowed}},
		{name: "a host is not its subdomains", ca: constrained([]string{"example"}, nil), want: []string{notAllowed}},
		{name: "excluded host", ca: constrained(nil, []string{"corp.example"}), want: []string{notAllowed}},
		{name: "excluded mailbox in other case", ca: constrained(nil, []string{"Alice@corp.example"}), want: []string{notAllowed}},
		{name: "subject address permitted", ca: constrained([]string{"corp.example"}, nil), o: subject},
		{name: "subject address not permitted", ca: constrained([]string{"other.example"}, nil), o: subject, want: []string{notAllowed}},
		{name: "subject address excluded", ca: constrained(nil, []string{"corp.example"}), o: subject, want: []string{notAllowed}},
		{name: "every address must be permitted", ca: constrained([]string{"corp.example"}, nil), o: testca.Options{Addresses: []string{string(alice), "a@other.example"}}, want: []string{notAllowed}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaf := issue(t, tc.ca, tc.o)
			got := policy(root.Certificate).ForEncryption(leaf, trust.Question{
				Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: []*x509.Certificate{tc.ca.Certificate, short.Certificate},
			})
			if diff := cmp.Diff(tc.want, reasons(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpiredAnchor(t *testing.T) {
	root := authority(t, "Old Root", nil, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -10) })
	leaf := issue(t, root, testca.Options{NotBefore: now.AddDate(0, -1, 0)})
	got := reasons(policy(root.Certificate).ForEncryption(leaf, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}))
	want := []string{"untrusted: issued by CN=Old Root, but the authority CN=Old Root expired on 2026-12-26"}
	if !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// crypto/x509 makes no SHA-1 signatures for ECDSA, so the authority has an RSA key and signs with SHA1WithRSA.
func TestSHA1(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	root := authorityWithKey(t, "SHA-1 Root", nil, key, nil)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Alice"}, EmailAddresses: []string{string(alice)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), SignatureAlgorithm: x509.SHA1WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root.Certificate, keys().rsa2048.Public(), key)
	if err != nil {
		t.Fatalf("crypto/x509 no longer makes SHA-1 signatures: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	got := reasons(policy(root.Certificate).ForEncryption(leaf, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}))
	want := []string{"untrusted: signed with SHA1-RSA by CN=SHA-1 Root; such signatures can be forged"}
	if !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A heap of authorities that all have one name and sign each other must not keep the processor busy.
func TestManyIntermediates(t *testing.T) {
	root := authority(t, "Root", nil, nil)
	var heap []*testca.CA
	var certs []*x509.Certificate
	for range 12 {
		heap = append(heap, authority(t, "Heap", nil, nil))
	}
	for _, a := range heap {
		for _, b := range heap {
			key := a.Key.(*ecdsa.PrivateKey)
			certs = append(certs, authorityWithKey(t, "Heap", b, key, nil).Certificate)
		}
	}
	leaf := issue(t, heap[0], testca.Options{})
	begin := time.Now()
	got := policy(root.Certificate).ForEncryption(leaf, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: certs})
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("took %s", took)
	}
	if len(got) != 1 || got[0].State != trust.Untrusted {
		t.Errorf("got %q", reasons(got))
	}
}

// The remembered verdict is the verdict, whatever the order of questions and times.
func TestCacheAgrees(t *testing.T) {
	root := authority(t, "Root", nil, func(c *x509.Certificate) { c.NotAfter = now.Add(90 * time.Minute) })
	late := authority(t, "Late Root", nil, func(c *x509.Certificate) { c.NotBefore = now.Add(30 * time.Minute) })
	var subs []*testca.CA
	for i := range 6 {
		from, to := now.Add(time.Duration(i*10-40)*time.Minute), now.Add(time.Duration(i*10+20)*time.Minute)
		parent := []*testca.CA{root, late}[i%2]
		subs = append(subs, authority(t, fmt.Sprintf("Sub %d", i/2), parent, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }))
	}
	var leaves []*x509.Certificate
	for i, ca := range subs {
		leaves = append(leaves, issue(t, ca, testca.Options{NotBefore: now.Add(time.Duration(i*7-60) * time.Minute), NotAfter: now.Add(time.Duration(i*9+10) * time.Minute)}))
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	cached := policy(root.Certificate, late.Certificate)
	usable := 0
	for range 3000 {
		var with []*x509.Certificate
		for _, ca := range subs {
			if random.IntN(2) == 0 {
				with = append(with, ca.Certificate)
			}
		}
		q := trust.Question{Addresses: []mailaddr.Address{alice}, Intermediates: with, Now: now.Add(time.Duration(random.IntN(240)-120) * time.Minute)}
		leaf := leaves[random.IntN(len(leaves))]
		want := policy(root.Certificate, late.Certificate).ForEncryption(leaf, q)
		if got := cached.ForEncryption(leaf, q); !cmp.Equal(got, want) {
			t.Fatalf("at %s with %d intermediates: remembered %q, computed %q", q.Now, len(with), reasons(got), reasons(want))
		}
		if len(want) == 0 {
			usable++
		}
	}
	if usable < 100 {
		t.Errorf("only %d of 3000 questions had a usable certificate; the test proves little", usable)
	}
}

// TestFailuresAreForgotten: that no chain was found is remembered for less than a minute, not beyond the time at which an
// authority at hand becomes valid, and not when anything else is at hand.
func TestFailuresAreForgotten(t *testing.T) {
	root, late := authority(t, "Root", nil, nil), newCA(t, "Late Anchor")
	soon := authority(t, "Sub", root, func(c *x509.Certificate) { c.NotBefore = now.Add(30 * time.Second) })
	sub := authority(t, "Sub 2", root, nil)
	leaf, other, third := issue(t, soon, testca.Options{}), issue(t, sub, testca.Options{}), issue(t, late, testca.Options{})
	p := policy(root.Certificate)
	for i, step := range []struct {
		after time.Duration
		leaf  *x509.Certificate
		with  []*x509.Certificate
		good  bool
	}{
		{0, leaf, []*x509.Certificate{soon.Certificate}, false},
		{29 * time.Second, leaf, []*x509.Certificate{soon.Certificate}, false},
		{30 * time.Second, leaf, []*x509.Certificate{soon.Certificate}, true},
		{29 * time.Second, leaf, []*x509.Certificate{soon.Certificate}, false},
		{0, other, nil, false},
		{time.Second, other, []*x509.Certificate{sub.Certificate}, true},
		{time.Second, other, nil, false},
		{0, third, nil, false},
	} {
		got := p.ForEncryption(step.leaf, trust.Question{Addresses: []mailaddr.Address{alice}, Intermediates: step.with, Now: now.Add(step.after)})
		if (len(got) == 0) != step.good {
			t.Errorf("step %d: %q", i, reasons(got))
		}
	}
	p.Anchors.AddCert(late.Certificate) // what no key shows
	for _, step := range []struct {
		after time.Duration
		good  bool
	}{{0, false}, {time.Minute - 1, false}, {time.Minute, true}, {0, true}, {-time.Second, true}} {
		got := p.ForEncryption(third, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now.Add(step.after)})
		if (len(got) == 0) != step.good {
			t.Errorf("%v after the failure: %q", step.after, reasons(got))
		}
	}
}

// TestHostileChainsCostOnce: authorities with slow keys that lead nowhere are examined once, not with each question.
func TestHostileChainsCostOnce(t *testing.T) {
	slow := func() *testca.CA {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return authorityWithKey(t, "Nowhere", nil, key, nil)
	}
	nowhere := slow()
	var with []*x509.Certificate
	for range trust.MaxIntermediates {
		with = append(with, slow().Certificate)
	}
	leaf := issue(t, nowhere, testca.Options{})
	p := policy(newCA(t, "Root").Certificate)
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Intermediates: with, Now: now}
	began := time.Now()
	first := p.ForEncryption(leaf, q)
	once := time.Since(began)
	began = time.Now()
	for range 5 {
		if got := p.ForEncryption(leaf, q); !cmp.Equal(got, first) || len(got) == 0 {
			t.Fatalf("remembered %q, computed %q", reasons(got), reasons(first))
		}
	}
	if again := time.Since(began); again > once {
		t.Errorf("the first question took %v, five more %v", once, again)
	} else {
		t.Logf("the first question took %v, five more %v", once, again)
	}
}

func TestConcurrentUse(t *testing.T) {
	ca := newCA(t, "Root")
	leaf := issue(t, ca, testca.Options{})
	p := policy(ca.Certificate)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				if got := p.ForEncryption(leaf, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now}); len(got) > 0 {
					t.Errorf("got %q", reasons(got))
					return
				}
			}
		})
	}
	group.Wait()
}

func FuzzForEncryption(f *testing.F) {
	ca := newCA(f, "Root")
	f.Add(issue(f, ca, testca.Options{}).Raw)
	f.Add(issue(f, ca, testca.Options{Addresses: []string{}, CommonName: "G", ExtraExtensions: []pkix.Extension{otherNames(f, oidSmtpUTF8, true, "grün@corp.example")}}).Raw)
	f.Add(issue(f, ca, testca.Options{Addresses: []string{}, CommonName: "G", SubjectEmail: string(alice)}).Raw)
	p := policy(ca.Certificate)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		found := p.ForEncryption(cert, trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: []*x509.Certificate{cert}})
		for _, one := range found {
			if one.Reason == "" || one.State == trust.Encryptable {
				t.Fatalf("finding without a reason: %+v", one)
			}
		}
		for _, a := range trust.CertificateAddresses(cert) {
			if again, err := mailaddr.Parse(string(a)); err != nil || again != a {
				t.Fatalf("%q is not canonical", a)
			}
		}
		_ = trust.KeyName(cert)
	})
}

func BenchmarkForEncryption(b *testing.B) {
	ca := newCA(b, "Root")
	sub, err := ca.Intermediate("Sub")
	if err != nil {
		b.Fatal(err)
	}
	leaf := issue(b, sub, testca.Options{})
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: []*x509.Certificate{sub.Certificate}}
	for _, remembered := range []bool{false, true} {
		name := strings.TrimSpace(map[bool]string{false: "computed", true: "remembered"}[remembered])
		b.Run(name, func(b *testing.B) {
			p := policy(ca.Certificate)
			for b.Loop() {
				if !remembered {
					p = policy(ca.Certificate)
				}
				if got := p.ForEncryption(leaf, q); len(got) > 0 {
					b.Fatal(reasons(got))
				}
			}
		})
	}
}
