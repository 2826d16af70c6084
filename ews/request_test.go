package ews

import (
	"bytes"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
)

// xmllint finds the schema validator; its absence fails the test where everything must be there.
func xmllint(t *testing.T) func(file string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("xmllint is missing (Debian package libxml2-utils)")
		}
		t.Skip("xmllint is missing (Debian package libxml2-utils)")
	}
	return func(file string) ([]byte, error) {
		return exec.CommandContext(t.Context(), path, "--nonet", "--noout", "--schema", "testdata/schema/soap-envelope.xsd", file).CombinedOutput()
	}
}

var requests = map[string]ResolveNamesRequest{
	"look-up":         {UnresolvedEntry: "smtp:alice.adams@corp.example", SearchScope: ActiveDirectory, ReturnFullContactData: true, ContactDataShape: AllProperties},
	"walk":            {UnresolvedEntry: "smtp:a", SearchScope: ActiveDirectory},
	"server defaults": {UnresolvedEntry: "Alice"},
	"markup":          {UnresolvedEntry: `smtp:</m:UnresolvedEntry><x a="1">&lt;&amp;]]>'"`},
	"other scripts":   {UnresolvedEntry: "smtp:grün.иван.\U0001f600", SearchScope: ContactsActiveDirectory, ContactDataShape: IDOnly},
	"contacts":        {UnresolvedEntry: "bob", SearchScope: Contacts, ContactDataShape: Default},
	"both":            {UnresolvedEntry: "bob", SearchScope: ActiveDirectoryContacts},
}

func TestRequestsAreValid(t *testing.T) {
	valid := xmllint(t)
	for name, req := range requests {
		for i, version := range versions {
			mailbox := []string{"", "galsync@corp.example", `o'neil&<co>@corp.example`}[i%3]
			body, err := req.envelope(header{version: version, mailbox: mailbox})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "request.xml")
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := valid(file); err != nil {
				t.Errorf("%s, %s: %v\n%s\n%s", name, version, err, out, body)
			}
			if got := entryOf(t, body); got != req.UnresolvedEntry {
				t.Errorf("%s: the server would read %q, want %q", name, got, req.UnresolvedEntry)
			}
		}
	}
}

// TestSchemaRejects shows that the check above can fail.
func TestSchemaRejects(t *testing.T) {
	valid := xmllint(t)
	wrong, err := filepath.Glob("testdata/samples/synthetic-request-WRONG-*.xml")
	if err != nil || len(wrong) != 3 {
		t.Fatalf("%d wrong samples, %v", len(wrong), err)
	}
	ours, err := requests["look-up"].envelope(header{version: "Exchange2042"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "version.xml")
	if err := os.WriteFile(file, ours, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(wrong, file) {
		if out, err := valid(f); err == nil {
			t.Errorf("%s: accepted\n%s", f, out)
		}
	}
	if out, err := valid("testdata/samples/synthetic-request-resolvenames.xml"); err != nil {
		t.Errorf("the right one: %v\n%s", err, out)
	}
}

// entryOf reads the UnresolvedEntry of a request as a server would.
func entryOf(t *testing.T, body []byte) string {
	t.Helper()
	var envelope struct {
		Body struct {
			ResolveNames struct {
				UnresolvedEntry string `xml:"http://schemas.microsoft.com/exchange/services/2006/messages UnresolvedEntry"`
			}
		}
	}
	if err := xml.NewDecoder(bytes.NewReader(body)).Decode(&envelope); err != nil {
		t.Fatal(err)
	}
	return envelope.Body.ResolveNames.UnresolvedEntry
}

func TestNamesThatAreNotSent(t *testing.T) {
	c := &Client{URL: "https://127.0.0.1:1/EWS/Exchange.asmx"}
	for _, name := range []string{"", " ", "a\x00", "a\nb", "\xff", "\ufffe", strings.Repeat("a", 2000)} {
		_, err := c.ResolveNames(t.Context(), ResolveNamesRequest{UnresolvedEntry: name})
		var retry directory.RetryError
		if !errors.Is(err, directory.ErrInvalidName) || errors.As(err, &retry) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := c.Search(t.Context(), "", true); !errors.Is(err, directory.ErrInvalidName) {
		t.Errorf("no prefix: %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range requests {
		f.Add(r.UnresolvedEntry)
	}
	f.Fuzz(func(t *testing.T, name string) {
		body, err := ResolveNamesRequest{UnresolvedEntry: name}.envelope(header{version: DefaultVersion, mailbox: "galsync@corp.example"})
		if err != nil {
			return
		}
		if got := entryOf(t, body); got != name {
			t.Fatalf("%q is read as %q", name, got)
		}
	})
}
