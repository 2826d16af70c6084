package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// run is one run of Sync: the walk over all prefixes, and what it has found so far.
type run struct {
	sync      *Sync
	state     *state
	history   History
	partition *partition
	pause     *backoff.ExponentialBackOff
	began     time.Time
	entries   int                  // in the store when the run began
	seen      map[Address]struct{} // found by this part of the run
	unsaved   int                  // leaves done since the state was last stored
	fraction  float64
	start     float64 // the fraction at which this part of the run began
	resumed   bool
	phase     string
	troubles  []trouble // questions without a usable answer since the last one that had one
	answered  bool      // in this part of the run
	emptied   map[Address]Members
	refusal   error // of the last prefix that the server did not search for

	silence       int    // addresses without a usable answer since the last one that had one
	silenceReason string // of the last of them
}

// Sizes of the walk.
const (
	// saveEvery is how many leaves without news may be asked again after a crash.
	saveEvery = 64
	// likelyFull is how many of a truncated answer's records must continue with the same character for the extension to be
	// asked without certificates first: it is probably truncated too, and certificates come with photos.
	likelyFull = 25
	// mergeBelow is how few addresses must be left below a split prefix for it to be asked as a whole again.
	mergeBelow = 50
	// maxPrefix bounds the depth of the walk.
	maxPrefix = 128
)

// walk asks every leaf that is due, in byte order.
func (r *run) walk(ctx context.Context) error {
	r.resumed = r.state.Cursor != ""
	_, err := r.branch(ctx, "", nil, 0, 1)
	return err
}

// branch visits the extensions of a split prefix, and returns how many records it met. observed are the records of its
// truncated answer when it was split just now. lo and hi are the fractions of the address book before and after the
// branch, by estimate.
func (r *run) branch(ctx context.Context, prefix string, observed []Record, lo, hi float64) (met int, err error) {
	children := r.partition.extensions(prefix)
	weights, total, err := r.weigh(children, observed)
	if err != nil {
		return 0, err
	}
	share := (hi - lo) / total
	for i, child := range children {
		next := lo + share*weights[i]
		if !done(child, r.state.Cursor) {
			r.fraction = lo
			n, err := r.visit(ctx, prefix, child, count(observed, child), lo, next)
			if err != nil {
				return met, err
			}
			met += n
		}
		lo = next
	}
	if met < len(observed) && (r.state.Full || r.fresh(prefix)) {
		// All below was asked, and the answer that was cut off held more than all those together: some have no longer
		// address.
		if err := r.missed(prefix); err != nil {
			return met, err
		}
	}
	return max(met, len(observed)), nil
}

// weigh estimates how much of the address book is below each prefix.
func (r *run) weigh(prefixes []string, observed []Record) (weights []float64, total float64, err error) {
	weights = make([]float64, len(prefixes))
	err = r.sync.Store.View(func(tx Tx) error {
		for i, p := range prefixes {
			weights[i] = prior(p) + float64(count(observed, p))
			if r.history.Number > 0 { // else what is known is what this very walk has found so far
				known, err := tx.CountPrefix(p, 10_000)
				if err != nil {
					return err
				}
				weights[i] += float64(known)
			}
			total += weights[i]
		}
		return nil
	})
	return weights, total, err
}

// prior is how many people to expect below a prefix of which nothing is known, in relation to others: by how often names
// begin with its last character.
func prior(prefix string) float64 {
	const often = "amjsckbdrhtlegfpvwnoiuyzqx"
	last := prefix[len(prefix)-1]
	switch i := strings.IndexByte(often, last); {
	case i >= 0:
		return 4 / float64(i+4)
	case rare(prefix):
		return 0.01
	}
	return 0.05
}

// count says how many of the records have an address with the prefix.
func count(records []Record, prefix string) (n int) {
	for _, rec := range records {
		if slices.ContainsFunc(rec.Addresses, func(a Address) bool { return strings.HasPrefix(string(a), prefix) }) {
			n++
		}
	}
	return n
}

// visit asks one leaf, or goes into a prefix that is split.
func (r *run) visit(ctx context.Context, parent, prefix string, observed int, lo, hi float64) (met int, err error) {
	var listed int
	var home bool
	err = r.sync.Store.View(func(tx Tx) (err error) {
		if listed, err = tx.CountPrefix(prefix, mergeBelow+1); err != nil {
			return err
		}
		home, err = tx.HasPrimary(prefix)
		return err
	})
	if err != nil {
		return 0, err
	}
	due := r.state.Full || turn(prefix, r.state.Number, r.period(prefix)) || r.history.troubled(prefix)
	if at, split := r.partition.split[prefix]; split {
		if at > r.history.Number || listed > mergeBelow || !due {
			return r.branch(ctx, prefix, nil, lo, hi)
		}
		return r.leaf(ctx, prefix, true, lo, hi)
	}
	// A leaf that only has further addresses of entries at home elsewhere counts as empty: those are seen there.
	if !home && !due && !r.fresh(parent) {
		return 0, nil
	}
	return r.leaf(ctx, prefix, observed < likelyFull, lo, hi)
}

// fresh reports that no finished run has asked all leaves below prefix yet.
func (r *run) fresh(prefix string) bool {
	if prefix == "" {
		return r.history.Number == 0
	}
	return r.partition.split[prefix] > r.history.Number
}

// period is the number of runs within which an empty leaf is asked again.
func (r *run) period(leaf string) int {
	period := r.sync.EmptyPeriod
	if period <= 0 {
		period = 14
	}
	if rare(leaf) {
		return 3 * period
	}
	return period
}

// leaf asks for a prefix, and either stores the answer or splits the prefix.
func (r *run) leaf(ctx context.Context, prefix string, certificates bool, lo, hi float64) (met int, err error) {
	answer, err := r.ask(ctx, prefix, certificates)
	if err == nil && !answer.Truncated && !certificates && len(answer.Records) > 0 {
		certificates = true
		answer, err = r.ask(ctx, prefix, true)
	}
	switch {
	case errors.Is(err, ErrInvalidName):
		return 0, r.refused(prefix, err)
	case err != nil:
		return 0, r.stumble(ctx, prefix, err)
	case answer.Truncated:
		return r.tooFull(ctx, prefix, answer, certificates, lo, hi)
	}
	r.partition.merge(prefix)
	return len(answer.Records), r.store(prefix, answer.Records, true)
}

// tooFull splits a prefix whose answer was truncated.
func (r *run) tooFull(ctx context.Context, prefix string, answer Answer, certificates bool, lo, hi float64) (met int, err error) {
	if certificates {
		if err := r.store(prefix, answer.Records, false); err != nil {
			return 0, err
		}
	}
	if len(answer.Records)+answer.Others == 0 || len(prefix) >= maxPrefix {
		err := r.gap(prefix)
		if errors.Is(err, errGaps) && len(prefix) >= maxPrefix {
			err = ErrNoNarrowing
		}
		return len(answer.Records), err
	}
	if _, ok := r.partition.split[prefix]; !ok {
		r.partition.add(prefix, r.state.Number)
		r.sync.log().Debug("prefix split", "prefix", prefix, "records", len(answer.Records))
	}
	for _, rec := range answer.Records {
		r.partition.learn(rec.Addresses)
	}
	return r.branch(ctx, prefix, answer.Records, lo, hi)
}

// refused notes a prefix that the server does not search for. Where entries are known it is a gap.
func (r *run) refused(prefix string, why error) error {
	if err := r.steady(); err != nil {
		return err
	}
	r.refusal = why
	var home bool
	err := r.sync.Store.View(func(tx Tx) (err error) {
		home, err = tx.HasPrimary(prefix)
		return err
	})
	if err != nil {
		return err
	}
	if home {
		return r.gap(prefix)
	}
	r.state.Report.Refused = appendNew(r.state.Report.Refused, prefix)
	return r.advance(prefix)
}

// heard reports a server that refused every question of a walk: it said nothing about anybody. The next part of the run
// begins from the start.
func (r *run) heard() error {
	rep := &r.state.Report
	if r.refusal == nil || !r.state.Answered.IsZero() {
		return nil
	}
	r.state.Cursor, rep.Refused, rep.Gaps = "", nil, nil
	return fmt.Errorf("the server refused every question: %w", r.refusal)
}

func (r *run) gap(prefix string) error {
	if err := r.missed(prefix); err != nil {
		return err
	}
	return r.advance(prefix)
}

// maxGaps bounds the gaps of a run beside those with Reasons. What is no gap by name counts as confirmed, so that a run
// with more of them has to end.
const maxGaps = 1000

var errGaps = fmt.Errorf("the server did not answer in full in more than %d places", maxGaps)

// missed notes a gap.
func (r *run) missed(prefix string) error {
	rep := &r.state.Report
	switch {
	case slices.Contains(rep.Gaps, prefix):
		return nil
	case len(rep.Gaps) >= maxGaps:
		return fmt.Errorf("%w, the last one %q", errGaps, prefix)
	}
	rep.Gaps = append(rep.Gaps, prefix)
	return nil
}

func appendNew(list []string, s string) []string {
	const most = 1000
	if len(list) >= most || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// advance notes that a leaf without news is done.
func (r *run) advance(prefix string) error {
	r.state.done(prefix)
	if r.unsaved++; r.unsaved < saveEvery {
		return nil
	}
	return r.sync.Store.Update(r.save)
}

func (r *run) save(tx Tx) error {
	if err := r.partition.save(tx); err != nil {
		return err
	}
	if err := r.state.save(tx); err != nil {
		return err
	}
	clear(r.partition.dirty)
	r.unsaved = 0
	return nil
}

// ask puts one question to the source, again if its error may pass. While the server is in trouble, once is enough.
func (r *run) ask(ctx context.Context, prefix string, certificates bool) (Answer, error) {
	tries := maxTries
	if len(r.troubles) > 0 {
		tries = 1
	}
	return r.question(ctx, tries, prefix, certificates)
}

func (r *run) question(ctx context.Context, tries int, prefix string, certificates bool) (Answer, error) {
	var answer Answer
	err := r.retry(ctx, tries, func() (err error) {
		answer, err = r.sync.Source.Search(ctx, prefix, certificates)
		return err
	})
	switch {
	case err != nil && r.state.Report.Records == 0:
		return Answer{}, fmt.Errorf("read the address book: %w", err)
	case err != nil:
		return Answer{}, fmt.Errorf("read the address book at %q: %w", prefix, err)
	}
	if err := r.steady(); err != nil {
		return Answer{}, err
	}
	r.note(prefix, answer.Records)
	return answer, r.extra(ctx, answer.Requests-1)
}

// retry asks a question as often as it makes sense, at most tries times, each time when the rate allows.
func (r *run) retry(ctx context.Context, tries int, question func() error) error {
	r.pause.Reset()
	for try := 1; ; try++ {
		if err := r.permit(ctx); err != nil {
			return err
		}
		err := question()
		r.state.Report.Requests++
		r.state.Report.PartRequests++
		if err == nil {
			return nil
		}
		wait, again := r.again(ctx, err)
		if !again || try == tries {
			return err
		}
		r.sync.log().Warn("a question is asked again", "try", try, "wait", wait, "error", err)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// extra counts further requests that one question took, and waits for as long as the rate wants for them.
func (r *run) extra(ctx context.Context, n int) error {
	for range n {
		r.state.Report.Requests++
		r.state.Report.PartRequests++
		if err := r.sync.Pace.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// again says whether and when to repeat a question.
func (r *run) again(ctx context.Context, err error) (time.Duration, bool) {
	retry, ok := errors.AsType[RetryError](err)
	if !ok || ctx.Err() != nil || errors.Is(err, ErrInvalidName) {
		return 0, false
	}
	r.sync.Pace.hold(retry.RetryAfter())
	// On top of what the server asked for, so that not everybody comes back in the same moment.
	wait := retry.RetryAfter() + r.pause.NextBackOff()
	return wait, retry.RetryAfter() <= maxPause
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ErrNoNarrowing reports a server whose answers do not get smaller as the prefix gets longer: a walk would not end.
var ErrNoNarrowing = errors.New("the server's answers do not narrow down with longer prefixes")

// permit waits for the next request that the rate allows. It ends a run that asks far more than an address book of this
// size can need: some sixty requests per entry, on top of what an empty one costs.
func (r *run) permit(ctx context.Context) error {
	if r.state.Report.Requests > 20_000+60*max(len(r.seen), r.entries) {
		return ErrNoNarrowing
	}
	if err := r.spent(); err != nil {
		return err
	}
	return r.sync.Pace.wait(ctx)
}

// note counts an answer and reports progress.
func (r *run) note(prefix string, records []Record) {
	r.state.Report.Records += len(records)
	r.state.Answered = r.sync.now()
	for _, rec := range records {
		r.seen[rec.Primary] = struct{}{}
	}
	if r.start == 0 && r.resumed {
		r.start = r.fraction
	}
	var end time.Time
	if r.fraction-r.start > 0.01 {
		end = r.estimate(r.began, (r.fraction-r.start)/(1-r.start))
	}
	r.tell(prefix, end)
}

// estimate says when a work will be done of which a share was done since it began, at the pace so far.
func (r *run) estimate(began time.Time, share float64) time.Time {
	now := r.sync.now()
	left := float64(now.Sub(began)) * (1 - share) / share
	return now.Add(time.Duration(left)).Truncate(time.Second)
}

func (r *run) tell(prefix string, end time.Time) {
	if r.sync.Progress == nil {
		return
	}
	r.sync.Progress(Progress{Started: r.state.Started, Phase: r.phase, Prefix: prefix, Requests: r.state.Report.PartRequests,
		Records: r.state.Report.Records, Entries: r.entries, Fraction: r.fraction, End: end})
}
