package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"go.mozilla.org/pkcs7"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// What this package calls a good signature, OpenSSL and go.mozilla.org/pkcs7 must call good too, over the same content. The
// other way round does not matter: both take what is refused here.

// differences are the messages that are good here and not there, and why that is right. A disagreement that none of them
// explains fails the test.
var differences = []struct {
	peer, says string // what the peer says begins like this
	why        string
}{
	{"pkcs7", "x509: ", "it refuses a message for any certificate that it cannot parse; here that one is left out, and the signer's must be there"},
	{"openssl", "Error reading SMIME Content Info", "the same"},
	{"pkcs7", "pkcs7: No certificate for signer", "it compares the bytes of issuers; names that differ in case or kind of string are the same (RFC 5280 section 7.1)"},
}

// signedSeed is a message to be damaged.
type signedSeed struct {
	der      []byte
	detached []byte // its content; nil when it is inside
}

func signedSeeds(t testing.TB) (seeds []signedSeed) {
	t.Helper()
	content := []byte("Content-Type: text/plain\r\n\r\nOne text.\r\n")
	for i, name := range []string{"rsa", "p256"} {
		id := identity(t, "made", "keys", name)
		for _, detached := range []bool{false, true} {
			var b bytes.Buffer
			key := SigningKey{Certificate: id.Certificate, Key: id.Key.(crypto.Signer)}
			other := identity(t, "made", "keys", "rsa2").Certificate
			w, err := Sign(&b, []SigningKey{key}, &SignOptions{Detached: detached, Certificates: []*x509.Certificate{other}[:i]})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			s := signedSeed{der: b.Bytes()}
			if detached {
				s.detached = content
			}
			seeds = append(seeds, s)
		}
	}
	return seeds
}

// goodHere returns the content when every signature is good, and there is one.
func goodHere(s signedSeed) ([]byte, bool) {
	var out bytes.Buffer
	opts := &VerifyOptions{Output: &out}
	if s.detached != nil {
		opts = &VerifyOptions{Content: bytes.NewReader(s.detached)}
	}
	signed, err := Verify(bytes.NewReader(s.der), opts)
	if err != nil || len(signed.Signers) == 0 {
		return nil, false
	}
	for _, signer := range signed.Signers {
		if signer.Err != nil {
			return nil, false
		}
	}
	if s.detached != nil {
		return s.detached, true
	}
	return out.Bytes(), true
}

// disagreement is what speaks against a message that is good here; "" when nothing does, or a difference explains it.
func disagreement(t testing.TB, s signedSeed, content []byte, openssl bool) string {
	peers := map[string]func() ([]byte, error){"pkcs7": func() ([]byte, error) { return pkcs7Verifies(s) }}
	if openssl {
		peers["openssl"] = func() ([]byte, error) { return opensslVerifies(t, s) }
	}
	for peer, verify := range peers {
		got, err := verify()
		if err == nil && bytes.Equal(got, content) {
			continue
		}
		says := "it is good, over other content"
		if err != nil {
			says = err.Error()
		}
		explained := slices.ContainsFunc(differences, func(d struct{ peer, says, why string }) bool {
			return d.peer == peer && len(says) >= len(d.says) && says[:len(d.says)] == d.says
		})
		if !explained {
			return peer + ": " + says
		}
	}
	return ""
}

func pkcs7Verifies(s signedSeed) (content []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	p, err := pkcs7.Parse(s.der)
	if err != nil {
		return nil, err
	}
	if s.detached != nil {
		p.Content = s.detached
	}
	return p.Content, p.Verify()
}

func opensslVerifies(t testing.TB, s signedSeed) ([]byte, error) {
	dir := t.TempDir()
	args := []string{"cms", "-verify", "-binary", "-noverify", "-inform", "DER", "-in", writeFile(t, dir, "in", s.der)}
	if s.detached != nil {
		args = append(args, "-content", writeFile(t, dir, "content", s.detached))
	}
	out, talk, err := interop.Run(t, nil, nil, "openssl", args...)
	if err != nil {
		return nil, errors.New(string(bytes.TrimSpace(talk)))
	}
	return out, nil
}

// mutate changes a message a little: bits, lengths, order, and what is repeated or left out.
func mutate(r *rand.Rand, data []byte) []byte {
	data = bytes.Clone(data)
	for range 1 + r.IntN(2) {
		at := r.IntN(len(data))
		n := min(1+r.IntN(8), len(data)-at)
		switch r.IntN(6) {
		case 0, 1:
			data[at] ^= 1 << r.IntN(8)
		case 2:
			data[at] = byte(r.IntN(256))
		case 3:
			data = slices.Delete(data, at, at+n)
		case 4:
			data = slices.Insert(data, at, data[at:at+n]...)
		case 5:
			to := r.IntN(len(data))
			n = min(n, len(data)-to)
			copy(data[to:to+n], bytes.Clone(data[at:at+n]))
		}
		if len(data) == 0 {
			return []byte{0}
		}
	}
	return data
}

// TestDifferential changes messages at random, and every fourth byte of them: what is good here must be good for the others.
func TestDifferential(t *testing.T) {
	_, err := exec.LookPath("openssl")
	if openssl := err == nil; !openssl {
		interop.Need(t, "openssl")
	}
	r := rand.New(rand.NewPCG(1, 2))
	good, asked := 0, 0
	for number, seed := range signedSeeds(t) {
		try := func(data []byte) {
			s := signedSeed{data, seed.detached}
			content, ok := goodHere(s)
			if !ok {
				return
			}
			good++
			openssl := good%16 == 1 // it takes a process each time
			if openssl {
				asked++
			}
			if why := disagreement(t, s, content, openssl); why != "" {
				t.Errorf("message %d: good here; %s\n%x", number, why, data)
			}
		}
		if _, ok := goodHere(seed); !ok {
			t.Fatalf("message %d is not good", number)
		}
		try(seed.der)
		for i := r.IntN(4); i < len(seed.der); i += 4 {
			data := bytes.Clone(seed.der)
			data[i] ^= 1 << r.IntN(8)
			try(data)
		}
		for range 400 {
			try(mutate(r, seed.der))
		}
	}
	if good < 50 || asked < 5 {
		t.Errorf("only %d messages were good, OpenSSL was asked about %d", good, asked)
	}
	t.Logf("%d messages were good here, and OpenSSL was asked about %d of them", good, asked)
}

// FuzzDifferential is TestDifferential with a fuzzer's messages.
func FuzzDifferential(f *testing.F) {
	for _, s := range signedSeeds(f) {
		f.Add(s.der, s.detached != nil)
	}
	_, err := exec.LookPath("openssl")
	content := signedSeeds(f)[1].detached
	f.Fuzz(func(t *testing.T, der []byte, detached bool) {
		s := signedSeed{der: der}
		if detached {
			s.detached = content
		}
		if text, ok := goodHere(s); ok {
			if why := disagreement(t, s, text, err == nil); why != "" {
				t.Errorf("good here; %s", why)
			}
		}
	})
}
