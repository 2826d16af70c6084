package exchangesim

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/galsyncd/galsyncd/internal/xmltree"
)

// ContactFolder is the folder "contacts" of the account's mailbox. It may be changed while the server answers.
type ContactFolder struct {
	// dir makes the certificates, and hides them when it is told to.
	dir *Directory

	mu    sync.RWMutex
	items []*contactItem
	made  int // items ever made
}

// contactItem is one item of the folder; it never changes, a changed one is another with the same id.
type contactItem struct {
	id      string
	version int
	entry   *entry
	// unreadable is the response code for which the server cannot show it; empty for others.
	unreadable string
	// list marks a distribution list, which is no contact.
	list bool
}

// OutsideDomain is the domain of the contacts that Options.Contacts makes.
const OutsideDomain = "outside.example"

// populate makes count contacts: nine in ten with a usable certificate, in the tag, length, value form as a rule, and now and
// then as SignedData or a bare certificate.
func (f *ContactFolder) populate(count int) {
	for i := range count {
		p := Person{Primary: fmt.Sprintf("contact%d@%s", i, OutsideDomain), GivenName: "Contact", Surname: strconv.Itoa(i),
			DisplayName: fmt.Sprintf("Contact %d", i), Kind: Contact, Recipe: Usable, Encoding: Settings, Property: InSMIME}
		switch i % 10 {
		case 7:
			p.Encoding = SignedData
		case 8:
			p.Encoding, p.Property = DER, InExchange
		case 9:
			p.Recipe = None
		}
		f.Add(p)
	}
}

// Add puts a contact at the end of the folder. Proxies are its second and third address.
func (f *ContactFolder) Add(p Person) {
	p.Kind = Contact
	f.add(&contactItem{entry: newEntry(p, -1)})
}

// AddList puts a distribution list, which is no contact, at the end of the folder.
func (f *ContactFolder) AddList(name string) {
	f.add(&contactItem{entry: newEntry(Person{DisplayName: name}, -1), list: true})
}

func (f *ContactFolder) add(item *contactItem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	item.id = "AAMkADI1" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte("contact-"), uint64(f.made)))
	f.items = append(f.items, item)
}

// Remove takes the contact with this first address out; an ErrNotFound when there is none.
func (f *ContactFolder) Remove(address string) error {
	return f.change(address, func(*contactItem) *contactItem { return nil })
}

// Clear takes out all.
func (f *ContactFolder) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = nil
}

// SetRecipe gives a contact other certificates; it has another version then.
func (f *ContactFolder) SetRecipe(address string, recipe Recipe) error {
	return f.change(address, func(item *contactItem) *contactItem {
		next := *item
		next.version++
		next.entry = item.entry.with(func(p *Person) { p.Recipe = recipe })
		return &next
	})
}

// SetUnreadable makes the server answer with this response code where it is asked for the content of a contact; empty makes
// it readable again. It has another version then.
func (f *ContactFolder) SetUnreadable(address, code string) error {
	return f.change(address, func(item *contactItem) *contactItem {
		next := *item
		next.version++
		next.unreadable = code
		return &next
	})
}

func (f *ContactFolder) change(address string, edit func(*contactItem) *contactItem) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.items, func(item *contactItem) bool { return fold(item.entry.Primary) == fold(address) })
	if i < 0 {
		return fmt.Errorf("%w: contact %s", ErrNotFound, address)
	}
	if next := edit(f.items[i]); next != nil {
		f.items[i] = next
	} else {
		f.items = slices.Delete(slices.Clone(f.items), i, i+1)
	}
	return nil
}

// page returns the items from offset on.
func (f *ContactFolder) page(offset, most int) (items []*contactItem, total int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	total = len(f.items)
	offset = min(offset, total)
	return f.items[offset:min(offset+most, total)], total
}

func (f *ContactFolder) item(id string) *contactItem {
	f.mu.RLock()
	defer f.mu.RUnlock()
	i := slices.IndexFunc(f.items, func(item *contactItem) bool { return item.id == id })
	if i < 0 {
		return nil
	}
	return f.items[i]
}

// lookup returns the entry of the first contact that has an address; nil when there is none.
func (f *ContactFolder) lookup(address string) *entry {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, item := range f.items {
		if !item.list && item.unreadable == "" && slices.ContainsFunc(item.entry.addresses(), func(a string) bool { return fold(a) == fold(strings.TrimSpace(address)) }) {
			return item.entry
		}
	}
	return nil
}

// find answers FindItem.
func (f *ContactFolder) find(q *query) []byte {
	items, total := f.page(q.offset, q.most)
	next := min(q.offset, total) + len(items)
	return responseMessage(q.operation, "Success", "NoError", "", func(a *answer) {
		fmt.Fprintf(a, `<m:RootFolder IndexedPagingOffset="%d" TotalItemsInView="%d" IncludesLastItemInRange="%t"><t:Items>`, next, total, next == total)
		for _, item := range items {
			name := "t:Contact"
			if item.list {
				name = "t:DistributionList"
			}
			a.WriteString("<" + name + ">")
			a.itemID(item)
			a.WriteString("</" + name + ">")
		}
		a.WriteString("</t:Items></m:RootFolder>")
	})
}

func (a *answer) itemID(item *contactItem) {
	fmt.Fprintf(a, `<t:ItemId Id="%s" ChangeKey="EQAAABYA%s"/>`, item.id, base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(item.version))))
}

// get answers GetItem: one response message for each item.
func (f *ContactFolder) get(q *query) ([]byte, error) {
	a := &answer{}
	a.WriteString(envelopeStart)
	fmt.Fprintf(a, `<m:GetItemResponse xmlns:m="%s" xmlns:t="%s"><m:ResponseMessages>`, nsMessages, nsTypes)
	for _, id := range q.ids {
		if err := f.getOne(a, id, q); err != nil {
			return nil, err
		}
	}
	a.WriteString(`</m:ResponseMessages></m:GetItemResponse>`)
	a.WriteString(envelopeEnd)
	return a.Bytes(), nil
}

func (f *ContactFolder) getOne(a *answer, id string, q *query) error {
	item := f.item(id)
	code, text := "", ""
	switch {
	case item == nil:
		code, text = "ErrorItemNotFound", "The specified object was not found in the store."
	case item.unreadable != "":
		code, text = item.unreadable, "The item cannot be shown."
	}
	if code != "" {
		a.WriteString(`<m:GetItemResponseMessage ResponseClass="Error">`)
		a.element("m:MessageText", text)
		a.element("m:ResponseCode", code)
		a.element("m:DescriptiveLinkKey", "0")
		a.WriteString(`<m:Items/></m:GetItemResponseMessage>`)
		return nil
	}
	a.WriteString(`<m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items>`)
	if err := f.contact(a, item, q); err != nil {
		return err
	}
	a.WriteString(`</m:Items></m:GetItemResponseMessage>`)
	return nil
}

// contact writes the fields that were asked for, in the order of ContactItemType (MS-OXWSCONT section 2.2.4.2).
func (f *ContactFolder) contact(a *answer, item *contactItem, q *query) error {
	e := item.entry
	asked := func(field string) bool { return slices.Contains(q.fields, field) }
	a.WriteString("<t:Contact>")
	a.itemID(item)
	if asked("contacts:DisplayName") {
		a.optional("t:DisplayName", e.DisplayName)
	}
	if asked("contacts:GivenName") {
		a.optional("t:GivenName", e.GivenName)
	}
	if e.Primary != "" && asked("contacts:EmailAddress") {
		a.WriteString("<t:EmailAddresses>")
		for i, address := range e.addresses()[:min(len(e.addresses()), 3)] {
			a.element(fmt.Sprintf(`t:Entry Key="EmailAddress%d" RoutingType="SMTP" MailboxType="OneOff"`, i+1), address)
		}
		a.WriteString("</t:EmailAddresses>")
	}
	if asked("contacts:Surname") {
		a.optional("t:Surname", e.Surname)
	}
	c, err := f.dir.certificates(e)
	if err != nil {
		return err
	}
	if asked("contacts:UserSMIMECertificate") {
		a.binaries("t:UserSMIMECertificate", c.smime)
	}
	if asked("contacts:MSExchangeCertificate") {
		a.binaries("t:MSExchangeCertificate", c.exchange)
	}
	a.WriteString("</t:Contact>")
	return nil
}

// findItem checks FindItemType (MS-OXWSSRCH section 3.1.4.2.3.2), as far as pages of the folder "contacts" need it.
func (q *query) findItem(e *xmltree.Element) error {
	if traversal, err := oneOf(e, "Traversal", "Shallow", "SoftDeleted", "Associated"); err != nil || traversal == "" {
		return violation("the required attribute 'Traversal' is missing or invalid")
	}
	order, last := []string{"ItemShape", "IndexedPageItemView", "Restriction", "SortOrder", "ParentFolderIds", "QueryString"}, -1
	parts := map[string]*xmltree.Element{}
	for _, c := range e.Children {
		at := slices.Index(order, c.Name.Local)
		if c.Name.Space != nsMessages || at <= last {
			return violation("the element 'FindItem' has invalid child element '%s'", c.Name.Local)
		}
		last, parts[c.Name.Local] = at, c
	}
	if parts["ItemShape"] == nil || parts["ParentFolderIds"] == nil || len(parts["ParentFolderIds"].Children) != 1 {
		return violation("the element 'FindItem' has incomplete content")
	}
	folder := parts["ParentFolderIds"].Children[0]
	if id, _ := folder.Attr("Id"); !folder.Is(nsTypes, "DistinguishedFolderId") || id != "contacts" {
		return &requestError{"ErrorFolderNotFound", "The specified folder could not be found in the store."}
	}
	q.entry, q.most = "contacts", 1000
	if view := parts["IndexedPageItemView"]; view != nil {
		if err := q.pageView(view); err != nil {
			return err
		}
	}
	return q.itemShape(parts["ItemShape"])
}

func (q *query) pageView(view *xmltree.Element) error {
	if err := onlyAttrs(view, "MaxEntriesReturned", "Offset", "BasePoint"); err != nil {
		return err
	}
	if point, err := oneOf(view, "BasePoint", "Beginning", "End"); err != nil || point != "Beginning" {
		return violation("the attribute 'BasePoint' is missing, or not supported here")
	}
	offset, _ := view.Attr("Offset")
	n, err := strconv.Atoi(offset)
	if err != nil || n < 0 {
		return violation("the attribute 'Offset' is invalid")
	}
	q.offset = n
	if most, ok := view.Attr("MaxEntriesReturned"); ok {
		if n, err = strconv.Atoi(most); err != nil || n < 1 {
			return violation("the attribute 'MaxEntriesReturned' is invalid")
		}
		q.most = min(n, q.most)
	}
	return nil
}

// getItem checks GetItemType (MS-OXWSCORE section 3.1.4.4.3.2).
func (q *query) getItem(e *xmltree.Element) error {
	if len(e.Children) != 2 || !e.Children[0].Is(nsMessages, "ItemShape") || !e.Children[1].Is(nsMessages, "ItemIds") || len(e.Children[1].Children) == 0 {
		return violation("the element 'GetItem' does not have an 'ItemShape' and 'ItemIds'")
	}
	for _, c := range e.Children[1].Children {
		id, ok := c.Attr("Id")
		if !c.Is(nsTypes, "ItemId") || !ok {
			return violation("the element 'ItemIds' has invalid child element '%s'", c.Name.Local)
		}
		q.ids = append(q.ids, id)
	}
	q.entry = q.ids[0]
	return q.itemShape(e.Children[0])
}

// itemShape checks ItemResponseShapeType and notes the fields that are asked for.
func (q *query) itemShape(e *xmltree.Element) error {
	if len(e.Children) == 0 || !e.Children[0].Is(nsTypes, "BaseShape") || !slices.Contains([]string{"IdOnly", "Default", "AllProperties"}, strings.TrimSpace(e.Children[0].Text)) {
		return violation("the element 'ItemShape' has no valid 'BaseShape'")
	}
	for _, c := range e.Children[1:] {
		if !c.Is(nsTypes, "AdditionalProperties") {
			continue
		}
		for _, field := range c.Children {
			name, ok := field.Attr("FieldURI")
			if field.Name.Space != nsTypes || !ok {
				return violation("the element 'AdditionalProperties' has invalid child element '%s'", field.Name.Local)
			}
			q.fields = append(q.fields, name)
		}
	}
	return nil
}
