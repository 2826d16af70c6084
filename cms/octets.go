package cms

import "io"

// octets is the content of an OCTET STRING as a stream: primitive, or constructed of chunks that may be nested (X.690
// section 8.7). After io.EOF the reader below stands behind the string.
type octets struct {
	b    *reader
	base int   // depth at which the string began
	left int64 // of the current primitive chunk
	room int64 // of the caller's limit
	size int64 // declared length of a primitive string, else -1
	err  error
}

// octets opens the next element, whose identifier octet is tag or its constructed form. More than limit bytes of content
// are ErrTooLarge.
func (b *reader) octets(tag byte, limit int64, what string) (*octets, error) {
	o := &octets{b: b, base: b.depth, room: limit, size: -1}
	t, length, err := b.header()
	if err != nil {
		return nil, err
	}
	switch t {
	case tag:
		o.size = length
		return o, o.chunk(length)
	case tag | constructed:
		return o, b.push(length)
	}
	return nil, syntaxError("%s: identifier octet %#02x", what, t)
}

func (o *octets) chunk(length int64) error {
	if length > o.room {
		return ErrTooLarge
	}
	if err := o.b.claim(length); err != nil {
		return err
	}
	o.left = length
	o.room -= length
	return nil
}

func (o *octets) Read(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	for o.left == 0 {
		if o.err = o.advance(); o.err != nil {
			return 0, o.err
		}
	}
	n, err := o.b.r.Read(p[:min(int64(len(p)), o.left)])
	o.left -= int64(n)
	if err != nil {
		o.err = readError(err)
	}
	return n, o.err
}

// advance goes to the next chunk, or returns io.EOF behind the string.
func (o *octets) advance() error {
	if o.b.depth == o.base {
		return io.EOF
	}
	tag, ok, err := o.b.peek()
	if err != nil {
		return err
	}
	if !ok {
		return o.b.leave("octet string")
	}
	if tag&^constructed != tagOctetString {
		return syntaxError("octet string: chunk with identifier octet %#02x", tag)
	}
	_, length, err := o.b.header()
	if err != nil {
		return err
	}
	if tag == tagOctetString {
		return o.chunk(length)
	}
	return o.b.push(length)
}
