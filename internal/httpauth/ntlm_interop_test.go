//go:build interop

package httpauth

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

const (
	testUser     = "svc-galsync"
	testPassword = "Pässwörd-42"
)

// TestInteropNTLMAcceptor shakes hands with gss-ntlmssp, which checks the proof, the channel binding and the MIC. A
// server that requires a binding looks at the flag with which it tells that there was one.
func TestInteropNTLMAcceptor(t *testing.T) {
	needNTLMPlugin(t)
	users := write(t, t.TempDir(), "users", "CORP:"+testUser+":"+testPassword+"\n")
	a := newAcceptor(t, "NTLM_USER_FILE="+users)
	right := append([]byte("tls-server-end-point:"), bytes.Repeat([]byte{7}, 32)...)
	wrong := append([]byte("tls-server-end-point:"), bytes.Repeat([]byte{8}, 32)...)
	for name, tc := range map[string]struct {
		server, client []byte // binding
		password       string
		spoil          func(m []byte)
		ok, bound      bool
	}{
		"right binding":             {server: right, client: right, ok: true, bound: true},
		"binding asked, not sent":   {server: right, ok: true},
		"wrong binding":             {server: right, client: wrong},
		"no binding asked nor sent": {ok: true},
		"binding not asked":         {client: right, ok: true},
		"MIC damaged":               {server: right, client: right, spoil: func(m []byte) { m[micAt] ^= 1 }},
		"MIC zero":                  {server: right, client: right, spoil: func(m []byte) { clear(m[micAt:payloadAt]) }},
		"proof damaged":             {server: right, client: right, spoil: func(m []byte) { m[payloadAt+24] ^= 1 }},
		"wrong password":            {server: right, client: right, password: "wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			negotiate := newNegotiate()
			challenge := a.accept(mechNTLM, negotiate, tc.server, true)
			if challenge.Error != "" {
				t.Fatalf("first message: %s", challenge.Error)
			}
			c, err := parseChallenge(challenge.Token)
			if err != nil {
				t.Fatal(err)
			}
			answer := ntlmAnswer{username: `CORP\` + testUser, password: testPassword, endPoint: tc.client, target: "HTTP/mail.example.com", nonce: [8]byte{1}, now: time.Now()}
			if tc.password != "" {
				answer.password = tc.password
			}
			m := answer.message(negotiate, c)
			if tc.spoil != nil {
				tc.spoil(m)
			}
			got := a.accept(mechNTLM, m, nil, false)
			if tc.ok != (got.Error == "" && got.Complete) {
				t.Errorf("%+v", got)
			}
			if bound := got.Flags&channelBound != 0; bound != tc.bound {
				t.Errorf("bound %t, want %t", bound, tc.bound)
			}
			if tc.ok && !strings.Contains(got.Initiator, testUser) {
				t.Errorf("signed in as %q", got.Initiator)
			}
		})
	}
}
