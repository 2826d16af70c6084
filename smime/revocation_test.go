package smime

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// always answers the same about every certificate.
type always trust.Revocation

func (a always) Revocation(_, _ *x509.Certificate, _ time.Time) trust.Revocation {
	return trust.Revocation(a)
}
func (always) Generation() uint64 { return 1 }

// TestVerifyRevoked: what a revoked key signed is not believed, whatever time the mail claims; what is not known is said.
func TestVerifyRevoked(t *testing.T) {
	mail := opaqueMail("rsa@alpha.example", load(t, "sig/rsa.sha256.opaque.der"))
	claimed := *verifyString(t, mail, vectorOptions(t)).Layers[0].Signatures[0].SigningTime
	for _, tc := range []struct {
		name    string
		known   trust.Revocation
		need    bool
		verdict Verdict
		reason  string
		warning string
	}{
		{"good", trust.Revocation{Status: trust.StatusGood}, true, Valid, "", ""},
		{"before it was signed", trust.Revocation{Status: trust.StatusRevoked, Since: claimed.Add(-time.Hour), Reason: "key compromise"}, false, Untrusted,
			"even the claimed time of signing", ""},
		{"after it was signed", trust.Revocation{Status: trust.StatusRevoked, Since: claimed.Add(time.Hour)}, false, Untrusted,
			"is before the revocation, but that time is only what the signer says", ""},
		{"unknown", trust.Revocation{Status: trust.StatusUnknown, Reason: "its CRL was not fetched yet"}, false, Valid, "", "it is not known whether the certificate was revoked: its CRL"},
		{"nobody says", trust.Revocation{Status: trust.StatusUnknown, Reason: "nobody says", Unpublished: true}, false, Valid, "", ""},
		{"unknown, required", trust.Revocation{Status: trust.StatusUnknown, Reason: "its CRL was not fetched yet"}, true, Untrusted, "not known to be free of revocation", ""},
	} {
		opts := vectorOptions(t)
		policy := opts.Policy.(*trust.Policy)
		policy.Revocations, policy.RevocationRequired = always(tc.known), tc.need
		v := verifyString(t, mail, opts)
		if v.Verdict != tc.verdict || !strings.Contains(strings.Join(v.Reasons, "\n"), tc.reason) {
			t.Errorf("%s: %s %q, want %s with %q", tc.name, v.Verdict, v.Reasons, tc.verdict, tc.reason)
		}
		warned := slices.ContainsFunc(v.Warnings, func(w string) bool { return strings.Contains(w, "revoked") })
		if warned != (tc.warning != "") && tc.verdict == Valid || !strings.Contains(strings.Join(v.Warnings, "\n"), tc.warning) {
			t.Errorf("%s: warnings %q", tc.name, v.Warnings)
		}
	}
}
