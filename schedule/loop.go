package schedule

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

const (
	// slice is the longest wait without a look at the clock. Timers stand still while a machine sleeps, so a run that was
	// due in the meantime starts at most this long after waking.
	slice = time.Minute
	// catchUpSpread bounds the delay of a run that makes up for a missed one.
	catchUpSpread = 2 * time.Minute
	// firstRetry and lastRetry bound the delay after a failed run, which doubles from one to the other.
	firstRetry = 5 * time.Minute
	lastRetry  = time.Hour
	// maxRetryAfter bounds what an error may ask for.
	maxRetryAfter = 24 * time.Hour
	// backwards is how far the clock may be set back before times that were counted from it are counted anew.
	backwards = 10 * time.Minute
)

// Trigger says why a run was started.
type Trigger int

const (
	// Scheduled is a run at its time.
	Scheduled Trigger = iota
	// CatchUp makes up for a run that was missed before the start of the loop.
	CatchUp
	// Retry follows a failed run.
	Retry
	// Manual was asked for.
	Manual
)

// String returns "scheduled", "catch-up", "retry" or "manual".
func (t Trigger) String() string {
	return [...]string{"scheduled", "catch-up", "retry", "manual"}[t]
}

// RetryAfter is implemented by errors of Run that know when another try makes sense, as HTTP's Retry-After does. It can
// lengthen the delay, up to a day, never shorten it.
type RetryAfter interface {
	error
	RetryAfter() time.Duration
}

// Permanent is implemented by errors of Run that another try would only repeat, such as a refused password, which tried
// again and again would lock the account. When it returns true the loop waits for the next scheduled time.
type Permanent interface {
	error
	Permanent() bool
}

// Loop runs a job on a schedule. Set the exported fields, then call Serve once. The other methods may be called at any time
// by any goroutine.
type Loop struct {
	// Spec is when to run; the zero value runs by hand only.
	Spec Spec
	// Jitter puts every scheduled time off by a part of it that is derived from Seed; 0 is none.
	Jitter time.Duration
	// Seed is the same at every start of this machine and differs between machines, such as /etc/machine-id.
	Seed string
	// Run is the job. It returns soon after its context is done.
	Run func(context.Context, Trigger) error
	// LastSuccess returns when the job last succeeded, before this process too; the zero time when never. Nil is never.
	LastSuccess func() time.Time
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	mu    sync.Mutex
	wake  chan struct{} // holds at most one token: somebody called Trigger
	asked bool          // a run by hand waits to be started
	state state
}

// state is what a loop knows between runs.
type state struct {
	base      time.Time     // what the next time counts from: the start of Serve or the end of the last run
	early     time.Duration // since base: a catch-up or a retry before the next scheduled time, when hasEarly
	hasEarly  bool
	earlyWhy  Trigger
	running   bool
	why       Trigger
	since     time.Time
	failures  int
	lastError error
}

// Status is what a loop does and will do.
type Status struct {
	// Running says that a run is under way, since Since for the reason Trigger.
	Running bool
	Trigger Trigger
	Since   time.Time
	// Next is the next run that will start by itself, for the reason NextTrigger; zero when there is none.
	Next        time.Time
	NextTrigger Trigger
	// Failures counts the failed runs since the last good one; LastError is the newest of them, nil after a good run.
	Failures  int
	LastError error
}

// Serve runs the job until ctx is done and the run under way has returned.
func (l *Loop) Serve(ctx context.Context) {
	l.start()
	for ctx.Err() == nil {
		if why, due := l.due(); due {
			l.run(ctx, why)
			continue
		}
		l.wait(ctx)
	}
}

// Trigger asks for a run now. It returns false when one is under way or about to start: that one is the answer, and no
// second one is queued.
func (l *Loop) Trigger() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked || l.state.running {
		return false
	}
	l.ask()
	return true
}

// Queue asks for a run now or, when one is under way, right after it has returned: for callers who know that its work is
// done already and cannot be their answer. At most one is queued.
func (l *Loop) Queue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ask()
}

// ask notes that a run is wanted. The caller holds mu.
func (l *Loop) ask() {
	l.asked = true
	select {
	case l.waker() <- struct{}{}:
	default:
	}
}

// Status returns what the loop does now.
func (l *Loop) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Running: l.state.running, Failures: l.state.failures, LastError: l.state.lastError}
	if s.Running {
		s.Trigger, s.Since = l.state.why, l.state.since
	}
	if !l.state.base.IsZero() {
		s.Next, s.NextTrigger = l.next()
	}
	return s
}

// start decides whether a run was missed before.
func (l *Loop) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.state.base = now
	if l.Spec.ByHand() {
		return
	}
	var last time.Time
	if l.LastSuccess != nil {
		last = l.LastSuccess().Round(0).In(now.Location())
	}
	missed := l.scheduledAfter(last)
	if last.IsZero() || last.After(now.Add(backwards)) || !missed.IsZero() && !missed.After(now) {
		l.state.hasEarly, l.state.earlyWhy = true, CatchUp
		l.state.early = l.offset(min(l.Jitter, catchUpSpread))
	}
}

// due says whether to start a run now.
func (l *Loop) due() (Trigger, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked {
		return Manual, true
	}
	now := l.now()
	if l.state.base.Sub(now) > backwards {
		l.state.base = now
	}
	at, why := l.next()
	return why, !at.IsZero() && !now.Before(at)
}

// next returns the next run that starts by itself. The caller holds mu.
func (l *Loop) next() (time.Time, Trigger) {
	scheduled := l.scheduledAfter(l.state.base)
	if l.state.hasEarly {
		if at := l.state.base.Add(l.state.early); scheduled.IsZero() || at.Before(scheduled) {
			return at, l.state.earlyWhy
		}
	}
	return scheduled, Scheduled
}

// run runs the job once, in this goroutine, so that two runs cannot overlap.
func (l *Loop) run(ctx context.Context, why Trigger) {
	l.mu.Lock()
	l.asked = false
	l.state.running, l.state.why, l.state.since = true, why, l.now()
	l.mu.Unlock()

	err := l.Run(ctx, why)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.running, l.state.hasEarly, l.state.base = false, false, l.now()
	l.state.lastError = err
	if err == nil {
		l.state.failures = 0
		return
	}
	l.state.failures++
	if permanent, ok := errors.AsType[Permanent](err); l.Spec.ByHand() || ok && permanent.Permanent() {
		return
	}
	l.state.hasEarly, l.state.earlyWhy, l.state.early = true, Retry, retryDelay(l.state.failures, err)
}

// retryDelay is the time from the end of the n-th failed run in a row to the next try.
func retryDelay(n int, err error) time.Duration {
	delay := min(firstRetry<<min(n-1, 10), lastRetry)
	if asked, ok := errors.AsType[RetryAfter](err); ok {
		delay = max(delay, min(asked.RetryAfter(), maxRetryAfter))
	}
	return delay
}

// wait returns when the next run is due, after one slice, when Trigger was called, or when ctx is done.
func (l *Loop) wait(ctx context.Context) {
	l.mu.Lock()
	d := slice
	if at, _ := l.next(); !at.IsZero() {
		d = min(d, at.Sub(l.now()))
	}
	wake := l.waker()
	l.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// scheduledAfter returns the first scheduled time of this machine after t.
func (l *Loop) scheduledAfter(t time.Time) time.Time {
	offset := l.offset(l.Jitter)
	at := l.Spec.Next(t.Add(-offset))
	if at.IsZero() {
		return at
	}
	return at.Add(offset)
}

// offset is this machine's part of a span, in whole seconds.
func (l *Loop) offset(span time.Duration) time.Duration {
	seconds := uint64(span / time.Second)
	if seconds == 0 {
		return 0
	}
	sum := sha256.Sum256([]byte("galsyncd schedule " + l.Seed))
	return time.Duration(binary.BigEndian.Uint64(sum[:])%seconds) * time.Second
}

// now returns calendar time: the monotonic clock does not count the time a machine sleeps.
func (l *Loop) now() time.Time {
	if l.Now != nil {
		return l.Now().Round(0)
	}
	return time.Now().Round(0)
}

// waker returns the channel that Trigger wakes Serve with. The caller holds mu.
func (l *Loop) waker() chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	return l.wake
}
