// Package mailaddr says when two spellings are one mail address.
//
// Exchange compares addresses without regard to case, also in the local part, and writes internationalised domains in
// either form; certificates and people do too. Everything in galsyncd that compares addresses compares the canonical
// form made here, so that bob@corp.example never meets bob@corp.example.org and Bob@CORP.example always meets
// bob@corp.example.
package mailaddr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// MaxLength is the longest address accepted, in bytes: 64 of local part, "@" and 255 of domain (RFC 5321 section 4.5.3.1).
const MaxLength = 320

// ErrInvalid reports a text that is not one bare mail address.
var ErrInvalid = errors.New("not a mail address")

// Address is a mail address in canonical form: lower case, Unicode NFC in the local part, the domain in A-labels, no
// display name and no "smtp:" prefix, no dot at the end of the domain. The zero value is no address.
type Address string

// profile maps and checks a domain for look-up (UTS #46), without demanding what old internal domains break: underscores
// and single labels are accepted.
var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// Parse makes the canonical form of one bare address. It takes neither display names nor angle brackets, nor quoted
// local parts, which Exchange does not have. The error wraps ErrInvalid.
func Parse(s string) (Address, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > MaxLength || !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: empty, longer than %d bytes or not UTF-8", ErrInvalid, MaxLength)
	}
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return "", fmt.Errorf("%w: %q has no local part or no domain", ErrInvalid, s)
	}
	// Normalise before looking: NFC turns U+037E into ";".
	local, domain := norm.NFC.String(strings.ToLower(s[:at])), s[at+1:]
	// A letter that only folding makes ASCII, such as the Kelvin sign, must not meet somebody else's address.
	if strings.ContainsFunc(local, notInLocal) || isASCII(local) && !isASCII(s[:at]) {
		return "", fmt.Errorf("%w: %q has a character that no local part has", ErrInvalid, s)
	}
	ascii, err := profile.ToASCII(domain)
	if err != nil || slices.Contains(strings.Split(ascii, "."), "") || strings.ContainsFunc(ascii, notInDomain) {
		return "", fmt.Errorf("%w: %q has no usable domain", ErrInvalid, s)
	}
	a := local + "@" + strings.ToLower(ascii)
	if len(a) > MaxLength {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxLength)
	}
	return Address(a), nil
}

// Domain returns what follows the "@".
func (a Address) Domain() string {
	return string(a[strings.LastIndexByte(string(a), '@')+1:])
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// notInLocal reports characters that no unquoted local part has (RFC 5321 atext and ".", RFC 6531 above ASCII).
func notInLocal(r rune) bool {
	if r >= utf8.RuneSelf {
		return !unicode.IsPrint(r) || unicode.IsSpace(r)
	}
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`"(),:;<>@[\]`, r)
}

func notInDomain(r rune) bool {
	return !(r == '-' || r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}

// Fold makes the form in which names are searched: lower case, without accents, the letters that Unicode does not
// decompose written out (ß as ss, ø as o, ł as l, æ as ae, þ as th, đ as d, ı as i).
func Fold(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range norm.NFD.String(strings.ToLower(s)) {
		if unicode.Is(unicode.Mn, r) {
			continue
		}
		if plain, ok := undecomposed[r]; ok {
			b.WriteString(plain)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

var undecomposed = map[rune]string{'ß': "ss", 'ø': "o", 'ł': "l", 'æ': "ae", 'œ': "oe", 'þ': "th", 'ð': "d", 'đ': "d", 'ħ': "h", 'ı': "i", 'ŧ': "t"}
