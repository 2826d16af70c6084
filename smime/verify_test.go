package smime

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/trust"
)

// vectorTime is when the certificates of the vectors are valid.
var vectorTime = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func trusting(anchors ...*x509.Certificate) *trust.Policy {
	p := &trust.Policy{Anchors: x509.NewCertPool(), AnchorCount: len(anchors)}
	for _, c := range anchors {
		p.Anchors.AddCert(c)
	}
	return p
}

func vectorOptions(t testing.TB) *VerifyOptions {
	return &VerifyOptions{Policy: trusting(parseCertificate(t, load(t, "ca.pem"))), Now: func() time.Time { return vectorTime }}
}

func verifyString(t testing.TB, mail string, opts *VerifyOptions) *Verification {
	t.Helper()
	v, err := Verify(t.Context(), strings.NewReader(mail), opts)
	if err != nil {
		t.Fatalf("%v\n%q", err, short(mail))
	}
	if _, err := json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return v
}

// opaqueMail wraps a CMS message into a mail.
func opaqueMail(from string, der []byte) string {
	return "From: " + from + "\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(der) + "\r\n"
}

// detachedMail makes a multipart/signed.
func detachedMail(from string, content string, der []byte) string {
	return "From: " + from + "\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b\r\n\r\n--b\r\n" + content +
		"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(der) + "\r\n--b--\r\n"
}

func TestVerifyVectors(t *testing.T) {
	special := map[string]Verdict{
		"expired.opaque.der":     Untrusted,    // its validity ends before it begins
		"triple-wrapped.eml":     OtherAddress, // the author's signature is inside of the encryption
		"tlsonly.opaque.der":     Untrusted,
		"rsa.noattr.opaque.der":  Invalid,
		"rsa.nocerts.opaque.der": Invalid,
		"rsa.sha1.opaque.der":    Invalid,
	}
	files, err := filepath.Glob("testdata/sig/*")
	if err != nil || len(files) != 41 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		data := load(t, "sig/"+name)
		person := strings.FieldsFunc(strings.TrimPrefix(name, "nss."), func(r rune) bool { return r == '.' || r == '-' || r == '+' })[0]
		mail := string(data)
		switch {
		case strings.Contains(name, ".detached."):
			mail = detachedMail(person+"@alpha.example", string(load(t, "msg")), data)
		case strings.HasSuffix(name, ".der"):
			mail = opaqueMail(person+"@alpha.example", data)
		}
		want := Valid
		if v, ok := special[name]; ok {
			want = v
		}
		got := verifyString(t, mail, vectorOptions(t))
		if got.Verdict != want || len(got.Reasons) == 0 {
			t.Errorf("%s: %s %q, want %s", name, got.Verdict, got.Reasons, want)
		}
	}
	opts := vectorOptions(t)
	opts.Certificates = []*x509.Certificate{parseCertificate(t, load(t, "rsa.pem"))}
	if got := verifyString(t, opaqueMail("rsa@alpha.example", load(t, "sig/rsa.nocerts.opaque.der")), opts); got.Verdict != Valid {
		t.Errorf("with a certificate at hand: %s %q", got.Verdict, got.Reasons)
	}
	opts.ReportSHA1 = true
	if got := verifyString(t, opaqueMail("rsa@alpha.example", load(t, "sig/rsa.sha1.opaque.der")), opts); got.Verdict != Untrusted || !strings.Contains(strings.Join(got.Reasons, " "), "SHA-1") {
		t.Errorf("SHA-1, reported: %s %q", got.Verdict, got.Reasons)
	}
	if got := verifyString(t, opaqueMail("rsa@alpha.example", load(t, "sig/rsa.sha256.opaque.der")), nil); got.Verdict != Untrusted {
		t.Errorf("without anchors: %s %q", got.Verdict, got.Reasons)
	}
	two := verifyString(t, opaqueMail("rsa@alpha.example", load(t, "sig/rsa+p256.multi.opaque.der")), vectorOptions(t))
	if s := two.Layers[0].Signatures; len(s) != 2 || s[0].Verdict == s[1].Verdict {
		t.Errorf("two signers: %+v", s)
	}
}

func TestVerifyHostileVectors(t *testing.T) {
	for name, want := range map[string]Verdict{
		"sig-attr-as-content.der":      Invalid,
		"sig-no-digest.der":            Invalid,
		"sig-dup-digest-attr.der":      Invalid,
		"sig-content-changed.der":      Invalid,
		"sig-zero-signers.der":         Unsigned,
		"sig-future.der":               Valid, // with a warning
		"sig-unsorted-attrs.der":       Valid,
		"sig-forged-cert.der":          Untrusted, // the forged certificate has the key that signed, and no issuer
		"sig-ed25519-ok.der":           Valid,
		"mime-from-mismatch.eml":       OtherAddress,
		"mime-sender-matches-only.eml": OtherAddress,
		"mime-signed-in-mixed.eml":     Partial,
		"mime-octet-stream.eml":        Unsigned, // encrypted
	} {
		mail := string(load(t, "neg/"+name))
		if strings.HasSuffix(name, ".der") {
			from := "rsa@alpha.example"
			if strings.Contains(name, "ed25519") {
				from = "ed25519@alpha.example"
			}
			mail = opaqueMail(from, []byte(mail))
		}
		got := verifyString(t, mail, vectorOptions(t))
		if got.Verdict != want || len(got.Reasons) == 0 {
			t.Errorf("%s: %s %q, want %s", name, got.Verdict, got.Reasons, want)
		}
		switch name {
		case "sig-future.der":
			if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "in the future") {
				t.Errorf("%s: warnings %q", name, got.Warnings)
			}
		case "mime-signed-in-mixed.eml":
			if len(got.Parts) != 1 || got.Parts[0].Path != "2" || got.Parts[0].Verification.Verdict != Valid {
				t.Errorf("%s: parts %+v", name, got.Parts)
			}
		case "mime-octet-stream.eml":
			if !strings.Contains(got.Reasons[0], "encrypted") {
				t.Errorf("%s: reasons %q", name, got.Reasons)
			}
		}
	}
}

func thunderbirdOptions(t testing.TB, dir string) *VerifyOptions {
	ca, err := os.ReadFile(filepath.Join(dir, "TestCA.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &VerifyOptions{Policy: trusting(parseCertificate(t, ca)), Now: func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }}
}

// TestVerifyThunderbird judges the signed mails of Thunderbird's own tests.
func TestVerifyThunderbird(t *testing.T) {
	dir := vectors(t, "thunderbird")
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d mails, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		want := Valid
		switch {
		case strings.HasSuffix(name, ".env.eml"):
			want = Unsigned
		case strings.Contains(name, ".bad."), strings.Contains(name, "SHA1"):
			want = Invalid
		}
		mail, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Signed over lines that end in LF, and stored with CRLF.
		lfSigned := name == "alice.env.dsig.SHA256.multipart.eml"
		forms := map[string]string{"as it is": string(mail), "LF": strings.ReplaceAll(string(mail), "\r\n", "\n")}
		if strings.Contains(name, "opaque") && strings.Contains(name, "dsig") {
			delete(forms, "LF")
		}
		for form, mail := range forms {
			want := want
			if lfSigned && form != "LF" {
				want = Invalid
			}
			if got := verifyString(t, mail, thunderbirdOptions(t, dir)); got.Verdict != want {
				t.Errorf("%s, %s: %s %q, want %s", name, form, got.Verdict, got.Reasons, want)
			}
		}
	}
	t.Logf("%d mails", len(files))
}

func TestVerifyMimeKit(t *testing.T) {
	mail, err := os.ReadFile(vectors(t, "mimekit", "thunderbird-signed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := verifyString(t, string(mail), nil); got.Verdict != Invalid || !strings.Contains(got.Reasons[0], "too weak") {
		t.Errorf("%s %q", got.Verdict, got.Reasons)
	}
	if got := verifyString(t, string(mail), &VerifyOptions{ReportSHA1: true}); got.Verdict != Untrusted {
		t.Errorf("SHA-1 reported: %s %q", got.Verdict, got.Reasons)
	}
}

// crowdOptions trust the authority of the crowd.
func crowdOptions() *VerifyOptions { return &VerifyOptions{Policy: trusting(crowdRoot())} }

func TestVerifyStructure(t *testing.T) {
	signed := signString(t, "From: alice@corp.example\n\nhello\nworld \n", SignOptions{})
	if got := verifyString(t, signed, crowdOptions()); got.Verdict != Valid {
		t.Fatalf("%s %q", got.Verdict, got.Reasons)
	}
	boundary := signed[strings.Index(signed, "boundary=\"")+10:]
	boundary = boundary[:strings.Index(boundary, "\"")]
	dash := "\r\n--" + boundary
	start := strings.Index(signed, dash)
	second := start + 1 + strings.Index(signed[start+1:], dash)
	signature := signed[second:]
	for name, tc := range map[string]struct {
		mail string
		want Verdict
	}{
		"LF only":                    {strings.ReplaceAll(signed, "\r\n", "\n"), Valid},
		"mailbox line":               {"From x\n" + signed, Valid},
		"other preamble":             {strings.Replace(signed, "This is a signed", "Anything", 1), Valid},
		"epilogue":                   {signed + "list footer\r\n", Valid},
		"spaces after delimiters":    {strings.ReplaceAll(signed, dash+"\r\n", dash+"  \r\n"), Valid},
		"space at end of line added": {strings.Replace(signed, "hello\r\n", "hello \r\n", 1), Invalid},
		"space at end of line lost":  {strings.Replace(signed, "world \r\n", "world\r\n", 1), Invalid},
		"one more line":              {strings.Replace(signed, "hello\r\n", "hello\r\n\r\n", 1), Invalid},
		"case of a field":            {strings.Replace(signed, "Content-Type: text/plain", "content-type: text/plain", 1), Invalid},
		"third part":                 {strings.Replace(signed, dash+"--", dash+"\r\n\r\nevil"+dash+"--", 1), Invalid},
		"part before":                {signed[:start] + dash + "\r\n\r\nevil" + signed[start:], Invalid},
		"no close":                   {strings.Replace(signed, dash+"--\r\n", "\r\n", 1), Invalid},
		"no signature part":          {signed[:second] + dash + "--", Invalid},
		"no part":                    {signed[:start], Invalid},
		"empty body":                 {signed[:strings.Index(signed, "\r\n\r\n")+4], Invalid},
		"ambiguous line":             {strings.Replace(signed, "This is a signed", "--"+boundary+"x\r\n", 1), Invalid},
		"two signatures":             {strings.Replace(signed, dash+"--", signature, 1), Invalid},
		"signature of another type":  {strings.Replace(signed, "Content-Type: application/pkcs7-signature", "Content-Type: text/plain", 1), Invalid},
		"damaged base64":             {strings.Replace(signed, "\r\n\r\nMI", "\r\n\r\n%I", 1), Invalid},
		"no CMS":                     {strings.Replace(signed, "\r\n\r\nMI", "\r\n\r\nMAMI", 1), Invalid},
		"no boundary":                {strings.Replace(signed, "boundary=", "border=", 1), Invalid},
		"two boundaries":             {strings.Replace(signed, "boundary=", "boundary=x; boundary=", 1), Invalid},
		"encoded boundary":           {strings.Replace(signed, "boundary=\""+boundary+"\"", "boundary*=us-ascii''"+boundary, 1), Invalid},
		"base64 around":              {strings.Replace(signed, "MIME-Version", "Content-Transfer-Encoding: base64\r\nMIME-Version", 1), Invalid},
		"no protocol":                {strings.Replace(signed, "protocol", "protokoll", 1), Invalid},
		"OpenPGP":                    {strings.Replace(signed, "application/pkcs7-signature", "application/pgp-signature", 1), Unsigned},
		"other micalg":               {strings.Replace(signed, "sha-256", "md5", 1), Valid}, // says nothing that counts
		"not signed":                 {strings.Replace(signed, "multipart/signed", "multipart/mixed", 1), Unsigned},
		"plain":                      {"From: alice@corp.example\n\nhello", Unsigned},
		"empty":                      {"", Unsigned},
		"damaged opaque":             {"From: a@x.example\nContent-Type: application/pkcs7-mime\n\nAAAA\n", Invalid},
		"opaque, no base64":          {"From: a@x.example\nContent-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\n%\n", Invalid},
		"in mixed":                   {"From: alice@corp.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nhi\n--m\n" + signed + "\n--m--\n", Partial},
		"in mixed in mixed":          {"From: alice@corp.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/mixed; boundary=n\n\n--n\n" + signed + "\n--n--\n--m--\n", Partial},
		"bad one in mixed":           {"From: alice@corp.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\n" + strings.Replace(signed, "hello", "hallo", 1) + "\n--m--\n", Partial},
		"forwarded":                  {"From: alice@corp.example\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: message/rfc822\n\n" + signed + "\n--m--\n", Unsigned},
	} {
		if got := verifyString(t, tc.mail, crowdOptions()); got.Verdict != tc.want || len(got.Reasons) == 0 {
			t.Errorf("%s: %s %q, want %s", name, got.Verdict, got.Reasons, tc.want)
		}
	}
	if _, err := Verify(t.Context(), strings.NewReader("Content-Type: text/plain\nContent-Type: multipart/signed\n\n"), nil); !errors.Is(err, ErrHeader) {
		t.Errorf("two types: %v", err)
	}
	opts := crowdOptions()
	opts.MaxContent = 4
	for _, opaque := range []bool{false, true} {
		large := signString(t, "From: alice@corp.example\n\nhello\n", SignOptions{Opaque: opaque})
		if v, err := Verify(t.Context(), strings.NewReader(large), opts); !errors.Is(err, cms.ErrTooLarge) {
			t.Errorf("limit: %+v, %v", v, err)
		}
	}
	boom := errors.New("boom")
	if _, err := Verify(t.Context(), &failingReader{strings.NewReader(signed[:second]), boom}, nil); !errors.Is(err, boom) {
		t.Errorf("reader that fails: %v", err)
	}
}

type failingReader struct {
	r   *strings.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}

// The signer is alice@corp.example.
func TestFromAgainstCertificate(t *testing.T) {
	_, body, _ := strings.Cut(signString(t, "\nhello\n", SignOptions{}), "\r\n")
	body = "MIME-Version: 1.0\r\n" + body
	for _, tc := range []struct {
		from    string
		want    Verdict
		warning string
	}{
		{"From: alice@corp.example", Valid, ""},
		{"From: <alice@corp.example>", Valid, ""},
		{"from : Alice <ALICE@Corp.Example>", Valid, ""},
		{"From: alice@corp.example (evil@x.example)", Valid, "shows another address"},
		{"From: \"Alice (corp), Dr.\" <alice@corp.example>", Valid, ""},
		{"From: =?utf-8?q?alice?= <alice@corp.example>", Valid, ""},
		{"From:\r\n Alice\r\n <alice@corp.example>", Valid, ""},
		{"From: \"alice\"@corp.example", Valid, ""},
		{"From: \"bob@corp.example\" <alice@corp.example>", Valid, "shows another address"},
		{"From: =?utf-8?q?bob=40corp.example?= <alice@corp.example>", Valid, "shows another address"},
		{"From: \"alice@corp.example\" <evil@x.example>", OtherAddress, "shows another address"},
		{"From: evil@x.example (alice@corp.example)", OtherAddress, "shows another address"},
		{"From: evil@x.example\r\nSender: alice@corp.example", OtherAddress, ""},
		{"Sender: alice@corp.example", OtherAddress, ""},
		{"From: alice@corp.example\r\nFrom: evil@x.example", OtherAddress, ""},
		{"From: evil@x.example\r\nFrom: alice@corp.example", OtherAddress, ""},
		{"From: alice@corp.example\r\nfrom : alice@corp.example", OtherAddress, ""},
		{"From: alice@corp.example, evil@x.example", OtherAddress, ""},
		{"From: Friends: alice@corp.example;", OtherAddress, ""},
		{"From: alice@corp.example <evil@x.example>", OtherAddress, ""},
		{"From: =?utf-8?q?alice=40corp.example=3E?= <evil@x.example>", OtherAddress, "shows another address"},
		{"From: =?utf-8?q?alice?=@corp.example", OtherAddress, ""},
		{"From: \"alice@corp.example\"@x.example", OtherAddress, ""},
		{"From: alice@corp.example.evil.example", OtherAddress, ""},
		{"From: xalice@corp.example", OtherAddress, ""},
		{"From: alice@c\u043erp.example", OtherAddress, ""}, // a Cyrillic o
		{"From: \u0430lice@corp.example", OtherAddress, ""},
		{"From:", OtherAddress, ""},
		{"From: <>", OtherAddress, ""},
		{"From: undisclosed", OtherAddress, ""},
		{"X-From: alice@corp.example", OtherAddress, ""},
	} {
		got := verifyString(t, tc.from+"\r\n"+body, crowdOptions())
		if got.Verdict != tc.want || tc.warning == "" != (len(got.Warnings) == 0) || tc.warning != "" && !strings.Contains(got.Warnings[0], tc.warning) {
			t.Errorf("%q: %s %q, warnings %q, want %s", tc.from, got.Verdict, got.Reasons, got.Warnings, tc.want)
		}
	}
}

// Layers: a bad one spoils the mail, a good one of another person does not.
func TestVerifyLayers(t *testing.T) {
	inner := signString(t, "From: alice@corp.example\n\nhello\n", SignOptions{})
	list := SignOptions{Signer: signer(crowd()[bob])}
	opaque := SignOptions{Signer: signer(crowd()[bob]), Opaque: true}
	for name, tc := range map[string]struct {
		mail   string
		want   Verdict
		layers []Verdict
	}{
		"list":            {signString(t, inner, list), Valid, []Verdict{OtherAddress, Valid}},
		"opaque list":     {signString(t, inner, opaque), Valid, []Verdict{OtherAddress, Valid}},
		"changed outside": {strings.Replace(signString(t, inner, list), "This is a signed message", "This was", 2), Invalid, []Verdict{Invalid, Valid}},
		"changed inside":  {signString(t, strings.Replace(inner, "hello", "hallo", 1), opaque), Invalid, []Verdict{OtherAddress, Invalid}},
	} {
		got := verifyString(t, tc.mail, crowdOptions())
		var layers []Verdict
		for _, l := range got.Layers {
			layers = append(layers, l.Verdict)
		}
		if got.Verdict != tc.want || !slices.Equal(layers, tc.layers) {
			t.Errorf("%s: %s %v %q, want %s %v", name, got.Verdict, layers, got.Reasons, tc.want, tc.layers)
		}
	}
	deep := inner
	for range maxLayers + 3 {
		deep = signString(t, deep, opaque)
	}
	if got := verifyString(t, deep, crowdOptions()); got.Verdict != OtherAddress || len(got.Layers) != maxLayers || len(got.Warnings) == 0 {
		t.Errorf("too deep: %s, %d layers, %q", got.Verdict, len(got.Layers), got.Warnings)
	}
}

// The clock decides, and not the time that the signer claims.
func TestVerifyTime(t *testing.T) {
	cert := crowd()[alice].Certificate
	for _, tc := range []struct {
		now, claimed time.Time
		want         Verdict
		warning      string
	}{
		{cert.NotBefore.Add(time.Hour), time.Time{}, Valid, ""},
		{cert.NotBefore.Add(time.Hour), cert.NotBefore.Add(time.Minute), Valid, ""},
		{cert.NotBefore.Add(time.Hour), cert.NotBefore.Add(24 * time.Hour), Valid, "in the future"},
		{cert.NotBefore.Add(time.Hour), cert.NotBefore.Add(-time.Hour), Valid, "was not valid"},
		{cert.NotAfter.Add(time.Hour), cert.NotBefore.Add(time.Minute), ExpiredThen, ""},
		{cert.NotAfter.Add(time.Hour), time.Time{}, ExpiredThen, ""},
		{cert.NotAfter.Add(time.Hour), cert.NotAfter.Add(2 * clockSkew), Untrusted, "was not valid"},
		{cert.NotAfter.Add(time.Hour), cert.NotBefore.Add(-2 * clockSkew), Untrusted, "was not valid"},
		{cert.NotAfter.Add(time.Hour), cert.NotBefore.Add(-clockSkew), ExpiredThen, ""},
		{cert.NotBefore.Add(-time.Hour), cert.NotBefore.Add(time.Minute), Untrusted, "in the future"},
	} {
		opts := crowdOptions()
		opts.Now = func() time.Time { return tc.now }
		got := verifyString(t, signString(t, "From: alice@corp.example\n\nhello\n", SignOptions{Time: tc.claimed}), opts)
		if got.Verdict != tc.want || strings.Contains(strings.Join(got.Warnings, " "), tc.warning) != true || tc.warning == "" != (len(got.Warnings) == 0) {
			t.Errorf("now %v, claimed %v: %s %q %q, want %s", tc.now, tc.claimed, got.Verdict, got.Reasons, got.Warnings, tc.want)
		}
	}
}

// What a signer announces reaches the caller.
func TestVerifyAnnounces(t *testing.T) {
	opts := SignOptions{Signer: signer(crowd()[alice]), Time: time.Now()}
	opts.Signer.Encryption = crowd()[dave].Certificate
	got := verifyString(t, signString(t, "From: alice@corp.example\n\nhello\n", opts), crowdOptions())
	s := got.Layers[0].Signatures[0]
	if s.Preferred == nil || !s.Preferred.Equal(crowd()[dave].Certificate) || !slices.Contains(s.Capabilities.Ciphers(), cms.AES256GCM) || s.SigningTime == nil {
		t.Errorf("%+v", s)
	}
	if len(got.Layers[0].Certificates) != 2 {
		t.Errorf("%d certificates", len(got.Layers[0].Certificates))
	}
	if text, err := json.Marshal(got); err != nil || !bytes.Contains(text, []byte(`"verdict":"valid"`)) || !bytes.Contains(text, []byte(`"addresses":["alice@corp.example"]`)) {
		t.Errorf("%s, %v", text, err)
	}
}
