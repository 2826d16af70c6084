package autodiscover

import (
	"bytes"
	"encoding/xml"
	"fmt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/xmltree"
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

// readTree reads an answer. Its namespaces count for nothing: answers come in several.
func readTree(b []byte) (*xmltree.Element, error) {
	root, err := xmltree.Read(b)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return root, nil
}

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
