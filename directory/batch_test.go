package directory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// batchBook is a book that answers in batches and shows one address of each person, as ActiveSync does.
type batchBook struct {
	*book
	batches   int
	dieAfter  int // batches; 0 is never
	noAnswer  map[directory.Address]error
	unlisted  map[directory.Address]bool // not found by a search
	wiped     bool                       // the order to wipe
	poison    directory.Address          // batches with it fail
	poisons   map[directory.Address]bool // and with one of these
	confirmed int
}

func (b *batchBook) BatchSize() int { return 100 }

func (b *batchBook) ResolveBatch(ctx context.Context, addresses []directory.Address) ([]directory.Resolved, int, error) {
	if b.wiped {
		return nil, 1, fmt.Errorf("ask: %w", directory.ErrRemoteWipe)
	}
	if b.batches++; b.dieAfter > 0 && b.batches > b.dieAfter {
		return nil, 1, errors.New("the server is gone")
	}
	if slices.Contains(addresses, b.poison) || slices.ContainsFunc(addresses, func(a directory.Address) bool { return b.poisons[a] }) {
		return nil, 1, passing{}
	}
	var all []directory.Resolved
	for _, a := range addresses {
		r := directory.Resolved{Err: b.noAnswer[a]}
		if r.Err == nil {
			r.Resolution, r.Err = b.Resolve(ctx, a)
			for i := range r.Records {
				b.partial(&r.Records[i])
			}
			r.Unlisted = false
		}
		all = append(all, r)
	}
	return all, 1, nil
}

func (b *batchBook) partial(rec *directory.Record) {
	rec.Addresses, rec.Partial, rec.Kind = []directory.Address{rec.Primary}, true, ""
}

func (b *batchBook) Search(ctx context.Context, prefix string, certificates bool) (directory.Answer, error) {
	answer, err := b.book.Search(ctx, prefix, certificates)
	kept := answer.Records[:0]
	for _, rec := range answer.Records {
		b.partial(&rec)
		if why := b.noAnswer[rec.Primary]; why != nil {
			rec.Undetermined, rec.Values = why.Error(), nil
		}
		if !strings.HasPrefix(string(rec.Primary), prefix) {
			answer.Others++
		} else if !b.unlisted[rec.Primary] {
			kept = append(kept, rec)
		}
	}
	answer.Records = kept
	return answer, err
}

func (b *batchBook) ConfirmWipe(context.Context) error {
	b.confirmed++
	b.wiped = false
	return nil
}

// newBatchNight is a night over known addresses.
func newBatchNight(t *testing.T, people int) (*night, *batchBook) {
	b := &batchBook{book: newBook(t, people, 3)}
	n := newNight(t, b.book)
	n.sync.Source, n.sync.KnownOnly = b, true
	for _, p := range b.people {
		n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
	}
	return n, b
}

// TestRefreshInBatches: N addresses cost N/100 requests; a server that dies costs the batch it died in.
func TestRefreshInBatches(t *testing.T) {
	n, b := newBatchNight(t, 1234)
	b.dieAfter = 5
	if rep, err := n.sync.Run(t.Context(), false); err == nil || rep.Entries != 500 || rep.Outcome != directory.Failed {
		t.Fatalf("%+v, %v", rep, err)
	}
	b.dieAfter, b.batches = 0, 0
	if rep := n.run(); rep.Entries != 1234 || b.batches != 8 || rep.PartRequests != 8 {
		t.Errorf("%d entries after %d batches and %d requests", rep.Entries, b.batches, rep.PartRequests)
	}
	b.batches = 0
	if rep := n.run(); b.batches != 13 || rep.Added+rep.Changed+rep.Missing != 0 {
		t.Errorf("%d batches, %+v", b.batches, rep)
	}
}

// TestPoison: one address that the server stumbles over costs some requests more, and nobody else.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, b := newBatchNight(t, 300)
		n.run()
		b.poison, b.batches = b.people[7].record.Primary, 0
		for range 3 {
			rep := n.run()
			if rep.Outcome != directory.Incomplete || len(rep.Unanswered()) != 1 || rep.Undetermined[string(b.poison)] == "" || rep.Missing+rep.Removed != 0 {
				t.Errorf("%+v", rep)
			}
		}
		if b.batches > 3*(3+5+2*8) {
			t.Errorf("%d batches", b.batches)
		}
		n.sync.KnownOnly, n.sync.Addresses = false, nil
		b.unlisted = map[directory.Address]bool{b.poison: true}
		n.run()
		n.run()
		if !n.has(b.poison) {
			t.Error("who is not answered for is gone")
		}
	})
}

// TestManyPoisons: many addresses that the server stumbles over keep nobody else waiting, and do not end the runs after the
// first: they must not be the ones that the next one begins with.
func TestManyPoisons(t *testing.T) {
	for _, batches := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n, b := newBatchNight(t, 1800)
			bad := map[directory.Address]bool{}
			fail := func(a string, _ int) error {
				if bad[directory.Address(a)] {
					return fmt.Errorf("%w: too long", directory.ErrUnreadable)
				}
				return nil
			}
			if !batches {
				n.sync.Source = b.book
				b.fail = fail
			}
			n.run()
			last := n.now
			var all []directory.Address
			for _, p := range b.people {
				all = append(all, p.record.Primary)
			}
			slices.Sort(all)
			for i := 5; i < len(all); i += 15 {
				bad[all[i]] = true
			}
			b.poisons = bad
			for range 3 {
				last = n.now
				rep, err := n.sync.Run(context.Background(), false)
				if err != nil || rep.Outcome != directory.Incomplete || rep.UndeterminedCount != len(bad) || rep.Missing+rep.Removed != 0 {
					t.Fatalf("in batches %t: %+v, %v; want %d addresses without an answer", batches, rep, err, len(bad))
				}
				n.now = n.now.AddDate(0, 0, 1)
			}
			for _, a := range all {
				want := last
				if bad[a] {
					want = epoch
				}
				if e, err := n.entry(a); err != nil {
					t.Fatal(err)
				} else if h, _, _, _ := n.cache.History(context.Background()); !h.Seen(e).Equal(want) {
					t.Fatalf("in batches %t: %s was seen %s, want %s", batches, a, h.Seen(e), want)
				}
			}
		})
	}
}

// TestNoUsableAnswer: an address without a usable answer keeps what is known of it, grows old, and is named.
func TestNoUsableAnswer(t *testing.T) {
	for _, known := range []bool{true, false} {
		n, b := newBatchNight(t, 300)
		n.sync.KnownOnly = known
		n.run()
		victim := b.people[0].record.Primary
		was, err := n.entry(victim)
		if err != nil {
			t.Fatal(err)
		}
		stranger := b.add("somebody.new@corp.example").record.Primary
		n.sync.Addresses = append(n.sync.Addresses, stranger)
		b.noAnswer = map[directory.Address]error{victim: errors.New("ambiguous"), stranger: errors.New("ambiguous")}
		for range 3 {
			rep, err := n.sync.Run(t.Context(), true)
			if err != nil || rep.Outcome != directory.Incomplete || rep.GapReason(string(victim)) != "ambiguous" || rep.Missing+rep.Removed != 0 {
				t.Fatalf("known only %v: %+v, %v", known, rep, err)
			}
			n.now = n.now.AddDate(0, 0, 1)
		}
		is, err := n.entry(victim)
		if err != nil || len(is.Certificates) != len(was.Certificates) || is.Undetermined != "" {
			t.Errorf("known only %v: %+v, %v", known, is, err)
		}
		if e, err := n.entry(stranger); !known && (err != nil || e.Undetermined != "ambiguous") {
			t.Errorf("the new entry is %+v, %v", e, err)
		}
		b.noAnswer = nil
		if rep, err := n.sync.Run(t.Context(), true); err != nil || rep.Outcome != directory.Complete {
			t.Errorf("known only %v: %+v, %v", known, rep, err)
		}
		if e, err := n.entry(stranger); err != nil || e.Undetermined != "" {
			t.Errorf("then it is %+v, %v", e, err)
		}
	}
}

// TestTooMuchWithoutAnswer: a server that says nothing about anybody ends the run.
func TestTooMuchWithoutAnswer(t *testing.T) {
	n, b := newBatchNight(t, 1500)
	b.noAnswer = map[directory.Address]error{}
	for _, p := range b.people {
		b.noAnswer[p.record.Primary] = errors.New("one of the own contacts")
	}
	if rep, err := n.sync.Run(t.Context(), false); err == nil || !strings.Contains(err.Error(), "own contacts") || rep.Outcome != directory.Failed {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestConfirm: who a search does not find any more, but an exact question does, stays.
func TestConfirm(t *testing.T) {
	n, b := newBatchNight(t, 200)
	n.sync.KnownOnly, n.sync.Addresses = false, nil
	n.run()
	hidden, gone := b.people[0].record.Primary, b.people[1]
	b.unlisted, gone.gone = map[directory.Address]bool{hidden: true}, true
	first, second := n.run(), n.run()
	if first.Missing != 1 || second.Removed != 1 {
		t.Errorf("missing %d, then removed %d", first.Missing, second.Removed)
	}
	if !n.has(hidden) || n.has(gone.record.Primary) {
		t.Errorf("hidden is there: %v, gone is there: %v", n.has(hidden), n.has(gone.record.Primary))
	}
}

// TestPartial: a protocol that shows less changes nothing of what another one told, and proves addresses in turns.
func TestPartial(t *testing.T) {
	n, b := newBatchNight(t, 100)
	b.people[0].record.Addresses = append(b.people[0].record.Addresses, "alias@corp.example")
	b.people[0].record.Values = []directory.Value{
		{Property: directory.UserSMIMECertificate, Data: certificate(t, "x@corp.example", time.Time{})},
		{Property: directory.MSExchangeCertificate, Data: certificate(t, "x@corp.example", epoch.AddDate(-1, 0, 0))},
	}
	primary := b.people[0].record.Primary
	n.sync.Source, n.sync.KnownOnly, n.sync.Addresses = b.book, false, nil
	n.run()
	full, _ := n.entry(primary)
	n.sync.Source = b
	b.people[0].record.Values = []directory.Value{{Property: directory.ActiveSyncCertificate, Data: b.people[0].record.Values[0].Data}}
	n.run()
	e, err := n.entry(primary)
	if err != nil || len(e.Certificates) != 2 || e.Certificates[0].Property != directory.UserSMIMECertificate || e.Kind != full.Kind {
		t.Errorf("%+v, %v", e, err)
	}
	if len(e.Owned()) != len(full.Owned()) {
		t.Errorf("owns %v, before %v", e.Owned(), full.Owned())
	}
	b.people[0].record.Addresses = []directory.Address{primary} // the aliases are gone
	for range 8 {
		n.run()
	}
	if e, _ := n.entry(primary); len(e.Owned()) != 1 {
		t.Errorf("still owns %v", e.Owned())
	}
}

// TestWipe: the cache is emptied, one that was set aside goes as well, the server is told, and the next run fills it again.
func TestWipe(t *testing.T) {
	n, b := newBatchNight(t, 700)
	n.run()
	b.wiped = true
	aside := n.cache.Path() + ".aside"
	if err := os.WriteFile(aside, []byte("an old cache"), 0o600); err != nil {
		t.Fatal(err)
	}
	rep, err := n.sync.Run(t.Context(), false)
	if _, err := os.Stat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache that was set aside is still there: %v", err)
	}
	if !errors.Is(err, directory.ErrRemoteWipe) || rep.Entries != 0 || b.confirmed != 1 {
		t.Errorf("%+v, %v, told %d times", rep, err, b.confirmed)
	}
	if rep := n.run(); rep.Entries != 700 {
		t.Errorf("%d entries again", rep.Entries)
	}
}

// TestBeginningsOfMany: the beginning of more than a hundred addresses need not be anybody's; that the server gives no usable
// answer about it makes no gap of those others, unless somebody is known to be there.
func TestBeginningsOfMany(t *testing.T) {
	b := &batchBook{book: newBook(t, 0, 0), noAnswer: map[directory.Address]error{}}
	for i := range 101 * 4 {
		b.add(directory.Address(fmt.Sprintf("info@%c%d.example", 'a'+i%4, i)))
	}
	for _, beginning := range []directory.Address{"info@a", "info@b", "info@c", "info@d"} {
		b.noAnswer[beginning] = errors.New("several entries match")
	}
	n := newNight(t, b.book)
	n.sync.Source = b
	for range 2 {
		if report := n.run(); report.Outcome != directory.Complete || report.Entries != len(b.people) {
			t.Errorf("%s, %d entries, gaps %v", report.Outcome, report.Entries, report.Unanswered())
		}
	}
	delete(b.noAnswer, "info@a")
	b.add("info@a")
	n.run()
	b.noAnswer["info@a"] = errors.New("several entries match")
	if report := n.run(); !slices.Equal(report.Unanswered(), []string{"info@a"}) {
		t.Errorf("somebody is there: %v", report.Unanswered())
	}
}
