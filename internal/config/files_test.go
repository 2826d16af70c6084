package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestSecret(t *testing.T) {
	setHome(t)
	dir, credentials := t.TempDir(), t.TempDir()
	c := &Config{Path: filepath.Join(dir, "config.toml")}
	write(t, filepath.Join(dir, "good"), "hunter2 \n", 0o600)
	write(t, filepath.Join(dir, "windows"), "hunter2\r\n", 0o400)
	write(t, filepath.Join(dir, "group"), "hunter2", 0o640)
	write(t, filepath.Join(dir, "others"), "hunter2", 0o604)
	write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	write(t, filepath.Join(dir, "lines"), "hunter2\n\n", 0o600)
	write(t, filepath.Join(dir, "big"), strings.Repeat("hunter2", 1000), 0o600)
	write(t, filepath.Join(credentials, "group"), "credential", 0o440)
	write(t, filepath.Join(credentials, "only"), "credential", 0o400)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ credentials, name, want, err string }{
		{"", "good", "hunter2 ", ""},
		{"", "windows", "hunter2", ""},
		{"", filepath.Join(dir, "good"), "hunter2 ", ""},
		{"", "group", "", "mode 0640 lets group or others at it"},
		{"", "others", "", "mode 0604 lets group or others at it"},
		{"", "empty", "", "is empty"},
		{"", "lines", "", "more than one line"},
		{"", "big", "", "larger than 4096 bytes"},
		{"", "pipe", "", "not a regular file"},
		{"", "sub", "", "not a regular file"},
		{"", "none", "", "there is no file"},
		{"", "", "", "no file is named"},
		{credentials, "group", "credential", ""},
		{credentials, filepath.Join(credentials, "group"), "credential", ""},
		{credentials, "only", "credential", ""},
		{credentials, "good", "hunter2 ", ""},
		{credentials, "../" + filepath.Base(dir) + "/group", "", "lets group or others at it"},
		{"relative", "good", "hunter2 ", ""},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", tt.credentials)
		got, err := c.Secret(tt.name)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q with %q: got %q, %v; want %q, %q", tt.name, tt.credentials, got, err, tt.want, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error holds the secret", tt.name)
		}
	}
	if _, err := (&Config{}).Secret("good"); err == nil {
		t.Error("a relative name without anything to count from was read")
	}
}

func TestAnchorsAndRoots(t *testing.T) {
	setHome(t)
	dir := t.TempDir()
	one, err := testca.New("One")
	if err != nil {
		t.Fatal(err)
	}
	two, err := testca.New("Two")
	if err != nil {
		t.Fatal(err)
	}
	both := append(testca.CertificatePEM(one.Certificate), testca.CertificatePEM(two.Certificate)...)
	write(t, filepath.Join(dir, "both.pem"), string(both), 0o644)
	write(t, filepath.Join(dir, "two.der"), string(two.Certificate.Raw), 0o644)
	write(t, filepath.Join(dir, "text.txt"), "hello", 0o644)
	write(t, filepath.Join(dir, "broken.txt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})), 0o644)
	for _, tt := range []struct {
		anchors []string
		count   int
		err     string
	}{
		{nil, 0, ""},
		{[]string{"*.pem"}, 2, ""},
		{[]string{"*.none"}, 0, ""},
		{[]string{filepath.Join(dir, "both.pem"), "two.der"}, 3, ""},
		{[]string{"none.pem"}, 0, "no such file"},
		{[]string{"text.txt"}, 0, "no certificate in it"},
		{[]string{"broken.txt"}, 0, "certificate 1 of the file"},
		{[]string{"sub", "*.txt"}, 0, "text.txt"},
	} {
		c := &Config{Path: filepath.Join(dir, "config.toml"), Trust: Trust{Anchors: tt.anchors}}
		pool, count, err := c.Anchors()
		if count != tt.count || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %d, %v; want %d, %q", tt.anchors, count, err, tt.count, tt.err)
		}
		if err == nil && pool == nil {
			t.Errorf("%q: no pool; crypto/x509 would take the system's roots", tt.anchors)
		}
	}
	c := &Config{Exchange: Exchange{CAFile: filepath.Join(dir, "two.der"), CAOnly: true}}
	roots, err := c.Roots()
	if err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[*testca.CA]bool{one: false, two: true} {
		leaf, err := ca.Leaf(testca.Options{DNSNames: []string{"mail.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Certificate.Verify(verifyOptions(roots))
		if (err == nil) != want {
			t.Errorf("%s: verified %v, want %v", ca.Certificate.Subject, err == nil, want)
		}
	}
	if roots, err := (&Config{}).Roots(); roots != nil || err != nil {
		t.Errorf("without a file: %v, %v", roots, err)
	}
}

func TestPrintSaysWhereValuesComeFrom(t *testing.T) {
	setHome(t)
	c, err := load(t, minimal+"[sync]\njitter = \"23h90s\"\n", RoleSystem)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`jitter = "23h1m30s"  # config.toml:7`, `username = 'EXAMPLE\svc'  # config.toml:4`, `max_removals = "20%"  # default`, "\n[exchange.auth]\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing in\n%s", want, b.String())
		}
	}
}

func TestManualPageIsCleanAndComplete(t *testing.T) {
	var page bytes.Buffer
	if err := WriteManual(&page, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys() {
		if name := key[strings.LastIndexByte(key, '.')+1:]; !strings.Contains(page.String(), ".It Cm "+roff(name)+" Pq ") {
			t.Errorf("%s is missing", key)
		}
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mandoc is not installed")
		}
		t.Skip("mandoc is not installed")
	}
	cmd := exec.Command("mandoc", "-Tlint", "-Wwarning")
	cmd.Stdin = &page
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// TestDefinitions holds the table to itself: every default is accepted, every key documented, every field reached once.
func TestDefinitions(t *testing.T) {
	setHome(t)
	seen := map[any]string{}
	c := Default(RoleUser)
	for _, d := range definitions() {
		if !strings.HasSuffix(d.doc, ".") || d.kind == "" {
			t.Errorf("%s has no documentation", d.key)
		}
		if other := seen[d.target(c)]; other != "" {
			t.Errorf("%s and %s are the same field", d.key, other)
		}
		seen[d.target(c)] = d.key
		if text := d.built(c, newEnvironment()); text != "" {
			t.Errorf("%s: its default is refused: %s", d.key, text)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d keys", len(seen))
	}
}

func TestDurationsAndSizesComeBack(t *testing.T) {
	for _, s := range []string{"0s", "1.5s", "90d", "1d1h30m", "2h", "1m30s", "1h0m1s"} {
		if d, err := parseDuration(s); err != nil || formatDuration(d) != s {
			t.Errorf("%s: %v, %s", s, err, formatDuration(d))
		}
	}
	for _, s := range []string{"1GB", "1GiB", "1500kB", "1B", "0B"} {
		if n, err := parseSize(s); err != nil || formatSize(n) != s {
			t.Errorf("%s: %v, %s", s, err, formatSize(n))
		}
	}
}

func verifyOptions(roots *x509.CertPool) x509.VerifyOptions {
	return x509.VerifyOptions{Roots: roots, DNSName: "mail.example.com"}
}
