package smime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a header.
const (
	maxHeader = 1 << 20 // bytes
	maxFields = 1000
)

// field is one header field.
type field struct {
	// name is as written, without the white space before the colon.
	name string
	// raw is the whole field as written, with CRLF at the end of every line.
	raw []byte
}

// is reports whether the field has this name, without regard to case.
func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// isContent reports whether the field describes the content (RFC 2045 section 9).
func (f field) isContent() bool {
	const prefix = "content-"
	return len(f.name) > len(prefix) && strings.EqualFold(f.name[:len(prefix)], prefix)
}

// isLength reports a mailbox file's note of the body's length, which is wrong as soon as the body changes.
func (f field) isLength() bool { return f.is("Content-Length") }

// value is the field's body, unfolded (RFC 5322 section 2.2.3).
func (f field) value() string {
	_, v, _ := bytes.Cut(f.raw, []byte(":"))
	return strings.TrimSpace(string(bytes.ReplaceAll(v, []byte("\r\n"), nil)))
}

// header is a mail or part header in its order.
type header []field

// values returns the bodies of all fields with this name.
func (h header) values(name string) (values []string) {
	for _, f := range h {
		if f.is(name) {
			values = append(values, f.value())
		}
	}
	return values
}

func (h header) has(name string) bool { return len(h.values(name)) > 0 }

// content returns the Content- fields.
func (h header) content() header {
	var kept header
	for _, f := range h {
		if f.isContent() && !f.isLength() {
			kept = append(kept, f)
		}
	}
	return kept
}

// contentOrText returns the Content- fields, with a Content-Type.
func (h header) contentOrText() header {
	kept := h.content()
	if !kept.has("Content-Type") {
		kept = append(header{{"Content-Type", []byte("Content-Type: text/plain; charset=us-ascii\r\n")}}, kept...)
	}
	return kept
}

// described adds what a mail without MIME fields leaves unsaid about its body, so that the part made of it does not lie: the
// character set is UTF-8 when the bytes are that, and "unknown-8bit" (RFC 1428) when they are 8-bit and something else. What
// is all ASCII stays what RFC 2045 section 5.2 says it is. Of a long body only the beginning is looked at; one that is ASCII
// so far is called UTF-8, which ASCII is too. A mail with a Content-Type or a transfer encoding of its own stays as it is.
func (h header) described(body *bufio.Reader) header {
	encoding, err := h.transferEncoding()
	if h.has("Content-Type") || err != nil || encoding != "7bit" && encoding != "8bit" && encoding != "binary" {
		return h
	}
	head, err := body.Peek(body.Size()) // a failure of the reader comes again with the body
	ascii := !slices.ContainsFunc(head, func(c byte) bool { return c >= 0x80 })
	charset := "utf-8"
	switch {
	case ascii && err != nil:
		return h
	case !validUTF8(head, err != nil):
		charset = "unknown-8bit"
	}
	out := append(slices.Clone(h), field{"Content-Type", []byte("Content-Type: text/plain; charset=" + charset + "\r\n")})
	if encoding == "7bit" {
		out = out.withEncoding("8bit")
	}
	return out
}

// validUTF8 reports whether text is UTF-8; when it goes on, its last character may be cut short.
func validUTF8(text []byte, ended bool) bool {
	for n := 0; !ended && n < utf8.UTFMax-1 && len(text) > 0; n++ {
		if r, size := utf8.DecodeLastRune(text); r != utf8.RuneError || size != 1 {
			break
		}
		text = text[:len(text)-1]
	}
	return utf8.Valid(text)
}

// without returns the fields but the Content- fields and those named.
func (h header) without(names ...string) header {
	var kept header
	for _, f := range h {
		if !f.isContent() && !slices.ContainsFunc(names, f.is) {
			kept = append(kept, f)
		}
	}
	return kept
}

// append appends the fields as they are written out.
func (h header) append(b []byte) []byte {
	for _, f := range h {
		b = append(b, f.raw...)
	}
	return b
}

// readMailHeader reads the header of a mail. The line "From ..." that a mailbox file puts before it is dropped.
func readMailHeader(r *bufio.Reader) (header, error) {
	if first, _ := r.Peek(5); string(first) == "From " {
		if _, err := readLine(r, maxHeader); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return readHeader(r)
}

// readHeader reads a header and the empty line after it. Lines may end in LF or CRLF. The error wraps ErrHeader or comes
// from r.
func readHeader(r *bufio.Reader) (header, error) {
	var h header
	size := 0
	for number := 1; ; number++ {
		line, err := readLine(r, maxHeader-size)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if size += len(line) + 2; len(line) == 0 {
			return h, nil
		}
		if h, err = h.add(line, number); err != nil {
			return nil, err
		}
	}
}

// add adds one line: a field, or the continuation of the last one.
func (h header) add(line []byte, number int) (header, error) {
	if bytes.ContainsAny(line, "\r\x00") {
		return nil, fmt.Errorf("%w: line %d holds a carriage return or NUL", ErrHeader, number)
	}
	if line[0] == ' ' || line[0] == '\t' {
		if len(h) == 0 {
			return nil, fmt.Errorf("%w: it begins with the continuation of a field", ErrHeader)
		}
		last := &h[len(h)-1]
		last.raw = append(append(last.raw, line...), '\r', '\n')
		return h, nil
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, fmt.Errorf("%w: line %d is no field", ErrHeader, number)
	}
	if len(h) == maxFields {
		return nil, fmt.Errorf("%w: more than %d fields", ErrHeader, maxFields)
	}
	return append(h, field{string(name), append(bytes.Clone(line), '\r', '\n')}), nil
}

// readLine returns the next line without its end. At the end of r it returns what is left and io.EOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, fmt.Errorf("%w: longer than %d bytes", ErrHeader, maxHeader)
		}
		if err == nil && line == nil {
			line = part // stays valid until the next read; the callers copy
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read mail: %w", err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
	}
}

// mediaType is the Content-Type of a header: lower-case type and parameters, as far as they can be read. Without the
// field it is text/plain (RFC 2045 section 5.2). Two different answers to this question are an error.
func (h header) mediaType() (string, map[string]string, error) {
	values := h.values("Content-Type")
	switch len(values) {
	case 0:
		return "text/plain", nil, nil
	case 1:
	default:
		return "", nil, fmt.Errorf("%w: %d Content-Type fields", ErrHeader, len(values))
	}
	kind, params, err := mime.ParseMediaType(values[0])
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind, _, _ = strings.Cut(values[0], ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return kind, params, nil
}

// transferEncoding is the Content-Transfer-Encoding in lower case; 7bit without the field.
func (h header) transferEncoding() (string, error) {
	values := h.values("Content-Transfer-Encoding")
	if len(values) == 0 {
		return "7bit", nil
	}
	if len(values) > 1 {
		return "", fmt.Errorf("%w: %d Content-Transfer-Encoding fields", ErrHeader, len(values))
	}
	return strings.ToLower(values[0]), nil
}
