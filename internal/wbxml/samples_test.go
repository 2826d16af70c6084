package wbxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples returns the bytes of the documents in testdata whose names match.
func samples(t testing.TB, pattern string) map[string][]byte {
	files, err := filepath.Glob("testdata/samples/" + pattern + ".wbxml")
	if err != nil || len(files) == 0 {
		t.Fatalf("samples %s: %v, %d of them", pattern, err, len(files))
	}
	all := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".wbxml")] = data
	}
	return all
}

// text writes a document as the XML of the samples does, without white space.
func text(e *Element) string {
	var b strings.Builder
	b.WriteString("<" + e.Tag.String() + ">")
	_ = xml.EscapeText(&b, []byte(e.Text))
	for _, c := range e.Children {
		b.WriteString(text(c))
	}
	b.WriteString("</" + e.Tag.String() + ">")
	return b.String()
}

// normal reads XML and writes it as text does.
func normal(t *testing.T, data []byte) string {
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			b.WriteString("<" + token.Name.Space + ":" + token.Name.Local + ">")
		case xml.EndElement:
			b.WriteString("</" + token.Name.Space + ":" + token.Name.Local + ">")
		case xml.CharData:
			if strings.TrimSpace(string(token)) != "" {
				_ = xml.EscapeText(&b, token)
			}
		}
	}
}

// TestSamples decodes every good sample, compares it with its XML, and encodes it again to the same bytes.
func TestSamples(t *testing.T) {
	for name, data := range samples(t, "*") {
		if strings.HasPrefix(name, "bad-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			root, err := Unmarshal(data)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile("testdata/samples/" + name + ".xml")
			if err != nil {
				t.Fatal(err)
			}
			if got, want := text(root), normal(t, want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			again, err := Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			if name == "rr-request-publicid-in-strtab" {
				data = samples(t, "rr-request-full-certs")["rr-request-full-certs"]
			}
			if !bytes.Equal(again, data) {
				t.Errorf("encoded again it is\n%x\nnot\n%x", again, data)
			}
		})
	}
}

func TestBadSamples(t *testing.T) {
	want := map[string]error{"bad-truncated": io.ErrUnexpectedEOF, "bad-unclosed": io.ErrUnexpectedEOF, "bad-html": ErrSyntax}
	all := samples(t, "bad-*")
	if len(all) != len(want) {
		t.Fatalf("%d bad samples, %d known", len(all), len(want))
	}
	for name, data := range all {
		if _, err := Unmarshal(data); !errors.Is(err, want[name]) {
			t.Errorf("%s: %v, want %v", name, err, want[name])
		}
	}
	for name, data := range samples(t, "*") { // every good one, cut anywhere
		for i := range min(len(data), 300) {
			if root, err := Unmarshal(data[:i]); err == nil {
				t.Fatalf("%s cut at %d gave %s", name, i, text(root))
			}
		}
	}
}
