package smime

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// FuzzDecryptInside fuzzes what was encrypted: any content, signed, compressed, encrypted once more or damaged, comes out as a
// mail with a readable header.
func FuzzDecryptInside(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := crowdAuthority().Leaf(testca.Options{Addresses: []string{"eve@corp.example"}, Key: key})
	if err != nil {
		f.Fatal(err)
	}
	ids := []cms.Identity{{Certificate: leaf.Certificate, Key: key}}
	for _, name := range []string{"sig/p256.sha256.multipart.eml", "sig/triple-wrapped.eml", "openssl.rsa.smime.eml", "neg/mime-signed-in-mixed.eml"} {
		f.Add(load(f, name), false)
	}
	f.Add([]byte(compressedMail(f, "", "Content-Type: text/plain; hp=cipher\r\nSubject: s\r\nHP-Outer: Subject: [...]\r\n\r\nhello")), true)
	f.Add([]byte("Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: x@y.example\r\n\r\nhi"), true)
	f.Add([]byte("no mail \x00"), true)
	f.Fuzz(func(t *testing.T, content []byte, unwrap bool) {
		var der bytes.Buffer
		w, err := cms.Encrypt(&der, []*x509.Certificate{leaf.Certificate}, &cms.EncryptOptions{Cipher: cms.AES256GCM})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		mail := io.MultiReader(strings.NewReader(p7m+"Content-Transfer-Encoding: binary\n\n"), &der)
		var out bytes.Buffer
		opts := &DecryptOptions{Identities: ids, MaxContent: 1 << 20, Unwrap: unwrap, Verify: *vectorOptions(t)}
		result, err := Decrypt(t.Context(), mail, Into(&out), opts)
		if err != nil {
			if !errors.Is(err, cms.ErrTooLarge) {
				t.Fatalf("%q: %v", content, err)
			}
			return
		}
		if _, err := readHeader(bufferedReader(out.Bytes())); err != nil {
			t.Fatalf("unreadable header written: %v\n%q", err, out.Bytes())
		}
		if result.Protection != cms.Authenticated || len(result.Verification.Layers) == 0 || len(result.Verification.Layers) > maxLayers {
			t.Fatalf("%+v", result)
		}
	})
}
