package exchangesim

import (
	"bytes"
	"crypto/md5"
	"crypto/rc4"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

const (
	testUser     = `CORP\svc-galsync`
	testPassword = "correct horse Ä"
)

// TestNTLMVectors: MS-NLMP section 4.2.4, NTLMv2 authentication of User of Domain with Password.
func TestNTLMVectors(t *testing.T) {
	fromHex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got := ntHash("Password"); !bytes.Equal(got, fromHex("a4f49c406510bdcab6824ee7c30fd852")) {
		t.Errorf("NT hash %x", got)
	}
	key := hmacMD5(ntHash("Password"), utf16LE("USER"+"Domain"))
	if !bytes.Equal(key, fromHex("0c868a403bfd7a93a3001ef22ef02e3f")) {
		t.Errorf("NTOWFv2 %x", key)
	}
	covered := fromHex("01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000")
	proof := hmacMD5(key, fromHex("0123456789abcdef"), covered)
	if !bytes.Equal(proof, fromHex("68cd0ab851e51c96aabc927bebef6a1c")) {
		t.Errorf("NTProofStr %x", proof)
	}
	// The same through the whole verification, with the challenge of the section in a challenge message.
	challenge := make([]byte, 32)
	copy(challenge[24:], fromHex("0123456789abcdef"))
	s := &ntlmServer{user: `Domain\User`, password: "Password"}
	m := &authenticateMessage{user: "User", domain: "Domain", ntResponse: append(proof, covered...)}
	if !s.verify(nil, challenge, nil, m) {
		t.Error("the response of the specification is refused")
	}
	m.ntResponse[3] ^= 1
	if s.verify(nil, challenge, nil, m) {
		t.Error("a response with one bit changed is accepted")
	}
}

// ntlmClient makes the third message. Its fields spoil it.
type ntlmClient struct {
	user, domain, password  string
	binding                 []byte // channel binding hash; nil for none
	mic, keyExchange        bool
	spoilMIC, oem, version1 bool
}

func (n ntlmClient) negotiate() []byte {
	flags := uint32(flagUnicode | flagRequestTarget | flagNTLM | flagExtendedSecurity | flag128)
	if n.oem {
		flags ^= flagUnicode | flagOEM
	}
	if n.keyExchange {
		flags |= flagKeyExchange
	}
	m := append([]byte(nil), ntlmSignature...)
	m = binary.LittleEndian.AppendUint32(m, ntlmNegotiate)
	m = binary.LittleEndian.AppendUint32(m, flags)
	return append(m, make([]byte, 16)...)
}

func (n ntlmClient) authenticate(negotiate, challenge []byte) []byte {
	flags := binary.LittleEndian.Uint32(challenge[20:])
	info := challenge[binary.LittleEndian.Uint32(challenge[44:]):]
	info = info[:len(info)-4]
	add := func(id uint16, value []byte) {
		info = binary.LittleEndian.AppendUint16(bytes.Clone(info), id)
		info = append(binary.LittleEndian.AppendUint16(info, uint16(len(value))), value...)
	}
	if n.mic {
		add(avFlags, []byte{avFlagMIC, 0, 0, 0})
	}
	if n.binding != nil {
		add(avChannelBindings, n.binding)
	}
	add(avEOL, nil)
	covered := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 8)...)
	covered = append(append(covered, "clientch"...), 0, 0, 0, 0)
	covered = append(append(covered, info...), 0, 0, 0, 0)
	key := hmacMD5(ntHash(n.password), utf16LE(strings.ToUpper(n.user)+n.domain))
	proof := hmacMD5(key, challenge[24:32], covered)
	response := append(bytes.Clone(proof), covered...)
	if n.version1 {
		response = response[:24]
	}
	session, sealed := hmacMD5(key, proof), []byte(nil)
	if n.keyExchange {
		exported := md5.Sum([]byte("exported"))
		sealed = make([]byte, 16)
		cipher, _ := rc4.NewCipher(session)
		cipher.XORKeyStream(sealed, exported[:])
		session = exported[:]
	}
	domain, user := utf16LE(n.domain), utf16LE(n.user)
	if n.oem {
		domain, user = []byte(n.domain), []byte(n.user)
	}
	fields := [][]byte{make([]byte, 24), response, domain, user, nil, sealed}
	m := append([]byte(nil), ntlmSignature...)
	m = binary.LittleEndian.AppendUint32(m, ntlmAuthenticate)
	offset := 88
	for _, f := range fields {
		m = appendField(m, len(f), offset)
		offset += len(f)
	}
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(m, make([]byte, 8+16)...)
	m = append(m, bytes.Join(fields, nil)...)
	if n.mic {
		copy(m[micOffset:], hmacMD5(session, negotiate, challenge, m))
	}
	if n.spoilMIC {
		m[micOffset]++
	}
	return m
}

// handshake sends two messages over one connection and returns the status of the second.
func handshake(t *testing.T, c *http.Client, url, scheme string, n ntlmClient) int {
	t.Helper()
	negotiate := n.negotiate()
	status, header, _ := send(t, c, url, scheme+" "+base64.StdEncoding.EncodeToString(negotiate))
	token, ok := strings.CutPrefix(header.Get("WWW-Authenticate"), scheme+" ")
	if status != http.StatusUnauthorized || !ok {
		t.Fatalf("status %d, challenge %q", status, header)
	}
	challenge, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ = send(t, c, url, scheme+" "+base64.StdEncoding.EncodeToString(n.authenticate(negotiate, challenge)))
	return status
}

func send(t *testing.T, c *http.Client, url, authorization string) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(briefRequest(Alice)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, body
}

func TestNTLM(t *testing.T) {
	s := start(t, Options{Auth: AuthNTLM, User: testUser, Password: testPassword})
	right := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword}
	binding := channelBinding(s.leaf.Certificate)
	with := func(change func(*ntlmClient)) ntlmClient {
		n := right
		change(&n)
		return n
	}
	for _, tt := range []struct {
		name   string
		client ntlmClient
		want   int
	}{
		{"right", right, 200},
		{"name in another case", with(func(n *ntlmClient) { n.user = "SVC-Galsync" }), 200},
		{"user principal name", with(func(n *ntlmClient) { n.user, n.domain = "svc-galsync@corp.example", "" }), 200},
		{"OEM character set", with(func(n *ntlmClient) { n.oem = true }), 200},
		{"right binding", with(func(n *ntlmClient) { n.binding = binding[:] }), 200},
		{"binding, MIC, key exchange", with(func(n *ntlmClient) { n.binding, n.mic, n.keyExchange = binding[:], true, true }), 200},
		{"MIC", with(func(n *ntlmClient) { n.mic = true }), 200},
		{"wrong MIC", with(func(n *ntlmClient) { n.mic, n.spoilMIC = true, true }), 401},
		{"binding of zeroes", with(func(n *ntlmClient) { n.binding = make([]byte, 16) }), 401},
		{"wrong password", with(func(n *ntlmClient) { n.password = "wrong" }), 401},
		{"empty password", with(func(n *ntlmClient) { n.password = "" }), 401},
		{"another user", with(func(n *ntlmClient) { n.user = "administrator" }), 401},
		{"another domain", with(func(n *ntlmClient) { n.domain = "OTHER" }), 401},
		{"NTLMv1", with(func(n *ntlmClient) { n.version1 = true }), 401},
	} {
		for _, scheme := range []string{"NTLM", "Negotiate"} {
			if got := handshake(t, client(t, s), s.URL(), scheme, tt.client); got != tt.want {
				t.Errorf("%s over %s: status %d, want %d", tt.name, scheme, got, tt.want)
			}
		}
	}
}

func TestNTLMRequiresChannelBinding(t *testing.T) {
	s := start(t, Options{Auth: AuthNTLM, User: testUser, Password: testPassword, RequireChannelBinding: true})
	n := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword}
	if got := handshake(t, client(t, s), s.URL(), "NTLM", n); got != 401 {
		t.Errorf("without binding: status %d", got)
	}
	binding := channelBinding(s.leaf.Certificate)
	n.binding = binding[:]
	if got := handshake(t, client(t, s), s.URL(), "NTLM", n); got != 200 {
		t.Errorf("with binding: status %d", got)
	}
}

func TestNTLMAuthenticatesTheConnection(t *testing.T) {
	s := start(t, Options{Auth: AuthNTLM, User: testUser, Password: testPassword})
	n := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword}
	one, two := client(t, s), client(t, s)
	if got := handshake(t, one, s.URL(), "NTLM", n); got != 200 {
		t.Fatalf("status %d", got)
	}
	status, _, _ := send(t, one, s.URL(), "")
	if status != 200 {
		t.Errorf("the next request of the same connection: status %d", status)
	}
	status, header, _ := send(t, two, s.URL(), "")
	if status != 401 || fmt.Sprint(header.Values("WWW-Authenticate")) != "[Negotiate NTLM]" {
		t.Errorf("another connection: status %d, offers %q", status, header.Values("WWW-Authenticate"))
	}
	// A failed handshake takes away what was proven before.
	wrong := n
	wrong.password = "wrong"
	if got := handshake(t, one, s.URL(), "NTLM", wrong); got != 401 {
		t.Errorf("status %d", got)
	}
	if status, _, _ = send(t, one, s.URL(), ""); status != 401 {
		t.Errorf("after the failure: status %d", status)
	}
}

// TestNTLMReplay: a recorded third message is good for nothing, neither on its own connection nor on another one.
func TestNTLMReplay(t *testing.T) {
	s := start(t, Options{Auth: AuthNTLM, User: testUser, Password: testPassword})
	n := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword}
	one, two := client(t, s), client(t, s)
	negotiate := n.negotiate()
	first := "NTLM " + base64.StdEncoding.EncodeToString(negotiate)
	_, header, _ := send(t, one, s.URL(), first)
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header.Get("WWW-Authenticate"), "NTLM "))
	if err != nil {
		t.Fatal(err)
	}
	third := "NTLM " + base64.StdEncoding.EncodeToString(n.authenticate(negotiate, challenge))
	if status, _, _ := send(t, two, s.URL(), third); status != 401 {
		t.Errorf("without a challenge: status %d", status)
	}
	send(t, two, s.URL(), first)
	if status, _, _ := send(t, two, s.URL(), third); status != 401 {
		t.Errorf("for the challenge of another connection: status %d", status)
	}
	if status, _, _ := send(t, one, s.URL(), third); status != 200 {
		t.Errorf("where it belongs: status %d", status)
	}
	if status, _, _ := send(t, one, s.URL(), third); status != 401 {
		t.Errorf("a second time: status %d", status)
	}
}

func TestNTLMNeverOverHTTP2(t *testing.T) {
	s := start(t, Options{Auth: AuthNTLM, User: testUser, Password: testPassword, HTTP2: true})
	c := client(t, s)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	n := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword}
	status, header, _ := send(t, c, s.URL(), "NTLM "+base64.StdEncoding.EncodeToString(n.negotiate()))
	if status != 401 || strings.HasPrefix(header.Get("WWW-Authenticate"), "NTLM ") {
		t.Errorf("status %d, %q", status, header)
	}
}

func TestBasic(t *testing.T) {
	s := start(t, Options{Auth: AuthBasic, User: testUser, Password: testPassword})
	for _, tt := range []struct {
		user, password string
		want           int
	}{
		{testUser, testPassword, 200}, {`corp.example\svc-galsync`, testPassword, 200}, {"svc-galsync@corp.example", testPassword, 200}, {"svc-galsync", testPassword, 200},
		{testUser, "wrong", 401}, {testUser, "", 401}, {`OTHER\svc-galsync`, testPassword, 401}, {"", "", 401},
	} {
		header := "Basic " + base64.StdEncoding.EncodeToString([]byte(tt.user+":"+tt.password))
		if status, _, _ := send(t, client(t, s), s.URL(), header); status != tt.want {
			t.Errorf("%s with %q: status %d, want %d", tt.user, tt.password, status, tt.want)
		}
	}
	if status, header, _ := send(t, client(t, s), s.URL(), ""); status != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("anonymous: %d %q", status, header)
	}
}

// TestCurl lets a client that we did not write authenticate.
func TestCurl(t *testing.T) {
	curl := program(t, "curl")
	if features, err := exec.CommandContext(t.Context(), curl, "--version").Output(); err != nil || !bytes.Contains(features, []byte("NTLM")) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("curl is built without NTLM: %v", err)
		}
		t.Skip("curl is built without NTLM")
	}
	folder := t.TempDir()
	for _, auth := range []Auth{AuthNTLM, AuthBasic} {
		s := start(t, Options{Auth: auth, User: testUser, Password: "s3cret"})
		for password, want := range map[string]string{"s3cret": "200", "wrong": "401"} {
			for name, content := range map[string][]byte{"ca.pem": testca.CertificatePEM(s.TLSCA()), "request.xml": []byte(resolveRequest("smtp:" + Alice)),
				"config": []byte(`user = "CORP\\svc-galsync:` + password + `"`)} {
				if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "*", "--"+string(auth), "--cacert", "ca.pem", "-K", "config", "--compressed", "-o", "answer.xml", "-w", "%{http_code}",
				"-H", "Content-Type: text/xml; charset=utf-8", "--data-binary", "@request.xml", s.URL())
			cmd.Dir = folder
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%s with password %q: %v, status %s, want %s", auth, password, err, out, want)
			}
			if want != "200" {
				continue
			}
			body, err := os.ReadFile(filepath.Join(folder, "answer.xml"))
			if err != nil {
				t.Fatal(err)
			}
			if r := parseReply(t, body); len(r.Resolve.Set.Resolutions) != 1 {
				t.Errorf("%+v", r)
			}
		}
	}
}

// program finds a program that a test needs; without it the test is skipped, except where everything has to be there.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") != "true" {
		t.Skipf("%s is not installed", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func FuzzNTLM(f *testing.F) {
	leaf := &testca.Leaf{}
	ca, err := testca.New("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	leaf, err = ca.Leaf(testca.Options{CommonName: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	s := newNTLMServer(Options{User: testUser, Password: testPassword}, leaf.Certificate)
	s.now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	n := ntlmClient{user: "svc-galsync", domain: "CORP", password: testPassword, mic: true, keyExchange: true}
	c := &connection{}
	challenge := s.challenge(c, n.negotiate())
	f.Add(n.negotiate(), n.authenticate(n.negotiate(), challenge))
	n.oem, n.mic = true, false
	f.Add(n.negotiate(), n.authenticate(n.negotiate(), challenge))
	f.Add([]byte("NTLMSSP\x00\x01\x00\x00\x00"), []byte("NTLMSSP\x00\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, first, third []byte) {
		c := &connection{}
		if messageType(first) == ntlmNegotiate {
			if answer := s.challenge(c, first); answer != nil && messageType(answer) != ntlmChallenge {
				t.Fatal("the answer is no challenge")
			}
		}
		// The nonce is random: nothing that was made before can be right.
		if messageType(third) == ntlmAuthenticate && s.authenticate(c, third) {
			t.Fatal("accepted")
		}
		if m, err := parseAuthenticate(third); err == nil {
			avPairs(m.ntResponse)
			s.verify(first, challenge, third, m)
		}
	})
}
