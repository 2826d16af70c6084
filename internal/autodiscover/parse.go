package autodiscover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/xmltree"
)

// errNotOurs reports an answer to something else.
var errNotOurs = errors.New("the answer is not that of Autodiscover")

// parseJSON reads the answer of the JSON service: Protocol and Url, or ErrorCode and ErrorMessage.
func parseJSON(b []byte) (reply, error) {
	var v struct {
		URL          string `json:"Url"`
		ErrorCode    string
		ErrorMessage string
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if err := json.Unmarshal(b, &v); err != nil {
		return reply{}, errNotOurs
	}
	switch {
	case v.URL != "":
		return reply{urls: []string{v.URL}}, nil
	case v.ErrorCode != "" || v.ErrorMessage != "":
		return reply{refusal: refused(v.ErrorCode, v.ErrorMessage)}, nil
	}
	return reply{}, errNotOurs
}

func refused(code, text string) string {
	if code, text = httpfault.Clean(code, 60), httpfault.Clean(text, 160); text == "" {
		return "says " + code
	}
	return strings.TrimSpace(fmt.Sprintf("says %s: %s", code, text))
}

// parseOutlook reads the answer of plain old XML to Outlook's question (MS-OXDSCLI section 2.2.4). The external address
// comes first.
func parseOutlook(b []byte) (reply, error) {
	root, err := readTree(b)
	if err != nil {
		return reply{}, err
	}
	response := root.Child("Response")
	if root.Name.Local != "Autodiscover" || len(root.All("Response")) == 0 {
		return reply{}, errNotOurs
	}
	if e := response.All("Error"); len(e) > 0 {
		return reply{refusal: refused("error "+e[0].Value("ErrorCode"), e[0].Value("Message"))}, nil
	}
	account := response.Child("Account")
	switch strings.ToLower(account.Value("Action")) {
	case "redirectaddr":
		return need(reply{redirectAddress: account.Value("RedirectAddr")})
	case "redirecturl":
		return need(reply{redirectURL: account.Value("RedirectUrl")})
	}
	var r reply
	for _, kind := range []string{"EXPR", "EXHTTP", "EXCH"} {
		for _, p := range account.All("Protocol") {
			if strings.EqualFold(p.Value("Type"), kind) {
				r.urls = appendURL(r.urls, p.Value("EwsUrl"), p.Value("ASUrl"))
			}
		}
	}
	return orNone(r), nil
}

// appendURL adds the first of the addresses that is not empty.
func appendURL(urls []string, candidates ...string) []string {
	for _, u := range candidates {
		if u != "" {
			return append(urls, u)
		}
	}
	return urls
}

// need is an error for a redirect to nowhere.
func need(r reply) (reply, error) {
	if r.redirectAddress == "" && r.redirectURL == "" {
		return r, errors.New("the answer redirects to nowhere")
	}
	return r, nil
}

func orNone(r reply) reply {
	if len(r.urls) == 0 {
		r.refusal = "answers without an address of the service"
	}
	return r
}

// parseMobile reads the answer of plain old XML to the question of ActiveSync (MS-ASCMD section 2.2.1.1.2).
func parseMobile(b []byte) (reply, error) {
	root, err := readTree(b)
	if err != nil {
		return reply{}, err
	}
	if root.Name.Local != "Autodiscover" || len(root.All("Response")) == 0 {
		return reply{}, errNotOurs
	}
	response := root.Child("Response")
	action := response.Child("Action")
	for _, parent := range []*xmltree.Element{response, action} {
		if e := parent.All("Error"); len(e) > 0 {
			code := e[0].Value("ErrorCode")
			if code == "" {
				code = e[0].Value("Status")
			}
			return reply{refusal: refused("error "+code, e[0].Value("Message"))}, nil
		}
	}
	if to := action.Value("Redirect"); to != "" {
		return reply{redirectAddress: to}, nil
	}
	var r reply
	for _, server := range action.Child("Settings").All("Server") {
		if strings.EqualFold(server.Value("Type"), "MobileSync") {
			r.urls = appendURL(r.urls, server.Value("Url"))
		}
	}
	return orNone(r), nil
}

// parseSOAP reads the answer to GetUserSettings (MS-OXWSADISC section 3.1.4.1.2.2).
func parseSOAP(b []byte) (reply, error) {
	root, err := readTree(b)
	if err != nil {
		return reply{}, err
	}
	body := root.Child("Body")
	if root.Name.Local != "Envelope" {
		return reply{}, errNotOurs
	}
	if f := body.All("Fault"); len(f) > 0 {
		return reply{refusal: refused("a fault", f[0].Value("faultstring"))}, nil
	}
	response := body.Child("GetUserSettingsResponseMessage").Child("Response")
	user := response.Child("UserResponses").Child("UserResponse")
	code, text := user.Value("ErrorCode"), user.Value("ErrorMessage")
	if c := response.Value("ErrorCode"); c != "NoError" {
		code, text = c, response.Value("ErrorMessage")
	}
	switch code {
	case "":
		return reply{}, errNotOurs
	case "NoError":
		return orNone(reply{urls: settings(user)}), nil
	case "RedirectAddress":
		return need(reply{redirectAddress: user.Value("RedirectTarget")})
	case "RedirectUrl":
		return need(reply{redirectURL: user.Value("RedirectTarget")})
	}
	return reply{refusal: refused(code, text)}, nil
}

// settings are the addresses among the settings of a user, the external one first.
func settings(user *xmltree.Element) []string {
	var urls []string
	for _, name := range []string{"ExternalEwsUrl", "InternalEwsUrl"} {
		for _, s := range user.Child("UserSettings").All("UserSetting") {
			if s.Value("Name") == name {
				urls = appendURL(urls, s.Value("Value"))
			}
		}
	}
	return urls
}
