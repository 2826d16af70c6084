package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"testing"
)

// encryptCBC encrypts as PBES2 with one iteration, HMAC-SHA256 and AES-256-CBC does.
func encryptCBC(t testing.TB, plaintext []byte, passphrase string, salt, iv []byte) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, passphrase, salt, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	n := aes.BlockSize - len(plaintext)%aes.BlockSize
	padded := append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return padded
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// withChecksum puts the checksum of a record before its text.
func withChecksum(text []byte) []byte { return append(sum(text), text...) }

func marshalRecord(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// withHeadChecksums makes the checksums of both head pages right, so that a fuzzer gets past them.
func withHeadChecksums(data []byte) []byte {
	data = bytes.Clone(data)
	for _, at := range []int{headerSize, 512 + headerSize} {
		if len(data) < at+metaSize {
			break
		}
		h := fnv.New64a()
		h.Write(data[at : at+metaSize-8])
		binary.NativeEndian.PutUint64(data[at+metaSize-8:], h.Sum64())
	}
	return data
}
