package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
)

// fakeCertificates has one installed certificate and notes what it was asked for.
type fakeCertificates struct {
	der   []byte
	asked string
}

func (f *fakeCertificates) known(sum [sha256.Size]byte) error {
	if sum != sha256.Sum256(f.der) {
		return ErrNotFound
	}
	return nil
}

func (f *fakeCertificates) List(context.Context) (*installed.List, error) {
	return &installed.List{Certificates: []installed.Entry{}, Issuers: []installed.Issuer{}}, nil
}

func (f *fakeCertificates) Entry(_ context.Context, sum [sha256.Size]byte) (*installed.Entry, error) {
	return &installed.Entry{How: "mail", Uses: []string{}, For: []installed.Place{}, Chain: []recipients.Certificate{}}, f.known(sum)
}

func (f *fakeCertificates) Certificate(_ context.Context, sum [sha256.Size]byte) ([]byte, error) {
	return f.der, f.known(sum)
}

func (f *fakeCertificates) Fingerprints(_ context.Context, beginning string) ([][sha256.Size]byte, error) {
	if sum := sha256.Sum256(f.der); strings.HasPrefix(hex.EncodeToString(sum[:]), beginning) {
		return [][sha256.Size]byte{sum}, nil
	}
	return nil, nil
}

func (f *fakeCertificates) Install(_ context.Context, data []byte, o installed.Options, dry bool) (*installed.Report, error) {
	f.asked = fmt.Sprintf("%s %+v %v", data, o, dry)
	return &installed.Report{Format: "pem", Certificates: []installed.Item{}, Remarks: []installed.Remark{}, Done: !dry}, nil
}

func (f *fakeCertificates) Trust(_ context.Context, sum [sha256.Size]byte, o installed.TrustOptions) (*installed.Entry, error) {
	f.asked = fmt.Sprintf("trust %+v", o)
	if o.Issuer {
		return nil, f.known(sum)
	}
	return f.Entry(context.Background(), sum)
}

func (f *fakeCertificates) Untrust(_ context.Context, sum [sha256.Size]byte, addresses []mailaddr.Address) error {
	f.asked = fmt.Sprintf("untrust %v", addresses)
	return f.known(sum)
}

func (f *fakeCertificates) Remove(_ context.Context, sum [sha256.Size]byte) error {
	f.asked = "remove"
	return f.known(sum)
}

// silentDirectory does not answer.
type silentDirectory struct{ fakeDirectory }

func (*silentDirectory) Certificate(context.Context, [32]byte) ([]byte, []directory.Address, error) {
	return nil, nil, NewProblem(CodeNotAvailable, "nobody answers", "")
}

func (*silentDirectory) Fingerprints(context.Context, string, int) ([][32]byte, error) {
	return nil, NewProblem(CodeNotAvailable, "nobody answers", "")
}

// TestFingerprints: a short fingerprint names the certificates of all sources, each once, and what does not answer hides
// nothing of the others.
func TestFingerprints(t *testing.T) {
	f := &fakeCertificates{der: certificate(t)}
	sum := sha256.Sum256(f.der)
	name := hex.EncodeToString(sum[:])
	one := `{"sha256":["` + name + `"],"more":false}`
	silent := &silentDirectory{}
	for _, tc := range []struct {
		directory Directory
		beginning string
		status    int
		want      string
	}{
		{&fakeDirectory{der: f.der}, name[:8], 200, one},
		{&fakeDirectory{der: f.der}, strings.ToUpper(name[:2] + ":" + name[2:9]), 200, one},
		{&fakeDirectory{der: f.der}, name, 200, one},
		{&fakeDirectory{}, name[:63], 200, one},
		{nil, name[:8], 200, one},
		{silent, name[:8], 200, one},
		{silent, "00000000", 501, "nobody answers"},
		{&fakeDirectory{}, "00000000", 200, `{"sha256":[],"more":false}`},
		{&fakeDirectory{}, "12345678", 200, `1234567809` + strings.Repeat("0", 54) + `"],"more":true}`},
		{&fakeDirectory{}, name[:7], 400, "8 to 64 hex digits"},
		{&fakeDirectory{}, name + "0", 400, "8 to 64 hex digits"},
		{&fakeDirectory{}, "0123456x", 400, "8 to 64 hex digits"},
		{&fakeDirectory{}, "", 400, "8 to 64 hex digits"},
	} {
		h := serve(t, &Server{Role: RoleUser, Certificates: f, Directory: tc.directory})
		h.uid.Store(ownerUID)
		r := h.do(t, "GET", "/v1/fingerprints?beginning="+tc.beginning, nil)
		if r.status != tc.status || !strings.Contains(string(r.body), tc.want) {
			t.Errorf("%T %q: status %d, %s", tc.directory, tc.beginning, r.status, r.body)
		}
		if r.status != 200 {
			continue
		}
		for _, fault := range document(t).Conforms(map[string]any{"$ref": "#/components/schemas/Fingerprints"}, []byte(r.body)) {
			t.Errorf("%q: %s", tc.beginning, fault)
		}
	}
}

func TestCertificates(t *testing.T) {
	f := &fakeCertificates{der: certificate(t)}
	sum := sha256.Sum256(f.der)
	name := hex.EncodeToString(sum[:])
	other := strings.Repeat("0", 64)
	h := serve(t, &Server{Role: RoleUser, Certificates: f, Directory: &silentDirectory{}})
	h.uid.Store(ownerUID)
	doc := document(t)
	for _, tc := range []struct {
		request, body string
		status        int
		asked, schema string
	}{
		{"GET /v1/certificates", "", 200, "", "InstalledCertificates"},
		{"POST /v1/certificates", "PEM", 201, "PEM {Addresses:[] Name: AnySignature:false NoTrust:false Issuer:false} false", "InstallReport"},
		{"POST /v1/certificates?dry-run=1&address=Bob@Example.com&name=b.pem&invalid-signature=1&no-trust=1&issuer=1", "PEM", 200,
			"PEM {Addresses:[bob@example.com] Name:b.pem AnySignature:true NoTrust:true Issuer:true} true", "InstallReport"},
		{"POST /v1/certificates?dry-run=maybe", "PEM", 400, "", "Problem"},
		{"POST /v1/certificates?address=nobody", "PEM", 400, "", "Problem"},
		{"POST /v1/certificates?force=1", "PEM", 400, "", "Problem"},
		{"GET /v1/certificates/" + name, "", 200, "", "CertificateDetails"},
		{"GET /v1/certificates/" + other, "", 501, "", "Problem"},
		{"PUT /v1/certificates/" + name + "/trust", "", 200, "trust {Addresses:[] Prefer:false Issuer:false Known:<nil>}", "InstalledCertificate"},
		{"PUT /v1/certificates/" + name + "/trust?prefer=1&address=a@b.example", "", 200, "trust {Addresses:[a@b.example] Prefer:true Issuer:false Known:<nil>}", "InstalledCertificate"},
		{"PUT /v1/certificates/" + name + "/trust?issuer=1", "", 204, "trust {Addresses:[] Prefer:false Issuer:true Known:<nil>}", ""},
		{"PUT /v1/certificates/" + other + "/trust", "", 404, "", "Problem"},
		{"DELETE /v1/certificates/" + name + "/trust?address=a@b.example", "", 204, "untrust [a@b.example]", ""},
		{"DELETE /v1/certificates/" + name, "", 204, "remove", ""},
		{"DELETE /v1/certificates/" + other, "", 404, "", "Problem"},
		{"DELETE /v1/certificates/12", "", 400, "", "Problem"},
		{"POST /v1/certificates/" + name, "", 405, "", "Problem"},
	} {
		method, url, _ := strings.Cut(tc.request, " ")
		f.asked = ""
		r := h.do(t, method, url, strings.NewReader(tc.body))
		if r.status != tc.status || tc.asked != "" && f.asked != tc.asked {
			t.Errorf("%s: status %d, asked %q; want %d, %q\n%s", tc.request, r.status, f.asked, tc.status, tc.asked, r.body)
		}
		if tc.schema == "" {
			continue
		}
		for _, fault := range doc.Conforms(map[string]any{"$ref": "#/components/schemas/" + tc.schema}, []byte(r.body)) {
			if !strings.HasPrefix(fault, "$.installed") && tc.schema != "InstalledCertificate" { // the fakes are not whole certificates
				t.Errorf("%s: %s", tc.request, fault)
			}
		}
	}
}

// TestCertificatesMissing: a daemon without a store says so.
func TestCertificatesMissing(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser})
	h.uid.Store(ownerUID)
	for _, request := range []string{"GET /v1/certificates", "POST /v1/certificates", "DELETE /v1/certificates/" + strings.Repeat("0", 64), "PUT /v1/certificates/" + strings.Repeat("0", 64) + "/trust"} {
		method, url, _ := strings.Cut(request, " ")
		if p := h.do(t, method, url, nil).problem(t); p.Code != CodeNotAvailable {
			t.Errorf("%s: %+v", request, p)
		}
	}
}
