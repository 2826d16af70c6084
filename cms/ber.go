package cms

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
)

// Limits of what is read besides content.
const (
	maxDepth     = 32
	maxSmall     = 128      // a version, an object identifier
	maxElement   = 1 << 20  // one RecipientInfo or SignerInfo, one set of attributes
	readOverhead = 16 << 20 // everything around the content
	readBuffer   = 32 << 10
	maxLength    = math.MaxInt64 >> 1
)

// reader pulls BER elements (X.690 section 8) out of a stream, one header at a time. It holds nothing but its buffer and the
// ends of the open elements, works in linear time, and accepts definite and indefinite lengths. Tag numbers above 30 do
// not occur in CMS and are refused.
type reader struct {
	r      *bufio.Reader
	pos    int64
	depth  int
	frames [maxDepth + 1]frame
}

// frame is an open constructed element; frame 0 is the whole input.
type frame struct {
	end        int64 // position behind the last byte that can belong to it
	indefinite bool
}

// newReader reads at most limit bytes; what needs more is ErrTooLarge.
func newReader(r io.Reader, limit int64) *reader {
	b := &reader{r: bufio.NewReaderSize(r, readBuffer)}
	b.frames[0].end = limit
	return b
}

// readError turns the end of the stream into a syntax error and keeps other errors as they are.
func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return syntaxError("message ends early")
	}
	return fmt.Errorf("read message: %w", err)
}

// claim takes n bytes out of the current element.
func (b *reader) claim(n int64) error {
	if n <= b.frames[b.depth].end-b.pos {
		b.pos += n
		return nil
	}
	if b.frames[b.depth].end == b.frames[0].end {
		return ErrTooLarge
	}
	return syntaxError("element is longer than the one around it")
}

func (b *reader) byte() (byte, error) {
	if err := b.claim(1); err != nil {
		return 0, err
	}
	c, err := b.r.ReadByte()
	if err != nil {
		return 0, readError(err)
	}
	return c, nil
}

// peek returns the identifier octet of the next element, or false at the end of the current one.
func (b *reader) peek() (tag byte, ok bool, err error) {
	f := b.frames[b.depth]
	if !f.indefinite && b.depth > 0 && b.pos == f.end {
		return 0, false, nil
	}
	next, err := b.r.Peek(1)
	if err != nil {
		return 0, false, readError(err)
	}
	if f.indefinite && next[0] == 0 {
		return 0, false, nil
	}
	return next[0], true, nil
}

// next reports whether the next element has the given identifier octet.
func (b *reader) next(tag byte) (bool, error) {
	t, ok, err := b.peek()
	return ok && t == tag, err
}

// header reads identifier and length octets; length -1 is the indefinite form.
func (b *reader) header() (tag byte, length int64, err error) {
	if tag, err = b.byte(); err != nil {
		return 0, 0, err
	}
	if tag == 0 || tag&0x1f == 0x1f {
		return 0, 0, syntaxError("identifier octet %#02x", tag)
	}
	first, err := b.byte()
	if err != nil {
		return 0, 0, err
	}
	switch {
	case first < 0x80:
		return tag, int64(first), nil
	case first == indefinite:
		if tag&constructed == 0 {
			return 0, 0, syntaxError("primitive element of indefinite length")
		}
		return tag, -1, nil
	}
	for range first & 0x7f {
		c, err := b.byte()
		if err != nil {
			return 0, 0, err
		}
		if length = length<<8 | int64(c); length > maxLength>>8 {
			return 0, 0, ErrTooLarge
		}
	}
	return tag, length, nil
}

// enter opens the next element, which must be the constructed one named by tag.
func (b *reader) enter(tag byte, what string) error {
	t, length, err := b.header()
	if err != nil {
		return err
	}
	if t != tag {
		return syntaxError("%s: identifier octet %#02x instead of %#02x", what, t, tag)
	}
	return b.push(length)
}

func (b *reader) push(length int64) error {
	if b.depth == maxDepth {
		return syntaxError("elements nested more than %d deep", maxDepth)
	}
	end := b.frames[b.depth].end
	if length >= 0 {
		if err := b.claim(length); err != nil {
			return err
		}
		end = b.pos
		b.pos -= length
	}
	b.depth++
	b.frames[b.depth] = frame{end: end, indefinite: length < 0}
	return nil
}

// leave closes the current element, which must be at its end.
func (b *reader) leave(what string) error {
	_, ok, err := b.peek()
	if err != nil {
		return err
	}
	if ok {
		return syntaxError("%s: unexpected element at its end", what)
	}
	if b.frames[b.depth].indefinite {
		if err := b.endOfContents(); err != nil {
			return err
		}
	}
	b.depth--
	return nil
}

func (b *reader) endOfContents() error {
	for range 2 {
		c, err := b.byte()
		if err != nil {
			return err
		}
		if c != 0 {
			return syntaxError("damaged end-of-contents octets")
		}
	}
	return nil
}

// end requires the input to be at its end.
func (b *reader) end() error {
	if _, err := b.r.Peek(1); err == nil {
		return syntaxError("bytes after the end of the message")
	} else if !errors.Is(err, io.EOF) {
		return readError(err)
	}
	return nil
}

// skip passes over the next element without keeping it.
func (b *reader) skip() error { return b.scan(discard{}) }

// element returns the next element, at most limit bytes of it, in DER as far as its lengths and OCTET STRINGs go.
func (b *reader) element(limit int, what string) ([]byte, error) {
	c := capture{limit: limit}
	if err := b.scan(&c); err != nil {
		return nil, within(what, err)
	}
	der, err := toDER(c.buf)
	if err != nil {
		return nil, within(what, err)
	}
	return der, nil
}

// version reads a version, whatever it is: what else stands in a message does not depend on it.
func (b *reader) version() error {
	der, err := b.element(maxSmall, "version")
	if err != nil {
		return err
	}
	if der[0] != tagInteger {
		return syntaxError("version")
	}
	return nil
}

// sink receives the bytes of a scanned element.
type sink interface {
	header(tag byte, length int64) error
	body(r *bufio.Reader, n int64) error
	end() error
}

// scan reads one element with everything in it. Elements of definite length are taken whole.
func (b *reader) scan(s sink) error {
	base := b.depth
	for {
		tag, ok, err := b.peek()
		if err != nil {
			return err
		}
		if !ok && b.depth == base {
			return syntaxError("element is missing")
		}
		if !ok {
			if err = b.leave("element"); err == nil {
				err = s.end()
			}
		} else {
			err = b.scanElement(tag, s)
		}
		if err != nil || b.depth == base {
			return err
		}
	}
}

func (b *reader) scanElement(tag byte, s sink) error {
	_, length, err := b.header()
	if err != nil {
		return err
	}
	if err := s.header(tag, length); err != nil {
		return err
	}
	if length < 0 {
		return b.push(length)
	}
	if err := b.claim(length); err != nil {
		return err
	}
	return s.body(b.r, length)
}

type discard struct{}

func (discard) header(byte, int64) error { return nil }
func (discard) end() error               { return nil }
func (discard) body(r *bufio.Reader, n int64) error {
	if _, err := io.CopyN(io.Discard, r, n); err != nil {
		return readError(err)
	}
	return nil
}

// capture keeps an element as it came, but for the form of its definite lengths.
type capture struct {
	buf   []byte
	limit int
}

func (c *capture) room(n int64) error {
	if n > int64(c.limit-len(c.buf)) {
		return syntaxError("longer than %d bytes", c.limit)
	}
	return nil
}

func (c *capture) header(tag byte, length int64) error {
	if err := c.room(max(length, 0) + maxHeaderLength); err != nil {
		return err
	}
	if length < 0 {
		c.buf = append(c.buf, tag, indefinite)
	} else {
		c.buf = appendHeader(c.buf, tag, length)
	}
	return nil
}

func (c *capture) end() error {
	c.buf = append(c.buf, 0, 0)
	return nil
}

// body reads in steps, so that a length alone does not cost memory.
func (c *capture) body(r *bufio.Reader, n int64) error {
	for n > 0 {
		step := int(min(n, 4096))
		start := len(c.buf)
		c.buf = append(c.buf, make([]byte, step)...)
		if _, err := io.ReadFull(r, c.buf[start:]); err != nil {
			return readError(err)
		}
		n -= int64(step)
	}
	return nil
}
