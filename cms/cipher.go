package cms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// Cipher is a content encryption algorithm. The zero value is AES256CBC, which every S/MIME reader knows.
type Cipher int

const (
	AES256CBC        Cipher = iota // RFC 3565
	AES192CBC                      // RFC 3565
	AES128CBC                      // RFC 3565
	AES256GCM                      // RFC 5084
	AES192GCM                      // RFC 5084
	AES128GCM                      // RFC 5084
	ChaCha20Poly1305               // RFC 8103
	DESEDE3CBC                     // RFC 3370 section 5.1; only read, and only by option
)

type cipherKind struct {
	name      string
	oid       asn1.ObjectIdentifier
	keySize   int
	blockSize int // of CBC, and so the length of its IV; 0 for AEAD
}

var cipherKinds = [...]cipherKind{
	AES256CBC:        {"AES-256-CBC", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, 32, aes.BlockSize},
	AES192CBC:        {"AES-192-CBC", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24, aes.BlockSize},
	AES128CBC:        {"AES-128-CBC", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16, aes.BlockSize},
	AES256GCM:        {"AES-256-GCM", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 46}, 32, 0},
	AES192GCM:        {"AES-192-GCM", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 26}, 24, 0},
	AES128GCM:        {"AES-128-GCM", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 6}, 16, 0},
	ChaCha20Poly1305: {"ChaCha20-Poly1305", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 18}, chacha20poly1305.KeySize, 0},
	DESEDE3CBC:       {"DES-EDE3-CBC", asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}, 24, des.BlockSize},
}

func (c Cipher) valid() bool { return c >= 0 && int(c) < len(cipherKinds) }

// String is the usual name, "AES-256-CBC".
func (c Cipher) String() string {
	if !c.valid() {
		return fmt.Sprintf("Cipher(%d)", int(c))
	}
	return cipherKinds[c].name
}

// OID identifies the algorithm in messages and in SMIMECapabilities; nil when c is not one of the constants.
func (c Cipher) OID() asn1.ObjectIdentifier {
	if !c.valid() {
		return nil
	}
	return append(asn1.ObjectIdentifier(nil), cipherKinds[c].oid...)
}

// KeySize is the length of the content key in bytes; 0 when c is not one of the constants.
func (c Cipher) KeySize() int {
	if !c.valid() {
		return 0
	}
	return cipherKinds[c].keySize
}

// AEAD reports whether the cipher authenticates the content; such a message is an AuthEnvelopedData.
func (c Cipher) AEAD() bool { return c.valid() && cipherKinds[c].blockSize == 0 }

// Protection is what c gives to the content of a message.
func (c Cipher) Protection() Protection {
	if c.AEAD() {
		return Authenticated
	}
	return Malleable
}

func cipherByOID(oid asn1.ObjectIdentifier) (Cipher, bool) {
	for c, kind := range cipherKinds {
		if kind.oid.Equal(oid) {
			return Cipher(c), true
		}
	}
	return 0, false
}

// block makes the block cipher of a CBC algorithm; key has the right length.
func (c Cipher) block(key []byte) (cipher.Block, error) {
	if c == DESEDE3CBC {
		return des.NewTripleDESCipher(key)
	}
	return aes.NewCipher(key)
}

// aead makes the cipher of an AEAD algorithm. GCM in Go takes a short tag or an unusual nonce, never both.
func (c Cipher) aead(key []byte, nonceSize, tagSize int) (cipher.AEAD, error) {
	if c == ChaCha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	switch {
	case nonceSize == gcmNonceSize && tagSize == maxTagSize:
		return cipher.NewGCM(block)
	case nonceSize == gcmNonceSize:
		return cipher.NewGCMWithTagSize(block, tagSize)
	default:
		return cipher.NewGCMWithNonceSize(block, nonceSize)
	}
}

// Protection says what an attacker on the way could do to a decrypted message.
type Protection int

const (
	// Malleable content came out of CBC: whoever sent it on could change parts of it unseen, and insert text
	// (EFAIL). It must be treated as unproven unless a signature inside verifies.
	Malleable Protection = iota
	// Authenticated content was protected by an AEAD tag. That proves that nobody without the content key changed
	// it; every recipient has that key, so it says nothing about the sender.
	Authenticated
)

// String is "malleable" or "authenticated".
func (p Protection) String() string {
	switch p {
	case Malleable:
		return "malleable"
	case Authenticated:
		return "authenticated"
	}
	return fmt.Sprintf("Protection(%d)", int(p))
}

// RFC 5084 section 3.2: the nonce should be 12 bytes long, the tag is 12 to 16 bytes, 12 when the field is absent.
const (
	gcmNonceSize   = 12
	minTagSize     = 12
	maxTagSize     = 16
	defaultTagSize = 12
	maxNonceSize   = 64
)
