package cms

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// decryptCBC spools the ciphertext and returns the key whose padding is right. Every key costs the same whether it fits or not.
func (m *message) decryptCBC(content *octets) (_ *Decrypted, err error) {
	spool, err := m.opts.spool()
	if err != nil {
		return nil, fmt.Errorf("open spool for ciphertext: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		if closeErr := spool.Close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}()
	size, err := copyContent(spool, content)
	if err != nil {
		return nil, err
	}
	if err := m.finish(func() error { return m.optional(tagContext1 | constructed) }); err != nil {
		return nil, err
	}
	if bs := int64(len(m.iv)); size == 0 || size%bs != 0 {
		return nil, syntaxError("encrypted content of %d bytes is not whole blocks", size)
	}
	for _, k := range m.keys {
		key, fits := k.contentKey(m.cipher.KeySize())
		block, err := m.cipher.block(key)
		clear(key)
		if err != nil {
			return nil, ErrDecrypt
		}
		d := &Decrypted{spool: spool, block: block, iv: m.iv, ciphertext: size}
		padding, ok, err := d.padding()
		if err != nil {
			return nil, err
		}
		if ok && fits {
			d.size = size - int64(padding)
			return m.result(d, k), nil
		}
	}
	return nil, ErrDecrypt
}

func (m *message) result(d *Decrypted, k encryptedKey) *Decrypted {
	d.ContentType = m.contentType
	d.Cipher = m.cipher
	d.Protection = m.cipher.Protection()
	d.Identity = k.identity()
	return d
}

const copyBuffer = 64 << 10

func copyContent(w io.Writer, content *octets) (int64, error) {
	// The wrapping keeps io.CopyBuffer from looking for other ways than this buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, content, make([]byte, copyBuffer))
	return n, err
}

// decryptAEAD collects the ciphertext with the tag behind it and decrypts it in place.
func (m *message) decryptAEAD(content *octets) (*Decrypted, error) {
	buf, err := m.collect(content)
	if err != nil {
		return nil, err
	}
	var aad, tag []byte
	err = m.finish(func() error {
		if aad, err = m.readAuthenticated(); err != nil {
			return err
		}
		if tag, err = m.readTag(); err != nil {
			return err
		}
		return m.optional(tagContext2 | constructed)
	})
	if err != nil {
		return nil, err
	}
	buf = append(buf, tag...)
	var scratch []byte
	for i, k := range m.keys {
		key, fits := k.contentKey(m.cipher.KeySize())
		aead, err := m.cipher.aead(key, len(m.iv), m.tagSize)
		clear(key)
		if err != nil {
			return nil, ErrDecrypt
		}
		target := buf
		if i < len(m.keys)-1 { // a failure wipes the buffer
			scratch = append(scratch[:0], buf...)
			target = scratch
		}
		plain, err := open(aead, m.iv, target, aad)
		if err == nil && fits {
			return m.result(&Decrypted{plain: plain, size: int64(len(plain))}, k), nil
		}
	}
	return nil, ErrDecrypt
}

func open(aead cipher.AEAD, nonce, buf, aad []byte) ([]byte, error) {
	return aead.Open(buf[:0], nonce, buf, aad)
}

// collect reads the content into one buffer with room for the tag. A declared length is believed only as far as data follows.
func (m *message) collect(content *octets) ([]byte, error) {
	buf := make([]byte, 0, copyBuffer)
	for {
		if len(buf) == cap(buf) {
			buf = m.grow(buf, content.size)
		}
		n, err := content.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return slices.Grow(buf, maxTagSize), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// grow makes room for more: eight times as much, so that the copies stay small, but never beyond a declared size; by half
// when the size is not declared.
func (m *message) grow(buf []byte, size int64) []byte {
	want := int64(cap(buf)) * 3 / 2
	if size >= 0 {
		want = min(int64(cap(buf))*8, size+maxTagSize)
	}
	return append(make([]byte, 0, want), buf...)
}

// readAuthenticated returns the optional authAttrs as the tag covers them: with the tag of SET OF (RFC 5083 section 2.2).
func (m *message) readAuthenticated() ([]byte, error) {
	ok, err := m.next(tagContext1 | constructed)
	if err != nil || !ok {
		return nil, err
	}
	attrs, err := m.element(maxElement, "authenticated attributes")
	if err != nil {
		return nil, err
	}
	attrs[0] = tagSet
	return attrs, nil
}

// readTag reads the mac, whose length must be the one announced (RFC 5084 section 3.2).
func (m *message) readTag() ([]byte, error) {
	der, err := m.element(maxSmall, "message authentication code")
	if err != nil {
		return nil, err
	}
	var tag cryptobyte.String
	if s := cryptobyte.String(der); !s.ReadASN1(&tag, cryptobyte_asn1.OCTET_STRING) {
		return nil, syntaxError("message authentication code")
	}
	if len(tag) != m.tagSize {
		return nil, syntaxError("message authentication code of %d bytes instead of %d", len(tag), m.tagSize)
	}
	return tag, nil
}
