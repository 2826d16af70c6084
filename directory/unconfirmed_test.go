package directory_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// bigBook is a large address book in order, whose server gives no usable answer about some of its people.
type bigBook struct {
	people []directory.Record
	silent func(i int) bool
	asked  int
}

const refuseAfter = 90 * 24 * time.Hour

func newBigBook(n int) *bigBook {
	b := &bigBook{silent: func(int) bool { return false }}
	for i := range n {
		a := directory.Address(fmt.Sprintf("p%05d@corp.example", i))
		b.people = append(b.people, directory.Record{Primary: a, Addresses: []directory.Address{a}, DisplayName: fmt.Sprint("Person ", i), Kind: directory.KindMailbox})
	}
	return b
}

func (b *bigBook) Name() string { return "big" }

func (b *bigBook) Search(_ context.Context, prefix string, certificates bool) (directory.Answer, error) {
	b.asked++
	var answer directory.Answer
	at, _ := slices.BinarySearchFunc(b.people, prefix, func(r directory.Record, p string) int { return cmp.Compare(string(r.Primary), p) })
	for i := at; i < len(b.people) && strings.HasPrefix(string(b.people[i].Primary), prefix); i++ {
		if len(answer.Records) == 100 {
			answer.Truncated = true
			break
		}
		rec := b.people[i]
		if certificates && b.silent(i) {
			rec.Undetermined = "several entries of its directory match the address"
		}
		answer.Records = append(answer.Records, rec)
	}
	return answer, nil
}

func (n *night) seen(a directory.Address) time.Time {
	n.t.Helper()
	s, err := n.cache.Lookup(n.t.Context(), a)
	if err != nil || len(s) != 1 {
		n.t.Fatalf("%s has %d entries, %v", a, len(s), err)
	}
	return s[0].Seen
}

// TestSomeAreNeverAnswered: of 20,000 people two in a hundred never get a usable answer. Runs come to their end, the others
// stay fresh, and the two in a hundred grow old and come back when the server says something.
func TestSomeAreNeverAnswered(t *testing.T) {
	const people, every = 20_000, 50
	b := newBigBook(people)
	n := newNight(t, nil)
	n.sync.Source = b
	n.run()
	b.silent = func(i int) bool { return i%every == 7 }
	started := n.now
	for n.now.Before(epoch.Add(refuseAfter + 48*time.Hour)) {
		started = n.now
		r, err := n.sync.Run(t.Context(), false)
		if err != nil || r.Outcome != directory.Incomplete || r.UndeterminedCount != people/every || r.Entries != people || r.Missing+r.Removed+r.Changed != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if len(r.Undetermined) == 0 || len(r.Undetermined) > 100 || len(r.Gaps) != 0 {
			t.Fatalf("%d are named, %d gaps", len(r.Undetermined), len(r.Gaps))
		}
		n.now = n.now.AddDate(0, 0, 15)
	}
	for i, p := range b.people {
		want := started
		if b.silent(i) {
			want = epoch
		}
		if got := n.seen(p.Primary); !got.Equal(want) || b.silent(i) != (started.Sub(got) > refuseAfter) {
			t.Fatalf("%s was seen %s, want %s", p.Primary, got, want)
		}
	}
	b.silent = func(int) bool { return false }
	n.run()
	if got := n.seen(b.people[7].Primary); !got.After(started) {
		t.Errorf("answered again, seen %s", got)
	}
}

// TestSilentOutage: a server that gives no usable answer about half of its people, or about many in a row, is in trouble.
// The run fails, confirms nobody, and the night after it is not ended by what it noted.
func TestSilentOutage(t *testing.T) {
	for name, silent := range map[string]func(i int) bool{
		"every other":   func(i int) bool { return i%2 == 0 },
		"many in a row": func(i int) bool { return i > 2000 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBigBook(5_000)
			n := newNight(t, nil)
			n.sync.Source = b
			n.run()
			b.silent = silent
			r, err := n.sync.Run(t.Context(), false)
			if err == nil || r.Outcome != directory.Failed || r.Missing+r.Removed != 0 || !strings.Contains(err.Error(), "several entries") {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, i := range []int{0, 1, 2500, 2501, 4999} {
				if got := n.seen(b.people[i].Primary); !got.Equal(epoch) {
					t.Errorf("%s was seen %s", b.people[i].Primary, got)
				}
			}
			n.now, b.silent = n.now.AddDate(0, 0, 1), func(int) bool { return false }
			if name == "many in a row" {
				n.sync.ResumeWithin = time.Hour
			}
			if r := n.run(); r.Outcome != directory.Complete || r.Parts != 1 {
				t.Errorf("the night after: %+v", r)
			}
			if got := n.seen(b.people[2500].Primary); !got.After(epoch) {
				t.Errorf("the night after: seen %s", got)
			}
		})
	}
}

// TestGuardForMonths: while the guard holds night after night, everybody whom the server still shows as they are stays fresh;
// whom or what it does not show any more grows old, although nothing is removed.
func TestGuardForMonths(t *testing.T) {
	for _, known := range []bool{false, true} {
		b := newBook(t, 200, 2)
		b.group("team@corp.example", b.people[0].record.Primary)
		n := newNight(t, b)
		n.sync.KnownOnly = known
		for _, p := range b.people {
			n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
		}
		n.run()
		held := map[*person]bool{}
		for i, p := range b.people {
			switch {
			case i%3 == 0:
				p.gone, held[p] = true, true
			case i%3 == 1 && p.record.Values != nil:
				p.record.Values, held[p] = nil, true
			}
		}
		for range 100 {
			if r := n.run(); r.Outcome != directory.Guarded || r.Missing+r.Removed != 0 {
				t.Fatalf("known only %t: %+v", known, r)
			}
		}
		last := n.now.AddDate(0, 0, -1)
		for _, p := range b.people {
			want := last
			if held[p] {
				want = epoch
			}
			if got := n.seen(p.record.Primary); !got.Equal(want) || held[p] != (n.now.Sub(got) > refuseAfter) {
				t.Fatalf("known only %t: %s (held back: %t) was seen %s, want %s", known, p.record.Primary, held[p], got, want)
			}
		}
		if h, _, _, _ := n.cache.History(t.Context()); !h.Finished.Equal(epoch) {
			t.Errorf("a guarded run counts as one that was finished: %s", h.Finished)
		}
		back := b.people[0]
		back.gone = false
		n.sync.MaxRemovals = 1
		for range 2 {
			n.run()
		}
		if got := n.seen(back.record.Primary); !got.Equal(n.now.AddDate(0, 0, -1)) {
			t.Errorf("known only %t: who is back was seen %s", known, got)
		}
		if n.has(b.people[3].record.Primary) {
			t.Errorf("known only %t: who is gone is still there when the guard lets go", known)
		}
	}
}

// dying is a store that a process is killed at: nothing is written after some updates.
type dying struct {
	directory.Store
	updates, last int
}

var errKilled = errors.New("killed")

func (d *dying) Update(f func(directory.Tx) error) error {
	if d.updates++; d.last > 0 && d.updates > d.last {
		return errKilled
	}
	return d.Store.Update(f)
}

// TestKilledWhileTheGuardHolds: a run that is killed while it marks what it holds back does not let go of the rest when it
// goes on.
func TestKilledWhileTheGuardHolds(t *testing.T) {
	whole := 0
	for before := range 6 {
		b := newBigBook(4_000)
		n := newNight(t, nil)
		n.sync.Source = b
		n.run()
		b.people, b.silent = b.people[900:], func(i int) bool { return i == 7 }
		store := &dying{Store: n.cache}
		if n.sync.Store = store; before > 0 {
			store.last = whole - before
		}
		r, err := n.sync.Run(t.Context(), false)
		if before == 0 {
			if whole = store.updates; err != nil || r.Outcome != directory.Guarded {
				t.Fatalf("%+v, %v", r, err)
			}
			continue
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed before update %d of %d: %v", before, whole, err)
		}
		n.sync.Store = n.cache
		r, err = n.sync.Run(t.Context(), false)
		if err != nil || r.Outcome != directory.Guarded || r.HeldLost != 900 || r.Missing+r.Removed != 0 {
			t.Errorf("killed %d updates before the end: %+v, %v", before, r, err)
		}
		if got := n.seen("p00001@corp.example"); !got.Equal(epoch) {
			t.Errorf("killed %d updates before the end: who is held back was seen %s", before, got)
		}
	}
}
