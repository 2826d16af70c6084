package pinentry

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// talk is a conversation with a program that says this.
func talk(says string, p Prompt) (string, string, error) {
	var sent strings.Builder
	s := newSession(strings.NewReader(says), &sent)
	if _, err := s.answer(); err != nil {
		return "", "", err
	}
	got, err := s.ask(p)
	return got, sent.String(), err
}

func TestAsk(t *testing.T) {
	const before = "OK Pleased to meet you\nOK\nOK\nOK\n" // greeting, SETTIMEOUT, SETTITLE, SETDESC
	for name, tt := range map[string]struct {
		says   string
		prompt Prompt
		want   string
		err    error
	}{
		"plain":                   {before + "OK\nD secret\nOK\n", Prompt{}, "secret", nil},
		"in pieces, with talk":    {before + "OK\n# a comment\nS PASSWORD_FROM_CACHE\nD se\nD c%25%0Aret \nOK done\n", Prompt{}, "sec%\nret ", nil},
		"empty":                   {before + "OK\nOK\n", Prompt{}, "", nil},
		"twice":                   {before + "OK\nD a b\nOK\nOK\nD a b\nOK\n", Prompt{Repeat: "again"}, "a b", nil},
		"twice, at second try":    {before + "OK\nD a\nOK\nOK\nD b\nOK\nOK\nOK\nD c\nOK\nOK\nD c\nOK\n", Prompt{Repeat: "again"}, "c", nil},
		"never the same":          {before + strings.Repeat("OK\nD a\nOK\nOK\nD b\nOK\nOK\n", 3), Prompt{Repeat: "again"}, "", ErrCancelled},
		"cancelled":               {before + "OK\nERR 83886179 Operation cancelled <Pinentry>\n", Prompt{}, "", ErrCancelled},
		"timed out":               {before + "OK\nERR 83886142 Timeout <Pinentry>\n", Prompt{}, "", ErrCancelled},
		"knows few commands":      {"OK\nERR 536871187 Unknown option\nERR 536871187 unknown\nOK\nERR 1 x\nOK\nD x\nOK\n", Prompt{TTY: "/dev/tty"}, "x", nil},
		"asks back":               {before + "OK\nINQUIRE QUALITY x\nD y\nOK\n", Prompt{}, "y", nil},
		"ends":                    {"OK\n", Prompt{}, "", ErrProtocol},
		"says nothing":            {"", Prompt{}, "", ErrProtocol},
		"another program":         {"Usage: frobnicate\n", Prompt{}, "", ErrProtocol},
		"endless line":            {strings.Repeat("x", 5000), Prompt{}, "", ErrProtocol},
		"endless talk":            {strings.Repeat("S x\n", 1000), Prompt{}, "", ErrProtocol},
		"endless passphrase":      {before + "OK\n" + strings.Repeat("D "+strings.Repeat("x", 900)+"\n", 3), Prompt{}, "", ErrProtocol},
		"bad escape":              {before + "OK\nD a%4\nOK\n", Prompt{}, "", ErrProtocol},
		"bad escape 2":            {before + "OK\nD a%zz\nOK\n", Prompt{}, "", ErrProtocol},
		"an error without number": {before + "OK\nERR x\n", Prompt{}, "", ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", "")
			for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
				t.Setenv(v, "")
			}
			got, _, err := talk(tt.says, tt.prompt)
			if got != tt.want && tt.err == nil || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	_, sent, _ := talk(before+"OK\nOK\n", Prompt{Title: "a%b\nBYE", Label: strings.Repeat("long ", 400)})
	if !strings.Contains(sent, "SETTITLE a%25b%0ABYE\n") || strings.Contains(sent, "\nBYE") {
		t.Errorf("sent %q", sent)
	}
	for line := range strings.Lines(sent) {
		if len(line) > maxLine {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := script("good", "echo OK hello\nwhile read word rest; do case $word in GETPIN) echo D secret;; esac; echo OK; done\n")
	if got, err := Ask(t.Context(), good, Prompt{Title: "t"}); err != nil || got != "secret" {
		t.Errorf("good: %q, %v", got, err)
	}
	if _, err := Ask(t.Context(), script("dies", "exit 1\n"), Prompt{}); !errors.Is(err, ErrProtocol) {
		t.Errorf("dies: %v", err)
	}
	if _, err := Ask(t.Context(), script("babbles", "while :; do echo hello; done\n"), Prompt{}); !errors.Is(err, ErrProtocol) {
		t.Errorf("babbles: %v", err)
	}
	if _, err := Ask(t.Context(), filepath.Join(dir, "missing"), Prompt{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// FuzzAsk holds that no program can make the conversation panic, grow or go on for ever, and that a passphrase keeps its
// bound.
func FuzzAsk(f *testing.F) {
	f.Add("OK\nOK\nOK\nOK\nOK\nD se%25cret\nOK\n", true)
	f.Add("OK\nOK\nOK\nOK\nOK\nERR 83886179 cancelled\n", false)
	f.Add("OK\nINQUIRE x\nS y\n# z\nOK\n", false)
	f.Fuzz(func(t *testing.T, says string, twice bool) {
		p := Prompt{Title: "t", Label: "l", TTY: "/dev/tty"}
		if twice {
			p.Repeat = "again"
		}
		got, err := newSession(strings.NewReader(says), io.Discard).ask(p)
		if len(got) > maxPassphrase || err != nil && got != "" {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}
