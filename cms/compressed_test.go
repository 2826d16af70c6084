package cms

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"
)

// compress makes a CompressedData; with chunks its content is an indefinite string.
func compress(t testing.TB, content []byte, chunks bool) []byte {
	t.Helper()
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return compressedData(z.Bytes(), chunks)
}

func compressedData(z []byte, chunks bool) []byte {
	octets := encodeOctets(z)
	if chunks {
		half := len(z) / 2
		octets = encodeElement(tagOctetString|constructed, encodeOctets(z[:half]), encodeOctets(z[half:]))
	}
	return encodeElement(tagSequence, encodeOID(oidCompressedData), encodeElement(tagContext0|constructed, encodeElement(tagSequence,
		encodeInt(0), encodeAlgorithm(oidZlib, nil),
		encodeElement(tagSequence, encodeOID(oidData), encodeElement(tagContext0|constructed, octets)))))
}

func TestDecompress(t *testing.T) {
	for _, content := range []string{"", "x", strings.Repeat("a line of a mail\r\n", 10000)} {
		for _, chunks := range []bool{false, true} {
			var out bytes.Buffer
			if err := Decompress(bytes.NewReader(compress(t, []byte(content), chunks)), &out, 0); err != nil || out.String() != content {
				t.Errorf("%d bytes, chunks %v: %v, got %d", len(content), chunks, err, out.Len())
			}
		}
	}
	good := compress(t, []byte("hello"), false)
	bomb := compress(t, make([]byte, 64<<20), false)
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	zw.Close()
	for name, tc := range map[string]struct {
		data []byte
		max  int64
		want error
	}{
		"bomb":                  {bomb, 0, ErrTooLarge},
		"limit":                 {good, 4, ErrTooLarge},
		"cut":                   {good[:len(good)-3], 0, ErrSyntax},
		"bytes after":           {append(bytes.Clone(good), 0), 0, ErrSyntax},
		"bytes after zlib":      {compressedData(append(z.Bytes(), 0), false), 0, ErrSyntax},
		"checksum":              {bytes.Replace(good, good[len(good)-4:], []byte("xxxx"), 1), 0, ErrSyntax},
		"no zlib":               {compressedData([]byte("nonsense"), false), 0, ErrSyntax},
		"another algorithm":     {bytes.Replace(good, encodeOID(oidZlib), encodeOID(oidData), 1), 0, ErrSyntax},
		"empty":                 {nil, 0, ErrSyntax},
		"SignedData":            {[]byte{0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}, 0, ErrSyntax},
		"algorithm of own kind": {bytes.Replace(good, encodeOID(oidZlib), encodeOID(oidCompressedData), 1), 0, ErrSyntax},
	} {
		var size counter
		err := Decompress(bytes.NewReader(tc.data), &size, tc.max)
		if !errors.Is(err, tc.want) && !errors.Is(err, ErrUnsupported) || err == nil {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if size > 16<<20 {
			t.Errorf("%s: %d bytes were written", name, size)
		}
	}
	boom := errors.New("boom")
	if err := Decompress(io.MultiReader(bytes.NewReader(good[:50]), errorReader{boom}), io.Discard, 0); !errors.Is(err, boom) {
		t.Errorf("reader that fails: %v", err)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

func FuzzDecompress(f *testing.F) {
	f.Add(compress(f, []byte("hello"), false))
	f.Add(compress(f, []byte("hello hello hello"), true))
	f.Fuzz(func(t *testing.T, data []byte) {
		var size counter
		if err := Decompress(bytes.NewReader(data), &size, 1<<20); err == nil && size > 1<<20 {
			t.Errorf("%d bytes", size)
		}
	})
}
