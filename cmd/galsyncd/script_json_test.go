package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// cmdJSON looks into the last standard output, which must be one JSON document. PATH is names and indexes with dots
// between them ("recipients.0.state"), with len at the end for a length; "." is the document. OP is ==, !=, <, <=, >, >=
// for numbers and texts, ~ for a regular expression, "has" and "lacks" for members.
func cmdJSON(w *world, neg bool, args []string) {
	if neg || len(args) < 2 {
		w.Fatalf("usage: json PATH OP [VALUE]")
	}
	var document any
	d := json.NewDecoder(bytes.NewReader([]byte(w.ReadFile("stdout"))))
	w.Check(d.Decode(&document))
	if d.More() {
		w.Fatalf("more than one JSON document")
	}
	got, found := dig(document, args[0])
	switch {
	case args[1] == "lacks" && found:
		w.Fatalf("%s is there: %v", args[0], got)
	case args[1] == "lacks":
		return
	case !found:
		w.Fatalf("%s is not there", args[0])
	case args[1] == "has":
		return
	case len(args) != 3:
		w.Fatalf("usage: json PATH OP VALUE")
	}
	if n, ok := got.(float64); ok {
		w.compare(args[0], n, args[1], args[2])
		return
	}
	text := fmt.Sprint(got)
	ok, known := map[string]bool{"==": text == args[2], "!=": text != args[2]}[args[1]]
	if args[1] == "~" {
		known, ok = true, regexp.MustCompile(args[2]).MatchString(text)
	}
	if !known || !ok {
		w.Fatalf("%s is %q, not %s %q", args[0], text, args[1], args[2])
	}
}

// dig follows a path into a document.
func dig(v any, path string) (any, bool) {
	if path == "." {
		return v, true
	}
	for name := range strings.SplitSeq(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			if name == "len" {
				v = float64(len(t))
				continue
			}
			member, ok := t[name]
			if !ok {
				return nil, false
			}
			v = member
		case []any:
			if name == "len" {
				v = float64(len(t))
				continue
			}
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(t) {
				return nil, false
			}
			v = t[i]
		default:
			return nil, false
		}
	}
	return v, true
}
