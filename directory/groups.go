package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// groupPeriod is the number of runs within which the members of every group are asked for again.
	groupPeriod = 7
	// maxGroupFailures is how many groups in a row may fail before the others are left to the next run.
	maxGroupFailures = 5
	// groupTries is how often one group is asked for: the members it has are good enough for another night.
	groupTries = 2
)

// expand asks for the members of the groups whose turn it is, and of those never asked for. A group that does not answer
// keeps the members it has; it is no reason to throw away what the walk found.
func (r *run) expand(ctx context.Context) error {
	source, ok := r.sync.Source.(Expander)
	if !ok || r.state.judged() {
		return nil
	}
	due, err := r.dueGroups()
	if err != nil {
		return fmt.Errorf("list the groups: %w", err)
	}
	known := map[Address]Members{}
	failures := 0
	r.state.Report.SilentGroups, r.state.Report.Silent = 0, ""
	r.phase = PhaseGroups
	began := r.sync.now()
	for i, group := range due {
		if i > 0 {
			r.tell(string(group), r.estimate(began, float64(i)/float64(len(due))))
		}
		m, err := r.expandOne(ctx, source, group)
		switch {
		case err == nil:
			failures, known[group] = 0, m
		case ctx.Err() != nil || errors.Is(err, ErrBudget):
			return errors.Join(fmt.Errorf("ask for the members of %s: %w", group, err), r.keepMembers(known))
		default:
			failures++
			r.silent(group, err)
			r.sync.log().Warn("the members of a group are not known", "group", group, "error", err)
		}
		if len(known) >= saveEvery {
			if err := r.keepMembers(known); err != nil {
				return err
			}
		}
		if failures == maxGroupFailures {
			r.state.Report.SilentGroups += len(due) - i - 1
			r.sync.log().Warn("the members of the other groups are left to the next sync", "groups", len(due)-i-1)
			break
		}
	}
	return r.keepMembers(known)
}

// silent notes a group that does not answer.
func (r *run) silent(group Address, err error) {
	rep := &r.state.Report
	rep.SilentGroups++
	rep.Silent = cmp.Or(rep.Silent, fmt.Sprintf("%s: %s", group, clip(err.Error())))
}

// keepMembers stores the members of many groups at once, and forgets them here. That a group has lost all of its members is
// held back until the run is believed: a server whose directory is down says so of every group.
func (r *run) keepMembers(known map[Address]Members) error {
	if len(known) == 0 {
		return nil
	}
	err := r.sync.Store.Update(func(tx Tx) error {
		for group, m := range known {
			before, err := tx.Members(group)
			if err != nil {
				return err
			}
			if before != nil && len(before.Members) > 0 && len(m.Members) == 0 {
				r.emptied[group] = m
				continue
			}
			if err := tx.PutMembers(group, m); err != nil {
				return err
			}
		}
		return nil
	})
	clear(known)
	return err
}

// empty stores the groups without members that keepMembers held back, as far as they are still there.
func (r *run) empty(tx Tx) error {
	for group, m := range r.emptied {
		switch _, _, err := tx.Digest(group); {
		case errors.Is(err, ErrNoEntry):
			continue
		case err != nil:
			return err
		}
		if err := tx.PutMembers(group, m); err != nil {
			return err
		}
	}
	return nil
}

// dueGroups begins at another group in each run, so that some that never answer do not keep the others waiting.
func (r *run) dueGroups() (due []Address, err error) {
	err = r.sync.Store.View(func(tx Tx) error {
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			m, err := tx.Members(g)
			if err != nil {
				return err
			}
			if m == nil || r.waiting(m.Fetched) && (r.state.Full || r.state.KnownOnly || turn(string(g), r.state.Number, groupPeriod)) {
				due = append(due, g)
			}
		}
		return nil
	})
	if n := len(due); n > 0 {
		number := r.state.Number
		if r.state.KnownOnly {
			number = r.day()
		}
		at := number * maxGroupFailures % n
		due = append(due[at:], due[:at]...)
	}
	return due, err
}

// waiting reports that something was not asked for in this run yet. A time that the clock has not reached counts for
// nothing.
func (r *run) waiting(asked time.Time) bool {
	return asked.Before(r.state.Started) || asked.After(r.sync.now())
}

func (r *run) expandOne(ctx context.Context, source Expander, group Address) (m Members, err error) {
	err = r.retry(ctx, groupTries, func() (err error) {
		m, err = source.Expand(ctx, group)
		return err
	})
	m.Fetched = r.sync.now()
	return m, err
}
