package smime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of multiparts.
const (
	maxBoundary = 70 // characters (RFC 2046 section 5.1.1)
	maxParts    = 1000
	maxDepth    = 16 // of parts within parts
)

// ErrStructure means that the MIME structure of a mail is damaged, ambiguous or beyond a limit.
var ErrStructure = errors.New("unusable MIME structure")

// splitter divides the body of a multipart into its parts and changes no byte of them (RFC 2046 section 5.1). It reads the
// current part; the first one is the preamble. The line end before a delimiter belongs to the delimiter.
type splitter struct {
	r    *bufio.Reader
	dash []byte // the delimiter without its line ends
	// out is ready to be read. It is a view of the buffer of r, or of store.
	out, store []byte
	held       []byte   // a line end that belongs to the part unless a delimiter follows
	holds      [2]byte  // the memory of held
	inLine     bool     // the next piece does not begin a line
	found      lineKind // what ended the current part; textLine while in it
	bare       bool     // no line end stood before the first delimiter: there is no preamble
	ambiguous  bool     // a line begins like a delimiter and is none
	parts      int
}

// lineKind is what a line is to a splitter.
type lineKind int

const (
	textLine lineKind = iota
	delimiterLine
	closingLine
	endOfInput
)

// newSplitter reads a multipart's body from r. The error wraps ErrStructure when boundary cannot be one.
func newSplitter(r *bufio.Reader, boundary string) (*splitter, error) {
	if err := checkBoundary(boundary); err != nil {
		return nil, err
	}
	return &splitter{r: r, dash: []byte("--" + boundary)}, nil
}

// checkBoundary holds a boundary to RFC 2046 section 5.1.1.
func checkBoundary(boundary string) error {
	const others = "'()+_,-./:=? "
	strange := strings.ContainsFunc(boundary, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune(others, c))
	})
	if boundary == "" || len(boundary) > maxBoundary || strange || strings.HasSuffix(boundary, " ") {
		return fmt.Errorf("%w: the boundary %.80q of a multipart", ErrStructure, boundary)
	}
	return nil
}

// next goes to the next part. It returns false behind the last one.
func (s *splitter) next() (bool, error) {
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{s}); err != nil {
		return false, err
	}
	if s.found != delimiterLine {
		return false, nil
	}
	if s.parts++; s.parts > maxParts {
		return false, fmt.Errorf("%w: more than %d parts", ErrStructure, maxParts)
	}
	s.found, s.held = textLine, nil
	return true, nil
}

// closed reports that the delimiter after the last part was there.
func (s *splitter) closed() bool { return s.found == closingLine }

// Read reads the current part.
func (s *splitter) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.found != textLine {
			return 0, io.EOF
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// fill reads one line, or as much of it as the buffer holds.
func (s *splitter) fill() error {
	piece, err := s.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
		return err
	}
	if len(piece) == 0 {
		s.found, s.out, s.held = endOfInput, append(s.store[:0], s.held...), nil
		return nil
	}
	if !s.inLine {
		if s.found = s.kind(piece, errors.Is(err, bufio.ErrBufferFull)); s.found != textLine {
			s.bare = s.parts == 0 && len(s.held) == 0 || s.parts > 0 && s.bare
			s.held = nil
			return nil
		}
	}
	s.take(piece)
	return nil
}

// take hands out what was held back and the piece but its line end.
func (s *splitter) take(piece []byte) {
	if s.inLine && piece[0] == '\n' && string(s.held) == "\r" { // a line end that the buffer cut in two
		s.inLine, s.held = false, append(s.holds[:0], '\r', '\n')
		return
	}
	s.inLine = piece[len(piece)-1] != '\n'
	text := bytes.TrimSuffix(piece, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	s.store = append(append(s.store[:0], s.held...), text...)
	s.out = s.store
	s.held = append(s.holds[:0], piece[len(text):]...)
}

// kind says what a line is. RFC 2046 lets every line that begins like a delimiter be one; most programs want the whole
// line to be it. Where the two differ programs disagree about the parts, so that is noted.
func (s *splitter) kind(line []byte, cut bool) lineKind {
	rest, ok := bytes.CutPrefix(line, s.dash)
	if !ok {
		return textLine
	}
	kind := delimiterLine
	if after, closing := bytes.CutPrefix(rest, []byte("--")); closing {
		rest, kind = after, closingLine
	}
	if cut || len(bytes.Trim(rest, " \t\r\n")) > 0 {
		s.ambiguous = true
		return textLine
	}
	return kind
}
