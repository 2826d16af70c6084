package httpauth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-krb5/krb5/config"
)

// Bounds of krb5.conf with all that it includes.
const (
	maxKrb5Conf     = 1 << 20 // bytes
	maxKrb5Includes = 64      // files
	maxKrb5Depth    = 4
)

// defaultKrb5Conf is where the configuration is when nothing says otherwise.
const defaultKrb5Conf = "/etc/krb5.conf"

// krb5Sections gathers the lines of each section. The library keeps only the last [realms] section that it meets, and
// follows no includes, which is where distributions put what matters.
type krb5Sections struct {
	lines map[string][]string
	files int
	bytes int64
}

// loadKrb5Conf reads krb5.conf: the named file, else those of $KRB5_CONFIG, else /etc/krb5.conf. Without any, servers are
// found by DNS, as they are for a realm that the file does not list, unless it says dns_lookup_kdc = false.
func loadKrb5Conf(named string) (*config.Config, error) {
	s := &krb5Sections{lines: map[string][]string{"libdefaults": {"dns_lookup_kdc = true"}}}
	files := []string{named}
	if named == "" {
		files = filepath.SplitList(os.Getenv("KRB5_CONFIG"))
	}
	byDefault := len(files) == 0
	if byDefault {
		files = []string{defaultKrb5Conf}
	}
	// The first file to set a value wins with MIT Kerberos, the last one with the library.
	for _, f := range slices.Backward(files) {
		if err := s.add(f, 0); err != nil && !(byDefault && errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("read the Kerberos configuration: %w", err)
		}
	}
	var cfg *config.Config
	err := guarded(func() (err error) {
		cfg, err = config.NewFromString(s.text())
		return err
	})
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return nil, fmt.Errorf("read the Kerberos configuration %s: %w", strings.Join(files, ", "), err)
	}
	return cfg, nil
}

func (s *krb5Sections) text() string {
	var b strings.Builder
	for _, section := range []string{"libdefaults", "realms", "domain_realm"} {
		fmt.Fprintf(&b, "[%s]\n%s\n", section, strings.Join(s.lines[section], "\n"))
	}
	return b.String()
}

var krb5Include = regexp.MustCompile(`^\s*(include|includedir)\s+(\S+)\s*$`)

// add reads a file and what it includes (krb5.conf(5)). A folder that is not there is none.
func (s *krb5Sections) add(path string, depth int) error {
	text, err := s.read(path, depth)
	if err != nil {
		return err
	}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		if m := krb5Include.FindStringSubmatch(line); m != nil {
			if err := s.include(m[1], m[2], depth+1); err != nil {
				return err
			}
			continue
		}
		if name, ok := strings.CutPrefix(trimmed, "["); ok && strings.Contains(name, "]") {
			section, _, _ = strings.Cut(name, "]")
			continue
		}
		s.lines[section] = append(s.lines[section], line)
	}
	return nil
}

func (s *krb5Sections) read(path string, depth int) (string, error) {
	if s.files++; s.files > maxKrb5Includes || depth > maxKrb5Depth {
		return "", fmt.Errorf("%s: too many includes", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKrb5Conf+1-s.bytes))
	if err != nil {
		return "", err
	}
	if s.bytes += int64(len(b)); s.bytes > maxKrb5Conf {
		return "", fmt.Errorf("%s: longer than %d bytes with what is included", path, maxKrb5Conf)
	}
	return string(b), nil
}

var krb5Snippet = regexp.MustCompile(`^([A-Za-z0-9_-]+|[^.].*\.conf)$`)

func (s *krb5Sections) include(directive, path string, depth int) error {
	if directive == "include" {
		return s.add(path, depth)
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if krb5Snippet.MatchString(e.Name()) && !e.IsDir() {
			if err := s.add(filepath.Join(path, e.Name()), depth); err != nil {
				return err
			}
		}
	}
	return nil
}
