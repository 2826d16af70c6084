package smime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
)

const (
	// lookAhead is how much of a part is read to find out whether it is 7-bit text.
	lookAhead = 128 << 10
	// maxLine is the longest line that mail carries, without its end (RFC 5322 section 2.1.1).
	maxLine = 998
)

// sevenBit copies entities so that no mail server on the way has a reason to change them (RFC 8551 section 3.1.3): lines end
// in CRLF, and what is 8bit or binary becomes quoted-printable or base64, in every part. What is sound stays as it is.
type sevenBit struct{ w *crlfWriter }

// entity writes an entity, whose header is h, with the fields of h in their order.
func (s *sevenBit) entity(h header, body *bufio.Reader, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d parts within parts", ErrStructure, maxDepth)
	}
	kind, params, err := h.mediaType()
	if err != nil {
		return err
	}
	encoding, err := h.transferEncoding()
	if err != nil {
		return err
	}
	switch {
	case sealed(kind), encoding == "base64":
		return s.asItIs(h, body)
	case encoding == "quoted-printable":
		return errors.Join(s.header(h), s.copyMasked(body))
	case strings.HasPrefix(kind, "multipart/"):
		return s.multipart(h, body, params["boundary"], depth)
	case kind == "message/rfc822":
		return s.message(h, body, depth)
	case encoding == "7bit", encoding == "8bit", encoding == "binary":
		return s.leaf(h, body, kind, encoding)
	}
	return s.asItIs(h, body)
}

// sealed kinds are signed or encrypted: another encoding inside would break them.
func sealed(kind string) bool { return kind == "multipart/signed" || kind == "multipart/encrypted" }

func (s *sevenBit) asItIs(h header, body io.Reader) error {
	return errors.Join(s.header(h), s.copy(body))
}

func (s *sevenBit) header(h header) error {
	_, err := s.w.Write(append(h.append(nil), "\r\n"...))
	return err
}

func (s *sevenBit) copy(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{s.w}, struct{ io.Reader }{r}, make([]byte, blockSize))
	return err
}

// multipart writes every part anew. Its own encoding is 7bit when that of all parts is (RFC 2045 section 6.4).
func (s *sevenBit) multipart(h header, body *bufio.Reader, boundary string, depth int) error {
	parts, err := newSplitter(body, boundary)
	if err != nil {
		return err
	}
	if err := s.header(h.withEncoding("")); err != nil {
		return err
	}
	if err := s.copy(parts); err != nil { // the preamble
		return err
	}
	for {
		more, err := parts.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := s.delimiter(parts, "--"+boundary+"\r\n"); err != nil {
			return err
		}
		part := bufio.NewReaderSize(parts, blockSize)
		partHeader, err := readHeader(part)
		if err != nil {
			return fmt.Errorf("part %d of a multipart: %w", parts.parts, err)
		}
		if err := s.entity(partHeader, part, depth+1); err != nil {
			return err
		}
	}
	if parts.parts == 0 && !parts.closed() {
		return nil
	}
	if err := s.delimiter(parts, "--"+boundary+"--\r\n"); err != nil || !parts.closed() {
		return err
	}
	return s.copy(body) // the epilogue
}

// delimiter writes a delimiter, after a line end except when it is the first line of the multipart.
func (s *sevenBit) delimiter(parts *splitter, line string) error {
	first := parts.parts == 0 || parts.parts == 1 && parts.found == textLine
	if !first || !parts.bare {
		line = "\r\n" + line
	}
	_, err := s.w.Write([]byte(line))
	return err
}

// message writes a mail inside a mail, which may have no encoding of its own (RFC 2046 section 5.2.1).
func (s *sevenBit) message(h header, body *bufio.Reader, depth int) error {
	if err := s.header(h.withEncoding("")); err != nil {
		return err
	}
	inner, err := readHeader(body)
	if err != nil {
		return fmt.Errorf("mail inside the mail: %w", err)
	}
	return s.entity(inner, body, depth+1)
}

// leaf writes a part without parts, in an encoding that fits its content.
func (s *sevenBit) leaf(h header, body io.Reader, kind, declared string) error {
	head := make([]byte, lookAhead)
	n, err := io.ReadFull(body, head)
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !ended {
		return err
	}
	head = head[:n]
	all := io.MultiReader(bytes.NewReader(head), body)
	switch encoding := chooseEncoding(head, ended, kind, declared); encoding {
	case "7bit":
		return s.asItIs(h.withEncoding(""), all)
	case "quoted-printable":
		if err := s.header(h.withEncoding(encoding)); err != nil {
			return err
		}
		var text bytes.Buffer // all was looked at, so it is short
		w := quotedprintable.NewWriter(&text)
		if _, err := io.Copy(w, all); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return s.copyMasked(bufio.NewReaderSize(&text, blockSize))
	default:
		if err := s.header(h.withEncoding(encoding)); err != nil {
			return err
		}
		return s.base64(all, declared == "binary")
	}
}

// copyMasked copies quoted-printable text and writes "From " at the beginning of a line otherwise: mailbox files take it for the
// beginning of a mail, and programs that write them put a ">" before it, which would break the signature. The line goes on
// after a soft break, so that it does not grow.
func (s *sevenBit) copyMasked(r *bufio.Reader) error {
	from, masked := []byte("From "), []byte("=46rom =\r\n")
	for start := true; ; {
		line, err := r.ReadSlice('\n')
		for start && bytes.HasPrefix(line, from) {
			line = line[len(from):]
			if _, err := s.w.Write(masked); err != nil {
				return err
			}
		}
		if _, err := s.w.Write(line); err != nil {
			return err
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && err != bufio.ErrBufferFull:
			return err
		}
		start = err == nil
	}
}

func (s *sevenBit) base64(r io.Reader, verbatim bool) error {
	text := newBase64Writer(s.w, "\r\n")
	canonical := newCRLFWriter(text)
	canonical.verbatim = verbatim
	_, err := io.CopyBuffer(struct{ io.Writer }{canonical}, struct{ io.Reader }{r}, make([]byte, blockSize))
	return errors.Join(err, canonical.Flush(), text.Close())
}

// chooseEncoding looks at the beginning of a content and, when it has ended, knows it all. What cannot be seen to the end
// counts as unsafe, and so does a line that mailbox files change (see copyMasked). Quoted-printable is for text that is mostly ASCII
// and has no CR of its own, which would not survive.
func chooseEncoding(head []byte, ended bool, kind, declared string) string {
	if declared == "binary" || !ended {
		return "base64"
	}
	high, plain := 0, true
	for line := range bytes.Lines(head) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		for _, c := range line {
			if c >= 0x80 {
				high++
			}
			if c == 0 || c == '\r' {
				return "base64"
			}
		}
		plain = plain && len(line) <= maxLine && !bytes.HasPrefix(line, []byte("From "))
	}
	switch {
	case high == 0 && plain:
		return "7bit"
	case strings.HasPrefix(kind, "text/") && high <= len(head)/6:
		return "quoted-printable"
	}
	return "base64"
}

// withEncoding replaces the Content-Transfer-Encoding; 7bit, which needs no field, is "". A field that says 7bit stays.
func (h header) withEncoding(encoding string) header {
	if old, err := h.transferEncoding(); err == nil && encoding == "" && old == "7bit" {
		return h
	}
	kept := slices.DeleteFunc(slices.Clone(h), func(f field) bool { return f.is("Content-Transfer-Encoding") })
	if encoding == "" {
		return kept
	}
	return append(kept, field{"Content-Transfer-Encoding", []byte("Content-Transfer-Encoding: " + encoding + "\r\n")})
}
