package service

import (
	"encoding/json"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// marshal is json.Marshal for answers. Names in certificates, mails and address books are written by others: a line break in
// one could make a second line in what a program shows, a control character move the cursor of a terminal. Each of them is
// shown as U+FFFD. What has to be exact (certificates, fingerprints) is in other forms.
func marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plain(data), nil
}

// plain replaces control characters in the strings of a JSON document as json.Marshal writes it: outside of strings there are
// none, in them those of ASCII but DEL are escaped (RFC 8259 section 7).
func plain(data []byte) []byte {
	var out []byte
	copied := 0 // bytes of data that out stands for
	for i := 0; i < len(data); {
		if c := data[i]; c < utf8.RuneSelf && c != '\\' && c != 0x7f {
			i++
			continue
		}
		r, n := character(data[i:])
		if steers(r) {
			out = utf8.AppendRune(append(out, data[copied:i]...), utf8.RuneError)
			copied = i + n
		}
		i += n
	}
	if copied == 0 {
		return data
	}
	return append(out, data[copied:]...)
}

// character reads the first character of a JSON document, which may be an escape, and how many bytes it has.
func character(data []byte) (r rune, n int) {
	if data[0] != '\\' {
		return utf8.DecodeRune(data)
	}
	switch data[1] {
	case 'u':
		code, _ := strconv.ParseUint(string(data[2:6]), 16, 16) // json.Marshal wrote it
		return rune(code), 6
	case 'b', 'f', 'n', 'r', 't':
		return '\n', 2 // any of them: all steer
	}
	return rune(data[1]), 2
}

// steers reports a character that steers whatever shows a text: control characters, line and paragraph separators, and those
// that turn the direction of writing (Unicode Standard Annex #9 section 2).
func steers(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}
