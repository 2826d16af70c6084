package httpauth

import "strings"

// splitOffers separates the challenges of WWW-Authenticate values, several of which may share a line (RFC 9110 section
// 11.6.1), and writes the names of known schemes as the negotiator expects them.
func splitOffers(values []string) []string {
	var offers []string
	for _, v := range values {
		first := len(offers)
		for _, part := range splitCommas(v) {
			part = strings.TrimSpace(part)
			word, rest, _ := strings.Cut(part, " ")
			switch {
			case part == "":
			case len(offers) > first && (strings.ContainsRune(word, '=') || strings.HasPrefix(strings.TrimSpace(rest), "=")):
				offers[len(offers)-1] += ", " + part // a parameter of the challenge before it
			default:
				offers = append(offers, strings.TrimSpace(schemeName(word)+" "+rest))
			}
		}
	}
	return offers
}

func schemeName(s string) string {
	for _, known := range []string{"NTLM", "Negotiate", "Basic"} {
		if strings.EqualFold(s, known) {
			return known
		}
	}
	return s
}

// splitCommas splits at commas outside of quoted strings.
func splitCommas(s string) []string {
	var parts []string
	quoted, escaped, start := false, false, 0
	for i := range len(s) {
		switch c := s[i]; {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
