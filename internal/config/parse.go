package config

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// assignment is one "key = value" of the file, with its key written out in full ("exchange.auth.method").
type assignment struct {
	key   string
	line  int
	value value
}

// value is a TOML value: a string, bool, int64, float64 or []value; anything else is kept as its kind alone.
type value struct {
	data any
	kind unstable.Kind
}

// document is what a file says, in order, before anything is known about keys.
type document struct {
	assignments []assignment
	problems    Problems
	file        string
	lines       []int // offset of each line's start
	tables      map[string]int
}

// parseDocument reads TOML (toml.io, version 1.0). It goes on after what it can name, and stops at a syntax error.
func parseDocument(file string, data []byte) *document {
	d := &document{file: file, lines: lineStarts(data), tables: map[string]int{}}
	p := new(unstable.Parser)
	p.Reset(data)
	var section []string
	for p.NextExpression() {
		n := p.Expression()
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			var line int
			section, line = d.keyOf(n)
			d.table(section, line, n.Kind)
		case unstable.KeyValue:
			d.keyValue(section, n)
		}
	}
	if p.Error() != nil {
		d.syntax(data)
	}
	return d
}

// syntax reports what go-toml's own decoder finds wrong, with its line. It is stricter than the walk above in what keys and
// tables may do together.
func (d *document) syntax(data []byte) {
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	if err == nil {
		return
	}
	line := 0
	var de *toml.DecodeError
	if errors.As(err, &de) {
		line, _ = de.Position()
	}
	text := strings.TrimPrefix(err.Error(), "toml: ")
	switch {
	case strings.Contains(text, "escape character"):
		text += `; a text with a backslash stands in single quotes: 'EXAMPLE\user'`
	case strings.Contains(text, "start of value"), strings.Contains(text, "expected keyword"), strings.Contains(text, "expected newline"):
		text += `; a text stands in quotes: "ntlm"; so do durations and percentages`
	}
	d.problem(line, "", "%s", text)
}

// table enters a [section] heading.
func (d *document) table(path []string, line int, kind unstable.Kind) {
	name := join(path)
	switch {
	case kind == unstable.ArrayTable:
		d.problem(line, name, "is written once, as [%s], not as [[%s]]", name, name)
	case !isSection(name):
		d.unknown(line, name, sections(), "section")
	case d.tables[name] != 0:
		d.problem(line, name, "the section is here twice; the first is on line %d", d.tables[name])
	default:
		d.tables[name] = line
	}
}

// keyValue enters a key under a section, and the keys of an inline table one by one.
func (d *document) keyValue(section []string, n *unstable.Node) {
	parts, line := d.keyOf(n)
	path := slices.Concat(section, parts)
	name := join(path)
	v := n.Value()
	if v.Kind == unstable.InlineTable && isSection(name) {
		for it := v.Children(); it.Next(); {
			d.keyValue(path, it.Node())
		}
		return
	}
	if isSection(name) {
		d.problem(line, name, "is a section; write [%s] and its keys below", name)
		return
	}
	d.assignments = append(d.assignments, assignment{key: name, line: line, value: decodeValue(v)})
}

// keyOf returns the parts of a key or heading and the line it stands on.
func (d *document) keyOf(n *unstable.Node) (parts []string, line int) {
	for it := n.Key(); it.Next(); {
		k := it.Node()
		if line == 0 {
			line = d.lineAt(int(k.Raw.Offset))
		}
		parts = append(parts, string(k.Data))
	}
	return parts, line
}

// decodeValue copies a value out of the parser. Lists deeper than one level are of no use to any key and are not entered.
func decodeValue(n *unstable.Node) value {
	v := decodeScalar(n)
	if n.Kind == unstable.Array {
		items := []value{}
		for it := n.Children(); it.Next(); {
			items = append(items, decodeScalar(it.Node()))
		}
		v.data = items
	}
	return v
}

func decodeScalar(n *unstable.Node) value {
	v := value{kind: n.Kind}
	switch n.Kind {
	case unstable.String:
		v.data = string(n.Data)
	case unstable.Bool:
		v.data = string(n.Data) == "true"
	case unstable.Integer:
		if i, err := strconv.ParseInt(string(n.Data), 0, 64); err == nil {
			v.data = i
		}
	case unstable.Float:
		if f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64); err == nil {
			v.data = f
		}
	}
	return v
}

// String names the value's type for people.
func (v value) String() string {
	switch v.kind {
	case unstable.String:
		return "a text"
	case unstable.Bool:
		return "true or false"
	case unstable.Integer, unstable.Float:
		return "a number"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

func (d *document) problem(line int, key, format string, args ...any) {
	d.problems = append(d.problems, newProblem(d.file, line, key, format, args...))
}

// unknown reports a name that is not in the list, with the nearest one that is.
func (d *document) unknown(line int, name string, known []string, what string) {
	if near := nearest(name, known); near != "" {
		d.problem(line, name, "unknown %s; did you mean %s?", what, near)
		return
	}
	d.problem(line, name, "unknown %s", what)
}

func lineStarts(data []byte) []int {
	starts := []int{0}
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return starts
		}
		i += n + 1
		starts = append(starts, i)
	}
}

func (d *document) lineAt(offset int) int {
	return sort.SearchInts(d.lines, offset+1)
}

// join writes a key with dots; a part that is not a bare key (TOML 1.0, "Keys") is quoted, so that it equals no known key.
func join(parts []string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = p
		if p == "" || strings.ContainsFunc(p, notBare) {
			quoted[i] = strconv.Quote(p)
		}
	}
	return strings.Join(quoted, ".")
}

func notBare(r rune) bool {
	return !(r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}
