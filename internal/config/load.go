package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// maxFile is the largest configuration file read, in bytes.
const maxFile = 256 << 10

// Check judges the text of one key by rules that live in another package, such as the syntax of a schedule. Verify's error
// is reported at the line of the key, or of the default.
type Check struct {
	// Key in full, such as "sync.schedule".
	Key string
	// Verify returns what is wrong with the value; lists are given item by item, other values as written in TOML.
	Verify func(text string) error
}

// Load reads the configuration file at path for a role. The error wraps ErrNotFound when there is no file, is a Problems
// when the file is invalid, and says what could not be read otherwise.
//
// Beside a Problems there is the configuration as far as it makes sense, for whoever wants to find more that is wrong; it
// must not be used for anything else.
func Load(path string, role Role, checks ...Check) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, data, role, checks)
}

// LoadIncomplete is Load for whoever looks for the server that exchange.url is to name: it may be missing, in either role.
func LoadIncomplete(path string, role Role, checks ...Check) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c := &Config{Role: role, Path: path, incomplete: true}
	return c, c.fill(data, checks)
}

// Default returns the configuration of a role without a file, as the user role and the command line may use it. It names
// no server, so the system role cannot serve with it.
func Default(role Role) *Config {
	c := &Config{Role: role, origins: map[string]origin{}}
	c.setDefaults(newEnvironment())
	return c
}

// readFile reads a bounded regular file without waiting for whoever holds the other end of a pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration %s: %w", path, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read configuration %s: not a regular file", path)
	}
	if info.Mode().Perm()&0o002 != 0 { // it says whom to trust, and which programs to run
		return nil, fmt.Errorf("read configuration %s: mode %#o lets everybody write to it; run chmod o-w on it after finding out who did", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read configuration %s: the file is larger than %s", path, formatSize(maxFile))
	}
	return data, nil
}

// parse is Load without the file system.
func parse(path string, data []byte, role Role, checks []Check) (*Config, error) {
	c := &Config{Role: role, Path: path}
	return c, c.fill(data, checks)
}

// fill sets everything from the defaults and a file, and says what is wrong with that.
func (c *Config) fill(data []byte, checks []Check) error {
	env := newEnvironment()
	c.origins = map[string]origin{}
	c.setDefaults(env)
	doc := parseDocument(c.Path, data)
	problems := doc.problems
	byKey := definitionsByKey()
	for _, a := range doc.assignments {
		if p := c.set(a, byKey, env); p != nil {
			problems = append(problems, p)
		}
	}
	if !slices.ContainsFunc(problems, func(p *Problem) bool { return p.Key == "" }) {
		problems = append(problems, c.judge(problems, checks)...)
	}
	if len(problems) == 0 {
		doc.syntax(data)
		problems = doc.problems
	}
	return problems.err()
}

// setDefaults fills every key from the table of definitions, by the same way a file goes.
func (c *Config) setDefaults(env environment) {
	var b strings.Builder
	for _, d := range definitions() {
		fmt.Fprintf(&b, "%s = %s\n", d.key, env.expand(d.initial(c.Role)))
	}
	byKey := definitionsByKey()
	for _, a := range parseDocument("defaults", []byte(b.String())).assignments {
		d := byKey[a.key]
		if err := c.assign(d.target(c), a.value, env); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", a.key, err)) // the tables are constant and tested
		}
	}
}

// set stores one assignment of the file and returns what is wrong with it.
func (c *Config) set(a assignment, byKey map[string]definition, env environment) *Problem {
	problem := func(format string, args ...any) *Problem { return newProblem(c.Path, a.line, a.key, format, args...) }
	d, known := byKey[a.key]
	if !known {
		if near := nearest(a.key, keys()); near != "" {
			return problem("unknown key; did you mean %s?", near)
		}
		return problem("unknown key")
	}
	if first, again := c.origins[a.key]; again {
		return problem("is set twice; the first is on line %d", first.line)
	}
	c.origins[a.key] = origin{source: c.Path, line: a.line}
	if text := c.store(d, a.value, env); text != "" {
		return problem("%s", text)
	}
	return nil
}

// store puts a value into its field and returns what is wrong with it.
func (c *Config) store(d definition, v value, env environment) string {
	err := c.assign(d.target(c), v, env)
	if errors.Is(err, errType) {
		return fmt.Sprintf("is %s; write a %s, such as %s", v, d.kind, d.shown())
	}
	if err != nil {
		return err.Error()
	}
	return d.built(c, env)
}

// built returns the sentence that refuses what this version does not have, "" when there is nothing to refuse.
func (d *definition) built(c *Config, env environment) string {
	set := literal(d.target(c))
	if d.fixed {
		if standard := env.expand(d.initial(c.Role)); set != standard {
			return fmt.Sprintf("%s is not built into this version; set %s or leave the key out", set, standard)
		}
		return ""
	}
	if len(d.values) == 0 {
		return ""
	}
	text := *d.target(c).(*string)
	allowed := make([]string, len(d.values))
	for i, v := range d.values {
		allowed[i] = quote(v)
	}
	choice := strings.Join(allowed, " or ")
	switch {
	case slices.Contains(d.values, text):
		return ""
	case slices.Contains(d.later, text):
		return fmt.Sprintf("%s is not built into this version; set %s", set, choice)
	}
	return fmt.Sprintf("%s is not one of the possible values; set %s", set, choice)
}

// judge runs the checks of single keys, of keys together and of the caller, for keys that have no problem yet.
func (c *Config) judge(found Problems, checks []Check) Problems {
	bad := map[string]bool{}
	for _, p := range found {
		bad[p.Key] = true
	}
	var ps Problems
	add := func(p *Problem) {
		if !bad[p.Key] {
			bad[p.Key] = true
			ps = append(ps, p)
		}
	}
	for _, d := range definitions() {
		if d.check == nil || bad[d.key] {
			continue
		}
		if text := d.check(c); text != "" {
			add(c.Problem(d.key, "%s", text))
		}
	}
	for _, p := range c.together() {
		add(p)
	}
	for _, check := range checks {
		for _, err := range c.verify(check) {
			add(c.Problem(check.Key, "%v", err))
		}
	}
	return ps
}

// verify runs one check of the caller.
func (c *Config) verify(check Check) []error {
	d, known := definitionsByKey()[check.Key]
	if !known {
		return []error{errors.New("a check is registered for this key, which does not exist")}
	}
	var texts []string
	switch t := d.target(c).(type) {
	case *string:
		texts = []string{*t}
	case *[]string:
		texts = *t
	default:
		texts = []string{literal(t)}
	}
	var errs []error
	for _, text := range texts {
		if err := check.Verify(text); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Problem makes an error that points at the line of a key, for what is found wrong after loading. Without a line in the
// file it names the file and the key.
func (c *Config) Problem(key, format string, args ...any) *Problem {
	o := c.origins[key]
	file := c.Path
	if o.source != "" {
		file = o.source
	}
	return newProblem(file, o.line, key, format, args...)
}

// Override sets the text of one string, file, directory, duration or size key from outside of the file, such as
// "socket.path" from source "GALSYNCD_SOCKET" or "--socket". The same rules hold as in the file.
func (c *Config) Override(key, text, source string) error {
	d, known := definitionsByKey()[key]
	if !known {
		return fmt.Errorf("%s: unknown key %s", source, key)
	}
	changed := *c
	complaint := changed.store(d, value{data: text}, newEnvironment())
	if complaint == "" && d.check != nil {
		complaint = d.check(&changed)
	}
	if complaint != "" {
		return newProblem(source, 0, key, "%s", complaint)
	}
	*c = changed
	c.origins[key] = origin{source: source}
	return nil
}

func definitionsByKey() map[string]definition {
	m := map[string]definition{}
	for _, d := range definitions() {
		m[d.key] = d
	}
	return m
}
