package smime

import (
	"bytes"
	"compress/zlib"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// compressedMail is application/pkcs7-mime around a CompressedData with this content.
func compressedMail(t testing.TB, head, content string) string {
	t.Helper()
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	type algorithm struct{ OID asn1.ObjectIdentifier }
	type encapsulated struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	type compressed struct {
		Version   int
		Algorithm algorithm
		Content   encapsulated
	}
	der, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content compressed `asn1:"explicit,tag:0"`
	}{oidCompressedData, compressed{0, algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 8}},
		encapsulated{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, z.Bytes()}}})
	if err != nil {
		t.Fatal(err)
	}
	return head + "Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(der) + "\r\n"
}

func TestDecryptLayers(t *testing.T) {
	const head = "From: alice@corp.example\r\nTo: bob@corp.example\r\n"
	const text = "hello from alice\r\n"
	sign := func(mail string, who string, opaque bool) string {
		return signString(t, mail, SignOptions{Signer: signer(crowd()[map[string]mailaddr.Address{"alice": alice, "bob": bob}[who]]), Opaque: opaque, Time: time.Now()})
	}
	encrypt := func(mail string, c cms.Cipher) string {
		main, _, _, err := encryptString(t, mail, EncryptOptions{Cipher: c, AllowEncrypted: true})
		if err != nil {
			t.Fatal(err)
		}
		return main
	}
	plain := head + "\r\n" + text
	for name, tc := range map[string]struct {
		mail            string
		verdict, inside Verdict
		protection      cms.Protection
	}{
		"unsigned":                      {encrypt(plain, cms.AES256CBC), Unsigned, Unsigned, cms.Malleable},
		"unsigned, AEAD":                {encrypt(plain, cms.AES256GCM), Unsigned, Unsigned, cms.Authenticated},
		"signed inside":                 {encrypt(sign(plain, "alice", false), cms.AES256CBC), Valid, Valid, cms.Malleable},
		"opaque inside":                 {encrypt(sign(plain, "alice", true), cms.AES256GCM), Valid, Valid, cms.Authenticated},
		"another's inside":              {encrypt(sign(plain, "bob", true), cms.AES256CBC), OtherAddress, OtherAddress, cms.Malleable},
		"changed inside":                {encrypt(strings.Replace(sign(plain, "alice", false), "from alice", "from bobby", 1), cms.AES256CBC), Invalid, Invalid, cms.Malleable},
		"signed outside":                {sign(encrypt(plain, cms.AES256CBC), "alice", false), Valid, Unsigned, cms.Malleable},
		"opaque outside":                {sign(encrypt(plain, cms.AES256CBC), "alice", true), Valid, Unsigned, cms.Malleable},
		"triple":                        {sign(encrypt(sign(plain, "alice", false), cms.AES256GCM), "alice", false), Valid, Valid, cms.Authenticated},
		"triple, opaque":                {sign(encrypt(sign(plain, "alice", true), cms.AES256CBC), "bob", true), Valid, Valid, cms.Malleable},
		"triple, another's inside":      {sign(encrypt(sign(plain, "bob", true), cms.AES256CBC), "alice", true), Valid, OtherAddress, cms.Malleable},
		"triple, changed outside":       {strings.Replace(sign(encrypt(sign(plain, "alice", true), cms.AES256CBC), "alice", false), "S/MIME encrypted", "S/MIME encrYpted", 1), Invalid, Valid, cms.Malleable},
		"compressed, signed, encrypted": {encrypt(sign(compressedMail(t, head, "Content-Type: text/plain\r\n\r\n"+text), "alice", true), cms.AES256CBC), Valid, Valid, cms.Malleable},
		"encrypted, compressed":         {compressedMail(t, head, strings.TrimPrefix(encrypt(plain, cms.AES256CBC), head)), Unsigned, Unsigned, cms.Malleable},
	} {
		kept := decryptAll(t, tc.mail, DecryptOptions{Verify: *crowdOptions()})
		v := kept.result.Verification
		if v.Verdict != tc.verdict || v.Inside != tc.inside || kept.result.Protection != tc.protection {
			t.Errorf("%s: %s, inside %s, %s, %q; want %s, %s", name, v.Verdict, v.Inside, kept.result.Protection, v.Reasons, tc.verdict, tc.inside)
		}
		if around := v.Inside == Unsigned && v.Verdict != Unsigned; around != strings.Contains(strings.Join(v.Warnings, " "), "only the encrypted form") {
			t.Errorf("%s: warnings %q", name, v.Warnings)
		}
		if strings.Contains(kept.text, "multipart/signed") {
			if again := verifyString(t, kept.text, crowdOptions()); again.Verdict != tc.inside {
				t.Errorf("%s: the signature of what comes out is %s", name, again.Verdict)
			}
		}
		taken := decryptAll(t, tc.mail, DecryptOptions{Unwrap: true})
		if want := head; !strings.HasPrefix(taken.text, want) || strings.Contains(taken.text, "pkcs7") || !strings.HasSuffix(taken.text, text) && name != "changed inside" {
			t.Errorf("%s: unwrapped %q", name, short(taken.text))
		}
	}
}

// The vector that openssl wrapped three times: signed by p256, encrypted to rsa, signed by rsa.
func TestDecryptTripleVector(t *testing.T) {
	got := decryptAll(t, string(load(t, "sig/triple-wrapped.eml")), DecryptOptions{Identities: []cms.Identity{vectorIdentity(t)}, Verify: *vectorOptions(t), Unwrap: true})
	v := got.result.Verification
	if v.Verdict != Valid || v.Inside != Valid || len(v.Layers) != 3 || v.Layers[0].Verdict != OtherAddress || !strings.HasSuffix(got.text, string(load(t, "msg"))) {
		t.Errorf("%s, inside %s, %d layers, %q", v.Verdict, v.Inside, len(v.Layers), short(got.text))
	}
}

// One key is used once for one mail, and what is inside is no error.
func TestDecryptOnce(t *testing.T) {
	inner, _, _, err := encryptString(t, "To: alice@corp.example\r\n\r\nsecret\r\n", EncryptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	outer, _, _, err := encryptString(t, inner, EncryptOptions{AllowEncrypted: true})
	if err != nil {
		t.Fatal(err)
	}
	got := decryptAll(t, outer, DecryptOptions{})
	if strings.Contains(got.text, "secret") || len(got.result.Verification.Layers) != 2 || got.result.Verification.Layers[1].Cipher != "" {
		t.Errorf("%q, %+v", short(got.text), got.result.Verification)
	}
	for _, content := range []string{
		"Content-Type: application/pkcs7-mime\r\n\r\nnonsense %%%",
		"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMIAG",
		"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"\r\n\r\n",
		"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n--b\r\nnonsense\r\n--b\r\nnonsense\r\n--b--",
		"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx",
		"Content-Type: message/rfc822; forwarded=no\r\n\r\nnonsense",
	} {
		if got := decryptAll(t, encryptedMail(t, "To: x\r\n", content), DecryptOptions{Unwrap: true}); !strings.Contains(got.text, "\r\n\r\n") {
			t.Errorf("%q: %q", content, got.text)
		}
	}
}

func TestDecryptRefusesSignedOnly(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		_, _, err := decryptString(t, signString(t, "From: alice@corp.example\n\nhi\n", SignOptions{Opaque: opaque}), crowd().identities(alice))
		if !errors.Is(err, ErrNotEncrypted) || !strings.Contains(err.Error(), "signed, not encrypted") {
			t.Errorf("opaque %v: %v", opaque, err)
		}
	}
}

func TestDecompressionBombs(t *testing.T) {
	if v := verifyString(t, compressedMail(t, "From: alice@corp.example\r\n", strings.Repeat("\x00", 64<<20)), nil); v.Verdict != Unsigned || !strings.Contains(v.Reasons[0], "larger than the limit") {
		t.Errorf("%s %q", v.Verdict, v.Reasons)
	}
	inner := signString(t, "From: alice@corp.example\n\nhi\n", SignOptions{})
	_, entity, _ := strings.Cut(inner, "MIME-Version: 1.0\r\n")
	if v := verifyString(t, compressedMail(t, "From: alice@corp.example\r\n", entity), crowdOptions()); v.Verdict != Valid {
		t.Errorf("signed and compressed: %s %q", v.Verdict, v.Reasons)
	}
}

// Property: what is signed is valid, and with any byte changed in what is signed it is not.
func TestSignedBytesCannotChange(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	checked := 0
	for i := range 60 {
		mail := generate(r)
		mail = "From: alice@corp.example\n" + mail
		var out bytes.Buffer
		if _, err := Sign(t.Context(), strings.NewReader(mail), &out, &SignOptions{Signer: signer(crowd()[alice]), Opaque: i%3 == 0}); err != nil {
			t.Fatalf("%v\n%q", err, short(mail))
		}
		signed := out.Bytes()
		if v := verifyString(t, string(signed), crowdOptions()); v.Verdict != Valid {
			t.Fatalf("%s %q\n%q", v.Verdict, v.Reasons, short(mail))
		}
		if i%3 == 0 {
			continue
		}
		_, params, err := mustHeader(t, string(signed)).mediaType()
		if err != nil {
			t.Fatal(err)
		}
		dash := "--" + params["boundary"] + "\r\n"
		start := bytes.Index(signed, []byte(dash)) + len(dash)
		end := start + bytes.Index(signed[start:], []byte("\r\n"+dash))
		for range 20 {
			at := start + r.IntN(end-start)
			old := signed[at]
			signed[at] ^= byte(1 + r.IntN(255))
			if v := verifyString(t, string(signed), crowdOptions()); v.Verdict == Valid {
				t.Fatalf("byte %d of %q changed to %q: %s", at, short(string(signed)), signed[at], v.Verdict)
			}
			signed[at] = old
			checked++
		}
	}
	t.Logf("%d changes", checked)
}

func FuzzVerify(f *testing.F) {
	signed := string(load(f, "sig/p256.sha256.multipart.eml"))
	f.Add(signed)
	f.Add(strings.ReplaceAll(signed, "\r\n", "\n"))
	f.Add(opaqueMail("rsa@alpha.example", load(f, "sig/rsa+p256.multi.opaque.der")))
	f.Add("From: p256@alpha.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nhi\n--m\n" + signed + "\n--m--\n")
	f.Add(compressedMail(f, "From: x@y.example\r\n", "Content-Type: text/plain; hp=clear\r\nSubject: s\r\n\r\nhello"))
	for _, name := range []string{"sig/triple-wrapped.eml", "neg/mime-signed-in-mixed.eml", "neg/mime-octet-stream.eml"} {
		f.Add(string(load(f, name)))
	}
	opts := vectorOptions(f)
	opts.MaxContent = 1 << 20
	f.Fuzz(func(t *testing.T, mail string) {
		v, err := Verify(t.Context(), strings.NewReader(mail), opts)
		if err != nil {
			return
		}
		if len(v.Reasons) == 0 {
			t.Fatalf("%s without a reason", v.Verdict)
		}
		if v.Verdict == Valid && !strings.HasSuffix(v.From, "@alpha.example") {
			t.Fatalf("valid from %q", v.From)
		}
	})
}
