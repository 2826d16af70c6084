package exchangesim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/galsyncd/galsyncd/internal/xmltree"
)

// Autodiscover is what the stand-in says about where its services are: by /autodiscover/autodiscover.json without a
// sign-in, by autodiscover.xml (MS-OXDSCLI, and the mobilesync schema of MS-ASCMD) and autodiscover.svc (MS-OXWSADISC) with
// one. The zero value names its own services to those who ask in a proper way.
type Autodiscover struct {
	// EWS and EAS are the addresses that are named; this server's own when empty.
	EWS, EAS string
	// Only confines it to some of "json", "xml" and "svc", the others are not found; all when empty.
	Only []string
	// Fault spoils the answers; see AutodiscoverFaults.
	Fault string
	// Target is where the faults redirect and redirect-address lead.
	Target string
}

// AutodiscoverFaults are the ways to spoil the answers of Autodiscover. Redirects are answers with status 302, and by the
// document itself where it has a place for them (redirect-in-answer).
func AutodiscoverFaults() []string {
	return []string{"redirect", "redirect-in-answer", "redirect-address", "loop", "unauthorized", "html", "huge", "bomb", "deep", "empty", "unavailable", "error"}
}

// SetAutodiscover changes what is said from now on.
func (s *Server) SetAutodiscover(a Autodiscover) error {
	if a.Fault != "" && !slices.Contains(AutodiscoverFaults(), a.Fault) {
		return fmt.Errorf("%w: fault %q is not one of %v", ErrOptions, a.Fault, AutodiscoverFaults())
	}
	s.discover.mu.Lock()
	defer s.discover.mu.Unlock()
	s.discover.Autodiscover = a
	return nil
}

type autodiscoverState struct {
	mu sync.Mutex
	Autodiscover
}

func isAutodiscover(r *http.Request) bool {
	return strings.HasPrefix(strings.ToLower(r.URL.Path), "/autodiscover/autodiscover.")
}

// serveAutodiscover answers one question.
func (s *Server) serveAutodiscover(w http.ResponseWriter, r *http.Request) {
	s.discover.mu.Lock()
	a := s.discover.Autodiscover
	s.discover.mu.Unlock()
	way, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(r.URL.Path), "/autodiscover/autodiscover."), "/")
	if !slices.Contains([]string{"json", "xml", "svc"}, way) || len(a.Only) > 0 && !slices.Contains(a.Only, way) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	base := strings.TrimSuffix(s.URL(), Path)
	if a.EWS == "" {
		a.EWS = base + Path
	}
	if a.EAS == "" {
		a.EAS = base + "/Microsoft-Server-ActiveSync"
	}
	if a.spoilt(w, r, way) {
		s.counters.faults.Add(1)
		return
	}
	switch {
	case way == "json":
		a.json(w, r)
	case !s.auth.allow(w, r):
		s.counters.unauthorized.Add(1)
	case r.Method != http.MethodPost || !strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "text/xml"):
		http.Error(w, "post text/xml here", http.StatusMethodNotAllowed)
	default:
		a.xml(w, r, way)
	}
}

// spoilt answers with the fault, if there is one that comes before any sign-in.
func (a *Autodiscover) spoilt(w http.ResponseWriter, r *http.Request, way string) bool {
	kind := map[bool]string{true: "application/json", false: "text/xml"}[way == "json"]
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	switch a.Fault {
	case "redirect":
		http.Redirect(w, r, a.Target, http.StatusFound)
	case "loop":
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
	case "unauthorized":
		w.Header().Add("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
	case "unavailable":
		http.Error(w, "The service is unavailable.", http.StatusServiceUnavailable)
	case "html":
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!DOCTYPE html><html><body>Welcome to our shop</body></html>")
	case "empty":
	case "huge":
		io.WriteString(w, `<Autodiscover><Response><Account>`)
		for range 4096 {
			io.WriteString(w, `<Protocol><Type>EXPR</Type><EwsUrl>https://mail.corp.example/EWS/`+strings.Repeat("x", 1000)+`</EwsUrl></Protocol>`)
		}
	case "bomb":
		io.WriteString(w, `<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><Autodiscover><Response>&b;</Response></Autodiscover>`)
	case "deep":
		io.WriteString(w, strings.Repeat("<a>", 20_000))
	default:
		return false
	}
	return true
}

// json answers the service that asks for no sign-in.
func (a *Autodiscover) json(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	protocol := r.URL.Query().Get("Protocol")
	answer := map[string]string{}
	switch {
	case a.Fault == "error":
		w.WriteHeader(http.StatusNotFound)
		answer["ErrorCode"], answer["ErrorMessage"] = "UserNotFound", "The given user is not found."
	case strings.EqualFold(protocol, "ews"):
		answer["Protocol"], answer["Url"] = protocol, a.EWS
	case strings.EqualFold(protocol, "activesync"):
		answer["Protocol"], answer["Url"] = protocol, a.EAS
	default:
		w.WriteHeader(http.StatusBadRequest)
		answer["ErrorCode"], answer["ErrorMessage"] = "InvalidProtocol", "The given protocol value '"+protocol+"' is invalid."
	}
	json.NewEncoder(w).Encode(answer)
}

// xml answers the two services that want a sign-in.
func (a *Autodiscover) xml(w http.ResponseWriter, r *http.Request, way string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var root *xmltree.Element
	if err == nil {
		root, err = readTree(body)
	}
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	var out []byte
	switch mailbox := find(root, "EMailAddress"); {
	case way == "svc":
		out = a.soap(find(root, "Mailbox"), strings.Contains(string(body), "GetUserSettings"))
	case mailbox == "" || !strings.Contains(mailbox, "@"):
		out = poxError(600, "Invalid Request")
	case strings.Contains(find(root, "AcceptableResponseSchema"), "/mobilesync/"):
		out = a.mobile(mailbox)
	default:
		out = a.outlook(mailbox)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	w.Write(out)
}

// find is the text of the first element of a name.
func find(e *xmltree.Element, local string) string {
	if e.Name.Local == local {
		return strings.TrimSpace(e.Text)
	}
	for _, c := range e.Children {
		if t := find(c, local); t != "" {
			return t
		}
	}
	return ""
}

const poxStart = `<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`

func poxError(code int, text string) []byte {
	a := &answer{}
	a.WriteString(poxStart)
	fmt.Fprintf(a, `<Response><Error Time="12:00:00.0000000" Id="1054084152">`)
	a.element("ErrorCode", strconv.Itoa(code))
	a.element("Message", text)
	a.WriteString("<DebugData /></Error></Response></Autodiscover>")
	return a.Bytes()
}

// outlook is the answer to Outlook's schema, with an internal and an external address as Exchange gives them.
func (a *Autodiscover) outlook(mailbox string) []byte {
	if a.Fault == "error" {
		return poxError(500, "The e-mail address cannot be found.")
	}
	o := &answer{}
	o.WriteString(poxStart + `<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"><User>`)
	o.element("AutoDiscoverSMTPAddress", mailbox)
	o.WriteString("</User><Account><AccountType>email</AccountType>")
	switch a.Fault {
	case "redirect-in-answer":
		o.element("Action", "redirectUrl")
		o.element("RedirectUrl", a.Target)
	case "redirect-address":
		o.element("Action", "redirectAddr")
		o.element("RedirectAddr", a.Target)
	default:
		o.element("Action", "settings")
		for _, kind := range []string{"EXCH", "EXPR"} {
			o.WriteString("<Protocol>")
			o.element("Type", kind)
			o.element("ASUrl", a.EWS)
			o.element("EwsUrl", a.EWS)
			o.WriteString("</Protocol>")
		}
	}
	o.WriteString("</Account></Response></Autodiscover>")
	return o.Bytes()
}

// mobile is the answer to the schema of ActiveSync. The address has white space around it, as in the documentation.
func (a *Autodiscover) mobile(mailbox string) []byte {
	o := &answer{}
	o.WriteString(poxStart + `<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"><Culture>en:en</Culture><User>`)
	o.element("EMailAddress", mailbox)
	o.WriteString("</User><Action>")
	switch a.Fault {
	case "error":
		o.WriteString("<Error><Status>1</Status><Message>The directory service could not be reached</Message><DebugData>MailUser</DebugData></Error>")
	case "redirect-address":
		o.element("Redirect", a.Target)
	default:
		o.WriteString("<Settings><Server><Type>MobileSync</Type>")
		o.element("Url", "\n  "+a.EAS+"\n")
		o.WriteString("<Name>x</Name></Server></Settings>")
	}
	o.WriteString("</Action></Response></Autodiscover>")
	return o.Bytes()
}

// soap is the answer to GetUserSettings.
func (a *Autodiscover) soap(mailbox string, asked bool) []byte {
	o := &answer{}
	o.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + `<s:Envelope xmlns:s="` + nsSOAP + `"><s:Body>`)
	if !asked || mailbox == "" {
		o.WriteString("<s:Fault><faultcode>s:Client</faultcode><faultstring>The request is not GetUserSettings.</faultstring></s:Fault></s:Body></s:Envelope>")
		return o.Bytes()
	}
	o.WriteString(`<GetUserSettingsResponseMessage xmlns="http://schemas.microsoft.com/exchange/2010/Autodiscover"><Response xmlns:i="http://www.w3.org/2001/XMLSchema-instance">` +
		`<ErrorCode>NoError</ErrorCode><ErrorMessage /><UserResponses><UserResponse>`)
	code, target := "NoError", ""
	switch a.Fault {
	case "error":
		code = "InvalidUser"
	case "redirect-in-answer":
		code, target = "RedirectUrl", a.Target
	case "redirect-address":
		code, target = "RedirectAddress", a.Target
	}
	o.element("ErrorCode", code)
	o.element("ErrorMessage", "No error.")
	o.optional("RedirectTarget", target)
	if code == "NoError" {
		o.WriteString("<UserSettings>")
		for _, name := range []string{"InternalEwsUrl", "ExternalEwsUrl"} {
			o.WriteString(`<UserSetting i:type="StringSetting">`)
			o.element("Name", name)
			o.element("Value", a.EWS)
			o.WriteString("</UserSetting>")
		}
		o.WriteString("</UserSettings>")
	}
	o.WriteString("</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>")
	return o.Bytes()
}
