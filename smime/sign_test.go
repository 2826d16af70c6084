package smime

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
)

// signer is one of the crowd as a signer.
func signer(id cms.Identity) Signer {
	return Signer{Certificate: id.Certificate, Key: id.Key.(crypto.Signer)}
}

func signString(t testing.TB, mail string, opts SignOptions) string {
	t.Helper()
	var out bytes.Buffer
	if opts.Signer.Certificate == nil {
		opts.Signer = signer(crowd()[alice])
	}
	if _, err := Sign(t.Context(), strings.NewReader(mail), &out, &opts); err != nil {
		t.Fatalf("%v\n%q", err, short(mail))
	}
	return out.String()
}

// leaves are the decoded parts of a mail without parts, read with the standard library.
func leaves(t testing.TB, header interface{ Get(string) string }, body io.Reader) (all []string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		for r := multipart.NewReader(body, params["boundary"]); ; {
			part, err := r.NextRawPart()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, leaves(t, part.Header, part)...)
		}
	case kind == "message/rfc822":
		inner, err := mail.ReadMessage(body)
		if err != nil {
			t.Fatal(err)
		}
		return leaves(t, inner.Header, inner.Body)
	case header.Get("Content-Transfer-Encoding") == "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case header.Get("Content-Transfer-Encoding") == "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return append(all, string(data))
}

func parsed(t testing.TB, text string) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const awkward = `From: alice@corp.example
To: bob@corp.example
Subject: =?utf-8?q?gr=C3=BCn?=
Content-Type: multipart/mixed; boundary=outer
Content-Transfer-Encoding: 8bit

preamble
--outer
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

grüße, mit Leerzeichen am Ende:  
.
From here
--outer  
Content-Type: multipart/alternative; boundary=inner
Content-Transfer-Encoding: 8bit

--inner

plain
--inner
Content-Type: text/html; charset=utf-8

<b>кириллица кириллица кириллица</b>
--inner--
--outer
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC
--outer
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: inside
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

ä
--outer
Content-Type: text/plain

` + "long " + `
--outer--
epilogue
`

func TestSignIs7Bit(t *testing.T) {
	long := strings.Replace(awkward, "long ", strings.Repeat("long ", 300), 1)
	for name, text := range map[string]string{
		"parts":              long,
		"8bit":               "From: alice@corp.example\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ngrüße an alle, die das hier lesen\n",
		"8bit and says not":  "From: alice@corp.example\nContent-Type: text/plain; charset=utf-8\n\ngrüße an alle, die das hier lesen",
		"binary":             "From: alice@corp.example\nContent-Type: application/x\nContent-Transfer-Encoding: binary\n\n\x00\n\r\x01\xff\n",
		"From":               "From: alice@corp.example\n\nFrom here\nFrom From there " + strings.Repeat("a=b ", 30) + "\n From\nFrom \nFrom",
		"From, encoded":      "From: alice@corp.example\nContent-Transfer-Encoding: quoted-printable\n\nFrom here\nFrom From gr=C3=BC=\nFrom there" + strings.Repeat("\nFrom a", 3000) + "\nFrom=20\n",
		"From, no text":      "From: alice@corp.example\nContent-Type: application/x\n\nFrom here\n",
		"CR alone":           "From: alice@corp.example\n\na\rb\n",
		"large text, 8 bit":  "From: alice@corp.example\nContent-Transfer-Encoding: 8bit\n\n" + strings.Repeat("grüße an alle\n", 20000),
		"large text, 7 bit":  "From: alice@corp.example\n\n" + strings.Repeat("a line\n", 40000),
		"multipart, no part": "From: alice@corp.example\nContent-Type: multipart/mixed; boundary=b\n\nno part\n",
		"no close":           "From: alice@corp.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n",
		"empty parts":        "From: alice@corp.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n\n--b--\n",
	} {
		for _, opaque := range []bool{false, true} {
			signed := signString(t, text, SignOptions{Opaque: opaque})
			for i := range len(signed) {
				if signed[i] >= 0x80 || signed[i] == 0 || signed[i] == '\r' && !strings.HasPrefix(signed[i:], "\r\n") || signed[i] == '\n' && signed[i-1] != '\r' {
					t.Fatalf("%s: byte %d is %q in %q", name, i, signed[i], short(signed[max(0, i-30):]))
				}
			}
			for line := range strings.SplitSeq(signed, "\r\n") {
				if len(line) > maxLine || strings.HasPrefix(line, "From ") {
					t.Errorf("%s: a line of %d: %.80q", name, len(line), line)
				}
			}
		}
		if name == "no close" || name == "empty parts" { // read differently by the standard library
			continue
		}
		signed := parsed(t, signString(t, text, SignOptions{}))
		got := leaves(t, signed.Header, signed.Body)
		plain := parsed(t, text)
		want := leaves(t, plain.Header, plain.Body)
		for i := range want {
			if name != "binary" && want[i] != "\x00\x01\x02" {
				want[i] = strings.ReplaceAll(want[i], "\n", "\r\n")
			}
		}
		if got = got[:len(got)-1]; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: content changed\n got %q\nwant %q", name, short(strings.Join(got, "|")), short(strings.Join(want, "|")))
		}
	}
}

// What is sound is signed as it is.
func TestSignKeepsBytes(t *testing.T) {
	for _, body := range []string{
		"Content-Type: multipart/mixed; boundary=\"b b\"\nX-Not: content\n\n--b b\n\none\n--b b\nContent-Type: text/plain\n\ntwo\n\n--b b--\nepilogue\n",
		"Content-Type: multipart/mixed; boundary=b\n\npreamble\n\n--b\n\none\n--b--",
		"Content-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nhello  \n",
		"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A4\n",
	} {
		signed := signString(t, "From: alice@corp.example\n"+body, SignOptions{})
		want := crlf(strings.Replace(body, "X-Not: content\n", "", 1))
		if !strings.Contains(signed, "\r\n"+want+"\r\n--signed-") && !strings.Contains(signed, "\r\n"+want+"\r\n\r\n--signed-") {
			t.Errorf("%q is not in %q", want, short(signed))
		}
	}
}

func TestSignHeader(t *testing.T) {
	signed := signString(t, "Received: x\nFrom: Bob <bob@corp.example>\nContent-Type: text/plain\nMIME-Version: 1.0\nBcc: x@y.example\n\nhi\n", SignOptions{Time: time.Unix(1e9, 0)})
	if got := strings.Join(fieldNames(t, signed), " "); got != "Received From Bcc MIME-Version Content-Type" {
		t.Errorf("fields %s", got)
	}
	var out bytes.Buffer
	var warnings []string
	result, err := Sign(t.Context(), strings.NewReader("From: Bob <bob@corp.example>\n\nhi\n"), &out, &SignOptions{
		Signer: signer(crowd()[alice]), Warn: func(list []string) { warnings = append(warnings, list...) },
	})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "does not name bob@corp.example") {
		t.Errorf("%v, %v", result, err)
	}
}

// Memory must not grow with the mail: of 64 MiB not more than 4 MiB may ever be allocated, freed or not.
func TestSignMemory(t *testing.T) {
	opts := &SignOptions{Signer: signer(crowd()[alice])}
	for _, opts.Opaque = range []bool{false, true} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Sign(t.Context(), largeMail(64<<20), io.Discard, opts); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("opaque %v: %d bytes were allocated", opts.Opaque, used)
		}
	}
}

func TestSignRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		mail string
		s    Signer
		want error
	}{
		"no key":             {"From: a\n\n", Signer{}, nil},
		"key of another":     {"From: a\n\n", Signer{Certificate: crowd()[bob].Certificate, Key: crowd()[alice].Key.(crypto.Signer)}, nil},
		"bad header":         {"nonsense\n\n", signer(crowd()[alice]), ErrHeader},
		"two types":          {"Content-Type: text/plain\nContent-Type: text/plain\n\n", signer(crowd()[alice]), ErrHeader},
		"no boundary":        {"Content-Type: multipart/mixed\n\n", signer(crowd()[alice]), ErrStructure},
		"part with no field": {"Content-Type: multipart/mixed; boundary=b\n\n--b\nhello\n--b--", signer(crowd()[alice]), ErrHeader},
		"too deep":           {strings.Repeat("Content-Type: message/rfc822\n\n", 40), signer(crowd()[alice]), ErrStructure},
	} {
		_, err := Sign(t.Context(), strings.NewReader(tc.mail), io.Discard, &SignOptions{Signer: tc.s})
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	boom := errors.New("boom")
	if _, err := Sign(t.Context(), strings.NewReader("From: a\n\nx"), &failing{0, boom}, &SignOptions{Signer: signer(crowd()[alice])}); !errors.Is(err, boom) {
		t.Errorf("writer that fails: %v", err)
	}
}
