package httpauth

import (
	"slices"
	"testing"
)

func TestSplitOffers(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                nil,
		"NTLM":                            {"NTLM"},
		"NTLM TlRMTVNTUAAC==":             {"NTLM TlRMTVNTUAAC=="},
		"Negotiate, NTLM":                 {"Negotiate", "NTLM"},
		"negotiate , ntlm, BASIC realm=x": {"Negotiate", "NTLM", "Basic realm=x"},
		`Digest realm="a, NTLM", nonce="b\", NTLM", qop = x, NTLM`: {`Digest realm="a, NTLM", nonce="b\", NTLM", qop = x`, "NTLM"},
		`Bearer authorization_uri="https://x", Basic`:              {`Bearer authorization_uri="https://x"`, "Basic"},
		",,": nil,
	} {
		if got := splitOffers([]string{in}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzSplitOffers(f *testing.F) {
	for _, s := range []string{"Negotiate, NTLM", `Digest realm="a, b", NTLM`, `"\`, ", =", "NTLM TlRMTVNTUAAC=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		for _, o := range splitOffers([]string{s}) {
			n += len(o)
		}
		if n > 2*len(s)+2 {
			t.Fatalf("%d bytes from %d", n, len(s))
		}
	})
}
