package ews

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// Response codes (MS-OXWSCDATA section 2.2.5.24) that this package decides by.
const (
	CodeNoError         = "NoError"
	CodeMultipleResults = "ErrorNameResolutionMultipleResults"
	CodeNoResults       = "ErrorNameResolutionNoResults"
	CodeInvalidName     = "ErrorInvalidNameForNameResolution"
	CodeADSessionFilter = "ErrorADSessionFilter"
	CodeNoMailbox       = "ErrorNameResolutionNoMailbox"
	CodeAccessDenied    = "ErrorAccessDenied"
	CodeServerBusy      = "ErrorServerBusy"
	codeInternal        = "ErrorInternalServerError"
	codeInvalidVersion  = "ErrorInvalidServerVersion"
)

// maxBackOff bounds what a server may ask for.
const maxBackOff = 24 * time.Hour

// answer is what one SOAP message said.
type answer struct {
	// message is the local name of the response message; empty for a fault.
	message string
	fault   bool
	class   string // ResponseClass
	code    string // ResponseCode
	text    string // MessageText, in the server's language
	server  ServerVersion
	// inner and backOff come from MessageXml.
	inner   string
	backOff time.Duration
	// set is of ResolveNames, expansion of ExpandDL, page of FindItem.
	set       *resolutionSet
	expansion *expansion
	page      *itemPage
	// items are the response messages of GetItem, one for each item; contact is the content of such an item.
	items   []*answer
	contact *Contact
}

// effectiveCode is the response code, the inner one where the server wraps it.
func (a *answer) effectiveCode() string {
	if a.code == codeInternal && a.inner != "" {
		return a.inner
	}
	return a.code
}

// failed reports a response code that is neither success nor "none".
func (a *answer) failed() bool {
	switch a.code {
	case CodeNoError, CodeMultipleResults, CodeNoResults:
		return a.fault
	}
	return true
}

// readAnswer reads a whole answer. An error means that it is not well-formed, out of bounds, or no SOAP message with one
// response in it.
func readAnswer(in *input) (*answer, error) {
	r := newReader(in)
	root, err := r.root()
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(root.Name.Local, "html") {
		return nil, errHTML
	}
	if !isSOAP(root.Name, "Envelope") {
		return nil, fmt.Errorf("%w instead of a SOAP envelope", unexpected(root))
	}
	var a answer
	if err := r.children(func(e xml.StartElement) error {
		if isSOAP(e.Name, "Header") {
			return r.children(func(e xml.StartElement) error { a.server.read(e); return r.skip() })
		}
		if isSOAP(e.Name, "Body") {
			return r.children(func(e xml.StartElement) error { return a.body(r, e) })
		}
		return r.skip()
	}); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	a.batch()
	if a.code == "" {
		return nil, errors.New("the answer has no response code")
	}
	return &a, nil
}

func isSOAP(n xml.Name, local string) bool {
	return n.Local == local && (n.Space == nsSOAP || n.Space == nsSOAPWrong)
}

// body reads a child of the SOAP body: a fault, or the response of an operation.
func (a *answer) body(r *reader, e xml.StartElement) error {
	if isSOAP(e.Name, "Fault") {
		return a.readFault(r)
	}
	if e.Name.Space != nsMessages || !strings.HasSuffix(e.Name.Local, "Response") {
		return fmt.Errorf("%w instead of a response", unexpected(e))
	}
	return r.children(func(e xml.StartElement) error {
		if e.Name != (xml.Name{Space: nsMessages, Local: "ResponseMessages"}) {
			return r.skip()
		}
		return r.children(func(e xml.StartElement) error { return a.readMessage(r, e) })
	})
}

// readMessage reads a response message, of any operation (MS-OXWSCDATA section 2.2.4.67).
func (a *answer) readMessage(r *reader, e xml.StartElement) error {
	many := e.Name == xml.Name{Space: nsMessages, Local: "GetItemResponseMessage"}
	if a.fault || a.message != "" && !(many && a.message == e.Name.Local) {
		return errors.New("the answer has more than one response")
	}
	if e.Name.Space != nsMessages {
		return unexpected(e)
	}
	a.message = e.Name.Local
	if !many {
		return a.readFields(r, e)
	}
	if len(a.items) == maxItemIDs {
		return refusedf("the answer has more than %d items", maxItemIDs)
	}
	item := &answer{message: a.message}
	a.items = append(a.items, item)
	if err := item.readFields(r, e); err != nil {
		return err
	}
	if item.code == "" {
		return errors.New("an item of the answer has no response code")
	}
	return nil
}

// readFields reads what a response message holds.
func (a *answer) readFields(r *reader, e xml.StartElement) error {
	a.class, _ = attribute(e, "ResponseClass")
	return r.children(func(e xml.StartElement) (err error) {
		if e.Name.Space != nsMessages {
			return r.skip()
		}
		switch e.Name.Local {
		case "MessageText":
			a.text, err = r.word()
		case "ResponseCode":
			err = a.readCode(r)
		case "MessageXml":
			err = a.readMessageXML(r)
		case "ResolutionSet":
			err = a.readSet(r, e)
		case "DLExpansion":
			err = a.readExpansion(r, e)
		case "RootFolder":
			err = a.readPage(r, e)
		case "Items":
			err = a.readItems(r)
		default:
			err = r.skip()
		}
		return err
	})
}

// readFault reads a SOAP 1.1 fault (section 4.4): Exchange puts its code in detail, and a qualified one in faultcode.
func (a *answer) readFault(r *reader) error {
	if a.message != "" || a.fault {
		return errors.New("the answer has more than one response")
	}
	a.fault = true
	var faultcode string
	err := r.children(func(e xml.StartElement) (err error) {
		switch e.Name.Local {
		case "faultcode":
			faultcode, err = r.word()
		case "faultstring":
			a.text, err = r.word()
		case "detail":
			err = r.children(func(e xml.StartElement) error { return a.readDetail(r, e) })
		default:
			err = r.skip()
		}
		return err
	})
	if err == nil && a.code == "" {
		_, local, _ := strings.Cut(faultcode, ":")
		a.code = httpfault.Clean(local, 100)
		if !strings.HasPrefix(local, "Error") {
			a.code = "SOAP fault " + strconv.Quote(httpfault.Clean(faultcode, 100))
		}
	}
	return err
}

func (a *answer) readDetail(r *reader, e xml.StartElement) error {
	switch e.Name {
	case xml.Name{Space: nsErrors, Local: "ResponseCode"}:
		return a.readCode(r)
	case xml.Name{Space: nsTypes, Local: "MessageXml"}, xml.Name{Space: nsMessages, Local: "MessageXml"}:
		return a.readMessageXML(r)
	}
	return r.skip()
}

func (a *answer) readCode(r *reader) error {
	code, err := r.word()
	if err != nil {
		return err
	}
	if a.code != "" {
		return errors.New("the answer has more than one response code")
	}
	a.code = httpfault.Clean(code, 100)
	return nil
}

// readMessageXML reads the named values of MessageXml. Its other shape (LineNumber, Violation) is for reading by people
// and is dropped.
func (a *answer) readMessageXML(r *reader) error {
	return r.children(func(e xml.StartElement) error {
		name, _ := attribute(e, "Name")
		if e.Name != (xml.Name{Space: nsTypes, Local: "Value"}) {
			return r.skip()
		}
		value, err := r.word()
		switch name {
		case "BackOffMilliseconds":
			a.backOff = milliseconds(value)
		case "InnerErrorResponseCode":
			a.inner = httpfault.Clean(value, 100)
		}
		return err
	})
}

// milliseconds reads a back-off; zero when it is none.
func milliseconds(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, maxBackOff.Milliseconds())) * time.Millisecond
}

// resolveNames is the response of a successful answer.
func (a *answer) resolveNames(x *exchange) (ResolveNamesResponse, error) {
	switch {
	case a.message != "ResolveNamesResponseMessage":
		return ResolveNamesResponse{}, x.malformed(fmt.Errorf("the server answered another question (%s)", httpfault.Clean(a.message, 60)))
	case a.code == CodeNoResults && a.set.size() == 0:
		return ResolveNamesResponse{ResponseCode: a.code}, nil
	case a.code == CodeNoResults:
		return ResolveNamesResponse{}, x.malformed(errors.New("the answer says that there is nobody, and lists people"))
	case a.class == "Error":
		return ResolveNamesResponse{}, x.malformed(fmt.Errorf("the answer is of class Error with the response code %s", a.code))
	case a.set == nil:
		return ResolveNamesResponse{}, x.malformed(errors.New("the answer reports success without a ResolutionSet"))
	case a.code == CodeMultipleResults && a.set.size() == 0 && !a.set.truncated():
		return ResolveNamesResponse{}, x.malformed(errors.New("the answer says that there are several people, and lists nobody"))
	}
	return ResolveNamesResponse{ResponseCode: a.code, Resolutions: a.set.resolutions, Truncated: a.set.truncated()}, nil
}
