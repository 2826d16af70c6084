package smime

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// author is whom a mail says it is from.
type author struct {
	address mailaddr.Address
	// problem is a sentence when there is not exactly one address; a signature can then not be compared with it.
	problem string
	// warning is a sentence about a display name that shows another address.
	warning string
}

// readFrom reads the From field. Only one field with one mailbox counts: where programs could choose between several
// they choose differently (RFC 5322 section 3.6.2 allows more only together with Sender).
func readFrom(h header) author {
	values := h.values("From")
	switch len(values) {
	case 0:
		return author{problem: "the mail has no From field"}
	case 1:
	default:
		return author{problem: fmt.Sprintf("the mail has %d From fields, and programs choose between them differently", len(values))}
	}
	value := strings.ToValidUTF8(values[0], "\uFFFD")
	if outside(value, ":;") {
		return author{problem: "the From field holds a group"}
	}
	list, err := parser.ParseList(value)
	if err != nil {
		return author{problem: "the From field cannot be read: " + err.Error()}
	}
	if len(list) != 1 {
		return author{problem: fmt.Sprintf("the From field holds %d addresses, and programs choose between them differently", len(list))}
	}
	address, err := mailaddr.Parse(list[0].Address)
	if err != nil {
		return author{problem: "the From field has no usable address: " + err.Error()}
	}
	a := author{address: address}
	if other := addressIn(list[0].Name); other != "" && other != address {
		a.warning = fmt.Sprintf("the name in the From field shows another address, %s, than it has", other)
	}
	return a
}

// String is the address.
func (a author) String() string { return string(a.address) }

// list holds the address, or nothing.
func (a author) list() []mailaddr.Address {
	if a.address == "" {
		return nil
	}
	return []mailaddr.Address{a.address}
}

// namedBy reports whether a certificate names the address.
func (a author) namedBy(cert *x509.Certificate) bool {
	return a.address != "" && slices.Contains(trust.CertificateAddresses(cert), a.address)
}

// outside reports whether one of the characters stands in a header value outside of quoted strings, comments and angle
// brackets (RFC 5322 section 3.2).
func outside(value, characters string) bool {
	quoted, angle, comments := false, false, 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || comments > 0):
			i++
		case quoted:
			quoted = c != '"'
		case c == '(':
			comments++
		case comments > 0:
			if c == ')' {
				comments--
			}
		case c == '"':
			quoted = true
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case !angle && strings.IndexByte(characters, c) >= 0:
			return true
		}
	}
	return false
}

// addressIn finds the first mail address in a display name.
func addressIn(name string) mailaddr.Address {
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(" \t<>()\"',;:[]", r) }) {
		if strings.Contains(word, "@") {
			if a, err := mailaddr.Parse(word); err == nil {
				return a
			}
		}
	}
	return ""
}
