package eas

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

const testDevice = "0123456789abcdef0123456789abcdef"

// reply is one answer of a fake server.
type reply struct {
	status int
	header map[string]string
	body   []byte
}

// fake answers POST requests in turn; the last answer is repeated. OPTIONS offers versions.
type fake struct {
	mu       sync.Mutex
	versions string
	replies  []reply
	asked    []string         // raw queries
	sent     []*wbxml.Element // documents
	keys     []string         // X-MS-PolicyKey
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodOptions {
		if f.versions != "" {
			w.Header().Set("MS-ASProtocolVersions", f.versions)
		}
		return
	}
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	root, _ := wbxml.Unmarshal(body.Bytes())
	f.asked, f.sent, f.keys = append(f.asked, r.URL.RawQuery), append(f.sent, root), append(f.keys, r.Header.Get("X-MS-PolicyKey"))
	one := f.replies[0]
	if len(f.replies) > 1 {
		f.replies = f.replies[1:]
	}
	w.Header().Set("Content-Type", "application/vnd.ms-sync.wbxml")
	for k, v := range one.header {
		w.Header().Set(k, v)
	}
	if one.status != 0 {
		w.WriteHeader(one.status)
	}
	_, _ = w.Write(one.body)
}

func newFake(t testing.TB, replies ...reply) (*fake, *Client) {
	f := &fake{versions: "2.5,12.1,14.0,14.1,16.1", replies: replies}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, &Client{URL: server.URL + "/Microsoft-Server-ActiveSync", DeviceID: testDevice, HTTP: server.Client()}
}

func sample(t testing.TB, name string) reply {
	t.Helper()
	b, err := os.ReadFile("../internal/wbxml/testdata/samples/" + name + ".wbxml")
	if err != nil {
		t.Fatal(err)
	}
	return reply{body: b}
}

func document(t testing.TB, root *wbxml.Element) reply {
	t.Helper()
	b, err := wbxml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return reply{body: b}
}

// response is the answer about one address.
func response(to, status string, recipients ...*wbxml.Element) *wbxml.Element {
	r := wbxml.New(wbxml.ResolveRecipientsResponse, wbxml.NewText(wbxml.ResolveRecipientsTo, to), wbxml.NewText(wbxml.ResolveRecipientsStatus, status))
	r.Children = append(r.Children, recipients...)
	return r
}

func recipient(address, kind string, certificates ...*wbxml.Element) *wbxml.Element {
	return wbxml.New(wbxml.ResolveRecipientsRecipient, wbxml.NewText(wbxml.ResolveRecipientsType, kind),
		wbxml.NewText(wbxml.ResolveRecipientsEmailAddress, address), wbxml.New(wbxml.ResolveRecipientsCertificates, certificates...))
}

func certificateStatus(s string) *wbxml.Element {
	return wbxml.NewText(wbxml.ResolveRecipientsStatus, s)
}

func resolved(t testing.TB, responses ...*wbxml.Element) reply {
	return document(t, wbxml.New(wbxml.ResolveRecipients, append([]*wbxml.Element{wbxml.NewText(wbxml.ResolveRecipientsStatus, "1")}, responses...)...))
}

// TestSamples reads the recorded and hand-made answers.
func TestSamples(t *testing.T) {
	for _, test := range []struct {
		sample, to string
		values     int // -1: nobody; -2: no usable answer about the address; -3: about nothing
	}{
		{"rr-response-two-certificates-one-recipient", "nora@sample.example", 2},
		{"rr-response-no-certificate", "pat@sample.example", 0},
		{"rr-response-not-found", "nobody@sample.example", -1},
		{"rr-response-ambiguous", "nora", -2},
		{"rr-response-protocol-error", "nora@sample.example", -2},
		{"bad-truncated", "nora@sample.example", -3},
		{"bad-unclosed", "nora@sample.example", -3},
		{"bad-html", "nora@sample.example", -3},
		{"sogo-foldersync", "nora@sample.example", -3},
	} {
		root, err := wbxml.Unmarshal(sample(t, test.sample).body)
		to := test.to
		if err == nil && root.Child(wbxml.ResolveRecipientsResponse) != nil {
			to = root.TextAt(wbxml.ResolveRecipientsResponse, wbxml.ResolveRecipientsTo)
		}
		_, c := newFake(t, sample(t, test.sample))
		outcomes, err := c.ResolveRecipients(t.Context(), []directory.Address{directory.Address(to)})
		switch got := 0; {
		case err != nil:
			if test.values != -3 {
				t.Errorf("%s: %v", test.sample, err)
			}
		case outcomes[0].Err != nil:
			if test.values != -2 || !errors.Is(outcomes[0].Err, ErrNoAnswer) {
				t.Errorf("%s: %v", test.sample, outcomes[0].Err)
			}
		default:
			if got = -1; outcomes[0].Recipient != nil {
				got = len(outcomes[0].Recipient.Values)
			}
			if got != test.values {
				t.Errorf("%s: %d values, want %d", test.sample, got, test.values)
			}
		}
	}
}

// TestOutcomes: what of a server's answer is usable, and what is not.
func TestOutcomes(t *testing.T) {
	der := base64.StdEncoding.EncodeToString([]byte("\x30\x82 not really a certificate"))
	lines := der[:10] + "\r\n" + der[10:20] + "\n " + der[20:] + "\n"
	cert := func(text string) *wbxml.Element { return wbxml.NewText(wbxml.ResolveRecipientsCertificate, text) }
	count := func(text string) *wbxml.Element { return wbxml.NewText(wbxml.ResolveRecipientsRecipientCount, text) }
	const a = "a@x.example"
	for _, test := range []struct {
		name      string
		responses []*wbxml.Element
		want      string // "nobody", "list", "N values", or what the error says
	}{
		{"base64", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), cert(der)))}, "1 values"},
		{"base64 in lines", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), cert(lines)))}, "1 values"},
		{"bytes", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), &wbxml.Element{Tag: wbxml.ResolveRecipientsCertificate, Text: "\x30\x82\x01", Opaque: true}))}, "1 values"},
		{"not base64", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), cert("!")))}, "1 values"},
		{"none", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("7")))}, "0 values"},
		{"limit", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("8"), cert(der)))}, "more certificates"},
		{"success with none", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1")))}, "shows none"},
		{"mini certificate", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), wbxml.NewText(wbxml.ResolveRecipientsMiniCertificate, der)))}, "shows none"},
		{"no word about certificates", []*wbxml.Element{response(a, "1", recipient(a, "1"))}, "about certificates"},
		{"list", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), count("3"), cert(der)))}, "list"},
		{"list of one", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), count("1"), cert(der)))}, "list"},
		{"contact", []*wbxml.Element{response(a, "1", recipient(a, "2", certificateStatus("1"), cert(der)))}, "own contacts"},
		{"other type", []*wbxml.Element{response(a, "1", recipient(a, "9", certificateStatus("1"), cert(der)))}, "type 9"},
		{"two recipients", []*wbxml.Element{response(a, "1", recipient(a, "1", certificateStatus("1"), cert(der)), recipient(a, "1", certificateStatus("7")))}, "2 entries"},
		{"no recipient", []*wbxml.Element{response(a, "1")}, "0 entries"},
		{"ambiguous with certificates", []*wbxml.Element{response(a, "2", recipient(a, "1", certificateStatus("1"), cert(der)))}, "several entries"},
		{"partial list", []*wbxml.Element{response(a, "3")}, "several entries"},
		{"nobody", []*wbxml.Element{response(a, "4")}, "nobody"},
		{"other status", []*wbxml.Element{response(a, "99")}, "status 99"},
		{"no status", []*wbxml.Element{response(a, "")}, "status -1"},
		{"left out", nil, "left the address out"},
		{"another address", []*wbxml.Element{response("b@x.example", "1", recipient(a, "1", certificateStatus("7")))}, "left the address out"},
		{"in another case", []*wbxml.Element{response(" A@X.Example", "1", recipient("A@X.EXAMPLE", "1", certificateStatus("7")))}, "0 values"},
		{"twice", []*wbxml.Element{response(a, "4"), response(a, "1", recipient(a, "1", certificateStatus("7")))}, "more than once"},
		{"no address", []*wbxml.Element{response(a, "1", recipient("", "1", certificateStatus("7")))}, "no mail address"},
	} {
		_, c := newFake(t, resolved(t, test.responses...))
		outcomes, err := c.ResolveRecipients(t.Context(), []directory.Address{a})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := "nobody"
		switch o := outcomes[0]; {
		case o.Err != nil:
			if got = o.Err.Error(); !errors.Is(o.Err, ErrNoAnswer) {
				t.Errorf("%s: %v is not ErrNoAnswer", test.name, o.Err)
			}
		case o.Recipient != nil && o.Recipient.List:
			got = "list"
		case o.Recipient != nil:
			got = fmt.Sprintf("%d values", len(o.Recipient.Values))
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestQuery compares the base64 form with the example of MS-ASHTTP section 2.2.1.1.1.1 and others.
func TestQuery(t *testing.T) {
	for _, test := range []struct {
		version, device, kind string
		cmd                   command
		key                   uint32
		want                  string
	}{
		{"14.0", "v140Device", "SmartPhone", command{code: 0}, 0, "jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l"},
		{"14.1", "dev00001", "galsync", cmdResolveRecipients, 1307199584, "jRUJBAhkZXYwMDAwMQRgSOpNB2dhbHN5bmM="},
		{"16.1", "dev00001", "galsync", cmdProvision, 0, "oRQJBAhkZXYwMDAwMQAHZ2Fsc3luYw=="},
	} {
		if got, err := query(test.version, test.device, test.kind, test.cmd, test.key); err != nil || got != test.want {
			t.Errorf("%s, %v, want %s", got, err, test.want)
		}
	}
}

// TestPlainQuery sends the headers that the base64 form has in itself.
func TestPlainQuery(t *testing.T) {
	f, c := newFake(t, resolved(t, response("a@x.example", "4")))
	c.PlainQuery, c.Username = true, `CORP\svc`
	if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil {
		t.Fatal(err)
	}
	if want := "Cmd=ResolveRecipients&DeviceId=" + testDevice + "&DeviceType=galsyncd&User=CORP%5Csvc"; f.asked[0] != want || f.keys[0] != "0" {
		t.Errorf("query %s, key %q", f.asked[0], f.keys[0])
	}
}

// TestVersions takes the best that the server offers, and refuses what is too old.
func TestVersions(t *testing.T) {
	for offered, want := range map[string]string{"2.5,12.0,12.1,14.0,14.1,16.0,16.1": "oR", "2.5, 12.1, 14.1": "jR", "12.1": "eR", "2.5,12.0": "", "": ""} {
		f, c := newFake(t, resolved(t, response("a@x.example", "4")))
		f.versions = offered
		_, err := c.Resolve(t.Context(), "a@x.example")
		switch {
		case (err == nil) != (want != ""):
			t.Errorf("%q: %v", offered, err)
		case err == nil && !strings.HasPrefix(f.asked[0], want):
			t.Errorf("%q: asked %s", offered, f.asked[0])
		}
	}
}

// TestProvision: HTTP 449 and the statuses lead to one Provision; a server without a policy is asked on without a key.
func TestProvision(t *testing.T) {
	answer := resolved(t, response("a@x.example", "4"))
	for name, refusal := range map[string]reply{"449": {status: 449}, "142": sample(t, "rr-response-not-provisioned")} {
		f, c := newFake(t, refusal, sample(t, "sogo-provision-no-policy"), answer)
		if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil || len(f.sent) != 3 {
			t.Errorf("%s: %v after %d requests", name, err, len(f.sent))
		}
		f, c = newFake(t, refusal, sample(t, "provision-response-temp-key"), document(t, finalKey("77")), answer)
		c.PlainQuery, c.Username = true, "svc"
		if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(f.keys, []string{"0", "0", "1307199584", "77"}) {
			t.Errorf("%s: keys %v", name, f.keys)
		}
		if told := f.sent[2].TextAt(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy, wbxml.ProvisionStatus); told != "2" {
			t.Errorf("%s: a policy that wants a password was acknowledged with %s", name, told)
		}
		if p := c.Policy(); !slices.Equal(p.Unmet, []string{"DevicePasswordEnabled"}) || p.Acknowledged != "partly applied" {
			t.Errorf("%s: policy %+v", name, p)
		}
	}
	f, c := newFake(t, sample(t, "rr-response-not-provisioned"), sample(t, "provision-response-temp-key"), document(t, finalKey("77")), answer)
	c.PolicyMet = []string{"devicepasswordenabled"}
	if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil || f.sent[2].TextAt(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy, wbxml.ProvisionStatus) != "1" {
		t.Errorf("vouched for: %v", err)
	}
	// A server that is never content is not asked for ever.
	f, c = newFake(t, sample(t, "rr-response-not-provisioned"), sample(t, "provision-response-temp-key"), document(t, finalKey("77")), sample(t, "rr-response-not-provisioned"))
	if _, err := c.Resolve(t.Context(), "a@x.example"); err == nil || len(f.sent) != 4 {
		t.Errorf("%v after %d requests", err, len(f.sent))
	}
	_, c = newFake(t, sample(t, "rr-response-not-provisioned"), sample(t, "provision-response-remote-wipe"))
	if _, err := c.Resolve(t.Context(), "a@x.example"); !errors.Is(err, directory.ErrRemoteWipe) {
		t.Errorf("remote wipe: %v", err)
	}
}

func finalKey(key string) *wbxml.Element {
	return wbxml.New(wbxml.Provision, wbxml.NewText(wbxml.ProvisionStatus, "1"), wbxml.New(wbxml.ProvisionPolicies,
		wbxml.New(wbxml.ProvisionPolicy, wbxml.NewText(wbxml.ProvisionPolicyType, policyType), wbxml.NewText(wbxml.ProvisionStatus, "1"), wbxml.NewText(wbxml.ProvisionPolicyKey, key))))
}

// TestConfirmWipe acknowledges the kind of order that is there, and none that is not.
func TestConfirmWipe(t *testing.T) {
	ordered := func(tag wbxml.Tag) reply {
		return document(t, wbxml.New(wbxml.Provision, wbxml.NewText(wbxml.ProvisionStatus, "1"), wbxml.New(tag)))
	}
	for tag, requests := range map[wbxml.Tag]int{wbxml.ProvisionRemoteWipe: 2, wbxml.ProvisionAccountOnlyRemoteWipe: 2, wbxml.ProvisionPolicies: 1} {
		f, c := newFake(t, ordered(tag), document(t, wbxml.New(wbxml.Provision, wbxml.NewText(wbxml.ProvisionStatus, "1"))))
		if err := c.ConfirmWipe(t.Context()); err != nil || len(f.sent) != requests {
			t.Errorf("%s: %v after %d requests", tag, err, len(f.sent))
		}
		if requests == 2 && f.sent[1].TextAt(tag, wbxml.ProvisionStatus) != "1" {
			t.Errorf("%s was not acknowledged", tag)
		}
	}
}

// TestDemands: which elements of a policy ask something of the machine.
func TestDemands(t *testing.T) {
	doc := wbxml.New(wbxml.ProvisionEASProvisionDoc)
	set := func(tag wbxml.Tag, value string) { doc.Children = append(doc.Children, wbxml.NewText(tag, value)) }
	set(wbxml.ProvisionDevicePasswordEnabled, "0")
	set(wbxml.ProvisionMinDevicePasswordLength, "8")
	set(wbxml.ProvisionAllowBluetooth, "2")
	set(wbxml.ProvisionAllowCamera, "1")
	set(wbxml.ProvisionAllowWiFi, "0")
	set(wbxml.ProvisionRequireDeviceEncryption, "1")
	set(wbxml.ProvisionAttachmentsEnabled, "0")
	set(wbxml.ProvisionRequireSignedSMIMEMessages, "1")
	set(wbxml.MakeTag(14, 0x3F), "1")
	doc.Children = append(doc.Children, wbxml.New(wbxml.ProvisionApprovedApplicationList), wbxml.New(wbxml.ProvisionUnapprovedInROMApplicationList, wbxml.NewText(wbxml.ProvisionApplicationName, "mail.exe")))
	p := readPolicy(doc, []string{"RequireDeviceEncryption"}, time.Now())
	if want := []string{"AllowWiFi", "Provision:token 0x3F", "UnapprovedInROMApplicationList"}; !slices.Equal(p.Unmet, want) {
		t.Errorf("unmet %v, want %v", p.Unmet, want)
	}
	if len(p.Demands) != 4 || len(p.SMIME) != 1 {
		t.Errorf("%+v", p)
	}
	for name, want := range map[string]bool{"RequireDeviceEncryption": true, "allowwifi": true, "MinDevicePasswordLength": false, "PolicyKey": false, "Nonsense": false, "AllowSMIMESoftCerts": false} {
		if IsDemand(name) != want {
			t.Errorf("IsDemand(%s) is %v", name, !want)
		}
	}
}

// TestSearchPages: the next page begins after what came, and nothing is believed that was not seen.
func TestSearchPages(t *testing.T) {
	page := func(total string, addresses ...string) reply {
		store := wbxml.New(wbxml.SearchStore, wbxml.NewText(wbxml.SearchStatus, "1"))
		for _, a := range addresses {
			store.Children = append(store.Children, wbxml.New(wbxml.SearchResult, wbxml.New(wbxml.SearchProperties, wbxml.NewText(wbxml.GALEmailAddress, a))))
		}
		store.Children = append(store.Children, wbxml.NewText(wbxml.SearchTotal, total))
		return document(t, wbxml.New(wbxml.Search, wbxml.NewText(wbxml.SearchStatus, "1"), wbxml.New(wbxml.SearchResponse, store)))
	}
	f, c := newFake(t, page("2", "a1@x.example", "a2@x.example"), page("1", "a3@x.example"), sample(t, "sogo-gal-none"))
	answer, err := c.Search(t.Context(), "a", false)
	if err != nil || len(answer.Records) != 3 || answer.Truncated {
		t.Errorf("%+v, %v", answer, err)
	}
	var ranges []string
	for _, sent := range f.sent {
		ranges = append(ranges, sent.TextAt(wbxml.SearchStore, wbxml.SearchOptions, wbxml.SearchRange))
	}
	if !slices.Equal(ranges, []string{"0-99", "2-101", "3-102"}) {
		t.Errorf("ranges %v", ranges)
	}
	// A first page with fewer results than one that was whole needs no other request.
	f.replies = []reply{page("3", "a1@x.example", "a2@x.example", "a3@x.example"), sample(t, "sogo-gal-none")}
	if answer, err := c.Search(t.Context(), "a", false); err != nil || len(answer.Records) != 3 {
		t.Errorf("%+v, %v", answer, err)
	}
	f.replies, f.sent = []reply{page("2", "a1@x.example", "a2@x.example")}, nil
	if answer, err := c.Search(t.Context(), "a", false); err != nil || len(answer.Records) != 2 || len(f.sent) != 1 {
		t.Errorf("%+v, %v after %d requests", answer, err, len(f.sent))
	}
	// The same page again and again is one page.
	_, c = newFake(t, page("2", "a1@x.example", "a2@x.example"))
	if answer, err := c.Search(t.Context(), "a", false); err != nil || len(answer.Records) != 2 || answer.Truncated {
		t.Errorf("%+v, %v", answer, err)
	}
	// Who is found by name is left out, and counted.
	_, c = newFake(t, page("3", "a1@x.example", "b@x.example", "no address"), sample(t, "sogo-gal-none"))
	if answer, err := c.Search(t.Context(), "a", false); err != nil || len(answer.Records) != 1 || answer.Others != 2 {
		t.Errorf("%+v, %v", answer, err)
	}
	_, c = newFake(t, sample(t, "sogo-gal-page1"), sample(t, "sogo-gal-none"))
	if answer, err := c.Search(t.Context(), "staff", false); err != nil || len(answer.Records) != 9 {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestValidateCert: the server's word counts where it says that a certificate is revoked, and nowhere else.
func TestValidateCert(t *testing.T) {
	_, c := newFake(t, sample(t, "sogo-validatecert-untrusted"))
	if said, err := c.ValidateCertificates(t.Context(), [][]byte{{1}}); err != nil || said[0] != 17 {
		t.Errorf("%v, %v", said, err)
	}
	if said, err := c.ValidateCertificates(t.Context(), [][]byte{{1}, {2}}); err == nil {
		t.Errorf("one answer for two: %v", said)
	}
	cert := func(s string) *wbxml.Element {
		return wbxml.New(wbxml.ValidateCertCertificate, wbxml.NewText(wbxml.ValidateCertStatus, s))
	}
	one := wbxml.NewText(wbxml.ResolveRecipientsCertificate, "MIIB")
	f, c := newFake(t, resolved(t, response("a@x.example", "1", recipient("a@x.example", "1", certificateStatus("1"), one, one, one))),
		document(t, wbxml.New(wbxml.ValidateCert, wbxml.NewText(wbxml.ValidateCertStatus, "1"), cert("13"), cert("4"), cert("15"))))
	c.CheckRevocation = true
	r, err := c.Resolve(t.Context(), "a@x.example")
	if err != nil || len(f.sent) != 2 {
		t.Fatalf("%v after %d requests", err, len(f.sent))
	}
	var faults []string
	for _, v := range r.Records[0].Values {
		faults = append(faults, v.Fault)
	}
	if !strings.Contains(faults[0], "revoked") || faults[1] != "" || !strings.Contains(faults[2], "issuer") {
		t.Errorf("faults %q", faults)
	}
}

// TestGzip: an answer is undone within bounds.
func TestGzip(t *testing.T) {
	squeeze := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	zip := map[string]string{"Content-Encoding": "gzip"}
	_, c := newFake(t, reply{header: zip, body: squeeze(resolved(t, response("a@x.example", "4")).body)})
	if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil {
		t.Error(err)
	}
	_, c = newFake(t, reply{header: zip, body: squeeze(make([]byte, maxAnswer+10))})
	if _, err := c.Resolve(t.Context(), "a@x.example"); !errors.Is(err, wbxml.ErrLimit) {
		t.Errorf("a bomb: %v", err)
	}
}

// TestRetryAfter: 503 may pass, at the time that the server says.
func TestRetryAfter(t *testing.T) {
	_, c := newFake(t, reply{status: 503, header: map[string]string{"Retry-After": "90"}})
	_, err := c.Resolve(t.Context(), "a@x.example")
	if retry, ok := errors.AsType[directory.RetryError](err); !ok || retry.RetryAfter() != 90*time.Second {
		t.Errorf("error %v", err)
	}
}

// TestAtTheSameTime: many questions provision once.
func TestAtTheSameTime(t *testing.T) {
	_, c := newFake(t, sample(t, "rr-response-not-provisioned"), sample(t, "sogo-provision-no-policy"), resolved(t, response("a@x.example", "4")))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { _, _ = c.Resolve(t.Context(), "a@x.example") })
	}
	all.Wait()
	if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil {
		t.Error(err)
	}
}

// inMemory is a transport without a network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// FuzzAnswers: whatever a server answers, no question panics, hangs or makes up a certificate that was not in the answer.
func FuzzAnswers(f *testing.F) {
	files, _ := os.ReadDir("../internal/wbxml/testdata/samples")
	for _, file := range files {
		if name, ok := strings.CutSuffix(file.Name(), ".wbxml"); ok {
			f.Add(sample(f, name).body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		server := &fake{versions: "16.1", replies: []reply{{body: body}}}
		c := &Client{URL: "http://127.0.0.1/eas", HTTP: &http.Client{Transport: inMemory{server}}, DeviceID: testDevice, CheckRevocation: true, Contacts: len(body)%2 == 0}
		addresses := []directory.Address{"nora@sample.example", "omar@sample.example"}
		if outcomes, err := c.ResolveRecipients(t.Context(), addresses); err == nil && len(outcomes) != 2 {
			t.Fatalf("%d outcomes", len(outcomes))
		}
		if results, _, err := c.ResolveBatch(t.Context(), addresses); err == nil {
			for i, r := range results {
				if r.Contact != nil && (len(r.Records) > 0 || r.Err != nil || r.Contact.Primary != addresses[i] || !c.Contacts) {
					t.Fatalf("a contact for %s: %+v", addresses[i], r)
				}
			}
		}
		if answer, err := c.Search(t.Context(), "staff", true); err == nil {
			for _, rec := range answer.Records {
				if !strings.HasPrefix(string(rec.Primary), "staff") || !rec.Partial {
					t.Fatalf("record %+v", rec)
				}
			}
		}
		_, _ = c.ValidateCertificates(t.Context(), [][]byte{{1}})
		_ = c.ConfirmWipe(t.Context())
		if len(server.sent) > 60 {
			t.Fatalf("%d requests", len(server.sent))
		}
	})
}
