package xmltree

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for _, tc := range []struct{ name, text, err string }{
		{"plain", `<?xml version="1.0"?><!-- x --><a xmlns="n" b="1"><c>  text </c><c/></a>` + "\n", ""},
		{"byte order mark", "\ufeff<a/>", ""},
		{"as deep as allowed", strings.Repeat("<a>", MaxDepth) + strings.Repeat("</a>", MaxDepth), ""},
		{"deeper", strings.Repeat("<a>", MaxDepth+1) + strings.Repeat("</a>", MaxDepth+1), "inside each other"},
		{"as many as allowed", "<a>" + strings.Repeat("<b/>", MaxElements-1) + "</a>", ""},
		{"more", "<a>" + strings.Repeat("<b/>", MaxElements) + "</a>", "more than 4096 elements"},
		{"much text", "<a>" + strings.Repeat("x", MaxText) + "</a>", ""},
		{"more text", "<a>" + strings.Repeat("x", MaxText) + "<b/>y</a>", "bytes of text"},
		{"much white space", "<a>" + strings.Repeat(strings.Repeat(" ", MaxText)+"<b/>", 3) + "</a>", ""},
		{"nothing", "", "not well-formed"},
		{"no element", "<?xml version='1.0'?>", "not well-formed"},
		{"cut", "<a><b></b>", "not well-formed"},
		{"two documents", "<a/><a/>", "not well-formed"},
		{"text after it", "<a/>b", "not well-formed"},
		{"wrong end", "<a></b>", "not well-formed"},
		{"document type", `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, "document type declaration"},
		{"entity", "<a>&b;</a>", "not well-formed"},
	} {
		root, err := Read([]byte(tc.text))
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if (err == nil) != (root != nil) {
			t.Errorf("%s: %v with %v", tc.name, root, err)
		}
	}
}

func TestElement(t *testing.T) {
	root, err := Read([]byte(`<a xmlns="n" xmlns:o="p" b="1" o:c="2"><d> x </d><o:d>y</o:d><e/></a>`))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := root.Attr("b"); !ok || v != "1" {
		t.Errorf("b is %q, %v", v, ok)
	}
	if v, ok := root.Attr("c"); ok {
		t.Errorf("an attribute of another namespace: %q", v)
	}
	if !root.Is("n", "a") || root.Is("p", "a") || !root.All("d")[1].Is("p", "d") {
		t.Error("namespaces are mixed up")
	}
	if len(root.All("d")) != 2 || root.Value("d") != "x" || root.Child("no").Child("no").Value("no") != "" {
		t.Errorf("%d children, %q", len(root.All("d")), root.Value("d"))
	}
}

// FuzzRead: no document makes a tree beyond the limits.
func FuzzRead(f *testing.F) {
	f.Add([]byte("<a b='1'><c>text</c></a>"))
	f.Add([]byte("\ufeff<?xml version='1.0'?><a><![CDATA[x]]></a>"))
	f.Add([]byte("<!DOCTYPE a><a/>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := Read(b)
		if err != nil {
			return
		}
		count := 0
		var walk func(e *Element, depth int)
		walk = func(e *Element, depth int) {
			if count++; count > MaxElements || depth > MaxDepth || len(e.Text) > MaxText {
				t.Fatalf("element %d, depth %d, %d bytes of text", count, depth, len(e.Text))
			}
			for _, c := range e.Children {
				walk(c, depth+1)
			}
		}
		walk(root, 1)
	})
}
