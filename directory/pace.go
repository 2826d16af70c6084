package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Pace bounds how often a server is asked, over runs and single questions together, and keeps the silence that the server
// asked for. A nil Pace does neither.
type Pace struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // the server wants to be left alone
}

// NewPace allows so many questions per second, one at a time. Zero and less is no bound.
func NewPace(perSecond float64) *Pace {
	limit := rate.Limit(perSecond)
	if perSecond <= 0 {
		limit = rate.Inf
	}
	return &Pace{limiter: rate.NewLimiter(limit, 1)}
}

// ErrNoRoom reports a question that was not put, because the pace leaves no room for it within its time.
var ErrNoRoom = errors.New("the limit on requests per second leaves no room for the question in time")

// wait returns when the next question may be put.
func (p *Pace) wait(ctx context.Context) error {
	if p == nil {
		return ctx.Err()
	}
	if err := p.keepSilence(ctx); err != nil {
		return err
	}
	err := p.limiter.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		return ErrNoRoom // the wait would be longer than the context lives
	}
	return err
}

// hold keeps everybody from asking for a while, because the server said so.
func (p *Pace) hold(d time.Duration) {
	if p == nil || d <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = later(p.until, time.Now().Add(d))
}

// keepSilence waits until the server may be asked again; when that is long, it returns an error in place of waiting.
func (p *Pace) keepSilence(ctx context.Context) error {
	p.mu.Lock()
	until := p.until
	p.mu.Unlock()
	left := time.Until(until)
	if deadline, ok := ctx.Deadline(); left > maxPause || left > 0 && ok && deadline.Before(until) {
		return &silence{until}
	}
	return sleep(ctx, max(0, left))
}

// silence is a question that was not put, because the server asked to be left alone for longer than a question can wait.
type silence struct{ until time.Time }

func (s *silence) Error() string {
	return "the server asked to be left alone until " + s.until.UTC().Format("15:04:05 MST")
}

// RetryAfter implements RetryError.
func (s *silence) RetryAfter() time.Duration { return max(0, time.Until(s.until)) }

// Hint says what to do.
func (s *silence) Hint() string {
	return "wait until then; lower sync.requests_per_second, or have a throttling policy with more room given to the account, if it happens often"
}

// ErrBudget is wrapped by the error of a run that used up what one run may ask. Nothing is lost: the next run goes on.
var ErrBudget = errors.New("the budget of one sync is used up")

// budgetError says what was used up, and how far the run came.
type budgetError struct {
	requests int
	duration time.Duration
	fraction float64
}

func (e *budgetError) Error() string {
	used := fmt.Sprintf("%d requests", e.requests)
	if e.requests == 0 {
		used = e.duration.String()
	}
	return fmt.Sprintf("%s (%s), with about %.0f %% of the address book read", ErrBudget, used, 100*e.fraction)
}

func (e *budgetError) Unwrap() error { return ErrBudget }

// Hint says what to do.
func (e *budgetError) Hint() string {
	key := "sync.max_requests"
	if e.requests == 0 {
		key = "sync.max_duration"
	}
	return "what was found is kept, and the next sync goes on from there; raise " + key + " if it should come further each time"
}

// spent returns an error when this part of the run has asked as much, or lasted as long, as one may.
func (r *run) spent() error {
	s := r.sync
	switch {
	case s.MaxRequests > 0 && r.state.Report.PartRequests >= s.MaxRequests:
		return &budgetError{requests: s.MaxRequests, fraction: r.fraction}
	case s.MaxDuration > 0 && s.now().Sub(r.began) >= s.MaxDuration:
		return &budgetError{duration: s.MaxDuration, fraction: r.fraction}
	}
	return nil
}
