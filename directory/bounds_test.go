package directory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// TestManyKnownAddresses pauses a run over more addresses than are remembered of people's own questions: it must still come
// to its end.
func TestManyKnownAddresses(t *testing.T) {
	const people, each = 32_000, 9_000
	b := &book{limit: 100}
	n := newNight(t, b)
	n.sync.KnownOnly = true
	for i := range people {
		n.sync.Addresses = append(n.sync.Addresses, directory.Address(fmt.Sprintf("p%05d@corp.example", i)))
	}
	n.sync.Source = &bulk{b}
	n.sync.MaxRequests = each / bulkSize
	for part := 1; ; part++ {
		r, err := n.sync.Run(t.Context(), false)
		n.now = n.now.Add(time.Hour)
		if r.Outcome == directory.Complete {
			return
		}
		if !errors.Is(err, directory.ErrBudget) || part > people/each+1 {
			t.Fatalf("part %d: %+v, %v", part, r, err)
		}
	}
}

const bulkSize = 1000

// bulk is a book that is asked for many addresses at once.
type bulk struct{ *book }

func (b *bulk) BatchSize() int { return bulkSize }

func (b *bulk) ResolveBatch(ctx context.Context, addresses []directory.Address) ([]directory.Resolved, int, error) {
	return make([]directory.Resolved, len(addresses)), 1, ctx.Err()
}

// TestMoreGapsThanCanBeNamed has a server that refuses to search wherever people are. What is no named gap would count as
// confirmed.
func TestMoreGapsThanCanBeNamed(t *testing.T) {
	b := &book{limit: 1}
	for i := range 1200 {
		b.add(directory.Address(fmt.Sprintf("%04d@corp.example", i)))
	}
	n := newNight(t, b)
	n.run()
	last := epoch
	b.fail = func(prefix string, _ int) error {
		if len(prefix) >= 4 {
			return directory.ErrInvalidName
		}
		return nil
	}
	if r, err := n.sync.Run(t.Context(), false); err == nil || r.Outcome != directory.Failed {
		t.Errorf("outcome %s with %d gaps, %v; want a failure", r.Outcome, len(r.Gaps), err)
	}
	for _, p := range b.people {
		if s, _ := n.cache.Lookup(t.Context(), p.record.Primary); len(s) != 1 || s[0].Seen.After(last.Add(time.Hour)) {
			t.Fatalf("%s counts as seen %v, and was last seen %v", p.record.Primary, s[0].Seen, last)
		}
	}
}

// TestServerThatSearchesForNothing refuses every beginning, as one would that wants longer ones.
func TestServerThatSearchesForNothing(t *testing.T) {
	b := newBook(t, 20, 0)
	b.fail = func(string, int) error { return fmt.Errorf("too short: %w", directory.ErrInvalidName) }
	n := newNight(t, b)
	r, err := n.sync.Run(t.Context(), false)
	if err == nil || r.Outcome != directory.Failed || !strings.Contains(err.Error(), "too short") {
		t.Errorf("a server that refused every question: %s, %v", r.Outcome, err)
	}
}

// TestBadGroupsOfKnownAddresses is TestBadGroupsDoNotStopRuns for runs without a number.
func TestBadGroupsOfKnownAddresses(t *testing.T) {
	b := newBook(t, 40, 0)
	for i := range 12 {
		b.group(directory.Address(fmt.Sprintf("hidden%d@corp.example", i))).hidden = errors.New("access denied")
	}
	b.group("team@corp.example", b.people[0].record.Primary)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	for _, p := range b.people {
		n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
	}
	for range 15 {
		n.run()
	}
	if s, _ := n.cache.Lookup(t.Context(), "team@corp.example"); len(s) != 1 || s[0].Members == nil {
		t.Error("groups that do not answer keep others waiting for ever")
	}
}

// TestWithdrawnAliasStaysWithdrawn loses somebody's certificate in the night in which an alias of theirs moves on.
func TestWithdrawnAliasStaysWithdrawn(t *testing.T) {
	b := newBook(t, 60, 1)
	ann, ben := b.people[3], b.people[4]
	ann.unlisted = []directory.Address{"sales@corp.example"}
	n := newNight(t, b)
	n.sync.Addresses = []directory.Address{"sales@corp.example"}
	n.run()
	ann.unlisted, ben.unlisted = nil, ann.unlisted
	ann.record.Values = nil
	n.run()
	s, err := n.cache.Lookup(t.Context(), "sales@corp.example")
	if err != nil || len(s) != 1 || s[0].Entry.Primary != ben.record.Primary {
		t.Errorf("the alias leads to %d entries, %v; want only %s", len(s), err, ben.record.Primary)
	}
	if e, err := n.entry(ann.record.Primary); err != nil || len(e.Certificates) != 0 {
		t.Errorf("the loss was not applied: %d certificates, %v", len(e.Certificates), err)
	}
}
