package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Status answers how the daemon is. It implements service.StatusSource.
type Status struct {
	Cache *cache.Cache
	Book  *recipients.Book
	Runs  *Runs
	// Upstream is the system's daemon when data comes from it; else nil.
	Upstream *client.Client
	// Contacts are read by this daemon.
	Contacts bool
	// Protocol and URL of the source; empty without one.
	Protocol, URL string
	// Revocations is nil when revocation is not checked and no certificates of authorities are fetched.
	Revocations *Revocations
	// WarnAfter is the age of the data from which on a warning is given.
	WarnAfter time.Duration
	// SignIn, when set, tells whether the credential is left alone now, because it was refused before.
	SignIn func() (httpauth.Lockout, bool)
	// Policy, when set, is what the server demands of this device; nil when it demands nothing.
	Policy func() *service.DevicePolicy
	// Notes are warnings that hold as long as the process runs, such as a cache that was set aside.
	Notes []string
	Now   func() time.Time
	Log   *slog.Logger

	mu       sync.Mutex
	counting bool
	counted  time.Time
	counts   service.Counts
	expiring []service.Expiring
	done     chan struct{}
}

// Bounds of the summary.
const (
	expiresSoon   = 30 * 24 * time.Hour
	maxExpiring   = 100
	recountAfter  = 6 * time.Hour
	countPatience = 2 * time.Second
)

// Status implements service.StatusSource.
func (s *Status) Status(ctx context.Context) (service.Status, error) {
	history, entries, _, err := s.Cache.History(ctx)
	if err != nil {
		return service.Status{}, problem(err)
	}
	s.settle(ctx)
	out := service.Status{Source: s.source(history), Running: s.Runs.running(), FIPS: cms.FIPSMode()}
	if out.Running != nil {
		out.Source.State = "running"
	}
	s.mu.Lock()
	out.Counts = service.Counts{Entries: entries, ByState: s.counts.ByState}
	out.Expiring = slices.Clone(s.expiring)
	s.mu.Unlock()
	if s.Upstream != nil {
		s.upstream(ctx, &out, &history)
	} else if s.Contacts {
		if out.Contacts, err = contactsStatus(ctx, s.Cache, history); err != nil {
			return service.Status{}, problem(err)
		}
	}
	if s.Revocations != nil {
		if out.Revocation, err = s.Revocations.status(); err != nil {
			return service.Status{}, problem(err)
		}
		out.Issuers = s.Revocations.issuersStatus()
		// A keyring that cannot be read is told of elsewhere.
		if own, err := s.Revocations.revokedIdentities(); err == nil {
			out.Warnings = append(out.Warnings, own...)
		}
	}
	out.Warnings = append(out.Warnings, s.warnings(history, out)...)
	return out, nil
}

// upstream puts in what the system's daemon says about the data.
func (s *Status) upstream(ctx context.Context, out *service.Status, history *directory.History) {
	up, err := s.Upstream.Status(ctx)
	warning := "the system's galsyncd does not answer"
	switch {
	case err != nil && !history.Finished.IsZero(): // the source stays what this daemon's own copy is
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s, and this daemon's own copy of the address book stands in: %v", warning, err))
		return
	case err != nil:
		out.Source.State, out.Source.LastError = "failed", err.Error()
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s: %v", warning, err))
		return
	}
	out.Source.State, out.Source.LastAttempt, out.Source.LastSuccess = up.Source.State, up.Source.LastAttempt, up.Source.LastSuccess
	out.Source.LastError, out.Source.LastErrorHint, out.Source.NextRun = up.Source.LastError, up.Source.LastErrorHint, up.Source.NextRun
	out.Source.DataAge, out.Source.LastWalk = up.Source.DataAge, up.Source.LastWalk
	out.Counts.Entries = up.Counts.Entries
	history.Finished, history.Walked = up.Source.LastSuccess, up.Source.LastWalk
	out.Contacts = (*service.Contacts)(up.Contacts)
}

func (s *Status) source(h directory.History) service.Source {
	out := service.Source{Protocol: s.Protocol, URL: s.URL, State: "never", LastSuccess: h.Finished, LastWalk: h.Walked, LastError: h.Error, LastErrorHint: h.Hint}
	if s.Runs.Loop != nil {
		out.NextRun = s.Runs.Loop.Status().Next
	}
	if h.Last != nil {
		out.LastAttempt = h.Last.Ended
		out.State = map[directory.Outcome]string{directory.Complete: "ok", directory.Incomplete: "incomplete", directory.Guarded: "guarded", directory.Paused: "paused"}[h.Last.Outcome]
		if out.State == "" {
			out.State = "failed"
		}
	}
	if s.SignIn != nil {
		if l, stopped := s.SignIn(); stopped {
			out.SignIn = &service.SignInStopped{Since: l.Since, Until: l.Until, Hint: l.Hint()}
		}
	}
	if s.Policy != nil {
		out.Policy = s.Policy()
	}
	if !h.Finished.IsZero() {
		age := s.Now().Sub(h.Finished).Seconds()
		out.DataAge = &age
	}
	return out
}

func (s *Status) warnings(h directory.History, st service.Status) []string {
	warnings := slices.Clone(s.Notes)
	add := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	age := s.Now().Sub(h.Finished)
	switch {
	case s.Protocol == "":
		add("no Exchange server is configured: nothing is fetched (set exchange.url)")
	case h.Finished.IsZero():
		add("the address book has not been read completely yet")
	case s.WarnAfter > 0 && age > s.WarnAfter:
		add("the address book was last read %d days ago", int(age.Hours()/24))
	}
	if h.Last != nil && h.Last.Outcome == directory.Guarded {
		add("%s: %s", h.Last.GuardText(), directory.GuardHint)
	}
	if len(h.Gaps) > 0 {
		text := fmt.Sprintf("%d parts of the address book could not be read in full, for example addresses that begin with %q", len(h.Gaps), h.Gaps[0].Prefix)
		if why := h.Gaps[0].Reason; why != "" {
			text += ": " + why
		}
		add("%s", text)
	}
	if h.Undetermined > 0 && h.Silent != nil {
		add("the server gave no usable answer about %d addresses, for example %s: %s; what is known of them stays and grows old", h.Undetermined, h.Silent.Prefix, h.Silent.Reason)
	}
	if h.Last != nil && h.Last.SilentGroups > 0 {
		add("the members of %d groups could not be asked for in the last run, for example %s", h.Last.SilentGroups, h.Last.Silent)
	}
	if s.Book.Policy == nil || s.Book.Policy.AnchorCount == 0 && !s.Book.Policy.AcceptDirectory {
		add("trust.anchors names no certificate, so nobody is trusted: put the root that issued your people's certificates there")
	}
	if text := contactsWarning(st.Contacts); text != "" {
		add("%s", text)
	}
	if r := st.Revocation; r != nil && r.Failing > 0 {
		f := r.Failures[0]
		add("revocation data could not be fetched from %d of its sources, for example %s: %s", r.Failing, f.URL, f.Error)
	}
	if r := st.Revocation; r != nil && r.LeftOut > 0 {
		add("%d sources of revocation data are left out: they are too many", r.LeftOut)
	}
	if n := len(st.Expiring); n > 0 {
		add("%d certificates expire within 30 days", n)
	}
	return warnings
}

// settle sees to it that the counts are recent, and waits a little for them when there are none.
func (s *Status) settle(ctx context.Context) {
	s.mu.Lock()
	if !s.counting && s.Now().Sub(s.counted) > recountAfter {
		s.start(context.WithoutCancel(ctx))
	}
	done, counting := s.done, s.counting
	s.mu.Unlock()
	if !counting {
		return
	}
	timer := time.NewTimer(countPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Recount counts anew in the background, after a run changed something.
func (s *Status) Recount(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.counting {
		s.start(ctx)
	}
}

// start begins to count; the lock is held.
func (s *Status) start(ctx context.Context) {
	s.counting, s.done = true, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		counts, expiring, err := s.count(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counting, s.counted = false, s.Now()
		if err != nil {
			s.Log.Warn("counts are not current", "error", err)
			return
		}
		s.counts, s.expiring = counts, expiring
	}(s.done)
}

// count asks for every entry what a look-up of it would say.
func (s *Status) count(ctx context.Context) (service.Counts, []service.Expiring, error) {
	counts := service.Counts{ByState: map[string]int{}}
	var expiring []service.Expiring
	soon := s.Now().Add(expiresSoon)
	var batch []string
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		result, err := s.Book.Lookup(ctx, batch)
		if err != nil {
			return err
		}
		for _, a := range result.Recipients {
			counts.ByState[string(a.State)]++
			if a.Certificate != nil && a.Certificate.NotAfter.Before(soon) && len(expiring) < maxExpiring {
				expiring = append(expiring, service.Expiring{Address: a.Address, NotAfter: a.Certificate.NotAfter})
			}
		}
		batch = batch[:0]
		return nil
	}
	primaries, err := s.Cache.Primaries(ctx)
	if err != nil {
		return counts, nil, err
	}
	for _, p := range primaries {
		counts.Entries++
		if batch = append(batch, string(p)); len(batch) == 100 {
			if err := flush(); err != nil {
				return counts, nil, err
			}
		}
	}
	err = flush()
	slices.SortFunc(expiring, func(a, b service.Expiring) int { return a.NotAfter.Compare(b.NotAfter) })
	return counts, expiring, err
}
