package smime

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
)

// TestContentLimit: what is signed or encrypted counts no more for its reader than for its writer, however it was wrapped.
func TestContentLimit(t *testing.T) {
	const lines = 400
	plain := strings.Repeat("a line of an ordinary text\n", lines)
	for name, mail := range map[string]struct {
		content string
		size    int // of what is in the parts
	}{
		"LF":        {"Content-Type: text/plain\n\n" + plain, len(plain)},
		"CRLF":      {crlf("Content-Type: text/plain\n\n" + plain), len(plain)},
		"8bit":      {"Content-Type: text/plain; charset=utf-8\n\n" + strings.ReplaceAll(plain, "ordinary", "ööööööööö"), len(plain) + 10*lines},
		"some 8bit": {"Content-Type: text/plain; charset=utf-8\n\n" + strings.ReplaceAll(plain, "ordinary", "gewöhnlich"), len(plain) + 3*lines},
		"binary":    {"Content-Type: application/x-data\nContent-Transfer-Encoding: binary\n\n" + strings.Repeat("\x00\xff", 5000), 10000},
		"parts": {"Content-Type: multipart/mixed; boundary=b\n\nnote\n--b\nContent-Type: text/plain\n\n" + plain +
			"\n--b\nContent-Type: application/x-data\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 100) + "\n--b--\n",
			len("note") + len(plain) + 100*57},
	} {
		t.Run(name, func(t *testing.T) {
			mail, size := "From: alice@corp.example\nTo: bob@corp.example\nMIME-Version: 1.0\n"+mail.content, int64(mail.size)
			opaque := func(mail string) string { return signString(t, mail, SignOptions{Opaque: true}) }
			encrypted := func(mail string) string {
				main, _, _, err := encryptString(t, mail, EncryptOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return main
			}
			for _, wrapped := range []string{encrypted(mail), encrypted(opaque(mail)), opaque(encrypted(opaque(mail))), signString(t, encrypted(opaque(mail)), SignOptions{})} {
				if int64(len(wrapped)) > MaxWrapped(size) {
					t.Errorf("%d bytes of %d", len(wrapped), size)
				}
				for limit, want := range map[int64]error{size + 3: nil, size - 10: cms.ErrTooLarge} {
					var out bytes.Buffer
					opts := &DecryptOptions{Identities: crowd().identities(bob), MaxContent: limit}
					if _, err := Decrypt(t.Context(), strings.NewReader(wrapped), Into(&out), opts); !errors.Is(err, want) || (err == nil) != (out.Len() > 0) {
						t.Errorf("content of %d bytes within %d: %v, %d bytes out", size, limit, err, out.Len())
					}
				}
			}
			for _, wrapped := range []string{opaque(mail), signString(t, mail, SignOptions{}), opaque(opaque(mail))} {
				for limit, want := range map[int64]error{size + 3: nil, size - 10: cms.ErrTooLarge} {
					if _, err := Verify(t.Context(), strings.NewReader(wrapped), &VerifyOptions{MaxContent: limit}); !errors.Is(err, want) {
						t.Errorf("signed content of %d bytes within %d: %v", size, limit, err)
					}
				}
			}
		})
	}
}

// TestWrappingLimit: what is no content is bounded too.
func TestWrappingLimit(t *testing.T) {
	mail := "From: alice@corp.example\nTo: bob@corp.example\nContent-Type: multipart/mixed; boundary=b\n\n" +
		strings.Repeat("--b\nX-Padding: "+strings.Repeat("x", 900)+"\n\n\n", 900)
	mail = signString(t, mail, SignOptions{Opaque: true})
	if _, err := Verify(t.Context(), strings.NewReader(mail), &VerifyOptions{MaxContent: 1 << 20}); err != nil {
		t.Errorf("%d bytes, of which nothing is content: %v", len(mail), err)
	}
	if int64(len(mail)) > MaxWrapped(0) {
		t.Errorf("%d bytes do not fit", len(mail))
	}
	whole := "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat(" ", int(MaxWrapped(1000)))
	if _, err := Verify(t.Context(), strings.NewReader(whole), &VerifyOptions{MaxContent: 1000}); !errors.Is(err, cms.ErrTooLarge) {
		t.Errorf("more than the wrapping may cost: %v", err)
	}
}

// FuzzContentSize: what is damaged is counted, never refused, and nothing counts more than it has bytes.
func FuzzContentSize(f *testing.F) {
	for _, seed := range []string{
		"Content-Type: multipart/mixed; boundary=b\n\nnote\n--b\n\ntext\n--b\nContent-Transfer-Encoding: base64\n\nQUJD\n=\n--b--\nrest",
		"Content-Transfer-Encoding: quoted-printable\n\na=3D=\n=zz\r\n", "Content-Type: message/rfc822\n\nX: y\n\ntext", "Content-Type: message/rfc822\n\nnonsense",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nnonsense\n--b\n--bb\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parse(func() (io.Reader, error) { return bytes.NewReader(data), nil })
		if err != nil {
			return
		}
		if err := checkContent(e, int64(len(data))); err != nil {
			t.Fatal(err)
		}
	})
}
