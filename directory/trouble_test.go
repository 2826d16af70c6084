package directory_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

func TestAliasMovesOn(t *testing.T) {
	b := newBook(t, 60, 1)
	ann, ben := b.people[3], b.people[4]
	ann.unlisted = []directory.Address{"sales@corp.example"}
	n := newNight(t, b)
	n.run()
	if _, err := n.sync.Ask(t.Context(), "sales@corp.example"); err != nil {
		t.Fatal(err)
	}
	ann.unlisted, ben.unlisted = nil, []directory.Address{"sales@corp.example"}
	for range 7 { // the aliases that somebody asked for are asked for again in turns
		n.run()
	}
	s, err := n.cache.Lookup(t.Context(), "sales@corp.example")
	if err != nil || len(s) != 1 || s[0].Entry.Primary != ben.record.Primary {
		t.Errorf("the alias still leads to %+v, %v", s, err)
	}
}

func TestGapKeepsWhatWasConfirmed(t *testing.T) {
	b := newBook(t, 60, 0)
	n := newNight(t, b)
	for range 20 {
		n.run()
	}
	before := n.now.AddDate(0, 0, -1)
	b.fail = func(prefix string, _ int) error {
		if prefix[0] == 'm' {
			return fmt.Errorf("%w: not now", directory.ErrInvalidName)
		}
		return nil
	}
	for range 3 {
		if r := n.run(); r.Outcome != directory.Incomplete {
			t.Fatalf("report %+v, want incomplete", r)
		}
	}
	for _, p := range b.people {
		want := n.now.AddDate(0, 0, -1)
		if p.record.Primary[0] == 'm' {
			want = before
		}
		if s, _ := n.cache.Lookup(t.Context(), p.record.Primary); len(s) != 1 || !s[0].Seen.Equal(want) {
			t.Fatalf("%s was seen %v, want %v", p.record.Primary, s[0].Seen, want)
		}
	}
}

func TestBadGroupsDoNotStopRuns(t *testing.T) {
	b := newBook(t, 40, 0)
	for i := range 12 {
		b.group(directory.Address(fmt.Sprintf("hidden%d@corp.example", i))).hidden = errors.New("access denied")
	}
	b.group("team@corp.example", b.people[0].record.Primary)
	n := newNight(t, b)
	for range 15 {
		if r := n.run(); r.Outcome != directory.Complete || r.SilentGroups < 5 || !strings.HasSuffix(r.Silent, "access denied") {
			t.Fatalf("report %+v, want complete, with the groups that do not answer", r)
		}
	}
	if s, _ := n.cache.Lookup(t.Context(), "team@corp.example"); s[0].Members == nil {
		t.Error("groups that do not answer keep others waiting for ever")
	}
}

func TestFromKnownOnlyToTheWholeBook(t *testing.T) {
	b := newBook(t, 500, 0)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	n.sync.Addresses = []directory.Address{b.people[0].record.Primary}
	n.run()
	n.run()
	n.sync.KnownOnly = false
	if r := n.run(); r.Entries != 500 {
		t.Errorf("the first walk found %d of 500", r.Entries)
	}
}

func TestAnotherServer(t *testing.T) {
	b := newBook(t, 300, 0)
	n := newNight(t, b)
	n.sync.Server = "mail.old.example"
	n.run()
	other := &book{limit: 100}
	for i := range 250 {
		other.add(directory.Address(fmt.Sprintf("new%03d@corp.example", i)))
	}
	n.sync.Source, n.sync.Server = other, "mail.new.example"
	r := n.run()
	if r.Outcome != directory.Guarded || r.Entries != 550 {
		t.Errorf("report %+v; want guarded, with everybody of both", r)
	}
}

// kill runs the sync until the source is asked for the n-th time, and ends there as a process does that is killed.
func (n *night) kill(requests int) {
	n.t.Helper()
	n.book.fail = func(_ string, asked int) error {
		if asked == requests {
			panic("killed")
		}
		return nil
	}
	defer func() {
		if recover() == nil {
			n.t.Error("the run was over before it was killed")
		}
		n.book.fail = nil
	}()
	_, _ = n.sync.Run(n.t.Context(), false)
}

// TestKilledBetweenServers: what a killed run found out about one server says nothing about another, and a run about the new
// one is gone on from as any other.
func TestKilledBetweenServers(t *testing.T) {
	newcomers := func() *book {
		b := &book{limit: 100}
		for i := range 500 {
			b.add(directory.Address(fmt.Sprintf("%c%03d@corp.example", 'a'+i%26, i)))
		}
		return b
	}
	t.Run("the first run ever", func(t *testing.T) {
		n := newNight(t, newBook(t, 300, 0))
		n.sync.Server = "mail.old.example"
		n.kill(newNight(t, newBook(t, 300, 0)).run().Requests - 5)
		n.book, n.sync.Server = newcomers(), "mail.new.example"
		n.sync.Source = n.book
		n.run()
		for _, p := range n.book.people {
			if !n.has(p.record.Primary) {
				t.Fatalf("%s was not found", p.record.Primary)
			}
		}
	})
	t.Run("the first run of the new server", func(t *testing.T) {
		n := newNight(t, newBook(t, 30, 0))
		n.sync.Server = "mail.old.example"
		n.run()
		n.book, n.sync.Server = newcomers(), "mail.new.example"
		n.sync.Source = n.book
		whole := newNight(t, newcomers()).run().Requests
		n.kill(whole - 20)
		if r := n.run(); r.PartRequests > whole/2 {
			t.Errorf("%d requests after %d of %d", r.PartRequests, whole-20, whole)
		}
	})
}

func TestTurnsGoOnAfterGuardedRuns(t *testing.T) {
	b := newBook(t, 100, 0)
	n := newNight(t, b)
	n.run()
	remove(b.people[:50])
	newcomers := []directory.Address{"0zero@corp.example", "quentin@corp.example", "~odd@corp.example", "www@corp.example"}
	for _, a := range newcomers {
		b.add(a)
	}
	for range 3 * 14 {
		if r := n.run(); r.Outcome != directory.Guarded {
			t.Fatalf("report %+v, want guarded", r)
		}
	}
	for _, a := range newcomers {
		if !n.has(a) {
			t.Errorf("%s was not found", a)
		}
	}
}

func TestClockThatWasAhead(t *testing.T) {
	b := newBook(t, 30, 0)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	for _, p := range b.people {
		n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
	}
	n.now = n.now.AddDate(3, 0, 0)
	n.run()
	n.now = epoch
	b.people[0].gone = true
	for range 2 {
		if r := n.run(); r.Requests != 30 {
			t.Fatalf("report %+v; want everybody asked for", r)
		}
	}
	if n.has(b.people[0].record.Primary) {
		t.Error("a person who left is kept because a clock was wrong once")
	}
	if h, _, _, _ := n.cache.History(t.Context()); h.Finished.After(n.now) {
		t.Errorf("the last run finished in the future: %v", h.Finished)
	}
}

func TestNoNarrowingIsNotResumed(t *testing.T) {
	n := newNight(t, &book{limit: 100})
	n.sync.Source = endless{}
	if _, err := n.sync.Run(t.Context(), false); !errors.Is(err, directory.ErrNoNarrowing) {
		t.Fatal(err)
	}
	n.sync.Source = newBook(t, 10, 0)
	n.now = n.now.Add(time.Hour)
	if _, err := n.sync.Run(t.Context(), false); err != nil {
		t.Errorf("a repaired server: %v", err)
	}
}
