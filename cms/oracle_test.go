package cms

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"testing"

	"go.mozilla.org/pkcs7"
)

// go.mozilla.org/pkcs7 shares no code with this package. It knows RSA PKCS #1 v1.5 and AES-CBC.

func extension(value []byte) pkix.Extension { return pkix.Extension{Id: oidCapabilities, Value: value} }

func TestOracleReads(t *testing.T) {
	id := identity(t, "made", "keys", "rsa")
	for _, c := range []Cipher{AES128CBC, AES256CBC} {
		for _, n := range []int{0, 1, 15, 16, 17, 1000, writeChunk - 1, writeChunk, writeChunk + 1, 100000} {
			for _, sized := range []bool{false, true} {
				content := text(n)
				data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c, Size: int64(n), SizeKnown: sized})
				got, err := oracleDecrypt(data, id)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%v, %d bytes, size known %v: %v", c, n, sized, err)
				}
			}
		}
	}
}

func oracleDecrypt(data []byte, id Identity) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the oracle panicked: %v", r)
		}
	}()
	p7, err := pkcs7.Parse(data)
	if err != nil {
		return nil, err
	}
	return p7.Decrypt(id.Certificate, id.Key)
}

func TestOracleWrites(t *testing.T) {
	ids := []Identity{identity(t, "made", "keys", "rsa"), identity(t, "made", "keys", "rsa2")}
	before := pkcs7.ContentEncryptionAlgorithm
	defer func() { pkcs7.ContentEncryptionAlgorithm = before }()
	for _, algorithm := range []int{pkcs7.EncryptionAlgorithmAES128CBC, pkcs7.EncryptionAlgorithmAES256CBC} {
		pkcs7.ContentEncryptionAlgorithm = algorithm
		for _, n := range []int{1, 15, 16, 17, 1000, 100000} {
			content := text(n)
			data, err := pkcs7.Encrypt(content, []*x509.Certificate{ids[0].Certificate, ids[1].Certificate})
			if err != nil {
				t.Fatal(err)
			}
			for i := range ids {
				if got, _, err := decryptAll(data, ids[i:i+1], nil); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, recipient %d: %v", n, i, err)
				}
			}
		}
	}
}

// TestOracleAgrees damages every byte of a message: where both still decrypt it they get the same text, and where the
// key or the padding is what is wrong the oracle refuses it too.
func TestOracleAgrees(t *testing.T) {
	id := identity(t, "made", "keys", "rsa")
	content := text(50)
	data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{SizeKnown: true, Size: 50})
	both := 0
	for i := range data {
		for _, flip := range []byte{1, 0x80} {
			other := bytes.Clone(data)
			other[i] ^= flip
			ours, _, err := decryptAll(other, []Identity{id}, nil)
			theirs, oracleErr := oracleDecrypt(other, id)
			if err == nil && oracleErr == nil {
				both++
				if !bytes.Equal(ours, theirs) {
					t.Errorf("byte %d: %x and %x", i, ours, theirs)
				}
			}
			// The oracle is less strict about versions, parameters and lengths, but not about keys. It takes padding of
			// zero bytes, which leaves whole blocks.
			if errors.Is(err, ErrDecrypt) && oracleErr == nil && len(theirs)%16 != 0 {
				t.Errorf("byte %d: only the oracle decrypts it", i)
			}
		}
	}
	if both == 0 {
		t.Error("nothing was compared")
	}
}
