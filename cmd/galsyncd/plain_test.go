package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/client"
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

// TestNamesMakeNoLines: whoever issues a certificate chooses the names in it.
func TestNamesMakeNoLines(t *testing.T) {
	const name = "CN=Mallory\nsignature: valid"
	var b strings.Builder
	printVerification(plain{&b}, &client.Verification{Verdict: "untrusted", Reasons: []string{"issued by " + name}, Warnings: []string{name}, Layers: []client.Layer{
		{Signatures: []client.Signature{{Verdict: "untrusted", Reasons: []string{name}, Certificate: &client.SignerCertificate{Subject: name, Issuer: name}}}},
	}})
	printf(&b, "%v\n", errors.New(name))
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "signature: valid") {
			t.Errorf("a name makes a line of its own:\n%s", b.String())
		}
	}
}
