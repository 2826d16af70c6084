package cms

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inTime is when the made certificates are valid.
var inTime = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// trusted builds the chain that this package leaves to its caller.
func trusted(t testing.TB, s *Signed, signer Signer) error {
	t.Helper()
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: inTime,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
	opts.Roots.AddCert(identityCertificate(t, "ca"))
	for _, c := range s.Certificates {
		opts.Intermediates.AddCert(c)
	}
	err := errors.New("no certificate")
	for _, c := range signer.Certificates {
		if _, err = c.Verify(opts); err == nil {
			return nil
		}
	}
	return err
}

// clearSigned splits a multipart/signed mail into the signed part in its canonical form and the signature.
func clearSigned(t testing.TB, mail []byte) (content, signature []byte) {
	t.Helper()
	_, after, ok := bytes.Cut(mail, []byte(`boundary="`))
	boundary, _, ok2 := bytes.Cut(after, []byte(`"`))
	if !ok || !ok2 {
		t.Fatal("no boundary")
	}
	text := bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))
	parts := bytes.Split(text, append([]byte("\n--"), boundary...))
	if len(parts) < 3 {
		t.Fatalf("%d parts", len(parts))
	}
	return bytes.ReplaceAll(parts[1][1:], []byte("\n"), []byte("\r\n")), messageBytes(t, parts[2])
}

// verifyFile verifies a file of testdata, which holds a message or a mail.
func verifyFile(t testing.TB, name string, data []byte, opts VerifyOptions) (*Signed, []byte, error) {
	t.Helper()
	var out bytes.Buffer
	switch {
	case bytes.Contains(data, []byte("multipart/signed")):
		content, signature := clearSigned(t, data)
		opts.Content = bytes.NewReader(content)
		s, err := Verify(bytes.NewReader(signature), &opts)
		return s, content, err
	case strings.Contains(name, ".detached."):
		content := load(t, "made", "msg")
		opts.Content = bytes.NewReader(content)
		s, err := Verify(bytes.NewReader(data), &opts)
		return s, content, err
	}
	opts.Output = &out
	s, err := Verify(bytes.NewReader(messageBytes(t, data)), &opts)
	return s, out.Bytes(), err
}

// TestVerifyMade examines every message of testdata/made/sig.
func TestVerifyMade(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "made", "sig", "*"))
	if err != nil || len(paths) != 41 {
		t.Fatalf("%d messages, %v", len(paths), err)
	}
	refused := map[string]error{
		"rsa.sha1.opaque.der":    ErrWeakDigest,
		"rsa.noattr.opaque.der":  ErrNoSignedAttributes,
		"rsa.nocerts.opaque.der": ErrNoCertificate,
	}
	lenient := VerifyOptions{AllowSHA1: true, AllowNoAttributes: true, Certificates: []*x509.Certificate{identityCertificate(t, "rsa")}}
	untrusted := map[string]bool{"expired.opaque.der": true, "tlsonly.opaque.der": true}
	for _, path := range paths {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, content, err := verifyFile(t, name, data, VerifyOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := 1
		if strings.HasPrefix(name, "rsa+p256") {
			want = 2
		}
		if len(s.Signers) != want {
			t.Errorf("%s: %d signers", name, len(s.Signers))
		}
		if wantErr := refused[name]; wantErr != nil {
			if !errors.Is(s.Signers[0].Err, wantErr) {
				t.Errorf("%s: %v instead of %v", name, s.Signers[0].Err, wantErr)
			}
			if s, content, err = verifyFile(t, name, data, lenient); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
		}
		for i, signer := range s.Signers {
			if signer.Err != nil {
				t.Errorf("%s: signer %d: %v", name, i, signer.Err)
			}
			if err := trusted(t, s, signer); (err != nil) != untrusted[name] {
				t.Errorf("%s: chain: %v", name, err)
			}
			if refused[name] != ErrNoSignedAttributes && signer.SigningTime.Year() != 2026 {
				t.Errorf("%s: signing time %v", name, signer.SigningTime)
			}
		}
		if s.Size != int64(len(content)) || s.Size < 100 {
			t.Errorf("%s: content of %d bytes, %d came out", name, s.Size, len(content))
		}
		if detached := strings.Contains(name, "detached") || strings.Contains(name, "multipart") || strings.Contains(name, "triple"); s.Detached != detached {
			t.Errorf("%s: detached %v", name, s.Detached)
		}
	}
}

// TestVerifyNegative runs the signature half of MANIFEST.tsv.
func TestVerifyNegative(t *testing.T) {
	tests := map[string]struct {
		err   error // of the first signer; nil: the signature is good
		chain bool  // the chain is good
	}{
		"sig-attr-as-content.der": {ErrNoSignedAttributes, false},
		"sig-no-digest.der":       {ErrAttributes, false},
		"sig-dup-digest-attr.der": {ErrAttributes, false},
		"sig-content-changed.der": {ErrContentChanged, false},
		"sig-future.der":          {nil, true},
		"sig-unsorted-attrs.der":  {nil, true},
		"sig-forged-cert.der":     {nil, false}, // verifies with the forger's key, which nobody vouches for
		"sig-ed25519-ok.der":      {nil, true},
	}
	for name, test := range tests {
		data := load(t, "made", "neg", name)
		s, _, err := verifyFile(t, name, data, VerifyOptions{})
		if err != nil || len(s.Signers) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		signer := s.Signers[0]
		if !errors.Is(signer.Err, test.err) {
			t.Errorf("%s: %v instead of %v", name, signer.Err, test.err)
		}
		if signer.Err == nil {
			if err := trusted(t, s, signer); (err == nil) != test.chain {
				t.Errorf("%s: chain: %v", name, err)
			}
		}
		if !bytes.Contains(load(t, "made", "neg", "MANIFEST.tsv"), []byte(name)) {
			t.Errorf("%s is not in the manifest", name)
		}
	}
	// The attributes of another message stay refused when attributes are not required.
	s, _, err := verifyFile(t, "", load(t, "made", "neg", "sig-attr-as-content.der"), VerifyOptions{AllowNoAttributes: true})
	if err != nil || !errors.Is(s.Signers[0].Err, ErrNoSignedAttributes) {
		t.Errorf("attributes as content: %v, %v", s, err)
	}
	if s, _, err = verifyFile(t, "", load(t, "made", "neg", "sig-zero-signers.der"), VerifyOptions{}); err != nil || len(s.Signers) != 0 {
		t.Errorf("no signers: %v, %v", s, err)
	}
	if s, _, _ = verifyFile(t, "", load(t, "made", "neg", "sig-future.der"), VerifyOptions{}); s.Signers[0].SigningTime.Year() != 2044 {
		t.Errorf("claimed time: %v", s.Signers[0].SigningTime)
	}
}

// TestForgedCertificateBesideTheGenuine: a certificate with the same identifier and another key does not hide the signer's.
func TestForgedCertificateBesideTheGenuine(t *testing.T) {
	genuine := identityCertificate(t, "rsa")
	forgedMessage, err := ParseCertificates(load(t, "made", "neg", "sig-forged-cert.der"))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := x509.ParseCertificate(forgedMessage.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	if forged.SerialNumber.Cmp(genuine.SerialNumber) != 0 {
		t.Fatal("the forged certificate has another serial number")
	}
	data := load(t, "made", "sig", "rsa.nocerts.opaque.der")
	s, err := Verify(bytes.NewReader(data), &VerifyOptions{Certificates: []*x509.Certificate{forged, genuine}})
	if err != nil || s.Signers[0].Err != nil || len(s.Signers[0].Certificates) != 1 || !s.Signers[0].Certificates[0].Equal(genuine) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = Verify(bytes.NewReader(data), &VerifyOptions{Certificates: []*x509.Certificate{forged}})
	if err != nil || !errors.Is(s.Signers[0].Err, ErrSignature) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	opaque, detached := load(t, "made", "sig", "rsa.sha256.opaque.der"), load(t, "made", "sig", "nss.rsa.detached.der")
	tests := map[string]struct {
		data []byte
		opts VerifyOptions
		err  error
	}{
		"content missing":         {detached, VerifyOptions{}, ErrNoContent},
		"content twice":           {opaque, VerifyOptions{Content: strings.NewReader("other")}, ErrNoContent},
		"encrypted":               {load(t, "made", "enc", "nss.rsa.der"), VerifyOptions{}, ErrNotSignedData},
		"nothing":                 {nil, VerifyOptions{}, ErrNotSignedData},
		"trailing":                {append(bytes.Clone(opaque), 0), VerifyOptions{}, ErrSyntax},
		"cut":                     {opaque[:len(opaque)-1], VerifyOptions{}, ErrSyntax},
		"too large":               {opaque, VerifyOptions{MaxContent: 20}, ErrTooLarge},
		"too large, from outside": {detached, VerifyOptions{MaxContent: 20, Content: bytes.NewReader(make([]byte, 21))}, ErrTooLarge},
		"output fails":            {opaque, VerifyOptions{Output: failingWriter{os.ErrClosed}}, os.ErrClosed},
		"content fails":           {detached, VerifyOptions{Content: errReader{os.ErrClosed}}, os.ErrClosed},
	}
	for name, test := range tests {
		if s, err := Verify(bytes.NewReader(test.data), &test.opts); !errors.Is(err, test.err) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	s, err := Verify(bytes.NewReader(detached), &VerifyOptions{Content: strings.NewReader("another content")})
	if err != nil || !errors.Is(s.Signers[0].Err, ErrContentChanged) {
		t.Errorf("another content: %v, %v", s, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestVerifyTamper: after any changed byte the signature is not good, or content and signer are what they were.
func TestVerifyTamper(t *testing.T) {
	for _, name := range []string{"made/sig/p256.sha256.opaque.der", "made/neg/sig-ed25519-ok.der"} {
		data := load(t, filepath.FromSlash(name))
		_, want, err := verifyFile(t, "", data, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		good := 0
		for i := range data {
			for bit := range 8 {
				other := bytes.Clone(data)
				other[i] ^= 1 << bit
				var out bytes.Buffer
				s, err := Verify(bytes.NewReader(other), &VerifyOptions{Output: &out})
				if err != nil || len(s.Signers) != 1 || s.Signers[0].Err != nil || trusted(t, s, s.Signers[0]) != nil {
					continue
				}
				good++
				if !bytes.Equal(out.Bytes(), want) {
					t.Fatalf("%s, byte %d, bit %d: other content is called signed", name, i, bit)
				}
			}
		}
		t.Logf("%s: %d of %d changes do not matter", name, good, 8*len(data))
	}
}
