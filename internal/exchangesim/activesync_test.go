package exchangesim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// phone is a device that speaks 14.1, or what version says.
type phone struct {
	t       *testing.T
	s       *Server
	version string
	key     string
}

func (p *phone) post(name string, root *wbxml.Element) (*http.Response, *wbxml.Element) {
	p.t.Helper()
	body, err := wbxml.Marshal(root)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", p.s.ActiveSyncURL()+"?Cmd="+name+"&User=svc&DeviceId=abc123&DeviceType=test", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", wbxmlType)
	r.Header.Set("MS-ASProtocolVersion", p.version)
	r.Header.Set("X-MS-PolicyKey", p.key)
	return p.do(r)
}

func (p *phone) do(r *http.Request) (*http.Response, *wbxml.Element) {
	p.t.Helper()
	answer, err := client(p.t, p.s).Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(body) == 0 || answer.Header.Get("Content-Type") != wbxmlType {
		return answer, nil
	}
	root, err := wbxml.Unmarshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer, root
}

func (p *phone) resolve(to ...string) *wbxml.Element {
	p.t.Helper()
	root := wbxml.New(wbxml.ResolveRecipients)
	for _, address := range to {
		root.Children = append(root.Children, wbxml.NewText(wbxml.ResolveRecipientsTo, address))
	}
	root.Children = append(root.Children, wbxml.New(wbxml.ResolveRecipientsOptions, wbxml.NewText(wbxml.ResolveRecipientsCertificateRetrieval, "2"),
		wbxml.NewText(wbxml.ResolveRecipientsMaxCertificates, "9999"), wbxml.NewText(wbxml.ResolveRecipientsMaxAmbiguousRecipients, "2")))
	_, answer := p.post("ResolveRecipients", root)
	return answer
}

// summary is "To: Status (recipient: Certificates/Status × number)".
func summary(root *wbxml.Element) (lines []string) {
	for r := range root.All(wbxml.ResolveRecipientsResponse) {
		line := r.TextAt(wbxml.ResolveRecipientsTo) + ": " + r.TextAt(wbxml.ResolveRecipientsStatus)
		for x := range r.All(wbxml.ResolveRecipientsRecipient) {
			line += " " + x.TextAt(wbxml.ResolveRecipientsEmailAddress)
			if c := x.Child(wbxml.ResolveRecipientsCertificates); c != nil {
				line += fmt.Sprintf(" %s×%d", c.TextAt(wbxml.ResolveRecipientsStatus), len(slices.Collect(c.All(wbxml.ResolveRecipientsCertificate))))
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestResolveRecipients(t *testing.T) {
	s := start(t, Options{Entries: 200, Seed: 1})
	p := &phone{t: t, s: s, version: "14.1"}
	person := s.Directory().People()
	var group Person
	for _, x := range person {
		if x.Kind == PublicDL {
			group = x
		}
	}
	for to, want := range map[string]string{
		Alice:                      Alice + ": 1 " + Alice + " 1×1",
		strings.ToUpper(Alice):     strings.ToUpper(Alice) + ": 1 " + Alice + " 1×1",
		"nobody-here@corp.example": "nobody-here@corp.example: 4",
	} {
		if got := summary(p.resolve(to)); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
	if got := summary(p.resolve("a", Alice)); len(got) != 2 || !strings.HasPrefix(got[0], "a: 3 ") || strings.Contains(got[0], "×") {
		t.Errorf("a name that many share: %q", got)
	}
	if got := p.resolve(group.Primary); got.TextAt(wbxml.ResolveRecipientsResponse, wbxml.ResolveRecipientsRecipient, wbxml.ResolveRecipientsCertificates, wbxml.ResolveRecipientsRecipientCount) == "" {
		t.Errorf("a group does not say how many it has: %v", summary(got))
	}
	if got := p.resolve(make([]string, 101)...); got.TextAt(wbxml.ResolveRecipientsStatus) != "5" {
		t.Errorf("101 recipients: status %q, want 5", got.TextAt(wbxml.ResolveRecipientsStatus))
	}
}

// TestOnlyValidCertificates: ActiveSync shows less than the directory holds.
func TestOnlyValidCertificates(t *testing.T) {
	s := start(t, Options{})
	p := &phone{t: t, s: s, version: "16.1"}
	for recipe, want := range map[Recipe]string{Usable: "1×1", None: "7×0", Expired: "7×0", UntrustedIssuer: "7×0", Garbage: "7×0", SeveralValues: "1×2", Renewed: "1×1", NotYetValid: "7×0"} {
		for _, encoding := range []Encoding{DER, SignedData, Settings} {
			address := fmt.Sprintf("recipe%d.%d@corp.example", recipe, encoding)
			if err := s.Directory().Add(Person{Primary: address, Recipe: recipe, Encoding: encoding}); err != nil {
				t.Fatal(err)
			}
			if got := summary(p.resolve(address)); !slices.Equal(got, []string{address + ": 1 " + address + " " + want}) {
				t.Errorf("recipe %d, encoding %d: %q, want %s", recipe, encoding, got, want)
			}
		}
	}
}

func TestCertificateLimit(t *testing.T) {
	s := start(t, Options{ActiveSync: ActiveSyncOptions{MaxCertificates: 1}})
	p := &phone{t: t, s: s, version: "14.1"}
	got := summary(p.resolve(Alice, Bob))
	want := []string{Alice + ": 1 " + Alice + " 1×1", Bob + ": 1 " + Bob + " 8×0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func searchFor(text, span string) *wbxml.Element {
	return wbxml.New(wbxml.Search, wbxml.New(wbxml.SearchStore, wbxml.NewText(wbxml.SearchName, "GAL"), wbxml.NewText(wbxml.SearchQuery, text),
		wbxml.New(wbxml.SearchOptions, wbxml.NewText(wbxml.SearchRange, span))))
}

func TestSearchPages(t *testing.T) {
	s := start(t, Options{Entries: 2000, Seed: 1})
	p := &phone{t: t, s: s, version: "14.1"}
	store := func(text, span string) *wbxml.Element {
		_, root := p.post("Search", searchFor(text, span))
		return root.At(wbxml.SearchResponse, wbxml.SearchStore)
	}
	results := func(e *wbxml.Element) int { return len(slices.Collect(e.All(wbxml.SearchResult))) }
	if e := store("a", "0-99"); results(e) != 100 || e.TextAt(wbxml.SearchRange) != "0-99" || e.TextAt(wbxml.SearchTotal) == "100" {
		t.Errorf("first page: %d results, range %q of %q", results(e), e.TextAt(wbxml.SearchRange), e.TextAt(wbxml.SearchTotal))
	}
	if e := store("a", "100-199"); e.TextAt(wbxml.SearchStatus) != "12" {
		t.Errorf("beyond the end: status %q, want 12", e.TextAt(wbxml.SearchStatus))
	}
	if e := store("zzzz", "0-99"); results(e) != 1 || e.At(wbxml.SearchResult, wbxml.SearchProperties) != nil {
		t.Errorf("nobody: %d results", results(e))
	}
}

// provision runs both phases as the samples do.
func (p *phone) provision() string {
	p.t.Helper()
	kind := wbxml.NewText(wbxml.ProvisionPolicyType, policyType)
	request := func(inside ...*wbxml.Element) *wbxml.Element {
		return wbxml.New(wbxml.Provision, wbxml.New(wbxml.SettingsDeviceInformation, wbxml.New(wbxml.SettingsSet, wbxml.NewText(wbxml.SettingsModel, "galsyncd"))),
			wbxml.New(wbxml.ProvisionPolicies, wbxml.New(wbxml.ProvisionPolicy, inside...)))
	}
	_, first := p.post("Provision", request(kind))
	policy := first.At(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy)
	p.key = policy.TextAt(wbxml.ProvisionPolicyKey)
	if p.key == "" || policy.At(wbxml.ProvisionData, wbxml.ProvisionEASProvisionDoc) == nil {
		p.t.Fatalf("no policy: status %q", policy.TextAt(wbxml.ProvisionStatus))
	}
	_, second := p.post("Provision", request(kind, wbxml.NewText(wbxml.ProvisionPolicyKey, p.key), wbxml.NewText(wbxml.ProvisionStatus, "1")))
	p.key = second.TextAt(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy, wbxml.ProvisionPolicyKey)
	return p.key
}

func TestPolicy(t *testing.T) {
	s := start(t, Options{ActiveSync: ActiveSyncOptions{Policy: true}})
	p := &phone{t: t, s: s, version: "14.1"}
	status := func() string { return p.resolve(Alice).TextAt(wbxml.ResolveRecipientsStatus) }
	if got := status(); got != "142" {
		t.Errorf("before: %s, want 142", got)
	}
	if p.provision(); status() != "1" {
		t.Errorf("after: %s", status())
	}
	s.ChangePolicy()
	if got := status(); got != "143" {
		t.Errorf("after a change of the policy: %s, want 143", got)
	}
	if p.provision(); status() != "1" {
		t.Errorf("after the second: %s", status())
	}
	s.WipeDevices()
	if got := status(); got != "140" {
		t.Errorf("with a wipe pending: %s, want 140", got)
	}
	old := &phone{t: t, s: start(t, Options{ActiveSync: ActiveSyncOptions{Policy: true}}), version: "12.1"}
	if answer, _ := old.post("Search", searchFor("a", "0-9")); answer.StatusCode != 449 {
		t.Errorf("12.1 without a policy: %d, want 449", answer.StatusCode)
	}
}

// TestBase64Query reads the queries of the samples, Microsoft's own among them.
func TestBase64Query(t *testing.T) {
	for query, want := range map[string]command{
		"jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l":     {name: "Sync", version: "14.0", device: "v140Device", kind: "SmartPhone"},
		"jRUJBAhkZXYwMDAwMQRgSOpNB2dhbHN5bmM=":     {name: "ResolveRecipients", version: "14.1", device: "dev00001", kind: "galsync", key: "1307199584"},
		"oRAHBAhkZXYwMDAwMQAHZ2Fsc3luYwgEbm9yYQ==": {name: "Search", version: "16.1", device: "dev00001", kind: "galsync"},
	} {
		if got, err := readBase64(query); err != nil || *got != want {
			t.Errorf("%s: %+v, %v", query, got, err)
		}
	}
	for _, query := range []string{"", "====", base64.StdEncoding.EncodeToString([]byte{141, 21, 0, 0, 200})} {
		if _, err := readBase64(query); err == nil {
			t.Errorf("%q is read", query)
		}
	}
}

// TestActiveSyncFaults: every fault is an answer that a client must not take for "there is none", but for the two that
// say just that.
func TestActiveSyncFaults(t *testing.T) {
	s := start(t, Options{})
	p := &phone{t: t, s: s, version: "14.1"}
	for kind, want := range map[FaultKind]string{
		FaultBusy: "503", FaultConnections: "503", FaultTransient: "200 status 111", FaultADUnavailable: "200 status 6", FaultNoMailbox: "200 status 126",
		FaultMoved: "451", FaultNotProvisioned: "200 status 142", FaultHTML: "200 not wbxml", FaultEmpty: "200 not wbxml", FaultUnauthorized: "401",
		FaultNoResults: "200 " + Alice + ": 4", FaultNoCertificates: "200 " + Alice + ": 1 " + Alice + " 7×0",
		FaultAmbiguous: "200 " + Alice + ": 2 " + Alice + " 1×1", FaultCertificateLimit: "200 " + Alice + ": 1 " + Alice + " 8×0",
	} {
		s.Fault(Fault{Kind: kind, Requests: 1, Location: "https://elsewhere.example/"})
		answer, root := p.post("ResolveRecipients", wbxml.New(wbxml.ResolveRecipients, wbxml.NewText(wbxml.ResolveRecipientsTo, Alice),
			wbxml.New(wbxml.ResolveRecipientsOptions, wbxml.NewText(wbxml.ResolveRecipientsCertificateRetrieval, "2"))))
		got := fmt.Sprint(answer.StatusCode)
		switch status := root.TextAt(wbxml.ResolveRecipientsStatus); {
		case answer.StatusCode == 200 && root == nil:
			got += " not wbxml"
		case root != nil && status == "1":
			got += " " + strings.Join(summary(root), "; ")
		case root != nil:
			got += " status " + status
		}
		if got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
		if kind == FaultMoved && answer.Header.Get("X-MS-Location") != "https://elsewhere.example/" {
			t.Errorf("no X-MS-Location")
		}
	}
}

// TestSampleRequest: a request that another encoder wrote is answered.
func TestSampleRequest(t *testing.T) {
	body, err := os.ReadFile("../wbxml/testdata/samples/rr-request-publicid-in-strtab.wbxml")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{})
	p := &phone{t: t, s: s}
	r, err := http.NewRequest("POST", s.ActiveSyncURL()+"?jRUJBAhkZXYwMDAwMQAHZ2Fsc3luYw==", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wbxmlType)
	if _, root := p.do(r); root.TextAt(wbxml.ResolveRecipientsStatus) != "1" || len(summary(root)) != 2 {
		t.Errorf("answer %v", summary(root))
	}
	if n := s.Commands()["ResolveRecipients"]; n != 1 {
		t.Errorf("%d commands counted", n)
	}
}
