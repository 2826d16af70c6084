package ews

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"

	"github.com/galsyncd/galsyncd/directory"
)

// ResolveNamesResponse is what the server said (MS-OXWSRSLNM section 3.1.4.1.2.2).
type ResolveNamesResponse struct {
	// ResponseCode is NoError, ErrorNameResolutionMultipleResults or ErrorNameResolutionNoResults.
	ResponseCode string
	// Resolutions are the entries found; at most 100 from a server that keeps to its schema.
	Resolutions []Resolution
	// Truncated reports IncludesLastItemInRange="false", or a hundred entries without that attribute: there are, or may
	// be, more entries.
	Truncated bool
}

// Resolution is one entry (MS-OXWSRSLNM section 3.1.4.1.3.4).
type Resolution struct {
	Mailbox Mailbox
	// Contact is nil when the server sent none, which happens with full contact data too.
	Contact *Contact
}

// Mailbox is the entry's address (MS-OXWSCDATA section 2.2.4.31).
type Mailbox struct {
	Name string
	// EmailAddress is an SMTP address when RoutingType is SMTP, and a legacy DN when it is EX.
	EmailAddress string
	RoutingType  string
	// MailboxType is Mailbox, PublicDL, PrivateDL, Contact, PublicFolder, GroupMailbox, Unknown or OneOff.
	MailboxType string
	// InStore reports an ItemId: the entry is an item of a mailbox.
	InStore bool
}

// Contact is what was kept of the entry's contact data (MS-OXWSCONT section 3.1.4.1.1.8).
type Contact struct {
	DisplayName, GivenName, Surname, Alias string
	// ContactSource is ActiveDirectory or Store.
	ContactSource string
	// EmailAddresses are as listed, with their prefixes ("SMTP:", "smtp:", "X500:", "SIP:"); Exchange lists at most three.
	EmailAddresses []string
	// Values are the values of UserSMIMECertificate and MSExchangeCertificate in the order of the answer.
	Values []directory.Value
}

// resolutionSet is the ResolutionSet of an answer.
type resolutionSet struct {
	resolutions []Resolution
	// last is IncludesLastItemInRange; empty when missing. TotalItemsInView is not read: servers get it wrong.
	last string
}

func (s *resolutionSet) size() int {
	if s == nil {
		return 0
	}
	return len(s.resolutions)
}

func (s *resolutionSet) truncated() bool {
	switch s.last {
	case "true", "1":
		return false
	case "":
		return len(s.resolutions) >= 100
	}
	return true
}

func (a *answer) readSet(r *reader, start xml.StartElement) error {
	if a.set != nil {
		return errors.New("the answer has more than one ResolutionSet")
	}
	set := &resolutionSet{}
	set.last, _ = attribute(start, "IncludesLastItemInRange")
	set.last = strings.ToLower(strings.TrimSpace(set.last))
	a.set = set
	return r.children(func(e xml.StartElement) error {
		if e.Name != (xml.Name{Space: nsTypes, Local: "Resolution"}) {
			return unexpected(e) // passed over, it would be somebody who is not there
		}
		if len(set.resolutions) == maxResolutions {
			return refusedf("the answer has more than %d entries", maxResolutions)
		}
		element := etree.NewElement("Resolution")
		if err := prune(r, element, kept); err != nil {
			return err
		}
		set.resolutions = append(set.resolutions, newResolution(element))
		return nil
	})
}

// shape says which children of an element are kept; one without children of its own is kept for its text.
type shape map[string]shape

// kept is what is read of a Resolution. Photos, telephone numbers and whatever else AllProperties brings are not in it.
var kept = shape{
	"Mailbox": {"Name": nil, "EmailAddress": nil, "RoutingType": nil, "MailboxType": nil, "ItemId": nil},
	"Contact": {
		"DisplayName": nil, "GivenName": nil, "Surname": nil, "Alias": nil, "ContactSource": nil,
		"EmailAddresses":        {"Entry": nil},
		"UserSMIMECertificate":  {"Base64Binary": nil},
		"MSExchangeCertificate": {"Base64Binary": nil},
	},
}

// maxBase64 is room for the base64 of the longest value, folded and indented.
const maxBase64 = maxValue*4/3 + maxValue/2

// prune copies the element that the reader is in, without what the shape does not name.
func prune(r *reader, to *etree.Element, keep shape) error {
	return r.children(func(e xml.StartElement) error {
		inside, ok := keep[e.Name.Local]
		if !ok || e.Name.Space != nsTypes || len(to.Child) >= maxChildren {
			return r.skip()
		}
		child := to.CreateElement(e.Name.Local)
		if inside != nil {
			return prune(r, child, inside)
		}
		limit := maxText
		if e.Name.Local == "Base64Binary" {
			limit = maxBase64
		}
		text, long, err := r.text(limit)
		if err != nil {
			return err
		}
		if long {
			child.CreateAttr("long", "true")
		}
		child.SetText(text)
		return nil
	})
}

func newResolution(e *etree.Element) Resolution {
	var res Resolution
	if m := e.SelectElement("Mailbox"); m != nil {
		res.Mailbox = newMailbox(m)
	}
	if c := e.SelectElement("Contact"); c != nil {
		res.Contact = newContact(c)
	}
	return res
}

func newMailbox(e *etree.Element) Mailbox {
	return Mailbox{
		Name:         name(e, "Name"),
		EmailAddress: word(e, "EmailAddress"),
		RoutingType:  word(e, "RoutingType"),
		MailboxType:  word(e, "MailboxType"),
		InStore:      e.SelectElement("ItemId") != nil,
	}
}

func newContact(e *etree.Element) *Contact {
	c := &Contact{
		DisplayName:   name(e, "DisplayName"),
		GivenName:     name(e, "GivenName"),
		Surname:       name(e, "Surname"),
		Alias:         name(e, "Alias"),
		ContactSource: word(e, "ContactSource"),
	}
	for child := range e.ChildElementsSeq() {
		switch child.Tag {
		case "EmailAddresses":
			for entry := range child.ChildElementsSeq() {
				if s := wordOf(entry); s != "" {
					c.EmailAddresses = append(c.EmailAddresses, s)
				}
			}
		case string(directory.UserSMIMECertificate), string(directory.MSExchangeCertificate):
			c.Values = appendValues(c.Values, child)
		}
	}
	return c
}

// appendValues adds the values of one certificate property, and one that says so when there are too many.
func appendValues(values []directory.Value, property *etree.Element) []directory.Value {
	for e := range property.ChildElementsSeq() {
		v := directory.Value{Property: directory.Property(property.Tag)}
		if len(values) > maxValues {
			return values
		}
		if len(values) == maxValues {
			v.Fault = fmt.Sprintf("more than %d values; the rest was left out", maxValues)
			return append(values, v)
		}
		v.Data, v.Fault = decodeValue(e)
		values = append(values, v)
	}
	return values
}

// decodeValue undoes base64, which may be folded and indented, with or without padding at the end.
func decodeValue(e *etree.Element) (data []byte, fault string) {
	tooLong := fmt.Sprintf("longer than %d bytes", maxValue)
	if e.SelectAttr("long") != nil {
		return nil, tooLong
	}
	text := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, e.Text())
	if text == "" {
		return nil, "empty"
	}
	data, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, "not base64"
	case len(data) > maxValue:
		return nil, tooLong
	}
	return data, ""
}

// word is the text of a child without the space around it; empty when it was cut, because half an address is none.
func word(e *etree.Element, tag string) string {
	if child := e.SelectElement(tag); child != nil {
		return wordOf(child)
	}
	return ""
}

func wordOf(e *etree.Element) string {
	if e.SelectAttr("long") != nil {
		return ""
	}
	return strings.TrimSpace(e.Text())
}

// name is the text of a child that is shown to people. A name that was cut stays readable.
func name(e *etree.Element, tag string) string {
	child := e.SelectElement(tag)
	if child == nil {
		return ""
	}
	s := child.Text()
	for !utf8.ValidString(s) && s != "" {
		s = s[:len(s)-1]
	}
	return strings.TrimSpace(s)
}
