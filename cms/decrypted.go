package cms

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
)

// Decrypted is the content of a message that was decrypted and checked. It reads as a stream, once from the beginning to
// the end and again after Rewind. It is not safe for concurrent use.
type Decrypted struct {
	// ContentType is the type of the content; id-data for mail.
	ContentType asn1.ObjectIdentifier
	Cipher      Cipher
	Protection  Protection
	// Identity is the index of the identity whose key fitted.
	Identity int

	size int64 // of the plaintext
	pos  int64 // of the next byte

	plain []byte // AEAD

	spool      Spool // CBC
	block      cipher.Block
	iv         []byte
	ciphertext int64 // size in the spool
	mode       cipher.BlockMode
	buf        []byte // decrypted, not yet handed out
	store      []byte // behind buf
}

var errContentClosed = errors.New("decrypted content is closed")

// Size is the length of the content in bytes.
func (d *Decrypted) Size() int64 { return d.size }

// padding decrypts the last block and judges its padding in constant time. The error is one of the spool.
func (d *Decrypted) padding() (size int, ok bool, err error) {
	bs := int64(d.block.BlockSize())
	last := make([]byte, 2*bs)
	if d.ciphertext == bs {
		copy(last, d.iv)
		err = d.readSpool(last[bs:], 0)
	} else {
		err = d.readSpool(last, d.ciphertext-2*bs)
	}
	if err != nil {
		return 0, false, err
	}
	plain := make([]byte, bs)
	cipher.NewCBCDecrypter(d.block, last[:bs]).CryptBlocks(plain, last[bs:])
	size, good := checkPadding(plain)
	clear(plain)
	return size, good == 1, nil
}

// checkPadding examines the last block of a padded text (RFC 5652 section 6.3): n bytes of value n, n from 1 to the block
// size. good is 1 or 0; which byte was wrong does not show in the time.
func checkPadding(block []byte) (n, good int) {
	bs := len(block)
	n = int(block[bs-1])
	good = subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, bs)
	for i := range bs {
		inside := subtle.ConstantTimeLessOrEq(i+1, n)
		equal := subtle.ConstantTimeByteEq(block[bs-1-i], byte(n))
		good &= equal | (1 ^ inside)
	}
	return n, good
}

func (d *Decrypted) readSpool(p []byte, off int64) error {
	if n, err := d.spool.ReadAt(p, off); n < len(p) {
		return fmt.Errorf("read spooled ciphertext: %w", firstError(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// next returns content that was not handed out yet, at least one byte; io.EOF at the end.
func (d *Decrypted) next() ([]byte, error) {
	switch {
	case d.plain == nil && d.block == nil:
		return nil, errContentClosed
	case d.pos == d.size:
		return nil, io.EOF
	case d.block == nil:
		return d.plain[d.pos:], nil
	case len(d.buf) > 0:
		return d.buf, nil
	}
	if d.mode == nil {
		d.mode = cipher.NewCBCDecrypter(d.block, d.iv)
	}
	if d.store == nil {
		d.store = make([]byte, min(copyBuffer, d.ciphertext))
	}
	// pos is a multiple of the buffer's size here: whole buffers were handed out.
	buf := d.store[:min(int64(len(d.store)), d.ciphertext-d.pos)]
	if err := d.readSpool(buf, d.pos); err != nil {
		return nil, err
	}
	d.mode.CryptBlocks(buf, buf)
	d.buf = buf[:min(int64(len(buf)), d.size-d.pos)]
	return d.buf, nil
}

func (d *Decrypted) advance(n int) {
	d.pos += int64(n)
	if d.block != nil {
		d.buf = d.buf[n:]
	}
}

// Read hands out content. Errors other than io.EOF are those of the spool.
func (d *Decrypted) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := d.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	d.advance(n)
	return n, nil
}

// WriteTo writes the rest of the content to w.
func (d *Decrypted) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		b, err := d.next()
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(b)
		d.advance(n)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// Rewind goes back to the beginning, so that the content can be examined first and handed on later.
func (d *Decrypted) Rewind() {
	d.pos, d.mode, d.buf = 0, nil, nil
}

// Close wipes what is in memory and closes the spool. Reading afterwards is an error.
func (d *Decrypted) Close() error {
	clear(d.plain)
	clear(d.store)
	spool := d.spool
	d.plain, d.store, d.buf, d.block, d.mode, d.spool = nil, nil, nil, nil, nil, nil
	if spool == nil {
		return nil
	}
	if err := spool.Close(); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
