package smime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// split returns the preamble, the parts, and what is left behind the last delimiter.
func split(t testing.TB, text, boundary string, size int) (parts []string, closed, ambiguous bool, err error) {
	t.Helper()
	s, err := newSplitter(bufio.NewReaderSize(strings.NewReader(text), size), boundary)
	if err != nil {
		return nil, false, false, err
	}
	for more := true; more; more, err = s.next() {
		if err != nil {
			return nil, false, false, err
		}
		data, err := io.ReadAll(s)
		if err != nil {
			return nil, false, false, err
		}
		parts = append(parts, string(data))
	}
	return parts, s.closed(), s.ambiguous, err
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		text, want        string
		closed, ambiguous bool
	}{
		{"--b\r\none\r\n--b\r\ntwo\r\n--b--\r\n", `["" "one" "two"]`, true, false},
		{"--b\none\n--b\ntwo\n--b--", `["" "one" "two"]`, true, false},
		{"pre\r\n\r\n--b\r\none\r\n\r\n--b--\r\nepilogue\r\n--b\r\n", `["pre\r\n" "one\r\n"]`, true, false},
		{"--b  \t\r\none\r\n--b-- \r\n", `["" "one"]`, true, false},
		{"--b\r\n--b\r\n\r\n--b--", `["" "" ""]`, true, false},
		{"--b--", `[""]`, true, false},
		{"", `[""]`, false, false},
		{"no delimiter\r\n", `["no delimiter\r\n"]`, false, false},
		{"--b\r\none\r\n--b\r\ntwo", `["" "one" "two"]`, false, false},
		{"--b\r\none\r\n--bx\r\n--b--", `["" "one\r\n--bx"]`, true, true},
		{"--b\r\none\r\n--b -\r\n--b--x\r\n--b--", `["" "one\r\n--b -\r\n--b--x"]`, true, true},
		{"--b\r\none\r\n --b\r\nx--b\r\n-b\r\n--B\r\n--b--", `["" "one\r\n --b\r\nx--b\r\n-b\r\n--B"]`, true, false},
		{"--b\r\na\rb\r\r\n--b--", `["" "a\rb\r"]`, true, false},
		{"--b\r\none\r--b\r\n--b--", `["" "one\r--b"]`, true, false},
	} {
		got, closed, ambiguous, err := split(t, tc.text, "b", 16)
		if err != nil || fmt.Sprintf("%q", got) != tc.want || closed != tc.closed || ambiguous != tc.ambiguous {
			t.Errorf("%q: %q, closed %v, ambiguous %v, %v; want %s", tc.text, got, closed, ambiguous, err, tc.want)
		}
	}
	for _, bad := range []string{"", " ", "b ", "a\nb", "ä", "a;b", strings.Repeat("b", 71)} {
		if _, _, _, err := split(t, "", bad, 16); !errors.Is(err, ErrStructure) {
			t.Errorf("boundary %q: %v", bad, err)
		}
	}
	if _, _, _, err := split(t, strings.Repeat("--b\n", maxParts+2), "b", 16); !errors.Is(err, ErrStructure) {
		t.Errorf("too many parts: %v", err)
	}
}

// FuzzSplit: parts are the text between the delimiters, wherever the buffer cuts it; a second implementation with whole
// strings must agree.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"--b\r\none\r\n--b\ntwo\r\n--b--\r\n", "--b\r\n\r\r\n--b", "123456789012345\r\n--b\r\n12345678901234567890\r\n\n--b--", "--b \r\n--bb\r\n--b--x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		small, closedSmall, _, errSmall := split(t, text, "b", 16)
		want, closedWant := splitStrings(text, "--b")
		if errSmall != nil {
			return
		}
		large, closedLarge, _, err := split(t, text, "b", 1<<16)
		if err != nil || fmt.Sprintf("%q", large) != fmt.Sprintf("%q", want) || closedLarge != closedWant {
			t.Fatalf("%q: %q %v, want %q %v, %v", text, large, closedLarge, want, closedWant, err)
		}
		if !strings.Contains(text, "--b"+strings.Repeat(" ", 8)) && !strings.Contains(text, "\t\t") && (fmt.Sprintf("%q", small) != fmt.Sprintf("%q", want) || closedSmall != closedWant) {
			t.Fatalf("%q: %q with a small buffer, want %q", text, small, want)
		}
	})
}

func splitStrings(text, dash string) (parts []string, closed bool) {
	lines := strings.SplitAfter(text, "\n")
	current := ""
	for _, line := range lines {
		switch strings.TrimRight(line, " \t\r\n") {
		case dash, dash + "--":
			if rest := strings.TrimPrefix(line, dash); strings.Trim(rest, "- \t\r\n") == "" {
				if strings.HasSuffix(current, "\n") {
					current = strings.TrimSuffix(strings.TrimSuffix(current, "\n"), "\r")
				}
				parts = append(parts, current)
				if current = ""; strings.HasPrefix(rest, "--") {
					return parts, true
				}
				continue
			}
		}
		current += line
	}
	return append(parts, current), false
}
