package cms

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"io"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// wycheproof reads a file of testdata/wycheproof, which is compressed.
func wycheproof(t testing.TB, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(load(t, "wycheproof", name+".gz")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
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
		if err := json.Unmarshal(wycheproof(t, name), &file); err != nil {
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
	if err := json.Unmarshal(wycheproof(t, "aes_gcm_test.json"), &file); err != nil {
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
		if err := json.Unmarshal(wycheproof(t, name), &file); err != nil {
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

// TestWycheproofECDH takes the vectors' points through the steps that read the originator's key of a message: decode, check,
// multiply, and give the secret its full length.
func TestWycheproofECDH(t *testing.T) {
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID                    int
				Comment                 string
				Public, Private, Shared hexBytes
				Result                  string
			}
		}
	}
	if err := json.Unmarshal(wycheproof(t, "ecdh_secp256r1_test.json"), &file); err != nil {
		t.Fatal(err)
	}
	c := curves[0]
	named := encodeAlgorithm(oidECPublicKey, encodeOID(c.oid))
	count := map[string]int{}
	for _, group := range file.TestGroups {
		for _, test := range group.Tests {
			var seq cryptobyte.String
			var alg algorithm
			var bits asn1.BitString
			var err error
			s := cryptobyte.String(test.Public)
			readable := s.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE)
			if readable {
				alg, err = readAlgorithm(&seq)
				readable = err == nil && seq.ReadASN1BitString(&bits)
			}
			if !readable || !bytes.Equal(alg.raw, named) { // another form or curve: a message names none, the recipient's key does
				if test.Result == "valid" {
					t.Errorf("test %d (%s): the key cannot be read", test.TcID, test.Comment)
				}
				continue
			}
			count[test.Result]++
			private, err := c.ecdh.NewPrivateKey(leftPad(bytes.TrimLeft(test.Private, "\x00"), c.size))
			if err != nil {
				t.Fatal(err)
			}
			var secret []byte
			remote, err := c.publicKey(bits.Bytes)
			if err == nil {
				secret, err = private.ECDH(remote)
			}
			good := err == nil && bytes.Equal(leftPad(secret, c.size), test.Shared)
			if test.Result != "acceptable" && good != (test.Result == "valid") {
				t.Errorf("test %d (%s, %s): %v", test.TcID, test.Comment, test.Result, err)
			}
		}
	}
	if count["valid"] < 200 || count["invalid"] < 5 {
		t.Errorf("%v", count)
	}
	t.Log(count)
}
