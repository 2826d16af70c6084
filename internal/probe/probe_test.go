package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/ews"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/httpauth"
)

// nonce is in every name, address and text of the directory of these tests, and in no word of a report.
const nonce = "qzx7k"

const password = "a password of the tests " + nonce

// site is a stand-in with a directory of nothing but nonces, and what asks it.
func site(t *testing.T, people int) (*exchangesim.Server, *Probe) {
	t.Helper()
	sim, err := exchangesim.New(exchangesim.Options{Auth: exchangesim.AuthNTLM, User: `CORP\` + nonce, Password: password, Contacts: 12})
	if err != nil {
		t.Fatal(err)
	}
	d := sim.Directory()
	for _, p := range d.People() {
		if err := d.Remove(p.Primary); err != nil {
			t.Fatal(err)
		}
	}
	recipes := []exchangesim.Recipe{exchangesim.Usable, exchangesim.None, exchangesim.SeveralValues, exchangesim.Garbage, exchangesim.Renewed, exchangesim.CurveP256}
	var members []string
	for i := range people {
		local := fmt.Sprintf("a%c%c%s", 'a'+i%26, 'a'+i/26%26, nonce)
		p := exchangesim.Person{Primary: local + "@" + nonce + ".example", Proxies: []string{"s" + local + "@" + nonce + ".example", "x" + local + "@" + nonce + ".example", "t" + local + "@" + nonce + ".example"},
			DisplayName: "Name " + nonce, GivenName: "Given" + nonce, Surname: "Sur" + nonce, Alias: local, Office: "Office " + nonce, Photo: i%3 == 0,
			Recipe: recipes[i%len(recipes)], Encoding: exchangesim.Encoding(i % 3), Property: exchangesim.Property(i % 3)}
		if i%40 == 7 {
			p = exchangesim.Person{Primary: "a" + local + "@" + nonce + ".example", DisplayName: nonce, Kind: exchangesim.PublicDL, Members: members}
		} else {
			members = append(members, p.Primary)
		}
		if err := d.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(sim.TLSCA())
	return sim, ask(t, sim.URL(), httpauth.Options{URL: sim.URL(), Roots: roots, Method: httpauth.NTLM, Username: `CORP\` + nonce,
		Password: func() ([]byte, error) { return []byte(password), nil }})
}

// ask makes the probe of a server.
func ask(t *testing.T, url string, o httpauth.Options) *Probe {
	t.Helper()
	client, err := httpauth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	anonymous, err := httpauth.NewAnonymous(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.CloseIdleConnections(); anonymous.CloseIdleConnections() })
	return &Probe{URL: url, Anonymous: anonymous, Program: "galsyncd test", UserAgent: "galsyncd",
		Handshake: func(ctx context.Context) (tls.ConnectionState, error) { return httpauth.Handshake(ctx, o) },
		NewClient: func(version string, observe func(ews.Observation)) *ews.Client {
			return &ews.Client{URL: url, HTTP: client, Version: version, Observe: observe, Timeout: time.Minute}
		}}
}

// both are the report as text and as a document.
func both(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	r.Text(&b)
	if err := json.NewEncoder(&b).Encode(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestStandIn: everything is found out, within the number of requests that is promised.
func TestStandIn(t *testing.T) {
	sim, p := site(t, 300)
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := both(t, r)
	for _, want := range []string{
		"version: 15.2.1544.4 V2017_07_11\n", "software: Microsoft-IIS/10.0\n", "offers: Negotiate, NTLM\n", "tls: TLS 1.3", "certificate verified: yes",
		"http/2 offered: no\n", "Exchange2010_SP2: accepted\n", "Exchange2016: accepted\n", "the shortest beginning that is searched for: 1 letters\n",
		"answers are truncated at: 100 entries\n", "same entries again: yes\n", "the beginning of an address finds it: yes", "a whole address finds it: yes",
		"= finds a whole address: yes (1 entries)\n", "= finds the beginning of an address: no (0 entries)\n", "the middle of an address finds it: no",
		"smtp: alone finds: ErrorInvalidNameForNameResolution\n", `a search for "smtp:-" is: ErrorInvalidNameForNameResolution`, "ExpandDL of a group answers: NoError",
		"personal contacts can be listed: yes (12 items)", "personal contacts with certificates: ", "contacts: UserSMIMECertificate: ", "entries of one answer: 100\n", "UserSMIMECertificate: ", "settings, little-endian: 0x0020(4) 0x0003(about ", "SignedData with 2 certificates, one preferred",
		"X.509 certificate", "something else, beginning with 0x", "3 addresses ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if len(r.NotAsked) > 0 {
		t.Errorf("not asked: %v", r.NotAsked)
	}
	n := sim.Requests()
	if asked := n.ResolveNames + n.ExpandDL; r.Requests > MaxRequests || asked > int64(r.Requests) || asked < 20 {
		t.Errorf("%d requests are told of, %d searches were made", r.Requests, asked)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestNothingPersonal looks for whatever the directory, the configuration and the server's place have in the report.
func TestNothingPersonal(t *testing.T) {
	sim, p := site(t, 30)
	secrets := []string{nonce, "127.0.0.1", "localhost", "exchangesim TLS", password, "CORP", exchangesim.OutsideDomain}
	for _, person := range sim.Directory().People() {
		cert, _, err := sim.Identity(person.Primary)
		if err == nil && cert != nil {
			secrets = append(secrets, base64.StdEncoding.EncodeToString(cert.Raw)[40:80], fmt.Sprintf("%x", cert.SerialNumber))
		}
	}
	secrets = append(secrets, strings.TrimPrefix(sim.URL(), "https://"))
	check := func(name string) {
		r, _ := p.Run(t.Context())
		text := strings.ToLower(both(t, r))
		for _, s := range secrets {
			if strings.Contains(text, strings.ToLower(s)) {
				t.Fatalf("%s: %q is in\n%s", name, s, text)
			}
		}
	}
	check("true answers")
	for i, kind := range exchangesim.FaultKinds() {
		switch kind {
		case exchangesim.FaultHang, exchangesim.FaultDrip, exchangesim.FaultEndless: // cost time only
			continue
		case exchangesim.FaultUnauthorized: // locks the credential out; see TestStops
			continue
		}
		skip := []int{4, 20, 7}[i%3]
		sim.Fault(exchangesim.Fault{Kind: kind, Skip: skip, RetryAfter: time.Second})
		check(fmt.Sprintf("%s after %d", kind, skip))
		sim.ClearFaults()
	}
}

// hostile answers with a text of its choice wherever a server can put one.
func hostile(text, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h.Set("Server", text)
		h.Set("X-Header", text)
		h["X-"+strings.Map(func(c rune) rune {
			if c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) {
				return c
			}
			return '-'
		}, text)] = []string{"x"}
		h.Add("WWW-Authenticate", text+` realm="`+text+`", Basic realm="`+text+`"`)
		h.Set("Content-Type", "text/xml; charset=utf-8")
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">`+
			`<s:Header><t:ServerVersionInfo MajorVersion="%[1]s" MinorVersion="1" MajorBuildNumber="2" MinorBuildNumber="3" Version="%[1]s"/></s:Header><s:Body><m:ResolveNamesResponse><m:ResponseMessages>`+
			`<m:ResolveNamesResponseMessage ResponseClass="Success"><m:MessageText>%[1]s</m:MessageText><m:ResponseCode>%[2]s</m:ResponseCode><m:ResolutionSet IncludesLastItemInRange="true"><t:Resolution><t:Mailbox><t:Name>%[1]s</t:Name><t:EmailAddress>%[1]s@%[1]s.example</t:EmailAddress>`+
			`<t:RoutingType>%[1]s</t:RoutingType><t:MailboxType>%[1]s</t:MailboxType></t:Mailbox><t:Contact><t:ContactSource>%[1]s</t:ContactSource><t:EmailAddresses><t:Entry Key="EmailAddress1">%[1]s:%[1]s</t:Entry></t:EmailAddresses>`+
			`<t:UserSMIMECertificate><t:Base64Binary>%[3]s</t:Base64Binary></t:UserSMIMECertificate></t:Contact></t:Resolution></m:ResolutionSet></m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse></s:Body></s:Envelope>`,
			text, code, base64.StdEncoding.EncodeToString([]byte(text)))
	}
}

// server serves a handler over TLS with the certificate of a stand-in, and returns what asks it with Basic.
func server(t *testing.T, handler http.HandlerFunc) *Probe {
	t.Helper()
	sim, err := exchangesim.New(exchangesim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sim.Fault(exchangesim.Fault{Kind: exchangesim.FaultHandler, Handler: handler})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(sim.TLSCA())
	return ask(t, sim.URL(), httpauth.Options{URL: sim.URL(), Roots: roots, Method: httpauth.Basic, Username: "u", Password: func() ([]byte, error) { return []byte("p"), nil }})
}

// TestHostileServer: words that a server chooses do not reach the report, wherever it puts them.
func TestHostileServer(t *testing.T) {
	for _, code := range []string{"NoError", nonce, "Error" + nonce + ".example", "ErrorServerBusy"} {
		r, _ := server(t, hostile(nonce, code)).Run(t.Context())
		if text := both(t, r); strings.Contains(text, nonce) {
			t.Errorf("code %s: %s", code, text)
		}
	}
}

// TestActiveSync: only what makes no device is asked.
func TestActiveSync(t *testing.T) {
	sim, p := site(t, 3)
	p.URL = sim.ActiveSyncURL()
	p.ActiveSync = p.NewClient("", nil).HTTP
	r, err := p.Run(t.Context())
	text := both(t, r)
	if err != nil || !strings.Contains(text, "versions of ActiveSync: 2.5 ") || !strings.Contains(text, " ResolveRecipients ") || !strings.Contains(text, "groups: ActiveSync would take") ||
		!strings.Contains(text, "offers: Negotiate, NTLM\n") || strings.Contains(text, nonce) {
		t.Errorf("%v\n%s", err, text)
	}
	h := http.Header{"X": {"1.0,14.1 , 1.0," + nonce, "2.5"}}
	if got := listed(h, "X", protocolVersion.MatchString); got != "1.0 14.1 2.5 1 others" {
		t.Errorf("listed %q", got)
	}
	for status, want := range map[int]error{http.StatusUnauthorized: ErrRefused, http.StatusServiceUnavailable: ErrUnreachable, http.StatusNotFound: ErrUnreachable} {
		p.ActiveSync = &http.Client{Transport: fixed(status)}
		if _, err := p.Run(t.Context()); !errors.Is(err, want) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// fixed answers every request with a status.
type fixed int

func (f fixed) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(f), Header: http.Header{}, Body: http.NoBody}, nil
}

// TestStops: a run ends where asking on would do harm, says so, and counts its attempts.
func TestStops(t *testing.T) {
	for _, tc := range []struct {
		kind     exchangesim.FaultKind
		want     error
		says     string
		requests int // searches at most
	}{
		{exchangesim.FaultUnauthorized, ErrRefused, refusedReason, 1},
		{exchangesim.FaultBusy, ErrUnreachable, "the server is busy and wants to be left alone", 1},
		{exchangesim.FaultUnavailable, ErrUnreachable, "the server is busy and wants to be left alone", 1},
		{exchangesim.FaultNoMailbox, ErrUnreachable, "the account has no mailbox", 1},
		{exchangesim.FaultAccessDenied, ErrUnreachable, "the account may not ask", 1},
		{exchangesim.FaultHTML, ErrUnreachable, "no usable answer: http status 200 without an answer of EWS", 1},
		{exchangesim.FaultHang, ErrUnreachable, "no usable answer: ", 1},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			sim, p := site(t, 10)
			if tc.kind == exchangesim.FaultHang {
				client := p.NewClient
				p.NewClient = func(version string, observe func(ews.Observation)) *ews.Client {
					c := client(version, observe)
					c.Timeout = time.Second
					return c
				}
			}
			sim.Fault(exchangesim.Fault{Kind: tc.kind})
			before := sim.Requests().Faults
			r, err := p.Run(t.Context())
			text := both(t, r)
			if !errors.Is(err, tc.want) || !strings.Contains(text, tc.says) || !strings.Contains(text, "groups: "+tc.says) {
				t.Errorf("%v\n%s", err, text)
			}
			if n := sim.Requests().Faults - before; n > int64(tc.requests)+1 { // the one without a credential meets no fault with NTLM
				t.Errorf("%d searches", n)
			}
			if r.TLS.Version == "" || len(r.Offers) == 0 {
				t.Errorf("what was found out before is missing: %+v %v", r.TLS, r.Offers)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	sim, p := site(t, 1)
	p.Handshake = func(ctx context.Context) (tls.ConnectionState, error) {
		return httpauth.Handshake(ctx, httpauth.Options{URL: sim.URL(), Roots: x509.NewCertPool()})
	}
	r, err := p.Run(t.Context())
	if !errors.Is(err, ErrUnreachable) || r.TLS.Verified || r.TLS.Problem != "the certificate comes from an authority that is not trusted here" || sim.Requests().HTTP != 0 {
		t.Errorf("%v, %+v, %d requests", err, r.TLS, sim.Requests().HTTP)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{"Microsoft-IIS/10.0": "Microsoft-IIS/10.0", "nginx": "nginx", "mail01.corp.example": "another one", "Apache/2.4 (Debian)": "another one"} {
		if got := software(in); got != want {
			t.Errorf("software %q: %q", in, got)
		}
	}
	for in, want := range map[string]string{"NTLM": "NTLM", "negotiate TlRM": "Negotiate", `Bearer client_id="x", trusted_issuers="y@z"`: "Bearer", "Custom": "another one"} {
		if got := scheme(in); got != want {
			t.Errorf("scheme %q: %q", in, got)
		}
	}
	if got := splitOffers(`Negotiate, NTLM, Basic realm="a, NTLM"`); len(got) != 3 {
		t.Errorf("offers %q", got)
	}
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		order binary.ByteOrder
		hex   string
		want  string
		ok    bool
	}{
		{binary.LittleEndian, "\x20\x00\x08\x00abcd\x09\x00\x04\x00", " 0x0020(4) 0x0009(0)", true},
		{binary.BigEndian, "\x00\x20\x00\x08abcd", " 0x0020(4)", true},
		{binary.LittleEndian, "\x20\x00\x03\x00", "", false},
		{binary.LittleEndian, "\x20\x00\x09\x00abcd", "", false},
		{binary.LittleEndian, "\x20\x00", "", false},
		{binary.LittleEndian, strings.Repeat("\x20\x00\x04\x00", 33), "", false},
		{binary.LittleEndian, "\x03\x00\x2c\x01" + strings.Repeat("x", 296), " 0x0003(about 512)", true},
	} {
		if got, ok := settingTags([]byte(tc.hex), tc.order); got != tc.want && tc.ok || ok != tc.ok {
			t.Errorf("%q: %q, %t", tc.hex, got, ok)
		}
	}
}

// FuzzForm: any value has a short form that shows nothing of it.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"", "0", "\x20\x00\x08\x00abcd", "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", nonce} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		form := formOf(directory.Value{Property: directory.UserSMIMECertificate, Data: data})
		if form == "" || len(form) > 1000 || strings.Contains(form, nonce) || strings.ContainsFunc(form, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q", form)
		}
		_ = certificates(data)
	})
}

// FuzzWords: whatever a server writes into its answers, between the words of the report there is nothing of
// it.
func FuzzWords(f *testing.F) {
	f.Add("Error"+nonce, nonce)
	f.Add("E."+nonce, "V2017")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = a+"."+nonce, nonce+"."+b
		for _, s := range []string{outcome(a, nil), outcome("", &ews.Error{Code: b}), software(a), version(b), scheme(a), scheme(b), enumerated(a, kinds), accepted(outcome(b, nil))} {
			if strings.Contains(s, nonce) {
				t.Fatalf("%q, %q: %q", a, b, s)
			}
		}
	})
}
