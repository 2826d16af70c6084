package service

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/installed"
)

func TestBudget(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b := budget{most: 3, per: time.Hour, now: func() time.Time { return now }}
	const ann, ben = 1000, 1001
	b.spend(ann, 2)
	if !b.left(ann) {
		t.Error("two of three questions used up everything")
	}
	b.spend(ann, 1)
	if b.left(ann) || !b.left(ben) {
		t.Error("one user's questions must end at three, and not touch another's")
	}
	now = now.Add(59 * time.Minute)
	if b.left(ann) {
		t.Error("the hour is not over")
	}
	now = now.Add(2 * time.Minute)
	if !b.left(ann) {
		t.Error("the hour is over")
	}
	b.spend(ben, 1)
	if len(b.spent) != 1 {
		t.Errorf("%d users remembered, want the one of this hour", len(b.spent))
	}
}

func TestDecryptionFailuresAreBounded(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Decrypter: failingDecrypter{}, Certificates: failingCertificates{}})
	for i := range maxFailuresPerMinute + 2 {
		path := []string{"/v1/decrypt", "/v1/certificates?dry-run=1"}[i%2] // both decrypt
		want := CodeDecryptFailed
		if i >= maxFailuresPerMinute {
			want = CodeBusy
		}
		if p := h.do(t, "POST", path, strings.NewReader("a: b\r\n\r\n")).problem(t); p.Code != want {
			t.Fatalf("failure %d: %s, want %s", i, p.Code, want)
		}
	}
}

type failingDecrypter struct{}

func (failingDecrypter) Decrypt(_ context.Context, message io.Reader, _ DecryptOptions, _ func(Decrypted) (io.Writer, error)) error {
	if _, err := io.Copy(io.Discard, message); err != nil {
		return err
	}
	return NewProblem(CodeDecryptFailed, "", "")
}

// failingCertificates are given mails that cannot be decrypted.
type failingCertificates struct{ Certificates }

func (failingCertificates) Install(context.Context, []byte, installed.Options, bool) (*installed.Report, error) {
	return nil, NewProblem(CodeDecryptFailed, "", "")
}
