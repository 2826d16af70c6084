package cms

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// seeds adds every message of testdata that is not large.
func seeds(f *testing.F, patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(pattern)))
		if err != nil || len(paths) == 0 {
			f.Fatal(pattern, err)
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// quick fails when an input took unreasonably long.
func quick(t *testing.T, begin time.Time) {
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// FuzzElement: what the stream reader takes is an element in DER lengths, and reading that again changes nothing.
func FuzzElement(f *testing.F) {
	seeds(f, "made/enc/*.der", "made/neg/*.der", "rustcrypto/*")
	f.Add([]byte{0x24, 0x80, 4, 1, 'a', 0x24, 3, 4, 1, 'b', 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		der, err := newReader(bytes.NewReader(data), maxLength).element(len(data)+100, "fuzz")
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("unexpected error: %v", err)
			}
			return
		}
		again, err := toDER(der)
		if err != nil || len(again) > 0 && &again[0] != &der[0] {
			t.Fatalf("%x is not stable: %x, %v", der, again, err)
		}
		if len(der) > 0 && der[0] == tagOctetString {
			o, err := newReader(bytes.NewReader(data), maxLength).octets(tagOctetString, int64(len(data)), "fuzz")
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(o)
			e, _ := parseElement(der)
			if err != nil || !bytes.Equal(content, e.body) {
				t.Fatalf("as a stream: %x, %v", content, err)
			}
		}
	})
}

// fixedKey saves the cost of RSA, which is not what is fuzzed.
type fixedKey struct{ crypto.Decrypter }

func (fixedKey) Decrypt(_ io.Reader, _ []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	//lint:ignore SA1019 this is what the package asks for
	if o, ok := opts.(*rsa.PKCS1v15DecryptOptions); ok {
		return make([]byte, o.SessionKeyLen), nil
	}
	return make([]byte, 32), nil
}

// FuzzDecrypt: any input ends quickly in one of the documented errors or in content of the right length.
func FuzzDecrypt(f *testing.F) {
	seeds(f, "made/enc/*.der", "made/neg/*.der", "interop/*.der", "rustcrypto/*")
	ids := madeIdentities(f)[:3]
	for i := range ids[:2] {
		ids[i].Key = fixedKey{ids[i].Key.(crypto.Decrypter)}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer quick(t, time.Now())
		d, err := Decrypt(bytes.NewReader(data), ids, &DecryptOptions{MaxContent: 1 << 20, AllowTripleDES: true})
		if err != nil {
			for _, known := range []error{ErrDecrypt, ErrNoRecipient, ErrSyntax, ErrUnsupported, ErrTooLarge} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("unexpected error: %v", err)
		}
		n, err := io.Copy(io.Discard, d)
		if err != nil || n != d.Size() || d.Identity < 0 || d.Identity >= len(ids) {
			t.Fatalf("%d of %d bytes, %v", n, d.Size(), err)
		}
		if d.Protection != d.Cipher.Protection() {
			t.Fatalf("%v is called %v", d.Cipher, d.Protection)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParseCertificates: certificates come out bounded, and the preferred one is among them.
func FuzzParseCertificates(f *testing.F) {
	seeds(f, "made/sig/*.der", "made/neg/sig-*.der", "rustcrypto/*", "made/enc/nss.rsa.der")
	f.Fuzz(func(t *testing.T, data []byte) {
		defer quick(t, time.Now())
		set, err := ParseCertificates(data)
		if err != nil {
			if set != nil || !errors.Is(err, ErrNotSignedData) && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%v, %v", set, err)
			}
			return
		}
		if len(set.Certificates) > maxCertificates {
			t.Fatalf("%d certificates", len(set.Certificates))
		}
		found := set.Preferred == nil
		for _, der := range set.Certificates {
			if len(der) > maxCertificateSize {
				t.Fatalf("certificate of %d bytes", len(der))
			}
			if cert, err := x509.ParseCertificate(der); err == nil {
				_ = CertificateCapabilities(cert)
			}
			found = found || bytes.Equal(der, set.Preferred)
		}
		if !found {
			t.Fatal("the preferred certificate is not in the set")
		}
	})
}

// FuzzParseCapabilities: what is read is written the same way.
func FuzzParseCapabilities(f *testing.F) {
	f.Add(Capabilities{{Algorithm: AES256GCM.OID()}, {Algorithm: AES128CBC.OID(), Parameters: asn1Null}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseCapabilities(data)
		if err != nil {
			return
		}
		_ = list.Ciphers()
		again, err := ParseCapabilities(list.Encode())
		if err != nil || len(again) != len(list) {
			t.Fatalf("%v: %v, %v", list, again, err)
		}
	})
}

// FuzzVerify: any input ends in a documented error or in a finding per signer; a good one has a certificate whose key
// was used, and the content came out whole.
func FuzzVerify(f *testing.F) {
	seeds(f, "made/sig/*.der", "made/neg/sig-*.der", "rustcrypto/*")
	content := load(f, "made", "msg")
	findings := []error{ErrSignature, ErrContentChanged, ErrNoCertificate, ErrWeakDigest, ErrNoSignedAttributes, ErrAttributes, ErrUnsupported, ErrSyntax}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer quick(t, time.Now())
		for _, detached := range []bool{false, true} {
			var out bytes.Buffer
			opts := &VerifyOptions{Output: &out, MaxContent: 1 << 20, AllowSHA1: detached, AllowNoAttributes: detached}
			if detached {
				opts.Content = bytes.NewReader(content)
			}
			s, err := Verify(bytes.NewReader(data), opts)
			if err != nil {
				if s != nil || !errors.Is(err, ErrNotSignedData) && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrNoContent) {
					t.Fatalf("%v, %v", s, err)
				}
				continue
			}
			if !s.Detached && s.Size != int64(out.Len()) {
				t.Fatalf("%d of %d bytes came out", out.Len(), s.Size)
			}
			for _, signer := range s.Signers {
				if signer.Err == nil && len(signer.Certificates) == 0 {
					t.Fatal("a good signature without a certificate")
				}
				if signer.Err != nil && !slices.ContainsFunc(findings, func(known error) bool { return errors.Is(signer.Err, known) }) {
					t.Fatalf("unexpected finding: %v", signer.Err)
				}
			}
		}
	})
}
