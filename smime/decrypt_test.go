package smime

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
)

// envelope encrypts content for alice as bare CMS.
func envelope(t testing.TB, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := cms.Encrypt(&out, certificates(alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const p7m = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n"

func TestDecryptForms(t *testing.T) {
	der := envelope(t, "Content-Type: text/plain\r\n\r\nsecret\r\n")
	text := base64.StdEncoding.EncodeToString(der)
	spaced := strings.Join(strings.Split(text, "M"), "M \t\r\n")
	for name, mail := range map[string]string{
		"base64":                       p7m + "Content-Transfer-Encoding: base64\n\n" + text,
		"base64 in odd lines":          p7m + "Content-Transfer-Encoding: BASE64\n\n\n" + spaced + "\n\n",
		"encoding not said":            p7m + "\n" + text + "\n",
		"binary":                       p7m + "Content-Transfer-Encoding: binary\n\n" + string(der),
		"8bit":                         p7m + "Content-Transfer-Encoding: 8bit\n\n" + string(der),
		"binary that says nothing":     p7m + "\n" + string(der),
		"old name":                     "Content-Type: application/x-pkcs7-mime\nContent-Transfer-Encoding: base64\n\n" + text,
		"wrong smime-type":             "Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n\n" + text,
		"broken parameters":            "Content-Type: application/pkcs7-mime; =;;; name\nContent-Transfer-Encoding: base64\n\n" + text,
		"octet-stream by type":         "Content-Type: application/octet-stream; name=\"SMIME.P7M\"\nContent-Transfer-Encoding: base64\n\n" + text,
		"octet-stream by disposition":  "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=x.p7m\nContent-Transfer-Encoding: base64\n\n" + text,
		"folded and out of a mailbox":  "From someone Sat Nov 21\nContent-Type :\n application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\n" + text,
		"line ends in CRLF throughout": crlf("To: x\n" + p7m + "Content-Transfer-Encoding: base64\n\n" + text + "\n"),
	} {
		got, how, err := decryptString(t, mail, crowd().identities(alice))
		if err != nil || how.Protection != cms.Malleable || !strings.HasSuffix(got, "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nsecret\r\n") {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}

func TestDecryptRefusals(t *testing.T) {
	der := envelope(t, "\r\nx")
	text := base64.StdEncoding.EncodeToString(der)
	signed, err := base64.StdEncoding.DecodeString("MIAGCSqGSIb3DQEHAqCAMIACAQExAAAAAAAAAA==")
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(der)
	flipped[len(flipped)-15] ^= 0xff
	encoded := p7m + "Content-Transfer-Encoding: base64\n\n"
	for _, tc := range []struct {
		name, mail string
		want       error
		says       string
	}{
		{"text", "Content-Type: text/plain\n\nhello", ErrNotEncrypted, "it is text/plain"},
		{"nothing said", "To: x\n\nhello", ErrNotEncrypted, "it is text/plain"},
		{"empty", "", ErrNotEncrypted, ""},
		{"multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + encoded + text + "\n--b--\n", ErrNotEncrypted, "as a whole"},
		{"signed in mixed", string(load(t, "neg/mime-signed-in-mixed.eml")), ErrNotEncrypted, "multipart/mixed"},
		{"octet-stream of another name", "Content-Type: application/octet-stream; name=x.p7m.exe\n\n" + text, ErrNotEncrypted, ""},
		{"opaque signed", encoded + base64.StdEncoding.EncodeToString(signed), ErrNotEncrypted, "signed, not encrypted"},
		{"two types", "Content-Type: text/plain\n" + encoded + text, ErrHeader, ""},
		{"bad header", "nonsense\n" + encoded + text, ErrHeader, ""},
		{"no base64", encoded + "%%%%", ErrEncoding, ""},
		{"garbage in the middle", encoded + text[:200] + "-" + text[200:], ErrEncoding, ""},
		{"more after the end", encoded + "MA==" + text, ErrEncoding, "after its end"},
		{"footer of a mailing list", encoded + text + "\n\n_____\nlist footer\n", ErrEncoding, ""},
		{"cut short", encoded + text[:len(text)/2/4*4+1], ErrEncoding, "cut short"},
		{"cut short between groups", encoded + text[:len(text)/2/4*4], cms.ErrSyntax, ""},
		{"quoted-printable", p7m + "Content-Transfer-Encoding: quoted-printable\n\n" + text, ErrEncoding, ""},
		{"no body", encoded, cms.ErrSyntax, ""},
		{"for somebody else", "", cms.ErrNoRecipient, ""},
		{"altered", encoded + base64.StdEncoding.EncodeToString(flipped), cms.ErrDecrypt, ""},
		{"DER with something behind it", encoded + base64.StdEncoding.EncodeToString(append(bytes.Clone(der), 1)), cms.ErrSyntax, ""},
	} {
		ids := crowd().identities(alice)
		if tc.name == "for somebody else" {
			tc.mail, ids = encoded+text, crowd().identities(bob)
		}
		_, _, err := decryptString(t, tc.mail, ids)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %v with %q", tc.name, err, tc.want, tc.says)
		}
	}
	if _, err := Decrypt(t.Context(), strings.NewReader(encoded+base64.StdEncoding.EncodeToString(envelope(t, "\r\nnine bytes"))), Into(&bytes.Buffer{}), &DecryptOptions{Identities: crowd().identities(alice), MaxContent: 8}); !errors.Is(err, cms.ErrTooLarge) {
		t.Errorf("limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Decrypt(ctx, strings.NewReader(encoded+text), Into(&bytes.Buffer{}), &DecryptOptions{Identities: crowd().identities(alice)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	boom := errors.New("boom")
	if _, err := Decrypt(t.Context(), strings.NewReader(encoded+text), Into(&failing{0, boom}), &DecryptOptions{Identities: crowd().identities(alice)}); !errors.Is(err, boom) {
		t.Errorf("writer that fails: %v", err)
	}
}

// Whatever is inside comes out; fields inside that say nothing about content do not become fields of the mail.
func TestDecryptContent(t *testing.T) {
	const outer = "To: x\r\nSubject: outside\r\n"
	const bareText = outer + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	for _, tc := range []struct{ name, content, want string }{
		{"entity", "Content-Type: text/html\r\nContent-Language: de\r\n\r\n<b>", outer + "MIME-Version: 1.0\r\nContent-Type: text/html\r\nContent-Language: de\r\n\r\n<b>"},
		{"entity with LF", "Content-Type: text/html\n\n<b>\n", outer + "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b>\n"},
		{"other fields inside", "Subject: inside\r\nBcc: evil@x\r\nContent-Type: text/html\r\n\r\n<b>", outer + "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b>"},
		{"empty header", "\r\nhello", outer + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nhello"},
		{"nothing", "", outer + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"},
		{"bare text", "Hello Bob\n\nthis is no entity\n", bareText + "Hello Bob\n\nthis is no entity\n"},
		{"bare text that looks like a field", "Note: grüße\n\nthis is no entity\n", bareText + "Note: grüße\n\nthis is no entity\n"},
		{"bare text from a mailbox", "From here on\n\nit goes\n", bareText + "From here on\n\nit goes\n"},
		{"bytes", "\x00\x01\xff", outer + "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAH/\r\n"},
	} {
		mail := "To: x\nContent-Description: gone\nSubject: outside\n" + p7m + "Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(envelope(t, tc.content))
		got, _, err := decryptString(t, mail, crowd().identities(alice))
		if err != nil || got != tc.want {
			t.Errorf("%s: %v\n got %q\nwant %q", tc.name, err, got, tc.want)
		}
	}
}

func TestVectors(t *testing.T) {
	want := string(load(t, "msg"))
	for name, protection := range map[string]cms.Protection{
		"openssl.rsa.smime.eml":         cms.Malleable,
		"openssl.rsa.authenv.smime.eml": cms.Authenticated,
		"neg/mime-octet-stream.eml":     cms.Malleable,
	} {
		got, how, err := decryptString(t, string(load(t, name)), []cms.Identity{vectorIdentity(t)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if how.Protection != protection || !strings.HasSuffix(got, want) || !strings.Contains(got, "To: rsa@alpha.example\r\n") {
			t.Errorf("%s: %s, %q", name, how.Protection, got)
		}
	}
}
