package exchangesim

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

const (
	envelopeStart = `<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<s:Envelope xmlns:s="` + nsSOAP + `">` +
		`<s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1544" MinorBuildNumber="4" Version="V2017_07_11" xmlns:h="` + nsTypes + `"/></s:Header><s:Body>`
	envelopeEnd = `</s:Body></s:Envelope>`
)

// answer is an answer being written: text, and elements with escaped text.
type answer struct{ bytes.Buffer }

func (a *answer) element(name, text string) {
	a.WriteString("<" + name + ">")
	a.text(text)
	a.WriteString("</" + strings.Fields(name)[0] + ">")
}

// optional writes the element unless its text is empty.
func (a *answer) optional(name, text string) {
	if text != "" {
		a.element(name, text)
	}
}

func (a *answer) text(s string) { xml.EscapeText(&a.Buffer, []byte(s)) }

// responseMessage writes one response message of the operation around what inner writes.
func responseMessage(operation, class, code, text string, inner func(*answer)) []byte {
	a := &answer{}
	a.WriteString(envelopeStart)
	fmt.Fprintf(a, `<m:%[1]sResponse xmlns:m="%[2]s" xmlns:t="%[3]s"><m:ResponseMessages><m:%[1]sResponseMessage ResponseClass="%[4]s">`,
		operation, nsMessages, nsTypes, class)
	if text != "" {
		a.element("m:MessageText", text)
	}
	a.element("m:ResponseCode", code)
	if text != "" {
		a.element("m:DescriptiveLinkKey", "0")
	}
	if inner != nil {
		inner(a)
	}
	if operation == "GetItem" { // ItemInfoResponseMessageType wants them also in an error
		a.WriteString("<m:Items/>")
	}
	fmt.Fprintf(a, `</m:%[1]sResponseMessage></m:ResponseMessages></m:%[1]sResponse>`, operation)
	a.WriteString(envelopeEnd)
	return a.Bytes()
}

// errorMessage is a response message of class Error, without or with MessageXml values.
func errorMessage(operation, code, text string, values ...[2]string) []byte {
	return responseMessage(operation, "Error", code, text, func(a *answer) {
		if len(values) > 0 {
			a.WriteString("<m:MessageXml>")
			a.values(values)
			a.WriteString("</m:MessageXml>")
		}
	})
}

func (a *answer) values(values [][2]string) {
	for _, v := range values {
		fmt.Fprintf(a, `<t:Value Name="%s">`, v[0])
		a.text(v[1])
		a.WriteString("</t:Value>")
	}
}

// soapFault is the body of an answer with status 500.
func soapFault(code, text string, inner func(*answer)) []byte {
	const errorsNS = "http://schemas.microsoft.com/exchange/services/2006/errors"
	a := &answer{}
	a.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<s:Envelope xmlns:s="` + nsSOAP + `"><s:Body><s:Fault>`)
	a.WriteString(`<faultcode xmlns:a="` + nsTypes + `">a:` + code + `</faultcode>`)
	a.element(`faultstring xml:lang="en-US"`, text)
	a.WriteString(`<detail>`)
	a.element(`e:ResponseCode xmlns:e="`+errorsNS+`"`, code)
	a.element(`e:Message xmlns:e="`+errorsNS+`"`, text)
	if inner != nil {
		a.WriteString(`<t:MessageXml xmlns:t="` + nsTypes + `">`)
		inner(a)
		a.WriteString(`</t:MessageXml>`)
	}
	a.WriteString(`</detail></s:Fault></s:Body></s:Envelope>`)
	return a.Bytes()
}

// refuse answers a request that did not pass the schema.
func refuse(e *requestError) []byte {
	text := e.violation
	if e.code == "ErrorSchemaValidation" {
		text = "The request failed schema validation: " + e.violation
	}
	return soapFault(e.code, text, func(a *answer) {
		a.element("t:LineNumber", "1")
		a.element("t:LinePosition", "1")
		a.element("t:Violation", e.violation)
	})
}

func (d *Directory) resolveNames(q *query) ([]byte, error) {
	switch strings.TrimSpace(strings.TrimPrefix(strings.ToLower(strings.TrimPrefix(strings.TrimSpace(q.entry), "=")), "smtp:")) {
	case "", ",", "-":
		return errorMessage(q.operation, "ErrorInvalidNameForNameResolution", "The name is invalid for name resolution."), nil
	}
	var r resolution
	if q.scope != "Contacts" {
		r = d.resolve(q.entry)
	}
	if len(r.entries) == 0 {
		return errorMessage(q.operation, "ErrorNameResolutionNoResults", "No results were found."), nil
	}
	class, code, text := "Success", "NoError", ""
	if len(r.entries) > 1 || r.truncated {
		class, code, text = "Warning", "ErrorNameResolutionMultipleResults", "Multiple results were found."
	}
	var failed error
	body := responseMessage(q.operation, class, code, text, func(a *answer) {
		fmt.Fprintf(a, `<m:ResolutionSet TotalItemsInView="%d" IncludesLastItemInRange="%t">`, len(r.entries), !r.truncated)
		for _, e := range r.entries {
			a.WriteString("<t:Resolution>")
			a.mailbox(e)
			if q.full && q.shape != "IdOnly" && !e.NoContact {
				if err := a.contact(d, e, q.shape == "AllProperties"); err != nil {
					failed = err
				}
			}
			a.WriteString("</t:Resolution>")
		}
		a.WriteString("</m:ResolutionSet>")
	})
	return body, failed
}

func (d *Directory) expandDL(q *query) []byte {
	members, matches := d.group(q.entry)
	switch {
	case matches == 0:
		return errorMessage(q.operation, "ErrorNameResolutionNoResults", "No results were found.")
	case matches > 1:
		return errorMessage(q.operation, "ErrorNameResolutionMultipleResults", "Multiple results were found.")
	}
	return responseMessage(q.operation, "Success", "NoError", "", func(a *answer) {
		fmt.Fprintf(a, `<m:DLExpansion TotalItemsInView="%d" IncludesLastItemInRange="true">`, len(members))
		for _, e := range members {
			a.mailbox(e)
		}
		a.WriteString("</m:DLExpansion>")
	})
}

func (a *answer) mailbox(e *entry) {
	a.WriteString("<t:Mailbox>")
	a.element("t:Name", e.DisplayName)
	a.element("t:EmailAddress", e.Primary)
	a.element("t:RoutingType", "SMTP")
	a.element("t:MailboxType", string(e.Kind))
	a.WriteString("</t:Mailbox>")
}

// contact writes the details of an entry, in the order of ContactItemType (MS-OXWSCONT section 2.2.4.2).
func (a *answer) contact(d *Directory, e *entry, all bool) error {
	a.WriteString("<t:Contact>")
	a.optional("t:DisplayName", e.DisplayName)
	a.optional("t:GivenName", e.GivenName)
	if all && e.Kind == Mailbox {
		a.WriteString("<t:CompanyName>Example Corporation</t:CompanyName>")
	}
	a.WriteString("<t:EmailAddresses>")
	for i, address := range e.addresses() {
		if i == 3 {
			break
		}
		prefix := "smtp:"
		if i == 0 {
			prefix = "SMTP:"
		}
		a.element(fmt.Sprintf(`t:Entry Key="EmailAddress%d"`, i+1), prefix+address)
	}
	a.WriteString("</t:EmailAddresses>")
	if all && e.Kind == Mailbox {
		n := e.number()
		a.WriteString(`<t:PhysicalAddresses><t:Entry Key="Business"><t:Street>Example Street ` + fmt.Sprint(n%200) + `</t:Street></t:Entry></t:PhysicalAddresses>`)
		fmt.Fprintf(a, `<t:PhoneNumbers><t:Entry Key="BusinessPhone">+49 30 5550 %04d</t:Entry><t:Entry Key="MobilePhone">+49 170 555 %05d</t:Entry></t:PhoneNumbers>`, n%10000, n%100000)
	}
	a.WriteString("<t:ContactSource>ActiveDirectory</t:ContactSource>")
	a.optional("t:OfficeLocation", e.Office)
	a.optional("t:Surname", e.Surname)
	if all {
		if err := a.allProperties(d, e); err != nil {
			return err
		}
	}
	a.WriteString("</t:Contact>")
	return nil
}

// allProperties writes what only ContactDataShape="AllProperties" brings.
func (a *answer) allProperties(d *Directory, e *entry) error {
	c, err := d.certificates(e)
	if err != nil {
		return err
	}
	if e.Photo {
		a.WriteString("<t:HasPicture>true</t:HasPicture>")
	}
	a.optional("t:Alias", e.Alias)
	if e.Photo {
		a.WriteString("<t:Photo>" + photo(e.number()) + "</t:Photo>")
	}
	a.binaries("t:UserSMIMECertificate", c.smime)
	a.binaries("t:MSExchangeCertificate", c.exchange)
	a.element("t:DirectoryId", directoryID(e))
	return nil
}

func (a *answer) binaries(name string, values [][]byte) {
	if values == nil {
		return
	}
	a.WriteString("<" + name + ">")
	for _, v := range values {
		a.element("t:Base64Binary", base64.StdEncoding.EncodeToString(v))
	}
	a.WriteString("</" + name + ">")
}

// directoryID is the GUID of an entry.
func directoryID(e *entry) string {
	x := hash("id " + fold(e.certified))
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(x), uint16(x>>32), uint16(x>>48)&0xfff, uint16(x)&0xfff, hash(fold(e.certified))&0xffffffffffff)
}

// photoSize is the size of a photo in bytes.
const photoSize = 20 << 10

// photos are a few texts of noise with the first bytes of a JPEG, in base64: a photo costs as much on the wire as a real
// one and nothing in memory.
var photos = sync.OnceValue(func() (texts [8]string) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range texts {
		b := []byte{0xff, 0xd8, 0xff, 0xe0}
		for len(b) < photoSize {
			b = append(b, byte(r.Uint32()))
		}
		texts[i] = base64.StdEncoding.EncodeToString(b)
	}
	return texts
})

func photo(number int) string {
	all := photos()
	return all[number%len(all)]
}
