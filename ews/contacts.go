package ews

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/beevik/etree"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpfault"
)

var _ directory.ContactSource = (*Client)(nil)

// Personal contacts come in two steps: FindItem (MS-OXWSSRCH section 3.1.4.2) lists the folder "contacts" in pages of
// identifiers and ChangeKeys, GetItem (MS-OXWSCORE section 3.1.4.4) brings the content of those that changed. Only the
// folder itself is listed, not what is below it: Outlook and Exchange fill folders there by themselves ("Recipient Cache",
// "GAL Contacts"), with people whom nobody wrote down, and each would cost further requests every night.

const (
	// contactPage is how many items a page of the listing has. Exchange allows an account a thousand in memory at once
	// (EWSFindCountLimit).
	contactPage = 500
	// maxItemIDs is how many answers one GetItem may hold; directory.MaxContactBatch asks for fewer.
	maxItemIDs = 100

	codeItemNotFound = "ErrorItemNotFound"
)

// itemPage is the RootFolder of a FindItem answer (FindItemParentType).
type itemPage struct {
	refs        []directory.ContactRef
	items       int
	next, total int // -1 when missing
	last        string
}

// ListContacts implements directory.ContactSource with one FindItem request. The listing is in the order of creation, so
// that what is added while it is read comes last.
func (c *Client) ListContacts(ctx context.Context, offset int) (directory.ContactList, error) {
	x, a, err := c.ask(ctx, "FindItem", func(h header) ([]byte, error) { return findContactsEnvelope(offset, h) })
	if err != nil {
		return directory.ContactList{}, err
	}
	list, err := a.contactList(offset)
	if err != nil {
		return directory.ContactList{}, x.malformed(err)
	}
	return list, nil
}

func findContactsEnvelope(offset int, h header) ([]byte, error) {
	doc, body := newEnvelope(h)
	find := body.CreateElement("m:FindItem")
	find.CreateAttr("Traversal", "Shallow")
	find.CreateElement("m:ItemShape").CreateElement("t:BaseShape").SetText(string(IDOnly))
	page := find.CreateElement("m:IndexedPageItemView")
	page.CreateAttr("MaxEntriesReturned", strconv.Itoa(contactPage))
	page.CreateAttr("Offset", strconv.Itoa(offset))
	page.CreateAttr("BasePoint", "Beginning")
	order := find.CreateElement("m:SortOrder").CreateElement("t:FieldOrder")
	order.CreateAttr("Order", "Ascending")
	order.CreateElement("t:FieldURI").CreateAttr("FieldURI", "item:DateTimeCreated")
	find.CreateElement("m:ParentFolderIds").CreateElement("t:DistinguishedFolderId").CreateAttr("Id", "contacts")
	return doc.WriteToBytes()
}

// contactList is the page of a successful answer.
func (a *answer) contactList(offset int) (directory.ContactList, error) {
	switch {
	case a.message != "FindItemResponseMessage":
		return directory.ContactList{}, fmt.Errorf("the server answered another question (%s)", httpfault.Clean(a.message, 60))
	case a.code != CodeNoError || a.class == "Error":
		return directory.ContactList{}, fmt.Errorf("the answer is of class %q with the response code %s", httpfault.Clean(a.class, 20), a.code)
	case a.page == nil:
		return directory.ContactList{}, errors.New("the answer reports success without a RootFolder")
	}
	p := a.page
	list := directory.ContactList{Refs: p.refs, Items: p.items, Total: p.total}
	if p.last == "true" || p.last == "1" {
		return list, nil
	}
	// Without IndexedPagingOffset the next page begins where this one ends.
	if list.Next = p.next; list.Next < 0 {
		list.Next = offset + p.items
	}
	if p.items == 0 || list.Next <= offset {
		return directory.ContactList{}, fmt.Errorf("the listing does not advance: the page at %d has %d items, and the next begins at %d", offset, p.items, list.Next)
	}
	return list, nil
}

// readPage reads the RootFolder of a FindItem answer.
func (a *answer) readPage(r *reader, start xml.StartElement) error {
	if a.page != nil {
		return errors.New("the answer has more than one RootFolder")
	}
	p := &itemPage{next: number(start, "IndexedPagingOffset"), total: number(start, "TotalItemsInView")}
	p.last, _ = attribute(start, "IncludesLastItemInRange")
	p.last = strings.ToLower(strings.TrimSpace(p.last))
	a.page = p
	return r.children(func(e xml.StartElement) error {
		if e.Name != (xml.Name{Space: nsTypes, Local: "Items"}) {
			return r.skip()
		}
		return r.children(func(e xml.StartElement) error { return p.readItem(r, e) })
	})
}

// readItem reads one listed item; what is no contact is only counted.
func (p *itemPage) readItem(r *reader, e xml.StartElement) error {
	if p.items++; p.items > directory.MaxContacts {
		return refusedf("a page of the listing has more than %d items", directory.MaxContacts)
	}
	if e.Name != (xml.Name{Space: nsTypes, Local: "Contact"}) {
		return r.skip()
	}
	var ref directory.ContactRef
	err := r.children(func(e xml.StartElement) error {
		if e.Name == (xml.Name{Space: nsTypes, Local: "ItemId"}) {
			ref.ID, _ = attribute(e, "Id")
			ref.Version, _ = attribute(e, "ChangeKey")
		}
		return r.skip()
	})
	switch {
	case err != nil:
		return err
	case ref.ID == "":
		return errors.New("the answer lists a contact without an ItemId")
	case len(ref.ID) > directory.MaxContactID || len(ref.Version) > directory.MaxContactID:
		return refusedf("the answer has an ItemId longer than %d bytes", directory.MaxContactID)
	}
	p.refs = append(p.refs, ref)
	return nil
}

// number reads an attribute that is a count; -1 when it is missing or none.
func number(e xml.StartElement, name string) int {
	text, _ := attribute(e, name)
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil || n < 0 {
		return -1
	}
	return int(n)
}

// GetContacts implements directory.ContactSource with one GetItem request. A contact that the server cannot read costs
// that contact alone; what concerns the server or the account (ErrorServerBusy) is an error.
func (c *Client) GetContacts(ctx context.Context, ids []string) ([]directory.ContactAnswer, error) {
	x, a, err := c.ask(ctx, "GetItem", func(h header) ([]byte, error) { return getContactsEnvelope(ids, h) })
	if err != nil {
		return nil, err
	}
	if a.message != "GetItemResponseMessage" {
		return nil, x.malformed(fmt.Errorf("the server answered another question (%s)", httpfault.Clean(a.message, 60)))
	}
	if len(a.items) != len(ids) {
		return nil, x.malformed(fmt.Errorf("the answer has %d items where %d were asked for", len(a.items), len(ids)))
	}
	answers := make([]directory.ContactAnswer, len(ids))
	for i, item := range a.items {
		answers[i] = item.contactAnswer()
	}
	return answers, nil
}

func getContactsEnvelope(ids []string, h header) ([]byte, error) {
	doc, body := newEnvelope(h)
	get := body.CreateElement("m:GetItem")
	shape := get.CreateElement("m:ItemShape")
	shape.CreateElement("t:BaseShape").SetText(string(IDOnly))
	more := shape.CreateElement("t:AdditionalProperties")
	field := func(name string) { more.CreateElement("t:FieldURI").CreateAttr("FieldURI", name) }
	field("contacts:DisplayName")
	field("contacts:GivenName")
	field("contacts:Surname")
	for i := 1; i <= 3; i++ {
		indexed := more.CreateElement("t:IndexedFieldURI")
		indexed.CreateAttr("FieldURI", "contacts:EmailAddress")
		indexed.CreateAttr("FieldIndex", "EmailAddress"+strconv.Itoa(i))
	}
	field("contacts:UserSMIMECertificate")
	field("contacts:MSExchangeCertificate")
	list := get.CreateElement("m:ItemIds")
	for _, id := range ids {
		list.CreateElement("t:ItemId").CreateAttr("Id", id)
	}
	return doc.WriteToBytes()
}

// readItems reads the Items of one answer to GetItem: the first contact counts.
func (a *answer) readItems(r *reader) error {
	return r.children(func(e xml.StartElement) error {
		if e.Name != (xml.Name{Space: nsTypes, Local: "Contact"}) || a.contact != nil {
			return r.skip()
		}
		element := etree.NewElement("Contact")
		if err := prune(r, element, kept["Contact"]); err != nil {
			return err
		}
		a.contact = newContact(element)
		return nil
	})
}

// contactAnswer is what one response message of GetItem says.
func (a *answer) contactAnswer() directory.ContactAnswer {
	switch {
	case a.code == codeItemNotFound:
		return directory.ContactAnswer{Gone: true}
	case a.code != CodeNoError || a.class == "Error":
		return directory.ContactAnswer{Fault: "the server answered " + a.code}
	case a.contact == nil:
		return directory.ContactAnswer{Fault: "the answer holds no contact"}
	}
	rec := directory.Record{DisplayName: a.contact.DisplayName, GivenName: a.contact.GivenName, Surname: a.contact.Surname,
		Kind: directory.KindContact, Values: a.contact.Values}
	for _, text := range a.contact.EmailAddresses {
		address, _ := parseProxy(text)
		rec.Addresses = appendNew(rec.Addresses, address)
	}
	if len(rec.Addresses) > 0 {
		rec.Primary = rec.Addresses[0]
	}
	return directory.ContactAnswer{Record: rec}
}

// batch gives an answer with many response messages the code of the whole: that of a message that concerns the server
// (ErrorServerBusy), that of all messages when they agree on a refusal (ErrorAccessDenied), else success. An internal
// error is what Exchange says of an item that it cannot read, so that it concerns that item alone.
func (a *answer) batch() {
	if len(a.items) == 0 {
		return
	}
	a.code = CodeNoError
	refusals := 0
	for _, item := range a.items {
		switch facts, known := codes[item.effectiveCode()]; {
		case item.effectiveCode() == codeInternal || !known:
		case facts.temporary:
			a.take(item)
			return
		case item.code == a.items[0].code:
			refusals++
		}
	}
	if refusals == len(a.items) {
		a.take(a.items[0])
	}
}

func (a *answer) take(item *answer) {
	a.class, a.code, a.text, a.inner, a.backOff = item.class, item.code, item.text, item.inner, item.backOff
}
