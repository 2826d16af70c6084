package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Sync keeps a Store true to a Source. One Run at a time.
type Sync struct {
	Source Source
	Store  Store
	// Server identifies the server, for example by its host name. When it is another than that of the last run, what was
	// learned about the shape of the address book is forgotten; entries stay until the guard lets them go. Empty is one.
	Server string
	// Pace bounds the load on the server; nil means no bound. Runs and Ask share it.
	Pace *Pace
	// MaxRequests and MaxDuration are the budget of one Run; zero means no bound. A run that has used it up ends as Paused,
	// and the next Run goes on from there.
	MaxRequests int
	MaxDuration time.Duration
	// KnownOnly asks for known addresses alone, one by one, in place of walking the whole address book: those of the store,
	// those asked for in the last MemoryOfQuestions, the members of groups, the addresses of contacts, and Addresses. The
	// source must be a Resolver.
	KnownOnly bool
	// Addresses are always known.
	Addresses []Address
	// Contacts reads the personal contacts of the account after each run from a ContactSource, or keeps what a ContactTeller
	// says of them in its answers; the source must be one of the two. Without it contacts that are stored are forgotten.
	Contacts bool
	// MaxRemovals is the share of entries (0 to 1) that one run may lose. When more are missing, or more would lose their
	// last usable certificate, the run removes nothing: see Guarded. One entry may always go. Zero means 0.2.
	MaxRemovals float64
	// EmptyPeriod is the number of runs within which every part of the address book that was empty so far is asked again:
	// a new entry in such a part is found after at most that many runs, and after three times as many when its address
	// has one of the characters !#$%*/=?^`{|}~ there. Zero means 14.
	EmptyPeriod int
	// ResumeWithin is how long ago the last answer of an interrupted run may be for the run to be resumed; zero means 48
	// hours. A paused run is resumed whenever the next one comes.
	ResumeWithin time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Progress, when set, is called after every answer, from the goroutine of Run.
	Progress func(Progress)
	// Logger, when set, gets one line per retry, split and outcome.
	Logger *slog.Logger
}

// Retrying one question: a pause that grows, and an end. A server that wants a longer pause ends the run; it is resumed
// by the schedule.
const (
	maxTries = 5
	maxPause = 5 * time.Minute
)

// Run enumerates the source, asks for the members of groups, and applies the differences. It resumes an interrupted run of the same source, unless full is
// set: then it starts anew and asks every part of the address book, also those known to be empty.
//
// What is found is stored at once. What is lost (an entry that is no longer there, an entry without the usable
// certificate it had) is held back until the walk is over, and applied only when the guard lets it pass; an entry goes
// after the second run that did not find it. On an error nothing is lost, the error is that of the source, wrapped, and
// the report tells how far the run came.
func (s *Sync) Run(ctx context.Context, full bool) (Report, error) {
	r, err := s.begin(full)
	if err != nil {
		return Report{Outcome: Failed}, err
	}
	err = r.enumerate(ctx)
	if err == nil {
		err = r.expand(ctx)
	}
	if err == nil {
		err = r.finish(ctx)
	}
	if err == nil {
		r.contacts(ctx)
	}
	return r.conclude(ctx, err)
}

func (s *Sync) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Sync) log() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// begin loads what is stored and decides between resuming and starting.
func (s *Sync) begin(full bool) (*run, error) {
	r := &run{sync: s, began: s.now(), seen: map[Address]struct{}{}, emptied: map[Address]Members{}, pause: backoff.NewExponentialBackOff()}
	r.pause.InitialInterval, r.pause.MaxInterval = time.Second, time.Minute
	err := s.Store.Update(func(tx Tx) (err error) {
		if r.history, err = ReadHistory(tx); err != nil {
			return err
		}
		if err := r.checkHistory(tx); err != nil {
			return err
		}
		if err := r.checkClock(tx); err != nil {
			return err
		}
		if !s.Contacts {
			r.history.Contacts = nil
			if err := forgetContacts(tx); err != nil {
				return err
			}
		}
		if r.partition, err = loadPartition(tx); err != nil {
			return err
		}
		if r.entries, _, err = tx.Totals(); err != nil {
			return err
		}
		if r.state, err = loadState(tx); err != nil {
			return err
		}
		if err := forget(tx, r.began); err != nil {
			return err
		}
		if r.resumable(full) {
			r.state.resume(r.began)
			return nil
		}
		r.state = &state{Number: r.history.Number + 1, Started: r.began, Source: s.Source.Name(), Server: s.Server, Full: full, KnownOnly: s.KnownOnly}
		r.state.Report = Report{Started: r.began, Began: r.began, Parts: 1}
		if err := errors.Join(tx.ClearLosses(), forgetGone(tx)); err != nil {
			return err
		}
		return r.state.save(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("begin sync: %w", err)
	}
	return r, nil
}

// checkClock forgets times that the clock has not reached: it was ahead when they were noted. Nobody knows when an entry
// with such a time was really seen last; until this run is over it counts as never confirmed.
func (r *run) checkClock(tx Tx) error {
	h := &r.history
	if h.Last == nil || !h.Finished.After(r.began) && !h.Last.Ended.After(r.began) {
		return nil
	}
	r.sync.log().Warn("the clock was ahead: times that it has not reached are forgotten", "last", h.Last.Ended)
	reset := func(t *time.Time) (changed bool) {
		if changed = t.After(r.began); changed {
			*t = time.Time{}
		}
		return changed
	}
	reset(&h.Finished)
	reset(&h.Walked)
	reset(&h.Confirmed)
	for i := range h.Gaps {
		reset(&h.Gaps[i].Seen)
	}
	primaries, err := tx.Primaries("")
	for _, p := range primaries {
		e, err := tx.Entry(p)
		if err != nil {
			return err
		}
		changed := reset(&e.Changed)
		changed = reset(&e.LastSeen) || changed
		if e.Missing.After(r.began) {
			e.Missing, changed = r.began, true
		}
		if e.Unconfirmed.After(r.began) { // after all runs that count, and before this one
			e.Unconfirmed, changed = r.began.Add(-1), true
		}
		if changed {
			if err := tx.PutEntry(e); err != nil {
				return err
			}
		}
	}
	return err
}

// checkHistory forgets the shape of another server's address book.
func (r *run) checkHistory(tx Tx) error {
	h := &r.history
	if h.Last == nil || h.Server == r.sync.Server {
		return nil
	}
	r.sync.log().Warn("the server is another one: the whole address book is asked for anew", "before", h.Server, "now", r.sync.Server)
	h.Number = 0
	var keys []string
	err := tx.States(splitKey, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	for _, key := range append(keys, stateKey) {
		err = errors.Join(err, tx.SetState(key, nil))
	}
	h.Server = r.sync.Server // now, so that a run that is killed need not forget it all again
	return errors.Join(err, h.save(tx))
}

func (r *run) resumable(full bool) bool {
	within := r.sync.ResumeWithin
	if within == 0 {
		within = 48 * time.Hour
	}
	st := r.state
	if st == nil || full && !st.Full || st.KnownOnly != r.sync.KnownOnly || st.Source != r.sync.Source.Name() || st.Server != r.sync.Server || st.Started.After(r.began) {
		return false
	}
	if st.Answered.IsZero() && !st.judged() && !st.Paused {
		return false // there is nothing to go on from, and what a new run finds is as old as that run
	}
	if st.Paused {
		within = max(within, 14*24*time.Hour) // it takes long on purpose
	}
	return st.Report.Outcome == Paused || r.began.Sub(later(st.Started, st.Answered)) < within
}

// enumerate asks for everybody: by prefixes, or one by one.
func (r *run) enumerate(ctx context.Context) error {
	if r.state.judged() {
		return nil
	}
	if r.sync.KnownOnly {
		return r.refresh(ctx)
	}
	r.phase = PhaseWalk
	if err := r.walk(ctx); err != nil {
		return err
	}
	if err := r.heard(); err != nil {
		return err
	}
	if err := r.secondChance(ctx); err != nil {
		return err
	}
	return r.prove(ctx)
}

// conclude writes the history and makes the report.
func (r *run) conclude(ctx context.Context, failure error) (Report, error) {
	rep := &r.state.Report
	rep.Ended = r.sync.now()
	r.state.Elapsed += rep.Ended.Sub(r.began)
	rep.Elapsed = r.state.Elapsed
	if budget, ok := errors.AsType[*budgetError](failure); ok {
		failure = budget // where in the address book it was used up is no news
	}
	switch {
	case failure != nil && ctx.Err() != nil:
		rep.Outcome = Stopped
	case errors.Is(failure, ErrBudget):
		rep.Outcome, r.state.Paused = Paused, true
	case failure != nil:
		rep.Outcome = Failed
	}
	if errors.Is(failure, ErrRemoteWipe) {
		failure = errors.Join(failure, r.wipe(ctx))
	}
	err := r.sync.Store.Update(func(tx Tx) (err error) {
		if rep.Entries, rep.Certified, err = tx.Totals(); err != nil {
			return err
		}
		r.remember(failure)
		if err := r.history.save(tx); err != nil {
			return err
		}
		if errors.Is(failure, ErrNoNarrowing) {
			return r.unlearn(tx)
		}
		if failure == nil {
			return tx.SetState(stateKey, nil)
		}
		if err := r.partition.save(tx); err != nil {
			return err
		}
		if errors.Is(failure, errSilent) {
			return tx.SetState(stateKey, nil)
		}
		return r.state.save(tx)
	})
	if err != nil {
		err = fmt.Errorf("end sync: %w", err)
	}
	facts := []any{"outcome", rep.Outcome, "requests", rep.PartRequests, "entries", rep.Entries,
		"added", rep.Added, "changed", rep.Changed, "missing", rep.Missing, "removed", rep.Removed}
	if failure != nil {
		facts = append(facts, "error", failure)
	}
	r.sync.log().Info("sync ended", facts...)
	return *rep, errors.Join(failure, err)
}

// unlearn forgets a run that would never have ended, and the prefixes that it split for nothing.
func (r *run) unlearn(tx Tx) error {
	for prefix, at := range r.partition.split {
		if at == r.state.Number {
			r.partition.dirty[prefix] = true
			delete(r.partition.split, prefix)
		}
	}
	return errors.Join(r.partition.save(tx), tx.SetState(stateKey, nil))
}

// remember notes the outcome in the history.
func (r *run) remember(failure error) {
	rep := r.state.Report
	r.history.Last, r.history.Source, r.history.Server = &rep, r.state.Source, r.state.Server
	r.history.Error, r.history.Hint = "", ""
	if rep.Contacts != nil {
		r.history.Contacts = rep.Contacts
	}
	switch {
	case rep.Outcome == Stopped:
		r.history.Error, r.history.Hint = StoppedText, StoppedHint
	case failure != nil:
		r.history.Error = strings.ReplaceAll(failure.Error(), "\n", "; ") // joined errors have lines
		r.history.Hint = hintOf(failure)
	}
	if failure == nil && !r.state.KnownOnly {
		r.history.Number = r.state.Number
	}
	finished := rep.Outcome == Complete || rep.Outcome == Incomplete
	if finished || rep.Outcome == Guarded {
		r.history.confirm(rep, r.state.Started)
	}
	if finished {
		r.history.Finished, r.history.KnownOnly = r.state.Started, r.state.KnownOnly
		if !r.state.KnownOnly {
			r.history.Walked = r.state.Started
		}
	}
}

// confirm notes whom a run that reached its end did not confirm.
func (h *History) confirm(rep Report, started time.Time) {
	h.Gaps = h.gaps(rep)
	h.Confirmed, h.Undetermined, h.Silent = started, rep.UndeterminedCount, nil
	if named := slices.Sorted(maps.Keys(rep.Undetermined)); len(named) > 0 {
		h.Silent = &Gap{Prefix: named[0], Reason: rep.Undetermined[named[0]]}
	}
}

// hintOf is what an error of a source advises; empty when it does not.
func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
