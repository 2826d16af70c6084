package service

import (
	"bytes"
	"encoding/json"
	"slices"
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
// none, in them most are escaped (RFC 8259 section 7).
func plain(data []byte) []byte {
	if !bytes.ContainsFunc(data, func(r rune) bool { return r == '\\' || steers(r) }) {
		return data
	}
	out := make([]byte, 0, len(data)+16)
	for i := 0; i < len(data); {
		r, n := character(data[i:])
		if steers(r) {
			out = utf8.AppendRune(out, utf8.RuneError)
		} else {
			out = append(out, data[i:i+n]...)
		}
		i += n
	}
	return out
}

// character reads the first character of a JSON document, which may be an escape, and how many bytes it has.
func character(data []byte) (r rune, n int) {
	if data[0] != '\\' {
		return utf8.DecodeRune(data)
	}
	if n = 2; data[1] == 'u' {
		n = 6
	}
	var text string
	_ = json.Unmarshal(slices.Concat([]byte{'"'}, data[:n], []byte{'"'}), &text) // json.Marshal wrote it
	r, _ = utf8.DecodeRuneInString(text)
	return r, n
}

// steers reports a character that steers whatever shows a text: control characters, line and paragraph separators, and those
// that turn the direction of writing (Unicode Standard Annex #9 section 2).
func steers(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}
