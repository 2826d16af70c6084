package ews

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// Namespaces (MS-OXWSCDATA section 2.1, SOAP 1.1 section 4.1.1). Some pages write the envelope's with https; answers in
// that spelling are read too.
const (
	nsSOAP      = "http://schemas.xmlsoap.org/soap/envelope/"
	nsSOAPWrong = "https://schemas.xmlsoap.org/soap/envelope/"
	nsMessages  = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsTypes     = "http://schemas.microsoft.com/exchange/services/2006/types"
	nsErrors    = "http://schemas.microsoft.com/exchange/services/2006/errors"
)

// SearchScope says where ResolveNames looks, and in which order (MS-OXWSCDATA section 2.2.5.33).
type SearchScope string

// Search scopes. The server's default is ActiveDirectoryContacts.
const (
	ActiveDirectory         SearchScope = "ActiveDirectory"
	ActiveDirectoryContacts SearchScope = "ActiveDirectoryContacts"
	Contacts                SearchScope = "Contacts"
	ContactsActiveDirectory SearchScope = "ContactsActiveDirectory"
)

// DefaultShapeNames says which properties an entry carries (MS-OXWSCDATA section 2.2.5.10).
type DefaultShapeNames string

// Shapes. Certificates come only with AllProperties, and photos with them.
const (
	IDOnly        DefaultShapeNames = "IdOnly"
	Default       DefaultShapeNames = "Default"
	AllProperties DefaultShapeNames = "AllProperties"
)

// ResolveNamesRequest is one question (MS-OXWSRSLNM section 3.1.4.1.3.1).
type ResolveNamesRequest struct {
	// UnresolvedEntry is the name: an ambiguous name, or "smtp:" and the beginning of an address, which is compared with
	// all addresses of an entry. Without "smtp:" only primary addresses are compared.
	UnresolvedEntry string
	// ReturnFullContactData asks for a Contact with each entry.
	ReturnFullContactData bool
	// SearchScope is left to the server when empty.
	SearchScope SearchScope
	// ContactDataShape is left to the server when empty.
	ContactDataShape DefaultShapeNames
}

// maxUnresolvedEntry is far above the longest address, in bytes.
const maxUnresolvedEntry = 1024

var errEntry = errors.New("the name is empty, too long, not UTF-8 or has control characters")

// checkEntry refuses what is no name or address to ask for.
func checkEntry(name string) error {
	if strings.TrimSpace(name) == "" || len(name) > maxUnresolvedEntry || !utf8.ValidString(name) || strings.ContainsFunc(name, notInEntry) {
		return errEntry
	}
	return nil
}

// header is what the header of a SOAP message says.
type header struct {
	version string
	// mailbox is whom the request is made for; empty is the account itself.
	mailbox string
}

// newEnvelope makes an empty SOAP message.
func newEnvelope(h header) (doc *etree.Document, body *etree.Element) {
	doc = etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="utf-8"`)
	envelope := doc.CreateElement("soap:Envelope")
	envelope.CreateAttr("xmlns:soap", nsSOAP)
	envelope.CreateAttr("xmlns:m", nsMessages)
	envelope.CreateAttr("xmlns:t", nsTypes)
	head := envelope.CreateElement("soap:Header")
	head.CreateElement("t:RequestServerVersion").CreateAttr("Version", h.version)
	if h.mailbox != "" {
		who := head.CreateElement("t:ExchangeImpersonation").CreateElement("t:ConnectingSID")
		who.CreateElement("t:PrimarySmtpAddress").SetText(h.mailbox)
	}
	return doc, envelope.CreateElement("soap:Body")
}

// envelope writes the request as a SOAP message.
func (r ResolveNamesRequest) envelope(h header) ([]byte, error) {
	if err := checkEntry(r.UnresolvedEntry); err != nil {
		return nil, err
	}
	doc, body := newEnvelope(h)
	resolve := body.CreateElement("m:ResolveNames")
	full := "false"
	if r.ReturnFullContactData {
		full = "true"
	}
	resolve.CreateAttr("ReturnFullContactData", full)
	if r.SearchScope != "" {
		resolve.CreateAttr("SearchScope", string(r.SearchScope))
	}
	if r.ContactDataShape != "" {
		resolve.CreateAttr("ContactDataShape", string(r.ContactDataShape))
	}
	resolve.CreateElement("m:UnresolvedEntry").SetText(r.UnresolvedEntry)
	return doc.WriteToBytes()
}

// notInEntry reports characters that XML 1.0 cannot carry or that no name has.
func notInEntry(r rune) bool {
	return r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff
}
