package recipients

import (
	"crypto/x509"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// register has revoked one certificate in three, and knows nothing about another; which ones depends on the seed.
type register struct{ seed uint64 }

func (r register) Revocation(cert, _ *x509.Certificate, _ time.Time) trust.Revocation {
	h := fnv.New64a()
	h.Write(cert.Raw)
	switch (h.Sum64() + r.seed) % 3 {
	case 0:
		return trust.Revocation{Status: trust.StatusRevoked, Since: now.Add(-day), Reason: "superseded"}
	case 1:
		return trust.Revocation{Status: trust.StatusUnknown, Reason: "its CRL was not fetched yet"}
	}
	return trust.Revocation{Status: trust.StatusGood, Until: now.Add(day)}
}

func (r register) Generation() uint64 { return r.seed }

// TestRevocationIsTold: answers carry what is known about the revocation of the chosen certificate and of each candidate.
func TestRevocationIsTold(t *testing.T) {
	f := newFixture(t)
	cert := f.good()
	d := &shelf{completed: now}
	d.put(seen(cert))
	told := map[trust.RevocationStatus]bool{}
	for seed := range uint64(3) {
		for _, required := range []bool{false, true} {
			book := f.book(d)
			book.Policy.Revocations, book.Policy.RevocationRequired = register{seed}, required
			result, err := book.Lookup(t.Context(), []string{string(alice)})
			if err != nil {
				t.Fatal(err)
			}
			a := result.Recipients[0]
			r := a.Explain[0].Revocation
			if r == nil {
				t.Fatal("nothing is told about the candidate")
			}
			told[r.Status] = true
			warned := strings.Contains(strings.Join(a.Warnings, " "), "it is not known whether the certificate was revoked")
			want := map[trust.RevocationStatus]trust.State{trust.StatusGood: trust.Encryptable, trust.StatusRevoked: trust.Revoked, trust.StatusUnknown: trust.Encryptable}[r.Status]
			if r.Status == trust.StatusUnknown && required {
				want = trust.RevocationUnknown
			}
			if a.State != want || warned != (r.Status == trust.StatusUnknown && !required) || (a.Revocation != nil) != (a.State == trust.Encryptable) {
				t.Errorf("%s, required %v: %s, warnings %q, %+v", r.Status, required, a.State, a.Warnings, a.Revocation)
			}
		}
	}
	if len(told) != 3 {
		t.Errorf("told %v", told)
	}
}
