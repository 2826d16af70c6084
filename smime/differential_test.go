package smime

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// What is Valid here, OpenSSL must verify too, and over the same content. The table says of what it refuses why that is no
// fault here.
var mailDifferences = []struct{ says, why string }{
	{"no sig content type", "it does not read a field whose value begins on the next line, as RFC 5322 section 2.2.3 allows"},
	{"no content type", "the same"},
}

// differentialSeeds are vectors, because a fuzzer's processes must agree about keys.
func differentialSeeds(t testing.TB) []string {
	t.Helper()
	var opaque strings.Builder
	opaque.WriteString("From: rsa@alpha.example\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data; name=\"smime.p7m\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	text := newBase64Writer(&opaque, "\r\n")
	if _, err := text.Write(load(t, "sig/rsa.sha256.opaque.der")); err != nil {
		t.Fatal(err)
	}
	if err := text.Close(); err != nil {
		t.Fatal(err)
	}
	return []string{string(load(t, "sig/p256.sha256.multipart.eml")), string(load(t, "sig/rsa.sha256.multipart.eml")), opaque.String()}
}

// mutateMail changes a mail as programs on the way and forgers do: lines, white space, delimiters, bytes.
func mutateMail(r *rand.Rand, mail string) string {
	lines := strings.SplitAfter(mail, "\n")
	for range 1 + r.IntN(2) {
		at, to := r.IntN(len(lines)), r.IntN(len(lines))
		line := lines[at]
		switch r.IntN(12) {
		case 0:
			lines = slices.Delete(lines, at, at+1)
		case 1:
			lines = slices.Insert(lines, to, line)
		case 2:
			lines[at], lines[to] = lines[to], lines[at]
		case 3:
			lines[at] = strings.TrimRight(line, "\r\n") + " \r\n"
		case 4:
			lines[at] = strings.TrimRight(line, "\r\n") + "\n"
		case 5:
			lines = slices.Insert(lines, to, "\r\n")
		case 6:
			lines[at] = strings.ToUpper(line)
		case 7:
			lines[at] = strings.Replace(line, ": ", ":\r\n ", 1)
		case 8:
			lines[at] = strings.Replace(line, ";", " ; x=\"y\";", 1)
		case 9:
			b := []byte(line)
			if len(b) > 0 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(7)
			}
			lines[at] = string(b)
		case 10:
			lines = slices.Insert(lines, to, "X-Added: "+strings.TrimRight(line, "\r\n")+"\r\n")
		case 11:
			lines = slices.Insert(lines, r.IntN(min(8, len(lines))), "Received: from x\r\n")
		}
		if len(lines) == 0 {
			return mail
		}
	}
	return strings.Join(lines, "")
}

// goodHere is the body of what is signed in a Valid mail; ok is false for other mails.
func goodHere(t testing.TB, mail string) (body string, ok bool) {
	var out strings.Builder
	v, err := Unwrap(t.Context(), strings.NewReader(mail), func(*Verification) (io.Writer, error) { return &out, nil }, &UnwrapOptions{Verify: vectorOptions(t), LF: true})
	if err != nil || v.Verdict != Valid {
		return "", false
	}
	_, body, _ = strings.Cut(out.String(), "\n\n")
	return body, true
}

// opensslAgrees is what speaks against a mail that is Valid here; "" when nothing does.
func opensslAgrees(t testing.TB, mail, body string) string {
	var out, talk strings.Builder
	cmd := exec.Command("openssl", "cms", "-verify", "-CAfile", filepath.Join("testdata", "ca.pem"), "-purpose", "any", "-attime", fmt.Sprint(vectorTime.Unix()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(mail), &out, &talk
	says := ""
	if err := cmd.Run(); err != nil {
		says = strings.TrimSpace(talk.String())
	} else if _, got, _ := strings.Cut(strings.ReplaceAll(out.String(), "\r\n", "\n"), "\n\n"); got != body {
		says = fmt.Sprintf("it is good, over other content: %q, here %q", got, body)
	}
	if slices.ContainsFunc(mailDifferences, func(d struct{ says, why string }) bool { return strings.Contains(says, d.says) }) {
		return ""
	}
	return says
}

// TestDifferential changes mails at random: what is Valid here must be good for OpenSSL.
func TestDifferential(t *testing.T) {
	interop.Need(t, "openssl")
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[string]bool{}
	for _, seed := range differentialSeeds(t) {
		if _, ok := goodHere(t, seed); !ok {
			t.Fatalf("not valid: %q", seed)
		}
		asked := 0
		for n := 0; n < 3000 && asked < 25; n++ {
			mail := mutateMail(r, seed)
			body, ok := goodHere(t, mail)
			if !ok || seen[mail] {
				continue
			}
			seen[mail] = true
			asked++
			if why := opensslAgrees(t, mail, body); why != "" {
				t.Errorf("valid here; %s\n%q", why, mail)
			}
		}
		if asked < 20 {
			t.Errorf("OpenSSL was asked about %d mails only", asked)
		}
	}
}

// FuzzDifferential is TestDifferential with a fuzzer's mails.
func FuzzDifferential(f *testing.F) {
	interop.Need(f, "openssl")
	for _, mail := range differentialSeeds(f) {
		f.Add(mail)
	}
	f.Fuzz(func(t *testing.T, mail string) {
		if body, ok := goodHere(t, mail); ok {
			if why := opensslAgrees(t, mail, body); why != "" {
				t.Errorf("valid here; %s", why)
			}
		}
	})
}
