package cms

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// RFC 3394: keys are wrapped in semiblocks of 8 bytes, at least two of them.
const semiblock = 8

var (
	wrapIV        = [semiblock]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6} // section 2.2.3.1
	errKeyWrap    = errors.New("wrapped key does not verify")
	errWrapLength = errors.New("wrapped key has an impossible length")
)

// wrapKey encrypts key under kek (RFC 3394 section 2.2.1).
func wrapKey(kek, key []byte) ([]byte, error) {
	if len(key) < 2*semiblock || len(key)%semiblock != 0 {
		return nil, errWrapLength
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	out := make([]byte, semiblock+len(key))
	copy(out[semiblock:], key)
	var b [aes.BlockSize]byte
	copy(b[:semiblock], wrapIV[:])
	n := len(key) / semiblock
	for t := uint64(1); t <= uint64(6*n); t++ {
		r := out[semiblock*(1+(t-1)%uint64(n)):][:semiblock]
		copy(b[semiblock:], r)
		block.Encrypt(b[:], b[:])
		copy(r, b[semiblock:])
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
	}
	copy(out, b[:semiblock])
	return out, nil
}

// unwrapKey decrypts what wrapKey made (RFC 3394 section 2.2.2). Its time depends on the lengths alone.
func unwrapKey(kek, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 3*semiblock || len(wrapped)%semiblock != 0 {
		return nil, errWrapLength
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	key := append([]byte(nil), wrapped[semiblock:]...)
	var b [aes.BlockSize]byte
	copy(b[:semiblock], wrapped)
	n := len(key) / semiblock
	for t := uint64(6 * n); t >= 1; t-- {
		r := key[semiblock*((t-1)%uint64(n)):][:semiblock]
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
		copy(b[semiblock:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[semiblock:])
	}
	if subtle.ConstantTimeCompare(b[:semiblock], wrapIV[:]) != 1 {
		clear(key)
		return nil, errKeyWrap
	}
	return key, nil
}
