package autodiscover

import (
	"encoding/xml"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	pox := func(inner string) string {
		return `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"><Response>` + inner + `</Response></Autodiscover>`
	}
	soap := func(inner string) string {
		return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` + inner + `</s:Body></s:Envelope>`
	}
	user := func(inner string) string {
		return soap(`<GetUserSettingsResponseMessage><Response><ErrorCode>NoError</ErrorCode><UserResponses><UserResponse>` + inner + `</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage>`)
	}
	for _, tc := range []struct {
		name, text string
		parse      func([]byte) (reply, error)
		want       reply
		err        string
	}{
		{"json", `{"Protocol":"Ews","Url":"https://x/y"}`, parseJSON, reply{urls: []string{"https://x/y"}}, ""},
		{"json with a mark", "\ufeff{\"url\":\"u\"}", parseJSON, reply{urls: []string{"u"}}, ""},
		{"json error", `{"ErrorCode":"ProtocolNotSupported","ErrorMessage":"no\nEWS"}`, parseJSON, reply{refusal: "says ProtocolNotSupported: no EWS"}, ""},
		{"json of others", `{"version":1}`, parseJSON, reply{}, "not that of Autodiscover"},
		{"json with a number", `{"Url":5}`, parseJSON, reply{}, "not that of Autodiscover"},
		{"external first", pox(`<Account><Action>settings</Action><Protocol><Type>EXCH</Type><EwsUrl>in</EwsUrl></Protocol><Protocol><Type>EXPR</Type><ASUrl> out </ASUrl></Protocol><Protocol><Type>WEB</Type><EwsUrl>no</EwsUrl></Protocol></Account>`),
			parseOutlook, reply{urls: []string{"out", "in"}}, ""},
		{"error", pox(`<Error Time="1"><ErrorCode>600</ErrorCode><Message>Invalid Request</Message></Error>`), parseOutlook, reply{refusal: "says error 600: Invalid Request"}, ""},
		{"redirect", pox(`<Account><Action>redirectUrl</Action><RedirectUrl>https://x</RedirectUrl></Account>`), parseOutlook, reply{redirectURL: "https://x"}, ""},
		{"redirect nowhere", pox(`<Account><Action>redirectAddr</Action></Account>`), parseOutlook, reply{}, "redirects to nowhere"},
		{"nothing", pox(``), parseOutlook, reply{refusal: "answers without an address of the service"}, ""},
		{"no response", `<Autodiscover/>`, parseOutlook, reply{}, "not that of Autodiscover"},
		{"another document", `<rss><Response/></rss>`, parseOutlook, reply{}, "not that of Autodiscover"},
		{"mobile", pox(`<Action><Settings><Server><Type>CertEnroll</Type><Url>no</Url></Server><Server><Type>MobileSync</Type><Url>
   https://x/Microsoft-Server-ActiveSync </Url></Server></Settings></Action>`), parseMobile, reply{urls: []string{"https://x/Microsoft-Server-ActiveSync"}}, ""},
		{"mobile redirect", pox(`<Action><Redirect>a@b</Redirect></Action>`), parseMobile, reply{redirectAddress: "a@b"}, ""},
		{"mobile error", pox(`<Action><Error><Status>2</Status><Message>Protected</Message></Error></Action>`), parseMobile, reply{refusal: "says error 2: Protected"}, ""},
		{"mobile unknown", pox(`<Error><ErrorCode>601</ErrorCode></Error>`), parseMobile, reply{refusal: "says error 601"}, ""},
		{"soap", user(`<ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>InternalEwsUrl</Name><Value>in</Value></UserSetting><UserSetting><Name>ExternalEwsUrl</Name><Value>out</Value></UserSetting></UserSettings>`),
			parseSOAP, reply{urls: []string{"out", "in"}}, ""},
		{"soap redirect", user(`<ErrorCode>RedirectUrl</ErrorCode><RedirectTarget>https://x</RedirectTarget>`), parseSOAP, reply{redirectURL: "https://x"}, ""},
		{"soap other mailbox", user(`<ErrorCode>RedirectAddress</ErrorCode><RedirectTarget>a@b</RedirectTarget>`), parseSOAP, reply{redirectAddress: "a@b"}, ""},
		{"soap unknown", user(`<ErrorCode>InvalidUser</ErrorCode><ErrorMessage>Invalid user: 'a'</ErrorMessage>`), parseSOAP, reply{refusal: "says InvalidUser: Invalid user: 'a'"}, ""},
		{"soap busy", soap(`<GetUserSettingsResponseMessage><Response><ErrorCode>ServerBusy</ErrorCode></Response></GetUserSettingsResponseMessage>`), parseSOAP, reply{refusal: "says ServerBusy"}, ""},
		{"soap fault", soap(`<s:Fault><faultstring>no</faultstring></s:Fault>`), parseSOAP, reply{refusal: "says a fault: no"}, ""},
		{"soap of others", soap(`<x/>`), parseSOAP, reply{}, "not that of Autodiscover"},
		{"entities", `<!DOCTYPE a [<!ENTITY b "c">]><Autodiscover><Response>&b;</Response></Autodiscover>`, parseOutlook, reply{}, "document type"},
		{"unknown entity", pox(`&nbsp;`), parseMobile, reply{}, "not well-formed"},
		{"cut", pox(``)[:60], parseSOAP, reply{}, "not well-formed"},
		{"two documents", `<a/><a/>`, parseSOAP, reply{}, "not well-formed"},
		{"byte order mark", "\ufeff" + pox(`<Action><Redirect>a@b</Redirect></Action>`), parseMobile, reply{redirectAddress: "a@b"}, ""},
		{"many", pox(strings.Repeat("<x/>", 5000)), parseOutlook, reply{}, "more than"},
		{"long", pox(`<Account>` + strings.Repeat("x", 9000) + `</Account>`), parseOutlook, reply{}, "bytes of text"},
	} {
		got, err := tc.parse([]byte(tc.text))
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

// TestRequestsAreWellFormed: whatever the address, the question is one document that holds it.
func TestRequestsAreWellFormed(t *testing.T) {
	for _, address := range []string{"bob@corp.example", "o'neil&sons@corp.example", "jürgen@corp.example", "a]]>@b"} {
		for _, body := range [][]byte{poxRequest("bob@corp.example", outlookRequest, outlookResponse), soapRequest("x", "https://h/?a&b")} {
			d := xml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(body), "bob@corp.example", escape(address))))
			for {
				_, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", body, err)
				}
			}
		}
	}
}

func fuzzParser(f *testing.F, parse func([]byte) (reply, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxAnswer {
			return
		}
		r, err := parse(b)
		if err != nil {
			return
		}
		if len(r.urls) == 0 && r.redirectURL == "" && r.redirectAddress == "" && r.refusal == "" {
			t.Fatalf("%q says nothing", b)
		}
		if strings.ContainsAny(r.refusal, "\n\r\x1b\x00") {
			t.Fatalf("%q is shown as %q", b, r.refusal)
		}
		for _, u := range r.urls {
			if got, err := serviceURL(u); err == nil && (!strings.HasPrefix(got, "https://") || strings.ContainsAny(got, "\"\n\\ ")) {
				t.Fatalf("%q leads to %q", b, got)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	fuzzParser(f, parseJSON, `{"Protocol":"Ews","Url":"https://x/y"}`, `{"ErrorCode":"a","ErrorMessage":"b"}`)
}

func FuzzPOX(f *testing.F) {
	fuzzParser(f, parseOutlook, `<Autodiscover><Response><Account><Action>redirectUrl</Action><RedirectUrl>u</RedirectUrl></Account></Response></Autodiscover>`,
		`<Autodiscover><Response><Account><Protocol><Type>EXPR</Type><EwsUrl>https://x</EwsUrl></Protocol></Account></Response></Autodiscover>`)
}

func FuzzMobile(f *testing.F) {
	fuzzParser(f, parseMobile, `<Autodiscover><Response><Action><Settings><Server><Type>MobileSync</Type><Url>https://x</Url></Server></Settings></Action></Response></Autodiscover>`)
}

func FuzzSOAP(f *testing.F) {
	fuzzParser(f, parseSOAP, `<Envelope><Body><GetUserSettingsResponseMessage><Response><ErrorCode>NoError</ErrorCode><UserResponses><UserResponse><ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>ExternalEwsUrl</Name><Value>https://x</Value></UserSetting></UserSettings></UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></Body></Envelope>`)
}

// FuzzTargets: whatever DNS names, only hosts of the domain are asked.
func FuzzTargets(f *testing.F) {
	f.Add("mail.corp.example.", uint16(443))
	f.Add("corp.example@evil.example", uint16(1))
	f.Add("evil.example/.corp.example", uint16(443))
	f.Fuzz(func(t *testing.T, target string, port uint16) {
		bases, refused := newRule("corp.example", nil).targets([]*net.SRV{{Target: target, Port: port}})
		for _, b := range bases {
			u, err := serviceURL(b)
			host := strings.TrimPrefix(u, "https://")
			if h, _, err := net.SplitHostPort(host); err == nil {
				host = h
			}
			if err != nil || host != "corp.example" && !strings.HasSuffix(host, ".corp.example") {
				t.Fatalf("%q leads to %q: %v", target, b, err)
			}
		}
		for _, r := range refused {
			if strings.ContainsAny(r, "\n\r\x1b") {
				t.Fatalf("%q", r)
			}
		}
	})
}
