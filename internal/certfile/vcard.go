package certfile

import (
	"bytes"
	"mime"
	"net/url"
	"strings"
)

// Bounds of a vCard.
const (
	maxProperties = 10_000
	maxCards      = 64 // mail addresses, and keys, that are taken
)

// property is one content line of a vCard, unfolded: [group "."] name *(";" param) ":" value (RFC 6350 section 3.3).
type property struct {
	name   string   // upper case, without the group
	params []string // as written: "TYPE=X509", or in 2.1 "X509"
	value  string
}

// readVCard takes the KEY and EMAIL properties out of all cards of a file.
func (f *File) readVCard(data []byte) error {
	keys := 0
	for _, p := range properties(data) {
		switch p.name {
		case "EMAIL":
			if len(f.Addresses) < maxCards {
				f.Addresses = append(f.Addresses, strings.TrimPrefix(strings.TrimSpace(p.value), "mailto:"))
			}
		case "KEY":
			if keys++; keys > maxCards {
				return ErrTooLarge
			}
			if err := f.readKey(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// readKey reads a key that is an X.509 certificate, or a PKCS #7 message with some. Other keys (PGP) and keys that are
// somewhere else (a URL) are passed over.
func (f *File) readKey(p property) error {
	var raw []byte
	switch {
	case len(p.value) > 5 && strings.EqualFold(p.value[:5], "data:"):
		raw = dataURI(p.value[5:])
	case p.isBase64():
		raw = decodeBase64([]byte(p.value))
	}
	switch {
	case bytes.HasPrefix(raw, beginPEM): // some programs encode the PEM file once more
		return f.readPEM(raw)
	case len(raw) > 0 && raw[0] == 0x30:
		format := f.Format
		err := f.readDER(raw)
		f.Format = format
		return err
	}
	return nil
}

// isBase64 reports whether the value is written in base64: ENCODING=BASE64 or BASE64 in 2.1, ENCODING=b in 3.0.
func (p *property) isBase64() bool {
	for _, param := range p.params {
		name, value, found := strings.Cut(strings.ToUpper(param), "=")
		value = strings.Trim(value, `"`)
		if name == "ENCODING" && (value == "B" || value == "BASE64") || !found && name == "BASE64" {
			return true
		}
	}
	return false
}

// dataURI decodes what follows "data:" (RFC 2397). Only base64 is read, and only of types that are no other kind of key.
func dataURI(rest string) []byte {
	kind, value, found := strings.Cut(rest, ",")
	kind, encoded := strings.CutSuffix(strings.ToLower(kind), ";base64")
	if !found || !encoded {
		return nil
	}
	if media, _, err := mime.ParseMediaType(kind); err == nil && strings.Contains(media, "pgp") {
		return nil
	}
	if unescaped, err := url.PathUnescape(value); err == nil {
		value = unescaped
	}
	return decodeBase64([]byte(value))
}

// properties splits vCards into their properties. A line that begins with white space continues the one before it (RFC 6350
// section 3.2); in base64 of vCard 2.1 so does every line up to an empty one.
func properties(data []byte) []property {
	var list []property
	var line strings.Builder
	flush := func() {
		if p, ok := parseProperty(line.String()); ok && len(list) < maxProperties {
			list = append(list, p)
		}
		line.Reset()
	}
	inBase64 := false
	for raw := range bytes.Lines(data) {
		text := strings.TrimRight(string(raw), "\r\n")
		switch {
		case text == "":
			inBase64 = false
			continue
		case text[0] == ' ' || text[0] == '\t':
			line.WriteString(text[1:])
			continue
		case inBase64 && !strings.Contains(text, ":"):
			line.WriteString(text)
			continue
		}
		flush()
		line.WriteString(text)
		p, ok := parseProperty(text)
		inBase64 = ok && p.isBase64()
	}
	flush()
	return list
}

// parseProperty splits a content line at the first colon that is not in quotes.
func parseProperty(line string) (property, bool) {
	quoted := false
	at := strings.IndexFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ':' && !quoted
	})
	if at <= 0 {
		return property{}, false
	}
	parts := strings.Split(line[:at], ";")
	name := parts[0]
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name = name[dot+1:]
	}
	return property{name: strings.ToUpper(strings.TrimSpace(name)), params: parts[1:], value: line[at+1:]}, true
}
