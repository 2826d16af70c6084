package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// A server that answers everything but one question must not keep everybody behind that question waiting for ever. So a
// question without a usable answer is passed over, as a gap, when the server answers the ones that follow; when it does
// not, the run ends before the first of them, and goes on from there the next time.
const (
	// maxTroubles is how many questions in a row may stay without a usable answer before the run ends.
	maxTroubles = 3
	// maxTroubled is how many may in a whole run.
	maxTroubled = 100
)

// ErrUnreadable is wrapped by the error of a Source when the answer to this very question is of no use (out of bounds, for
// example), and asking again would not mend it. Others may be answered well.
var ErrUnreadable = errors.New("the answer cannot be read")

// trouble is a question without a usable answer.
type trouble struct {
	prefix string
	err    error
}

// isolated reports that an error may be about one question alone. A server that asked to be left alone is not asked on.
func isolated(err error) bool {
	retry, ok := errors.AsType[RetryError](err)
	return ok && retry.RetryAfter() == 0 || errors.Is(err, ErrUnreadable)
}

// stumble passes over a question without a usable answer, for now, or returns why the run must end.
func (r *run) stumble(ctx context.Context, prefix string, err error) error {
	r.troubles = append(r.troubles, trouble{prefix, err})
	if ctx.Err() != nil || !isolated(err) || len(r.troubles) >= maxTroubles || len(r.state.Report.Reasons) >= maxTroubled {
		return err
	}
	r.sync.log().Warn("a question is passed over", "prefix", prefix, "error", err)
	return nil
}

// steady notes that the server answers: what was passed over before is a gap, or an address without a usable answer.
func (r *run) steady() error {
	r.answered = true
	passed := r.troubles
	r.troubles = nil
	if len(passed) > 0 && r.phase != PhaseWalk {
		return r.sync.Store.Update(func(tx Tx) (err error) {
			for _, t := range passed {
				err = errors.Join(err, r.skip(tx, Address(t.prefix), t.err))
			}
			return errors.Join(err, r.state.save(tx))
		})
	}
	rep := &r.state.Report
	for _, t := range passed {
		if !slices.Contains(rep.Gaps, t.prefix) {
			rep.Gaps = append(rep.Gaps, t.prefix) // at most maxTroubled
		}
		if rep.Reasons == nil {
			rep.Reasons = map[string]string{}
		}
		rep.Reasons[t.prefix] = clip(t.err.Error())
	}
	return nil
}

// skip notes an address that was passed over. It has been asked for: would it wait for longer than all others, the next run
// began with all that there is of its kind, and would take the server to be in trouble.
func (r *run) skip(tx Tx, address Address, why error) error {
	q, err := LastQuestion(tx, address)
	q.Asked = r.sync.now()
	return errors.Join(err, q.save(tx, address), r.undetermined(tx, address, why.Error()))
}

// settle judges what was passed over last. A run in which nothing was answered did not see that the server is there.
func (r *run) settle() error {
	if len(r.troubles) > 0 && !r.answered {
		return r.troubles[0].err
	}
	return r.steady()
}

// secondChance asks once more for what was passed over in a walk: the trouble may have been a short one.
func (r *run) secondChance(ctx context.Context) error {
	if err := r.settle(); err != nil {
		return err
	}
	for _, prefix := range slices.Sorted(maps.Keys(r.state.Report.Reasons)) {
		answer, err := r.question(ctx, 1, prefix, true)
		switch {
		case err != nil && (ctx.Err() != nil || errors.Is(err, ErrBudget)):
			return err
		case err != nil || answer.Truncated:
			continue
		}
		if err := r.store(prefix, answer.Records, true); err != nil {
			return err
		}
		r.state.Report.mend(prefix)
	}
	return nil
}
