// Package schedule runs one job at the times of a cron specification: crontab(5)'s five fields, the names @hourly, @daily,
// @midnight, @weekly, @monthly, @yearly and @annually, and "@every" with a duration.
//
// It promises that runs never overlap, that a fleet of machines spreads out by an offset that is stable per machine, that a
// run missed while the machine was off or asleep is made up for soon after, that a failed run is tried again with growing
// delays, and that a clock set forward or back does not stop it.
//
// Times of a specification are local, or in the zone of a "CRON_TZ=Area/City " prefix. Where daylight saving time begins, a
// time that the clock jumps over does not happen that day; where it ends, a time in the repeated hour happens twice.
package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// maxSpec is the longest specification, in bytes.
	maxSpec = 128
	// minEvery and maxEvery bound the duration of "@every".
	minEvery = time.Minute
	maxEvery = 366 * 24 * time.Hour
)

// ErrInvalid reports a text that is no specification; the error that wraps it says why.
var ErrInvalid = errors.New("not a schedule")

// Spec is a parsed specification. The zero value never fires: only by hand.
type Spec struct {
	text  string
	every time.Duration // of "@every"
	cron  cron.Schedule // of everything else
}

// Parse reads a specification; "" is the zero Spec. It refuses what would never fire, such as 30 February, and "@every"
// below a minute. The error wraps ErrInvalid.
func Parse(text string) (Spec, error) {
	spec := strings.TrimSpace(text)
	if spec == "" {
		return Spec{}, nil
	}
	if len(spec) > maxSpec || strings.ContainsFunc(spec, func(r rune) bool { return r < ' ' || r > '~' }) {
		return Spec{}, fmt.Errorf("%w: longer than %d characters, or with others than those of ASCII", ErrInvalid, maxSpec)
	}
	if rest, found := strings.CutPrefix(spec, "@every"); found {
		return parseEvery(spec, rest)
	}
	parsed, err := parseCron(spec)
	if err != nil {
		return Spec{}, fmt.Errorf("%w: %q: %w", ErrInvalid, spec, err)
	}
	return Spec{text: spec, cron: parsed}, nil
}

func parseEvery(spec, rest string) (Spec, error) {
	d, err := time.ParseDuration(strings.TrimSpace(rest))
	if err != nil || rest[0] != ' ' {
		return Spec{}, fmt.Errorf("%w: %q: write a duration after @every, such as \"@every 6h\"", ErrInvalid, spec)
	}
	if d < minEvery || d > maxEvery {
		return Spec{}, fmt.Errorf("%w: %q: the duration is not between 1m and %dh", ErrInvalid, spec, int(maxEvery.Hours()))
	}
	return Spec{text: spec, every: d}, nil
}

// parseCron guards the parser, which panics on "TZ=0", takes an empty list for a field and accepts dates that do not exist.
func parseCron(spec string) (s cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			s, err = nil, errors.New("the time zone is not followed by a specification")
		}
	}()
	if slices.ContainsFunc(strings.Fields(spec), emptyItem) {
		return nil, errors.New("a list has an empty item")
	}
	if s, err = cron.ParseStandard(spec); err != nil {
		return nil, err
	}
	if _, constant := s.(cron.ConstantDelaySchedule); constant {
		return nil, errors.New("@every takes no time zone")
	}
	// Any five years that hold a 29 February do; a fixed time makes the answer the same every day.
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("there is no such date, so it would never run")
	}
	return s, nil
}

func emptyItem(field string) bool {
	return strings.HasPrefix(field, ",") || strings.HasSuffix(field, ",") || strings.Contains(field, ",,")
}

// String returns the specification as it was written, without space around it.
func (s Spec) String() string { return s.text }

// ByHand reports the zero Spec, which never fires by itself.
func (s Spec) ByHand() bool { return s.every == 0 && s.cron == nil }

// Next returns the first time after t, in t's location, or the zero time when there is none within five years. A cron
// specification without a zone of its own is read in t's location. "@every" counts from 1970-01-01 00:00 UTC, so that a
// restart does not shift it.
func (s Spec) Next(t time.Time) time.Time {
	t = t.Round(0) // calendar time, without the monotonic clock
	switch {
	case s.every > 0:
		epoch := time.Unix(0, 0)
		return t.Add(s.every - modulo(t.Sub(epoch), s.every))
	case s.cron != nil:
		return s.cron.Next(t)
	}
	return time.Time{}
}

// modulo is the remainder that is never negative.
func modulo(d, m time.Duration) time.Duration {
	return (d%m + m) % m
}
