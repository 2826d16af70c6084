package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain writes text for people. Names and texts of others cannot steer a terminal through it: control characters but the line
// break and the tab, and those that turn the direction of writing, are shown as U+FFFD. Writes hold whole characters.
type plain struct{ io.Writer }

func (p plain) Write(text []byte) (int, error) {
	if _, err := io.WriteString(p.Writer, harmless(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// oneLine is harmless for a text that must not make lines of its own.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return utf8.RuneError
		}
		return r
	}, harmless(text))
}

// talk is standard error for people.
func (a *app) talk() io.Writer { return plain{a.err} }

// printf writes text whose lines are those of format: names and texts of others, such as the subject of a certificate, make
// none of their own, in which they could say that a signature is valid.
func printf(w io.Writer, format string, args ...any) {
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = oneLine(err.Error())
		} else if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			args[i] = oneLine(v.String())
		}
	}
	fmt.Fprintf(w, format, args...)
}
