package wbxml

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Marshal writes a document with the header that Exchange writes and every server reads: version 1.3, no public
// identifier, UTF-8, no string table. Text comes before children. It is an error when text that is not Opaque holds a zero
// byte or is not UTF-8, when a token is none of an element, and when elements stand deeper than DefaultLimits.Depth.
func Marshal(root *Element) ([]byte, error) {
	e := encoder{}
	e.out.Write([]byte{version13, publicID, charsetUTF8, 0})
	if err := e.element(root, 1); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}

type encoder struct {
	out  bytes.Buffer
	page byte
}

func (e *encoder) element(el *Element, depth int) error {
	if el == nil || el.Tag.Token() < firstTag {
		return fmt.Errorf("write wbxml: an element without a tag")
	}
	if depth > DefaultLimits.Depth {
		return fmt.Errorf("write wbxml: %w: elements stand deeper than %d", ErrLimit, DefaultLimits.Depth)
	}
	if el.Tag.Page() != e.page {
		e.page = el.Tag.Page()
		e.out.Write([]byte{tokenSwitchPage, e.page})
	}
	if el.Text == "" && !el.Opaque && len(el.Children) == 0 {
		return e.out.WriteByte(el.Tag.Token())
	}
	e.out.WriteByte(el.Tag.Token() | bitContent)
	if err := e.text(el); err != nil {
		return err
	}
	for _, c := range el.Children {
		if err := e.element(c, depth+1); err != nil {
			return err
		}
	}
	return e.out.WriteByte(tokenEnd)
}

func (e *encoder) text(el *Element) error {
	switch {
	case el.Opaque:
		e.out.WriteByte(tokenOpaque)
		e.number(uint32(len(el.Text)))
		e.out.WriteString(el.Text)
	case el.Text == "":
	case strings.IndexByte(el.Text, 0) >= 0 || !utf8.ValidString(el.Text):
		return fmt.Errorf("write wbxml: the text of %s has a zero byte or is not UTF-8", el.Tag)
	default:
		e.out.WriteByte(tokenInline)
		e.out.WriteString(el.Text)
		e.out.WriteByte(0)
	}
	return nil
}

// number writes an mb_u_int32.
func (e *encoder) number(n uint32) {
	var b [5]byte
	i := len(b) - 1
	b[i] = byte(n & 0x7F)
	for n >>= 7; n > 0; n >>= 7 {
		i--
		b[i] = byte(n&0x7F) | 0x80
	}
	e.out.Write(b[i:])
}
