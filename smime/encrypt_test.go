package smime

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

const (
	alice = mailaddr.Address("alice@corp.example")
	bob   = mailaddr.Address("bob@corp.example")
	carol = mailaddr.Address("carol@corp.example")
	dave  = mailaddr.Address("dave@corp.example")
)

func TestEncryptShape(t *testing.T) {
	mail := "Received: from a by b;\n\tfolded\nFrom: Alice <alice@corp.example>\nTO : Bob <BOB@Corp.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nContent-Language: de\n" +
		"MIME-Version: 1.0\nX-Raw: caf\xe9\nContent-Type: text/plain;\n charset=utf-8\nContent-Length: 99\nMessage-ID: <1@x>\n\nHello.\n.\nFrom me\n"
	got, _, result, err := encryptString(t, mail, EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	want := crlf("Received: from a by b;\n\tfolded\nFrom: Alice <alice@corp.example>\nTO : Bob <BOB@Corp.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n" +
		"X-Raw: caf\xe9\nMessage-ID: <1@x>\nMIME-Version: 1.0\n" +
		"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\nContent-Transfer-Encoding: base64\n" +
		"Content-Disposition: attachment; filename=\"smime.p7m\"\nContent-Description: S/MIME encrypted message")
	if diff := cmp.Diff(want, head); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSuffix(body, "\r\n"), "\r\n")
	for i, line := range lines {
		if len(line) > 76 || len(line) < 76 && i < len(lines)-1 || strings.ContainsAny(line, "\r\n ") {
			t.Errorf("line %d of the body has %d characters", i, len(line))
		}
	}
	if len(result.Messages) != 1 || result.Messages[0].Recipients[0] != bob {
		t.Errorf("messages %+v", result.Messages)
	}
	result.Messages = nil
	if diff := cmp.Diff(&Encrypted{Main: addresses("bob@corp.example")}, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	plain, how, err := decryptString(t, got, crowd().identities(alice, bob))
	if err != nil {
		t.Fatal(err)
	}
	if how.Protection != cms.Malleable || how.Identity != 1 {
		t.Errorf("decrypted as %+v", how)
	}
	wantPlain := crlf("Received: from a by b;\n\tfolded\nFrom: Alice <alice@corp.example>\nTO : Bob <BOB@Corp.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n" +
		"X-Raw: caf\xe9\nMessage-ID: <1@x>\nMIME-Version: 1.0\nContent-Language: de\nContent-Type: text/plain;\n charset=utf-8\n\nHello.\n.\nFrom me\n")
	if diff := cmp.Diff(wantPlain, plain); diff != "" {
		t.Errorf("decrypted (-want +got):\n%s", diff)
	}
}

func TestEncryptOptionsShape(t *testing.T) {
	got, _, result, err := encryptString(t, "To: bob@corp.example\r\n\r\nhi\r\n", EncryptOptions{Cipher: cms.AES256GCM, LF: true})
	if err != nil || strings.Contains(got, "\r") || !strings.Contains(got, "smime-type=authEnveloped-data") || result.Cipher != cms.AES256GCM {
		t.Errorf("%q, %+v, %v", got, result, err)
	}
	plain, how, err := decryptString(t, got, crowd().identities(bob))
	if err != nil || how.Protection != cms.Authenticated || !strings.HasSuffix(plain, "Content-Type: text/plain; charset=us-ascii\r\n\r\nhi\r\n") {
		t.Errorf("%q, %+v, %v", plain, how, err)
	}
	var out bytes.Buffer
	if _, err := Decrypt(t.Context(), strings.NewReader(got), Into(&out), &DecryptOptions{Identities: crowd().identities(bob), LF: true}); err != nil {
		t.Fatal(err)
	}
	if want := "To: bob@corp.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\nhi\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestWhoReceives(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		to           []mailaddr.Address
		main, blind  []mailaddr.Address
		err          error
	}{
		{name: "all fields", header: "To: alice@corp.example\nCc: Bob <bob@corp.example>, carol@corp.example\nBcc: dave@corp.example", main: addresses("alice@corp.example", "bob@corp.example", "carol@corp.example"), blind: addresses("dave@corp.example")},
		{name: "twice", header: "To: alice@corp.example, ALICE@corp.example\nCc: alice@CORP.example\nBcc: alice@corp.example", main: addresses("alice@corp.example")},
		{name: "fields twice", header: "To: alice@corp.example\nTo: bob@corp.example", main: addresses("alice@corp.example", "bob@corp.example")},
		{name: "group", header: "To: Team: alice@corp.example, \"B\" <bob@corp.example>;, carol@corp.example", main: addresses("alice@corp.example", "bob@corp.example", "carol@corp.example")},
		{name: "empty group", header: "To: undisclosed-recipients:;\nBcc: bob@corp.example", blind: addresses("bob@corp.example")},
		{name: "empty Bcc", header: "To: alice@corp.example\nBcc: ", main: addresses("alice@corp.example")},
		{name: "folded, comment, encoded word in an unknown character set", header: "To: =?x-unknown?q?B=F6b?=\n <bob@corp.example> (that one)", main: addresses("bob@corp.example")},
		{name: "display name in Latin-1", header: "To: \"B\xf6b\" <bob@corp.example>", main: addresses("bob@corp.example")},
		{name: "explicit", header: "To: alice@corp.example\nBcc: dave@corp.example", to: addresses("bob@corp.example", "bob@corp.example"), main: addresses("bob@corp.example")},
		{name: "explicit beside what cannot be read", header: "To: <<>>\nResent-To: x", to: addresses("bob@corp.example"), main: addresses("bob@corp.example")},
		{name: "nobody", header: "Subject: x", err: ErrNoRecipients},
		{name: "only an empty group", header: "To: undisclosed-recipients:;", err: ErrNoRecipients},
		{name: "unreadable", header: "To: alice@corp.example, <<bob@corp.example>", err: ErrHeader},
		{name: "missing comma", header: "To: alice@corp.example bob@corp.example", err: ErrHeader},
		{name: "resent", header: "To: alice@corp.example\nResent-To: bob@corp.example", err: ErrHeader},
		{name: "too many", header: "To: " + many(MaxRecipients+1), err: ErrTooManyRecipients},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := mustHeader(t, tc.header)
			who, err := whoReceives(h, tc.to)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err != nil {
				return
			}
			slices.Sort(who.main)
			if !slices.Equal(who.main, tc.main) || !slices.Equal(who.blind, tc.blind) || who.invalid != nil {
				t.Errorf("main %v, blind %v, invalid %v", who.main, who.blind, who.invalid)
			}
		})
	}
}

func many(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("p%d@corp.example", i))
	}
	return strings.Join(list, ",\n ")
}

func TestBcc(t *testing.T) {
	mail := "From: a@corp.example\nTo: alice@corp.example\nCc: bob@corp.example\nBcc: carol@corp.example,\n dave@corp.example, bob@corp.example\nSubject: s\nResent-Bcc-Not: x\n\nsecret\n"
	main, copies, result, err := encryptString(t, mail, EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Messages) != 3 {
		t.Errorf("messages %+v", result.Messages)
	}
	result.Messages = nil
	if want := (&Encrypted{Main: []mailaddr.Address{alice, bob}, Blind: []mailaddr.Address{carol, dave}}); !cmp.Equal(result, want) || len(copies) != 2 {
		t.Fatalf("result %+v, %d copies", result, len(copies))
	}
	everybody := crowd().identities(alice, bob, carol, dave)
	readers := map[string][]int{main: {0, 1}, copies[carol].String(): {2}, copies[dave].String(): {3}}
	if len(readers) != 3 {
		t.Fatal("two copies are equal")
	}
	for text, who := range readers {
		if slices.Contains(fieldNames(t, text), "Bcc") || strings.Contains(text, "dave@") || strings.Contains(text, "carol@") {
			t.Errorf("a copy shows Bcc recipients:\n%s", text)
		}
		for i, id := range everybody {
			plain, _, err := decryptString(t, text, []cms.Identity{id})
			if can := slices.Contains(who, i); can && (err != nil || !strings.Contains(plain, "secret")) || !can && !errors.Is(err, cms.ErrNoRecipient) {
				t.Errorf("reader %d of the copy for %v: %v", i, who, err)
			}
		}
	}

	var out bytes.Buffer
	_, err = Encrypt(t.Context(), strings.NewReader(mail), Outputs{Main: To(&out)}, &EncryptOptions{Recipients: crowd()})
	if !errors.Is(err, ErrBcc) || out.Len() > 0 {
		t.Errorf("without a place for copies: %v, %d bytes written", err, out.Len())
	}
	_, err = Encrypt(t.Context(), strings.NewReader(mail), Outputs{Main: To(&out)}, &EncryptOptions{Recipients: crowd(), To: []mailaddr.Address{alice}})
	if err != nil || slices.Contains(fieldNames(t, out.String()), "Bcc") {
		t.Errorf("explicit recipients: %v", err)
	}
	main, copies, _, err = encryptString(t, "Bcc: carol@corp.example\n\nx\n", EncryptOptions{})
	if err != nil || main != "" || len(copies) != 1 {
		t.Errorf("Bcc alone: %v, main %q, %d copies", err, main, len(copies))
	}
}

func TestRefusalNamesEverybody(t *testing.T) {
	mail := "To: eve@corp.example, alice@corp.example\nCc: \"a b\"@corp.example\nBcc: mallory@corp.example\n\nx\n"
	main, copies, _, err := encryptString(t, mail, EncryptOptions{})
	var refused *RecipientsError
	if !errors.As(err, &refused) || main != "" || len(copies) > 0 {
		t.Fatalf("%v, wrote %q and %d copies", err, main, len(copies))
	}
	var who []string
	for _, r := range refused.Refused {
		who = append(who, r.Address)
		if r.State != trust.Unknown || len(r.Reasons) == 0 || !strings.Contains(err.Error(), r.Address) {
			t.Errorf("%+v", r)
		}
	}
	if want := []string{"eve@corp.example", "mallory@corp.example", "a b@corp.example"}; !cmp.Equal(who, want) {
		t.Errorf("refused %q, want %q", who, want)
	}
	// An invalid address refuses also when all others are fine.
	if _, _, _, err := encryptString(t, "To: alice@corp.example, \"a b\"@corp.example\n\nx\n", EncryptOptions{}); !errors.As(err, &refused) || len(refused.Refused) != 1 {
		t.Errorf("invalid address: %v", err)
	}
}

// sourceFunc is a RecipientSource.
type sourceFunc func([]mailaddr.Address) ([][]*x509.Certificate, error)

func (f sourceFunc) ForEncryption(_ context.Context, a []mailaddr.Address) ([][]*x509.Certificate, error) {
	return f(a)
}

func TestBrokenSource(t *testing.T) {
	boom := errors.New("cache gone")
	for name, source := range map[string]sourceFunc{
		"error":     func([]mailaddr.Address) ([][]*x509.Certificate, error) { return nil, boom },
		"too few":   func([]mailaddr.Address) ([][]*x509.Certificate, error) { return nil, nil },
		"nil":       func([]mailaddr.Address) ([][]*x509.Certificate, error) { return [][]*x509.Certificate{{nil}}, nil },
		"wrong key": func([]mailaddr.Address) ([][]*x509.Certificate, error) { return [][]*x509.Certificate{{{}}}, nil },
	} {
		main, _, _, err := encryptString(t, "To: alice@corp.example\n\nx\n", EncryptOptions{Recipients: source})
		if err == nil || main != "" || name == "error" && !errors.Is(err, boom) {
			t.Errorf("%s: %v, wrote %d bytes", name, err, len(main))
		}
	}
}

func TestAlreadyEncrypted(t *testing.T) {
	for kind, refused := range map[string]bool{
		"application/pkcs7-mime; smime-type=enveloped-data":       true,
		"application/x-pkcs7-mime; smime-type=authEnveloped-data": true,
		"Application/PKCS7-MIME; name=smime.p7m":                  true,
		"application/octet-stream; name=smime.p7m":                true,
		"application/octet-stream; name=smime.bin":                false,
		"application/pkcs7-mime; smime-type=signed-data":          false,
		"multipart/signed; boundary=x":                            false,
		"text/plain; charset":                                     false,
	} {
		mail := "To: alice@corp.example\nContent-Type: " + kind + "\n\nx\n"
		if _, _, _, err := encryptString(t, mail, EncryptOptions{}); errors.Is(err, ErrAlreadyEncrypted) != refused || !refused && err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, _, _, err := encryptString(t, mail, EncryptOptions{AllowEncrypted: true}); err != nil {
			t.Errorf("%s, allowed: %v", kind, err)
		}
	}
}

// TestSignedByName: a document that was signed elsewhere (CAdES) is no encrypted mail, although its name ends like one's.
func TestSignedByName(t *testing.T) {
	signed := crowded(t, 1)
	encrypted, _, _, err := encryptString(t, "To: alice@corp.example\n\nx\n", EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, inside, _ := strings.Cut(encrypted, "\r\n\r\n")
	for name, tt := range map[string]struct {
		body    string
		refused bool
	}{
		"signed":    {base64.StdEncoding.EncodeToString(signed), false},
		"cut":       {base64.StdEncoding.EncodeToString(signed[:10]), true},
		"encrypted": {inside, true},
	} {
		for _, kind := range []string{"application/octet-stream; name=contract.pdf.p7m", "application/pkcs7-mime"} {
			mail := "To: alice@corp.example\nContent-Type: " + kind + "\nContent-Transfer-Encoding: base64\n\n" + tt.body + "\n"
			if _, _, _, err := encryptString(t, mail, EncryptOptions{}); errors.Is(err, ErrAlreadyEncrypted) != tt.refused || !tt.refused && err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}

func TestEncryptBadHeader(t *testing.T) {
	for name, head := range map[string]string{
		"no colon":               "To: alice@corp.example\nnonsense\n\n",
		"space in name":          "To: alice@corp.example\nTwo words: x\n\n",
		"continuation first":     " To: alice@corp.example\n\n",
		"carriage return":        "To: alice@corp.example\nSubject: a\rBcc: b\n\n",
		"NUL":                    "To: alice@corp.example\nSubject: a\x00b\n\n",
		"too many fields":        "To: alice@corp.example\n" + strings.Repeat("X: y\n", maxFields) + "\n",
		"too long":               "To: alice@corp.example\nX: " + strings.Repeat("y", maxHeader) + "\n\n",
		"too long, never ending": "To: alice@corp.example\n" + strings.Repeat(" folded on and on\n", maxHeader/16),
		"two content types":      "To: alice@corp.example\nContent-Type: text/plain\nContent-Type: text/html\n\n",
		"two encodings":          "To: alice@corp.example\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: binary\n\n",
	} {
		main, _, _, err := encryptString(t, head+"x\n", EncryptOptions{})
		if !errors.Is(err, ErrHeader) || main != "" {
			t.Errorf("%s: %v, wrote %d bytes", name, err, len(main))
		}
	}
}

// failing is a reader or writer that fails after some bytes.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, f.err
	}
	n := min(len(p), f.left)
	f.left -= n
	return copy(p, bytes.Repeat([]byte("x"), n)), nil
}

func TestEncryptFailures(t *testing.T) {
	boom := errors.New("boom")
	mail := "To: alice@corp.example\n\n"
	opts := &EncryptOptions{Recipients: crowd()}
	for _, left := range []int{0, 100, 3000, 100_000} {
		_, err := Encrypt(t.Context(), io.MultiReader(strings.NewReader(mail), bytes.NewReader(make([]byte, 200_000))), Outputs{Main: To(&failing{left, boom})}, opts)
		if !errors.Is(err, boom) {
			t.Errorf("writer that fails after %d bytes: %v", left, err)
		}
		_, err = Encrypt(t.Context(), io.MultiReader(strings.NewReader(mail), &failing{left, boom}), Outputs{Main: To(io.Discard)}, opts)
		if !errors.Is(err, boom) {
			t.Errorf("reader that fails after %d bytes: %v", left, err)
		}
	}
	if _, err := Encrypt(t.Context(), &failing{0, boom}, Outputs{Main: To(io.Discard)}, opts); !errors.Is(err, boom) || errors.Is(err, ErrHeader) {
		t.Errorf("reader that fails in the header: %v", err)
	}
	_, err := Encrypt(t.Context(), strings.NewReader(mail+"x"), Outputs{}, opts)
	if err == nil {
		t.Error("no output was not noticed")
	}
	var out bytes.Buffer
	_, err = Encrypt(t.Context(), strings.NewReader("To: alice@corp.example\nBcc: bob@corp.example\n\nx"),
		Outputs{Main: To(&out), Blind: func(*Choice) (io.Writer, error) { return nil, boom }}, opts)
	if !errors.Is(err, boom) || out.Len() > 0 {
		t.Errorf("place for the copy that fails: %v, wrote %d bytes", err, out.Len())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Encrypt(ctx, strings.NewReader(mail+"x"), Outputs{Main: To(io.Discard)}, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
