package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/eas"
	"github.com/galsyncd/galsyncd/ews"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/schedule"
)

// book is a source with a few people. Before each answer it calls before, if set.
type book struct {
	before func(context.Context) error
	asked  atomic.Int64
	people []directory.Record
}

func (*book) Name() string { return "book" }

func (b *book) Search(ctx context.Context, prefix string, certificates bool) (directory.Answer, error) {
	b.asked.Add(1)
	if b.before != nil {
		if err := b.before(ctx); err != nil {
			return directory.Answer{}, err
		}
	}
	var answer directory.Answer
	for _, p := range b.people {
		if len(prefix) <= len(p.Primary) && string(p.Primary[:len(prefix)]) == prefix {
			answer.Records = append(answer.Records, p)
		}
	}
	return answer, nil
}

func someone(primary string) directory.Record {
	return directory.Record{Primary: directory.Address(primary), Addresses: []directory.Address{directory.Address(primary)}, Kind: directory.KindMailbox}
}

// newRuns makes Runs with a loop that is served until the test, or its bubble, ends.
func newRuns(t *testing.T, c *cache.Cache, source directory.Source) *Runs {
	t.Helper()
	r := &Runs{Sync: directory.Sync{Source: source, Store: c}, Log: slog.New(slog.DiscardHandler)}
	r.Loop = &schedule.Loop{Run: r.Run}
	serve(t, r)
	return r
}

func serve(t *testing.T, r *Runs) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Loop.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func openCache(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func code(err error) service.Code {
	if p, ok := errors.AsType[*service.Problem](err); ok {
		return p.Code
	}
	return ""
}

// TestRuns: a run is started by hand, watched to its end, and refused a second time while it lasts.
func TestRuns(t *testing.T) {
	answer := make(chan error)
	source := &book{people: []directory.Record{someone("ann@corp.example")}, before: func(ctx context.Context) error {
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	r := newRuns(t, openCache(t), source)
	if _, err := r.Watch(t.Context(), nil); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("before any run: %v", err)
	}
	if r.running() != nil {
		t.Error("something runs")
	}
	started, err := r.Start(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(t.Context(), false); code(err) != service.CodeSyncRunning {
		t.Errorf("a second start: %v", err)
	}
	seen := make(chan service.Progress, 1000)
	reports := make(chan service.Report, 1)
	go func() {
		report, err := r.Watch(t.Context(), func(p service.Progress) error {
			seen <- p
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		reports <- report
	}()
	if p := <-seen; !p.Started.Equal(started) {
		t.Errorf("the first progress is of another run: %+v", p)
	}
	if run := r.running(); run == nil || !run.Started.Equal(started) {
		t.Errorf("running: %+v", run)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Watch(impatient, func(service.Progress) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a watcher who left: %v", err)
	}
	close(answer)
	report := <-reports
	if report.Outcome != service.OutcomeComplete || report.Added != 1 || report.Entries != 1 || !report.Started.Equal(started) || report.Code != "" || report.Error != "" || report.Gaps == nil {
		t.Errorf("report: %+v", report)
	}
	if again, err := r.Watch(t.Context(), nil); err != nil || again.Started != report.Started {
		t.Errorf("the last report: %+v, %v", again, err)
	}
}

// TestRunsOneAfterTheOther: who has seen the end of a run can start the next one at once. There is a moment in which the
// report is out and the schedule does not know yet.
func TestRunsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, oneAfterTheOther)
}

func oneAfterTheOther(t *testing.T) {
	r := &Runs{Sync: directory.Sync{Source: &book{}, Store: openCache(t)}, Log: slog.New(slog.DiscardHandler)}
	r.Loop = &schedule.Loop{Run: func(ctx context.Context, why schedule.Trigger) error {
		err := r.Run(ctx, why)
		time.Sleep(time.Millisecond) // the moment
		return err
	}}
	serve(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := range 20 {
		started, err := r.Start(ctx, false)
		if err != nil {
			t.Fatalf("start %d: %v", n, err)
		}
		report, err := r.Watch(ctx, func(service.Progress) error { return nil })
		if err != nil {
			t.Fatalf("run %d was never made: %v", n, err)
		}
		if !report.Started.Equal(started) {
			t.Fatalf("run %d: the report is of %v, the start was %v", n, report.Started, started)
		}
	}
}

// TestRunsSlowWatcher: a watcher who does not take what he asked for holds nobody up, and learns the latest.
func TestRunsSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &book{before: func(context.Context) error {
			time.Sleep(time.Second)
			return nil
		}}
		r := newRuns(t, openCache(t), source)
		if _, err := r.Start(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		var requests []int
		report, err := r.Watch(t.Context(), func(p service.Progress) error {
			requests = append(requests, p.Requests)
			time.Sleep(10 * time.Second)
			return nil
		})
		if err != nil || report.Outcome != service.OutcomeComplete {
			t.Fatalf("%+v, %v", report, err)
		}
		if asked := int(source.asked.Load()); report.Duration > float64(asked)+1 || len(requests) > asked/10+2 || len(requests) < 3 {
			t.Errorf("%d requests took %v s, the watcher was told %d times", asked, report.Duration, len(requests))
		}
		for i := 2; i < len(requests)-1; i++ { // the last may come with the end of the run
			if requests[i]-requests[i-1] < 9 {
				t.Errorf("the watcher was told old news: %v", requests)
				break
			}
		}
		broken := errors.New("the caller is gone")
		if _, err := r.Start(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Watch(t.Context(), func(service.Progress) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("a watcher whose caller is gone: %v", err)
		}
	})
}

// TestRunsOnSchedule: what may pass is tried again soon, and a credential that was refused is left alone until the next
// scheduled time.
func TestRunsOnSchedule(t *testing.T) {
	passing, refused := errors.New("no route to host"), func(err error) error { return fmt.Errorf("ask: %w", err) }
	for _, tt := range []struct {
		name            string
		err             error
		code            string
		atLeast, atMost int64 // runs within five hours after the first
	}{
		{"passing", passing, service.FailureAnswer, 3, 12},
		{"refused over EWS", refused(ews.ErrUnauthorized), service.FailureCredential, 0, 0},
		{"refused over ActiveSync", refused(eas.ErrUnauthorized), service.FailureCredential, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &book{before: func(context.Context) error { return tt.err }}
				spec, err := schedule.Parse("@every 6h")
				if err != nil {
					t.Fatal(err)
				}
				start, told := time.Now(), 0
				r := &Runs{Sync: directory.Sync{Source: source, Store: openCache(t)}, Log: slog.New(slog.DiscardHandler)}
				r.Loop = &schedule.Loop{Run: r.Run, Spec: spec, LastSuccess: func() time.Time { return start }}
				r.After = func(report directory.Report) {
					if told++; report.Outcome != directory.Failed {
						t.Errorf("outcome %s", report.Outcome)
					}
				}
				serve(t, r)
				time.Sleep(6*time.Hour + time.Minute)
				if n := source.asked.Load(); n != 1 {
					t.Fatalf("%d requests after the first scheduled time, want 1", n)
				}
				report, err := r.Watch(t.Context(), nil)
				if err != nil || report.Outcome != service.OutcomeFailed || report.Code != tt.code {
					t.Errorf("%+v, %v", report, err)
				}
				time.Sleep(5 * time.Hour)
				if n := source.asked.Load() - 1; n < tt.atLeast || n > tt.atMost {
					t.Errorf("%d more requests within five hours, want %d to %d", n, tt.atLeast, tt.atMost)
				}
				synctest.Wait()
				if int64(told) != source.asked.Load() {
					t.Errorf("After was called %d times for %d runs", told, source.asked.Load())
				}
			})
		})
	}
}

// TestRunsStopped: a run that is told to stop is reported as stopped, with what that means.
func TestRunsStopped(t *testing.T) {
	source := &book{before: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	r := &Runs{Sync: directory.Sync{Source: source, Store: openCache(t)}, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if err := r.Run(ctx, schedule.Scheduled); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	report, err := r.Watch(t.Context(), nil)
	if err != nil || report.Outcome != service.OutcomeFailed || report.Code != service.FailureStopped || report.Error != directory.StoppedText || report.Hint != directory.StoppedHint {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestRunsRestored: a daemon knows how the last run of an earlier process ended.
func TestRunsRestored(t *testing.T) {
	c := openCache(t)
	source := &book{before: func(context.Context) error { return errors.New("no route to host") }}
	first := directory.Sync{Source: source, Store: c}
	if _, err := first.Run(t.Context(), false); err == nil {
		t.Fatal("no error")
	}
	history, _, _, err := c.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &Runs{}
	r.Restore(directory.History{})
	if _, err := r.Watch(t.Context(), nil); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("nothing to restore: %v", err)
	}
	r.Restore(history)
	report, err := r.Watch(t.Context(), nil)
	if err != nil || report.Outcome != service.OutcomeFailed || report.Error != "read the address book: no route to host" || report.Code != "" || report.Started.IsZero() {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestRunsWithoutSource: a daemon that fetches nothing says so.
func TestRunsWithoutSource(t *testing.T) {
	r := &Runs{}
	_, err := r.Start(t.Context(), false)
	if p, ok := errors.AsType[*service.Problem](err); !ok || p.Code != service.CodeNotAvailable || p.Hint == "" {
		t.Errorf("%v", err)
	}
}

// TestServiceReport: gaps are named, and a guarded run says what it would have lost.
func TestServiceReport(t *testing.T) {
	start := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	got := serviceReport(directory.Report{Outcome: directory.Incomplete, Gaps: []string{"jo"}}, nil, start, start.Add(90*time.Second))
	if got.Outcome != service.OutcomeIncomplete || got.Duration != 90 || len(got.Gaps) != 1 || got.Gaps[0].Prefix != "jo" || got.Gaps[0].Reason == "" {
		t.Errorf("incomplete: %+v", got)
	}
	got = serviceReport(directory.Report{Outcome: directory.Guarded, Entries: 10, HeldLost: 5, HeldBare: 2, HeldUncertified: 3}, nil, start, start)
	if got.Outcome != service.OutcomeGuarded || got.Error != "the sync would have lost 3 of 10 entries, and the last usable certificate of 2 others" || got.Hint != directory.GuardHint || got.Code != "" {
		t.Errorf("guarded: %+v", got)
	}
}

// TestFullDisk: a run for which there was no room says so, and not that the server did not answer.
func TestFullDisk(t *testing.T) {
	for err, want := range map[error]string{
		&os.PathError{Op: "write", Path: "cache.db", Err: syscall.ENOSPC}: service.FailureStore,
		fmt.Errorf("store: %w", syscall.EDQUOT):                           service.FailureStore,
		errors.New("timeout"):                                             service.FailureAnswer,
		errors.Join(errors.New("timeout"), errors.New("end sync: EOF")):   service.FailureAnswer,
	} {
		r := serviceReport(directory.Report{}, err, time.Now(), time.Now())
		if r.Code != want || (r.Hint == "") == (want == service.FailureStore) {
			t.Errorf("%v: code %q, hint %q; want %q", err, r.Code, r.Hint, want)
		}
		if strings.Contains(r.Error, "\n") { // an answer of the service shows no line breaks
			t.Errorf("%q has two lines", r.Error)
		}
	}
}
