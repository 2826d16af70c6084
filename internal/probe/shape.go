package probe

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/ews"
)

// Entries counts what the entries of one answer have.
type Entries struct {
	Count int `json:"count"`
	// Kinds counts by MailboxType, Routing by RoutingType, Sources by ContactSource; "" is missing.
	Kinds   map[string]int `json:"kinds"`
	Routing map[string]int `json:"routing"`
	Sources map[string]int `json:"sources"`
	// WithoutContact entries have no Contact element.
	WithoutContact int `json:"without_contact"`
	// ListedAddresses counts entries by how many addresses they list; Prefixes counts these by "SMTP:", "smtp:" and others.
	ListedAddresses map[int]int    `json:"listed_addresses"`
	Prefixes        map[string]int `json:"prefixes"`
	// FoundUnlisted entries list no address that begins with what was asked for.
	FoundUnlisted int `json:"found_by_an_address_not_listed"`
	// WithSMIME and WithExchange entries have values in UserSMIMECertificate and MSExchangeCertificate, WithBoth in both;
	// MostValues is the highest number of values in one property.
	WithSMIME    int `json:"with_user_smime_certificate"`
	WithExchange int `json:"with_ms_exchange_certificate"`
	WithBoth     int `json:"with_both"`
	MostValues   int `json:"most_values"`
	// Issuers is the number of different issuers of certificates.
	Issuers int `json:"issuers"`
}

// ValueShape is one form that values of a property have, and how often.
type ValueShape struct {
	Property string `json:"property"`
	Form     string `json:"form"`
	Count    int    `json:"count"`
	Shortest int    `json:"shortest"` // bytes
	Longest  int    `json:"longest"`
}

// The enumerations that are repeated in a report; other words of a server are not.
var (
	kinds   = []string{"Mailbox", "PublicDL", "PrivateDL", "Contact", "PublicFolder", "GroupMailbox", "Unknown", "OneOff"}
	routing = []string{"SMTP", "EX", "MAPIPDL"}
	sources = []string{"ActiveDirectory", "Store"}
	schemes = []string{"SMTP", "smtp", "X500", "x500", "SIP", "sip", "EUM", "eum", "X400", "x400"}
)

// enumerated is the word if it is one of the list.
func enumerated(word string, list []string) string {
	if word == "" || slices.Contains(list, word) {
		return word
	}
	return "another one"
}

// count describes the entries of one answer.
func (r *run) count(list []ews.Resolution) {
	e := &r.report.Entries
	*e = Entries{Count: len(list), Kinds: map[string]int{}, Routing: map[string]int{}, Sources: map[string]int{}, ListedAddresses: map[int]int{}, Prefixes: map[string]int{}}
	issuers := map[[32]byte]bool{}
	var values []directory.Value
	for _, res := range list {
		e.Kinds[enumerated(res.Mailbox.MailboxType, kinds)]++
		e.Routing[enumerated(res.Mailbox.RoutingType, routing)]++
		if res.Contact == nil {
			e.WithoutContact++
			continue
		}
		e.Sources[enumerated(res.Contact.ContactSource, sources)]++
		e.addresses(res, r.sample.letter)
		e.values(res.Contact.Values)
		values = append(values, res.Contact.Values...)
		for _, v := range res.Contact.Values {
			for _, c := range certificates(v.Data) {
				issuers[sha256.Sum256(c.RawIssuer)] = true
			}
		}
	}
	e.Issuers = len(issuers)
	r.shapesOf("", values)
}

// shapesOf adds the forms of values to the report; where stands before the names of their properties.
func (r *run) shapesOf(where string, values []directory.Value) {
	shapes := map[[2]string]*ValueShape{}
	for _, v := range values {
		addShape(shapes, where, v)
	}
	for _, k := range slices.SortedFunc(maps.Keys(shapes), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		r.report.Values = append(r.report.Values, *shapes[k])
	}
}

func (e *Entries) addresses(res ews.Resolution, asked string) {
	listed, begins := 0, strings.HasPrefix(strings.ToLower(res.Mailbox.EmailAddress), asked)
	for _, s := range res.Contact.EmailAddresses {
		listed++
		kind, rest, ok := strings.Cut(s, ":")
		if !ok {
			kind, rest = "none", s
		} else {
			kind = enumerated(kind, schemes)
		}
		e.Prefixes[kind]++
		begins = begins || strings.HasPrefix(strings.ToLower(rest), asked)
	}
	e.ListedAddresses[listed]++
	if !begins {
		e.FoundUnlisted++
	}
}

func (e *Entries) values(list []directory.Value) {
	n := map[directory.Property]int{}
	for _, v := range list {
		n[v.Property]++
		e.MostValues = max(e.MostValues, n[v.Property])
	}
	s, x := n[directory.UserSMIMECertificate] > 0, n[directory.MSExchangeCertificate] > 0
	e.WithSMIME += one(s)
	e.WithExchange += one(x)
	e.WithBoth += one(s && x)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func addShape(shapes map[[2]string]*ValueShape, where string, v directory.Value) {
	const most = 64 // forms; what is beyond is one of them
	form := formOf(v)
	key := [2]string{where + string(v.Property), form}
	if shapes[key] == nil && len(shapes) >= most {
		key[1] = "further forms"
	}
	s := shapes[key]
	if s == nil {
		s = &ValueShape{Property: key[0], Form: key[1], Shortest: len(v.Data)}
		shapes[key] = s
	}
	s.Count++
	s.Shortest, s.Longest = min(s.Shortest, len(v.Data)), max(s.Longest, len(v.Data))
}

// formOf says in which form a value is, without anything of what is in it.
func formOf(v directory.Value) string {
	switch {
	case v.Fault != "":
		return "not readable as base64 within the limits"
	case len(v.Data) == 0:
		return "empty"
	}
	set, err := cms.ParseCertificates(v.Data)
	if err == nil {
		form := fmt.Sprintf("SignedData with %d certificates", len(set.Certificates))
		if set.Preferred != nil {
			form += ", one preferred"
		}
		if len(v.Data) > 1 && v.Data[1] == 0x80 {
			form += ", indefinite length"
		}
		return form
	}
	if !errors.Is(err, cms.ErrNotSignedData) {
		return "damaged SignedData"
	}
	if _, err := x509.ParseCertificate(v.Data); err == nil {
		return "X.509 certificate"
	}
	if tags, ok := settingTags(v.Data, binary.LittleEndian); ok {
		return "settings, little-endian:" + tags
	}
	if tags, ok := settingTags(v.Data, binary.BigEndian); ok {
		return "settings, big-endian:" + tags
	}
	return fmt.Sprintf("something else, beginning with 0x%02x", v.Data[0])
}

// settingTags lists the tags of a run of settings with the length of each (MS-OXOABK section 2.2.4.36: tag and length of two
// bytes each, the length counts them). False when the value is none.
func settingTags(b []byte, order binary.ByteOrder) (string, bool) {
	const most = 32
	var out strings.Builder
	for n := 0; len(b) > 0; n++ {
		if len(b) < 4 || n == most {
			return "", false
		}
		tag, length := order.Uint16(b), int(order.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			return "", false
		}
		fmt.Fprintf(&out, " 0x%04x%s", tag, sizeClass(length-4))
		b = b[length:]
	}
	return out.String(), true
}

// sizeClass is the length of a setting, of longer ones roughly: the exact length of a certificate would make each value a
// form of its own.
func sizeClass(n int) string {
	if n <= 32 {
		return fmt.Sprintf("(%d)", n)
	}
	return fmt.Sprintf("(about %d)", (n+255)/256*256)
}

// certificates are those in a value, of whatever form.
func certificates(data []byte) []*x509.Certificate {
	if len(data) == 0 {
		return nil
	}
	if c, err := x509.ParseCertificate(data); err == nil {
		return []*x509.Certificate{c}
	}
	set, err := cms.ParseCertificates(data)
	if err != nil {
		return nil
	}
	var list []*x509.Certificate
	for _, raw := range set.Certificates {
		if c, err := x509.ParseCertificate(raw); err == nil {
			list = append(list, c)
		}
	}
	return list
}
