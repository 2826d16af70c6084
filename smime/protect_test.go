package smime

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
)

const secretMail = "Received: from x\r\nFrom: alice@corp.example\r\nTo: bob@corp.example\r\nBcc: carol@corp.example\r\nSubject: =?utf-8?q?gr=C3=BCne?= plans\r\nKeywords: secret\r\n" +
	"Message-ID: <1@corp.example>\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nhello\r\n"

func TestProtectHeaders(t *testing.T) {
	for name, opts := range map[string]EncryptOptions{
		"encrypted":          {},
		"AEAD":               {Cipher: cms.AES256GCM},
		"signed, encrypted":  {Sign: &SignOptions{Signer: signer(crowd()[alice])}},
		"signed opaque":      {Sign: &SignOptions{Signer: signer(crowd()[alice]), Opaque: true}},
		"with legacy":        {LegacyDisplay: true},
		"with legacy, signs": {LegacyDisplay: true, Sign: &SignOptions{Signer: signer(crowd()[alice])}},
	} {
		opts.ProtectHeaders = true
		main, copies, _, err := encryptString(t, secretMail, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, outside := range []string{main, copies["carol@corp.example"].String()} {
			// What is short is looked for with a sign that base64 does not have.
			if strings.Contains(outside, " plans") || strings.Contains(outside, "Keywords:") || strings.Contains(outside, "Bcc:") || strings.Count(outside, "Subject: [...]\r\n") != 1 {
				t.Errorf("%s: %q", name, short(outside))
			}
		}
		inside := decryptAll(t, main, DecryptOptions{Verify: *crowdOptions()})
		if !strings.Contains(inside.text, "\r\nSubject: =?utf-8?q?gr=C3=BCne?= plans\r\n") || !strings.Contains(inside.text, "\r\nKeywords: secret\r\n") ||
			!strings.HasPrefix(inside.text, "Received: from x\r\n") || strings.Contains(inside.text, "[...]\r\n\r\n") || strings.Contains(inside.text, "Bcc:") {
			t.Errorf("%s: %q", name, short(inside.text))
		}
		if head, _, _ := strings.Cut(inside.text, "\r\n\r\n"); strings.Count(head, "\r\nFrom: ") != 1 || strings.Count(head, "\r\nSubject: ") != 1 {
			t.Errorf("%s: fields twice in %q", name, short(inside.text))
		}
		h := inside.result.Verification.Headers
		if h == nil || h.Form != "cipher" || strings.Join(h.Confidential, " ") != "Subject Keywords" || strings.Join(h.Fields, " ") != "From To Subject Keywords Message-ID" {
			t.Errorf("%s: %+v", name, h)
		}
		if opts.Sign != nil && inside.result.Verification.Inside != Valid {
			t.Errorf("%s: %+v", name, inside.result.Verification)
		}
		if legacy := strings.Contains(inside.text, "Subject: grüne plans\r\n\r\nhello") || strings.Contains(inside.text, "Subject: gr=C3=BCne plans\r\n\r\nhello") ||
			strings.Contains(inside.text, base64.StdEncoding.EncodeToString([]byte("Subject: grüne plans\r\n"))[:20]); legacy != opts.LegacyDisplay || legacy != strings.Contains(inside.text, "hp-legacy-display=\"1\"") {
			t.Errorf("%s: legacy display %v in %q", name, legacy, short(inside.text))
		}
	}
}

// TestUnprotectable: header fields that no reader would find inside are not taken from outside either.
func TestUnprotectable(t *testing.T) {
	signed := func(opaque bool) string {
		return signString(t, "From: alice@corp.example\nTo: bob@corp.example\nSubject: plans\n\nhello\n", SignOptions{Signer: signer(crowd()[alice]), Opaque: opaque})
	}
	for name, mail := range map[string]string{
		"protected already":  "To: bob@corp.example\nContent-Type: text/plain; hp=clear\n\n",
		"signed":             signed(false),
		"signed opaque":      signed(true),
		"an unended quote":   "To: bob@corp.example\nSubject: plans\nContent-Type: text/plain; name=\"a\n\n",
		"an unended comment": "To: bob@corp.example\nSubject: plans\nContent-Type: text/plain (a\n\n",
	} {
		main, _, _, err := encryptString(t, mail, EncryptOptions{ProtectHeaders: true})
		if !errors.Is(err, ErrUnprotectable) || main != "" {
			t.Errorf("%s: %v, %q", name, err, short(main))
		}
	}
}

// TestTopicIsNotSaid: Outlook repeats the subject in Thread-Topic.
func TestTopicIsNotSaid(t *testing.T) {
	mail := "From: alice@corp.example\nTo: bob@corp.example\nSubject: Re: plans\nThread-Topic: plans\n\nhello\n"
	main, _, _, err := encryptString(t, mail, EncryptOptions{ProtectHeaders: true})
	if err != nil || strings.Contains(main, ": plans") {
		t.Errorf("%v: %q", err, short(main))
	}
	if inside := decryptAll(t, main, DecryptOptions{}); !strings.Contains(inside.text, "\r\nThread-Topic: plans\r\n") {
		t.Errorf("%q", short(inside.text))
	}
}

func TestLegacyDisplayOnlyWhereItFits(t *testing.T) {
	for head, want := range map[string]string{
		"Subject: a b\r\n": "Subject: a b\r\n\r\n",
		"Subject: a b\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: quoted-printable\r\n":             "Subject: a b\r\n\r\n",
		"Subject: =?utf-8?q?=C3=A4?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n":             "Subject: ä\r\n\r\n",
		"Subject: =?utf-8?q?=C3=A4?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n": "Subject: =C3=A4\r\n\r\n",
		"Subject: =?utf-8?q?=C3=A4?=\r\nContent-Type: text/plain; charset=utf-8\r\n":                                                "",
		"Subject: =?utf-8?q?=C3=A4?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n":        "",
		"Subject: =?utf-8?q?a=0D=0AX:_y?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n":        "",
		"Subject: a\r\nContent-Type: text/html\r\n":           "",
		"Subject: a\r\nContent-Transfer-Encoding: base64\r\n": "",
		"Subject: a\r\nSubject: b\r\n":                        "",
		"X: y\r\n":                                            "",
	} {
		if got := string(mustHeader(t, head+"\r\n").legacyDisplay()); got != want {
			t.Errorf("%q: %q, want %q", head, got, want)
		}
	}
}

type opened struct {
	text   string
	result *Decrypted
}

// decryptAll decrypts for alice, bob, carol or dave.
func decryptAll(t testing.TB, mail string, opts DecryptOptions) opened {
	t.Helper()
	if opts.Identities == nil {
		opts.Identities = crowd().identities(alice, bob, carol, dave)
	}
	var out strings.Builder
	result, err := Decrypt(t.Context(), strings.NewReader(mail), Into(&out), &opts)
	if err != nil {
		t.Fatalf("%v\n%q", err, short(mail))
	}
	return opened{out.String(), result}
}

// encrypted wraps content for alice into a mail.
func encryptedMail(t testing.TB, head, content string) string {
	return head + "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(envelope(t, content))
}

func TestReadProtectedHeaders(t *testing.T) {
	const outer = "Received: r\r\nFrom: alice@corp.example\r\nSubject: outer\r\nReply-To: evil@x.example\r\nMessage-ID: <1@x>\r\n"
	for _, tc := range []struct{ name, content, has, lacks, form string }{
		{"clear", "From: alice@corp.example\r\nSubject: inner\r\nContent-Type: text/plain; hp=clear\r\n\r\nx", "Subject: inner\r\n", "evil", "clear"},
		{"cipher", "HP-Outer: Subject: outer\r\nFrom: alice@corp.example\r\nSubject: inner\r\nBcc: b@x\r\nContent-Type: text/plain; hp=\"cipher\"\r\n\r\nx", "Subject: inner\r\n", "HP-Outer", "cipher"},
		{"no From inside", "Subject: inner\r\nContent-Type: text/plain; hp=clear\r\n\r\nx", "From: alice@corp.example\r\n", "evil", "clear"},
		{"other From inside", "From: evil@x.example\r\nSubject: inner\r\nContent-Type: text/plain; hp=clear\r\n\r\nx", "From: alice@corp.example\r\n", "evil@x.example", "clear"},
		{"other value", "Subject: inner\r\nContent-Type: text/plain; hp=maybe\r\n\r\nx", "Subject: outer\r\n", "inner", ""},
		{"not protected", "Subject: inner\r\nContent-Type: text/plain\r\n\r\nx", "Subject: outer\r\n", "inner", ""},
		{"wrapped", "Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: alice@corp.example\r\nSubject: inner\r\nContent-Type: text/html\r\n\r\n<b>", "\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b>", "evil", "message/rfc822"},
		{"wrapped, the same mail", "Content-Type: message/rfc822\r\n\r\nFrom: ALICE@corp.example\r\nMessage-ID: <1@x>\r\nSubject: inner\r\n\r\nx", "Subject: inner\r\n", "evil", "message/rfc822"},
		{"forwarded", "Content-Type: message/rfc822\r\n\r\nFrom: alice@corp.example\r\nMessage-ID: <2@x>\r\nSubject: inner\r\n\r\nx", "Subject: outer\r\n", "xyz", ""},
		{"damaged inside", "Content-Type: message/rfc822; forwarded=no\r\n\r\nnonsense", "Subject: outer\r\n", "xyz", ""},
	} {
		got := decryptAll(t, encryptedMail(t, outer, tc.content), DecryptOptions{})
		form := ""
		if h := got.result.Verification.Headers; h != nil {
			form = h.Form
		}
		head, _, _ := strings.Cut(got.text, "\r\n\r\n")
		if tc.name == "wrapped" {
			head = got.text
		}
		if form != tc.form || !strings.Contains(head+"\r\n", tc.has) || strings.Contains(head, tc.lacks) || !strings.HasPrefix(head, "Received: r\r\n") {
			t.Errorf("%s: %s, %q", tc.name, form, got.text)
		}
	}
	// A mail by alice that somebody sends on as his own, and the other way round.
	for _, tc := range []struct {
		outside, inside string
		want            Verdict
	}{{"alice", "alice", Valid}, {"bob", "alice", OtherAddress}, {"alice", "bob", OtherAddress}} {
		signed := signString(t, "Content-Type: text/plain; hp=clear\n\nx", SignOptions{})
		_, entity, _ := strings.Cut(signed, "MIME-Version: 1.0\r\n")
		v := verifyString(t, "From: "+tc.outside+"@corp.example\r\n"+entity, crowdOptions())
		if want := map[bool]Verdict{true: Valid, false: OtherAddress}[tc.outside == "alice"]; v.Verdict != want {
			t.Errorf("%+v, nothing inside: %s", tc, v.Verdict)
		}
		var text strings.Builder
		s, err := newSigning(&SignOptions{Signer: signer(crowd()[alice])})
		if err != nil {
			t.Fatal(err)
		}
		h := mustHeader(t, "From: "+tc.inside+"@corp.example\r\nContent-Type: text/plain; hp=clear\r\n\r\n")
		if err := s.entity(&text, h, bufioString("x")); err != nil {
			t.Fatal(err)
		}
		if v := verifyString(t, "From: "+tc.outside+"@corp.example\r\n"+text.String(), crowdOptions()); v.Verdict != tc.want || v.Headers == nil {
			t.Errorf("%+v: %s %q", tc, v.Verdict, v.Reasons)
		}
	}
}

func FuzzProtectedHeaders(f *testing.F) {
	f.Add("From: a@x.example\r\nSubject: s\r\n", "Content-Type: text/plain; hp=cipher\r\nHP-Outer: Subject: [...]\r\n\r\n")
	f.Add("From: a@x.example\r\nMessage-ID: <1@x>\r\n", "Content-Type: message/rfc822\r\n\r\nFrom: a@x.example\r\nMessage-ID: <1@x>\r\n\r\n")
	f.Fuzz(func(t *testing.T, outside, inside string) {
		outer, err := readHeader(bufioString(outside + "\r\n"))
		if err != nil {
			return
		}
		m := &memory{limit: 1 << 20}
		if _, err := m.Write([]byte(inside)); err != nil {
			return
		}
		e, err := parse(m.open)
		if err != nil {
			return
		}
		p, err := readProtected(outer, e)
		if err != nil {
			t.Fatal(err)
		}
		merged := p.merge(outer)
		if n := len(merged.values("From")); outer.has("From") && readFrom(outer).problem == "" && (n != 1 || readFrom(merged).address != readFrom(outer).address) {
			t.Fatalf("%d From fields in %q", n, merged)
		}
		if p != nil && (merged.has("HP-Outer") && !outer.has("HP-Outer") || merged.has("Bcc") && !outer.has("Bcc")) {
			t.Fatalf("%q", merged)
		}
		if inner, err := outer.protected(""); err == nil {
			again, err := readProtected(outer.obscured(), &entity{header: inner})
			if err != nil || again == nil || again.Form != "cipher" {
				t.Fatalf("%q: %+v, %v", inner, again, err)
			}
		}
	})
}
