package wbxml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits bound a document that is read. A zero field takes its value from DefaultLimits.
type Limits struct {
	// Bytes bounds the document, and also all text in it together, which references into the string table can make longer
	// than the document.
	Bytes int
	// Depth bounds how deep elements stand in each other; the root has depth 1.
	Depth int
	// Elements bounds their number.
	Elements int
	// StringTable bounds the string table.
	StringTable int
}

// DefaultLimits hold for every answer of ActiveSync about address books: 9999 certificates of 2 KiB in base64 fit.
var DefaultLimits = Limits{Bytes: 32 << 20, Depth: 32, Elements: 200_000, StringTable: 64 << 10}

func (l Limits) orDefault() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.Bytes, DefaultLimits.Bytes)
	set(&l.Depth, DefaultLimits.Depth)
	set(&l.Elements, DefaultLimits.Elements)
	set(&l.StringTable, DefaultLimits.StringTable)
	return l
}

// Errors of Unmarshal; the error says where.
var (
	// ErrLimit is wrapped when a document is larger than Limits.
	ErrLimit = errors.New("the document is larger than allowed")
	// ErrSyntax is wrapped when bytes are not WBXML of ActiveSync.
	ErrSyntax = errors.New("not a WBXML document of ActiveSync")
)

// Unmarshal reads one document within DefaultLimits. A document that is cut off gives io.ErrUnexpectedEOF, wrapped.
func Unmarshal(data []byte) (*Element, error) { return Limits{}.Unmarshal(data) }

// Unmarshal reads one document within the limits.
func (l Limits) Unmarshal(data []byte) (*Element, error) {
	d := decoder{data: data, limits: l.orDefault()}
	if len(data) > d.limits.Bytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrLimit, d.limits.Bytes)
	}
	root, err := d.document()
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", d.at, err)
	}
	return root, nil
}

// decoder is one document being read.
type decoder struct {
	data     []byte
	at       int
	limits   Limits
	table    []byte
	page     byte
	elements int
	text     int // bytes of text so far
}

func (d *decoder) document() (*Element, error) {
	if err := d.header(); err != nil {
		return nil, err
	}
	for {
		b, err := d.byte()
		if err != nil {
			return nil, err
		}
		if b == tokenSwitchPage {
			if d.page, err = d.byte(); err != nil {
				return nil, err
			}
			continue
		}
		root, err := d.tree(b)
		if err != nil {
			return nil, err
		}
		return root, d.trailer()
	}
}

// header reads version, public identifier, charset and string table (WBXML 1.3 section 5.4).
func (d *decoder) header() error {
	version, err := d.byte()
	if err != nil {
		return err
	}
	if version < 1 || version > version13 {
		return syntaxf("the first byte is 0x%02X, not a version of WBXML", version)
	}
	public, err := d.number()
	if err != nil {
		return err
	}
	var index uint32
	if public == 0 {
		if index, err = d.number(); err != nil {
			return err
		}
	}
	charset, err := d.number()
	if err != nil {
		return err
	}
	if charset != charsetUTF8 {
		return syntaxf("the character set is %d, not UTF-8 (106)", charset)
	}
	length, err := d.number()
	if err != nil {
		return err
	}
	if int64(length) > int64(d.limits.StringTable) {
		return fmt.Errorf("%w: a string table of %d bytes", ErrLimit, length)
	}
	if d.table, err = d.bytes(int(length)); err != nil {
		return err
	}
	if public == 0 {
		_, err = d.tableString(index)
	}
	return err
}

// open is an element whose end was not read yet, and its text so far.
type open struct {
	element *Element
	text    []byte
}

// tree reads the element that begins with the tag byte b, and all in it.
func (d *decoder) tree(b byte) (*Element, error) {
	root, content, err := d.element(b)
	if err != nil || !content {
		return root, err
	}
	stack := []open{{element: root}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		b, err := d.byte()
		if err != nil {
			return nil, err
		}
		switch b {
		case tokenSwitchPage:
			d.page, err = d.byte()
		case tokenEnd:
			top.close()
			stack = stack[:len(stack)-1]
		case tokenEntity, tokenInline, tokenTable, tokenOpaque:
			err = d.characters(b, top)
		default:
			var child *Element
			if child, content, err = d.element(b); err != nil {
				break
			}
			top.element.Children = append(top.element.Children, child)
			if !content {
				break
			}
			if len(stack) == d.limits.Depth {
				return nil, fmt.Errorf("%w: elements stand deeper than %d", ErrLimit, d.limits.Depth)
			}
			stack = append(stack, open{element: child})
		}
		if err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (o *open) close() {
	o.element.Text = string(o.text)
	if !o.element.Opaque && !utf8.Valid(o.text) {
		o.element.Text = strings.ToValidUTF8(o.element.Text, string(utf8.RuneError))
	}
}

// element makes the element of a tag byte; content says that text or children follow.
func (d *decoder) element(b byte) (e *Element, content bool, err error) {
	if b&bitAttributes != 0 || b&tokenMask < firstTag {
		return nil, false, syntaxf("the token 0x%02X has no meaning in ActiveSync", b)
	}
	if d.elements++; d.elements > d.limits.Elements {
		return nil, false, fmt.Errorf("%w: more than %d elements", ErrLimit, d.limits.Elements)
	}
	return &Element{Tag: MakeTag(d.page, b)}, b&bitContent != 0, nil
}

// characters adds a string, a character or opaque data to an element.
func (d *decoder) characters(b byte, o *open) error {
	var text []byte
	var n uint32
	var err error
	if b != tokenInline {
		if n, err = d.number(); err != nil {
			return err
		}
	}
	switch b {
	case tokenInline:
		text, err = d.inline()
	case tokenTable:
		text, err = d.tableString(n)
	case tokenEntity:
		if n > utf8.MaxRune {
			return syntaxf("the entity %d is not a character", n)
		}
		text = utf8.AppendRune(nil, rune(n))
	case tokenOpaque:
		if int64(n) > int64(d.limits.Bytes) {
			return fmt.Errorf("%w: opaque data of %d bytes", ErrLimit, n)
		}
		o.element.Opaque = true
		text, err = d.bytes(int(n))
	}
	if err != nil {
		return err
	}
	if d.text += len(text); d.text > d.limits.Bytes {
		return fmt.Errorf("%w: more than %d bytes of text", ErrLimit, d.limits.Bytes)
	}
	if o.text == nil {
		o.text = text[:len(text):len(text)] // most elements have one string: no copy of it but the last
		return nil
	}
	o.text = append(o.text, text...)
	return nil
}

// trailer accepts nothing after the root but page switches.
func (d *decoder) trailer() error {
	for d.at < len(d.data) {
		if d.data[d.at] != tokenSwitchPage || d.at+2 > len(d.data) {
			return syntaxf("%d bytes follow the document", len(d.data)-d.at)
		}
		d.at += 2
	}
	return nil
}

func (d *decoder) byte() (byte, error) {
	if d.at >= len(d.data) {
		return 0, io.ErrUnexpectedEOF
	}
	d.at++
	return d.data[d.at-1], nil
}

// bytes returns the next n bytes, which stay part of the document.
func (d *decoder) bytes(n int) ([]byte, error) {
	if n > len(d.data)-d.at {
		return nil, io.ErrUnexpectedEOF
	}
	d.at += n
	return d.data[d.at-n : d.at : d.at], nil
}

// number reads an mb_u_int32 (WBXML 1.3 section 5.1): seven bits a byte, at most five bytes.
func (d *decoder) number() (uint32, error) {
	var n uint64
	for range 5 {
		b, err := d.byte()
		if err != nil {
			return 0, err
		}
		if n = n<<7 | uint64(b&0x7F); b&0x80 == 0 {
			if n > 1<<32-1 {
				break
			}
			return uint32(n), nil
		}
	}
	return 0, syntaxf("a number is longer than 32 bits")
}

// inline reads a string up to its zero byte.
func (d *decoder) inline() ([]byte, error) {
	text, ok := cut(d.data[d.at:])
	if !ok {
		d.at = len(d.data)
		return nil, io.ErrUnexpectedEOF
	}
	d.at += len(text) + 1
	return text, nil
}

// tableString is the string that begins at an index of the string table. The last one may lack its zero byte.
func (d *decoder) tableString(index uint32) ([]byte, error) {
	if int64(index) >= int64(len(d.table)) {
		return nil, syntaxf("the string table has %d bytes, none at %d", len(d.table), index)
	}
	text, _ := cut(d.table[index:])
	return text, nil
}

func syntaxf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSyntax}, args...)...)
}

// cut returns b up to its first zero byte, or all of it and false.
func cut(b []byte) ([]byte, bool) {
	before, _, found := bytes.Cut(b, []byte{0})
	return before, found
}
