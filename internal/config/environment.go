package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// environment is what defaults and "~/" are made from (XDG Base Directory Specification 0.8). A value of an XDG variable
// that is not absolute is ignored, as the specification asks.
type environment struct {
	home string // "" when unknown
	vars map[string]string
}

func newEnvironment() environment {
	env := environment{vars: map[string]string{}}
	if home := os.Getenv("HOME"); usable(home) {
		env.home = filepath.Clean(home)
	}
	env.base("XDG_CONFIG_HOME", ".config")
	env.base("XDG_CACHE_HOME", ".cache")
	env.base("XDG_DATA_HOME", ".local/share")
	env.base("XDG_RUNTIME_DIR", "")
	if env.vars["XDG_RUNTIME_DIR"] == "" {
		env.vars["XDG_RUNTIME_DIR"] = "/run/user/" + strconv.Itoa(os.Getuid())
	}
	return env
}

// usable reports a directory that may stand in a configuration.
func usable(dir string) bool {
	return filepath.IsAbs(dir) && utf8.ValidString(dir) && !strings.ContainsFunc(dir, isControl)
}

func (env environment) base(name, fallback string) {
	if dir := os.Getenv(name); usable(dir) {
		env.vars[name] = filepath.Clean(dir)
	} else if fallback != "" && env.home != "" {
		env.vars[name] = filepath.Join(env.home, fallback)
	}
}

// expand puts the environment into a default written as TOML. A text with a variable that is
// not known becomes "", or is left out of a list.
func (env environment) expand(literal string) string {
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"} {
		if !strings.Contains(literal, "$"+name) {
			continue
		}
		if dir := env.vars[name]; dir != "" {
			literal = strings.ReplaceAll(literal, "$"+name, escape(dir))
			continue
		}
		quoted := regexp.MustCompile(`(, )?"\$` + name + `[^"]*"`)
		if strings.HasPrefix(literal, "[") {
			literal = quoted.ReplaceAllString(literal, "")
		} else {
			literal = `""`
		}
	}
	return literal
}

// tilde expands a leading "~/".
func (env environment) tilde(s string) (string, error) {
	rest, found := strings.CutPrefix(s, "~/")
	if !found {
		return s, nil
	}
	if env.home == "" {
		return "", fmt.Errorf("%q needs $HOME, which is not set; write an absolute path", s)
	}
	return filepath.Join(env.home, rest), nil
}

// directory reads an absolute path or one under "~/". "" stays "".
func (env environment) directory(s string) (string, error) {
	s, err := env.tilde(s)
	if err != nil || s == "" {
		return s, err
	}
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("%q is not an absolute path", s)
	}
	return filepath.Clean(s), nil
}

// file reads a path that may be relative to dir. "" stays "".
func (env environment) file(s, dir string) (string, error) {
	s, err := env.tilde(s)
	if err != nil || s == "" {
		return s, err
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s), nil
	}
	if dir == "" {
		return "", fmt.Errorf("%q is relative, and there is no configuration file to count from", s)
	}
	return filepath.Join(dir, s), nil
}
