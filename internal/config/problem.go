package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems is how many problems are reported of one file.
const maxProblems = 100

// Problem is one thing wrong in a configuration.
type Problem struct {
	// File as it was named; "" when the configuration has no file.
	File string
	// Line counts from 1; 0 when the problem is in no line, such as a missing key.
	Line int
	// Key in full, "exchange.auth.method"; "" for a syntax error.
	Key string
	// Text says what is wrong and what to do.
	Text string
}

// Error returns "config.toml:12: trust.revocation: what is wrong".
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	return b.String() + p.Text
}

func newProblem(file string, line int, key, format string, args ...any) *Problem {
	return &Problem{File: file, Line: line, Key: clip(key, 100), Text: clip(fmt.Sprintf(format, args...), 500)}
}

// clip keeps a message readable when a file holds something enormous.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// Problems is the error of an invalid configuration: everything that is wrong, in the order of the file.
type Problems []*Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one, for errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Concern reports that a problem is about a key that begins so, or about the file as a whole.
func (ps Problems) Concern(prefix string) bool {
	return slices.ContainsFunc(ps, func(p *Problem) bool { return p.Key == "" || strings.HasPrefix(p.Key, prefix) })
}

// err returns the problems in the order of the file, at most maxProblems of them, or nil when there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	if more := len(ps) - maxProblems; more > 0 {
		ps = append(ps[:maxProblems:maxProblems], newProblem(ps[0].File, 0, "", "and %d more problems", more))
	}
	return ps
}

// nearest returns the known name that is most likely meant by name, or "".
func nearest(name string, known []string) string {
	if len(name) > 80 {
		return ""
	}
	best, limit := "", max(2, len(name)/4)+1
	for _, k := range known {
		if d := distance(name, k); d < limit {
			best, limit = k, d
		}
	}
	if best != "" {
		return best
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range known {
		if k[strings.LastIndexByte(k, '.')+1:] == last {
			return k
		}
	}
	return ""
}

// distance is Levenshtein's edit distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost = 1 + min(previous, row[j], row[j+1])
			}
			previous, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
