package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// Resolve implements directory.Resolver.
func (b *book) Resolve(ctx context.Context, address directory.Address) (directory.Resolution, error) {
	b.requests++
	b.asked = append(b.asked, "="+string(address))
	if b.fail != nil {
		if err := b.fail(string(address), b.requests); err != nil {
			return directory.Resolution{}, err
		}
	}
	var r directory.Resolution
	for _, p := range b.people {
		switch {
		case p.gone:
		case slices.Contains(p.record.Addresses, address):
			r.Records = append(r.Records, p.record)
		case slices.Contains(p.unlisted, address):
			r.Records, r.Unlisted = append(r.Records, p.record), true
		}
	}
	return r, ctx.Err()
}

// Expand implements directory.Expander.
func (b *book) Expand(ctx context.Context, group directory.Address) (directory.Members, error) {
	b.requests++
	b.asked = append(b.asked, "@"+string(group))
	p := b.find(group)
	if p == nil || p.record.Kind != directory.KindGroup {
		return directory.Members{Unknown: true}, nil
	}
	if p.hidden != nil {
		return directory.Members{}, p.hidden
	}
	var m directory.Members
	for _, a := range p.members {
		m.Members = append(m.Members, directory.Member{Address: a, Kind: directory.KindMailbox})
	}
	return m, ctx.Err()
}

func (b *book) group(primary directory.Address, members ...directory.Address) *person {
	p := b.add(primary)
	p.record.Kind, p.members = directory.KindGroup, members
	return p
}

func TestAskProvesAnAlias(t *testing.T) {
	b := newBook(t, 100, 2)
	p := b.people[3]
	p.unlisted = []directory.Address{"alias@corp.example"}
	n := newNight(t, b)
	n.run()
	if s, _ := n.cache.Lookup(t.Context(), "alias@corp.example"); len(s) != 0 {
		t.Fatal("an alias that nobody asked for is known")
	}
	found, err := n.sync.Ask(t.Context(), "alias@corp.example")
	if err != nil || !found {
		t.Fatalf("ask: %v, %v", found, err)
	}
	for range 2 { // it must survive a run and a change of the entry
		s, err := n.cache.Lookup(t.Context(), "alias@corp.example")
		if err != nil || len(s) != 1 || s[0].Entry.Primary != p.record.Primary || s[0].Claimed {
			t.Fatalf("look-up of the alias: %+v, %v", s, err)
		}
		p.record.DisplayName = "another name"
		n.run()
	}
}

func TestAskRemembersNobody(t *testing.T) {
	n := newNight(t, newBook(t, 20, 0))
	if found, err := n.sync.Ask(t.Context(), "nobody@corp.example"); found || err != nil {
		t.Fatalf("ask: %v, %v", found, err)
	}
	var q directory.Question
	err := n.cache.View(func(tx directory.Tx) (err error) {
		q, err = directory.LastQuestion(tx, "nobody@corp.example")
		return err
	})
	if err != nil || q.Found || !q.Asked.Equal(epoch) {
		t.Errorf("remembered %+v, %v", q, err)
	}
	failure := errors.New("no answer")
	n.book.fail = func(string, int) error { return failure }
	if _, err := n.sync.Ask(t.Context(), "somebody@corp.example"); !errors.Is(err, failure) {
		t.Errorf("error %v, want the source's", err)
	}
	n.cache.View(func(tx directory.Tx) error {
		q, err = directory.LastQuestion(tx, "somebody@corp.example")
		return err
	})
	if !q.Asked.IsZero() {
		t.Error("a question without an answer is remembered as asked")
	}
}

func TestAskNeverTakesAUsableCertificate(t *testing.T) {
	b := newBook(t, 20, 1)
	n := newNight(t, b)
	n.run()
	b.people[0].record.Values = nil
	if _, err := n.sync.Ask(t.Context(), b.people[0].record.Primary); err != nil {
		t.Fatal(err)
	}
	if e, _ := n.entry(b.people[0].record.Primary); len(e.Certificates) != 1 {
		t.Error("a look-up took a certificate away without the guard")
	}
}

// TestGroupsOfADirectoryThatIsDown: a server that knows nobody any more, groups among them, takes no members away; one that
// says so of one group alone is believed.
func TestGroupsOfADirectoryThatIsDown(t *testing.T) {
	b := newBook(t, 50, 1)
	team := b.group("team@corp.example", b.people[0].record.Primary, b.people[1].record.Primary)
	n := newNight(t, b)
	n.run()
	members := func() *directory.Members {
		s, err := n.cache.Lookup(t.Context(), "team@corp.example")
		if err != nil || len(s) != 1 || s[0].Members == nil {
			t.Fatalf("%+v, %v", s, err)
		}
		return s[0].Members
	}
	for _, p := range b.people {
		p.gone = true
	}
	team.record.Kind = directory.KindMailbox // so that it is no group to the server
	for range 7 {
		if r := n.run(); r.Outcome != directory.Guarded {
			t.Fatalf("%+v", r)
		}
	}
	if m := members(); len(m.Members) != 2 || m.Unknown {
		t.Errorf("after nights without a directory: %+v", m)
	}
	for _, p := range b.people {
		p.gone = false
	}
	team.record.Kind, team.members = directory.KindGroup, nil
	for range 7 {
		n.run()
	}
	if m := members(); len(m.Members) != 0 {
		t.Errorf("a group without members has %+v", m)
	}
}

func TestGroups(t *testing.T) {
	b := newBook(t, 50, 1)
	team := b.group("team@corp.example", b.people[0].record.Primary, b.people[1].record.Primary)
	hidden := b.group("hidden@corp.example")
	hidden.hidden = errors.New("access denied")
	n := newNight(t, b)
	n.run()
	s, err := n.cache.Lookup(t.Context(), "team@corp.example")
	if err != nil || len(s) != 1 || s[0].Members == nil || len(s[0].Members.Members) != 2 || !s[0].Members.Fetched.Equal(epoch) {
		t.Fatalf("team: %+v, %v", s, err)
	}
	if s, _ := n.cache.Lookup(t.Context(), "hidden@corp.example"); len(s) != 1 || s[0].Members != nil {
		t.Errorf("a group that does not show its members has some: %+v", s)
	}
	team.members = team.members[:1]
	for range 7 {
		n.run()
	}
	if s, _ := n.cache.Lookup(t.Context(), "team@corp.example"); len(s[0].Members.Members) != 1 {
		t.Error("a member who left is still there after a whole period")
	}
	team.gone = true
	n.run()
	n.run()
	if s, _ := n.cache.Lookup(t.Context(), "team@corp.example"); len(s) != 0 {
		t.Error("a group that is gone is still known")
	}
}

func TestKnownOnly(t *testing.T) {
	b := newBook(t, 500, 1)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	n.sync.Addresses = []directory.Address{b.people[0].record.Primary, b.people[1].record.Primary, "nobody@corp.example"}
	b.group("team@corp.example", b.people[2].record.Primary)
	n.sync.Addresses = append(n.sync.Addresses, "team@corp.example")
	r := n.run()
	if r.Outcome != directory.Complete || r.Entries != 3 || r.Requests != 5 {
		t.Fatalf("first run %+v; want 3 entries in 5 requests", r)
	}
	if _, err := n.sync.Ask(t.Context(), b.people[9].record.Primary); err != nil {
		t.Fatal(err)
	}
	r = n.run()
	if r.Entries != 5 { // and the member of the team
		t.Errorf("second run %+v; want 5 entries", r)
	}
	b.people[0].gone = true
	if r = n.run(); r.Missing != 1 {
		t.Errorf("first run without a known person: %+v", r)
	}
	if r = n.run(); r.Removed != 1 || n.has(b.people[0].record.Primary) {
		t.Errorf("second run without a known person: %+v", r)
	}
	if h, _, _, _ := n.cache.History(t.Context()); !h.Finished.Equal(n.now.AddDate(0, 0, -1)) {
		t.Errorf("history %+v", h)
	}
}

func TestKnownOnlyResumes(t *testing.T) {
	b := newBook(t, 100, 1)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	for _, p := range b.people[:60] {
		n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
	}
	b.fail = func(_ string, n int) error {
		if n > 25 {
			return passing{time.Hour}
		}
		return nil
	}
	if _, err := n.sync.Run(t.Context(), false); err == nil {
		t.Fatal("the run did not fail")
	}
	b.fail, b.asked = nil, nil
	n.now = n.now.Add(time.Hour)
	r := n.run()
	if r.Entries != 60 || len(b.asked) != 35 {
		t.Errorf("resumed run: %d entries, %d asked; want 60, 35", r.Entries, len(b.asked))
	}
}

func TestKnownOnlyGuard(t *testing.T) {
	b := newBook(t, 50, 1)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	for _, p := range b.people {
		n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
	}
	n.run()
	b.hide = true
	for i := range b.people {
		b.people[i].record.Values = nil
	}
	r := n.run()
	if r.Outcome != directory.Guarded || r.Certified != 50 {
		t.Errorf("certificates hidden: %s", fmt.Sprintf("%+v", r))
	}
}
