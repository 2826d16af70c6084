package autodiscover

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Namespaces of the questions and answers.
const (
	outlookRequest  = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
	outlookResponse = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
	mobileRequest   = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/requestschema/2006"
	mobileResponse  = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"
	soapNamespace   = "http://schemas.microsoft.com/exchange/2010/Autodiscover"
	getUserSettings = soapNamespace + "/Autodiscover/GetUserSettings"
)

// Bounds of an XML document, besides maxAnswer.
const (
	maxDepth    = 32
	maxElements = 4096
	maxText     = 8 << 10 // bytes of the text of one element
)

// element is one element with the text directly in it, without the namespace: answers come in several.
type element struct {
	name     string
	text     string
	children []*element
}

// readTree reads one XML document of bounded size. Document type declarations are refused, and with them all entities
// but the five of XML.
func readTree(b []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	var root *element
	var stack []*element
	for count := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil && len(stack) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, errors.New("the answer is not well-formed XML")
		}
		switch t := token.(type) {
		case xml.StartElement:
			if count++; count > maxElements || len(stack) >= maxDepth || root != nil && len(stack) == 0 {
				return nil, fmt.Errorf("the answer has more than %d elements, or %d inside each other", maxElements, maxDepth)
			}
			e := &element{name: t.Name.Local}
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
			if len(stack) > 0 && !addText(stack[len(stack)-1], t) {
				return nil, fmt.Errorf("an element of the answer has more than %d bytes of text", maxText)
			}
		case xml.Directive:
			return nil, errors.New("the answer has a document type declaration, which is refused")
		}
	}
}

func addText(e *element, text []byte) bool {
	if len(e.text)+len(text) > maxText {
		return len(bytes.TrimSpace(text)) == 0
	}
	e.text += string(text)
	return true
}

// child is the first child of a name; a missing one is an empty element, so that paths can be followed blindly.
func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return &element{}
}

func (e *element) all(name string) []*element {
	var found []*element
	for _, c := range e.children {
		if c.name == name {
			found = append(found, c)
		}
	}
	return found
}

// value is the text of a child without white space around it.
func (e *element) value(name string) string { return strings.TrimSpace(e.child(name).text) }

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes everything
	return b.String()
}

// poxRequest is the question of plain old XML (MS-OXDSCLI section 2.2.3; MS-ASCMD section 2.2.1.1).
func poxRequest(address mailaddr.Address, request, response string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="%s"><Request><EMailAddress>%s</EMailAddress><AcceptableResponseSchema>%s</AcceptableResponseSchema></Request></Autodiscover>
`, request, escape(string(address)), response)
}

// soapRequest is the question GetUserSettings (MS-OXWSADISC section 3.1.4.1).
func soapRequest(address mailaddr.Address, to string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="%[1]s" xmlns:wsa="http://www.w3.org/2005/08/addressing">`+
		`<soap:Header><a:RequestedServerVersion>Exchange2010</a:RequestedServerVersion><wsa:Action>%[2]s</wsa:Action><wsa:To>%[3]s</wsa:To></soap:Header>`+
		`<soap:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User><a:Mailbox>%[4]s</a:Mailbox></a:User></a:Users>`+
		`<a:RequestedSettings><a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting></a:RequestedSettings></a:Request>`+
		`</a:GetUserSettingsRequestMessage></soap:Body></soap:Envelope>
`, soapNamespace, getUserSettings, escape(to), escape(string(address)))
}
