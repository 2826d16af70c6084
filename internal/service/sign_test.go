package service

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/smime"
)

// fakeSigner puts a line in front of the mail; it refuses identities but one.
type fakeSigner struct{}

func (fakeSigner) Sign(_ context.Context, message io.Reader, out io.Writer, o SignOptions) error {
	body, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	if o.Identity != "" && o.Identity != "abc" {
		return NewProblem(CodeNotFound, "no such identity", "")
	}
	form := "detached"
	if o.Opaque {
		form = "opaque"
	}
	_, err = io.WriteString(out, "X-Signed: "+form+" "+o.Identity+"\r\n"+string(body))
	return err
}

type fakeVerifier struct{}

func (fakeVerifier) Verify(_ context.Context, message io.Reader, o VerifyOptions) (*smime.Verification, error) {
	body, err := io.ReadAll(message)
	if o.Unwrap != nil && err == nil && !strings.Contains(string(body), "forged") {
		v := &smime.Verification{Verdict: smime.Untrusted, Reasons: []string{}}
		w, err := o.Unwrap(v)
		if err == nil {
			_, err = w.Write([]byte("unwrapped"))
		}
		return v, err
	}
	if strings.Contains(string(body), "forged") {
		return &smime.Verification{Verdict: smime.Invalid, Reasons: []string{"the content was changed"}}, err
	}
	return &smime.Verification{Verdict: smime.Valid, Reasons: []string{}}, err
}

func TestSign(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Signer: fakeSigner{}})
	mail := strings.NewReader("From: bob@corp.example\r\n\r\nhello\r\n")
	got := h.do(t, "POST", "/v1/sign?opaque=1&identity=abc", mail)
	if got.status != http.StatusOK || !strings.HasPrefix(string(got.body), "X-Signed: opaque abc\r\nFrom: bob") || got.header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("%d %s %q", got.status, got.header, got.body)
	}
	if p := h.do(t, "POST", "/v1/sign?identity=xyz", strings.NewReader("a: b\r\n\r\n")).problem(t); p.Code != CodeNotFound {
		t.Errorf("unknown identity: %+v", p)
	}
}

func TestVerify(t *testing.T) {
	h := serve(t, &Server{Verifier: fakeVerifier{}})
	for body, want := range map[string]smime.Verdict{"a: b\r\n\r\nfine": smime.Valid, "a: b\r\n\r\nforged": smime.Invalid} {
		got := h.do(t, "POST", "/v1/verify", strings.NewReader(body))
		var v smime.Verification
		if err := json.Unmarshal(got.body, &v); err != nil || got.status != http.StatusOK || v.Verdict != want {
			t.Errorf("%q: %d %s", body, got.status, got.body)
		}
	}
}

// TestVerifyUnwraps: who accepts a mail gets it without its signatures when it is unchanged, else the findings.
func TestVerifyUnwraps(t *testing.T) {
	h := serve(t, &Server{Verifier: fakeVerifier{}})
	got := h.do(t, "POST", "/v1/verify", strings.NewReader("a: b\r\n\r\nfine"), "Accept", "message/rfc822, application/json;q=0.5")
	if string(got.body) != "unwrapped" || got.header.Get("Galsyncd-Verdict") != "untrusted" || got.header.Get("Galsyncd-Findings") == "" || got.header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("%v %q", got.header, got.body)
	}
	got = h.do(t, "POST", "/v1/verify", strings.NewReader("a: b\r\n\r\nforged"), "Accept", "message/rfc822, application/json;q=0.5")
	if got.header.Get("Content-Type") != "application/json" || !strings.Contains(string(got.body), `"invalid"`) {
		t.Errorf("%v %q", got.header, got.body)
	}
	if p := h.do(t, "POST", "/v1/verify", strings.NewReader("x"), "Accept", "text/html").problem(t); p.Code != CodeNotAcceptable {
		t.Errorf("%+v", p)
	}
}

func TestFindingsInTheHeader(t *testing.T) {
	h := http.Header{}
	setFindings(h, &smime.Verification{Verdict: smime.Valid, Reasons: []string{"ünïcode, \r\n and lines"}})
	raw, err := base64.RawURLEncoding.DecodeString(h.Get("Galsyncd-Findings"))
	var v smime.Verification
	if err != nil || json.Unmarshal(raw, &v) != nil || v.Reasons[0] != "ünïcode, \uFFFD\uFFFD and lines" || h.Get("Galsyncd-Verdict") != "valid" {
		t.Errorf("%v: %q", err, h)
	}
	h = http.Header{}
	setFindings(h, &smime.Verification{Verdict: smime.Invalid, Reasons: []string{strings.Repeat("x", maxFindings)}})
	if h.Get("Galsyncd-Findings") != "" || h.Get("Galsyncd-Verdict") != "invalid" {
		t.Error("findings that are too long for a header")
	}
}
