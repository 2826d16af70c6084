package schedule

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// event is one run as a test saw it, in hours after the start of the bubble (2000-01-01 00:00 UTC).
type event struct {
	at  time.Duration
	why Trigger
}

// bench runs a loop in a bubble and records its runs.
type bench struct {
	Loop
	begin  time.Time
	events []event
	takes  time.Duration
	result func(n int) error
	skew   atomic.Int64 // of the wall clock, in nanoseconds
	cancel context.CancelFunc
	done   chan struct{}
}

func newBench(t *testing.T, spec string) *bench {
	t.Helper()
	s, err := Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{begin: time.Now(), done: make(chan struct{})}
	b.Spec = s
	b.Now = func() time.Time { return time.Now().UTC().Add(time.Duration(b.skew.Load())) }
	b.LastSuccess = func() time.Time { return b.begin.Local() }
	b.Run = func(ctx context.Context, why Trigger) error {
		n := len(b.events)
		b.events = append(b.events, event{b.Now().Sub(b.begin), why})
		select {
		case <-time.After(b.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.result != nil {
			return b.result(n)
		}
		return nil
	}
	return b
}

func (b *bench) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() {
		defer close(b.done)
		b.Serve(ctx)
	}()
	synctest.Wait()
}

// until lets the bubble's clock run to a time after the start and stops the loop.
func (b *bench) until(d time.Duration) {
	time.Sleep(d - time.Since(b.begin))
	synctest.Wait()
	b.cancel()
	<-b.done
}

func (b *bench) expect(t *testing.T, want ...event) {
	t.Helper()
	if !slices.Equal(b.events, want) {
		t.Errorf("got  %v\nwant %v", b.events, want)
	}
}

const h, m = time.Hour, time.Minute

func TestRunsAtItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *")
		b.takes = 10 * m
		b.start(t)
		if s := b.Status(); s.Running || !s.Next.Equal(b.begin.Add(2*h+30*m)) || s.NextTrigger != Scheduled {
			t.Errorf("status before: %+v", s)
		}
		time.Sleep(2*h + 35*m)
		synctest.Wait()
		if s := b.Status(); !s.Running || s.Trigger != Scheduled || !s.Since.Equal(b.begin.Add(2*h+30*m)) {
			t.Errorf("status during: %+v", s)
		}
		b.until(51 * h)
		b.expect(t, event{2*h + 30*m, Scheduled}, event{26*h + 30*m, Scheduled}, event{50*h + 30*m, Scheduled})
	})
}

func TestJitterIsStableAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]int{}
		for i := range 200 {
			l := &Loop{Jitter: 2 * h, Seed: string(rune('a' + i))}
			l.Spec, _ = Parse("30 2 * * *")
			other := &Loop{Jitter: l.Jitter, Seed: l.Seed, Spec: l.Spec}
			at := l.scheduledAfter(time.Now().UTC())
			offset := at.Sub(time.Now().Add(2*h + 30*m))
			if offset < 0 || offset >= 2*h || !other.scheduledAfter(time.Now().UTC()).Equal(at) {
				t.Fatalf("offset %v", offset)
			}
			if next := l.scheduledAfter(at); next.Sub(at) != 24*h {
				t.Fatalf("%v between two runs", next.Sub(at))
			}
			seen[offset.Truncate(12*m)]++
		}
		for slot, n := range seen {
			if n > 60 {
				t.Errorf("%d of 200 machines start in the 12 minutes from %v", n, slot)
			}
		}
		if len(seen) != 10 {
			t.Errorf("only %d of 10 slots are used", len(seen))
		}
	})
}

func TestCatchUp(t *testing.T) {
	for name, tt := range map[string]struct {
		last time.Duration // before the start; negative: never
		want []event
	}{
		"fresh":             {0, []event{{2*h + 30*m, Scheduled}}},
		"after last night":  {21 * h, []event{{2*h + 30*m, Scheduled}}},
		"before last night": {22 * h, []event{{0, CatchUp}, {2*h + 30*m, Scheduled}}},
		"years ago":         {20 * 366 * 24 * h, []event{{0, CatchUp}, {2*h + 30*m, Scheduled}}},
		"never":             {-1, []event{{0, CatchUp}, {2*h + 30*m, Scheduled}}},
		"in the future":     {-48 * h, []event{{0, CatchUp}, {2*h + 30*m, Scheduled}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "30 2 * * *")
				b.LastSuccess = func() time.Time {
					if tt.last == -1 {
						return time.Time{}
					}
					return b.begin.Add(-tt.last)
				}
				b.start(t)
				b.until(3 * h)
				b.expect(t, tt.want...)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *")
		b.LastSuccess, b.Jitter, b.Seed = nil, 2*h, "machine"
		b.start(t)
		if s := b.Status(); s.NextTrigger != CatchUp || s.Next.Sub(b.begin) > catchUpSpread {
			t.Errorf("catch-up at %v", s.Next)
		}
		b.until(3 * m)
		if len(b.events) != 1 {
			t.Errorf("got %v", b.events)
		}
	})
}

func TestTriggerByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.takes, b.LastSuccess = 10*m, nil
		b.start(t)
		if s := b.Status(); !s.Next.IsZero() {
			t.Errorf("a loop by hand has a next run: %+v", s)
		}
		time.Sleep(30 * h)
		if !b.Trigger() || b.Trigger() {
			t.Error("the second of two triggers at once was accepted, or the first was not")
		}
		time.Sleep(5 * m)
		if b.Trigger() {
			t.Error("a trigger during a run was accepted")
		}
		time.Sleep(6 * m)
		if !b.Trigger() {
			t.Error("a trigger after a run was refused")
		}
		b.until(50 * h)
		b.expect(t, event{30 * h, Manual}, event{30*h + 11*m, Manual})
	})
}

// TestNoOverlap has a job that takes longer than the time between two runs.
func TestNoOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "@every 1h")
		b.takes = 90 * m
		b.start(t)
		b.until(5*h + 30*m)
		b.expect(t, event{1 * h, Scheduled}, event{3 * h, Scheduled}, event{5 * h, Scheduled})
	})
}

type slowDown time.Duration

func (slowDown) Error() string               { return "too many requests" }
func (s slowDown) RetryAfter() time.Duration { return time.Duration(s) }
func wrapped(err error) error                { return errors.Join(errors.New("sync"), err) }

type refused struct{}

func (refused) Error() string   { return "wrong password" }
func (refused) Permanent() bool { return true }

func TestRetries(t *testing.T) {
	bad := errors.New("no answer")
	for name, tt := range map[string]struct {
		spec   string
		result func(n int) error
		until  time.Duration
		want   []event
	}{
		"growing delay, then the schedule": {"0 */4 * * *", func(int) error { return bad }, 8*h + m,
			[]event{{4 * h, Scheduled}, {4*h + 5*m, Retry}, {4*h + 15*m, Retry}, {4*h + 35*m, Retry}, {5*h + 15*m, Retry},
				{6*h + 15*m, Retry}, {7*h + 15*m, Retry}, {8 * h, Scheduled}}},
		"success resets": {"0 */4 * * *", func(n int) error {
			if n == 2 {
				return nil
			}
			return bad
		}, 8*h + 6*m,
			[]event{{4 * h, Scheduled}, {4*h + 5*m, Retry}, {4*h + 15*m, Retry}, {8 * h, Scheduled}, {8*h + 5*m, Retry}}},
		"asked to wait": {"0 */4 * * *", func(n int) error { return wrapped(slowDown(30 * m)) }, 5*h + m,
			[]event{{4 * h, Scheduled}, {4*h + 30*m, Retry}, {5 * h, Retry}}},
		"asked to hurry": {"0 */4 * * *", func(n int) error { return wrapped(slowDown(-h)) }, 4*h + 6*m,
			[]event{{4 * h, Scheduled}, {4*h + 5*m, Retry}}},
		"asked to wait beyond the schedule": {"0 */4 * * *", func(n int) error { return wrapped(slowDown(100 * h)) }, 8*h + m,
			[]event{{4 * h, Scheduled}, {8 * h, Scheduled}}},
		"permanent": {"0 */4 * * *", func(n int) error { return wrapped(refused{}) }, 8*h + m,
			[]event{{4 * h, Scheduled}, {8 * h, Scheduled}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.spec)
				b.result = tt.result
				b.start(t)
				b.until(tt.until)
				b.expect(t, tt.want...)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.result = func(int) error { return bad }
		b.start(t)
		b.Trigger()
		synctest.Wait()
		if s := b.Status(); s.Failures != 1 || !errors.Is(s.LastError, bad) || !s.Next.IsZero() {
			t.Errorf("a failed run by hand without a schedule: %+v", s)
		}
		b.until(3 * h)
		b.expect(t, event{0, Manual})
	})
}

// TestClockJumps moves the wall clock while the timers stand still, as suspend and resume do.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *")
		b.start(t)
		time.Sleep(1 * h)
		synctest.Wait()
		b.skew.Store(int64(9 * h)) // asleep from 01:00 to 10:00
		time.Sleep(slice)
		synctest.Wait()
		if len(b.events) != 1 || b.events[0].at > 10*h+slice || b.events[0].why != Scheduled {
			t.Errorf("after waking: %v", b.events)
		}
		b.until(2 * h)
		if len(b.events) != 1 {
			t.Errorf("more than one run for what was slept over: %v", b.events)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *")
		b.skew.Store(int64(9 * 366 * 24 * h)) // a wrong clock at start
		b.LastSuccess = b.Now
		b.start(t)
		time.Sleep(1 * h)
		synctest.Wait()
		b.skew.Store(int64(0))
		b.until(3 * h)
		b.expect(t, event{2*h + 30*m, Scheduled})
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *")
		b.start(t)
		time.Sleep(2*h + 31*m)
		synctest.Wait()
		b.skew.Store(int64(-5 * m)) // corrected by a little, right after the run
		b.until(4 * h)
		b.expect(t, event{2*h + 30*m, Scheduled})
	})
}

func TestServeWaitsForTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.takes = h
		b.start(t)
		b.Trigger()
		synctest.Wait()
		b.cancel()
		<-b.done
		if s := b.Status(); s.Running || !errors.Is(s.LastError, context.Canceled) {
			t.Errorf("status after: %+v", s)
		}
	})
}

// TestQueue: a run that is queued while one is under way follows it, once.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "")
		b.takes = time.Hour
		b.start(t)
		b.Queue()
		time.Sleep(30 * time.Minute)
		b.Queue()
		b.Queue()
		if b.Trigger() {
			t.Error("Trigger asked for a third run")
		}
		time.Sleep(10 * time.Hour)
		b.cancel()
		<-b.done
		want := []event{{0, Manual}, {time.Hour, Manual}}
		if !slices.Equal(b.events, want) {
			t.Errorf("runs %v, want %v", b.events, want)
		}
	})
}
