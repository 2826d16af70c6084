package ews

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// reader reads the tokens of an answer within the bounds. Its methods descend: each takes the element whose start tag
// was read last, and returns behind its end tag.
type reader struct {
	dec           *xml.Decoder
	in            *input
	depth, tokens int
	// refused is a reason that the decoder would hide behind an error of its own.
	refused error
}

func newReader(in *input) *reader {
	r := &reader{dec: xml.NewDecoder(in), in: in}
	r.dec.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		if isUTF8(charset) {
			return input, nil
		}
		r.refused = refusedf("the answer is in %q; only UTF-8 is read", charset)
		return nil, r.refused
	}
	return r
}

// next returns the next token, checked against the bounds. Comments and processing instructions are dropped.
func (r *reader) next() (xml.Token, error) {
	for {
		r.in.next()
		t, err := r.dec.Token()
		if r.refused != nil {
			return nil, r.refused
		}
		if errors.Is(r.in.err, errRefused) {
			return nil, r.in.err // the decoder may complain of the half token that is left
		}
		if err != nil {
			return nil, err
		}
		if r.tokens++; r.tokens > r.in.maxTokens {
			return nil, refusedf("the answer has more than %d elements and texts", r.in.maxTokens)
		}
		switch t.(type) {
		case xml.StartElement:
			if r.depth++; r.depth > maxDepth {
				return nil, refusedf("the answer has more than %d elements inside each other", maxDepth)
			}
			if r.in.given-r.in.mark > maxTag {
				return nil, refusedf("a tag of the answer is longer than %d bytes", maxTag)
			}
		case xml.EndElement:
			r.depth--
		case xml.Directive:
			return nil, refusedf("the answer has a document type declaration, which no Exchange server sends")
		case xml.Comment, xml.ProcInst:
			continue
		}
		return t, nil
	}
}

// root returns the start tag of the outermost element.
func (r *reader) root() (xml.StartElement, error) {
	for {
		t, err := r.next()
		if errors.Is(err, io.EOF) {
			return xml.StartElement{}, errors.New("the answer is not XML")
		}
		if err != nil {
			return xml.StartElement{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t, nil
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return xml.StartElement{}, errors.New("the answer is not XML")
			}
		}
	}
}

// end reads what follows the outermost element: nothing but space.
func (r *reader) end() error {
	for {
		t, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text, ok := t.(xml.CharData); !ok || strings.TrimSpace(string(text)) != "" {
			return errors.New("something follows the end of the answer")
		}
	}
}

// children calls f with the start tag of each child. f reads that child to its end.
func (r *reader) children(f func(xml.StartElement) error) error {
	for {
		t, err := r.next()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := f(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// skip drops the element.
func (r *reader) skip() error {
	r.in.skipPlain()
	for until := r.depth - 1; r.depth > until; {
		t, err := r.next()
		if err != nil {
			return err
		}
		if _, ok := t.(xml.StartElement); ok {
			r.in.skipPlain()
		}
	}
	return nil
}

// text returns the text of the element, comments left out and children dropped. Of a text longer than limit bytes it
// returns the beginning and long.
func (r *reader) text(limit int) (s string, long bool, err error) {
	var b strings.Builder
	for {
		t, err := r.next()
		if err != nil {
			return "", false, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := r.skip(); err != nil {
				return "", false, err
			}
		case xml.EndElement:
			return b.String(), long, nil
		case xml.CharData:
			if room := limit - b.Len(); len(t) > room {
				t, long = t[:room], true
			}
			b.Write(t)
		}
	}
}

// word returns the text of the element without the space around it.
func (r *reader) word() (string, error) {
	s, _, err := r.text(maxText)
	return strings.TrimSpace(s), err
}

func attribute(e xml.StartElement, local string) (string, bool) {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

func unexpected(e xml.StartElement) error {
	return fmt.Errorf("the answer has the element %q", httpfault.Clean(e.Name.Local, 60))
}
