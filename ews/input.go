package ews

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/galsyncd/galsyncd/directory"
)

// Bounds of an answer. A hundred entries with certificates and photos are about 4 MiB.
const (
	maxAnswer      = 64 << 20 // bytes, after decompression
	maxToken       = 1 << 20  // bytes of one tag, text or comment
	maxTag         = 16 << 10 // bytes of one start tag with its attributes
	maxDepth       = 64       // elements inside each other
	maxTokens      = 1_000_000
	maxResolutions = 1000
	maxValues      = 64       // certificate values of one entry
	maxValue       = 64 << 10 // bytes of one value, after base64
	maxChildren    = 256      // kept children of one element, such as listed addresses
	maxText        = 1 << 10  // bytes of any other text that is kept
)

// Reasons for which an answer is not read on.
var (
	errRefused = errors.New("the answer was refused")
	errHTML    = errors.New("the answer is an HTML page")
	errEmpty   = errors.New("the answer is empty")
)

// refusedf makes an error that asking again will not mend.
func refusedf(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...)}
}

type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }
func (r *refusal) Is(target error) bool {
	return target == errRefused || target == directory.ErrUnreadable
}

// input hands the bytes of an answer to the XML decoder. It counts them, bounds each token (the decoder holds a whole
// token in memory), and replaces references to characters that XML does not allow, such as &#x1;, which Exchange writes
// when somebody's name contains one: such a name must not make a hundred other people unreadable.
type input struct {
	r *bufio.Reader
	// read counts the bytes taken from r, given those handed to the decoder.
	read, given int64
	// maxBytes and maxTokens bound the answer; tests lower them.
	maxBytes  int64
	maxTokens int
	// mark is the value of given when the current token began.
	mark    int64
	pending []byte
	err     error
	// last are the last two bytes handed to the decoder.
	last [2]byte
	// bytewise hands every byte to the decoder, also those that skipPlain could pass over. For tests.
	bytewise bool
}

func newInput(r io.Reader) *input {
	return &input{r: bufio.NewReader(r), maxBytes: maxAnswer, maxTokens: maxTokens}
}

// sniff looks at the beginning: no content, an HTML page, UTF-16, a byte order mark.
func (in *input) sniff(saysHTML bool) error {
	head, err := in.r.Peek(512)
	if len(head) == 0 {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return errEmpty
	}
	if bytes.HasPrefix(head, []byte{0xfe, 0xff}) || bytes.HasPrefix(head, []byte{0xff, 0xfe}) {
		return refusedf("the answer is in UTF-16; only UTF-8 is read")
	}
	if bom := []byte("\ufeff"); bytes.HasPrefix(head, bom) {
		head = head[len(bom):]
		_, _ = in.r.Discard(len(bom))
	}
	text := strings.ToLower(strings.TrimLeft(string(head), " \t\r\n"))
	switch {
	case text == "" && err != nil:
		return errEmpty
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"), saysHTML && !strings.HasPrefix(text, "<?xml"):
		return errHTML
	}
	return nil
}

// next begins a new token and returns the length of the last one.
func (in *input) next() int64 {
	n := in.given - in.mark
	in.mark = in.given
	return n
}

// Read satisfies io.Reader; the decoder calls ReadByte.
func (in *input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// ReadByte returns the next byte within the bounds.
func (in *input) ReadByte() (byte, error) {
	if in.err != nil {
		return 0, in.err
	}
	b, err := in.take()
	switch {
	case err != nil:
		in.err = err
	case in.given-in.mark >= maxToken:
		in.err = errLongToken()
	case in.read > in.maxBytes:
		in.err = in.errLong()
	}
	in.given++
	in.last = [2]byte{in.last[1], b}
	return b, in.err
}

// plain are the bytes of base64, folded or not. A run of them is well-formed text wherever text may be.
var plain = func() (is [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n") {
		is[b] = true
	}
	return is
}()

// skipPlain passes over the plain text at the beginning of an element that nobody wants, such as a photo: that is most of an
// answer, and the decoder would look at each byte several times. It is called right behind a start tag, when the decoder
// has read nothing ahead; behind an empty element, whose tag ends with "/>", the text would be somebody else's.
func (in *input) skipPlain() {
	if in.bytewise || in.err != nil || len(in.pending) > 0 || in.last[1] != '>' || in.last[0] == '/' {
		return
	}
	for skipped := 0; ; {
		if _, err := in.r.Peek(1); err != nil {
			return // the decoder meets it as well
		}
		buffered, _ := in.r.Peek(in.r.Buffered())
		n := 0
		for n < len(buffered) && plain[buffered[n]] {
			n++
		}
		_, _ = in.r.Discard(n)
		in.read += int64(n)
		skipped += n
		switch {
		case skipped >= maxToken:
			in.err = errLongToken()
		case in.read > in.maxBytes:
			in.err = in.errLong()
		case n == len(buffered):
			continue
		}
		return
	}
}

func errLongToken() error {
	return refusedf("one element of the answer is longer than %d bytes", maxToken)
}

func (in *input) errLong() error {
	return refusedf("the answer is longer than %d bytes", in.maxBytes)
}

func (in *input) take() (byte, error) {
	if len(in.pending) > 0 {
		b := in.pending[0]
		in.pending = in.pending[1:]
		return b, nil
	}
	b, err := in.r.ReadByte()
	if err != nil {
		return 0, err
	}
	in.read++
	if b != '&' {
		return b, nil
	}
	// The longest reference to look at: &#x10ffff;
	following, _ := in.r.Peek(12)
	n := illegalReference(following)
	if n == 0 {
		return b, nil
	}
	_, _ = in.r.Discard(n)
	in.read += int64(n)
	in.pending = []byte("\ufffd")
	return in.take()
}

// illegalReference returns the length of a reference to a character that XML 1.0 section 2.2 does not allow, of which
// the "&" was already read; zero when there is none.
func illegalReference(s []byte) int {
	end := bytes.IndexByte(s, ';')
	if end < 2 || s[0] != '#' {
		return 0
	}
	digits, base := string(s[1:end]), 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || inCharacterRange(rune(n)) && n <= 0x10ffff {
		return 0
	}
	return end + 1
}

func inCharacterRange(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || ' ' <= r && r <= 0xd7ff || 0xe000 <= r && r <= 0xfffd || r >= 0x10000
}

func isUTF8(name string) bool {
	switch strings.ToLower(name) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}
