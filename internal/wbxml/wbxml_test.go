package wbxml

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func document(body ...byte) []byte { return append([]byte{3, 1, 106, 0}, body...) }

func TestUnmarshal(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want string
		err  error
	}{
		{"no content", document(0, 10, 0x05), "<ResolveRecipients:ResolveRecipients></ResolveRecipients:ResolveRecipients>", nil},
		{"the page is not nested", document(0, 10, 0x45, 0, 15, 0x4C, 3, '1', 0, 1, 0x0C, 1), "<ResolveRecipients:ResolveRecipients><Search:Status>1</Search:Status><Search:Status></Search:Status></ResolveRecipients:ResolveRecipients>", nil},
		{"switches in a row and at the end", document(0, 9, 0, 15, 0x45, 0, 16, 1, 0, 3), "<Search:Search></Search:Search>", nil},
		{"a switch within text", document(0, 15, 0x45, 3, 'a', 0, 0, 16, 3, 'b', 0, 1), "<Search:Search>ab</Search:Search>", nil},
		{"entity", document(0, 15, 0x45, 3, 'a', 0, 2, 0x81, 0x60, 2, 'b', 1), "<Search:Search>aàb</Search:Search>", nil},
		{"opaque", document(0, 15, 0x45, 0xC3, 3, 'a', 'b', 'c', 1), "<Search:Search>abc</Search:Search>", nil},
		{"string table", []byte{2, 1, 106, 6, 'o', 'n', 0, 't', 'w', 'o', 0, 15, 0x45, 0x83, 1, 0x83, 3, 1}, "<Search:Search>ntwo</Search:Search>", nil},
		{"unknown tag and page", document(0, 9, 0x45, 0x7F, 3, 'x', 0, 1, 1), "<page 9:token 0x05><page 9:token 0x3F>x</page 9:token 0x3F></page 9:token 0x05>", nil},
		{"text that is not UTF-8", document(0, 15, 0x45, 3, 'a', 0xFF, 0, 1), "<Search:Search>a\uFFFD</Search:Search>", nil},

		{"nothing", nil, "", io.ErrUnexpectedEOF},
		{"no root", document(), "", io.ErrUnexpectedEOF},
		{"only switches", document(0, 1, 0, 2), "", io.ErrUnexpectedEOF},
		{"old version", []byte{0, 1, 106, 0, 5}, "", ErrSyntax},
		{"other charset", []byte{3, 1, 4, 0, 5}, "", ErrSyntax},
		{"table longer than the document", []byte{3, 1, 106, 9, 0, 5}, "", io.ErrUnexpectedEOF},
		{"table out of bounds", []byte{3, 1, 106, 0xFF, 0xFF, 0x7F, 5}, "", ErrLimit},
		{"public identifier outside of the table", []byte{3, 0, 7, 106, 2, 'a', 0, 5}, "", ErrSyntax},
		{"reference outside of the table", document(0, 15, 0x45, 0x83, 0, 1), "", ErrSyntax},
		{"number too long", document(0, 15, 0x45, 0xC3, 0x81, 0x81, 0x81, 0x81, 0x81, 1), "", ErrSyntax},
		{"number over 32 bits", document(0, 15, 0x45, 0xC3, 0x9F, 0xFF, 0xFF, 0xFF, 0x7F, 1), "", ErrSyntax},
		{"opaque longer than the document", document(0, 15, 0x45, 0xC3, 5, 'a', 1), "", io.ErrUnexpectedEOF},
		{"opaque out of bounds", document(0, 15, 0x45, 0xC3, 0x8F, 0xFF, 0xFF, 0xFF, 0x7F, 1), "", ErrLimit},
		{"entity that is no character", document(0, 15, 0x45, 2, 0x8F, 0xFF, 0xFF, 0xFF, 0x7F, 1), "", ErrSyntax},
		{"string without an end", document(0, 15, 0x45, 3, 'a'), "", io.ErrUnexpectedEOF},
		{"attributes", document(0, 15, 0xC5, 1, 1), "", ErrSyntax},
		{"literal tag", document(0x44, 0, 1), "", ErrSyntax},
		{"processing instruction", document(0, 15, 0x45, 0x43, 1, 1), "", ErrSyntax},
		{"extension", document(0, 15, 0x45, 0x40, 'a', 0, 1), "", ErrSyntax},
		{"end before the root", document(1), "", ErrSyntax},
		{"text before the root", document(3, 'a', 0), "", ErrSyntax},
		{"two roots", document(0, 15, 0x05, 0x05), "", ErrSyntax},
		{"zeros after the root", document(0, 15, 0x05, 0), "", ErrSyntax},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root, err := Unmarshal(test.data)
			if !errors.Is(err, test.err) || (root == nil) != (test.err != nil) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if root != nil && text(root) != test.want {
				t.Errorf("got %s, want %s", text(root), test.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	l := Limits{Bytes: 100, Depth: 3, Elements: 4, StringTable: 10}
	tests := map[string][]byte{
		"bytes":    document(append(append([]byte{0, 15, 0x45, 3}, bytes.Repeat([]byte{'a'}, 100)...), 0, 1)...),
		"depth":    document(0, 15, 0x45, 0x45, 0x45, 0x45, 1, 1, 1, 1),
		"elements": document(0, 15, 0x45, 5, 5, 5, 5, 1),
		"table":    append([]byte{3, 1, 106, 11}, make([]byte, 11)...),
		"text":     append([]byte{3, 1, 106, 10, 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 0x45}, bytes.Repeat([]byte{0x83, 0}, 11)...),
	}
	for name, data := range tests {
		if _, err := l.Unmarshal(data); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Unmarshal(document(0, 15, 0x45, 0x45, 0x45, 1, 5, 1, 1)); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

// TestMemory holds that hostile documents cost memory in proportion to their limits and no more.
func TestMemory(t *testing.T) {
	table := append([]byte{3, 1, 106, 0x83, 0xFF, 0x7F}, bytes.Repeat([]byte{'a'}, 65535)...)
	hostile := map[string][]byte{
		"references": append(append(table, 0x45), bytes.Repeat([]byte{0x83, 0}, 1<<20)...),
		"elements":   document(append([]byte{0x45}, bytes.Repeat([]byte{5}, 1<<22)...)...),
		"depth":      document(bytes.Repeat([]byte{0x45}, 1<<22)...),
		"opaque":     document(0x45, 0xC3, 0x8F, 0xFF, 0xFF, 0x7F),
	}
	for name, data := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Unmarshal(data)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	deep := New(Search)
	for range DefaultLimits.Depth {
		deep = New(Search, deep)
	}
	for name, e := range map[string]*Element{
		"zero byte": NewText(SearchQuery, "a\x00b"), "not UTF-8": NewText(SearchQuery, "\xFF"),
		"no tag": {Tag: 0x0F01}, "nil": nil, "too deep": deep,
	} {
		if _, err := Marshal(e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestElement(t *testing.T) {
	e := New(Search, NewText(SearchStatus, "1"), nil, New(SearchResponse, New(SearchStore, NewText(SearchRange, "0-1"))), NewText(SearchStatus, "2"))
	if got := e.TextAt(SearchResponse, SearchStore, SearchRange); got != "0-1" {
		t.Errorf("range %q", got)
	}
	if got := e.TextAt(SearchResponse, SearchResult, SearchRange); got != "" {
		t.Errorf("beside the path %q", got)
	}
	var all []string
	for s := range e.All(SearchStatus) {
		all = append(all, s.Text)
	}
	if strings.Join(all, " ") != "1 2" || len(e.Children) != 3 {
		t.Errorf("statuses %v", all)
	}
	if Search.Known() == MakeTag(15, 6).Known() {
		t.Error("token 6 of page 15 is known")
	}
}

// FuzzUnmarshal: no panic, no document out of bounds, and what was read is written and read again to the same.
func FuzzUnmarshal(f *testing.F) {
	for _, data := range samples(f, "*") {
		f.Add(data)
	}
	f.Add(document(0, 15, 0x45, 0xC3, 3, 'a', 'b', 'c', 3, 'x', 0, 0x7F, 1, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := Limits{Bytes: 1 << 20, Elements: 5000}.Unmarshal(data)
		if err != nil {
			return
		}
		out, err := Marshal(root)
		if err != nil {
			if root.hasZero() {
				return
			}
			t.Fatalf("written again: %v", err)
		}
		again, err := Unmarshal(out)
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		if !reflect.DeepEqual(root, again) {
			t.Fatalf("%s\nbecame\n%s", text(root), text(again))
		}
	})
}

// hasZero reports text with a zero byte, which only an entity can have made.
func (e *Element) hasZero() bool {
	for _, c := range e.Children {
		if c.hasZero() {
			return true
		}
	}
	return !e.Opaque && strings.Contains(e.Text, "\x00")
}
