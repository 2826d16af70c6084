package cms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fipsDocument has the table of what works in which mode.
var fipsDocument = filepath.Join("..", "docs", "fips.md")

// fipsRow is one line of it: what is tried, and whether it works.
type fipsRow struct {
	name string
	try  func(t testing.TB) error
}

// readMade reads a message that OpenSSL made.
func readMade(key string, parts ...string) func(testing.TB) error {
	return func(t testing.TB) error {
		_, _, err := decryptAll(load(t, append([]string{"made", "enc"}, parts...)...), []Identity{identity(t, "made", "keys", key)}, &DecryptOptions{AllowTripleDES: true})
		return err
	}
}

func fipsRows() []fipsRow {
	var rows []fipsRow
	for _, k := range messageKinds() {
		if k.detached {
			continue
		}
		rows = append(rows, fipsRow{k.title(), k.roundTrip})
	}
	return append(rows,
		fipsRow{"AuthEnvelopedData: ECDH P-256, ChaCha20-Poly1305", messageKind{keys: []string{"p256"}, cipher: ChaCha20Poly1305}.roundTrip},
		fipsRow{"reading only: RSA PKCS #1 v1.5, AES-256-CBC", readMade("rsa", "openssl.rsa.aes256-cbc.der")},
		fipsRow{"reading only: ECDH P-256, AES-256-CBC", readMade("p256", "openssl.p256.sha256.aes256-cbc.der")},
		fipsRow{"reading only: RSA PKCS #1 v1.5, 3DES", readMade("rsa", "openssl.rsa.3des-cbc.der")},
		fipsRow{"reading only: RSAES-OAEP SHA-1", readMade("rsa", "openssl.rsa-oaep-sha1.aes256-cbc.der")},
		fipsRow{"reading only: RSAES-OAEP SHA-256, MGF1 SHA-1", readMade("rsa", "openssl.rsa-oaep-sha256-mgfsha1.aes256-cbc.der")},
		fipsRow{"reading only: ECDH P-256 with the SHA-1 key derivation", readMade("p256", "openssl.p256.sha1kdf.aes128-cbc.der")},
		fipsRow{"reading only: ECDH P-256, AES-256-GCM", readMade("p256", "openssl.p256.sha256.aes256-gcm.der")},
		fipsRow{"reading only: SHA-1 signature, where the caller allows it", func(t testing.TB) error {
			s, err := Verify(bytes.NewReader(load(t, "made", "sig", "rsa.sha1.opaque.der")), &VerifyOptions{AllowSHA1: true})
			if err != nil {
				return err
			}
			return s.Signers[0].Err
		}},
		fipsRow{"part of it: identifier of a certificate without the extension", func(t testing.TB) error {
			cert := *identityCertificate(t, "rsa")
			cert.SubjectKeyId = nil
			if len(subjectKeyID(&cert)) != 20 {
				return errors.New("no identifier")
			}
			return nil
		}},
	)
}

func (k messageKind) roundTrip(t testing.TB) error {
	message, err := k.seal(t, interopContent)
	if err != nil {
		return err
	}
	return k.check(t, message, interopContent)
}

// fipsOutcome is what a child process says about one row; empty Reason means that it works.
type fipsOutcome struct{ Mode, Name, Reason string }

const fipsChild = "GALSYNCD_FIPS_CHILD"

// TestFIPSChild is the other process of TestFIPS: it prints its mode and an outcome for each row.
func TestFIPSChild(t *testing.T) {
	if os.Getenv(fipsChild) == "" {
		return
	}
	out := json.NewEncoder(os.Stdout)
	for _, row := range fipsRows() {
		o := fipsOutcome{Mode: FIPSMode(), Name: row.name}
		if err := row.attempt(t); err != nil {
			o.Reason = err.Error()
		}
		fmt.Print("\n") // what the test framework printed ends here
		if err := out.Encode(o); err != nil {
			t.Fatal(err)
		}
	}
}

// attempt turns a panic, which no message may cause in any mode, into an error that no row has.
func (r fipsRow) attempt(t testing.TB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.try(t)
}

// inMode runs all rows in another process.
func inMode(t *testing.T, mode string) map[string]string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestFIPSChild$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode, fipsChild+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", mode, err, out)
	}
	reasons := map[string]string{}
	for line := range bytes.Lines(out) {
		var o fipsOutcome
		if json.Unmarshal(line, &o) != nil || o.Name == "" {
			continue
		}
		if o.Mode != mode {
			t.Fatalf("GODEBUG=fips140=%s: FIPSMode is %q", mode, o.Mode)
		}
		if strings.HasPrefix(o.Reason, "panic") {
			t.Errorf("%s, %s: %s", mode, o.Name, o.Reason)
		}
		reasons[o.Name] = o.Reason
	}
	return reasons
}

// fipsModes are the columns of the document.
var fipsModes = []string{"off", "on", "only"}

// TestFIPS runs every algorithm in the three modes and compares with the document, which GALSYNCD_FIPS_DOC (a path from the top
// of the repository) writes.
func TestFIPS(t *testing.T) {
	reasons := map[string]map[string]string{}
	for _, mode := range fipsModes {
		reasons[mode] = inMode(t, mode)
	}
	for _, row := range fipsRows() {
		for _, mode := range fipsModes {
			reason, tried := reasons[mode][row.name]
			if !tried || mode != "only" && reason != "" {
				t.Errorf("%s, %s: tried %v, %s", row.name, mode, tried, reason)
			}
		}
	}
	if path := os.Getenv("GALSYNCD_FIPS_DOC"); path != "" && !t.Failed() {
		if !filepath.IsAbs(path) {
			path = filepath.Join("..", path)
		}
		if err := os.WriteFile(path, []byte(writeFIPS(reasons)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doc := readMatrix(t, fipsDocument)
	for _, row := range fipsRows() {
		for _, mode := range fipsModes {
			if got, want := fipsCell(reasons[mode][row.name]), doc[": "+row.name][mode]; got != want {
				t.Errorf("%s, %s: %s, and %s says %q; make interop-doc writes it anew", row.name, mode, got, fipsDocument, want)
			}
		}
	}
}

func fipsCell(reason string) string {
	if reason == "" {
		return "works"
	}
	return "refused"
}

// writeFIPS renders the document. The words of the reasons are Go's or ours and may change with either.
func writeFIPS(reasons map[string]map[string]string) string {
	var b strings.Builder
	b.WriteString(fipsHead)
	var notes footnotes
	for _, row := range fipsRows() {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, mode := range fipsModes {
			reason := reasons[mode][row.name]
			b.WriteString(" " + fipsCell(reason))
			if reason != "" {
				b.WriteString(notes.mark(reason))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "[^%d]: %s\n", i+1, note)
	}
	return b.String()
}

const fipsHead = `# FIPS 140-3

This page is written by a test: ` + "`make interop-doc`" + ` runs TestFIPS of package cms with GALSYNCD_FIPS_DOC=docs/fips.md.
` + "`make test`" + ` fails when a cell is not what it measures.

Go's cryptography contains a module for FIPS 140-3. GODEBUG=fips140=on in the environment of galsyncd turns it on. The module
then checks itself at the start. The environment variable GOFIPS140 at build time selects a module version that was submitted
for validation; see Go's documentation. cms.FIPSMode tells which mode a process runs in.

With "on" every algorithm of package cms works. Not all of them are approved: the column "only" shows which are. A site that
must use approved algorithms alone has to choose them.

Two parts stand in package cms and so outside of the module: the AES key wrap (RFC 3394) and the X9.63 key derivation. They use
the module's AES and SHA-2.

With "only" Go refuses what the module does not approve of. That is RSA PKCS #1 v1.5 encryption, which most mail uses, and every
AuthEnvelopedData: AES-GCM itself is approved, but not with a nonce that stands in a message. So this mode is not fit for mail.
What it does not allow is refused with a sentence, never with a panic.

| algorithm | off | on | only |
| --- | --- | --- | --- |
`

// TestFIPSApproved names what "only" must leave: the approved algorithms, in both directions.
func TestFIPSApproved(t *testing.T) {
	only := inMode(t, "only")
	for _, row := range []string{
		"EnvelopedData: RSAES-OAEP SHA-256, AES-256-CBC, BER", "EnvelopedData: ECDH P-256, AES-256-CBC, BER",
		"SignedData: RSA PKCS #1 v1.5 SHA-256, attached", "SignedData: RSASSA-PSS SHA-256, attached", "SignedData: ECDSA P-384, attached",
		"reading only: ECDH P-256, AES-256-CBC", "part of it: identifier of a certificate without the extension",
	} {
		if reason, tried := only[row]; !tried || reason != "" {
			t.Errorf("%s: tried %v, %s", row, tried, reason)
		}
	}
}
