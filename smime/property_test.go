package smime

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

var (
	headerField      = regexp.MustCompile(`(?s)[^\s][^\n]*\n([ \t][^\n]*\n)*`)
	contentTypeField = regexp.MustCompile(`(?im)^content-type *:`)
	binaryField      = regexp.MustCompile(`(?im)^content-transfer-encoding *: *binary`)
	emptyLine        = regexp.MustCompile(`\n\r?\n`)
	encodingField    = regexp.MustCompile(`(?im)^content-transfer-encoding *:`)
)

// endings ends every line with CRLF.
func endings(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// canonical is what a mail must come back as: written differently than the code it tests, with whole strings.
func canonical(mail string) string {
	end := headerEnd(mail)
	for header := endings(mail[:end]); header != mail[:end]; header = endings(mail[:end]) {
		mail = header + mail[end:]
		end = headerEnd(mail)
	}
	var outer, inner string
	for _, f := range headerField.FindAllString(mail[:end], -1) {
		switch name := strings.ToLower(strings.TrimSpace(f[:strings.Index(f, ":")])); {
		case name == "bcc", name == "resent-bcc", name == "mime-version", name == "content-length":
		case strings.HasPrefix(name, "content-"):
			inner += f
		default:
			outer += f
		}
	}
	if !contentTypeField.MatchString(inner) {
		_, raw, _ := strings.Cut(mail[end:], "\n")
		switch {
		case len(raw) < blockSize && !strings.ContainsFunc(raw, func(r rune) bool { return r >= 0x80 }):
			inner = "Content-Type: text/plain; charset=us-ascii\r\n" + inner
		case strings.Contains(raw[:min(len(raw), blockSize)], "\xff"):
			inner += "Content-Type: text/plain; charset=unknown-8bit\r\n"
		default:
			inner += "Content-Type: text/plain; charset=utf-8\r\n"
		}
		if !strings.Contains(inner, "charset=us-ascii") && !encodingField.MatchString(inner) {
			inner += "Content-Transfer-Encoding: 8bit\r\n"
		}
	}
	body := mail[end:]
	if !binaryField.MatchString(inner) {
		body = endings(body)
	}
	if body == "" || strings.HasPrefix(body, "\r\n") {
		body = strings.TrimPrefix(body, "\r\n")
	} else {
		body = strings.TrimPrefix(body, "\n")
	}
	return outer + "MIME-Version: 1.0\r\n" + inner + "\r\n" + body
}

// headerEnd is where the empty line begins.
func headerEnd(mail string) int {
	if loc := emptyLine.FindStringIndex(mail); loc != nil {
		return loc[0] + 1
	}
	return len(mail)
}

// generate makes a mail with all kinds of fields and line ends.
func generate(r *rand.Rand) string {
	var b strings.Builder
	eol := func() string { return []string{"\n", "\r\n"}[r.IntN(2)] }
	for range r.IntN(6) {
		b.WriteString([]string{"Subject: s", "X-Empty:", "Received: a" + eol() + "\t folded", "Content-Language: de", "content-description: d" + eol() + " more",
			"MIME-Version: 1.0", "Resent-Bcc:", "Content-Length: 7", "Date : x", "Contentment: y"}[r.IntN(10)])
		b.WriteString(eol())
	}
	b.WriteString("To: alice@corp.example" + eol())
	switch r.IntN(4) {
	case 0:
		b.WriteString("Content-Transfer-Encoding: binary" + eol())
	case 1:
		b.WriteString("Content-Type: text/html" + eol() + "Content-Transfer-Encoding : 8bit" + eol())
	}
	if r.IntN(20) == 0 {
		return b.String()
	}
	b.WriteString(eol())
	for range r.IntN(1 << r.IntN(12)) {
		b.WriteString([]string{"\n", "\r\n", "\r", "a line", "--", ".", "From ", "gr\xc3\xbc\xc3\x9fe", "\xff", strings.Repeat("x", r.IntN(3000)), "\n\n"}[r.IntN(11)])
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	ciphers := []cms.Cipher{cms.AES256CBC, cms.AES128GCM, cms.AES256CBC}
	for i := range 400 {
		mail := generate(r)
		text, _, _, err := encryptString(t, mail, EncryptOptions{Cipher: ciphers[i%len(ciphers)], LF: i%2 == 0, To: []mailaddr.Address{alice}})
		if err != nil {
			t.Fatalf("%v\n%q", err, mail)
		}
		got, _, err := decryptString(t, text, crowd().identities(alice))
		if err != nil {
			t.Fatalf("%v\n%q", err, mail)
		}
		if want := canonical(mail); got != want {
			t.Fatalf("mail %d comes back changed\nmail %q\n got %q\nwant %q", i, short(mail), short(got), short(want))
		}
	}
}

func short(s string) string {
	if len(s) > 600 {
		return s[:600] + "…"
	}
	return s
}

// lineSource makes a mail of any size without holding it.
type lineSource struct{ left int64 }

var sourceLines = []byte(strings.Repeat("VGhpcyBpcyBhIGxpbmUgb2YgYmFzZTY0IHRoYXQgaXMgYXMgbG9uZyBhcyBhIGxpbmUgbWF5IGJl\r\n", 200))

func (l *lineSource) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, sourceLines)
	n = int(min(int64(n), l.left))
	l.left -= int64(n)
	return n, nil
}

func largeMail(size int64) io.Reader {
	return io.MultiReader(strings.NewReader("To: alice@corp.example\nContent-Transfer-Encoding: base64\n\n"), &lineSource{size})
}

// Memory must not grow with the mail: of 64 MiB not more than 8 MiB may ever be allocated, freed or not.
func TestEncryptMemory(t *testing.T) {
	opts := &EncryptOptions{Recipients: crowd()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Encrypt(t.Context(), largeMail(64<<20), Outputs{Main: To(io.Discard)}, opts); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("64 MiB encrypted with %d KiB allocated", allocated>>10)
	if allocated > 8<<20 {
		t.Errorf("allocated %d bytes", allocated)
	}
}

// ten is a RecipientSource of ten certificates for any ten addresses.
type ten []*x509.Certificate

func (c ten) ForEncryption(_ context.Context, a []mailaddr.Address) ([][]*x509.Certificate, error) {
	return slices.Collect(slices.Chunk([]*x509.Certificate(c)[:len(a)], 1)), nil
}

func BenchmarkEncrypt25MBTo10(b *testing.B) {
	ca, err := testca.New("Root")
	if err != nil {
		b.Fatal(err)
	}
	var source ten
	var to []string
	for i := range 10 {
		name := fmt.Sprintf("p%d@corp.example", i)
		leaf, err := ca.Leaf(testca.Options{Addresses: []string{name}})
		if err != nil {
			b.Fatal(err)
		}
		source, to = append(source, leaf.Certificate), append(to, name)
	}
	b.SetBytes(25_000_000)
	b.ReportAllocs()
	for b.Loop() {
		mail := io.MultiReader(strings.NewReader("To: "+strings.Join(to, ",")+"\n\n"), &lineSource{25_000_000})
		if _, err := Encrypt(b.Context(), mail, Outputs{Main: To(io.Discard)}, &EncryptOptions{Recipients: source}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt25MB(b *testing.B) {
	var text bytes.Buffer
	if _, err := Encrypt(b.Context(), largeMail(25_000_000), Outputs{Main: To(&text)}, &EncryptOptions{Recipients: crowd()}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(25_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decrypt(b.Context(), bytes.NewReader(text.Bytes()), Into(io.Discard), &DecryptOptions{Identities: crowd().identities(alice)}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzEncrypt(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		f.Add([]byte(generate(r)))
	}
	f.Add([]byte("To: a: b@c;, <d@e>\nBcc: =?x?q?y?= <alice@corp.example>\n\n"))
	f.Fuzz(func(t *testing.T, mail []byte) {
		out := &bytes.Buffer{}
		copies := blind{}
		result, err := Encrypt(t.Context(), bytes.NewReader(mail), Outputs{Main: To(out), Blind: copies.open}, &EncryptOptions{Recipients: crowd()})
		if err != nil {
			if out.Len() > 0 || len(copies) > 0 {
				t.Fatalf("wrote %d bytes and %d copies before %v", out.Len(), len(copies), err)
			}
			return
		}
		if len(result.Main) > 0 {
			checkCopy(t, out, mail)
		}
		for _, c := range copies {
			checkCopy(t, c, mail)
		}
	})
}

// checkCopy reads a copy back with everybody's keys.
func checkCopy(t *testing.T, text *bytes.Buffer, mail []byte) {
	t.Helper()
	h, err := readMailHeader(bufferedReader(text.Bytes()))
	if err != nil || h.has("Bcc") || h.has("Resent-Bcc") || len(h.values("Content-Type")) != 1 {
		t.Fatalf("%v: header of the copy\n%q\nof %q", err, text, mail)
	}
	var plain bytes.Buffer
	if _, err := Decrypt(t.Context(), text, Into(&plain), &DecryptOptions{Identities: crowd().identities(alice, bob, carol, dave)}); err != nil {
		t.Fatalf("%v: of %q", err, mail)
	}
	body, _ := io.ReadAll(skipHeader(mail))
	stripped := func(b []byte) string { return strings.ReplaceAll(string(b), "\r\n", "\n") }
	got, _ := io.ReadAll(skipHeader(plain.Bytes()))
	if stripped(got) != stripped(body) {
		t.Fatalf("body %q came back as %q", body, got)
	}
}

func skipHeader(mail []byte) io.Reader {
	r := bufferedReader(mail)
	_, _ = readMailHeader(r)
	return r
}

func FuzzDecrypt(f *testing.F) {
	for _, name := range []string{"openssl.rsa.smime.eml", "openssl.rsa.authenv.smime.eml", "neg/mime-octet-stream.eml", "neg/mime-signed-in-mixed.eml"} {
		f.Add(load(f, name))
	}
	f.Add(append([]byte(p7m+"Content-Transfer-Encoding: binary\n\n"), envelope(f, "Content-Type: text/plain\r\n\r\nx")...))
	ids := append(crowd().identities(alice), vectorIdentity(f))
	f.Fuzz(func(t *testing.T, mail []byte) {
		var out bytes.Buffer
		result, err := Decrypt(t.Context(), bytes.NewReader(mail), Into(&out), &DecryptOptions{Identities: ids, MaxContent: 1 << 20})
		if err != nil {
			if out.Len() > 0 {
				t.Fatalf("wrote %d bytes before %v", out.Len(), err)
			}
			return
		}
		if result.Identity < 0 || result.Identity >= len(ids) {
			t.Fatalf("%+v", result)
		}
		if _, err := readHeader(bufferedReader(out.Bytes())); err != nil {
			t.Fatalf("unreadable header written: %v\n%q", err, out.Bytes())
		}
	})
}

func FuzzBase64(f *testing.F) {
	f.Add([]byte("MIAG CSqG\r\nSIb3\t"), 3)
	f.Add([]byte("MA=="), 1)
	f.Add([]byte("MA=\n="), 2)
	f.Add([]byte("MA==MA=="), 100)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		got, err := io.ReadAll(newBase64Reader(&stepReader{bytes.NewReader(text), step}))
		if err != nil {
			if !errors.Is(err, ErrEncoding) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		var again bytes.Buffer
		w := newBase64Writer(&again, "\n")
		if _, err := io.Copy(struct{ io.Writer }{w}, &stepReader{bytes.NewReader(got), step}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(newBase64Reader(&again))
		if err != nil || !bytes.Equal(back, got) {
			t.Fatalf("%q -> %q -> %q, %v", text, got, back, err)
		}
	})
}

// stepReader reads in small steps.
type stepReader struct {
	r    io.Reader
	step int
}

func (s *stepReader) Read(p []byte) (int, error) {
	return s.r.Read(p[:min(len(p), max(1, s.step))])
}

func bufferedReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
