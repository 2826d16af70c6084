package ews

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/directory"
)

func samples(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/samples/*.xml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = b
	}
	return all
}

// replay is a static server that gives one body to every question.
func replay(t testing.TB, status int, body []byte, header ...string) *Client {
	t.Helper()
	return handle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

func handle(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &Client{URL: srv.URL + "/EWS/Exchange.asmx", HTTP: srv.Client()}
}

// sampleOutcome is what a sample must be read as.
type sampleOutcome struct {
	status    int    // 200 when zero
	records   int    // of Search
	entries   int    // of ResolveNames
	truncated bool   // more entries
	code      string // response code of the error
	backOff   time.Duration
	passes    bool   // a directory.RetryError
	reason    string // in the error
}

const other = "instead of a response"

var outcomes = map[string]sampleOutcome{
	"resolvenames-success-msdocs.xml":                    {records: 1, entries: 1},
	"resolvenames-noresults-msdocs.xml":                  {},
	"resolvenames-multiple-contacts-msdocs.xml":          {entries: 2}, // personal contacts: they have an ItemId
	"resolvenames-multiple-truncated-exchangelib.xml":    {records: 2, entries: 2, truncated: true},
	"resolvenames-missing-resolutionset-exchangelib.xml": {reason: "without a ResolutionSet", passes: true},
	"resolvenames-certs-MALFORMED-ewscpp.xml":            {reason: "not well-formed", passes: true},
	"fault-serverbusy-exchangelib.xml":                   {status: 500, code: CodeServerBusy, backOff: 297749 * time.Millisecond, passes: true},
	"toomanyobjectsopened-exchangelib.xml":               {code: "ErrorTooManyObjectsOpened", passes: true},
	"autodiscover-pox-success-ewscpp.xml":                {reason: "SOAP envelope", passes: true},
	"expanddl-success-msdocs.xml":                        {reason: "another question", passes: true},
	"findpeople-success-msdocs.xml":                      {reason: "no response code", passes: true},
	"getpersona-success-msdocs.xml":                      {reason: other, passes: true},
	"synthetic-expanddl-nested.xml":                      {reason: "another question", passes: true},
	"synthetic-expanddl-nested-cycle.xml":                {reason: "another question", passes: true},
	"synthetic-error-invalidname.xml":                    {code: CodeInvalidName},
	"synthetic-error-nomailbox.xml":                      {code: CodeNoMailbox},
	"synthetic-error-serverbusy-in-body.xml":             {code: CodeServerBusy, backOff: 5 * time.Second, passes: true},
	"synthetic-fault-serverbusy.xml":                     {status: 500, code: CodeServerBusy, backOff: 30 * time.Second, passes: true},
	"synthetic-fault-exceededconnectioncount.xml":        {status: 500, code: "ErrorExceededConnectionCount", passes: true},
	"synthetic-hundred-exact.xml":                        {records: 100, entries: 100},
	"synthetic-hundred-truncated.xml":                    {records: 100, entries: 100, truncated: true},
	"synthetic-multiple-mixed-types.xml":                 {records: 4, entries: 5}, // one has a legacy DN only
	"synthetic-both-elements-folded-base64.xml":          {records: 1, entries: 1},
	"synthetic-der-msexchange.xml":                       {records: 1, entries: 1},
	"synthetic-ec-keyagreement.xml":                      {records: 1, entries: 1},
	"synthetic-garbage-and-empty-values.xml":             {records: 1, entries: 1},
	"synthetic-multi-expired-and-valid.xml":              {records: 1, entries: 1},
	"synthetic-pkcs7-certsonly-smime.xml":                {records: 1, entries: 1},
	"synthetic-pkcs7-signeddata-smime.xml":               {records: 1, entries: 1},
	"synthetic-smime-is-bare-der.xml":                    {records: 1, entries: 1},
	"synthetic-tlv-smime.xml":                            {records: 1, entries: 1},
	"synthetic-wrong-address-and-future.xml":             {records: 1, entries: 1},
}

func TestSamples(t *testing.T) {
	for name, body := range samples(t) {
		t.Run(name, func(t *testing.T) {
			want, ok := outcomes[name]
			switch {
			case !ok && strings.Contains(name, "request"):
				want = sampleOutcome{reason: other, passes: true}
			case !ok:
				t.Fatal("nothing is said about this sample")
			}
			c := replay(t, max(want.status, 200), body)
			answer, err := c.Search(t.Context(), "a", true)
			if want.code != "" || want.reason != "" {
				checkError(t, err, want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Records) != want.records || answer.Truncated != want.truncated {
				t.Errorf("%d records, truncated %t; want %d, %t", len(answer.Records), answer.Truncated, want.records, want.truncated)
			}
			resp, err := c.ResolveNames(t.Context(), ResolveNamesRequest{UnresolvedEntry: "a"})
			if err != nil || len(resp.Resolutions) != want.entries {
				t.Errorf("%d entries, %v; want %d", len(resp.Resolutions), err, want.entries)
			}
		})
	}
}

func checkError(t *testing.T, err error, want sampleOutcome) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *Error", err)
	}
	var retry directory.RetryError
	if passes := errors.As(err, &retry); passes != want.passes || e.Temporary != want.passes {
		t.Errorf("may pass: %t, want %t", passes, want.passes)
	} else if passes && retry.RetryAfter() != want.backOff {
		t.Errorf("back-off %s, want %s", retry.RetryAfter(), want.backOff)
	}
	if e.Code != want.code || e.BackOff != want.backOff || !strings.Contains(err.Error(), want.reason) {
		t.Errorf("code %q, back-off %s, %q; want %q, %s, %q", e.Code, e.BackOff, err, want.code, want.backOff, want.reason)
	}
	if errors.Is(err, directory.ErrInvalidName) != (want.code == CodeInvalidName || want.code == CodeADSessionFilter) {
		t.Errorf("ErrInvalidName for %q", e.Code)
	}
	if strings.ContainsAny(err.Error()+e.Hint(), "\r\n") || e.RequestID == "" {
		t.Errorf("error text %q, hint %q, id %q", err, e.Hint(), e.RequestID)
	}
}

func TestMixedTypes(t *testing.T) {
	c := replay(t, 200, samples(t)["synthetic-multiple-mixed-types.xml"])
	answer, err := c.Search(t.Context(), "a", true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range answer.Records {
		answer.Records[i].Values = nil
	}
	want := []directory.Record{
		{Primary: "alice.adams@corp.example", DisplayName: "Alice Adams", Kind: directory.KindMailbox,
			Addresses: []directory.Address{"alice.adams@corp.example", "alice.adams.alias@corp.example"}},
		{Primary: "all-staff@corp.example", DisplayName: "All & Staff", Kind: directory.KindGroup, Addresses: []directory.Address{"all-staff@corp.example"}},
		{Primary: "carol.clark@corp.example", DisplayName: "Carol Clark", Kind: directory.KindMailbox, Addresses: []directory.Address{"carol.clark@corp.example"}},
		{Primary: "ext@partner.example", DisplayName: "Ext Contact", Kind: directory.KindContact, Addresses: []directory.Address{"ext@partner.example"}},
	}
	if d := cmp.Diff(want, answer.Records); d != "" {
		t.Error(d)
	}
}

func TestGarbageValues(t *testing.T) {
	c := replay(t, 200, samples(t)["synthetic-garbage-and-empty-values.xml"])
	answer, err := c.Search(t.Context(), "dave", true)
	if err != nil {
		t.Fatal(err)
	}
	want := []directory.Value{
		{Property: directory.UserSMIMECertificate, Data: []byte("SMIMECertificate")},
		{Property: directory.UserSMIMECertificate, Fault: "empty"},
		{Property: directory.MSExchangeCertificate, Data: []byte{0x30, 3, 2, 1}},
		{Property: directory.MSExchangeCertificate, Fault: "not base64"},
	}
	if d := cmp.Diff(want, answer.Records[0].Values); d != "" {
		t.Error(d)
	}
}

// TestFingerprints compares every certificate in the samples with the list that came with them.
func TestFingerprints(t *testing.T) {
	text, err := os.ReadFile("testdata/samples/synthetic-expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	all, checked := samples(t), 0
	for file, people := range expected {
		for address, raw := range people {
			if !strings.Contains(address, "@") {
				continue
			}
			var want struct {
				UserSMIMECertificate, MSExchangeCertificate []string
				Settings                                    []string `json:"UserSMIMECertificate_tlv"`
			}
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			rec := find(t, replay(t, 200, all[file]), address)
			if got := fingerprints(t, rec, directory.MSExchangeCertificate); !slices.Equal(got, want.MSExchangeCertificate) {
				t.Errorf("%s, %s, MSExchangeCertificate: %v, want %v", file, address, got, want.MSExchangeCertificate)
			}
			smime := fingerprints(t, rec, directory.UserSMIMECertificate)
			slices.Sort(smime)
			sorted := slices.Sorted(slices.Values(append(want.UserSMIMECertificate, want.Settings...)))
			if !slices.Equal(smime, sorted) {
				t.Errorf("%s, %s, UserSMIMECertificate: %v, want %v", file, address, smime, sorted)
			}
			checked += len(want.MSExchangeCertificate) + len(sorted)
		}
	}
	if checked < 15 {
		t.Errorf("only %d fingerprints were compared", checked)
	}
	t.Logf("%d fingerprints compared", checked)
}

func find(t *testing.T, c *Client, address string) directory.Record {
	t.Helper()
	answer, err := c.Search(t.Context(), address, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Records {
		if string(r.Primary) == address {
			return r
		}
	}
	t.Fatalf("%s is not in the answer", address)
	return directory.Record{}
}

// fingerprints decodes the values of one property just enough: SignedData, one certificate, or settings, in which a
// certificate is whatever parses as one.
func fingerprints(t *testing.T, rec directory.Record, p directory.Property) []string {
	t.Helper()
	var found []string
	add := func(der []byte) {
		if _, err := x509.ParseCertificate(der); err == nil {
			sum := sha256.Sum256(der)
			found = append(found, hex.EncodeToString(sum[:]))
		}
	}
	for _, v := range rec.Values {
		if v.Property != p {
			continue
		}
		inside := signedCertificates(v.Data)
		switch {
		case len(inside) > 0:
			for _, der := range inside {
				add(der)
			}
		case bytes.HasPrefix(v.Data, []byte{0x30}):
			add(v.Data)
		default:
			for rest := v.Data; len(rest) >= 4; {
				n := int(rest[2]) | int(rest[3])<<8
				if n < 4 || n > len(rest) {
					break
				}
				add(rest[4:n])
				rest = rest[n:]
			}
		}
	}
	return found
}

// signedCertificates are the certificates of a DER SignedData (RFC 5652 section 5.1); nil when it is none.
func signedCertificates(der []byte) (certs [][]byte) {
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,tag:0"`
	}
	var signed struct {
		Version           int
		Algorithms, Inner asn1.RawValue
		Certificates      asn1.RawValue `asn1:"optional,tag:0"`
		Rest              asn1.RawValue `asn1:"optional"`
		Signers           asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(info.Content.Bytes, &signed); err != nil {
		return nil
	}
	for rest := signed.Certificates.Bytes; len(rest) > 0; {
		var c asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &c); err != nil {
			return nil
		}
		certs = append(certs, c.FullBytes)
	}
	return certs
}
