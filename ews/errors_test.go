package ews

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// message makes an answer with one ResolveNamesResponseMessage.
func message(class, code, more string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s=%q><s:Body>`+
		`<m:ResolveNamesResponse xmlns:m=%q xmlns:t=%q><m:ResponseMessages><m:ResolveNamesResponseMessage ResponseClass=%q>`+
		`<m:MessageText>Der Server meldet etwas.</m:MessageText><m:ResponseCode>%s</m:ResponseCode>%s`+
		`</m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse></s:Body></s:Envelope>`,
		nsSOAP, nsMessages, nsTypes, class, code, more)
}

func fault(code, more string) []byte {
	return fmt.Appendf(nil, `<s:Envelope xmlns:s=%q><s:Body><s:Fault><faultcode xmlns:a=%q>a:%s</faultcode><faultstring>x</faultstring>%s</s:Fault></s:Body></s:Envelope>`,
		nsSOAP, nsTypes, code, more)
}

// one is a set with one entry.
const one = `<m:ResolutionSet TotalItemsInView="99" IncludesLastItemInRange="true"><t:Resolution><t:Mailbox><t:EmailAddress>a@corp.example</t:EmailAddress></t:Mailbox></t:Resolution></m:ResolutionSet>`

func TestOutcomes(t *testing.T) {
	inner := `<m:MessageXml><t:Value Name="InnerErrorResponseCode">ErrorServerBusy</t:Value><t:Value Name="BackOffMilliseconds">7000</t:Value></m:MessageXml>`
	date := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		status int
		body   []byte
		header []string
		want   sampleOutcome
	}{
		"one":                        {body: message("Success", "NoError", one), want: sampleOutcome{records: 1}},
		"one, with a warning":        {body: message("Warning", CodeMultipleResults, one), want: sampleOutcome{records: 1}},
		"none":                       {body: message("Error", CodeNoResults, ""), want: sampleOutcome{}},
		"none, with an empty set":    {body: message("Error", CodeNoResults, `<m:ResolutionSet/>`), want: sampleOutcome{}},
		"complete and empty":         {body: message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="true"/>`), want: sampleOutcome{}},
		"empty, and there are more":  {body: message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="false"/>`), want: sampleOutcome{truncated: true}},
		"none and one":               {body: message("Error", CodeNoResults, one), want: sampleOutcome{reason: "lists people", passes: true}},
		"several without a set":      {body: message("Warning", CodeMultipleResults, ""), want: sampleOutcome{reason: "without a ResolutionSet", passes: true}},
		"several and none":           {body: message("Warning", CodeMultipleResults, `<m:ResolutionSet IncludesLastItemInRange="true"/>`), want: sampleOutcome{reason: "lists nobody", passes: true}},
		"something that is nobody":   {body: message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="true"><t:Result/></m:ResolutionSet>`), want: sampleOutcome{reason: `element "Result"`, passes: true}},
		"success of class Error":     {body: message("Error", "NoError", one), want: sampleOutcome{reason: "class Error", passes: true}},
		"two sets":                   {body: message("Success", "NoError", one+one), want: sampleOutcome{reason: "more than one ResolutionSet", passes: true}},
		"two codes":                  {body: message("Success", "NoError", one+"<m:ResponseCode>NoError</m:ResponseCode>"), want: sampleOutcome{reason: "more than one response code", passes: true}},
		"unknown code":               {body: message("Error", "ErrorOfTomorrow", ""), want: sampleOutcome{code: "ErrorOfTomorrow", reason: "Der Server meldet etwas."}},
		"busy inside":                {body: message("Error", codeInternal, inner), want: sampleOutcome{code: CodeServerBusy, backOff: 7 * time.Second, passes: true}},
		"busy inside a fault":        {status: 500, body: fault(codeInternal, "<detail>"+strings.NewReplacer("m:MessageXml", "t:MessageXml xmlns:t='"+nsTypes+"'", "</m:", "</t:").Replace(strings.Replace(inner, "</m:MessageXml>", "", 1))+"</t:MessageXml></detail>"), want: sampleOutcome{code: CodeServerBusy, backOff: 7 * time.Second, passes: true}},
		"faultcode alone":            {status: 500, body: fault("ErrorADUnavailable", ""), want: sampleOutcome{code: "ErrorADUnavailable", passes: true}},
		"fault of SOAP":              {status: 500, body: []byte(strings.ReplaceAll(string(fault("X", "")), "a:X", "s:Client")), want: sampleOutcome{code: `SOAP fault "s:Client"`, reason: "SOAP fault"}},
		"filter":                     {body: message("Error", CodeADSessionFilter, ""), want: sampleOutcome{code: CodeADSessionFilter}},
		"access denied":              {body: message("Error", CodeAccessDenied, ""), want: sampleOutcome{code: CodeAccessDenied, reason: "may not do this"}},
		"success under 500":          {status: 500, body: message("Success", "NoError", one), want: sampleOutcome{reason: "http status 500", passes: true}},
		"401":                        {status: 401, header: []string{"WWW-Authenticate", "NTLM"}, want: sampleOutcome{reason: "it offers NTLM"}},
		"403":                        {status: 403, want: sampleOutcome{reason: "forbids"}},
		"404":                        {status: 404, want: sampleOutcome{reason: "no EWS under this address"}},
		"400":                        {status: 400, want: sampleOutcome{reason: "status 400"}},
		"bare 500":                   {status: 500, want: sampleOutcome{reason: "http status 500", passes: true}},
		"500 with HTML":              {status: 500, body: []byte("<html><body>x"), header: []string{"Content-Type", "text/html"}, want: sampleOutcome{reason: "http status 500", passes: true}},
		"502":                        {status: 502, want: sampleOutcome{reason: "trouble", passes: true}},
		"503":                        {status: 503, header: []string{"Retry-After", "120"}, want: sampleOutcome{reason: "busy", backOff: 2 * time.Minute, passes: true}},
		"503 until a date":           {status: 503, header: []string{"Retry-After", date.Add(time.Minute).Format(http.TimeFormat)}, want: sampleOutcome{backOff: time.Minute, passes: true}},
		"503 for ever":               {status: 503, header: []string{"Retry-After", "99999999999"}, want: sampleOutcome{backOff: 24 * time.Hour, passes: true}},
		"503 before now":             {status: 503, header: []string{"Retry-After", "-5"}, want: sampleOutcome{passes: true}},
		"503 with a fault":           {status: 503, header: []string{"Retry-After", "9"}, body: fault(CodeServerBusy, ""), want: sampleOutcome{code: CodeServerBusy, backOff: 9 * time.Second, passes: true}},
		"429":                        {status: 429, header: []string{"Retry-After", "3"}, want: sampleOutcome{backOff: 3 * time.Second, passes: true}},
		"redirect":                   {status: 302, header: []string{"Location", "https://u:p@login.example.com/owa/auth?secret=1"}, want: sampleOutcome{reason: "https://login.example.com/owa/auth "}},
		"HTML":                       {body: []byte("<!DOCTYPE HTML><html><title>Sign in</title>"), header: []string{"Content-Type", "text/html"}, want: sampleOutcome{reason: "HTML page", passes: true}},
		"HTML as XML":                {body: []byte("\ufeff \n<html xmlns='http://www.w3.org/1999/xhtml'/>"), want: sampleOutcome{reason: "HTML page", passes: true}},
		"XHTML":                      {body: []byte("<?xml version='1.0'?><html/>"), want: sampleOutcome{reason: "HTML page", passes: true}},
		"XML called HTML":            {body: message("Success", "NoError", one), header: []string{"Content-Type", "text/html"}, want: sampleOutcome{records: 1}},
		"nothing":                    {want: sampleOutcome{reason: "is empty", passes: true}},
		"spaces":                     {body: []byte("  \r\n"), want: sampleOutcome{reason: "is empty", passes: true}},
		"text":                       {body: []byte("OK"), want: sampleOutcome{reason: "not XML", passes: true}},
		"text behind it":             {body: append(message("Success", "NoError", one), "x"...), want: sampleOutcome{reason: "follows the end", passes: true}},
		"byte order mark":            {body: append([]byte("\ufeff"), message("Success", "NoError", one)...), want: sampleOutcome{records: 1}},
		"UTF-16":                     {body: []byte("\xff\xfe<\x00"), want: sampleOutcome{reason: "UTF-16"}},
		"Latin 1":                    {body: []byte(strings.Replace(string(message("Success", "NoError", one)), "utf-8", "iso-8859-1", 1)), want: sampleOutcome{reason: `"iso-8859-1"; only UTF-8`}},
		"Latin 1 in the header":      {body: message("Success", "NoError", one), header: []string{"Content-Type", "text/xml; charset=iso-8859-1"}, want: sampleOutcome{reason: "only UTF-8"}},
		"Latin 1 without a word":     {body: message("Success", "NoError", strings.Replace(one, "a@", "\xe4@", 1)), want: sampleOutcome{reason: "UTF-8", passes: true}},
		"document type":              {body: append([]byte(`<!DOCTYPE x [<!ENTITY a "b">]>`), message("Success", "NoError", one)...), want: sampleOutcome{reason: "document type declaration"}},
		"entity":                     {body: message("Success", "NoError", strings.Replace(one, "a@", "&a;@", 1)), want: sampleOutcome{reason: "not well-formed", passes: true}},
		"characters XML has not":     {body: message("Success", "NoError", strings.Replace(one, "<t:EmailAddress>", "<t:Name>A&#x1;B&#31;&#xFFFE;&#xD800;</t:Name><t:EmailAddress>", 1)), want: sampleOutcome{records: 1}},
		"another namespace":          {body: []byte(strings.ReplaceAll(string(message("Success", "NoError", one)), nsMessages, "urn:x")), want: sampleOutcome{reason: "instead of a response", passes: true}},
		"another envelope":           {body: []byte(strings.ReplaceAll(string(message("Success", "NoError", one)), nsSOAP, "http://www.w3.org/2003/05/soap-envelope")), want: sampleOutcome{reason: "SOAP envelope", passes: true}},
		"an encoding nobody offered": {body: []byte("x"), header: []string{"Content-Encoding", "br"}, want: sampleOutcome{reason: `"br"`}},
		"gzip that is none":          {body: []byte("x"), header: []string{"Content-Encoding", "gzip"}, want: sampleOutcome{passes: true}},
		"control characters":         {body: message("Error", "Error\nX\x1b[31m", ""), want: sampleOutcome{reason: "", passes: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c := replay(t, max(tc.status, 200), tc.body, tc.header...)
			if tc.status != 0 {
				c = replay(t, tc.status, tc.body, tc.header...)
			}
			c.Now = func() time.Time { return date }
			answer, err := c.Search(t.Context(), "a", false)
			w := tc.want
			if w.code != "" || w.reason != "" || w.passes {
				checkError(t, err, w)
				t.Log(err)
			} else if err != nil || len(answer.Records) != w.records || answer.Truncated != w.truncated {
				t.Errorf("%+v, %v; want %d records, truncated %t", answer, err, w.records, w.truncated)
			}
			if errors.Is(err, ErrUnauthorized) != (tc.status == 401) {
				t.Errorf("ErrUnauthorized: %v", err)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	for _, tc := range []struct {
		last string
		n    int
		want bool
	}{
		{`IncludesLastItemInRange="true"`, 100, false}, {`IncludesLastItemInRange="1"`, 100, false}, {`IncludesLastItemInRange="false"`, 1, true},
		{`IncludesLastItemInRange="0"`, 1, true}, {`IncludesLastItemInRange="perhaps"`, 1, true}, {"", 99, false}, {"", 100, true}, {`TotalItemsInView="5000"`, 3, false},
	} {
		entry := `<t:Resolution><t:Mailbox><t:EmailAddress>a@corp.example</t:EmailAddress></t:Mailbox></t:Resolution>`
		set := "<m:ResolutionSet " + tc.last + ">" + strings.Repeat(entry, tc.n) + "</m:ResolutionSet>"
		answer, err := replay(t, 200, message("Warning", CodeMultipleResults, set)).Search(t.Context(), "a", false)
		if err != nil || answer.Truncated != tc.want || len(answer.Records) != tc.n {
			t.Errorf("%q with %d: truncated %t, %d records, %v", tc.last, tc.n, answer.Truncated, len(answer.Records), err)
		}
	}
}

func TestRecords(t *testing.T) {
	contact := func(source string, entries ...string) string {
		s := "<t:Contact><t:DisplayName>D</t:DisplayName><t:EmailAddresses>"
		for _, e := range entries {
			s += "<t:Entry Key='EmailAddress1'>" + e + "</t:Entry>"
		}
		return s + "</t:EmailAddresses><t:ContactSource>" + source + "</t:ContactSource></t:Contact>"
	}
	mailbox := func(address, routing, more string) string {
		return "<t:Mailbox><t:Name>N</t:Name><t:EmailAddress>" + address + "</t:EmailAddress><t:RoutingType>" + routing + "</t:RoutingType>" + more + "</t:Mailbox>"
	}
	const gal = "ActiveDirectory"
	for name, tc := range map[string]struct {
		xml       string
		addresses string // the primary first; empty: left out
	}{
		"mailbox alone":          {mailbox("A@corp.example", "SMTP", ""), "a@corp.example"},
		"no routing type":        {mailbox("a@corp.example", "", ""), "a@corp.example"},
		"legacy DN alone":        {mailbox("/o=X/cn=a", "EX", ""), ""},
		"legacy DN with a proxy": {mailbox("/o=X/cn=a", "EX", "") + contact(gal, "X500:/o=X/cn=a", "smtp:b@corp.example", "SMTP:a@corp.example"), "a@corp.example b@corp.example"},
		"upper case is primary":  {mailbox("b@corp.example", "SMTP", "") + contact(gal, "smtp:c@corp.example", "SMTP:a@corp.example"), "a@corp.example b@corp.example c@corp.example"},
		"mailbox is primary":     {mailbox("b@corp.example", "SMTP", "") + contact(gal, "smtp:a@corp.example"), "b@corp.example a@corp.example"},
		"first alias is primary": {mailbox("/o=X", "EX", "") + contact(gal, "smtp:b@corp.example", "smtp:c@corp.example"), "b@corp.example c@corp.example"},
		"other prefixes":         {mailbox("a@corp.example", "SMTP", "") + contact(gal, "SIP:s@corp.example", "X500:x@corp.example", "eum:e@corp.example", "Smtp:b@corp.example", "c@corp.example"), "a@corp.example b@corp.example c@corp.example"},
		"not addresses":          {mailbox("a@corp.example", "SMTP", "") + contact(gal, "SMTP:", "smtp:a b@corp.example", "smtp:x"), "a@corp.example"},
		"comment in an address":  {mailbox("a@corp.example<!-- x -->.org", "SMTP", ""), "a@corp.example.org"},
		"long address":           {mailbox("a@corp.example"+strings.Repeat("x", 2000), "SMTP", ""), ""},
		"personal contact":       {mailbox("a@corp.example", "SMTP", "") + contact("Store", "SMTP:a@corp.example"), ""},
		"item of a mailbox":      {mailbox("a@corp.example", "SMTP", "<t:ItemId Id='x'/>"), ""},
		"GAL says the contact":   {mailbox("a@corp.example", "SMTP", "<t:ItemId Id='x'/>") + contact(gal), "a@corp.example"},
		"nothing":                {"", ""},
		"another namespace":      {"<Mailbox xmlns='urn:x'><t:EmailAddress>a@corp.example</t:EmailAddress></Mailbox>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="true"><t:Resolution>`+tc.xml+"</t:Resolution></m:ResolutionSet>")
			answer, err := replay(t, 200, body).Search(t.Context(), "a", true)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range answer.Records {
				if r.Primary != r.Addresses[0] {
					t.Errorf("primary %s of %v", r.Primary, r.Addresses)
				}
				for _, a := range r.Addresses {
					got = append(got, string(a))
				}
			}
			if s := strings.Join(got, " "); s != tc.addresses {
				t.Errorf("%q, want %q", s, tc.addresses)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct{ c *Client }{
		{&Client{URL: "http://mail.example.com/EWS/Exchange.asmx"}}, {&Client{URL: "mail.example.com"}}, {&Client{URL: "ftp://127.0.0.1/"}},
		{&Client{URL: "https://u:p@mail.example.com/"}}, {&Client{URL: "https://127.0.0.1:1/", Version: "Exchange2007_SP1"}},
		{&Client{URL: "https://127.0.0.1:1/", UserAgent: "a\r\nX-Evil: 1"}}, {&Client{URL: "https://127.0.0.1:1/", Mailbox: "a@b\n"}},
		{&Client{URL: "https://127.0.0.1:1/", UserAgent: "gälsyncd"}},
	} {
		_, err := tc.c.Search(t.Context(), "a", false)
		var retry directory.RetryError
		if err == nil || errors.As(err, &retry) || !strings.Contains(err.Error(), "not sent") {
			t.Errorf("%s %s: %v", tc.c.URL, tc.c.Version, err)
		}
	}
}

// TestFailuresAreLoggedWithTheirIdentifiers: an administrator of the server finds the request by them.
func TestFailuresAreLoggedWithTheirIdentifiers(t *testing.T) {
	var log strings.Builder
	code := "NoError"
	c := handle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("request-id", "their  id")
		_, _ = w.Write(message("Error", code, ""))
	})
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for _, quiet := range []string{CodeNoResults, CodeInvalidName} {
		code = quiet
		_, _ = c.Search(t.Context(), "bo", false)
		if log.Len() > 0 {
			t.Errorf("%s is logged for everybody: %s", code, log.String())
		}
	}
	code = CodeAccessDenied
	_, err := c.Search(t.Context(), "bo", false)
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(log.String(), "client-request-id="+e.RequestID) || !strings.Contains(log.String(), `request-id="their id"`) || strings.Contains(log.String(), "smtp:bo") {
		t.Errorf("%v is logged as %q", err, log.String())
	}
}

// TestHeaders reads what a request carries.
func TestHeaders(t *testing.T) {
	var got http.Header
	var body string
	c := handle(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Header, string(b)
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(message("Success", "NoError", one))
		_ = z.Close()
	})
	c.UserAgent = "galsyncd-test"
	if answer, err := c.Search(t.Context(), "bo", true); err != nil || len(answer.Records) != 1 {
		t.Fatal(answer, err)
	}
	if got.Get("User-Agent") != "galsyncd-test" || len(got.Get("client-request-id")) != 36 || got.Get("return-client-request-id") != "true" ||
		got.Get("Content-Type") != "text/xml; charset=utf-8" || got.Get("Accept-Encoding") != "gzip" || got.Values("Idempotency-Key") != nil {
		t.Errorf("header %v", got)
	}
	for _, part := range []string{">smtp:bo<", `SearchScope="ActiveDirectory"`, `ReturnFullContactData="true"`, `ContactDataShape="AllProperties"`, `Version="Exchange2013_SP1"`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	if got.Values("X-AnchorMailbox") != nil || strings.Contains(body, "ExchangeImpersonation") {
		t.Errorf("another mailbox without being told to: %v, %s", got, body)
	}
	c.Mailbox = "galsync@corp.example"
	if _, err := c.Expand(t.Context(), "bo@corp.example"); err == nil {
		t.Error("a group out of an answer about names")
	}
	if got.Get("X-AnchorMailbox") != c.Mailbox || !strings.Contains(body, "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>"+c.Mailbox+"</t:PrimarySmtpAddress>") {
		t.Errorf("for another mailbox: %v, %s", got, body)
	}
	c.Mailbox = ""
	if _, err := c.Search(t.Context(), "bo", false); err != nil || strings.Contains(body, "AllProperties") || !strings.Contains(body, `ReturnFullContactData="false"`) {
		t.Errorf("without certificates: %v, %s", err, body)
	}
}

func TestTransportErrors(t *testing.T) {
	ca, err := testca.New("ews test CA")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	// tlsServer serves with a certificate of the CA.
	tlsServer := func(o testca.Options, config *tls.Config) string {
		leaf, err := ca.Leaf(o)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(message("Success", "NoError", one)) }))
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.Key}}
		srv.TLS = config
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer trusting.CloseIdleConnections()
	// What the resolver says of a name that nobody has, whatever name servers and proxies this machine has.
	nowhere := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}}}
	for name, tc := range map[string]struct {
		url          string
		http         *http.Client
		reason, hint string
		passes       bool
	}{
		"trusted":            {url: tlsServer(testca.Options{IPs: loopback}, &tls.Config{}), http: trusting},
		"unknown authority":  {url: tlsServer(testca.Options{IPs: loopback}, &tls.Config{}), http: &http.Client{}, reason: "authority that is not trusted", hint: "exchange.ca_file"},
		"another host":       {url: tlsServer(testca.Options{DNSNames: []string{"mail.example.com"}}, &tls.Config{}), http: trusting, reason: "another host", hint: "exchange.url"},
		"expired":            {url: tlsServer(testca.Options{IPs: loopback, NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, &tls.Config{}), http: trusting, reason: "valid only from 2020-01-01 to 2021-01-01", hint: "renewed"},
		"old TLS":            {url: tlsServer(testca.Options{IPs: loopback}, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}), http: trusting, reason: "TLS", hint: "TLS 1.2"},
		"no TLS":             {url: strings.Replace(plain.URL, "http:", "https:", 1), http: trusting, reason: "does not speak TLS", hint: "port"},
		"nobody listens":     {url: closed.URL, reason: "connection was refused", hint: "exchange.url", passes: true},
		"no such host":       {url: "https://exchange.invalid/", http: nowhere, reason: `"exchange.invalid" was not found`, hint: "exchange.url", passes: true},
		"stopped before":     {url: closed.URL, http: &http.Client{Transport: stopped{}}, reason: "stopped", hint: "change it"},
		"some other trouble": {url: closed.URL, http: &http.Client{Transport: broken{}}, reason: "something"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Client{URL: tc.url, HTTP: tc.http}
			_, err := c.Search(t.Context(), "a", false)
			if tc.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *Error
			var retry directory.RetryError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tc.reason) || !strings.Contains(e.Hint(), tc.hint) || errors.As(err, &retry) != tc.passes {
				t.Errorf("%v; hint %q", err, e.Hint())
			}
			if errors.Is(err, ErrUnauthorized) != (name == "stopped before") {
				t.Errorf("ErrUnauthorized: %v", err)
			}
			t.Log(err, "|", e.Hint())
		})
	}
}

// stopped is a client that does not send because the credential was refused before.
type stopped struct{}

func (stopped) RoundTrip(*http.Request) (*http.Response, error) { return nil, stopped{} }
func (stopped) Error() string                                   { return "stopped after two refusals" }
func (stopped) Hint() string                                    { return "change it" }
func (stopped) Unauthorized() bool                              { return true }

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("something") }

func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := handle(t, func(http.ResponseWriter, *http.Request) { cancel() })
	_, err := c.Search(ctx, "a", false)
	var retry directory.RetryError
	if !errors.Is(err, context.Canceled) || errors.As(err, &retry) {
		t.Errorf("given up by the caller: %v", err)
	}
}
