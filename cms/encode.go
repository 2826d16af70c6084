package cms

import (
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Identifier octets that CMS uses.
const (
	constructed     byte = 0x20
	tagInteger      byte = 0x02
	tagBitString    byte = 0x03
	tagOctetString  byte = 0x04
	tagOID          byte = 0x06
	tagSequence     byte = 0x30
	tagSet          byte = 0x31
	tagContext0     byte = 0x80
	tagContext1     byte = 0x81
	tagContext2     byte = 0x82
	indefinite      byte = 0x80 // as length octet
	maxHeaderLength      = 10
)

// appendHeader appends identifier and length octets in DER.
func appendHeader(dst []byte, tag byte, size int64) []byte {
	dst = append(dst, tag)
	if size < 0x80 {
		return append(dst, byte(size))
	}
	octets := 1
	for s := size >> 8; s > 0; s >>= 8 {
		octets++
	}
	dst = append(dst, 0x80|byte(octets))
	for ; octets > 0; octets-- {
		dst = append(dst, byte(size>>(8*(octets-1))))
	}
	return dst
}

// nest grows the bytes before and after streamed content from the inside out.
type nest struct {
	prefix, suffix []byte
	size           int64 // of the content; -1: unknown, every length is indefinite
}

// wrap puts an element around what is there; before and after stand inside it at its ends.
func (n *nest) wrap(tag byte, before, after []byte) {
	if n.size < 0 {
		n.prefix = slices.Concat([]byte{tag, indefinite}, before, n.prefix)
		n.suffix = slices.Concat(n.suffix, after, []byte{0, 0})
		return
	}
	inside := n.size + int64(len(before)+len(n.prefix)+len(n.suffix)+len(after))
	n.prefix = slices.Concat(appendHeader(nil, tag, inside), before, n.prefix)
	n.suffix = slices.Concat(n.suffix, after)
}

// octetWriter writes a buffer either bare, as a piece of a primitive string, or as OCTET STRING chunks with their own
// header. The room for the header stands before the body, so that each piece is one Write.
type octetWriter struct {
	w       io.Writer
	buf     []byte
	chunked bool
}

func newOctetWriter(w io.Writer, chunked bool) octetWriter {
	return octetWriter{w: w, buf: make([]byte, maxHeaderLength+writeChunk), chunked: chunked}
}

// body is where the caller puts the bytes of the next piece.
func (o *octetWriter) body() []byte { return o.buf[maxHeaderLength:] }

func (o *octetWriter) write(n int) error {
	if n == 0 {
		return nil
	}
	start := maxHeaderLength
	if o.chunked {
		var header [maxHeaderLength]byte
		h := appendHeader(header[:0], tagOctetString, int64(n))
		start -= copy(o.buf[maxHeaderLength-len(h):], h)
	}
	if _, err := o.w.Write(o.buf[start : maxHeaderLength+n]); err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	return nil
}

func encodeOID(oid asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(oid)
	return b.BytesOrPanic()
}

func encodeInt(v int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(v)
	return b.BytesOrPanic()
}

func encodeOctets(v []byte) []byte { return encodeElement(tagOctetString, v) }

// encodeElement puts a header before the concatenated content.
func encodeElement(tag byte, content ...[]byte) []byte {
	size := 0
	for _, c := range content {
		size += len(c)
	}
	out := appendHeader(make([]byte, 0, maxHeaderLength+size), tag, int64(size))
	for _, c := range content {
		out = append(out, c...)
	}
	return out
}

// encodeAlgorithm makes an AlgorithmIdentifier; nil parameters are absent.
func encodeAlgorithm(oid asn1.ObjectIdentifier, parameters []byte) []byte {
	return encodeElement(tagSequence, encodeOID(oid), parameters)
}

// encodeSetOf makes a SET OF in DER: elements in the order of their encodings (X.690 section 11.6). It reorders elements.
func encodeSetOf(elements [][]byte) []byte {
	slices.SortFunc(elements, slices.Compare[[]byte])
	return encodeElement(tagSet, elements...)
}

var asn1Null = []byte{byte(cryptobyte_asn1.NULL), 0}

func encodeBigInt(v *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(v)
	return b.BytesOrPanic()
}
