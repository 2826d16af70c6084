//go:build interop

package cms

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInteropDocument measures the whole matrix. With GALSYNCD_INTEROP_DOC (a path from the top of the repository) it writes the
// document there; else it compares the cells with those of the committed one, when the peers have the same versions.
func TestInteropDocument(t *testing.T) {
	peers := []*peerProgram{opensslPeer(t), gpgsmPeer(t), nssPeer(t), bouncyCastlePeer(t)}
	document := writeMatrix(t, peers)
	if path := os.Getenv("GALSYNCD_INTEROP_DOC"); path != "" {
		if t.Failed() {
			t.Fatal("the document is not written")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join("..", path)
		}
		if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	committed, err := os.ReadFile(interopDocument)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if !strings.Contains(string(committed), p.name+" "+p.version) {
			t.Logf("%s measured another version than %s %s; make interop-doc writes it anew", interopDocument, p.name, p.version)
			return
		}
	}
	if cells(string(committed)) != cells(document) {
		t.Errorf("%s is not what was measured; make interop-doc writes it anew:\n%s", interopDocument, document)
	}
}

// cells is a document without its footnotes: what a program says when it refuses, or crashes, is not always the same.
func cells(document string) string {
	table, _, _ := strings.Cut(document, "\n[^1]:")
	return footnoteMark.ReplaceAllString(table, "")
}

var footnoteMark = regexp.MustCompile(`\[\^\d+\]`)

// writeMatrix measures every kind with the peers, which stand in the order of the columns, and renders the document.
func writeMatrix(t testing.TB, peers []*peerProgram) string {
	t.Helper()
	var b strings.Builder
	var versions []string
	for _, p := range peers {
		versions = append(versions, p.name+" "+p.version)
	}
	fmt.Fprintf(&b, interopHead, strings.Join(versions, ", "))
	var notes footnotes
	section := ""
	for _, k := range messageKinds() {
		if k.section != section {
			section = k.section
			fmt.Fprintf(&b, "\n## %s\n\n| message |", section)
			for _, p := range peers {
				fmt.Fprintf(&b, " to %[1]s | from %[1]s |", p.name)
			}
			fmt.Fprintf(&b, "\n|%s\n", strings.Repeat(" --- |", 1+2*len(peers)))
		}
		fmt.Fprintf(&b, "| %s |", k.name)
		for _, p := range peers {
			for _, c := range []cell{p.reads(t, k, interopContent), p.writes(t, k, interopContent)} {
				if c.reason != "" {
					c.outcome += notes.mark(p.name + ": " + c.reason)
				}
				fmt.Fprintf(&b, " %s |", c.outcome)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString(interopTail)
	for i, note := range notes {
		fmt.Fprintf(&b, "[^%d]: %s\n", i+1, note)
	}
	return b.String()
}

const interopHead = `# Interoperability of CMS messages

This page is written by a test: ` + "`make interop-doc`" + ` measures every cell again. It runs TestInteropDocument of package
cms with the build tag interop and GALSYNCD_INTEROP_DOC=docs/interop.md. Commit the page when it changed. ` + "`make test`" + ` and
` + "`make interop`" + ` fail when a cell that says ok here no longer holds.

Measured with %s.

"to" is a message of package cms that the peer reads. "from" is a message of the peer that package cms reads. Every message
holds 84000 bytes. Its algorithms must be those of the row.

- ok: read to the end, the content is equal, the signature is good.
- refused: the peer was asked and refused. The footnote has its own words.
- cannot: the peer has no way to be asked for it.

Nothing that a peer writes as the row says is refused by package cms; else the page is not written.
`

const interopTail = `
## X25519

X25519 recipients (RFC 8418) are untested against others: no peer here writes or reads them. Package cms is tested with itself
and with the published vectors of its parts.

## Notes

BouncyCastle 1.72 has key agreement and it has AuthEnvelopedData, but no class that reads both in one message. For the column
"to BouncyCastle" the test adds that class around BouncyCastle's key agreement and cipher.

Whole mails are exchanged with the same peers in the tests of package smime, with BouncyCastle through JavaMail.

gpgsm and NSS cmsutil choose the form (BER or DER) by themselves, and cmsutil the cipher as well.

`
