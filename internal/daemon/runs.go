package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/schedule"
)

// Runs makes, starts and shows the runs of the sync. It implements service.Syncer, and Run is the job of the schedule.
type Runs struct {
	// Sync is copied for each run; its Progress is replaced.
	Sync directory.Sync
	// Loop runs Run; it is set before the first request.
	Loop *schedule.Loop
	// After, when set, is called after each run, before watchers are told that it ended.
	After func(directory.Report)
	Log   *slog.Logger

	mu      sync.Mutex
	current *watched // nil when none is under way
	last    *service.Report
}

// watched is a run with those who watch it.
type watched struct {
	started  time.Time
	full     bool
	progress service.Progress
	watchers map[chan service.Progress]struct{}
	done     chan struct{}
	report   service.Report
}

// Start implements service.Syncer.
func (r *Runs) Start(ctx context.Context, full bool) (time.Time, error) {
	if r.Sync.Source == nil {
		return time.Time{}, service.NewProblem(service.CodeNotAvailable, "this daemon fetches nothing from Exchange", "set exchange.url, or let the system's daemon sync: sudo galsyncd sync")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		return time.Time{}, service.NewProblem(service.CodeSyncRunning, "a sync has been running since "+r.current.started.Local().Format(time.TimeOnly), "watch it with galsyncd sync --wait")
	}
	r.current = r.begin(full)
	// Not Trigger: the run before may have ended for us while the loop does not know it yet. When one was about to start
	// by itself, it takes up this start, and the queued one finds nothing to do but to look once more.
	r.Loop.Queue()
	return r.current.started, nil
}

func (r *Runs) begin(full bool) *watched {
	now := r.now()
	return &watched{started: now, full: full, watchers: map[chan service.Progress]struct{}{}, done: make(chan struct{}),
		progress: service.Progress{Run: service.Run{Started: now, Phase: "starting"}}}
}

func (r *Runs) now() time.Time {
	if r.Sync.Now != nil {
		return r.Sync.Now()
	}
	return time.Now()
}

// Run is the job of the schedule: one run of the sync.
func (r *Runs) Run(ctx context.Context, why schedule.Trigger) error {
	r.mu.Lock()
	if r.current == nil {
		r.current = r.begin(false)
	}
	w := r.current
	r.mu.Unlock()

	s := r.Sync
	s.Progress = func(p directory.Progress) { r.tell(w, p) }
	r.Log.Info("sync begins", "trigger", why, "full", w.full)
	report, err := s.Run(ctx, w.full)
	if r.After != nil {
		r.After(report)
	}
	r.end(w, report, err)
	if err != nil && (permanent(err) || errors.Is(err, directory.ErrBudget)) {
		return permanentError{err} // the schedule waits for its next time
	}
	return err
}

// permanent reports a failure that another try would only repeat, or that would lock the account.
func permanent(err error) bool {
	return errors.Is(err, directory.ErrUnauthorized) || errors.Is(err, httpauth.ErrLockedOut)
}

// permanentError implements schedule.Permanent.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }
func (permanentError) Permanent() bool { return true }

// tell hands progress to the watchers; what a slow one has not taken is replaced.
func (r *Runs) tell(w *watched, p directory.Progress) {
	fraction := p.Fraction
	r.mu.Lock()
	defer r.mu.Unlock()
	w.progress = service.Progress{Run: service.Run{Started: w.started, Phase: p.Phase, Prefix: p.Prefix, Requests: p.Requests,
		Entries: p.Entries, Fraction: &fraction, EstimatedEnd: p.End}}
	for ch := range w.watchers {
		offer(ch, w.progress)
	}
}

func offer(ch chan service.Progress, p service.Progress) {
	select {
	case <-ch:
	default:
	}
	ch <- p // there is room: only tell sends, and it holds the lock
}

func (r *Runs) end(w *watched, report directory.Report, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.report = serviceReport(report, err, w.started, r.now())
	r.last, r.current = &w.report, nil
	close(w.done)
}

func serviceReport(report directory.Report, err error, started, ended time.Time) service.Report {
	out := service.Report{
		Started: started, Outcome: string(report.Outcome), Added: report.Added, Changed: report.Changed, Removed: report.Removed,
		Missing: report.Missing, Entries: report.Entries, Requests: report.PartRequests, Duration: ended.Sub(started).Seconds(), Gaps: []service.Gap{},
		Undetermined: report.UndeterminedCount,
		Contacts:     ContactsReport(report.Contacts),
	}
	if report.Parts > 1 {
		out.Whole = &service.Whole{Started: report.Started, Runs: report.Parts, Requests: report.Requests, Duration: report.Elapsed.Seconds()}
	}
	if report.Outcome == directory.Stopped {
		out.Outcome = service.OutcomeFailed
	}
	for _, g := range report.Unanswered() {
		out.Gaps = append(out.Gaps, service.Gap{Prefix: g, Reason: report.GapReason(g)})
	}
	if report.Outcome == directory.Guarded {
		out.Error, out.Hint = report.GuardText(), directory.GuardHint
	}
	if err != nil {
		out.Code, out.Hint = failure(report, err), hint(err)
		out.Error = strings.ReplaceAll(err.Error(), "\n", "; ") // joined errors have lines
	}
	if out.Code == service.FailureStore {
		out.Hint = HintNoRoom
	}
	if out.Code == service.FailureStopped {
		out.Error, out.Hint = directory.StoppedText, directory.StoppedHint
	}
	return out
}

// failure names the cause of a failed run; empty when an earlier process met it.
func failure(report directory.Report, err error) string {
	_, stored := err.(storedError)
	switch {
	case stored:
		return ""
	case NoRoom(err):
		return service.FailureStore
	case permanent(err):
		return service.FailureCredential
	case report.Outcome == directory.Stopped:
		return service.FailureStopped
	case report.Outcome == directory.Paused:
		return ""
	}
	return service.FailureAnswer
}

// HintNoRoom is for NoRoom.
const HintNoRoom = "make room on the disk of cache.dir; what was fetched is kept, and the next sync goes on from there"

// NoRoom reports that nothing more can be stored: the disk, or what this user may have of it, is full.
func NoRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// hint returns what an error advises.
func hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// Watch implements service.Syncer.
func (r *Runs) Watch(ctx context.Context, progress func(service.Progress) error) (service.Report, error) {
	r.mu.Lock()
	w := r.current
	if w == nil {
		defer r.mu.Unlock()
		if r.last == nil {
			return service.Report{}, service.ErrNotFound
		}
		return *r.last, nil
	}
	ch := make(chan service.Progress, 1)
	ch <- w.progress
	w.watchers[ch] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(w.watchers, ch)
		r.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return service.Report{}, ctx.Err()
		case p := <-ch:
			if err := progress(p); err != nil {
				return service.Report{}, err
			}
		case <-w.done:
			return w.report, nil
		}
	}
}

// running returns the progress of the run under way.
func (r *Runs) running() *service.Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return nil
	}
	run := r.current.progress.Run
	return &run
}

// Restore makes the last report of an earlier process known.
func (r *Runs) Restore(h directory.History) {
	if h.Last == nil {
		return
	}
	var err error
	if h.Error != "" {
		err = storedError{h.Error, h.Hint}
	}
	began := h.Last.Began
	if began.IsZero() {
		began = h.Last.Started
	}
	report := serviceReport(*h.Last, err, began, h.Last.Ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = &report
}

// storedError is an error as the cache remembers it.
type storedError struct{ text, hint string }

func (e storedError) Error() string { return e.text }
func (e storedError) Hint() string  { return e.hint }
