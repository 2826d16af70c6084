package cms

import "bytes"

// toDER rewrites a captured BER element with definite, shortest lengths and primitive OCTET STRINGs; what has that form
// already is returned as it is. It works in two linear passes. The input is bounded by its caller, the depth here.
func toDER(in []byte) ([]byte, error) {
	t := transcoder{}
	rest, size, err := t.measure(in, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, syntaxError("bytes after an element")
	}
	if !t.changed {
		return in, nil
	}
	t.out = make([]byte, 0, size)
	t.emit(in)
	return t.out, nil
}

// transcoder remembers the content sizes that measure finds, in the order in which emit needs them.
type transcoder struct {
	sizes   []int
	out     []byte
	changed bool
}

type element struct {
	tag        byte
	indefinite bool
	shortest   bool   // its length has the shortest form
	body       []byte // for the indefinite form everything that follows the header
	rest       []byte // for the definite form what follows the element
}

func parseElement(in []byte) (element, error) {
	if len(in) < 2 {
		return element{}, syntaxError("element ends early")
	}
	e := element{tag: in[0], shortest: true}
	if e.tag == 0 || e.tag&0x1f == 0x1f {
		return e, syntaxError("identifier octet %#02x", e.tag)
	}
	first, in := in[1], in[2:]
	length := int(first)
	switch {
	case first == indefinite && e.tag&constructed != 0:
		e.indefinite, e.body = true, in
		return e, nil
	case first == indefinite:
		return e, syntaxError("primitive element of indefinite length")
	case first > 0x80:
		octets := int(first & 0x7f)
		if octets > len(in) {
			return e, syntaxError("element ends early")
		}
		length = 0
		for _, c := range in[:octets] {
			if length = length<<8 | int(c); length > len(in) {
				return e, syntaxError("element is longer than the one around it")
			}
		}
		e.shortest = length >= 0x80 && in[0] != 0
		in = in[octets:]
	}
	if length > len(in) {
		return e, syntaxError("element is longer than the one around it")
	}
	e.body, e.rest = in[:length], in[length:]
	return e, nil
}

var endOfContents = []byte{0, 0}

// children calls visit for each element inside e and returns what follows e.
func (e *element) children(visit func(in []byte) (rest []byte, err error)) (rest []byte, err error) {
	in := e.body
	for {
		switch {
		case e.indefinite && bytes.HasPrefix(in, endOfContents):
			return in[len(endOfContents):], nil
		case !e.indefinite && len(in) == 0:
			return e.rest, nil
		}
		if in, err = visit(in); err != nil {
			return nil, err
		}
	}
}

// measure returns the size that the first element of in will have.
func (t *transcoder) measure(in []byte, depth int) (rest []byte, size int, err error) {
	if depth > maxDepth {
		return nil, 0, syntaxError("elements nested more than %d deep", maxDepth)
	}
	e, err := parseElement(in)
	if err != nil {
		return nil, 0, err
	}
	t.changed = t.changed || e.indefinite || !e.shortest || e.tag == tagOctetString|constructed
	slot := len(t.sizes)
	t.sizes = append(t.sizes, len(e.body))
	rest = e.rest
	if e.tag&constructed != 0 {
		inside := 0
		rest, err = e.children(func(in []byte) ([]byte, error) {
			rest, size, err := t.measureChild(&e, in, depth+1)
			inside += size
			return rest, err
		})
		if err != nil {
			return nil, 0, err
		}
		t.sizes[slot] = inside
	}
	return rest, headerSize(t.sizes[slot]) + t.sizes[slot], nil
}

// measureChild measures an element inside parent. Of a chunk of an OCTET STRING only the content counts.
func (t *transcoder) measureChild(parent *element, in []byte, depth int) (rest []byte, size int, err error) {
	if parent.tag != tagOctetString|constructed {
		return t.measure(in, depth)
	}
	if len(in) == 0 || in[0]&^constructed != tagOctetString {
		return nil, 0, syntaxError("chunk of an octet string is something else")
	}
	slot := len(t.sizes)
	rest, _, err = t.measure(in, depth)
	if err != nil {
		return nil, 0, err
	}
	return rest, t.sizes[slot], nil
}

// emit writes the first element of in, which measure has seen.
func (t *transcoder) emit(in []byte) (rest []byte) {
	e, _ := parseElement(in)
	size := t.sizes[0]
	if e.tag == tagOctetString|constructed {
		t.out = appendHeader(t.out, tagOctetString, int64(size))
		return t.emitChunks(in)
	}
	t.sizes = t.sizes[1:]
	t.out = appendHeader(t.out, e.tag, int64(size))
	if e.tag&constructed == 0 {
		t.out = append(t.out, e.body...)
		return e.rest
	}
	rest, _ = e.children(func(in []byte) ([]byte, error) { return t.emit(in), nil })
	return rest
}

// emitChunks writes the content of an OCTET STRING and of the chunks in it.
func (t *transcoder) emitChunks(in []byte) (rest []byte) {
	e, _ := parseElement(in)
	t.sizes = t.sizes[1:]
	if e.tag&constructed == 0 {
		t.out = append(t.out, e.body...)
		return e.rest
	}
	rest, _ = e.children(func(in []byte) ([]byte, error) { return t.emitChunks(in), nil })
	return rest
}

func headerSize(size int) int {
	n := 2
	if size >= 0x80 {
		for ; size > 0; size >>= 8 {
			n++
		}
	}
	return n
}
