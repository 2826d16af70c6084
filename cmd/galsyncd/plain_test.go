package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(plain{&b}, "a\tb\n%s\n", "x\x1b[2Jy\rz\u009b\u202e\x7f ü")
	if want := "a\tb\nx\uFFFD[2Jy\uFFFDz\uFFFD\uFFFD\uFFFD ü\n"; b.String() != want {
		t.Errorf("written as %q, not %q", b.String(), want)
	}
	if got := oneLine("a\nb"); got != "a\uFFFDb" {
		t.Errorf("one line: %q", got)
	}
}
