package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MemoryOfQuestions is how long an address that somebody asked for is kept fresh, when only known addresses are.
const MemoryOfQuestions = 90 * 24 * time.Hour

// maxQuestions bounds the addresses that are remembered because somebody asked for them.
const maxQuestions = 20_000

// Question is what is remembered of an exact look-up.
type Question struct {
	Asked time.Time `json:"asked"`
	// Found is whether the server knew the address.
	Found bool `json:"found"`
	// Wanted is when a person or program, not a schedule, last asked.
	Wanted time.Time `json:"wanted,omitzero"`
}

const questionKey = "asked/"

// LastQuestion returns what is remembered of the last exact look-up of an address; zero when there was none.
func LastQuestion(tx Tx, address Address) (q Question, err error) {
	b, err := tx.State(questionKey + string(address))
	if err != nil || b == nil {
		return q, err
	}
	if err := json.Unmarshal(b, &q); err != nil {
		return q, fmt.Errorf("read the last question about %s: %w", address, err)
	}
	return q, nil
}

func (q Question) save(tx Tx, address Address) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return tx.SetState(questionKey+string(address), b)
}

// ErrNoResolver reports a source that cannot be asked for one address.
var ErrNoResolver = errors.New("this source cannot be asked for a single address")

// Ask puts one exact question to the source, without retries, and stores what it found: entries, and that the address is
// theirs when the server does not list it. An entry that loses its usable certificate by it is left to the next run. It
// may be called while Run is under way.
func (s *Sync) Ask(ctx context.Context, address Address) (found bool, err error) {
	source, ok := s.Source.(Resolver)
	if !ok {
		return false, ErrNoResolver
	}
	if err := s.Pace.wait(ctx); err != nil {
		return false, fmt.Errorf("ask for %s: %w", address, err)
	}
	resolution, err := source.Resolve(ctx, address)
	if retry, ok := errors.AsType[RetryError](err); ok {
		s.Pace.hold(retry.RetryAfter())
	}
	if err != nil {
		return false, fmt.Errorf("ask for %s: %w", address, err)
	}
	now := s.now()
	found = len(resolution.Records) > 0 || resolution.Contact != nil
	r := &run{sync: s, state: &state{Started: now}}
	err = s.Store.Update(func(tx Tx) error {
		records, err := sortOut(tx, resolution.Records)
		if err != nil {
			return err
		}
		for _, rec := range records {
			if rec.Undetermined != "" {
				continue // for a run to note
			}
			if err := r.take(tx, rec, address, resolution.Unlisted, now); err != nil {
				return err
			}
		}
		if len(resolution.Records) > 0 { // what nobody has any more is for a run to believe
			if err := withdraw(tx, address, resolution.Records); err != nil {
				return err
			}
		}
		if c := resolution.Contact; c != nil && len(c.Values) > 0 { // as above: that there is none is for a run to believe
			if err := r.settleContact(tx, address, resolution); err != nil {
				return err
			}
		}
		q := Question{Asked: now, Found: found, Wanted: now}
		return errors.Join(q.save(tx, address), forgetNowAndThen(tx, now))
	})
	return found, err
}

// take stores a record that was found by an address.
func (r *run) take(tx Tx, rec Record, address Address, unlisted bool, now time.Time) error {
	rec, err := sortOutOne(tx, rec)
	if err != nil {
		return err
	}
	if rec.Undetermined != "" {
		if err := r.undetermined(tx, rec.Primary, rec.Undetermined); err != nil {
			return err
		}
	}
	known, missing, err := tx.Digest(rec.Primary)
	if err != nil && !errors.Is(err, ErrNoEntry) {
		return err
	}
	if err != nil || missing || known != digest(rec) {
		if err := r.put(tx, rec, now); err != nil {
			return err
		}
	}
	if !unlisted {
		return nil
	}
	entry, err := tx.Entry(rec.Primary)
	if err != nil || slices.Contains(entry.Owned(), address) || len(entry.Proven) >= maxAddresses {
		return err
	}
	entry.Proven = append(entry.Proven, address)
	slices.Sort(entry.Proven)
	return tx.PutEntry(entry)
}

// withdraw takes an address from the entries that an exact answer did not name: an alias that moved on, or is gone.
func withdraw(tx Tx, address Address, found []Record) error {
	owners, err := tx.Owners(address)
	if err != nil {
		return err
	}
	for _, primary := range owners {
		if slices.ContainsFunc(found, func(rec Record) bool { return rec.Primary == primary }) {
			continue
		}
		entry, err := tx.Entry(primary)
		if err != nil {
			return err
		}
		if i := slices.Index(entry.Proven, address); i >= 0 {
			entry.Proven = slices.Delete(entry.Proven, i, i+1)
			if err := tx.PutEntry(entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// refresh asks for every known address, the one that waits longest first.
func (r *run) refresh(ctx context.Context) error {
	source, ok := r.sync.Source.(Resolver)
	if !ok {
		return ErrNoResolver
	}
	due, err := r.known()
	if err != nil {
		return fmt.Errorf("list the known addresses: %w", err)
	}
	r.phase = PhaseKnown
	return r.refreshAll(ctx, source, due)
}

// refreshAll asks for known addresses, in batches where the source takes them.
func (r *run) refreshAll(ctx context.Context, source Resolver, due []known) error {
	if batcher, ok := source.(BatchResolver); ok {
		return r.refreshBatches(ctx, batcher, due)
	}
	for i, k := range due {
		r.fraction = float64(i) / float64(len(due))
		if err := r.refreshOne(ctx, source, k); err != nil {
			return fmt.Errorf("ask for %s: %w", k.address, err)
		}
	}
	return nil
}

// prove asks, after a walk, for the addresses that no entry lists but that may be aliases: those of Addresses, and in turns
// those that an exact look-up found before; for contacts, where only an exact question tells of them; and for addresses
// that begin so many others that no search is sure to show them.
func (r *run) prove(ctx context.Context) error {
	source, ok := r.sync.Source.(Resolver)
	if !ok {
		return nil
	}
	due, err := r.unlisted()
	if err != nil {
		return fmt.Errorf("list the addresses to be proven: %w", err)
	}
	r.phase = PhaseAliases
	return r.refreshAll(ctx, source, due)
}

func (r *run) unlisted() (due []known, err error) {
	err = r.sync.Store.View(func(tx Tx) error {
		all := map[Address]bool{}
		for _, a := range r.sync.Addresses {
			all[a] = true
		}
		err := tx.States(questionKey, func(key string, value []byte) error {
			var q Question
			a := Address(strings.TrimPrefix(key, questionKey))
			if json.Unmarshal(value, &q) == nil && q.Found && (r.state.Full || turn(string(a), r.state.Number, groupPeriod)) {
				all[a] = true
			}
			return nil
		})
		resolved := map[Address]bool{}
		if r.tellsContacts() {
			err = errors.Join(err, r.contactAddresses(tx, all), resolvedContacts(tx, resolved))
		}
		crowded := r.partition.addresses()
		for a := range crowded {
			all[a] = true
		}
		for a := range all {
			last, qErr := LastQuestion(tx, a)
			listed, lErr := isListed(tx, a)
			if err = errors.Join(err, qErr, lErr); err != nil {
				return err
			}
			if (!listed || resolved[a] || crowded[a]) && r.waiting(last.Asked) {
				due = append(due, known{a, last, crowded[a]})
			}
		}
		return err
	})
	slices.SortFunc(due, func(a, b known) int { return cmp.Compare(a.address, b.address) })
	return due, err
}

// resolvedContacts adds the addresses of contacts that are Resolved.
func resolvedContacts(tx Tx, all map[Address]bool) error {
	return tx.Contacts(func(c Contact) error {
		for i := 0; c.Resolved && i < len(c.Addresses); i++ {
			all[c.Addresses[i]] = true
		}
		return nil
	})
}

// isListed reports that an entry lists an address.
func isListed(tx Tx, address Address) (bool, error) {
	owners, err := tx.Owners(address)
	for _, primary := range owners {
		entry, err := tx.Entry(primary)
		if err != nil {
			return false, err
		}
		if slices.Contains(entry.Addresses, address) {
			return true, nil
		}
	}
	return false, err
}

// known is an address to be asked for, and what is remembered of the last time.
type known struct {
	address Address
	last    Question
	// crowded: it begins so many others that no search is sure to show who is there.
	crowded bool
}

// moot reports that it does not matter that the server gave no usable answer about an address: it is the beginning of many
// others, such as info@a, and nobody is known to have it.
func (k known) moot(tx Tx, result Resolved) bool {
	if result.Err == nil || !k.crowded {
		return false
	}
	_, _, err := tx.Digest(k.address)
	return errors.Is(err, ErrNoEntry)
}

// known lists what this run has to ask for and has not asked for yet.
func (r *run) known() (due []known, err error) {
	err = r.sync.Store.View(func(tx Tx) error {
		all, err := r.knownAddresses(tx)
		if err != nil {
			return err
		}
		for a := range all {
			q, err := LastQuestion(tx, a)
			if err != nil {
				return err
			}
			if r.waiting(q.Asked) {
				due = append(due, known{address: a, last: q})
			}
		}
		return nil
	})
	slices.SortFunc(due, func(a, b known) int {
		return cmp.Or(a.last.Asked.Compare(b.last.Asked), cmp.Compare(a.address, b.address))
	})
	return due, err
}

func (r *run) knownAddresses(tx Tx) (map[Address]bool, error) {
	all := map[Address]bool{}
	for _, a := range r.sync.Addresses {
		all[a] = true
	}
	primaries, err := tx.Primaries("")
	if err != nil {
		return nil, err
	}
	for _, a := range primaries {
		all[a] = true
	}
	groups, err := tx.Groups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		m, err := tx.Members(g)
		if err != nil {
			return nil, err
		}
		for i := 0; m != nil && i < len(m.Members); i++ {
			if a := m.Members[i].Address; a != "" {
				all[a] = true
			}
		}
	}
	if err := r.contactAddresses(tx, all); err != nil {
		return nil, err
	}
	since, day := r.state.Started.Add(-MemoryOfQuestions), r.day()
	err = tx.States(questionKey, func(key string, value []byte) error {
		var q Question
		if json.Unmarshal(value, &q) != nil {
			return nil
		}
		if a := strings.TrimPrefix(key, questionKey); q.Wanted.After(since) || q.Found && turn(a, day, groupPeriod) {
			all[Address(a)] = true
		}
		return nil
	})
	return all, err
}

// day stands in for the number that runs over known addresses do not have.
func (r *run) day() int { return int(r.state.Started.Unix() / 86400) }

// contactAddresses adds the addresses of contacts. Most contacts are nobody's colleagues: one that the server did not know
// is asked for again in turns, each within a week.
func (r *run) contactAddresses(tx Tx, all map[Address]bool) error {
	return tx.Contacts(func(c Contact) error {
		for _, a := range c.Addresses {
			q, err := LastQuestion(tx, a)
			if err != nil {
				return err
			}
			if c.Resolved || q.Found || r.state.Full || r.state.Started.Sub(q.Asked) >= groupPeriod*24*time.Hour || turn(string(a), r.day(), groupPeriod) {
				all[a] = true
			}
		}
		return nil
	})
}

// refreshOne asks for one known address.
func (r *run) refreshOne(ctx context.Context, source Resolver, k known) error {
	tries := maxTries
	if len(r.troubles) > 0 {
		tries = 1
	}
	var result Resolved
	err := r.retry(ctx, tries, func() (err error) {
		result.Resolution, err = source.Resolve(ctx, k.address)
		return err
	})
	if errors.Is(err, ErrInvalidName) || k.crowded && errors.Is(err, ErrUnreadable) {
		result.Err, err = err, nil
	}
	if err != nil {
		return r.stumble(ctx, string(k.address), err)
	}
	if err := r.steady(); err != nil {
		return err
	}
	r.note(string(k.address), result.Records)
	err = r.sync.Store.Update(func(tx Tx) error {
		return errors.Join(r.settleOne(tx, k, result), r.state.save(tx))
	})
	return errors.Join(err, r.tooSilent())
}

// settleOne notes an address without a usable answer, and applies what the server said about others.
func (r *run) settleOne(tx Tx, k known, result Resolved) error {
	var err error
	if !k.moot(tx, result) {
		_, err = r.unsaid(tx, k.address, result)
	}
	return errors.Join(err, r.settleKnown(tx, k, result))
}

// settleKnown applies what the server said about a known address. An entry at home there that is not found is lost, as in
// a walk; without a usable answer nothing changes.
func (r *run) settleKnown(tx Tx, k known, result Resolved) error {
	now := r.sync.now()
	k.last.Asked = now
	if result.Err != nil {
		return k.last.save(tx, k.address)
	}
	if err := r.settleContact(tx, k.address, result.Resolution); err != nil {
		return err
	}
	if result.Contact != nil { // it says nothing about the address book
		k.last.Found = true
		return k.last.save(tx, k.address)
	}
	home := false
	for _, rec := range result.Records {
		home = home || rec.Primary == k.address
		if err := r.take(tx, rec, k.address, result.Unlisted, now); err != nil {
			return err
		}
	}
	noted := false
	var err error
	if len(result.Records) == 0 {
		noted, err = noteGone(tx, k.address, now)
	} else {
		err = withdraw(tx, k.address, result.Records)
	}
	if err != nil {
		return err
	}
	if _, _, err := tx.Digest(k.address); err == nil && !home {
		if err := tx.PutLoss(Loss{Primary: k.address}); err != nil {
			return err
		}
	}
	k.last.Found = len(result.Records) > 0 || noted
	return k.last.save(tx, k.address)
}

// forget removes what is remembered of questions that nobody needs any more: after MemoryOfQuestions, and of too many that
// somebody wanted the oldest. Those that only runs ask are bounded by what is stored, and say how far a run came.
func forget(tx Tx, now time.Time) error {
	type memory struct {
		key  string
		last time.Time
	}
	var wanted []memory
	var gone []string
	err := tx.States(questionKey, func(key string, value []byte) error {
		var q Question
		if json.Unmarshal(value, &q) != nil {
			q = Question{}
		}
		switch last := later(q.Asked, q.Wanted); {
		case now.Sub(last) > MemoryOfQuestions:
			gone = append(gone, key)
		case !q.Wanted.IsZero():
			wanted = append(wanted, memory{key, last})
		}
		return nil
	})
	slices.SortFunc(wanted, func(a, b memory) int { return b.last.Compare(a.last) })
	for _, m := range wanted[min(len(wanted), maxQuestions):] {
		gone = append(gone, m.key)
	}
	for _, key := range gone {
		err = errors.Join(err, tx.SetState(key, nil))
	}
	return err
}

const (
	askedKey = "questions" // how many were asked since forget was last called
	// forgetEvery is how many questions may be remembered beyond maxQuestions while no run begins.
	forgetEvery = 1000
)

// forgetNowAndThen counts a question, and forgets old ones once in forgetEvery.
func forgetNowAndThen(tx Tx, now time.Time) error {
	b, err := tx.State(askedKey)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(b))
	if n++; n >= forgetEvery {
		n, err = 0, forget(tx, now)
	}
	return errors.Join(err, tx.SetState(askedKey, strconv.AppendInt(nil, int64(n), 10)))
}
