package cms

import (
	"crypto"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// EncryptOptions vary a message. The zero value and nil make an EnvelopedData with AES-256-CBC and RSA PKCS #1 v1.5, of
// unknown length.
type EncryptOptions struct {
	// Cipher of the content. An AEAD cipher makes an AuthEnvelopedData. DESEDE3CBC is refused.
	Cipher Cipher
	// Size is the exact length of the content in bytes; it counts only with SizeKnown. The message is then DER with
	// primitive content; else a CBC message is BER with indefinite lengths and content in chunks. For AEAD ciphers it
	// saves the growing of the buffer.
	Size      int64
	SizeKnown bool
	// OAEP, when not zero, is the hash of RSAES-OAEP, which then replaces PKCS #1 v1.5 for RSA recipients. MGF1 uses
	// the same hash.
	OAEP crypto.Hash
}

// Encrypt writes a message for all the recipients to w. The caller writes the content to the returned writer and must
// close it: only then is the message complete. Close does not close w.
//
// Every recipient is named by issuer and serial number. RSA keys use key transport, P-256, P-384, P-521 and X25519 keys
// ephemeral-static key agreement with a wrap of the cipher's strength. A certificate that cannot be encrypted to is a
// [*RecipientError]; no recipient at all is [ErrNoRecipients]; in both cases nothing was written. Whether a certificate
// may be used (validity, usage, trust) is not asked here. A certificate given twice counts once.
func Encrypt(w io.Writer, recipients []*x509.Certificate, opts *EncryptOptions) (io.WriteCloser, error) {
	if opts == nil {
		opts = &EncryptOptions{}
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	key := make([]byte, opts.Cipher.KeySize())
	rand.Read(key)
	defer clear(key)
	env, err := newEnvelope(recipients, key, opts)
	if err != nil {
		return nil, err
	}
	if opts.Cipher.AEAD() {
		return newAEADWriter(w, env, key, opts)
	}
	return newCBCWriter(w, env, key, opts)
}

func (o *EncryptOptions) check() error {
	switch {
	case !o.Cipher.valid():
		return fmt.Errorf("encrypt: %v is not a known cipher", o.Cipher)
	case o.Cipher == DESEDE3CBC:
		return fmt.Errorf("encrypt: %v is only read, never written; use AES", o.Cipher)
	case o.SizeKnown && o.Size < 0:
		return fmt.Errorf("encrypt: content size %d is negative", o.Size)
	case o.OAEP != 0 && !slices.Contains(oaepHashes, o.OAEP):
		return fmt.Errorf("encrypt: %v cannot be used for RSAES-OAEP", o.OAEP)
	}
	if !o.Cipher.approved() && fips140.Enforced() {
		return fmt.Errorf("encrypt: %v is not allowed with GODEBUG=fips140=only; use AES-CBC", o.Cipher)
	}
	return nil
}

// envelope is what surrounds the encrypted content.
type envelope struct {
	version    int64
	recipients []byte // RecipientInfos, DER
}

func newEnvelope(recipients []*x509.Certificate, key []byte, opts *EncryptOptions) (*envelope, error) {
	if len(recipients) == 0 {
		return nil, ErrNoRecipients
	}
	env := &envelope{}
	var infos [][]byte
	for i, made := range recipientInfos(recipients, key, opts) {
		if made.err != nil {
			return nil, &RecipientError{Index: i, Err: made.err}
		}
		if made.der == nil {
			continue
		}
		infos = append(infos, made.der)
		if made.version != 0 {
			env.version = 2 // RFC 5652 section 6.1: some recipient is not plain key transport
		}
	}
	if opts.Cipher.AEAD() {
		env.version = 0 // RFC 5083 section 2.1: always
	}
	env.recipients = encodeSetOf(infos)
	return env, nil
}

// madeInfo is the RecipientInfo for one recipient; without der and err that one was there before.
type madeInfo struct {
	der     []byte
	version int64
	err     error
}

// recipientInfos encrypts the content key to all recipients, on all processors when there are many: one RSA operation takes
// as long as the encryption of 30 KB.
func recipientInfos(recipients []*x509.Certificate, key []byte, opts *EncryptOptions) []madeInfo {
	const fewest = 8 // for a processor more to pay
	made := make([]madeInfo, len(recipients))
	workers := min(runtime.GOMAXPROCS(0), 1+len(recipients)/fewest)
	var group sync.WaitGroup
	for first := range workers {
		group.Go(func() {
			for i := first; i < len(recipients); i += workers {
				cert := recipients[i]
				if cert == nil || !slices.ContainsFunc(recipients[:i], cert.Equal) {
					made[i].der, made[i].version, made[i].err = recipientInfo(cert, key, opts)
				}
			}
		})
	}
	group.Wait()
	return made
}

// nest returns the bytes around content of the given size (-1: unknown, so indefinite lengths), from ContentInfo down to
// the header of [0] EncryptedContent. after follows EncryptedContentInfo.
func (e *envelope) nest(contentInfoType asn1.ObjectIdentifier, algorithm []byte, size int64, after []byte) nest {
	n := nest{size: size}
	tag := tagContext0
	if size < 0 {
		tag |= constructed
	}
	n.wrap(tag, nil, nil)
	n.wrap(tagSequence, slices.Concat(encodeOID(oidData), algorithm), nil)
	n.wrap(tagSequence, slices.Concat(encodeInt(e.version), e.recipients), after)
	n.wrap(tagContext0|constructed, nil, nil)
	n.wrap(tagSequence, encodeOID(contentInfoType), nil)
	return n
}

// writeChunk is the length of an OCTET STRING chunk and of the blocks in which CBC works.
const writeChunk = 32 << 10

var errClosed = errors.New("encrypt: writer is closed")

// cbcWriter encrypts in place in one buffer and hands each full buffer on.
type cbcWriter struct {
	w       io.Writer
	mode    cipher.BlockMode
	chunks  octetWriter
	buf     []byte // the block being filled
	sized   sizeCheck
	suffix  []byte
	failure error
}

func newCBCWriter(w io.Writer, env *envelope, key []byte, opts *EncryptOptions) (*cbcWriter, error) {
	block, err := opts.Cipher.block(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt: make %v: %w", opts.Cipher, err)
	}
	iv := make([]byte, block.BlockSize())
	rand.Read(iv)
	size := int64(-1)
	if opts.SizeKnown {
		bs := int64(block.BlockSize())
		size = (opts.Size/bs + 1) * bs
	}
	n := env.nest(oidEnvelopedData, encodeAlgorithm(opts.Cipher.OID(), encodeOctets(iv)), size, nil)
	if _, err := w.Write(n.prefix); err != nil {
		return nil, fmt.Errorf("write message header: %w", err)
	}
	c := &cbcWriter{
		w:      w,
		mode:   cipher.NewCBCEncrypter(block, iv),
		chunks: newOctetWriter(w, size < 0),
		sized:  sizeCheck{known: opts.SizeKnown, left: opts.Size},
		suffix: n.suffix,
	}
	c.buf = c.chunks.body()[:0]
	return c, nil
}

func (c *cbcWriter) Write(p []byte) (int, error) {
	if c.failure != nil {
		return 0, c.failure
	}
	if c.failure = c.sized.take(len(p)); c.failure != nil {
		return 0, c.failure
	}
	written := 0
	for written < len(p) {
		n := copy(c.buf[len(c.buf):cap(c.buf)], p[written:])
		c.buf = c.buf[:len(c.buf)+n]
		written += n
		if len(c.buf) == cap(c.buf) {
			if c.failure = c.flush(); c.failure != nil {
				return written, c.failure
			}
		}
	}
	return written, nil
}

// flush encrypts and writes the buffer, which holds whole blocks.
func (c *cbcWriter) flush() error {
	c.mode.CryptBlocks(c.buf, c.buf)
	err := c.chunks.write(len(c.buf))
	c.buf = c.buf[:0]
	return err
}

// Close pads the content (RFC 5652 section 6.3) and ends the message.
func (c *cbcWriter) Close() error {
	if c.failure != nil {
		return c.failure
	}
	c.failure = errClosed
	if err := c.sized.end(); err != nil {
		return err
	}
	pad := c.mode.BlockSize() - len(c.buf)%c.mode.BlockSize()
	for range pad {
		c.buf = append(c.buf, byte(pad)) // never more than the buffer: a full one was flushed
	}
	if err := c.flush(); err != nil {
		return err
	}
	if len(c.suffix) == 0 {
		return nil
	}
	if _, err := c.w.Write(c.suffix); err != nil {
		return fmt.Errorf("write end of message: %w", err)
	}
	return nil
}

// aeadWriter collects the content, because the tag stands after it and Go's AEADs work on the whole.
type aeadWriter struct {
	w       io.Writer
	env     *envelope
	cipher  Cipher
	aead    cipher.AEAD
	buf     *region
	sized   sizeCheck
	failure error
}

func newAEADWriter(w io.Writer, env *envelope, key []byte, opts *EncryptOptions) (*aeadWriter, error) {
	aead, err := opts.Cipher.aead(key, gcmNonceSize, maxTagSize)
	if err != nil {
		return nil, fmt.Errorf("encrypt: make %v: %w", opts.Cipher, err)
	}
	size := int64(-1)
	if opts.SizeKnown {
		size = opts.Size + int64(aead.Overhead())
	}
	return &aeadWriter{
		w: w, env: env, cipher: opts.Cipher, aead: aead, buf: newRegion(size), sized: sizeCheck{known: opts.SizeKnown, left: opts.Size},
	}, nil
}

func (a *aeadWriter) Write(p []byte) (int, error) {
	if a.failure != nil {
		return 0, a.failure
	}
	if a.failure = a.sized.take(len(p)); a.failure != nil {
		return 0, a.failure
	}
	a.buf.append(p)
	return len(p), nil
}

// Close encrypts the content in place and writes the whole message, always as DER.
func (a *aeadWriter) Close() error {
	if a.failure != nil {
		return a.failure
	}
	a.failure = errClosed
	if err := a.sized.end(); err != nil {
		return err
	}
	defer a.buf.release()
	a.buf.append(make([]byte, a.aead.Overhead())) // room for the tag
	size := len(a.buf.data) - a.aead.Overhead()
	nonce := make([]byte, a.aead.NonceSize())
	rand.Read(nonce)
	sealed := a.aead.Seal(a.buf.data[:0], nonce, a.buf.data[:size], nil)
	n := a.env.nest(oidAuthEnvelopedData, aeadAlgorithm(a.cipher, nonce, a.aead.Overhead()), int64(size), encodeOctets(sealed[size:]))
	for _, part := range [][]byte{n.prefix, sealed[:size], n.suffix} {
		if _, err := a.w.Write(part); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
	}
	return nil
}

// aeadAlgorithm encodes GCMParameters (RFC 5084 section 3.2) or the bare nonce (RFC 8103 section 4).
func aeadAlgorithm(c Cipher, nonce []byte, tagSize int) []byte {
	if c == ChaCha20Poly1305 {
		return encodeAlgorithm(c.OID(), encodeOctets(nonce))
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(nonce)
		b.AddASN1Int64(int64(tagSize))
	})
	return encodeAlgorithm(c.OID(), b.BytesOrPanic())
}

// sizeCheck holds the caller to the announced size: a DER header cannot be corrected afterwards.
type sizeCheck struct {
	known bool
	left  int64
}

func (s *sizeCheck) take(n int) error {
	if !s.known {
		return nil
	}
	if s.left -= int64(n); s.left < 0 {
		return fmt.Errorf("write content: %d bytes more than the announced size", -s.left)
	}
	return nil
}

func (s *sizeCheck) end() error {
	if s.known && s.left > 0 {
		return fmt.Errorf("write content: %d bytes fewer than the announced size", s.left)
	}
	return nil
}
