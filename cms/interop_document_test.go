package cms

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// interopDocument is written by "make interop-doc".
var interopDocument = filepath.Join("..", "docs", "interop.md")

// matrix is the outcome by row and column.
type matrix map[string]map[string]string

// readMatrix reads the tables of a document that writeMatrix made.
func readMatrix(t testing.TB, path string) matrix {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := matrix{}
	section := ""
	var columns []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section, columns = title, nil
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") {
			continue
		}
		fields := strings.Split(strings.Trim(line, "|"), "|")
		for i := range fields {
			fields[i], _, _ = strings.Cut(strings.TrimSpace(fields[i]), "[^")
		}
		if columns == nil {
			columns = fields
			continue
		}
		row := map[string]string{}
		for i := 1; i < min(len(fields), len(columns)); i++ {
			row[columns[i]] = fields[i]
		}
		m[section+": "+fields[0]] = row
	}
	return m
}

// footnotes numbers reasons in the order of their first use.
type footnotes []string

func (f *footnotes) mark(text string) string {
	for i, have := range *f {
		if have == text {
			return fmt.Sprintf("[^%d]", i+1)
		}
	}
	*f = append(*f, text)
	return fmt.Sprintf("[^%d]", len(*f))
}
