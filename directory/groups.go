package directory

import (
	"context"
	"errors"
	"fmt"
)

const (
	// groupPeriod is the number of runs within which the members of every group are asked for again.
	groupPeriod = 7
	// maxGroupFailures is how many groups in a row may fail before the run does: one hidden group is no reason to stop.
	maxGroupFailures = 5
)

// expand asks for the members of the groups whose turn it is, and of those never asked for.
func (r *run) expand(ctx context.Context) error {
	source, ok := r.sync.Source.(Expander)
	if !ok || r.state.Applying {
		return nil
	}
	due, err := r.dueGroups()
	if err != nil {
		return fmt.Errorf("list the groups: %w", err)
	}
	failures := 0
	for _, group := range due {
		err := r.expandOne(ctx, source, group)
		if err == nil {
			failures = 0
			continue
		}
		_, passing := errors.AsType[RetryError](err)
		if failures++; passing || failures == maxGroupFailures || ctx.Err() != nil {
			return fmt.Errorf("ask for the members of %s: %w", group, err)
		}
		r.sync.log().Warn("the members of a group are not known", "group", group, "error", err)
	}
	return nil
}

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
			if m == nil || m.Fetched.Before(r.state.Started) && (r.state.Full || r.state.KnownOnly || turn(string(g), r.state.Number, groupPeriod)) {
				due = append(due, g)
			}
		}
		return nil
	})
	return due, err
}

func (r *run) expandOne(ctx context.Context, source Expander, group Address) error {
	var m Members
	err := r.retry(ctx, func() (err error) {
		m, err = source.Expand(ctx, group)
		return err
	})
	if err != nil {
		return err
	}
	m.Fetched = r.sync.now()
	return r.sync.Store.Update(func(tx Tx) error { return tx.PutMembers(group, m) })
}
