package httpauth

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	ntlmssp "github.com/Azure/go-ntlmssp"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNTLMv2Vectors holds the values of MS-NLMP section 4.2.4.
func TestNTLMv2Vectors(t *testing.T) {
	key := ntlmKey("User", "Domain", "Password")
	if got := hex.EncodeToString(key); got != "0c868a403bfd7a93a3001ef22ef02e3f" {
		t.Errorf("NTOWFv2 %s", got)
	}
	info := appendPair(nil, 2, utf16LE("Domain"))
	info = appendPair(appendPair(info, 1, utf16LE("Server")), avEOL, nil)
	response := ntlmv2Response(key, unhex(t, "0123456789abcdef"), unhex(t, "aaaaaaaaaaaaaaaa"), make([]byte, 8), info)
	if got := hex.EncodeToString(response[:16]); got != "68cd0ab851e51c96aabc927bebef6a1c" {
		t.Errorf("NTProofStr %s", got)
	}
	if got := hex.EncodeToString(hmacMD5(key, response[:16])); got != "8de40ccadbc14a82f15cb0ad0de95ca3" {
		t.Errorf("SessionBaseKey %s", got)
	}
}

// TestNTLMAgreesWithAnotherClient makes the proof from what github.com/Azure/go-ntlmssp put into its message.
func TestNTLMAgreesWithAnotherClient(t *testing.T) {
	for _, username := range []string{`CORP\svc-galsync`, "svc-galsync@corp.example", "svc-galsync", `CÖRP\Jürgen.Übel`} {
		other, err := ntlmssp.NewAuthenticateMessage(challenge(), username, "Pässwörd", nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fieldAt(t, other, 20)
		c, err := parseChallenge(challenge())
		if err != nil {
			t.Fatal(err)
		}
		user, domain := splitUsername(username)
		got := ntlmv2Response(ntlmKey(user, domain, "Pässwörd"), c.nonce, want[32:40], want[24:32], ntlmAnswer{}.info(c, false))
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", username, got, want)
		}
		ours := ntlmAnswer{username: username, password: "Pässwörd", now: time.Now()}.message(newNegotiate(), c)
		for _, at := range []int{28, 36} { // domain, user
			if !bytes.Equal(fieldAt(t, ours, at), fieldAt(t, other, at)) {
				t.Errorf("%s: field at %d is %q, want %q", username, at, fieldAt(t, ours, at), fieldAt(t, other, at))
			}
		}
	}
}

// fieldAt reads the field of a message whose length and place stand at the given place.
func fieldAt(t *testing.T, m []byte, at int) []byte {
	t.Helper()
	n, from := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
	if from+n > len(m) {
		t.Fatalf("field at %d: %d bytes from %d of %d", at, n, from, len(m))
	}
	return m[from : from+n]
}

// challengeWith is a challenge with these attributes.
func challengeWith(pairs ...avPair) []byte {
	m := challenge()[:56]
	var info []byte
	for _, p := range append(pairs, avPair{avEOL, nil}) {
		info = appendPair(info, p.id, p.value)
	}
	clear(m[12:20]) // no target name
	copy(m[40:], field(nil, len(info), 56))
	return append(m, info...)
}

// TestThirdMessage looks at what the proof covers, and at the MIC.
func TestThirdMessage(t *testing.T) {
	domain := avPair{2, utf16LE("CORP")}
	stamp := avPair{avTimestamp, binary.LittleEndian.AppendUint64(nil, 133700000000000000)}
	endPoint := []byte("tls-server-end-point:0123")
	hash := bindingHash(endPoint)
	for name, tc := range map[string]struct {
		server   []avPair
		endPoint []byte
		target   string
		want     []avPair
		mic      bool
	}{
		"server that names its time": {[]avPair{domain, stamp}, endPoint, "HTTP/x",
			[]avPair{domain, stamp, {avFlags, []byte{2, 0, 0, 0}}, {avChannelBindings, hash[:]}, {avTargetName, utf16LE("HTTP/x")}}, true},
		"plain http": {[]avPair{domain, stamp}, nil, "", []avPair{domain, stamp, {avFlags, []byte{2, 0, 0, 0}}}, true},
		"old server": {[]avPair{domain}, endPoint, "", []avPair{domain, {avChannelBindings, hash[:]}}, false},
		"flags of the server stay": {[]avPair{{avFlags, []byte{1, 0, 0, 0}}, stamp}, nil, "",
			[]avPair{stamp, {avFlags, []byte{3, 0, 0, 0}}}, true},
		"server that says what is the client's to say": {[]avPair{domain, {avChannelBindings, make([]byte, 16)}, {avTargetName, utf16LE("evil")}}, nil, "",
			[]avPair{domain}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parseChallenge(challengeWith(tc.server...))
			if err != nil {
				t.Fatal(err)
			}
			negotiate := newNegotiate()
			a := ntlmAnswer{username: `CORP\u`, password: "p", endPoint: tc.endPoint, target: tc.target, now: time.Unix(1e9, 0)}
			m := a.message(negotiate, c)
			if lm := fieldAt(t, m, 12); !bytes.Equal(lm, make([]byte, 24)) {
				t.Errorf("LAN Manager proof %x", lm)
			}
			response := fieldAt(t, m, 20)
			got, ok := parsePairs(response[44:])
			if !ok || len(got) != len(tc.want) {
				t.Fatalf("attributes %v, want %v", got, tc.want)
			}
			for i, w := range tc.want {
				if got[i].id != w.id || !bytes.Equal(got[i].value, w.value) {
					t.Errorf("attribute %d: %v, want %v", i, got[i], w)
				}
			}
			mic := bytes.Clone(m[micAt:payloadAt])
			clear(m[micAt:payloadAt])
			want := hmacMD5(hmacMD5(ntlmKey("u", "CORP", "p"), response[:16]), negotiate, c.raw, m)
			if !tc.mic {
				want = make([]byte, 16)
			}
			if !hmac.Equal(mic, want) {
				t.Errorf("MIC %x, want %x", mic, want)
			}
			if flags := binary.LittleEndian.Uint32(m[60:]); flags&^flagsOfClient != 0 {
				t.Errorf("flags %#x that the client does not know", flags)
			}
		})
	}
}

func TestChallengesThatAreRefused(t *testing.T) {
	change := func(f func(m []byte)) []byte {
		m := challenge()
		f(m)
		return m
	}
	for name, m := range map[string][]byte{
		"empty":                 {},
		"cut off":               challenge()[:47],
		"another message":       change(func(m []byte) { m[8] = 3 }),
		"LAN Manager key":       change(func(m []byte) { m[20] |= 0x80 }),
		"no Unicode":            change(func(m []byte) { m[20] &^= 1 }),
		"no target information": change(func(m []byte) { m[22] &^= 0x80 }),
		"information beyond":    change(func(m []byte) { m[44] = 0xff }),
		"information in header": change(func(m []byte) { m[44] = 12 }),
		"information empty":     change(func(m []byte) { m[40] = 0 }),
		"no end mark":           change(func(m []byte) { m[40] -= 4 }),
		"attribute too long":    change(func(m []byte) { m[len(challenge())-26] = 0xff }),
		"information too long":  challengeWith(avPair{2, make([]byte, maxTargetInfo)}),
	} {
		if _, err := parseChallenge(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := parseChallenge(challenge()); err != nil {
		t.Error(err)
	}
}

// FuzzChallenge feeds challenges to the client: whatever a server sends, it must not panic, and its answer must be one
// that fits its own fields.
func FuzzChallenge(f *testing.F) {
	f.Add(challenge())
	f.Add(challengeWith(avPair{avTimestamp, make([]byte, 8)}, avPair{avFlags, []byte{1, 0, 0, 0}}))
	for i := range len(challenge()) {
		f.Add(challenge()[:i])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseChallenge(b)
		if err != nil {
			return
		}
		m := ntlmAnswer{username: `CORP\u`, password: "p", endPoint: []byte("e"), target: "HTTP/x", now: time.Unix(1e9, 0)}.message(newNegotiate(), c)
		if response := fieldAt(t, m, 20); len(response) < 44 || len(response) > maxTargetInfo+200 {
			t.Fatalf("a proof of %d bytes", len(response))
		}
		if ntlmMessageType(m) != authenticateMessage {
			t.Fatal("no third message")
		}
	})
}
