package exchangesim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/xmltree"
)

// Namespaces of a request.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
)

// maxRequest is the size of a request, in bytes.
const maxRequest = 1 << 20

// versions are the values of RequestServerVersion, oldest first (ExchangeVersionType).
var versions = []string{"Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2",
	"Exchange2013", "Exchange2013_SP1", "Exchange2016"}

// firstWithShape is the first version that knows ContactDataShape and the certificate properties.
const firstWithShape = "Exchange2010_SP2"

// query is a request that passed the schema.
type query struct {
	operation string // "ResolveNames", "ExpandDL", "FindItem" or "GetItem"
	version   string // "" when the header named none
	mailbox   string // that the request is made for; "" is the account's own
	// entry is what to resolve, the group to expand, the folder, or the first item to get.
	entry string
	full  bool   // ReturnFullContactData
	scope string // SearchScope
	shape string // ContactDataShape; "" when not given
	// offset and most are the page of FindItem; fields are asked for of the items with these ids.
	offset, most int
	fields, ids  []string
}

// before reports whether the request speaks an older version than v.
func (q *query) before(v string) bool {
	return slices.Index(versions, q.version) < slices.Index(versions, v)
}

// requestError is a request that the server refuses with a SOAP fault.
type requestError struct {
	code      string // ResponseCode
	violation string
}

func (e *requestError) Error() string { return e.code + ": " + e.violation }

func violation(format string, args ...any) error {
	return &requestError{"ErrorSchemaValidation", fmt.Sprintf(format, args...)}
}

// onlyAttrs refuses attributes that the schema does not have. Attributes of other namespaces are skipped.
func onlyAttrs(e *xmltree.Element, known ...string) error {
	for _, a := range e.Attrs {
		if a.Name.Space == "" && a.Name.Local != "xmlns" && !slices.Contains(known, a.Name.Local) {
			return violation("the '%s' attribute is not declared", a.Name.Local)
		}
	}
	return nil
}

// oneOf returns an attribute that is one of values; "" when it is absent.
func oneOf(e *xmltree.Element, attr string, values ...string) (string, error) {
	v, ok := e.Attr(attr)
	if ok && !slices.Contains(values, v) {
		return "", violation("the '%s' attribute is invalid - the value %q is not one of its values", attr, v)
	}
	return v, nil
}

// readTree reads a request; its errors are violations.
func readTree(body []byte) (*xmltree.Element, error) {
	root, err := xmltree.Read(body)
	if err != nil {
		return nil, violation("%v", err)
	}
	return root, nil
}

// parseRequest checks a request as strictly as the schema does. Every error is a *requestError.
func parseRequest(body []byte) (*query, error) {
	root, err := readTree(body)
	if err != nil {
		return nil, err
	}
	if !root.Is(nsSOAP, "Envelope") {
		return nil, violation("the root element is not a SOAP 1.1 Envelope")
	}
	q := &query{}
	rest := root.Children
	if len(rest) > 0 && rest[0].Is(nsSOAP, "Header") {
		if err := q.header(rest[0]); err != nil {
			return nil, err
		}
		rest = rest[1:]
	}
	if len(rest) != 1 || !rest[0].Is(nsSOAP, "Body") || len(rest[0].Children) != 1 {
		return nil, violation("the Envelope has no Body with exactly one request")
	}
	return q, q.body(rest[0].Children[0])
}

// header reads the version; other headers are for features that are not asked for here.
func (q *query) header(header *xmltree.Element) error {
	for _, h := range header.Children {
		if h.Is(nsTypes, "ExchangeImpersonation") {
			var err error
			if q.mailbox, err = impersonation(h); err != nil {
				return err
			}
		}
		if !h.Is(nsTypes, "RequestServerVersion") {
			continue
		}
		v, ok := h.Attr("Version")
		if !ok {
			return violation("the required attribute 'Version' is missing")
		}
		if !slices.Contains(versions, v) {
			return &requestError{"ErrorInvalidServerVersion", "The specified server version is invalid."}
		}
		q.version = v
	}
	return nil
}

func (q *query) body(e *xmltree.Element) error {
	switch {
	case e.Is(nsMessages, "ResolveNames"):
		q.operation = "ResolveNames"
		return q.resolveNames(e)
	case e.Is(nsMessages, "ExpandDL"):
		q.operation = "ExpandDL"
		return q.expandDL(e)
	case e.Is(nsMessages, "FindItem"):
		q.operation = "FindItem"
		return q.findItem(e)
	case e.Is(nsMessages, "GetItem"):
		q.operation = "GetItem"
		return q.getItem(e)
	case e.Name.Space == nsMessages:
		return &requestError{"ErrorInvalidOperation", "This server answers ResolveNames, ExpandDL, FindItem and GetItem only."}
	}
	return violation("the element '%s' in namespace '%s' is not a request", e.Name.Local, e.Name.Space)
}

// resolveNames checks ResolveNamesType (MS-OXWSRSLNM section 3.1.4.1.3.2).
func (q *query) resolveNames(e *xmltree.Element) error {
	if err := onlyAttrs(e, "ReturnFullContactData", "SearchScope", "ContactDataShape"); err != nil {
		return err
	}
	full, err := oneOf(e, "ReturnFullContactData", "true", "false", "1", "0")
	if err != nil {
		return err
	}
	if full == "" {
		return violation("the required attribute 'ReturnFullContactData' is missing")
	}
	q.full = full == "true" || full == "1"
	if q.scope, err = oneOf(e, "SearchScope", "ActiveDirectory", "ActiveDirectoryContacts", "Contacts", "ContactsActiveDirectory"); err != nil {
		return err
	}
	if q.shape, err = oneOf(e, "ContactDataShape", "IdOnly", "Default", "AllProperties"); err != nil {
		return err
	}
	if q.shape != "" && q.before(firstWithShape) {
		return &requestError{"ErrorIncorrectSchemaVersion", "The request is valid but does not have the correct server version in the RequestServerVersion header."}
	}
	rest := e.Children
	if len(rest) > 0 && rest[0].Is(nsMessages, "ParentFolderIds") {
		if len(rest[0].Children) == 0 {
			return violation("the element 'ParentFolderIds' has incomplete content")
		}
		rest = rest[1:]
	}
	if len(rest) != 1 || !rest[0].Is(nsMessages, "UnresolvedEntry") || len(rest[0].Children) > 0 {
		return violation("the element 'ResolveNames' does not have exactly one text 'UnresolvedEntry'")
	}
	q.entry = rest[0].Text
	return nil
}

// expandDL checks ExpandDLType (MS-OXWSDLIST section 3.1.4.1.3.1).
func (q *query) expandDL(e *xmltree.Element) error {
	if err := onlyAttrs(e); err != nil {
		return err
	}
	if len(e.Children) != 1 || !e.Children[0].Is(nsMessages, "Mailbox") {
		return violation("the element 'ExpandDL' does not have exactly one 'Mailbox'")
	}
	order, last := []string{"Name", "EmailAddress", "RoutingType", "MailboxType", "ItemId", "OriginalDisplayName"}, -1
	for _, c := range e.Children[0].Children {
		at := slices.Index(order, c.Name.Local)
		if c.Name.Space != nsTypes || at <= last {
			return violation("the element 'Mailbox' has invalid child element '%s'", c.Name.Local)
		}
		if last = at; c.Name.Local == "EmailAddress" {
			q.entry = strings.TrimSpace(c.Text)
		}
	}
	return nil
}
