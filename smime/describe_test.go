package smime

import (
	"strings"
	"testing"
)

// TestBareMail holds what is said about the text of mails without MIME fields, encrypted and signed.
func TestBareMail(t *testing.T) {
	long := strings.Repeat("a line of text\n", blockSize/10)
	for _, c := range []struct{ name, mail, encrypted, signed string }{
		{"ASCII", "To: bob@corp.example\n\nhello\n", "charset=us-ascii\r\n\r\n", "charset=us-ascii\r\n\r\n"},
		{"nothing", "To: bob@corp.example\n\n", "charset=us-ascii\r\n\r\n", "charset=us-ascii\r\n\r\n"},
		{"UTF-8", "To: bob@corp.example\n\ngrün ist es\n", "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
			"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn"},
		{"Latin 1", "To: bob@corp.example\n\ngr\xfcn ist es\n", "charset=unknown-8bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
			"charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=FCn"},
		{"UTF-8 in the end", "To: bob@corp.example\n\n" + long + "grün", "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
			"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"},
		{"a character across the end of what is seen", "To: bob@corp.example\n\n" + strings.Repeat("x", blockSize-1) + "ü", "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", "charset=utf-8\r\n"},
		{"long and binary", "Content-Transfer-Encoding: binary\nTo: bob@corp.example\n\ngrün", "Content-Transfer-Encoding: binary\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", "charset=utf-8\r\n"},
		{"encoded", "Content-Transfer-Encoding: quoted-printable\nTo: bob@corp.example\n\ngr=C3=BCn", "charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", "charset=us-ascii\r\n"},
		{"typed", "Content-Type: text/html\nTo: bob@corp.example\n\ngrün", "Content-Type: text/html\r\n\r\n", "Content-Type: text/html\r\n"},
	} {
		text, _, _, err := encryptString(t, c.mail, EncryptOptions{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if plain, _, err := decryptString(t, text, crowd().identities(bob)); err != nil || !strings.Contains(plain, c.encrypted) {
			t.Errorf("%s: decrypted %q, %v", c.name, short(plain), err)
		}
		if signed := signString(t, c.mail, SignOptions{}); !strings.Contains(signed, c.signed) {
			t.Errorf("%s: signed %q", c.name, short(signed))
		}
	}
}
