package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/eas"
)

// oracle is a source that knows one person, alias and all, and counts what it is asked.
type oracle struct {
	asked  int
	fail   error
	before func() // an answer; nil is nothing
}

func (*oracle) Name() string { return "oracle" }
func (*oracle) Search(context.Context, string, bool) (directory.Answer, error) {
	return directory.Answer{}, nil
}

func (o *oracle) Resolve(ctx context.Context, a directory.Address) (directory.Resolution, error) {
	o.asked++
	if o.before != nil {
		o.before()
	}
	switch {
	case o.fail != nil:
		return directory.Resolution{}, o.fail
	case a == "alias@corp.example":
		rec := directory.Record{Primary: "ann@corp.example", Addresses: []directory.Address{"ann@corp.example"}, Kind: directory.KindMailbox}
		return directory.Resolution{Records: []directory.Record{rec}, Unlisted: true}, nil
	}
	return directory.Resolution{}, ctx.Err()
}

func TestOnline(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	source := &oracle{}
	o := &Online{Sync: &directory.Sync{Source: source, Store: c, Now: func() time.Time { return now }}, Known: c,
		Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
	ask := func(want int, addresses ...string) {
		t.Helper()
		before := source.asked
		if n, _, _ := o.Ask(t.Context(), addresses, 100); n != want || source.asked-before != want {
			t.Errorf("Ask(%q) put %d questions, the source saw %d; want %d", addresses, n, source.asked-before, want)
		}
	}
	ask(1, "alias@corp.example", "not an address")
	if found, _ := c.Lookup(t.Context(), "alias@corp.example"); len(found) != 1 || found[0].Entry.Primary != "ann@corp.example" {
		t.Fatalf("the alias is not known: %+v", found)
	}
	ask(0, "alias@corp.example", "ann@corp.example") // known
	ask(1, "nobody@corp.example")
	ask(0, "nobody@corp.example") // remembered
	now = now.Add(2 * time.Hour)
	ask(1, "nobody@corp.example")

	// Beyond the bound of the caller, and of one look-up, addresses that are worth a question are named.
	known := []string{"alias@corp.example", "nobody@corp.example", "New.One@corp.example", "new.two@corp.example"}
	if n, unasked, err := o.Ask(t.Context(), known, 0); n != 0 || !slices.Equal(unasked, []string{"new.one@corp.example", "new.two@corp.example"}) || err != nil {
		t.Errorf("nothing may be asked: %d questions, %q, %v", n, unasked, err)
	}
	if n, unasked, err := o.Ask(t.Context(), known, 1); n != 1 || !slices.Equal(unasked, []string{"new.two@corp.example"}) || err != nil {
		t.Errorf("one may be asked: %d questions, %q, %v", n, unasked, err)
	}
	var many []string
	for i := range maxOnline + 3 {
		many = append(many, fmt.Sprintf("many%d@corp.example", i))
	}
	if n, unasked, err := o.Ask(t.Context(), many, 100); n != maxOnline || !slices.Equal(unasked, many[maxOnline:]) || err != nil {
		t.Errorf("many: %d questions, %q, %v", n, unasked, err)
	}

	source.fail = errors.New("no route to host")
	ask(1, "first@corp.example", "second@corp.example")
	if _, _, err := o.Ask(t.Context(), []string{"second@corp.example"}, 100); err == nil {
		t.Error("nobody is told that the server is away")
	}
	ask(0, "second@corp.example") // nobody waits while the server is away
	now, source.fail = now.Add(2*time.Minute), nil
	ask(2, "first@corp.example", "second@corp.example")
}

// TestOnlineAboutOneAddress: an address that the server does not take, or says nothing of use about, keeps nobody from asking
// for others.
func TestOnlineAboutOneAddress(t *testing.T) {
	source := &oracle{}
	o := &Online{Sync: &directory.Sync{Source: source, Store: openCache(t)}, Known: openCache(t), Timeout: time.Second, Log: slog.New(slog.DiscardHandler)}
	for _, err := range []error{directory.ErrInvalidName, directory.ErrUnreadable, eas.ErrNoAnswer} {
		source.fail, source.asked = fmt.Errorf("ask: %w", err), 0
		if n, _, err := o.Ask(t.Context(), []string{"first@corp.example", "second@corp.example"}, 100); n != 2 || source.asked != 2 || err == nil {
			t.Errorf("%d questions, the source saw %d, %v", n, source.asked, err)
		}
	}
	source.fail = nil
	if n, _, err := o.Ask(t.Context(), []string{"third@corp.example"}, 100); n != 1 || err != nil {
		t.Errorf("afterwards: %d questions, %v", n, err)
	}
}

// TestOnlineIsNobodysToStop lets somebody hang up in the middle of a question: others must be able to ask on. A clock that was
// ahead when a question was put does not keep it from being put again.
func TestOnlineIsNobodysToStop(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	source := &oracle{}
	o := &Online{Sync: &directory.Sync{Source: source, Store: c, Now: func() time.Time { return now }}, Known: c,
		Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
	ctx, hangUp := context.WithCancel(t.Context())
	source.fail = context.Canceled
	source.before = hangUp
	if _, _, err := o.Ask(ctx, []string{"first@corp.example"}, 100); err == nil {
		t.Error("a question without an answer has one")
	}
	source.fail, source.before = nil, nil
	if n, _, err := o.Ask(t.Context(), []string{"second@corp.example"}, 100); n != 1 || err != nil {
		t.Errorf("after somebody hung up: %d questions, %v", n, err)
	}
	now = now.AddDate(-1, 0, 0)
	if n, _, _ := o.Ask(t.Context(), []string{"second@corp.example"}, 100); n != 1 {
		t.Error("a question of the future is remembered")
	}
}
