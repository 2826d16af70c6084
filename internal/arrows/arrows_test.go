// Package arrows holds the import rules of docs/architecture.md.
package arrows

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/galsyncd/galsyncd/"

// allowed says which of our packages each package may import. Packages under cmd may import everything; nothing may
// import them.
var allowed = map[string][]string{
	"cache":                 {"directory", "internal/mailaddr", "internal/recent", "internal/revocation"},
	"client":                {},
	"cms":                   {},
	"directory":             {"cms", "trust", "internal/mailaddr"},
	"eas":                   {"directory", "internal/httpfault", "internal/mailaddr", "internal/wbxml", "trust"},
	"ews":                   {"directory", "internal/httpfault", "internal/mailaddr"},
	"internal/aia":          {"trust", "internal/certfile", "internal/revocation"},
	"internal/arrows":       {},
	"internal/autodiscover": {"internal/mailaddr", "internal/httpfault", "internal/xmltree"},
	"internal/bench":        {},
	"internal/certfile":     {"cms"},
	"internal/config":       {"internal/mailaddr"},
	"internal/daemon": {"cache", "client", "cms", "directory", "schedule", "smime", "trust", "internal/aia", "internal/certfile", "internal/httpauth", "internal/installed", "internal/keyring",
		"internal/mailaddr", "internal/recipients", "internal/revocation", "internal/service"},
	"internal/exchangesim": {"internal/testca", "internal/mailaddr", "internal/wbxml", "internal/xmltree"},
	"internal/httpauth":    {},
	"internal/horde":       {"internal/interop"},
	"internal/httpfault":   {},
	"internal/installed":   {"cms", "directory", "smime", "trust", "internal/certfile", "internal/keyring", "internal/mailaddr", "internal/recipients"},
	"internal/interop":     {},
	"internal/keyring":     {"cms", "internal/mailaddr"},
	"internal/mailaddr":    {},
	"internal/probe":       {"cms", "directory", "ews"},
	"internal/pinentry":    {},
	"internal/recent":      {},
	"internal/recipients":  {"directory", "trust", "internal/mailaddr", "internal/recent"},
	"internal/revocation":  {"trust"},
	"internal/service":     {"internal/installed", "internal/recipients", "directory", "smime", "trust", "internal/keyring", "internal/mailaddr"},
	"internal/testca":      {},
	"internal/wbxml":       {},
	"internal/xmltree":     {},
	"schedule":             {},
	"smime":                {"cms", "trust", "internal/mailaddr"},
	"trust":                {"internal/mailaddr", "internal/recent"},
}

// owners says which package alone imports an outside library. A library that is not here is imported by one package
// only, whichever that is.
var owners = map[string][]string{
	"go.etcd.io/bbolt":             {"cache", "internal/keyring"},
	"golang.org/x/crypto":          nil, // Go's own; several primitives, each where it is needed
	"github.com/Azure/go-ntlmssp":  {"internal/httpauth"},
	"github.com/go-krb5/krb5":      {"internal/httpauth"},
	"golang.org/x/oauth2":          {"internal/httpauth"},
	"github.com/beevik/etree":      {"ews"},
	"github.com/robfig/cron/v3":    {"schedule"},
	"software.sslmate.com/src":     {"internal/keyring"},
	"github.com/pelletier/go-toml": {"internal/config"},
}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	importers := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		for _, path := range fields[1:] {
			to, ours := strings.CutPrefix(path, module)
			switch {
			case ours:
				checkArrow(t, from, to)
			case strings.Contains(strings.Split(path, "/")[0], "."):
				importers[library(path)] = append(importers[library(path)], from)
			}
		}
	}
	for lib, from := range importers {
		checkOwner(t, lib, from)
	}
}

func checkArrow(t *testing.T, from, to string) {
	if strings.HasPrefix(to, "cmd/") {
		t.Errorf("%s imports %s: nothing may import a program", from, to)
	}
	if strings.HasPrefix(from, "cmd/") {
		return
	}
	list, known := allowed[from]
	if !known {
		t.Errorf("%s is not in the table of packages", from)
	}
	if !slices.Contains(list, to) {
		t.Errorf("%s imports %s: not in the picture", from, to)
	}
}

// library is the name under which an import counts: that in owners, or host, owner and project.
func library(path string) string {
	for name := range owners {
		if path == name || strings.HasPrefix(path, name+"/") {
			return name
		}
	}
	parts := strings.Split(path, "/")
	return strings.Join(parts[:min(3, len(parts))], "/")
}

func checkOwner(t *testing.T, lib string, from []string) {
	slices.Sort(from)
	from = slices.Compact(from)
	owner, named := owners[lib]
	if named && owner == nil {
		return
	}
	if !named && len(from) > 1 {
		t.Errorf("%s is imported by %v: one package should own it", lib, from)
	}
	for _, f := range from {
		if named && !slices.Contains(owner, f) {
			t.Errorf("%s imports %s, which belongs to %v", f, lib, owner)
		}
	}
}
