package keyring

import (
	"errors"
	"fmt"
)

// Some programs, NSS and BouncyCastle among them, write PFX files in BER (ITU-T X.690 section 8): indefinite lengths, and
// strings in pieces. encoding/asn1 reads DER only, so toDER makes definite, shortest lengths and joins the pieces of
// universal strings. What carries an implicit tag is left in pieces; only its reader knows that it is a string.

const (
	// maxBERDepth bounds nesting, maxBERElements how many elements there may be.
	maxBERDepth    = 32
	maxBERElements = 20000

	tagOctetString = 4
	constructed    = 0x20
)

var errBER = errors.New("it is not well-formed ASN.1")

// toDER converts one BER element and accepts nothing after it.
func toDER(ber []byte) ([]byte, error) {
	if len(ber) > 2*maxImport {
		return nil, errBER
	}
	r := berReader{left: maxBERElements}
	der, rest, err := r.element(ber, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: bytes follow its end", errBER)
	}
	return der, nil
}

type berReader struct{ left int }

// element converts the first element of in and returns what follows it.
func (r *berReader) element(in []byte, depth int) (der, rest []byte, err error) {
	if r.left--; r.left < 0 || depth > maxBERDepth {
		return nil, nil, fmt.Errorf("%w: nested too deeply or too many elements", errBER)
	}
	tag, length, header, err := berHeader(in)
	if err != nil {
		return nil, nil, err
	}
	body := in[header:]
	if length < 0 && tag[0]&constructed == 0 || length > len(body) {
		return nil, nil, errBER
	}
	if length >= 0 {
		body, rest = body[:length], body[length:]
	}
	if tag[0]&constructed == 0 {
		return appendElement(nil, tag, body), rest, nil
	}
	var content []byte
	join := tag[0] == tagOctetString|constructed
	for length < 0 || len(body) > 0 {
		if length < 0 && len(body) >= 2 && body[0] == 0 && body[1] == 0 {
			rest = body[2:]
			break
		}
		var child []byte
		if child, body, err = r.element(body, depth+1); err != nil {
			return nil, nil, err
		}
		if join {
			if child, err = octets(child); err != nil {
				return nil, nil, err
			}
		}
		content = append(content, child...)
	}
	if join {
		tag = []byte{tagOctetString}
	}
	return appendElement(nil, tag, content), rest, nil
}

// octets returns the content of a DER OCTET STRING.
func octets(der []byte) ([]byte, error) {
	tag, length, header, err := berHeader(der)
	if err != nil || tag[0] != tagOctetString || length != len(der)-header {
		return nil, fmt.Errorf("%w: a piece of a string is no string", errBER)
	}
	return der[header:], nil
}

// berHeader reads tag and length; an indefinite length is -1.
func berHeader(in []byte) (tag []byte, length, header int, err error) {
	if len(in) < 2 {
		return nil, 0, 0, errBER
	}
	n := 1
	if in[0]&0x1F == 0x1F { // high tag numbers: of no use in PKCS #12, kept in two bytes
		if n = 2; len(in) < 3 || in[1]&0x80 != 0 {
			return nil, 0, 0, errBER
		}
	}
	tag = in[:n]
	first := in[n]
	switch n++; {
	case first < 0x80:
		return tag, int(first), n, nil
	case first == 0x80:
		return tag, -1, n, nil
	case first > 0x84 || len(in) < n+int(first&0x7F):
		return nil, 0, 0, errBER
	}
	for _, b := range in[n : n+int(first&0x7F)] {
		length = length<<8 | int(b)
	}
	if length > 4*maxImport {
		return nil, 0, 0, errBER
	}
	return tag, length, n + int(first&0x7F), nil
}

// appendElement writes an element with the shortest definite length.
func appendElement(out, tag, content []byte) []byte {
	out = append(out, tag...)
	n := len(content)
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, content...)
}
