package directory_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// TestBudgetOfRequests walks an address book in nightly pieces, with a night in between on which the server is down.
func TestBudgetOfRequests(t *testing.T) {
	b := newBook(t, 1_000, 1)
	n := newNight(t, b)
	n.sync.MaxRequests = 100
	var r directory.Report
	var err error
	nights := 0
	for ; nights < 30; nights++ {
		b.fail = nil
		if nights == 3 {
			b.fail = func(string, int) error { return passing{time.Hour} }
		}
		before := b.requests
		r, err = n.sync.Run(t.Context(), false)
		n.now = n.now.AddDate(0, 0, 5)
		if asked := b.requests - before; asked > 100 || r.PartRequests != asked {
			t.Fatalf("%d requests in one run, reported as %d", asked, r.PartRequests)
		}
		if err == nil {
			break
		}
		if nights == 3 {
			continue
		}
		hint, _ := errors.AsType[interface {
			error
			Hint() string
		}](err)
		if !errors.Is(err, directory.ErrBudget) || r.Outcome != directory.Paused || !strings.Contains(hint.Hint(), "sync.max_requests") {
			t.Fatalf("outcome %s, error %v", r.Outcome, err)
		}
		h, _, _, _ := n.cache.History(t.Context())
		if !h.Finished.IsZero() || !strings.Contains(h.Error, "100 requests") || h.Hint == "" {
			t.Fatalf("history %+v", h)
		}
	}
	if err != nil || r.Outcome != directory.Complete || r.Entries != 1_000 || r.Missing != 0 {
		t.Fatalf("after %d nights: %+v, %v", nights, r, err)
	}
	if r.Parts < 5 || r.Requests <= r.PartRequests || !r.Started.Equal(epoch) || !r.Began.After(r.Started) {
		t.Errorf("parts %d, requests %d and %d, started %v, began %v", r.Parts, r.Requests, r.PartRequests, r.Started, r.Began)
	}
	if h, _, _, _ := n.cache.History(t.Context()); !h.Finished.Equal(epoch) {
		t.Errorf("the walk counts as of %v, not of its begin", h.Finished)
	}
}

func TestBudgetOfTime(t *testing.T) {
	b := newBook(t, 600, 0)
	n := newNight(t, b)
	n.sync.MaxDuration = time.Minute
	b.fail = func(string, int) error {
		n.now = n.now.Add(time.Second)
		return nil
	}
	r, err := n.sync.Run(t.Context(), false)
	if !errors.Is(err, directory.ErrBudget) || r.Outcome != directory.Paused || r.PartRequests != 60 {
		t.Fatalf("report %+v, error %v; want paused after 60 requests", r, err)
	}
}

// TestBudgetEndsAmongGroups: what the groups still lack is asked for by the next run, and nothing else.
func TestBudgetEndsAmongGroups(t *testing.T) {
	b := newBook(t, 50, 0)
	for i := range 30 {
		b.group(directory.Address(fmt.Sprintf("team%d@corp.example", i)), b.people[0].record.Primary)
	}
	n := newNight(t, b)
	whole := newNight(t, b).run().Requests
	n.sync.MaxRequests = whole - 10
	if _, err := n.sync.Run(t.Context(), false); !errors.Is(err, directory.ErrBudget) {
		t.Fatal(err)
	}
	b.asked = nil
	if r := n.run(); r.Outcome != directory.Complete || len(b.asked) != 10 {
		t.Errorf("report %+v after %q; want the ten groups that were left", r, b.asked)
	}
}

// TestOneBadQuestion: an answer that is never usable keeps nobody else waiting.
func TestOneBadQuestion(t *testing.T) {
	b := newBook(t, 900, 1)
	n := newNight(t, b)
	n.run()
	before := n.now.AddDate(0, 0, -1)
	b.people[0].gone = true
	for name, failure := range map[string]error{"in trouble": passing{}, "unreadable": fmt.Errorf("%w: too long", directory.ErrUnreadable)} {
		b.fail = func(prefix string, _ int) error {
			if strings.HasPrefix("quirin", prefix) || strings.HasPrefix(prefix, "quirin") {
				return failure
			}
			return nil
		}
		synctest.Test(t, func(t *testing.T) {
			for range 2 {
				r, err := n.sync.Run(context.Background(), false)
				n.now = n.now.AddDate(0, 0, 1)
				if err != nil || r.Outcome != directory.Incomplete || len(r.Gaps) != 1 || r.Reasons[r.Gaps[0]] == "" || !strings.Contains(r.GapReason(r.Gaps[0]), failure.Error()) {
					t.Fatalf("%s: report %+v, error %v; want one gap with its reason", name, r, err)
				}
			}
		})
	}
	if n.has(b.people[0].record.Primary) {
		t.Error("ageing stood still everywhere")
	}
	h, _, _, _ := n.cache.History(t.Context())
	for _, p := range b.people[1:] {
		e, err := n.entry(p.record.Primary)
		want := n.now.AddDate(0, 0, -1)
		if strings.HasPrefix(string(p.record.Primary), h.Gaps[0].Prefix) {
			want = before
		}
		if err != nil || !h.Seen(e).Equal(want) || !e.Missing.IsZero() {
			t.Fatalf("%s: %v, seen %v, want %v", p.record.Primary, err, h.Seen(e), want)
		}
	}
	b.fail = nil
	if r := n.run(); r.Outcome != directory.Complete {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestTroubleThatPasses: what was passed over is asked for once more at the end.
func TestTroubleThatPasses(t *testing.T) {
	b := newBook(t, 500, 0)
	n := newNight(t, b)
	bad := 0
	b.fail = func(prefix string, _ int) error {
		if strings.HasPrefix(prefix, "q") && bad < 5 {
			bad++
			return passing{}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		if r, err := n.sync.Run(context.Background(), false); err != nil || r.Outcome != directory.Complete || r.Entries != 500 {
			t.Errorf("report %+v, %v", r, err)
		}
	})
}

// TestUnknownPartThatFailedIsNotForgotten: a leaf that nobody is known in, and that failed when it was asked for the first
// time, is asked in the next run and not after weeks.
func TestUnknownPartThatFailedIsNotForgotten(t *testing.T) {
	b := newBook(t, 500, 0)
	b.add("!odd@corp.example")
	n := newNight(t, b)
	b.fail = func(prefix string, _ int) error {
		if prefix == "!" {
			return fmt.Errorf("%w: not now", directory.ErrUnreadable)
		}
		return nil
	}
	n.run()
	b.fail = nil
	if n.run(); !n.has("!odd@corp.example") {
		t.Error("a part that could not be asked waits for its turn")
	}
}

func TestServerThatIsDownEndsTheRun(t *testing.T) {
	for _, knownOnly := range []bool{false, true} {
		b := newBook(t, 40, 0)
		n := newNight(t, b)
		n.sync.KnownOnly = knownOnly
		for _, p := range b.people {
			n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
		}
		down := 20
		b.fail = func(_ string, n int) error {
			if n > down {
				return passing{}
			}
			return nil
		}
		synctest.Test(t, func(t *testing.T) {
			r, err := n.sync.Run(context.Background(), false)
			if err == nil || r.Outcome != directory.Failed || len(r.Gaps) != 0 || r.PartRequests != 20+5+1+1 {
				t.Errorf("known only %t: report %+v, error %v; want a failure after 27 requests", knownOnly, r, err)
			}
			b.fail, b.asked = nil, nil
			if r, err := n.sync.Run(context.Background(), false); err != nil || r.Outcome != directory.Complete || r.Entries != 40 {
				t.Errorf("known only %t: afterwards %+v, %v", knownOnly, r, err)
			}
		})
	}
}

// TestNobodyAnswered: with few questions to ask, an outage must not look like a run with gaps.
func TestNobodyAnswered(t *testing.T) {
	b := newBook(t, 2, 0)
	n := newNight(t, b)
	n.sync.KnownOnly = true
	n.sync.Addresses = []directory.Address{b.people[0].record.Primary, b.people[1].record.Primary}
	n.run()
	b.fail = func(string, int) error { return passing{} }
	synctest.Test(t, func(t *testing.T) {
		r, err := n.sync.Run(context.Background(), false)
		if err == nil || r.Outcome != directory.Failed {
			t.Errorf("report %+v, error %v; want failed", r, err)
		}
	})
	if h, _, _, _ := n.cache.History(t.Context()); !h.Finished.Equal(epoch) {
		t.Errorf("finished %v, want the first run", h.Finished)
	}
}

// TestNothingToGoOnFrom: a run that failed before anything was answered is not resumed. Its beginning would make what the next
// one finds look older than it is.
func TestNothingToGoOnFrom(t *testing.T) {
	for _, knownOnly := range []bool{false, true} {
		b := newBook(t, 20, 0)
		n := newNight(t, b)
		n.sync.KnownOnly = knownOnly
		n.sync.Addresses = []directory.Address{b.people[0].record.Primary}
		b.fail = func(string, int) error { return passing{} }
		synctest.Test(t, func(t *testing.T) {
			if r, err := n.sync.Run(context.Background(), false); err == nil || r.Outcome != directory.Failed {
				t.Errorf("known only %t: report %+v, error %v; want failed", knownOnly, r, err)
			}
			n.now, b.fail = n.now.Add(20*time.Hour), nil
			r, err := n.sync.Run(context.Background(), false)
			if err != nil || r.Parts != 1 || !r.Started.Equal(n.now) {
				t.Errorf("known only %t: report %+v, error %v; want one that began %v", knownOnly, r, err, n.now)
			}
		})
		if h, _, _, _ := n.cache.History(t.Context()); !h.Finished.Equal(n.now) {
			t.Errorf("known only %t: finished %v, want %v", knownOnly, h.Finished, n.now)
		}
	}
}

func TestPaceIsShared(t *testing.T) {
	b := newBook(t, 20, 0)
	n := newNight(t, b)
	synctest.Test(t, func(t *testing.T) {
		n.sync.Pace = directory.NewPace(2)
		start := time.Now()
		for range 5 {
			if _, err := n.sync.Ask(context.Background(), b.people[0].record.Primary); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("five questions at two a second took %v", took)
		}
		copied := n.sync // as for each run
		if _, err := copied.Ask(context.Background(), "x@corp.example"); err != nil || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("after %v, %v: runs and questions have a pace each", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		asked := b.requests
		if _, err := n.sync.Ask(ctx, "y@corp.example"); !errors.Is(err, directory.ErrNoRoom) || b.requests != asked {
			t.Errorf("error %v after %d requests; want ErrNoRoom and none", err, b.requests-asked)
		}
	})
}

func TestQuestionsAreForgotten(t *testing.T) {
	b := newBook(t, 1, 0)
	n := newNight(t, b)
	count := func() (kept int) {
		err := n.cache.View(func(tx directory.Tx) error {
			return tx.States("asked/", func(string, []byte) error { kept++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	for i := range 999 {
		if _, err := n.sync.Ask(t.Context(), directory.Address(fmt.Sprintf("old%d@corp.example", i))); err != nil {
			t.Fatal(err)
		}
	}
	n.now = n.now.Add(directory.MemoryOfQuestions + time.Hour)
	if count() != 999 {
		t.Fatalf("%d remembered", count())
	}
	if _, err := n.sync.Ask(t.Context(), "new@corp.example"); err != nil || count() != 1 {
		t.Errorf("%d remembered without any run, %v; want the new one alone", count(), err)
	}
	n.now = n.now.Add(directory.MemoryOfQuestions + time.Hour)
	b.fail = func(string, int) error { return errors.New("down") }
	if _, err := n.sync.Run(t.Context(), false); err == nil || count() != 0 {
		t.Errorf("%d remembered after a run that failed (%v); want none", count(), err)
	}
}

// TestEstimatedEnd compares the estimate on the way with the end, when the pace decides how long it takes.
func TestEstimatedEnd(t *testing.T) {
	b := newBook(t, 2_000, 0)
	for i := range 80 {
		b.group(directory.Address(fmt.Sprintf("team%d@corp.example", i)), b.people[0].record.Primary)
	}
	// Of an address book that nobody has seen yet, how many people each letter has can only be guessed.
	for when, most := range map[string]float64{"first": 0.4, "second": 0.4, "resumed": 0.4} {
		synctest.Test(t, func(t *testing.T) {
			n := newNight(t, b)
			n.sync.Now = time.Now
			switch when {
			case "second":
				n.sync.Run(context.Background(), false)
			case "resumed":
				n.sync.MaxRequests = 400
				n.sync.Run(context.Background(), false)
				n.sync.MaxRequests = 0
				time.Sleep(24 * time.Hour)
			}
			n.sync.Pace = directory.NewPace(5)
			type guess struct {
				at, end time.Time
				phase   string
			}
			var guesses []guess
			n.sync.Progress = func(p directory.Progress) {
				if !p.End.IsZero() {
					guesses = append(guesses, guess{time.Now(), p.End, p.Phase})
				}
			}
			start := time.Now()
			if _, err := n.sync.Run(context.Background(), false); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			worst := map[string]float64{}
			for _, g := range guesses {
				if g.at.Sub(start) > took/2 {
					worst[g.phase] = max(worst[g.phase], g.end.Sub(start.Add(took)).Abs().Seconds()/took.Seconds())
				}
			}
			t.Logf("%s: %v; after half of it the estimate was wrong by at most %v of it", when, took.Round(time.Second), worst)
			if len(guesses) < 10 || worst[directory.PhaseWalk] > most || worst[directory.PhaseGroups] > 0.05 {
				t.Errorf("%s: %d estimates, wrong by %v", when, len(guesses), worst)
			}
		})
	}
}

// TestSilenceIsKept: while the server wants to be left alone nobody asks, neither a run nor a single question.
func TestSilenceIsKept(t *testing.T) {
	b := newBook(t, 40, 0)
	n := newNight(t, b)
	synctest.Test(t, func(t *testing.T) {
		n.sync.Now, n.sync.Pace = time.Now, directory.NewPace(1000)
		silence, quiet := 2*time.Minute, time.Time{}
		b.fail = func(string, int) error {
			if now := time.Now(); now.Before(quiet) {
				t.Errorf("asked %v before the end of the silence", quiet.Sub(now))
			}
			if b.requests%20 == 0 {
				quiet = time.Now().Add(silence)
				return passing{silence}
			}
			return nil
		}
		start := time.Now()
		r, err := n.sync.Run(context.Background(), false)
		if err != nil || r.Outcome != directory.Complete || time.Since(start) < time.Duration(r.Requests/20)*silence {
			t.Fatalf("%+v, %v after %v", r, err, time.Since(start))
		}
		quick := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			defer cancel()
			_, err := n.sync.Ask(ctx, b.people[0].record.Primary)
			return err
		}
		for b.requests%20 != 19 {
			if err := quick(); err != nil {
				t.Fatal(err)
			}
		}
		silence = time.Hour
		if err := quick(); !errors.As(err, &passing{}) {
			t.Fatal(err)
		}
		asked := b.requests
		if err := quick(); err == nil || b.requests != asked {
			t.Errorf("a question in the silence: %v, %d requests", err, b.requests-asked)
		}
		if r, err := n.sync.Run(context.Background(), false); err == nil || r.Outcome != directory.Failed || b.requests != asked || !strings.Contains(err.Error(), "left alone until") {
			t.Errorf("a run in the silence: %+v, %v, %d requests", r, err, b.requests-asked)
		}
		time.Sleep(time.Hour)
		if r, err := n.sync.Run(context.Background(), false); err != nil || r.Outcome != directory.Complete {
			t.Errorf("a run after it: %+v, %v", r, err)
		}
	})
}

// TestNewPersonAnywhere puts newcomers at random places of the address book and holds the promise of EmptyPeriod.
func TestNewPersonAnywhere(t *testing.T) {
	const chars = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"
	const rare = "!#$%*/=?^`{|}~"
	rng := mathrand.New(mathrand.NewPCG(3, 4))
	b := newBook(t, 600, 0)
	n := newNight(t, b)
	for range 1 + rng.IntN(5) {
		n.run()
	}
	var newcomers []directory.Address
	for i := range 80 {
		local := ""
		if i%2 == 0 { // beside somebody
			name, _, _ := strings.Cut(string(b.people[rng.IntN(600)].record.Primary), "@")
			local = name[:1+rng.IntN(len(name)-1)]
		}
		for range 1 + rng.IntN(4) {
			local += string(chars[rng.IntN(len(chars))])
		}
		a, err := directory.ParseAddress(fmt.Sprintf("%s%d@new%d.example", local, i, i%7))
		if err != nil {
			t.Fatal(err)
		}
		b.add(a)
		newcomers = append(newcomers, a)
	}
	for run := 1; run <= 3*14; run++ {
		n.run()
		for _, a := range newcomers {
			if due := run == 14 && !strings.ContainsAny(string(a), rare) || run == 3*14; due && !n.has(a) {
				t.Errorf("%s was not found within %d runs", a, run)
			}
		}
	}
}
