package cms_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// person makes a certificate with its key.
func person(address string) cms.Identity {
	ca, err := testca.New("Example Root")
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{address}})
	if err != nil {
		log.Fatal(err)
	}
	return cms.Identity{Certificate: leaf.Certificate, Key: leaf.Key}
}

func ExampleEncrypt() {
	bob := person("bob@example.org")
	var message bytes.Buffer
	w, err := cms.Encrypt(&message, []*x509.Certificate{bob.Certificate}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(w, strings.NewReader("Meet me at noon.")); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // only now the message is complete
		log.Fatal(err)
	}
	content, err := cms.Decrypt(&message, []cms.Identity{bob}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	fmt.Println(string(text), content.Protection, err)
	// Output: Meet me at noon. malleable <nil>
}

func ExampleDecrypt() {
	bob := person("bob@example.org")
	var message bytes.Buffer
	w, err := cms.Encrypt(&message, []*x509.Certificate{bob.Certificate}, &cms.EncryptOptions{Cipher: cms.AES256GCM})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, "Meet me at noon.")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	// CBC ciphertext waits in a file that has no name any more; it holds ciphertext only.
	opts := &cms.DecryptOptions{MaxContent: 25 << 20, Spool: func() (cms.Spool, error) {
		f, err := os.CreateTemp("", "spool")
		if err != nil {
			return nil, err
		}
		return f, os.Remove(f.Name())
	}}
	content, err := cms.Decrypt(&message, []cms.Identity{bob}, opts)
	if err != nil {
		log.Fatal(err)
	}
	defer content.Close()
	fmt.Println(content.Cipher, content.Protection, content.Size())
	// Output: AES-256-GCM authenticated 16
}

func ExampleParseCertificates() {
	value, err := os.ReadFile("testdata/made/sig/rsa.sha256.opaque.der") // a directory gives such values, without content
	if err != nil {
		log.Fatal(err)
	}
	set, err := cms.ParseCertificates(value)
	if err != nil {
		log.Fatal(err)
	}
	for _, der := range set.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(cert.EmailAddresses)
	}
	fmt.Println(set.Capabilities.Ciphers())
	// Output:
	// [rsa@alpha.example]
	// [AES-256-CBC AES-192-CBC AES-128-CBC]
}

func ExampleSign() {
	alice := person("alice@example.org")
	var message bytes.Buffer
	signer := cms.SigningKey{Certificate: alice.Certificate, Key: alice.Key.(crypto.Signer)}
	w, err := cms.Sign(&message, []cms.SigningKey{signer}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, "I agree.")
	if err := w.Close(); err != nil { // only now the message is complete
		log.Fatal(err)
	}
	var content bytes.Buffer
	signed, err := cms.Verify(&message, &cms.VerifyOptions{Output: &content})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range signed.Signers {
		fmt.Println(s.Err, s.Algorithm, s.Digest, s.Certificates[0].EmailAddresses) // whom to believe is another question
	}
	fmt.Println(content.String())
	// Output:
	// <nil> RSA PKCS #1 v1.5 SHA-256 [alice@example.org]
	// I agree.
}

func ExampleVerify_detached() {
	signature, err := os.ReadFile("testdata/made/sig/nss.p256.detached.der")
	if err != nil {
		log.Fatal(err)
	}
	signed, err := cms.Verify(bytes.NewReader(signature), &cms.VerifyOptions{Content: strings.NewReader("something else")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed.Signers[0].Err)
	// Output: content differs from what was signed
}
