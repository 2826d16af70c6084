package cms

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// These messages are not part of the repository: their licences keep them outside. The tests are skipped without them.

// sharedPFX extracts certificate and key of a PFX with the password "nss".
func sharedPFX(t *testing.T, parts ...string) Identity {
	t.Helper()
	interop.Need(t, "openssl")
	path := writeFile(t, t.TempDir(), "id.p12", shared(t, parts...))
	pem := interop.Must(t, nil, nil, "openssl", "pkcs12", "-in", path, "-nodes", "-clcerts", "-legacy", "-passin", "pass:nss")
	i := bytes.Index(pem, []byte("-----BEGIN CERTIFICATE"))
	return Identity{Certificate: parseCertificate(t, pem[i:]), Key: parseKey(t, pem)}
}

func TestThunderbirdInterop(t *testing.T) {
	ids := []Identity{sharedPFX(t, "thunderbird-interop", "Fran.p12"), sharedPFX(t, "thunderbird-interop", "Fran-ec.p12")}
	for _, name := range []string{"fran-oaep_ossl.env", "fran-oaep-sha256hash_ossl.env", "fran-ec_ossl-aes128-sha256.env"} {
		got, _, err := decryptAll(messageBytes(t, shared(t, "thunderbird-interop", name)), ids, &DecryptOptions{AllowTripleDES: true})
		if err != nil || !bytes.Contains(got, []byte("Content-Type:")) && !bytes.Contains(got, []byte("test")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestThunderbirdMails decrypts every mail of Thunderbird's tests that is encrypted as a whole.
func TestThunderbirdMails(t *testing.T) {
	ids := []Identity{sharedPFX(t, "thunderbird", "Bob.p12"), sharedPFX(t, "thunderbird", "Alice.p12"), sharedPFX(t, "thunderbird", "Dave.p12"), sharedPFX(t, "thunderbird", "Eve.p12")}
	read := 0
	for _, name := range []string{
		"alice.env.eml", "alice.dsig.SHA1.multipart.env.eml", "alice.dsig.SHA256.multipart.env.eml", "alice.sig.SHA1.opaque.env.eml",
		"alice.sig.SHA256.opaque.env.eml", "alice.html.sig.SHA1.opaque.env.eml", "alice.html.sig.SHA256.opaque.env.eml",
	} {
		got, d, err := decryptAll(messageBytes(t, shared(t, "thunderbird", name)), ids, &DecryptOptions{AllowTripleDES: true})
		if err != nil || !bytes.Contains(got, []byte("Content-Type:")) {
			t.Errorf("%s: %q, %v", name, got, err)
			continue
		}
		t.Logf("%s: %v, %d bytes", name, d.Cipher, d.Size())
		read++
	}
	if read == 0 {
		t.Error("nothing was read")
	}
}

// TestRFC4134 reads the examples for Bob's key: Triple-DES by option, RC2 never.
func TestRFC4134(t *testing.T) {
	key, err := x509.ParsePKCS8PrivateKey(shared(t, "rfc4134", "BobPrivRSAEncrypt.pri"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(shared(t, "rfc4134", "BobRSASignByCarl.cer"))
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Certificate: cert, Key: key}
	got, _, err := decryptAll(shared(t, "rfc4134", "5.1.bin"), []Identity{id}, &DecryptOptions{AllowTripleDES: true})
	if want := shared(t, "rfc4134", "ExContent.bin"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("5.1: %q, %v", got, err)
	}
	if _, _, err := decryptAll(shared(t, "rfc4134", "5.1.bin"), []Identity{id}, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("5.1 without the option: %v", err)
	}
	got, _, err = decryptAll(messageBytes(t, shared(t, "rfc4134", "5.3.eml")), []Identity{id}, &DecryptOptions{AllowTripleDES: true})
	if err != nil || !strings.Contains(string(got), "This is some sample content.") {
		t.Errorf("5.3: %q, %v", got, err)
	}
}

// TestSharedMade compares the copies in testdata with their source.
func TestSharedMade(t *testing.T) {
	for _, folder := range []string{"made/enc", "made/sig", "interop"} {
		paths, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(folder), "*"))
		if err != nil || len(paths) == 0 {
			t.Fatal(folder, err)
		}
		for _, p := range paths {
			ours, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(ours, shared(t, folder, filepath.Base(p))) {
				t.Errorf("%s differs", p)
			}
		}
	}
}

// TestThunderbirdSignatures verifies what NSS signed: opaque and clear, SHA-1 only by option.
func TestThunderbirdSignatures(t *testing.T) {
	for _, name := range []string{
		"alice.sig.SHA1.opaque.eml", "alice.sig.SHA256.opaque.eml", "alice.html.sig.SHA256.opaque.eml",
		"alice.dsig.SHA1.multipart.eml", "alice.dsig.SHA256.multipart.eml", "alice.dsig.SHA1.multipart.bad.eml", "alice.dsig.SHA256.multipart.bad.eml",
	} {
		data := shared(t, "thunderbird", name)
		s, _, err := verifyFile(t, name, data, VerifyOptions{AllowSHA1: true})
		if err != nil || len(s.Signers) != 1 {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		want := error(nil)
		if strings.Contains(name, ".bad.") {
			want = ErrContentChanged
		}
		if !errors.Is(s.Signers[0].Err, want) {
			t.Errorf("%s: %v", name, s.Signers[0].Err)
		}
		s, _, err = verifyFile(t, name, data, VerifyOptions{})
		if weak := strings.Contains(name, "SHA1"); err != nil || weak && !errors.Is(s.Signers[0].Err, ErrWeakDigest) {
			t.Errorf("%s without SHA-1: %+v, %v", name, s, err)
		}
	}
}

// TestRFC4134Signatures: DSA and MD5 are never accepted, nothing panics, the parts are found.
func TestRFC4134Signatures(t *testing.T) {
	for _, name := range []string{"4.1.bin", "4.3.bin", "4.5.bin", "4.7.bin", "4.11.bin"} {
		opts := &VerifyOptions{AllowSHA1: true, AllowNoAttributes: true}
		data := shared(t, "rfc4134", name)
		s, err := Verify(bytes.NewReader(data), opts)
		if errors.Is(err, ErrNoContent) {
			opts.Content = bytes.NewReader(shared(t, "rfc4134", "ExContent.bin"))
			s, err = Verify(bytes.NewReader(data), opts)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, signer := range s.Signers {
			t.Logf("%s: %v", name, signer.Err)
			if signer.Err == nil && signer.Algorithm != RSAPKCS1v15 {
				t.Errorf("%s: %v is accepted", name, signer.Algorithm)
			}
		}
	}
}
