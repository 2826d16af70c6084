package cms

import (
	"compress/zlib"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

var (
	oidCompressedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 9} // RFC 3274 section 1.1
	oidZlib           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 8} // RFC 3274 section 2
)

// maxRatio is how many times longer than its compressed form content may be, beyond the first MiB. Text shrinks to a
// tenth; only what is made to exhaust its reader shrinks to a hundredth.
const (
	maxRatio  = 100
	freeRatio = 1 << 20
)

// Decompress reads a CompressedData (RFC 3274) from r, to the end of r, and writes its content to w. More than maxContent
// bytes of content (0 means [DefaultMaxContent]), or a hundred times the length of the compressed form, are [ErrTooLarge].
// Other errors are [ErrSyntax], [ErrUnsupported], and those of r and w. What was written before an error must be thrown
// away.
func Decompress(r io.Reader, w io.Writer, maxContent int64) error {
	if maxContent <= 0 {
		maxContent = DefaultMaxContent
	}
	b := newReader(r, maxContent+readOverhead)
	oid, err := b.readContentInfo()
	if err != nil {
		return err
	}
	if !oid.Equal(oidCompressedData) {
		return syntaxError("content type %v is not CompressedData", oid)
	}
	if err := b.readCompressedStart(); err != nil {
		return err
	}
	content, err := b.octets(tagOctetString, maxContent, "compressed content")
	if err != nil {
		return err
	}
	if err := inflate(content, w, maxContent); err != nil {
		return err
	}
	for _, what := range []string{"compressed content", "EncapsulatedContentInfo", "CompressedData", "content", "ContentInfo"} {
		if err := b.leave(what); err != nil {
			return err
		}
	}
	return b.end()
}

// readCompressedStart reads up to the OCTET STRING.
func (b *reader) readCompressedStart() error {
	if err := b.enter(tagSequence, "CompressedData"); err != nil {
		return err
	}
	if err := b.version(); err != nil {
		return err
	}
	der, err := b.element(maxSmall, "compression algorithm")
	if err != nil {
		return err
	}
	s := cryptobyte.String(der)
	switch alg, err := readAlgorithm(&s); {
	case err != nil:
		return err
	case !alg.oid.Equal(oidZlib):
		return unsupported("compression algorithm %v", alg.oid)
	}
	if err := b.enter(tagSequence, "EncapsulatedContentInfo"); err != nil {
		return err
	}
	if _, err := b.oid("type of the compressed content"); err != nil {
		return err
	}
	return b.enter(tagContext0|constructed, "compressed content")
}

// inflate decompresses all of content. Bytes after the end of the compressed stream are refused.
func inflate(content io.Reader, w io.Writer, maxContent int64) error {
	in := &countReader{r: content}
	z, err := zlib.NewReader(in)
	if err != nil {
		return inflateError(in, err)
	}
	written := int64(0)
	for buf := make([]byte, copyBuffer); ; {
		n, err := z.Read(buf)
		if written += int64(n); written > maxContent || written > freeRatio+maxRatio*in.read {
			return ErrTooLarge
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("write content: %w", err)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return inflateError(in, err)
		}
	}
	if n, err := in.ReadByte(); err == nil {
		return syntaxError("byte %#02x after the end of the compressed content", n)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// inflateError tells an error of the reader from one of the compression.
func inflateError(in *countReader, err error) error {
	if in.err != nil && !errors.Is(in.err, io.EOF) {
		return in.err
	}
	return syntaxError("compressed content: %v", err)
}

// countReader hands out single bytes, so that zlib reads no further than it must, and counts them.
type countReader struct {
	r    io.Reader
	buf  [4096]byte
	left []byte
	read int64
	err  error
}

func (c *countReader) fill() error {
	for len(c.left) == 0 {
		if c.err != nil {
			return c.err
		}
		n, err := c.r.Read(c.buf[:])
		c.left, c.err = c.buf[:n], err
	}
	return nil
}

func (c *countReader) Read(p []byte) (int, error) {
	if err := c.fill(); err != nil {
		return 0, err
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	c.read += int64(n)
	return n, nil
}

func (c *countReader) ReadByte() (byte, error) {
	if err := c.fill(); err != nil {
		return 0, err
	}
	b := c.left[0]
	c.left = c.left[1:]
	c.read++
	return b, nil
}
