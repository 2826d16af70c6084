package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
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

// countingOnline asks about everything that it may.
type countingOnline struct{ asked int }

func (c *countingOnline) Ask(_ context.Context, addresses []string, most int) (int, []string, error) {
	n := min(most, len(addresses))
	c.asked += n
	return n, addresses[n:], nil
}

// TestOnlineBudget: the budget of a user that runs out within a look-up is said about each address that was not asked about.
func TestOnlineBudget(t *testing.T) {
	online := &countingOnline{}
	s := &Server{Online: online, OnlineOnMiss: true}
	serve(t, s)
	request := httptest.NewRequest("GET", "/v1/recipients", nil)
	stranger := Peer{UID: uint32(s.uid()) + 1}
	request = request.WithContext(context.WithValue(request.Context(), peerKey{}, stranger))
	var addresses []string
	for i := range maxOnlinePerHour - 1 {
		addresses = append(addresses, fmt.Sprintf("a%d@example.com", i))
	}
	if got, err := s.askOnline(request, true, addresses); err != nil || len(got.unasked) != 0 {
		t.Fatalf("within the budget: %+v, %v", got, err)
	}
	got, err := s.askOnline(request, true, []string{"b@example.com", "c@example.com", "d@example.com"})
	if err != nil || !slices.Equal(got.unasked, []string{"c@example.com", "d@example.com"}) || got.warning("b@example.com") != "" || got.warning("d@example.com") == "" {
		t.Errorf("the budget runs out: %+v, %v", got, err)
	}
	if got, err = s.askOnline(request, false, []string{"e@example.com"}); err != nil || got.warning("e@example.com") == "" {
		t.Errorf("nothing is left, and nobody wished it: %+v, %v", got, err)
	}
	if _, err := s.askOnline(request, true, []string{"e@example.com"}); err == nil {
		t.Error("nothing is left, and it was wished")
	}
	if online.asked != maxOnlinePerHour {
		t.Errorf("%d were asked about", online.asked)
	}
}

// manyOnline is a server that is asked about nothing.
type manyOnline struct{}

func (manyOnline) Ask(_ context.Context, addresses []string, _ int) (int, []string, error) {
	return 0, addresses, nil
}

// TestUnasked: the answer names what Exchange was not asked about.
func TestUnasked(t *testing.T) {
	h := serve(t, &Server{Recipients: fakeRecipients{}, Online: manyOnline{}})
	var answer struct {
		Unasked    []string `json:"unasked"`
		Recipients []struct{ Warnings []string }
	}
	r := h.do(t, "GET", "/v1/recipients?online=1&address=bob@example.com&address=zoe@example.com", nil)
	if err := json.Unmarshal(r.body, &answer); err != nil || len(answer.Recipients) != 2 {
		t.Fatalf("%s: %v", r.body, err)
	}
	if len(answer.Unasked) != 2 || len(answer.Recipients[0].Warnings) != 0 || len(answer.Recipients[1].Warnings) != 1 {
		t.Errorf("%s", r.body)
	}
}

// refusingOnline has a server that asks for nobody any more.
type refusingOnline struct{}

func (refusingOnline) Ask(context.Context, []string, int) (int, []string, error) {
	return 0, nil, NewProblem(CodeBusy, "too many online look-ups", "")
}

// TestOnlineRefused: why Exchange was not asked is an error for who wished it, and for others a warning that does not blame
// Exchange.
func TestOnlineRefused(t *testing.T) {
	for wished, want := range map[string]string{"": "Exchange was not asked about it: too many online look-ups", "online=1&": `"code":"busy"`} {
		h := serve(t, &Server{Recipients: fakeRecipients{}, Online: refusingOnline{}, OnlineOnMiss: true})
		r := h.do(t, "GET", "/v1/recipients?"+wished+"address=zoe@example.com", nil)
		if !strings.Contains(string(r.body), want) || strings.Contains(string(r.body), "usable answer") {
			t.Errorf("%q: %s", wished, r.body)
		}
	}
}
