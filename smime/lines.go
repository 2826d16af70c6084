package smime

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
)

// blockSize is the size in which bodies are moved.
const blockSize = 16 << 10

// crlfWriter turns every LF without a CR before it into CRLF (RFC 8551 section 3.1.1). A CR alone is left alone: it ends
// no line.
type crlfWriter struct {
	w        io.Writer
	verbatim bool   // change nothing
	buf      []byte // of capacity blockSize
	cr       bool   // the last byte taken was a CR
}

func newCRLFWriter(w io.Writer) *crlfWriter {
	return &crlfWriter{w: w, buf: make([]byte, 0, blockSize)}
}

func (c *crlfWriter) Write(p []byte) (int, error) {
	if c.verbatim {
		return len(p), c.put(p)
	}
	total := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		text := p
		if end >= 0 {
			text = p[:end]
		}
		if len(text) > 0 {
			c.cr = text[len(text)-1] == '\r'
			if err := c.put(text); err != nil {
				return 0, err
			}
		}
		if end < 0 {
			break
		}
		ending := "\r\n"
		if c.cr {
			ending = "\n"
		}
		c.cr = false
		if err := c.put([]byte(ending)); err != nil {
			return 0, err
		}
		p = p[end+1:]
	}
	return total, nil
}

func (c *crlfWriter) put(p []byte) error {
	for len(p) > 0 {
		n := copy(c.buf[len(c.buf):cap(c.buf)], p)
		c.buf = c.buf[:len(c.buf)+n]
		p = p[n:]
		if len(c.buf) == cap(c.buf) {
			if err := c.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush hands on what is held back.
func (c *crlfWriter) Flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// lfWriter drops every CR before an LF.
type lfWriter struct {
	w  io.Writer
	cr bool // a CR was held back
}

func (l *lfWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, b := range p {
		if l.cr && b != '\n' {
			out = append(out, '\r')
		}
		if l.cr = b == '\r'; !l.cr {
			out = append(out, b)
		}
	}
	if _, err := l.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush hands on a CR that ends the text.
func (l *lfWriter) Flush() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}

// Lines of base64 hold 76 characters (RFC 2045 section 6.8), which stand for 57 bytes.
const (
	lineText  = 76
	lineBytes = lineText / 4 * 3
)

// base64Writer writes base64 in lines. Close ends the last line and does not close w.
type base64Writer struct {
	w      io.Writer
	ending string
	held   []byte // less than a line
	out    []byte
}

func newBase64Writer(w io.Writer, ending string) *base64Writer {
	return &base64Writer{w: w, ending: ending, held: make([]byte, 0, lineBytes), out: make([]byte, 0, blockSize)}
}

func (b *base64Writer) Write(p []byte) (int, error) {
	total := len(p)
	if len(b.held) > 0 {
		n := min(lineBytes-len(b.held), len(p))
		b.held, p = append(b.held, p[:n]...), p[n:]
		if len(b.held) < lineBytes {
			return total, nil
		}
		if err := b.line(b.held); err != nil {
			return 0, err
		}
		b.held = b.held[:0]
	}
	for ; len(p) >= lineBytes; p = p[lineBytes:] {
		if err := b.line(p[:lineBytes]); err != nil {
			return 0, err
		}
	}
	b.held = append(b.held, p...)
	return total, nil
}

func (b *base64Writer) line(p []byte) error {
	b.out = base64.StdEncoding.AppendEncode(b.out, p)
	b.out = append(b.out, b.ending...)
	if len(b.out)+lineText+len(b.ending) <= cap(b.out) {
		return nil
	}
	return b.flush()
}

func (b *base64Writer) flush() error {
	_, err := b.w.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *base64Writer) Close() error {
	if len(b.held) > 0 {
		if err := b.line(b.held); err != nil {
			return err
		}
		b.held = nil
	}
	return b.flush()
}

// base64Reader reads base64 and skips white space. Any other character, text after the padding and an incomplete end are
// errors that wrap ErrEncoding.
type base64Reader struct {
	r        io.Reader
	in       []byte
	text     []byte // characters not decoded yet
	padding  int
	out      []byte // decoded, not handed out yet
	store    []byte // behind out
	position int64  // in the encoded text
	err      error
}

func newBase64Reader(r io.Reader) *base64Reader {
	return &base64Reader{r: r, in: make([]byte, blockSize), text: make([]byte, 0, blockSize+4), store: make([]byte, base64.StdEncoding.DecodedLen(blockSize+4))}
}

func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// fill reads a block and decodes the whole groups of four characters in it.
func (b *base64Reader) fill() {
	n, err := b.r.Read(b.in)
	if err == nil && b.lines(b.in[:n]) {
		return
	}
	if scanErr := b.scan(b.in[:n]); scanErr != nil {
		b.err = scanErr
		return
	}
	whole := len(b.text) / 4 * 4
	n, decodeErr := base64.StdEncoding.Decode(b.store, b.text[:whole])
	b.out = b.store[:n]
	b.text = b.text[:copy(b.text, b.text[whole:])]
	switch {
	case decodeErr != nil:
		b.err = fmt.Errorf("%w: %w", ErrEncoding, decodeErr)
	case err == io.EOF:
		b.err = b.end()
	default:
		b.err = err
	}
}

// lines is fill for the usual: lines that hold nothing but base64. It reports false, and has changed nothing, when there is
// anything else.
func (b *base64Reader) lines(p []byte) bool {
	if b.padding > 0 || bytes.IndexByte(p, '=') >= 0 {
		return false
	}
	text := b.text
	for rest := p; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		if line = bytes.TrimSuffix(line, []byte{'\r'}); bytes.IndexByte(line, '\r') >= 0 {
			return false
		}
		text = append(text, line...)
	}
	whole := len(text) / 4 * 4
	n, err := base64.StdEncoding.Decode(b.store, text[:whole])
	if err != nil {
		return false
	}
	b.out = b.store[:n]
	b.text = text[:copy(text, text[whole:])]
	b.position += int64(len(p))
	return true
}

// isBase64 is a table because branches on the letters of base64 cannot be predicted, which made reading slow.
var isBase64 = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		table[c] = true
	}
	return table
}()

// scan collects the characters that carry data.
func (b *base64Reader) scan(p []byte) error {
	text := b.text
	for i, c := range p {
		if isBase64[c] && b.padding == 0 {
			text = append(text, c)
			continue
		}
		if fault := b.special(c); fault != "" {
			return fmt.Errorf("%w: byte %d of the text %s", ErrEncoding, b.position+int64(i), fault)
		}
	}
	b.text = text
	b.position += int64(len(p))
	return nil
}

// special takes a character that carries no data, or stands after the padding. It returns what is wrong with it.
func (b *base64Reader) special(c byte) string {
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		return ""
	case c == '=' && b.padding < 2:
		b.padding++
		return ""
	case b.padding > 0:
		return "stands after its end"
	}
	return "is no base64"
}

// end decodes the last, padded group.
func (b *base64Reader) end() error {
	if len(b.text) == 1 || (len(b.text)+b.padding)%4 != 0 {
		return fmt.Errorf("%w: base64 is cut short", ErrEncoding)
	}
	n, err := base64.RawStdEncoding.Decode(b.store[len(b.out):], b.text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	b.out = b.store[:len(b.out)+n]
	return io.EOF
}
