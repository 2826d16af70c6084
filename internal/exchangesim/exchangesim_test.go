package exchangesim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// start runs a stand-in for one test.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client trusts the server's authority and nobody else.
func client(t testing.TB, s *Server) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.TLSCA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

const requestForm = `<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><s:Header><t:RequestServerVersion Version="%s"/></s:Header><s:Body>%s</s:Body></s:Envelope>`

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// resolveRequest is a request for everything that ResolveNames gives.
func resolveRequest(entry string) string {
	return fmt.Sprintf(requestForm, "Exchange2013_SP1", `<m:ResolveNames ReturnFullContactData="true" SearchScope="ActiveDirectory" ContactDataShape="AllProperties"><m:UnresolvedEntry>`+escape(entry)+`</m:UnresolvedEntry></m:ResolveNames>`)
}

func briefRequest(entry string) string {
	return fmt.Sprintf(requestForm, "Exchange2013_SP1", `<m:ResolveNames ReturnFullContactData="false" SearchScope="ActiveDirectory"><m:UnresolvedEntry>`+escape(entry)+`</m:UnresolvedEntry></m:ResolveNames>`)
}

func expandRequest(group string) string {
	return fmt.Sprintf(requestForm, "Exchange2013_SP1", `<m:ExpandDL><m:Mailbox><t:EmailAddress>`+escape(group)+`</t:EmailAddress></m:Mailbox></m:ExpandDL>`)
}

func findRequest(offset, most int) string {
	return fmt.Sprintf(requestForm, "Exchange2013_SP1", fmt.Sprintf(`<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>`+
		`<m:IndexedPageItemView MaxEntriesReturned="%d" Offset="%d" BasePoint="Beginning"/><m:ParentFolderIds><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderIds></m:FindItem>`, most, offset))
}

func getRequest(ids ...string) string {
	var items string
	for _, id := range ids {
		items += `<t:ItemId Id="` + escape(id) + `"/>`
	}
	return fmt.Sprintf(requestForm, "Exchange2013_SP1", `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>`+
		`<t:FieldURI FieldURI="contacts:DisplayName"/><t:FieldURI FieldURI="contacts:GivenName"/><t:FieldURI FieldURI="contacts:Surname"/>`+
		`<t:IndexedFieldURI FieldURI="contacts:EmailAddress" FieldIndex="EmailAddress1"/><t:FieldURI FieldURI="contacts:UserSMIMECertificate"/>`+
		`<t:FieldURI FieldURI="contacts:MSExchangeCertificate"/></t:AdditionalProperties></m:ItemShape><m:ItemIds>`+items+`</m:ItemIds></m:GetItem>`)
}

// contactIDs are the identifiers of all items of the folder.
func (s *Server) contactIDs() (ids []string) {
	items, _ := s.contacts.page(0, 1000)
	for _, item := range items {
		ids = append(ids, item.id)
	}
	return ids
}

// post sends one request and returns status and body.
func post(t testing.TB, c *http.Client, url, body string) (int, []byte) {
	t.Helper()
	r, err := c.Post(url, "text/xml; charset=utf-8", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, data
}

// reply is what tests read from an answer. Names without namespace match any.
type reply struct {
	Fault    string    `xml:"Body>Fault>detail>ResponseCode"`
	Resolve  replyBody `xml:"Body>ResolveNamesResponse>ResponseMessages>ResolveNamesResponseMessage"`
	ExpandDL replyBody `xml:"Body>ExpandDLResponse>ResponseMessages>ExpandDLResponseMessage"`
}

type replyBody struct {
	Class string `xml:"ResponseClass,attr"`
	Code  string `xml:"ResponseCode"`
	Set   struct {
		Last        string            `xml:"IncludesLastItemInRange,attr"`
		Resolutions []replyResolution `xml:"Resolution"`
	} `xml:"ResolutionSet"`
	Members []replyMailbox `xml:"DLExpansion>Mailbox"`
}

type replyMailbox struct{ Name, EmailAddress, MailboxType string }

type replyResolution struct {
	Mailbox replyMailbox
	Contact *struct {
		DisplayName, Photo, DirectoryId string
		Entries                         []string `xml:"EmailAddresses>Entry"`
		SMIME                           []string `xml:"UserSMIMECertificate>Base64Binary"`
		Exchange                        []string `xml:"MSExchangeCertificate>Base64Binary"`
	}
}

func parseReply(t testing.TB, body []byte) reply {
	t.Helper()
	var r reply
	if err := xml.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

// resolve asks a server that needs no authentication.
func resolve(t testing.TB, s *Server, request string) reply {
	t.Helper()
	_, body := post(t, client(t, s), s.URL(), request)
	return parseReply(t, body)
}

// addresses are the mailboxes of an answer in order.
func (r *reply) addresses() []string {
	var list []string
	for _, x := range r.Resolve.Set.Resolutions {
		list = append(list, x.Mailbox.EmailAddress)
	}
	return list
}
