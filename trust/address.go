package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// maxNames bounds how many names of one certificate are looked at; maxShown how many a sentence lists.
const (
	maxNames = 256
	maxShown = 3
)

// CertificateAddresses returns the mail addresses that cert names, each once, in the order of the certificate: its rfc822Name and
// SmtpUTF8Mailbox alternative names (RFC 5280 section 4.2.1.6, RFC 9598), or, when it has neither, the emailAddress
// attributes of its subject (RFC 8550 section 3). A Microsoft user principal name looks like an address and is none.
// Names that are no valid address are left out.
func CertificateAddresses(cert *x509.Certificate) []mailaddr.Address {
	plain, other := mailNames(cert)
	return append(plain, other...)
}

// mailNames divides the addresses by who watches over them: plain ones are rfc822Names, whose name constraints crypto/x509
// checks too; the others it does not know.
func mailNames(cert *x509.Certificate) (plain, other []mailaddr.Address) {
	for _, name := range cert.EmailAddresses[:min(len(cert.EmailAddresses), maxNames)] {
		plain = appendAddress(plain, name)
	}
	for _, name := range smtpUTF8Names(cert) {
		other = appendAddress(other, name)
	}
	if len(cert.EmailAddresses) > 0 || len(other) > 0 {
		return plain, other
	}
	for _, attribute := range cert.Subject.Names {
		if name, ok := attribute.Value.(string); ok && attribute.Type.Equal(oidEmailAddress) && len(other) < maxNames {
			other = appendAddress(other, name)
		}
	}
	return nil, other
}

func appendAddress(list []mailaddr.Address, name string) []mailaddr.Address {
	a, err := mailaddr.Parse(name)
	if err != nil || slices.Contains(list, a) {
		return list
	}
	return append(list, a)
}

// otherName is RFC 5280's OtherName with a text as its value.
type otherName struct {
	Type  asn1.ObjectIdentifier
	Value string `asn1:"explicit,tag:0,utf8"`
}

// smtpUTF8Names returns the SmtpUTF8Mailbox names. Those with a plain ASCII local part are left out, as RFC 9598
// section 3 forbids them: what looks ASCII after case folding but is not (the Kelvin sign) must not become somebody's
// address.
func smtpUTF8Names(cert *x509.Certificate) []string {
	var names []string
	for _, general := range generalNames(cert) {
		if general.Class != asn1.ClassContextSpecific || general.Tag != 0 || !general.IsCompound {
			continue
		}
		var name otherName
		if _, err := asn1.UnmarshalWithParams(general.FullBytes, &name, "tag:0"); err != nil || !name.Type.Equal(oidSmtpUTF8) {
			continue
		}
		if a, err := mailaddr.Parse(name.Value); err == nil && !localASCII(a) {
			names = append(names, name.Value)
		}
	}
	return names
}

// localASCII reports whether the local part has only ASCII characters; in canonical form a domain has no others.
func localASCII(a mailaddr.Address) bool {
	return !strings.ContainsFunc(string(a), func(r rune) bool { return r >= utf8.RuneSelf })
}

// generalNames returns the elements of the subject alternative name extension, at most maxNames.
func generalNames(cert *x509.Certificate) []asn1.RawValue {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var outer asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &outer); err != nil || len(rest) > 0 {
			return nil
		}
		var names []asn1.RawValue
		for rest := outer.Bytes; len(rest) > 0 && len(names) < maxNames; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil
			}
			names = append(names, name)
		}
		return names
	}
	return nil
}

// checkAddress demands that the certificate names one of the person's addresses.
func checkAddress(cert *x509.Certificate, q Question) []Finding {
	wanted, named := q.Addresses, q.Names
	if named == nil {
		named = CertificateAddresses(cert)
	}
	if slices.ContainsFunc(named, func(a mailaddr.Address) bool { return slices.Contains(wanted, a) }) {
		return nil
	}
	if len(named) == 0 {
		return []Finding{{State: WrongAddress, Reason: "without any mail address, so nothing ties it to " + list(wanted)}}
	}
	return []Finding{{State: WrongAddress, Reason: fmt.Sprintf("names %s, not %s", list(named), list(wanted))}}
}

// list writes some addresses into a sentence.
func list(addresses []mailaddr.Address) string {
	var texts []string
	for _, a := range addresses[:min(len(addresses), maxShown)] {
		texts = append(texts, string(a))
	}
	if more := len(addresses) - maxShown; more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	switch len(texts) {
	case 0:
		return "the address"
	case 1:
		return texts[0]
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1]
}
