// Package wbxml reads and writes WAP Binary XML as Exchange ActiveSync uses it (MS-ASWBXML; WBXML 1.3, W3C note of
// 1999): no attributes, no literal tags, no extensions, UTF-8.
//
// A document is a tree of Elements. Whatever bytes a server sends, reading them costs a bounded amount of memory and
// time (Limits) and ends in a whole document or in an error, never in a part of one. Elements without a name here stay in
// the tree, known by page and token, so that a reader who asks for what it knows skips them.
package wbxml

import (
	"fmt"
	"iter"
)

// Tag is the code page of an element (high byte) and its token (low six bits).
type Tag uint16

// MakeTag is the tag with this token (5 to 63) on this page.
func MakeTag(page, token byte) Tag { return Tag(page)<<8 | Tag(token&tokenMask) }

// Page is the code page.
func (t Tag) Page() byte { return byte(t >> 8) }

// Token is the token on its page, without the content bit.
func (t Tag) Token() byte { return byte(t) & tokenMask }

// String is "Page:Element", with numbers for what has no name here: "page 9:token 0x12".
func (t Tag) String() string {
	page, ok := pageNames[t.Page()]
	if !ok {
		page = fmt.Sprintf("page %d", t.Page())
	}
	name, ok := elementNames[t]
	if !ok {
		name = fmt.Sprintf("token 0x%02X", t.Token())
	}
	return page + ":" + name
}

// Known reports whether the tag has a name here.
func (t Tag) Known() bool {
	_, ok := elementNames[t]
	return ok
}

// Element is one element of a document. Its methods may be called on nil, which is an element that is not there.
type Element struct {
	Tag Tag
	// Text is all character data directly in the element. Bytes that are not UTF-8 are replaced by U+FFFD when it is read,
	// unless Opaque is set: then Text holds the bytes of opaque data as they came.
	Text string
	// Opaque says that Text is opaque data (OPAQUE), and not a string.
	Opaque   bool
	Children []*Element
}

// New makes an element that holds others. Nil children are left out.
func New(tag Tag, children ...*Element) *Element {
	e := &Element{Tag: tag}
	for _, c := range children {
		if c != nil {
			e.Children = append(e.Children, c)
		}
	}
	return e
}

// NewText makes an element that holds text.
func NewText(tag Tag, text string) *Element { return &Element{Tag: tag, Text: text} }

// Child is the first child with this tag, or nil.
func (e *Element) Child(tag Tag) *Element {
	for c := range e.All(tag) {
		return c
	}
	return nil
}

// At follows a path of first children; nil when it breaks off.
func (e *Element) At(path ...Tag) *Element {
	for _, tag := range path {
		e = e.Child(tag)
	}
	return e
}

// TextAt is the text of the element at the end of a path; empty when there is none.
func (e *Element) TextAt(path ...Tag) string {
	if e = e.At(path...); e == nil {
		return ""
	}
	return e.Text
}

// All yields the children with this tag.
func (e *Element) All(tag Tag) iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		if e == nil {
			return
		}
		for _, c := range e.Children {
			if c.Tag == tag && !yield(c) {
				return
			}
		}
	}
}

// Global tokens (WBXML 1.3 section 7.1). Those that are not here are refused.
const (
	tokenSwitchPage = 0x00
	tokenEnd        = 0x01
	tokenEntity     = 0x02
	tokenInline     = 0x03 // STR_I
	tokenTable      = 0x83 // STR_T
	tokenOpaque     = 0xC3

	bitAttributes = 0x80
	bitContent    = 0x40
	tokenMask     = 0x3F
	firstTag      = 0x05 // tokens below are global on every page

	charsetUTF8 = 106 // MIBenum of IANA
	publicID    = 1   // "unknown or missing"
	version13   = 0x03
)
