package eas

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// takes is a server that refuses (status 5) batches of more than most addresses, and those with an address of refused. Of
// the others it knows nobody. It counts the requests.
type takes struct {
	most     int
	refused  string
	requests int
}

func (s *takes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests++
	root := readDocument(r)
	status, n := "1", 0
	answer := wbxml.New(wbxml.ResolveRecipients)
	for to := range root.All(wbxml.ResolveRecipientsTo) {
		n++
		if strings.Contains(to.Text, s.refused) && s.refused != "" || len(to.Text) > 256 {
			status = "5"
		}
		answer.Children = append(answer.Children, response(to.Text, "4"))
	}
	if n > s.most {
		status = "5"
	}
	if status == "5" {
		answer.Children = nil
	}
	answer.Children = append([]*wbxml.Element{wbxml.NewText(wbxml.ResolveRecipientsStatus, status)}, answer.Children...)
	body, _ := wbxml.Marshal(answer)
	w.Header().Set("Content-Type", "application/vnd.ms-sync.wbxml")
	_, _ = w.Write(body)
}

func readDocument(r *http.Request) *wbxml.Element {
	var body strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buffer)
		body.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	root, _ := wbxml.Unmarshal([]byte(body.String()))
	return root
}

func (s *takes) client() *Client {
	return &Client{URL: "http://127.0.0.1/eas", HTTP: &http.Client{Transport: inMemory{s}}, DeviceID: testDevice, Version: "16.1"}
}

func hundred(from int) (batch []directory.Address) {
	for i := range 100 {
		batch = append(batch, directory.Address(fmt.Sprintf("p%04d@x.example", from+i)))
	}
	return batch
}

// TestRefusedAddress: one address that a server refuses costs itself; the batches stay as large as they were. A server that
// refuses everything is an error, soon.
func TestRefusedAddress(t *testing.T) {
	for _, at := range []int{0, 50, 99} {
		s := &takes{most: 100, refused: "strange"}
		c := s.client()
		batch := hundred(0)
		batch[at] = "strange@x.example"
		outcomes, err := c.ResolveRecipients(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if (o.Err != nil) != (i == at) || o.Err != nil && !errors.Is(o.Err, ErrNoAnswer) {
				t.Errorf("%d: %s: %v", at, batch[i], o.Err)
			}
		}
		if s.requests > 16 {
			t.Errorf("%d: %d requests", at, s.requests)
		}
		s.requests = 0
		if _, err := c.ResolveRecipients(t.Context(), hundred(100)); err != nil || s.requests != 1 {
			t.Errorf("%d: the next batch took %d requests, %v", at, s.requests, err)
		}
	}
	s := &takes{}
	if _, err := s.client().ResolveRecipients(t.Context(), hundred(0)); err == nil || s.requests > 15 {
		t.Errorf("refused everything: %v after %d requests", err, s.requests)
	}
	s = &takes{most: 30, refused: "strange"}
	batch := hundred(0)
	batch[3], batch[77] = "strange@x.example", "strange2@x.example"
	if outcomes, err := s.client().ResolveRecipients(t.Context(), batch); err != nil || outcomes[3].Err == nil || outcomes[77].Err == nil || outcomes[4].Err != nil {
		t.Errorf("both reasons: %v", err)
	}
}

// TestLongAddress: an address that the protocol cannot carry is not sent, and costs nobody else anything.
func TestLongAddress(t *testing.T) {
	long := directory.Address(strings.Repeat("l", 60) + "@" + strings.Repeat(strings.Repeat("d", 50)+".", 4) + "example")
	if len(long) <= maxTo {
		t.Fatal(len(long))
	}
	s := &takes{most: 100}
	outcomes, err := s.client().ResolveRecipients(t.Context(), []directory.Address{"a@x.example", long, "b@x.example"})
	if err != nil || s.requests != 1 || outcomes[0].Err != nil || !errors.Is(outcomes[1].Err, ErrNoAnswer) || outcomes[2].Err != nil {
		t.Errorf("%+v, %v after %d requests", outcomes, err, s.requests)
	}
	if _, err := s.client().Resolve(t.Context(), long); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("alone: %v", err)
	}
}

// TestSameAddressTwice: it is asked for once, and both get the answer.
func TestSameAddressTwice(t *testing.T) {
	f, c := newFake(t, resolved(t, response("a@x.example", "1", recipient("a@x.example", "1", certificateStatus("7"))), response("b@x.example", "4")))
	outcomes, err := c.ResolveRecipients(t.Context(), []directory.Address{"a@x.example", "b@x.example", "a@x.example"})
	if err != nil || outcomes[0].Recipient == nil || outcomes[1].Recipient != nil || outcomes[2].Recipient == nil || outcomes[2].Err != nil {
		t.Errorf("%+v, %v", outcomes, err)
	}
	if n := len(slices.Collect(f.sent[0].All(wbxml.ResolveRecipientsTo))); n != 2 {
		t.Errorf("%d addresses were sent", n)
	}
}

// TestPagesOfFewer: a server that gives fewer results at a time than it was asked for, and no total, loses nobody, whatever
// was asked before.
func TestPagesOfFewer(t *testing.T) {
	const most = 50
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		root := readDocument(r)
		var from, to int
		_, _ = fmt.Sscanf(root.TextAt(wbxml.SearchStore, wbxml.SearchOptions, wbxml.SearchRange), "%d-%d", &from, &to)
		text := root.TextAt(wbxml.SearchStore, wbxml.SearchQuery)
		people := map[string]int{"a": 120, "b": 60, "c": 50, "d": 3}[text]
		store := wbxml.New(wbxml.SearchStore, wbxml.NewText(wbxml.SearchStatus, "1"))
		for i := from; i < min(people, to+1, from+most); i++ {
			store.Children = append(store.Children, wbxml.New(wbxml.SearchResult, wbxml.New(wbxml.SearchProperties, wbxml.NewText(wbxml.GALEmailAddress, fmt.Sprintf("%s%d@x.example", text, i)))))
		}
		body, _ := wbxml.Marshal(wbxml.New(wbxml.Search, wbxml.NewText(wbxml.SearchStatus, "1"), wbxml.New(wbxml.SearchResponse, store)))
		w.Header().Set("Content-Type", "application/vnd.ms-sync.wbxml")
		_, _ = w.Write(body)
	})
	c := &Client{URL: "http://127.0.0.1/eas", HTTP: &http.Client{Transport: inMemory{server}}, DeviceID: testDevice, Version: "16.1"}
	for _, test := range []struct {
		prefix string
		people int
	}{{"a", 120}, {"b", 60}, {"c", 50}, {"d", 3}, {"b", 60}} {
		if answer, err := c.Search(t.Context(), test.prefix, false); err != nil || len(answer.Records) != test.people || answer.Truncated {
			t.Errorf("%s: %d of %d, %v", test.prefix, len(answer.Records), test.people, err)
		}
	}
}
