package httpauth

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	ntlmssp "github.com/Azure/go-ntlmssp"
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

// hostile answers every message with one challenge.
type hostile struct{ token string }

func (h hostile) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	resp := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}
	resp.Header.Set("WWW-Authenticate", strings.TrimSpace("NTLM "+h.token))
	return resp, nil
}

// FuzzChallenge feeds challenges to the NTLM library: whatever a server sends, it must not panic.
func FuzzChallenge(f *testing.F) {
	f.Add(challenge())
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00"))
	f.Add([]byte{})
	for i := range len(challenge()) {
		f.Add(challenge()[:i])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := http.NewRequest(http.MethodPost, "https://mail.example.com/", bytes.NewReader([]byte("q")))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(`CORP\u`, "p")
		resp, err := ntlmssp.Negotiator{RoundTripper: hostile{base64.StdEncoding.EncodeToString(b)}}.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%v %v", resp, err)
		}
	})
}
