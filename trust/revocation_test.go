package trust_test

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// archive knows about certificates by their common names; all others are good.
type archive struct {
	known      map[string]trust.Revocation
	generation uint64
	asked      int
}

func (a *archive) Revocation(cert, issuer *x509.Certificate, now time.Time) trust.Revocation {
	a.asked++
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		panic(err)
	}
	r, ok := a.known[cert.Subject.CommonName]
	switch {
	case !ok:
		return trust.Revocation{Status: trust.StatusGood}
	case r.Status == trust.StatusGood && !r.Until.IsZero() && now.After(r.Until):
		return trust.Revocation{Status: trust.StatusUnknown, Reason: "its CRL has ended"}
	}
	return r
}

func (a *archive) Generation() uint64 { return a.generation }

var (
	revoked     = trust.Revocation{Status: trust.StatusRevoked, Since: now.AddDate(0, 0, -2), Reason: "key compromise"}
	unknown     = trust.Revocation{Status: trust.StatusUnknown, Reason: "its CRL was not fetched yet"}
	unpublished = trust.Revocation{Status: trust.StatusUnknown, Reason: "nobody says", Unpublished: true}
)

func TestRevocation(t *testing.T) {
	root := newCA(t, "Root")
	sub, err := root.Intermediate("Sub")
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, sub, testca.Options{CommonName: "Alice"})
	old := issue(t, sub, testca.Options{CommonName: "Alice", NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(-1, 0, 0)})
	stranger := issue(t, newCA(t, "Nobody"), testca.Options{CommonName: "Alice"})
	const (
		isRevoked    = "revoked: revoked on 2027-01-03 (key compromise)"
		subIsRevoked = "revoked: issued under CN=Sub,O=galsyncd test, whose own certificate was revoked on 2027-01-03 (key compromise)"
		isUnknown    = "revocation-unknown: not known to be free of revocation: its CRL was not fetched yet"
		subIsUnknown = "revocation-unknown: issued under CN=Sub,O=galsyncd test, of which it is not known whether its own certificate was revoked: its CRL was not fetched yet"
	)
	for _, tc := range []struct {
		name     string
		cert     *x509.Certificate
		known    map[string]trust.Revocation
		required bool
		accept   bool
		want     []string
		status   trust.RevocationStatus
		warning  string
	}{
		{name: "good", cert: leaf, required: true, status: trust.StatusGood},
		{name: "revoked", cert: leaf, known: map[string]trust.Revocation{"Alice": revoked}, want: []string{isRevoked}, status: trust.StatusRevoked},
		{name: "revoked although the directory is believed", cert: leaf, accept: true, known: map[string]trust.Revocation{"Alice": revoked}, want: []string{isRevoked}, status: trust.StatusRevoked},
		{name: "revoked authority", cert: leaf, known: map[string]trust.Revocation{"Sub": revoked, "Alice": unknown}, required: true, want: []string{subIsRevoked}, status: trust.StatusRevoked},
		{name: "the anchor is not asked about", cert: leaf, known: map[string]trust.Revocation{"Root": revoked}, status: trust.StatusGood},
		{name: "unknown", cert: leaf, known: map[string]trust.Revocation{"Alice": unknown}, status: trust.StatusUnknown, warning: "it is not known whether the certificate was revoked"},
		{name: "unknown, required", cert: leaf, known: map[string]trust.Revocation{"Alice": unknown}, required: true, want: []string{isUnknown}, status: trust.StatusUnknown, warning: "it is not known"},
		{name: "unknown authority, required", cert: leaf, known: map[string]trust.Revocation{"Sub": unknown}, required: true, want: []string{subIsUnknown}, status: trust.StatusUnknown, warning: "of CN=Sub,O=galsyncd test, in its chain"},
		{name: "nobody says", cert: leaf, known: map[string]trust.Revocation{"Sub": unpublished}, status: trust.StatusUnknown},
		{name: "nobody says, required", cert: leaf, known: map[string]trust.Revocation{"Alice": unpublished}, required: true,
			want: []string{"revocation-unknown: not known to be free of revocation: nobody says"}, status: trust.StatusUnknown},
		{name: "expired", cert: old, known: map[string]trust.Revocation{"Alice": unknown}, required: true, want: []string{"expired: expired 365 days ago (2026-01-05)"}},
		{name: "expired and revoked", cert: old, known: map[string]trust.Revocation{"Alice": revoked}, want: []string{"expired: expired 365 days ago (2026-01-05)", isRevoked}, status: trust.StatusRevoked},
		{name: "no chain", cert: stranger, known: map[string]trust.Revocation{"Alice": revoked}, required: true,
			want: []string{"untrusted: issued by CN=Nobody,O=galsyncd test, which is not among the trusted anchors"}},
		{name: "no chain needed", cert: stranger, accept: true, status: trust.StatusUnknown},
		{name: "no chain needed, required", cert: stranger, accept: true, required: true, status: trust.StatusUnknown,
			want: []string{"revocation-unknown: not known to be free of revocation: it has no trusted chain, so nobody is known whose word would count"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := policy(root.Certificate)
			p.Revocations, p.RevocationRequired, p.AcceptDirectory = &archive{known: tc.known}, tc.required, tc.accept
			q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: []*x509.Certificate{sub.Certificate}, FromDirectory: true}
			for range 2 { // the second time from memory
				if diff := cmp.Diff(tc.want, reasons(p.ForEncryption(tc.cert, q))); diff != "" {
					t.Errorf("to encrypt (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.want, reasons(p.ForSigning(tc.cert, q))); diff != "" {
					t.Errorf("to believe a signature (-want +got):\n%s", diff)
				}
				r := p.Revocation(tc.cert, q)
				if r.Status != tc.status || !strings.Contains(r.Warning(), tc.warning) || tc.warning == "" && r.Warning() != "" {
					t.Errorf("%+v, warning %q", r, r.Warning())
				}
			}
		})
	}
}

// TestOtherPath: a revoked cross certificate does not matter while another path holds (RFC 5280 section 6.1).
func TestOtherPath(t *testing.T) {
	rootA, rootB := newCA(t, "Root A"), newCA(t, "Root B")
	subA := authority(t, "Sub A", rootA, nil)
	cross := authorityWithKey(t, "Sub A", rootB, subA.Key, nil)
	leaf := issue(t, subA, testca.Options{CommonName: "Alice"})
	p := policy(rootA.Certificate, rootB.Certificate)
	which := &byIssuer{revoked: "Root B"}
	p.Revocations = which
	q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now, Intermediates: []*x509.Certificate{cross.Certificate, subA.Certificate}}
	for _, name := range []string{"Root B", "Root A"} {
		which.revoked, which.generation = name, which.generation+1
		if got := p.ForEncryption(leaf, q); len(got) > 0 {
			t.Errorf("revoked by %s only: %q", name, reasons(got))
		}
	}
	q.Intermediates = q.Intermediates[:1]
	if got := p.ForEncryption(leaf, q); len(got) > 0 {
		t.Errorf("the other path alone: %q", reasons(got))
	}
	which.revoked, which.generation = "Root B", 9
	if got := p.ForEncryption(leaf, q); len(got) != 1 || got[0].State != trust.Revoked {
		t.Errorf("the only path is revoked: %q", reasons(got))
	}
}

// byIssuer has revoked every certificate of one issuer.
type byIssuer struct {
	revoked    string
	generation uint64
}

func (b *byIssuer) Revocation(cert, issuer *x509.Certificate, _ time.Time) trust.Revocation {
	if issuer.Subject.CommonName == b.revoked {
		return revoked
	}
	return trust.Revocation{Status: trust.StatusGood}
}

func (b *byIssuer) Generation() uint64 { return b.generation }

// TestMemoryAgrees moves the clock to and fro while revocation data comes and ends: whatever a policy remembers, one that
// remembers nothing says the same.
func TestMemoryAgrees(t *testing.T) {
	root := newCA(t, "Root")
	names := []string{"Alice", "Bob", "Carol"}
	var certs []*x509.Certificate
	for _, n := range names {
		certs = append(certs, issue(t, root, testca.Options{CommonName: n, NotBefore: now.AddDate(0, 0, -10), NotAfter: now.AddDate(0, 0, 10)}))
	}
	a := &archive{known: map[string]trust.Revocation{}}
	for _, required := range []bool{false, true} {
		p := policy(root.Certificate)
		p.Revocations, p.RevocationRequired = a, required
		rng := rand.New(rand.NewPCG(1, 2))
		states := []trust.Revocation{revoked, unknown, unpublished, {Status: trust.StatusGood}}
		for i := range 2000 {
			if rng.IntN(10) == 0 {
				s := states[rng.IntN(len(states))]
				if s.Status == trust.StatusGood {
					s.Until = now.AddDate(0, 0, rng.IntN(20)-10)
				}
				a.known[names[rng.IntN(len(names))]] = s
				a.generation++
			}
			q := trust.Question{Addresses: []mailaddr.Address{alice}, Now: now.Add(time.Duration(rng.IntN(30*24)-15*24) * time.Hour)}
			cert := certs[rng.IntN(len(certs))]
			fresh := policy(root.Certificate)
			fresh.Revocations, fresh.RevocationRequired = a, required
			got, want := p.ForEncryption(cert, q), fresh.ForEncryption(cert, q)
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: %q, want %q", i, reasons(got), reasons(want))
			}
			if got, want := p.Revocation(cert, q), fresh.Revocation(cert, q); got.Status != want.Status || got.Warning() != want.Warning() {
				t.Fatalf("step %d: %s, want %s", i, fmt.Sprint(got), fmt.Sprint(want))
			}
		}
	}
	if a.asked == 0 {
		t.Error("nobody was asked")
	}
}
