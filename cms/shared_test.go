package cms

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// These messages are not part of the repository: their licences keep them outside. The tests are skipped without them.

// sharedPFX extracts certificate and key of a PFX with the password "nss".
func sharedPFX(t *testing.T, parts ...string) Identity {
	t.Helper()
	need(t, "openssl")
	path := writeFile(t, t.TempDir(), "id.p12", shared(t, parts...))
	pem := mustRun(t, nil, nil, "openssl", "pkcs12", "-in", path, "-nodes", "-clcerts", "-legacy", "-passin", "pass:nss")
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

// TestWycheproofSignatures runs the vectors of the algorithms through the steps that choose them for a message.
func TestWycheproofSignatures(t *testing.T) {
	files := map[string]signatureScheme{
		"ecdsa_secp256r1_sha256_test.json":      {ECDSA, crypto.SHA256, 0},
		"ed25519_test.json":                     {Ed25519, crypto.SHA512, 0},
		"rsa_pss_2048_sha256_mgf1_32_test.json": {RSAPSS, crypto.SHA256, 32},
		"rsa_signature_2048_sha256_test.json":   {RSAPKCS1v15, crypto.SHA256, 0},
	}
	for name, scheme := range files {
		var file struct {
			TestGroups []struct {
				PublicKeyDer hexBytes
				Tests        []struct {
					TcID     int
					Msg, Sig hexBytes
					Result   string
				}
			}
		}
		if err := json.Unmarshal(shared(t, "wycheproof", name), &file); err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, group := range file.TestGroups {
			key, err := x509.ParsePKIXPublicKey(group.PublicKeyDer)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, test := range group.Tests {
				h := scheme.hash.New()
				h.Write(test.Msg)
				good := scheme.verify(key, test.Msg, h.Sum(nil), test.Sig)
				if good != (test.Result == "valid") && test.Result != "acceptable" {
					t.Errorf("%s, test %d (%s): %v", name, test.TcID, test.Result, good)
				}
				count++
			}
		}
		if count < 50 {
			t.Errorf("%s: %d tests", name, count)
		}
	}
}

// TestWycheproofGCM runs every nonce and tag length that a message can have through the choice of the AEAD.
func TestWycheproofGCM(t *testing.T) {
	var file struct {
		TestGroups []struct {
			KeySize, IvSize, TagSize int
			Tests                    []struct {
				TcID                       int
				Key, Iv, Aad, Msg, Ct, Tag hexBytes
				Result                     string
			}
		}
	}
	if err := json.Unmarshal(shared(t, "wycheproof", "aes_gcm_test.json"), &file); err != nil {
		t.Fatal(err)
	}
	ciphers := map[int]Cipher{128: AES128GCM, 192: AES192GCM, 256: AES256GCM}
	count := 0
	for _, group := range file.TestGroups {
		nonceSize, tagSize := group.IvSize/8, group.TagSize/8
		if nonceSize == 0 || nonceSize > maxNonceSize || nonceSize != gcmNonceSize && tagSize != maxTagSize {
			continue // refused before the cipher is made
		}
		for _, test := range group.Tests {
			aead, err := ciphers[group.KeySize].aead(test.Key, nonceSize, tagSize)
			if err != nil {
				t.Fatal(err)
			}
			got, err := open(aead, test.Iv, append(bytes.Clone(test.Ct), test.Tag...), test.Aad)
			if (err == nil) != (test.Result == "valid") || err == nil && !bytes.Equal(got, test.Msg) {
				t.Errorf("test %d (%s): %v", test.TcID, test.Result, err)
			}
			count++
		}
	}
	if count < 100 {
		t.Errorf("%d tests", count)
	}
}

// TestWycheproofRSA decrypts content keys: PKCS #1 v1.5 never says that it failed, OAEP does.
func TestWycheproofRSA(t *testing.T) {
	var file struct {
		TestGroups []struct {
			PrivateKeyPkcs8 hexBytes
			Tests           []struct {
				TcID           int
				Msg, Ct, Label hexBytes
				Result         string
			}
		}
	}
	for name, options := range map[string]*rsa.OAEPOptions{
		"rsa_pkcs1_2048_test.json":                  nil,
		"rsa_oaep_2048_sha256_mgf1sha256_test.json": {Hash: crypto.SHA256, MGFHash: crypto.SHA256},
	} {
		if err := json.Unmarshal(shared(t, "wycheproof", name), &file); err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, group := range file.TestGroups {
			key, err := x509.ParsePKCS8PrivateKey(group.PrivateKeyPkcs8)
			if err != nil {
				t.Fatal(err)
			}
			private := key.(*rsa.PrivateKey)
			for _, test := range group.Tests {
				if len(test.Msg) == 0 || len(test.Msg) > 32 {
					continue // not the size of a content key
				}
				k := transportedKey{key: private, pub: &private.PublicKey, encrypted: test.Ct}
				if options != nil {
					o := *options
					o.Label = test.Label
					k.oaep = &o
				}
				got, fits := k.contentKey(len(test.Msg))
				valid := test.Result == "valid"
				if bytes.Equal(got, test.Msg) != valid || options != nil && fits != valid {
					t.Errorf("%s, test %d (%s): fits %v", name, test.TcID, test.Result, fits)
				}
				count++
			}
		}
		t.Logf("%s: %d tests", name, count)
		if count < 10 {
			t.Errorf("%s: %d tests", name, count)
		}
	}
}
