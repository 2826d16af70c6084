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

func TestWalkFindsEverybody(t *testing.T) {
	b := newBook(t, unlessRace(10_000, 2_500), 7)
	for _, odd := range []directory.Address{"o'neil+x@corp.example", "_svc@corp.example", "#1@corp.example", "a@b", "~z@corp.example", "9@corp.example"} {
		b.add(odd)
	}
	for i := range 150 {
		b.add(directory.Address(fmt.Sprintf("info@d%03d.example", i)))
	}
	n := newNight(t, b)
	r := n.run()
	if r.Outcome != directory.Complete || r.Entries != len(b.people) || r.Added != len(b.people) {
		t.Fatalf("report %+v, want complete with %d entries", r, len(b.people))
	}
	for _, p := range b.people {
		if !n.has(p.record.Primary) {
			t.Errorf("%s was not found", p.record.Primary)
		}
	}
	t.Logf("first walk: %d requests, %.3f per person", r.Requests, float64(r.Requests)/float64(len(b.people)))
	before := written(t)
	r = n.run()
	bytes := written(t) - before
	t.Logf("second walk: %d requests, %.3f per person, %d KiB written", r.Requests, float64(r.Requests)/float64(len(b.people)), bytes>>10)
	if r.Outcome != directory.Complete || r.Added+r.Changed+r.Missing+r.Removed != 0 {
		t.Errorf("second report %+v, want complete without news", r)
	}
	if most := len(b.people) / 4; r.Requests > most {
		t.Errorf("second walk took %d requests, more than %d", r.Requests, most)
	}
	if bytes > 1<<20 {
		t.Errorf("an unchanged walk wrote %d bytes, more than 1 MiB", bytes)
	}
}

// unlessRace is how many people there are, and how many under the race detector, which is ten times as slow.
func unlessRace(n, race int) int {
	if raceEnabled {
		return race
	}
	return n
}

func TestLettersAboveASCII(t *testing.T) {
	b := &book{limit: 100}
	for i := range 250 {
		b.add(directory.Address(fmt.Sprintf("jür%03d@corp.example", i)))
	}
	if r := newNight(t, b).run(); r.Entries != 250 || r.Outcome != directory.Complete {
		t.Errorf("report %+v, want complete with 250 entries", r)
	}
}

// written are the bytes that this process has handed to write calls so far.
func written(t *testing.T) (n int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "wchar: ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNewPeopleAreFoundInTime(t *testing.T) {
	b := newBook(t, unlessRace(3_000, 1_000), 0)
	n := newNight(t, b)
	n.run()
	newcomers := []directory.Address{"michael.aa@corp.example", "quentin@corp.example", "yy@corp.example", "!odd@corp.example", "michael.~@corp.example"}
	for _, a := range newcomers {
		b.add(a)
	}
	for range 3 * 14 {
		n.run()
	}
	for _, a := range newcomers {
		if !n.has(a) {
			t.Errorf("%s was not found within three times EmptyPeriod runs", a)
		}
	}
}

func TestFullAsksEverything(t *testing.T) {
	b := newBook(t, 500, 0)
	n := newNight(t, b)
	n.run()
	b.add("!odd@corp.example")
	if _, err := n.sync.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if !n.has("!odd@corp.example") {
		t.Error("a full run did not find a new entry in an empty part")
	}
}

func TestLeaverGoesAfterSecondRun(t *testing.T) {
	b := newBook(t, 300, 1)
	n := newNight(t, b)
	n.run()
	leaver, back := b.people[10], b.people[20]
	leaver.gone, back.gone = true, true

	r := n.run()
	if r.Missing != 2 || r.Removed != 0 || !n.has(leaver.record.Primary) {
		t.Fatalf("after one run without them: %+v; want 2 missing and both kept", r)
	}
	e, _ := n.entry(leaver.record.Primary)
	if !e.Missing.Equal(epoch.AddDate(0, 0, 1)) || !e.LastSeen.Equal(epoch) {
		t.Errorf("missing since %v, last seen %v; want the second and the first run", e.Missing, e.LastSeen)
	}
	back.gone = false
	r = n.run()
	if r.Removed != 1 || n.has(leaver.record.Primary) || !n.has(back.record.Primary) {
		t.Errorf("after two runs: %+v; want the leaver removed and the other kept", r)
	}
	if e, _ := n.entry(back.record.Primary); !e.Missing.IsZero() {
		t.Error("the one who came back is still marked missing")
	}
	if sightings, _ := n.cache.Lookup(t.Context(), leaver.record.Primary); len(sightings) != 0 {
		t.Error("the index still knows the leaver")
	}
}

func TestFailedRunKeepsEverythingAndResumes(t *testing.T) {
	for _, failure := range []error{errors.New("401 unauthorized"), passing{time.Hour}} {
		t.Run(failure.Error(), func(t *testing.T) {
			b := newBook(t, 2_000, 1)
			n := newNight(t, b)
			first := n.run()
			for _, p := range b.people[:100] {
				p.gone = true
			}
			at := b.requests + 40
			b.fail = func(_ string, n int) error {
				if n > at {
					return failure
				}
				return nil
			}
			for range 3 {
				r, err := n.sync.Run(t.Context(), false)
				if !errors.Is(err, failure) || r.Outcome != directory.Failed {
					t.Fatalf("outcome %s, error %v; want failed with %v", r.Outcome, err, failure)
				}
			}
			if got := n.count(); got != first.Entries {
				t.Fatalf("%d entries after failed runs, want %d", got, first.Entries)
			}
			h, _, _, _ := n.cache.History(t.Context())
			if h.Error == "" || !h.Finished.Equal(epoch) {
				t.Errorf("history %+v; want the error, and the first run as the last finished one", h)
			}
			b.fail, b.asked = nil, nil
			r := n.run()
			if r.Missing != 100 || r.Removed != 0 {
				t.Errorf("resumed run: %+v; want 100 missing", r)
			}
			if len(b.asked) >= r.Requests {
				t.Errorf("the resumed run asked %d of %d again: everything", len(b.asked), r.Requests)
			}
		})
	}
}

func (n *night) count() (entries int) {
	n.t.Helper()
	err := n.cache.View(func(tx directory.Tx) (err error) {
		entries, _, err = tx.Totals()
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return entries
}

func TestResumeAtEveryPoint(t *testing.T) {
	b := newBook(t, 900, 3)
	want := len(b.people)
	n := newNight(t, b)
	for every := 7; ; every += 5 {
		at := b.requests + every
		b.fail = func(_ string, n int) error {
			if n >= at {
				return errors.New("gone")
			}
			return nil
		}
		r, err := n.sync.Run(t.Context(), false)
		if err == nil {
			if r.Entries != want || r.Outcome != directory.Complete {
				t.Fatalf("report %+v, want complete with %d", r, want)
			}
			break
		}
	}
	for _, p := range b.people {
		if !n.has(p.record.Primary) {
			t.Errorf("%s is missing after resumed runs", p.record.Primary)
		}
	}
}

func TestGuard(t *testing.T) {
	for name, spoil := range map[string]func(*book){
		"people gone":         func(b *book) { remove(b.people[:100]) },
		"certificates hidden": func(b *book) { b.hide = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, 400, 10)
			n := newNight(t, b)
			first := n.run()
			spoil(b)
			for range 4 {
				r := n.run()
				if r.Outcome != directory.Guarded || r.Entries != first.Entries || r.Certified != first.Certified {
					t.Fatalf("report %+v; want guarded with %d entries, %d certified", r, first.Entries, first.Certified)
				}
			}
			h, _, _, _ := n.cache.History(t.Context())
			if !h.Finished.Equal(epoch) {
				t.Error("a guarded run counts as one that confirmed the entries")
			}
			n.sync.MaxRemovals = 1
			if r := n.run(); r.Outcome != directory.Complete {
				t.Errorf("with max_removals 100%%: %+v, want complete", r)
			}
		})
	}
}

// TestGuardKeepsExpired: certificates that are of no use any more still say why somebody cannot be encrypted to. A server
// that hides them must not turn "expired" into "no certificate".
func TestGuardKeepsExpired(t *testing.T) {
	b := newBook(t, 100, 2)
	n := newNight(t, b)
	first := n.run()
	n.now = epoch.AddDate(20, 0, 0)
	b.hide = true
	if r := n.run(); r.Outcome != directory.Guarded || r.Changed != 0 || r.Certified != first.Certified {
		t.Errorf("report %+v; want guarded, nothing changed, %d certified", r, first.Certified)
	} else if want := fmt.Sprintf("the sync would have lost the last usable certificate of %d of %d entries", first.Certified, first.Entries); r.GuardText() != want {
		t.Errorf("%q, want %q", r.GuardText(), want)
	}
}

func TestGuardText(t *testing.T) {
	for want, r := range map[string]directory.Report{
		"the sync would have lost 28 of 28 entries":                                             {HeldLost: 28, HeldUncertified: 20, Entries: 28},
		"the sync would have lost the last usable certificate of 96 of 128 entries":             {HeldLost: 96, HeldBare: 96, HeldUncertified: 96, Entries: 128},
		"the sync would have lost 3 of 10 entries, and the last usable certificate of 2 others": {HeldLost: 5, HeldBare: 2, HeldUncertified: 4, Entries: 10},
	} {
		if got := r.GuardText(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func remove(people []*person) {
	for _, p := range people {
		p.gone = true
	}
}

func TestLostCertificateWaitsForTheEnd(t *testing.T) {
	b := newBook(t, 300, 3)
	n := newNight(t, b)
	n.run()
	var certified *person
	for _, p := range b.people {
		if len(p.record.Values) > 0 && (certified == nil || p.record.Primary < certified.record.Primary) {
			certified = p
		}
	}
	certified.record.Values = nil
	b.fail = func(prefix string, _ int) error {
		if prefix[0] > certified.record.Primary[0] {
			return errors.New("gone")
		}
		return nil
	}
	if _, err := n.sync.Run(t.Context(), false); err == nil {
		t.Fatal("the run did not fail")
	}
	if e, _ := n.entry(certified.record.Primary); len(e.Certificates) != 1 {
		t.Error("a run that failed took a certificate away")
	}
	b.fail = nil
	n.run()
	if e, _ := n.entry(certified.record.Primary); len(e.Certificates) != 0 {
		t.Error("a complete run did not take the certificate away")
	}
}

func TestRenewalAndNewPrimary(t *testing.T) {
	b := newBook(t, 200, 2)
	n := newNight(t, b)
	n.run()
	p := b.people[0]
	renewed := certificate(t, string(p.record.Primary), time.Time{})
	p.record.Values = []directory.Value{{Property: directory.UserSMIMECertificate, Data: renewed}}
	q := b.people[1]
	old := q.record.Primary
	q.record.Primary = "renamed@corp.example"
	q.record.Addresses = []directory.Address{"renamed@corp.example", old}
	for range 12 {
		n.run()
	}
	if e, _ := n.entry(p.record.Primary); len(e.Certificates) != 1 || !slices.Equal(e.Certificates[0].Raw, renewed) {
		t.Error("the renewed certificate is not there")
	}
	s, err := n.cache.Lookup(t.Context(), old)
	if err != nil || len(s) != 1 || s[0].Entry.Primary != "renamed@corp.example" {
		t.Errorf("look-up of the former primary address: %v, %v; want the renamed entry alone", s, err)
	}
}

func TestRefusedPrefixAndGap(t *testing.T) {
	b := newBook(t, 150, 0)
	b.add("-dash@corp.example")
	for range 101 { // more people with one address than an answer holds
		b.add("same@corp.example").record.Primary = directory.Address(fmt.Sprintf("same@corp.example.x%d", len(b.people)))
	}
	b.fail = func(prefix string, _ int) error {
		if strings.HasPrefix(prefix, "-") {
			return fmt.Errorf("%w: ErrorInvalidNameForNameResolution", directory.ErrInvalidName)
		}
		return nil
	}
	n := newNight(t, b)
	r := n.run()
	if r.Outcome != directory.Incomplete || !slices.Equal(r.Refused, []string{"-"}) || !slices.Contains(r.Gaps, "same@corp.example") {
		t.Errorf("outcome %s, refused %q, gaps %q", r.Outcome, r.Refused, r.Gaps)
	}
}

func TestServerThatNeverNarrows(t *testing.T) {
	b := &book{limit: 100}
	n := newNight(t, b)
	n.sync.Source = endless{}
	if _, err := n.sync.Run(t.Context(), false); !errors.Is(err, directory.ErrNoNarrowing) {
		t.Errorf("error %v, want ErrNoNarrowing", err)
	}
}

// endless says to every prefix that there is more.
type endless struct{}

func (endless) Name() string { return "endless" }
func (endless) Search(context.Context, string, bool) (directory.Answer, error) {
	return directory.Answer{Records: []directory.Record{{Primary: "a@b", Addresses: []directory.Address{"a@b"}}}, Truncated: true}, nil
}

func TestRetryAndRate(t *testing.T) {
	b := newBook(t, 50, 0)
	n := newNight(t, b)
	b.fail = func(_ string, n int) error {
		if n%3 == 1 {
			return passing{2 * time.Second}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n.sync.Pace = directory.NewPace(10)
		r, err := n.sync.Run(t.Context(), false)
		if err != nil || r.Outcome != directory.Complete {
			t.Fatalf("report %+v, error %v", r, err)
		}
		least := time.Duration(r.Requests-1)*100*time.Millisecond + time.Duration(r.Requests/3)*1500*time.Millisecond
		if took := time.Since(start); took < least/2 || took < time.Duration(r.Requests-1)*100*time.Millisecond {
			t.Errorf("%d requests in %v; want at least %v", r.Requests, took, least)
		}
	})
}

func TestStop(t *testing.T) {
	b := newBook(t, 500, 0)
	n := newNight(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	b.fail = func(_ string, n int) error {
		if n == 50 {
			cancel()
		}
		return nil
	}
	r, err := n.sync.Run(ctx, false)
	if !errors.Is(err, context.Canceled) || r.Outcome != directory.Stopped {
		t.Errorf("outcome %s, error %v; want stopped", r.Outcome, err)
	}
}

func TestProgressEnds(t *testing.T) {
	b := newBook(t, 2_000, 0)
	n := newNight(t, b)
	var last directory.Progress
	backwards := 0
	n.sync.Progress = func(p directory.Progress) {
		if p.Fraction < last.Fraction {
			backwards++
		}
		last = p
	}
	n.run()
	if backwards > 0 || last.Fraction < 0.9 || last.Fraction > 1 {
		t.Errorf("progress went back %d times and ended at %.3f", backwards, last.Fraction)
	}
}
