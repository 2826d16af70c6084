package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// spilled finds what only a programmer could want to read: failed formats, dumps of Go values and stack traces.
var spilled = regexp.MustCompile(`%!|panic|goroutine|&\{|\{0x|0xc0[0-9a-f]{6}|<nil>|map\[|\bnil\b|runtime error|WARNING: DATA RACE`)

// line matches the lines that galsyncd may write to standard error: messages, their details, and the log.
var line = regexp.MustCompile(`^(error: |warning: |hint: |  +[^ ]|time=|sync started$|decrypted: |[^ ]+ is in order$|[a-z.@:-]+: |can be encrypted: |message for [^ ]|unable to encrypt: |.*, about |there is no [^ ]+: the default configuration is in order$)`)

// readAloud returns what is wrong with the messages of a run.
func readAloud(text string, status int) []string {
	var complaints []string
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	if found := spilled.FindString(text); found != "" {
		complain("the message spills %q:\n%s", found, text)
	}
	errors := 0
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		if !line.MatchString(l) {
			complain("not a message, a detail or a line of the log: %q", l)
		}
		message, isError := strings.CutPrefix(l, "error: ")
		if !isError {
			continue
		}
		errors++
		for _, c := range lint(message) {
			complain("%s: %q", c, l)
		}
	}
	if errors > 0 && status == 0 {
		complain("an error was printed, and the exit status is 0:\n%s", text)
	}
	return complaints
}

// lint returns what is wrong with the style of one message.
func lint(message string) []string {
	var complaints []string
	if strings.TrimSpace(message) == "" {
		complaints = append(complaints, "empty message")
	}
	if first := strings.Fields(message + " ")[:1]; len(first) == 1 && regexp.MustCompile(`^[A-Z][a-z]+$`).MatchString(first[0]) {
		complaints = append(complaints, "begins with a capital")
	}
	if strings.HasSuffix(message, ".") || strings.HasSuffix(message, "\n") || strings.HasSuffix(message, ":") {
		complaints = append(complaints, "ends like a sentence or an unfinished one")
	}
	if regexp.MustCompile(`(?i)\bfailed to\b|\bunable to (open|read|write)|\berror:`).MatchString(message) {
		complaints = append(complaints, "chains failures instead of saying what was attempted")
	}
	parts := strings.Split(message, ": ")
	for i, part := range parts {
		if len(part) > 20 && strings.Count(message, part) > 1 || i > 0 && part == parts[i-1] {
			complaints = append(complaints, fmt.Sprintf("says %q twice", part))
			break
		}
	}
	if len(message) > 320 {
		complaints = append(complaints, fmt.Sprintf("is %d bytes long", len(message)))
	}
	return complaints
}

func TestReadAloud(t *testing.T) {
	for text, want := range map[string]bool{
		"": true,
		"error: read the mail: no such file\nhint: name another\n": true,
		"error: Open file\n":                    false,
		"error: open %!s(nil)\n":                false,
		"panic: oh\n":                           false,
		"error: ask the server: &{x}\n":         false,
		"error: failed to open: no such file\n": false,
		"some talk\n":                           false,
		"error: the very same thing here: the very same thing here\n": false,
	} {
		if got := readAloud(text, 1); (len(got) == 0) != want {
			t.Errorf("readAloud(%q) = %q", text, got)
		}
	}
	if len(readAloud("error: something\n", 0)) == 0 {
		t.Error("an error with exit status 0 was not noticed")
	}
}
