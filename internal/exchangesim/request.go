package exchangesim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Namespaces of a request.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
)

// Limits of a request.
const (
	maxRequest  = 1 << 20
	maxDepth    = 32
	maxElements = 4096
)

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

// element is one element of a request.
type element struct {
	name     xml.Name
	attrs    []xml.Attr
	children []*element
	text     string
}

func (e *element) is(space, local string) bool { return e.name.Space == space && e.name.Local == local }

func (e *element) attr(local string) (string, bool) {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// onlyAttrs refuses attributes that the schema does not have. Attributes of other namespaces are skipped.
func (e *element) onlyAttrs(known ...string) error {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local != "xmlns" && !slices.Contains(known, a.Name.Local) {
			return violation("the '%s' attribute is not declared", a.Name.Local)
		}
	}
	return nil
}

// oneOf returns an attribute that is one of values; "" when it is absent.
func (e *element) oneOf(attr string, values ...string) (string, error) {
	v, ok := e.attr(attr)
	if ok && !slices.Contains(values, v) {
		return "", violation("the '%s' attribute is invalid - the value %q is not one of its values", attr, v)
	}
	return v, nil
}

// readTree reads one XML document of bounded size. Document type declarations are refused.
func readTree(r io.Reader) (*element, error) {
	d := xml.NewDecoder(r)
	var root *element
	var stack []*element
	for count := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil && len(stack) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, violation("not well-formed: %v", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if count++; count > maxElements || len(stack) >= maxDepth || root != nil && len(stack) == 0 {
				return nil, violation("too many elements")
			}
			e := &element{name: t.Name, attrs: slices.Clone(t.Attr)}
			if root == nil {
				root = e
			} else {
				parent := stack[len(stack)-1]
				parent.children = append(parent.children, e)
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, violation("text outside of the document")
			}
		case xml.Directive:
			return nil, violation("document type declarations are not allowed")
		}
	}
}

// parseRequest checks a request as strictly as the schema does. Every error is a *requestError.
func parseRequest(body []byte) (*query, error) {
	root, err := readTree(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if !root.is(nsSOAP, "Envelope") {
		return nil, violation("the root element is not a SOAP 1.1 Envelope")
	}
	q := &query{}
	rest := root.children
	if len(rest) > 0 && rest[0].is(nsSOAP, "Header") {
		if err := q.header(rest[0]); err != nil {
			return nil, err
		}
		rest = rest[1:]
	}
	if len(rest) != 1 || !rest[0].is(nsSOAP, "Body") || len(rest[0].children) != 1 {
		return nil, violation("the Envelope has no Body with exactly one request")
	}
	return q, q.body(rest[0].children[0])
}

// header reads the version; other headers are for features that are not asked for here.
func (q *query) header(header *element) error {
	for _, h := range header.children {
		if h.is(nsTypes, "ExchangeImpersonation") {
			var err error
			if q.mailbox, err = impersonation(h); err != nil {
				return err
			}
		}
		if !h.is(nsTypes, "RequestServerVersion") {
			continue
		}
		v, ok := h.attr("Version")
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

func (q *query) body(e *element) error {
	switch {
	case e.is(nsMessages, "ResolveNames"):
		q.operation = "ResolveNames"
		return q.resolveNames(e)
	case e.is(nsMessages, "ExpandDL"):
		q.operation = "ExpandDL"
		return q.expandDL(e)
	case e.is(nsMessages, "FindItem"):
		q.operation = "FindItem"
		return q.findItem(e)
	case e.is(nsMessages, "GetItem"):
		q.operation = "GetItem"
		return q.getItem(e)
	case e.name.Space == nsMessages:
		return &requestError{"ErrorInvalidOperation", "This server answers ResolveNames, ExpandDL, FindItem and GetItem only."}
	}
	return violation("the element '%s' in namespace '%s' is not a request", e.name.Local, e.name.Space)
}

// resolveNames checks ResolveNamesType (MS-OXWSRSLNM section 3.1.4.1.3.2).
func (q *query) resolveNames(e *element) error {
	if err := e.onlyAttrs("ReturnFullContactData", "SearchScope", "ContactDataShape"); err != nil {
		return err
	}
	full, err := e.oneOf("ReturnFullContactData", "true", "false", "1", "0")
	if err != nil {
		return err
	}
	if full == "" {
		return violation("the required attribute 'ReturnFullContactData' is missing")
	}
	q.full = full == "true" || full == "1"
	if q.scope, err = e.oneOf("SearchScope", "ActiveDirectory", "ActiveDirectoryContacts", "Contacts", "ContactsActiveDirectory"); err != nil {
		return err
	}
	if q.shape, err = e.oneOf("ContactDataShape", "IdOnly", "Default", "AllProperties"); err != nil {
		return err
	}
	if q.shape != "" && q.before(firstWithShape) {
		return &requestError{"ErrorIncorrectSchemaVersion", "The request is valid but does not have the correct server version in the RequestServerVersion header."}
	}
	rest := e.children
	if len(rest) > 0 && rest[0].is(nsMessages, "ParentFolderIds") {
		if len(rest[0].children) == 0 {
			return violation("the element 'ParentFolderIds' has incomplete content")
		}
		rest = rest[1:]
	}
	if len(rest) != 1 || !rest[0].is(nsMessages, "UnresolvedEntry") || len(rest[0].children) > 0 {
		return violation("the element 'ResolveNames' does not have exactly one text 'UnresolvedEntry'")
	}
	q.entry = rest[0].text
	return nil
}

// expandDL checks ExpandDLType (MS-OXWSDLIST section 3.1.4.1.3.1).
func (q *query) expandDL(e *element) error {
	if err := e.onlyAttrs(); err != nil {
		return err
	}
	if len(e.children) != 1 || !e.children[0].is(nsMessages, "Mailbox") {
		return violation("the element 'ExpandDL' does not have exactly one 'Mailbox'")
	}
	order, last := []string{"Name", "EmailAddress", "RoutingType", "MailboxType", "ItemId", "OriginalDisplayName"}, -1
	for _, c := range e.children[0].children {
		at := slices.Index(order, c.name.Local)
		if c.name.Space != nsTypes || at <= last {
			return violation("the element 'Mailbox' has invalid child element '%s'", c.name.Local)
		}
		if last = at; c.name.Local == "EmailAddress" {
			q.entry = strings.TrimSpace(c.text)
		}
	}
	return nil
}
