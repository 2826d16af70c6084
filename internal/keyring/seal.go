package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/argon2"
)

const (
	keySize   = 32 // AES-256
	saltSize  = 16
	nonceSize = 12
)

// Argon2 are the costs of Argon2id (RFC 9106 section 3.1).
type Argon2 struct {
	// Time is the number of passes, 1 to 20.
	Time uint32 `json:"time"`
	// Memory in KiB, 8 per thread to 1 GiB.
	Memory uint32 `json:"memory"`
	// Threads is the number of lanes, 1 to 16.
	Threads uint8 `json:"threads"`
}

// DefaultArgon2 is the second recommended choice of RFC 9106 section 4: 3 passes over 64 MiB in 4 lanes.
func DefaultArgon2() Argon2 { return Argon2{Time: 3, Memory: 64 << 10, Threads: 4} }

// check bounds what a file or a caller may ask for.
func (a Argon2) check() error {
	if a.Time < 1 || a.Time > 20 || a.Threads < 1 || a.Threads > 16 || a.Memory < 8*uint32(a.Threads) || a.Memory > 1<<20 {
		return fmt.Errorf("the costs of Argon2 are out of bounds: %d passes, %d KiB, %d lanes", a.Time, a.Memory, a.Threads)
	}
	return nil
}

// key derives a key. Its work area goes back to the system at once: it is large, a daemon that is then idle would keep it
// for minutes, and what is left in it would help to guess the passphrase.
func (a Argon2) key(passphrase, salt []byte) []byte {
	defer debug.FreeOSMemory()
	return argon2.IDKey(passphrase, salt, a.Time, a.Memory, a.Threads, keySize)
}

var errSeal = errors.New("the seal is broken")

// seal encrypts with AES-256-GCM (NIST SP 800-38D) under a fresh random nonce, which goes before the result.
func seal(key, plaintext, additional []byte) []byte {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails (crypto/rand)
	return newGCM(key).Seal(nonce, nonce, plaintext, additional)
}

func unseal(key, sealed, additional []byte) ([]byte, error) {
	if len(sealed) < nonceSize {
		return nil, errSeal
	}
	plaintext, err := newGCM(key).Open(nil, sealed[:nonceSize], sealed[nonceSize:], additional)
	if err != nil {
		return nil, errSeal
	}
	return plaintext, nil
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // every key here has 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// masterRecord is the master key under the passphrase.
type masterRecord struct {
	Argon2
	Salt   []byte `json:"salt"`
	Sealed []byte `json:"sealed"`
}

// masterPurpose is the additional data of the sealed master key.
const masterPurpose = "galsyncd keyring master key"

func sealMaster(master, passphrase []byte, costs Argon2) masterRecord {
	rec := masterRecord{Argon2: costs, Salt: make([]byte, saltSize)}
	rand.Read(rec.Salt)
	key := costs.key(passphrase, rec.Salt)
	defer clear(key)
	rec.Sealed = seal(key, master, []byte(masterPurpose))
	return rec
}

// open returns the master key, or ErrWrongPassphrase for whatever does not fit.
func (rec *masterRecord) open(passphrase []byte) ([]byte, error) {
	key := rec.key(passphrase, rec.Salt)
	defer clear(key)
	master, err := unseal(key, rec.Sealed, []byte(masterPurpose))
	if err != nil || len(master) != keySize {
		return nil, ErrWrongPassphrase
	}
	return master, nil
}

// check bounds a record that was read.
func (rec *masterRecord) check() error {
	if len(rec.Salt) != saltSize || len(rec.Sealed) != nonceSize+keySize+16 {
		return damaged("the record of the passphrase has wrong lengths")
	}
	if err := rec.Argon2.check(); err != nil {
		return damaged("%v", err)
	}
	return nil
}
