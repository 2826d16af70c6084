// Package xmltree reads small XML documents from outside as trees, within strict limits. Messages of Exchange Web Services,
// which are large, are read by package ews.
package xmltree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of a document, besides the size that its reader allows.
const (
	MaxDepth    = 32
	MaxElements = 4096
	MaxText     = 8 << 10 // bytes of the text of one element
)

// Element is one element with the text directly in it.
type Element struct {
	Name     xml.Name
	Attrs    []xml.Attr
	Text     string
	Children []*Element
}

// Read reads a whole document. Document type declarations are refused, and with them all entities but the five of XML.
// Every error is a clause about the document.
func Read(b []byte) (*Element, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	var t tree
	for {
		token, err := d.Token()
		if err != nil {
			return t.whole(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			err = t.open(token)
		case xml.EndElement:
			t.stack = t.stack[:len(t.stack)-1]
		case xml.CharData:
			err = t.add(token)
		case xml.Directive:
			err = errors.New("a document type declaration, which is refused")
		}
		if err != nil {
			return nil, err
		}
	}
}

var errMalformed = errors.New("not well-formed XML")

// tree is a document that is being read.
type tree struct {
	root  *Element
	stack []*Element // the open elements, from the root on
	count int
}

// whole is the document when err says that it ended.
func (t *tree) whole(err error) (*Element, error) {
	if !errors.Is(err, io.EOF) || t.root == nil || len(t.stack) > 0 {
		return nil, errMalformed // what the decoder says quotes the document
	}
	return t.root, nil
}

func (t *tree) open(start xml.StartElement) error {
	if t.count++; t.count > MaxElements || len(t.stack) >= MaxDepth {
		return fmt.Errorf("more than %d elements, or %d inside each other", MaxElements, MaxDepth)
	}
	e := &Element{Name: start.Name, Attrs: slices.Clone(start.Attr)}
	switch {
	case len(t.stack) > 0:
		parent := t.stack[len(t.stack)-1]
		parent.Children = append(parent.Children, e)
	case t.root != nil:
		return errMalformed
	default:
		t.root = e
	}
	t.stack = append(t.stack, e)
	return nil
}

// add adds text to the innermost element. White space beyond the limit is layout, and dropped.
func (t *tree) add(text []byte) error {
	blank := len(bytes.TrimSpace(text)) == 0
	if len(t.stack) == 0 {
		if !blank {
			return errMalformed
		}
		return nil
	}
	e := t.stack[len(t.stack)-1]
	if len(e.Text)+len(text) <= MaxText {
		e.Text += string(text)
	} else if !blank {
		return fmt.Errorf("more than %d bytes of text in one element", MaxText)
	}
	return nil
}

// Is reports whether e has this namespace and name.
func (e *Element) Is(space, local string) bool { return e.Name.Space == space && e.Name.Local == local }

// Attr is the value of an attribute without namespace.
func (e *Element) Attr(local string) (string, bool) {
	for _, a := range e.Attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// All are the children of a name, in whatever namespace.
func (e *Element) All(local string) []*Element {
	var found []*Element
	for _, c := range e.Children {
		if c.Name.Local == local {
			found = append(found, c)
		}
	}
	return found
}

// Child is the first of All; a missing one is an empty element, so that paths can be followed blindly.
func (e *Element) Child(local string) *Element {
	if found := e.All(local); len(found) > 0 {
		return found[0]
	}
	return &Element{}
}

// Value is the text of a child without white space around it.
func (e *Element) Value(local string) string { return strings.TrimSpace(e.Child(local).Text) }
