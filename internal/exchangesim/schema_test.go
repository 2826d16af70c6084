package exchangesim

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestAnswersFitTheSchema validates answers, and the requests of these tests, with Microsoft's schema.
func TestAnswersFitTheSchema(t *testing.T) {
	folder := sharedFolder(t, "ews-schema")
	xmllint := program(t, "xmllint")
	s := start(t, Options{Entries: 500, Seed: 5, Contacts: 12})
	s.Contacts().AddList("Family")
	if err := s.Contacts().SetUnreadable("contact1@"+OutsideDomain, "ErrorItemCorrupt"); err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	check := func(name string, document []byte) {
		cmd := exec.CommandContext(t.Context(), xmllint, "--nonet", "--noout", "--schema", "soap-envelope.xsd", "-")
		cmd.Dir = folder
		cmd.Stdin = bytes.NewReader(document)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, strings.TrimSpace(string(out)))
		}
	}
	requests := map[string]string{
		"one": resolveRequest("smtp:" + Alice), "many": resolveRequest("smtp:m"), "brief": briefRequest("smtp:b"), "none": briefRequest(Nobody),
		"garbage": resolveRequest(GarbageValues), "contact": resolveRequest(Partner), "group": resolveRequest(Team), "without detail": resolveRequest(WithoutDetail),
		"members": expandRequest(Everyone), "no group": expandRequest(Nobody), "dash": briefRequest("-"),
		"default shape": strings.Replace(resolveRequest("smtp:a"), "AllProperties", "Default", 1),
		"contacts":      findRequest(0, 5), "last contacts": findRequest(10, 5), "contact items": getRequest(s.contactIDs()...), "no item": getRequest("AAMk"),
		"settings": resolveRequest(SettingsForm), "several": resolveRequest(GoodOneLast),
	}
	for name, request := range requests {
		check("request "+name, []byte(request))
		_, body := post(t, c, s.URL(), request)
		check(name, body)
	}
	_, body := post(t, c, s.URL(), strings.Replace(briefRequest(Alice), "m:UnresolvedEntry", "t:UnresolvedEntry", 2))
	check("refusal", body)
	for _, kind := range FaultKinds() {
		switch kind {
		case FaultUnauthorized, FaultUnavailable, FaultHTML, FaultEmpty, FaultHang, FaultReset, FaultTruncate, FaultDrip, FaultEndless, FaultRetryDate:
			continue
		}
		s.Fault(Fault{Kind: kind, Requests: 1})
		_, body := post(t, c, s.URL(), resolveRequest(Alice))
		check(string(kind), body)
		s.Fault(Fault{Kind: kind, Requests: 1, Operation: "GetItem"})
		_, body = post(t, c, s.URL(), getRequest(s.contactIDs()...))
		check(string(kind)+" for GetItem", body)
	}
}
