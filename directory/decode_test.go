package directory_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/ews"
)

const samples = "../ews/testdata/samples"

// sample reads an answer of the collected samples as a server's.
func sample(t testing.TB, name string) []directory.Record {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(samples, name))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Write(body)
	}))
	defer server.Close()
	client := &ews.Client{URL: server.URL + "/EWS/Exchange.asmx"}
	answer, err := client.Search(t.Context(), "x", true)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return answer.Records
}

// TestSamples decodes every value of the samples and compares the certificates with their list of fingerprints.
func TestSamples(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(samples, "synthetic-expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]json.RawMessage
	if err := json.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, people := range files {
		for address, raw := range people {
			if !strings.Contains(address, "@") {
				continue
			}
			var want map[string]any
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			checked++
			t.Run(name+"/"+address, func(t *testing.T) { checkSample(t, sample(t, name), address, want) })
		}
	}
	if checked < 12 {
		t.Errorf("only %d people in the samples", checked)
	}
}

func checkSample(t *testing.T, records []directory.Record, address string, want map[string]any) {
	i := slices.IndexFunc(records, func(r directory.Record) bool { return string(r.Primary) == address })
	if i < 0 {
		t.Fatalf("%s is not among %d records", address, len(records))
	}
	e := directory.Decode(records[i])
	var got, expected []string
	for _, c := range e.Certificates {
		got = append(got, fingerprint(c.Raw))
	}
	for _, raw := range e.Intermediates {
		got = append(got, fingerprint(raw))
	}
	for key, list := range want {
		if strings.Contains(key, "Certificate") {
			for _, f := range list.([]any) {
				expected = append(expected, f.(string))
			}
		}
	}
	slices.Sort(got)
	slices.Sort(expected)
	if expected = slices.Compact(expected); !slices.Equal(got, expected) {
		t.Errorf("certificates %q, want %q", got, expected)
	}
	if want["usable"] == 0.0 && len(got) > 0 {
		t.Errorf("%d certificates where none is usable", len(got))
	}
	if use, ok := want["encrypt_to"].(string); ok && !slices.ContainsFunc(e.Certificates, func(c directory.UserCertificate) bool { return fingerprint(c.Raw) == use }) {
		t.Errorf("the certificate to encrypt to, %s, is not among the candidates", use)
	}
}

func fingerprint(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// settings encodes MS-OXOABK settings.
func settings(order binary.AppendByteOrder, pairs ...any) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		data := pairs[i+1].([]byte)
		b = order.AppendUint16(b, uint16(pairs[i].(int)))
		b = order.AppendUint16(b, uint16(len(data)+4))
		b = append(b, data...)
	}
	return b
}

func TestDecodeValues(t *testing.T) {
	own := certificate(t, "anna@corp.example", time.Time{})
	old := certificate(t, "anna@corp.example", epoch.AddDate(-1, 0, 0))
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data   []byte
		certs  int
		chain  int
		reason string
	}{
		"x509":                    {own, 1, 0, ""},
		"settings":                {settings(binary.LittleEndian, 0x20, []byte{1, 0, 0, 0}, 3, own, 4, ca.Certificate.Raw, 8, old), 1, 1, ""},
		"settings, big endian":    {settings(binary.BigEndian, 3, own), 1, 0, ""},
		"settings, sign only":     {settings(binary.LittleEndian, 8, own), 0, 0, "neither"},
		"settings, broken inside": {settings(binary.LittleEndian, 3, []byte{0x30, 3}), 0, 0, "KeyExchangeCertificate"},
		"settings, cut":           {settings(binary.LittleEndian, 3, own)[:200], 0, 0, "neither"},
		"x509 with a tail":        {append(bytes.Clone(own), 0), 0, 0, "neither"},
		"x509 cut":                {own[:100], 0, 0, "neither"},
		"empty":                   {nil, 0, 0, "empty"},
		"text":                    {[]byte("SMIMECertificate"), 0, 0, "neither"},
		"too long":                {make([]byte, 1<<17), 0, 0, "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			e := directory.Decode(directory.Record{Primary: "anna@corp.example", Values: []directory.Value{{Property: directory.UserSMIMECertificate, Data: tc.data}}})
			if len(e.Certificates) != tc.certs || len(e.Intermediates) != tc.chain {
				t.Errorf("%d certificates and %d intermediates, want %d and %d", len(e.Certificates), len(e.Intermediates), tc.certs, tc.chain)
			}
			if tc.reason == "" && len(e.Undecodable) > 0 || tc.reason != "" && (len(e.Undecodable) != 1 || !strings.Contains(e.Undecodable[0].Reason, tc.reason)) {
				t.Errorf("undecodable %+v, want one with %q", e.Undecodable, tc.reason)
			}
		})
	}
}

func TestDecodeKeepsEachCertificateOnce(t *testing.T) {
	own := certificate(t, "anna@corp.example", time.Time{})
	e := directory.Decode(directory.Record{Primary: "anna@corp.example", Addresses: []directory.Address{"anna@corp.example"}, Values: []directory.Value{
		{Property: directory.UserSMIMECertificate, Data: settings(binary.LittleEndian, 3, own)},
		{Property: directory.MSExchangeCertificate, Data: own},
		{Property: directory.MSExchangeCertificate, Fault: "not base64"},
	}})
	if len(e.Certificates) != 1 || !e.Certificates[0].Default || len(e.Undecodable) != 1 || e.Undecodable[0].Reason != "not base64" {
		t.Errorf("%+v", e)
	}
}

func TestClaims(t *testing.T) {
	// Someone else's certificate adds nothing; the entry's own certificate adds its further addresses.
	other := certificate(t, "chief@corp.example", time.Time{})
	record := directory.Record{Primary: "anna@corp.example", Values: []directory.Value{{Property: directory.MSExchangeCertificate, Data: other}}}
	if e := directory.Decode(record); len(e.Claimed) != 0 {
		t.Errorf("someone else's certificate added %v", e.Claimed)
	}
	record.Primary = "chief@corp.example"
	record.Addresses = []directory.Address{"chief@corp.example", "c@corp.example", "b@corp.example", "b@corp.example"}
	if e := directory.Decode(record); len(e.Claimed) != 0 || !slices.Equal(e.Addresses, []directory.Address{"chief@corp.example", "b@corp.example", "c@corp.example"}) {
		t.Errorf("claimed %v, addresses %v", e.Claimed, e.Addresses)
	}
}

func FuzzDecode(f *testing.F) {
	own := certificate(f, "anna@corp.example", time.Time{})
	f.Add(own, byte(0))
	f.Add(settings(binary.LittleEndian, 0x20, []byte{1, 0, 0, 0}, 3, own, 4, own), byte(1))
	files, err := filepath.Glob(filepath.Join(samples, "synthetic-*.xml"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, name := range []string{"synthetic-pkcs7-signeddata-smime.xml", "synthetic-pkcs7-certsonly-smime.xml", "synthetic-tlv-smime.xml"} {
		for _, rec := range sample(f, name) {
			for _, v := range rec.Values {
				f.Add(v.Data, byte(2))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, property byte) {
		e := directory.Decode(directory.Record{Primary: "anna@corp.example", Values: []directory.Value{{Property: directory.UserSMIMECertificate, Data: data}}})
		if len(e.Certificates)+len(e.Intermediates)+len(e.Undecodable) == 0 && len(data) > 0 {
			t.Error("a value vanished without a word")
		}
	})
}
