package ews

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// operation makes an answer of an operation around response messages.
func operation(name, messages string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s=%q><s:Body><m:%[4]sResponse xmlns:m=%[2]q xmlns:t=%[3]q>`+
		`<m:ResponseMessages>%[5]s</m:ResponseMessages></m:%[4]sResponse></s:Body></s:Envelope>`, nsSOAP, nsMessages, nsTypes, name, messages)
}

// listing makes an answer to FindItem.
func listing(attributes, items string) []byte {
	return operation("FindItem", `<m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:RootFolder `+attributes+
		`><t:Items>`+items+`</t:Items></m:RootFolder></m:FindItemResponseMessage>`)
}

// item makes one response message of an answer to GetItem.
func item(class, code, more string) string {
	return `<m:GetItemResponseMessage ResponseClass="` + class + `"><m:MessageText>Etwas.</m:MessageText><m:ResponseCode>` + code + `</m:ResponseCode>` + more +
		`<m:Items/></m:GetItemResponseMessage>`
}

// good is the response message of a contact.
func good(address string) string {
	return `<m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Contact><t:DisplayName>X</t:DisplayName>` +
		`<t:EmailAddresses><t:Entry Key="EmailAddress1">` + address + `</t:Entry></t:EmailAddresses></t:Contact></m:Items></m:GetItemResponseMessage>`
}

const contactItem = `<t:Contact><t:ItemId Id="A" ChangeKey="1"/></t:Contact>`

func TestContactRequestsAreValid(t *testing.T) {
	valid := xmllint(t)
	for _, version := range versions {
		find, err := findContactsEnvelope(500, header{version: version})
		if err != nil {
			t.Fatal(err)
		}
		get, err := getContactsEnvelope([]string{"AAMk=", `a"<&>`}, header{version: version, mailbox: "a@corp.example"})
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range [][]byte{find, get} {
			file := filepath.Join(t.TempDir(), "request.xml")
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := valid(file); err != nil {
				t.Errorf("%s: %v\n%s\n%s", version, err, out, body)
			}
		}
	}
}

func TestListContacts(t *testing.T) {
	for name, tc := range map[string]struct {
		offset   int
		body     []byte
		refs     int
		next     int
		total    int
		wrong    string // in the error
		harmless bool   // the error may pass
	}{
		"one page":               {body: listing(`IndexedPagingOffset="1" TotalItemsInView="1" IncludesLastItemInRange="true"`, contactItem), refs: 1, total: 1},
		"empty":                  {body: listing(`IndexedPagingOffset="0" TotalItemsInView="0" IncludesLastItemInRange="true"`, ""), total: 0},
		"more":                   {body: listing(`IndexedPagingOffset="1" TotalItemsInView="2" IncludesLastItemInRange="false"`, contactItem), refs: 1, next: 1, total: 2},
		"more, without offset":   {offset: 7, body: listing(`IncludesLastItemInRange="false"`, contactItem+contactItem), refs: 2, next: 9, total: -1},
		"nobody says last":       {body: listing(``, contactItem), refs: 1, next: 1, total: -1},
		"lists are no contacts":  {body: listing(`TotalItemsInView="2" IncludesLastItemInRange="1"`, contactItem+`<t:DistributionList><t:ItemId Id="L"/></t:DistributionList>`), refs: 1, total: 2},
		"does not advance":       {offset: 5, body: listing(`IndexedPagingOffset="5" IncludesLastItemInRange="false"`, contactItem), wrong: "does not advance", harmless: true},
		"goes back":              {offset: 5, body: listing(`IndexedPagingOffset="2" IncludesLastItemInRange="false"`, contactItem), wrong: "does not advance", harmless: true},
		"empty page, no end":     {offset: 5, body: listing(`IndexedPagingOffset="9" IncludesLastItemInRange="false"`, ""), wrong: "does not advance", harmless: true},
		"numbers that are none":  {body: listing(`IndexedPagingOffset="-4" TotalItemsInView="99999999999999999999" IncludesLastItemInRange="true"`, contactItem), refs: 1, total: -1},
		"without id":             {body: listing(`IncludesLastItemInRange="true"`, `<t:Contact/>`), wrong: "without an ItemId", harmless: true},
		"long id":                {body: listing(`IncludesLastItemInRange="true"`, `<t:Contact><t:ItemId Id="`+strings.Repeat("A", 1025)+`"/></t:Contact>`), wrong: "longer than 1024 bytes"},
		"no RootFolder":          {body: operation("FindItem", `<m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:FindItemResponseMessage>`), wrong: "without a RootFolder", harmless: true},
		"another question":       {body: message("Success", CodeNoError, one), wrong: "another question", harmless: true},
		"no results is no list":  {body: operation("FindItem", `<m:FindItemResponseMessage ResponseClass="Error"><m:ResponseCode>`+CodeNoResults+`</m:ResponseCode></m:FindItemResponseMessage>`), wrong: CodeNoResults, harmless: true},
		"busy":                   {body: operation("FindItem", `<m:FindItemResponseMessage ResponseClass="Error"><m:ResponseCode>ErrorServerBusy</m:ResponseCode></m:FindItemResponseMessage>`), wrong: "busy", harmless: true},
		"no folder":              {body: operation("FindItem", `<m:FindItemResponseMessage ResponseClass="Error"><m:ResponseCode>ErrorFolderNotFound</m:ResponseCode></m:FindItemResponseMessage>`), wrong: "ErrorFolderNotFound"},
		"an HTML page":           {body: []byte("<html><body>Sign in</body></html>"), wrong: "HTML", harmless: true},
		"far too many on a page": {body: listing(`IncludesLastItemInRange="true"`, strings.Repeat(`<t:Task/>`, directory.MaxContacts+1)), wrong: "more than 20000 items"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := replay(t, http.StatusOK, tc.body).ListContacts(t.Context(), tc.offset)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) || !strings.HasPrefix(err.Error(), "FindItem at http") {
					t.Fatalf("error %v, want %q", err, tc.wrong)
				}
				if _, passes := errors.AsType[directory.RetryError](err); passes != tc.harmless {
					t.Errorf("may pass: %t", passes)
				}
				return
			}
			if err != nil || len(list.Refs) != tc.refs || list.Next != tc.next || list.Total != tc.total {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// TestGetContacts keeps found, none and no usable answer apart within one answer.
func TestGetContacts(t *testing.T) {
	busy := item("Error", "ErrorServerBusy", `<m:MessageXml><t:Value Name="BackOffMilliseconds">7000</t:Value></m:MessageXml>`)
	inner := item("Error", "ErrorInternalServerError", `<m:MessageXml><t:Value Name="InnerErrorResponseCode">ErrorServerBusy</t:Value></m:MessageXml>`)
	for name, tc := range map[string]struct {
		items string
		want  string // one letter for each: found, gone, unread
		wrong string
	}{
		"found":                          {items: good("a@x.example") + good("b@x.example"), want: "ff"},
		"gone":                           {items: good("a@x.example") + item("Error", "ErrorItemNotFound", ""), want: "fg"},
		"all gone":                       {items: item("Error", "ErrorItemNotFound", "") + item("Error", "ErrorItemNotFound", ""), want: "gg"},
		"one is corrupt":                 {items: item("Error", "ErrorItemCorrupt", "") + good("a@x.example"), want: "uf"},
		"corrupt as names are":           {items: item("Error", "ErrorInvalidIdReturnedByResolveNames", "") + good("a@x.example"), want: "uf"},
		"all corrupt":                    {items: item("Error", "ErrorItemCorrupt", "") + item("Error", "ErrorItemCorrupt", ""), want: "uu"},
		"internal errors are of items":   {items: item("Error", "ErrorInternalServerError", "") + item("Error", "ErrorInternalServerError", ""), want: "uu"},
		"one may not be seen":            {items: item("Error", CodeAccessDenied, "") + good("a@x.example"), want: "uf"},
		"success of class Error":         {items: item("Error", CodeNoError, "") + good("a@x.example"), want: "uf"},
		"success without a contact":      {items: item("Success", CodeNoError, "") + good("a@x.example"), want: "uf"},
		"nothing may be seen":            {items: item("Error", CodeAccessDenied, "") + item("Error", CodeAccessDenied, ""), wrong: "ErrorAccessDenied"},
		"busy for one is busy for all":   {items: good("a@x.example") + busy, wrong: "busy"},
		"busy inside":                    {items: good("a@x.example") + inner, wrong: "busy"},
		"fewer answers than questions":   {items: good("a@x.example"), wrong: "1 items where 2 were asked for"},
		"more answers than questions":    {items: strings.Repeat(good("a@x.example"), 3), wrong: "3 items where 2"},
		"far more":                       {items: strings.Repeat(good("a@x.example"), maxItemIDs+1), wrong: "more than 100 items"},
		"an item without a code":         {items: good("a@x.example") + `<m:GetItemResponseMessage ResponseClass="Success"/>`, wrong: "no response code"},
		"the answer to another question": {items: good("a@x.example") + `<m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:FindItemResponseMessage>`, wrong: "more than one response"},
		"one error for the whole":        {items: busy, wrong: "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			answers, err := replay(t, http.StatusOK, operation("GetItem", tc.items)).GetContacts(t.Context(), []string{"A", "B"})
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Fatalf("error %v, want %q", err, tc.wrong)
				}
				if again, ok := errors.AsType[directory.RetryError](err); name == "busy for one is busy for all" && (!ok || again.RetryAfter() != 7*time.Second) {
					t.Errorf("%#v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, a := range answers {
				switch {
				case a.Gone:
					got += "g"
				case a.Fault != "":
					got += "u"
				default:
					got += "f"
				}
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestContactsOfTheStandIn reads contacts in every encoding, over all pages.
func TestContactsOfTheStandIn(t *testing.T) {
	sim, c := simulator(t, 0)
	want := map[directory.Address]directory.Encoding{}
	for i, encoding := range []exchangesim.Encoding{exchangesim.DER, exchangesim.SignedData, exchangesim.Settings} {
		for j, property := range []exchangesim.Property{exchangesim.InExchange, exchangesim.InSMIME, exchangesim.Both} {
			p := exchangesim.Person{Primary: fmt.Sprintf("c%d%d@outside.example", i, j), Proxies: []string{fmt.Sprintf("D%d%d@outside.example", i, j)},
				DisplayName: "Čapek & Söhne", Recipe: exchangesim.Usable, Encoding: encoding, Property: property}
			sim.Contacts().Add(p)
			want[directory.Address(p.Primary)] = []directory.Encoding{directory.EncodingX509, directory.EncodingSignedData, directory.EncodingSettings}[i]
		}
	}
	sim.Contacts().AddList("Family")
	sim.Contacts().Add(exchangesim.Person{DisplayName: "Without address"})
	for i := range contactPage { // a second page
		sim.Contacts().Add(exchangesim.Person{Primary: fmt.Sprintf("more%d@outside.example", i)})
	}
	var refs []directory.ContactRef
	pages := 0
	for offset, more := 0, true; more; pages++ {
		list, err := c.ListContacts(t.Context(), offset)
		if err != nil || list.Total != contactPage+11 {
			t.Fatal(list.Total, err)
		}
		refs, offset, more = append(refs, list.Refs...), list.Next, list.Next != 0
	}
	if pages != 2 || len(refs) != contactPage+10 {
		t.Fatalf("%d contacts on %d pages", len(refs), pages)
	}
	var ids []string
	for _, ref := range refs[:10] {
		ids = append(ids, ref.ID)
	}
	answers, err := c.GetContacts(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers[:9] {
		e := directory.Decode(a.Record)
		if len(e.Certificates) != 1 || e.Certificates[0].Encoding != want[e.Primary] || len(e.Addresses) != 2 || e.DisplayName != "Čapek & Söhne" || len(e.Undecodable) > 0 {
			t.Errorf("%s: %+v", e.Primary, e)
			continue
		}
		if cert, err := x509.ParseCertificate(e.Certificates[0].Raw); err != nil || cert.EmailAddresses[0] != string(e.Primary) {
			t.Errorf("%s has the certificate of %v", e.Primary, cert.EmailAddresses)
		}
	}
	if a := answers[9]; a.Record.Primary != "" || a.Record.DisplayName != "Without address" || a.Fault != "" || a.Gone {
		t.Errorf("%+v", a)
	}
}

// TestContactFaults plays every fault of the stand-in on both questions: no answer is ever taken for an empty folder.
func TestContactFaults(t *testing.T) {
	sim, c := simulator(t, 0)
	sim.Contacts().Add(exchangesim.Person{Primary: "a@outside.example", Recipe: exchangesim.Usable})
	c.Timeout = time.Second
	list, err := c.ListContacts(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range exchangesim.FaultKinds() {
		switch kind {
		case exchangesim.FaultUnauthorized, exchangesim.FaultNoCertificates:
			continue // the guard of the sign-in; a true answer
		}
		sim.Fault(exchangesim.Fault{Kind: kind})
		if got, err := c.ListContacts(t.Context(), 0); err == nil {
			t.Errorf("%s: %+v", kind, got)
		}
		if got, err := c.GetContacts(t.Context(), []string{list.Refs[0].ID}); err == nil && got[0].Fault == "" {
			t.Errorf("%s: %+v", kind, got)
		}
		sim.ClearFaults()
	}
}

// FuzzContacts reads anything as a listing and as contacts: no panic, and what comes out keeps its promises.
func FuzzContacts(f *testing.F) {
	f.Add(listing(`IndexedPagingOffset="1" TotalItemsInView="2" IncludesLastItemInRange="false"`, contactItem), 0)
	f.Add(listing(``, contactItem+`<t:DistributionList/>`), 3)
	f.Add(operation("GetItem", good("a@x.example")+item("Error", "ErrorItemNotFound", "")), 2)
	f.Add(operation("GetItem", item("Error", "ErrorServerBusy", "")), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		in := newInput(strings.NewReader(string(b)))
		if in.sniff(false) != nil {
			return
		}
		a, err := readAnswer(in)
		if err != nil {
			return
		}
		n = max(0, min(n, directory.MaxContacts))
		if list, err := a.contactList(n); err == nil {
			if list.Next != 0 && list.Next <= n || len(list.Refs) > list.Items || list.Items > directory.MaxContacts {
				t.Fatalf("%+v after %d", list, n)
			}
			for _, ref := range list.Refs {
				if ref.ID == "" || len(ref.ID) > directory.MaxContactID || len(ref.Version) > directory.MaxContactID {
					t.Fatalf("%+v", ref)
				}
			}
		}
		if len(a.items) > maxItemIDs {
			t.Fatalf("%d items", len(a.items))
		}
		for _, one := range a.items {
			answer := one.contactAnswer()
			if rec := answer.Record; rec.Primary != "" {
				checkRecord(t, rec)
			}
			if answer.Gone && answer.Fault != "" {
				t.Fatalf("%+v", answer)
			}
		}
	})
}
