package cms

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestElement(t *testing.T) {
	tests := map[string]struct{ in, out string }{
		"primitive":                 {"0401aa", "0401aa"},
		"long form of a length":     {"048101aa", "0401aa"},
		"longer form":               {"04840000000 1aa", "0401aa"},
		"sequence":                  {"3003020101", "3003020101"},
		"indefinite sequence":       {"30800201010000", "3003020101"},
		"indefinite in indefinite":  {"3080 3080 020101 0000 0000", "30053003020101"},
		"definite in indefinite":    {"3080 3003020101 0000", "30053003020101"},
		"indefinite in definite":    {"3007 3080 020101 0000", "30053003020101"},
		"empty indefinite":          {"30800000", "3000"},
		"chunks":                    {"2480 0401aa 0402bbcc 0000", "0403aabbcc"},
		"chunks of definite length": {"2407 0401aa 0402bbcc", "0403aabbcc"},
		"chunks in chunks":          {"2480 2480 0401aa 0000 2403 0401bb 0400 0000", "0402aabb"},
		"chunks inside":             {"3080 020101 2480 0401aa 0000 050 0 0000", "30080201010401aa0500"},
		"no chunks":                 {"24800000", "0400"},
		"context tags":              {"a080 8001aa 0000", "a0038001aa"},
	}
	for name, test := range tests {
		for reader, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "one byte": iotest.OneByteReader} {
			b := newReader(wrap(bytes.NewReader(append(unhex(t, test.in), 0x42))), maxLength)
			got, err := b.element(1000, "test")
			if err != nil || !bytes.Equal(got, unhex(t, test.out)) {
				t.Errorf("%s, %s: %x, %v", name, reader, got, err)
			}
			if next, _ := b.r.ReadByte(); next != 0x42 {
				t.Errorf("%s, %s: the reader stands at %#x", name, reader, next)
			}
		}
	}
}

func TestElementRefuses(t *testing.T) {
	tests := map[string]string{
		"nothing":                     "",
		"only a tag":                  "30",
		"no content":                  "3003",
		"cut content":                 "30030201",
		"primitive indefinite":        "0480 0000",
		"high tag number":             "1f8101 00",
		"end of contents at the top":  "0000",
		"no end of contents":          "3080 020101",
		"damaged end of contents":     "3080 020101 0001",
		"child longer than parent":    "3003 020401 01",
		"child longer, indefinite":    "3080 3004 0205 0000",
		"wrong chunk":                 "2480 020101 0000",
		"end of contents in definite": "3002 0000",
		"length of 126 octets":        "30fe01",
		"length without octets":       "3085",
	}
	for name, in := range tests {
		if got, err := newReader(bytes.NewReader(unhex(t, in)), maxLength).element(1000, "test"); !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	deep := append(bytes.Repeat([]byte{0x30, 0x80}, maxDepth+1), make([]byte, 2*maxDepth+2)...)
	if _, err := newReader(bytes.NewReader(deep), maxLength).element(1000, "test"); !errors.Is(err, ErrSyntax) {
		t.Errorf("%d deep: %v", maxDepth+1, err)
	}
	if _, err := newReader(bytes.NewReader(deep[2:len(deep)-2]), maxLength).element(1000, "test"); err != nil {
		t.Errorf("%d deep: %v", maxDepth, err)
	}
	definite := []byte{5, 0}
	for range maxDepth + 2 {
		definite = encodeElement(tagSequence, definite)
	}
	if _, err := newReader(bytes.NewReader(definite), maxLength).element(1000, "test"); !errors.Is(err, ErrSyntax) {
		t.Errorf("definite, too deep: %v", err)
	}
	if _, err := newReader(bytes.NewReader(unhex(t, "0405 0102030405")), maxLength).element(4, "test"); !errors.Is(err, ErrSyntax) {
		t.Errorf("longer than allowed: %v", err)
	}
}

// TestTranscode: random trees in a random form of BER come back as their DER.
func TestTranscode(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		der := randomTree(r, 5)
		got, err := newReader(bytes.NewReader(randomBER(r, der)), maxLength).element(1<<20, "test")
		if err != nil || !bytes.Equal(got, der) {
			t.Fatalf("%x: %x, %v", der, got, err)
		}
		same, err := toDER(der)
		if err != nil || &same[0] != &der[0] {
			t.Fatalf("%x is copied or refused: %v", der, err)
		}
	}
}

func randomTree(r *rand.Rand, depth int) []byte {
	if depth == 0 || r.IntN(3) == 0 {
		size := r.IntN(8)
		if r.IntN(20) == 0 {
			size = r.IntN(70000)
		}
		return encodeElement([]byte{tagOctetString, tagInteger, tagContext0, tagOID}[r.IntN(4)], make([]byte, size))
	}
	var parts [][]byte
	for range r.IntN(5) {
		parts = append(parts, randomTree(r, depth-1))
	}
	return encodeElement([]byte{tagSequence, tagSet, tagContext0 | constructed}[r.IntN(3)], parts...)
}

func randomBER(r *rand.Rand, der []byte) []byte {
	e, err := parseElement(der)
	if err != nil {
		panic(err)
	}
	body := e.body
	tag := e.tag
	if tag&constructed != 0 {
		var inside []byte
		for rest := body; len(rest) > 0; {
			child, _ := parseElement(rest)
			inside = append(inside, randomBER(r, rest[:len(rest)-len(child.rest)])...)
			rest = child.rest
		}
		body = inside
	} else if tag == tagOctetString && r.IntN(3) == 0 {
		tag |= constructed
		body = randomChunks(r, body, 3)
	}
	if tag&constructed != 0 && r.IntN(2) == 0 {
		return append(append([]byte{tag, indefinite}, body...), 0, 0)
	}
	if r.IntN(3) == 0 {
		n := len(body)
		return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
	return encodeElement(tag, body)
}

// randomChunks cuts an octet string into chunks, some of them again in chunks.
func randomChunks(r *rand.Rand, content []byte, depth int) []byte {
	var out []byte
	for len(content) > 0 {
		n := 1 + r.IntN(len(content))
		if depth > 0 && r.IntN(3) == 0 {
			out = append(out, tagOctetString|constructed, indefinite)
			out = append(append(out, randomChunks(r, content[:n], depth-1)...), 0, 0)
		} else {
			out = append(out, encodeOctets(content[:n])...)
		}
		content = content[n:]
	}
	return out
}

// TestOctets: content comes out of random chunks as it went in.
func TestOctets(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		content := text(r.IntN(3000))
		in := append([]byte{tagContext0 | constructed, indefinite}, randomChunks(r, content, 5)...)
		in = append(in, 0, 0, 0x42)
		b := newReader(iotest.HalfReader(bytes.NewReader(in)), maxLength)
		o, err := b.octets(tagContext0, int64(len(content)), "test")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if next, _ := b.r.ReadByte(); err != nil || !bytes.Equal(got, content) || next != 0x42 {
			t.Fatalf("%d bytes: %d, %v", len(content), len(got), err)
		}
		if len(content) == 0 {
			continue
		}
		b = newReader(bytes.NewReader(in), maxLength)
		if o, err = b.octets(tagContext0, int64(len(content))-1, "test"); err == nil {
			_, err = io.ReadAll(o)
		}
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("one byte above the limit: %v", err)
		}
	}
}
