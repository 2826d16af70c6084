package directory

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// news is what an answer changes.
type news struct {
	found []Record  // new, changed or back again
	lost  []Address // not found where they must be
}

// store brings the store in line with the answer to a leaf. whole says that the answer holds everything there is below
// prefix: then entries whose primary address is there and that were not found are lost.
func (r *run) store(prefix string, records []Record, whole bool) error {
	var n news
	err := r.sync.Store.View(func(tx Tx) (err error) {
		if records, err = sortOut(tx, records); err != nil {
			return err
		}
		n, err = compare(tx, prefix, records, whole)
		return err
	})
	if err != nil {
		return err
	}
	for _, rec := range n.found {
		r.partition.learn(rec.Addresses)
	}
	silent := slices.ContainsFunc(records, func(rec Record) bool { return rec.Undetermined != "" })
	if len(n.found)+len(n.lost) == 0 && !silent {
		if len(records) > 0 {
			r.silence = 0
		}
		if whole {
			return r.advance(prefix)
		}
		return nil
	}
	err = r.sync.Store.Update(func(tx Tx) error {
		if err := r.noteSilence(tx, records); err != nil {
			return err
		}
		if err := r.apply(tx, n); err != nil {
			return err
		}
		if whole {
			r.state.done(prefix)
		}
		return r.save(tx)
	})
	if err != nil {
		return err
	}
	return r.tooSilent()
}

// noteSilence notes the records without a usable answer.
func (r *run) noteSilence(tx Tx, records []Record) error {
	for _, rec := range records {
		if rec.Undetermined == "" {
			r.silence = 0
			continue
		}
		if err := r.undetermined(tx, rec.Primary, rec.Undetermined); err != nil {
			return err
		}
	}
	return nil
}

func compare(tx Tx, prefix string, records []Record, whole bool) (news, error) {
	var n news
	here := make(map[Address]bool, len(records))
	for _, rec := range records {
		if here[rec.Primary] {
			continue
		}
		here[rec.Primary] = true
		known, missing, err := tx.Digest(rec.Primary)
		if err != nil && !errors.Is(err, ErrNoEntry) {
			return n, err
		}
		if err != nil || missing || known != digest(rec) && rec.Undetermined == "" {
			n.found = append(n.found, rec)
		}
	}
	if !whole {
		return n, nil
	}
	primaries, err := tx.Primaries(prefix)
	for _, p := range primaries {
		if !here[p] {
			n.lost = append(n.lost, p)
		}
	}
	return n, err
}

func (r *run) apply(tx Tx, n news) error {
	now := r.sync.now()
	for _, rec := range n.found {
		if err := r.put(tx, rec, now); err != nil {
			return fmt.Errorf("store %s: %w", rec.Primary, err)
		}
	}
	for _, p := range n.lost {
		if err := tx.PutLoss(Loss{Primary: p}); err != nil {
			return fmt.Errorf("note %s as not found: %w", p, err)
		}
	}
	return nil
}

// put stores a record, or holds it back when it would take away the last usable certificate, or the last of all.
func (r *run) put(tx Tx, rec Record, now time.Time) error {
	entry := Decode(rec)
	entry.Digest, entry.Changed = digest(rec), now
	if rec.Undetermined != "" {
		entry.Digest = [32]byte{} // whatever comes next is news
	}
	old, err := tx.Entry(rec.Primary)
	switch {
	case errors.Is(err, ErrNoEntry):
		entry.Kind = cmp.Or(entry.Kind, KindOther)
		r.state.Report.Added++
		return tx.PutEntry(entry)
	case err != nil:
		return err
	case rec.Undetermined != "":
		if !old.Unconfirmed.Equal(r.state.Started) {
			return nil // LastSeen goes with Missing
		}
		old.Missing = time.Time{}
		return tx.PutEntry(old)
	}
	entry.Proven = slices.DeleteFunc(slices.Clone(old.Proven), func(a Address) bool { return slices.Contains(entry.Addresses, a) })
	if rec.Partial {
		if err := complete(tx, &entry, old, now); err != nil {
			return err
		}
	}
	if usable(old, now) && !usable(entry, now) || len(old.Certificates) > 0 && len(entry.Certificates) == 0 {
		return tx.PutLoss(Loss{Primary: rec.Primary, Entry: &entry})
	}
	if old.Digest == entry.Digest || sameContent(old, entry) {
		entry.Changed = old.Changed // it was only missing, or is told otherwise
	} else {
		r.state.Report.Changed++
	}
	return tx.PutEntry(entry)
}

// usable reports that an entry has a certificate that could be encrypted to now, as far as the certificate itself tells.
// Trust is not asked: the guard must not depend on settings.
func usable(e Entry, now time.Time) bool {
	return slices.ContainsFunc(e.Certificates, func(c UserCertificate) bool {
		cert, err := x509.ParseCertificate(c.Raw)
		if err != nil || now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return false
		}
		return cert.KeyUsage == 0 || cert.KeyUsage&(x509.KeyUsageKeyEncipherment|x509.KeyUsageKeyAgreement) != 0
	})
}

// finish judges and applies the losses of a whole walk.
func (r *run) finish(ctx context.Context) error {
	if !r.state.judged() {
		if err := r.judge(ctx); err != nil {
			return err
		}
	}
	if r.state.Held {
		if err := r.holdBack(); err != nil {
			return fmt.Errorf("note what is held back: %w", err)
		}
		r.state.Report.Outcome = Guarded
		return r.sync.Store.Update(func(tx Tx) error { return errors.Join(tx.ClearLosses(), forgetGone(tx)) })
	}
	if err := r.applyLosses(ctx); err != nil {
		return fmt.Errorf("apply what is lost: %w", err)
	}
	r.state.Report.Outcome = Complete
	if len(r.state.Report.Gaps)+r.state.Report.UndeterminedCount > 0 {
		r.state.Report.Outcome = Incomplete
	}
	rep := &r.state.Report
	if rep.Added+rep.Changed+rep.Removed == 0 {
		return nil
	}
	return r.sync.Store.Update(func(tx Tx) error { return tx.Sweep() })
}

// judge decides whether the server is to be believed.
func (r *run) judge(ctx context.Context) error {
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.confirm(ctx); err != nil {
		return err
	}
	if err := r.mostlyAnswered(); err != nil {
		return err
	}
	if err := r.guard(); err != nil {
		return fmt.Errorf("weigh what is lost: %w", err)
	}
	return nil
}

// guard decides whether so much is lost that the server is not to be believed. The state says so in the same transaction,
// so that a crash does not ask again half way.
func (r *run) guard() error {
	return r.sync.Store.Update(func(tx Tx) error {
		if err := r.dropGapLosses(tx); err != nil {
			return err
		}
		entries, certified, err := tx.Totals()
		if err != nil {
			return err
		}
		lost, uncertified, err := tx.CountLosses()
		if err != nil {
			return err
		}
		if lost > r.allowed(entries) || uncertified > r.allowed(certified) {
			r.state.Held = true
			r.state.Report.HeldLost, r.state.Report.HeldUncertified = lost, uncertified
			err := tx.Losses(-1, func(l Loss) error {
				if l.Entry != nil {
					r.state.Report.HeldBare++
				}
				return nil
			})
			return errors.Join(err, r.save(tx))
		}
		r.state.Applying = true
		return errors.Join(r.empty(tx), r.save(tx))
	})
}

// allowed is how many of n one run may lose.
func (r *run) allowed(n int) int {
	share := r.sync.MaxRemovals
	if share == 0 {
		share = 0.2
	}
	return max(1, int(share*float64(n)))
}

// dropGapLosses forgets losses below prefixes that turned out not to be answered in full, and of entries about which
// another question had no usable answer.
func (r *run) dropGapLosses(tx Tx) error {
	rep := &r.state.Report
	if len(rep.Gaps)+rep.UndeterminedCount == 0 {
		return nil
	}
	var drop []Address
	err := tx.Losses(-1, func(l Loss) error {
		e, err := tx.Entry(l.Primary)
		if err != nil && !errors.Is(err, ErrNoEntry) {
			return err
		}
		if e.Unconfirmed.Equal(r.state.Started) || slices.ContainsFunc(rep.Gaps, func(g string) bool { return strings.HasPrefix(string(l.Primary), g) }) {
			drop = append(drop, l.Primary)
		}
		return nil
	})
	for _, p := range drop {
		err = errors.Join(err, tx.DeleteLoss(p))
	}
	return err
}

// applyLosses applies them in batches; each is applied and forgotten in one transaction.
func (r *run) applyLosses(ctx context.Context) error {
	const batch = 500
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var losses []Loss
		err := r.sync.Store.Update(func(tx Tx) error {
			err := tx.Losses(batch, func(l Loss) error {
				losses = append(losses, l)
				return nil
			})
			for _, l := range losses {
				err = errors.Join(err, r.lose(tx, l), tx.DeleteLoss(l.Primary))
			}
			return errors.Join(err, r.state.save(tx))
		})
		if err != nil {
			return err
		}
		if len(losses) == 0 {
			return r.sync.Store.Update(r.withdrawGone)
		}
	}
}

// lose applies one loss: an entry that is not found is marked at first and removed the second time.
func (r *run) lose(tx Tx, l Loss) error {
	entry, err := tx.Entry(l.Primary)
	if errors.Is(err, ErrNoEntry) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.Entry != nil {
		if entry.Changed.After(l.Entry.Changed) {
			return nil // a single question brought something newer meanwhile
		}
		r.state.Report.Changed++
		l.Entry.Proven = stillProven(l.Entry, entry)
		return tx.PutEntry(*l.Entry)
	}
	if !entry.Missing.IsZero() {
		r.state.Report.Removed++
		return tx.DeleteEntry(l.Primary)
	}
	r.state.Report.Missing++
	entry.LastSeen = r.history.Seen(entry)
	entry.Missing = r.state.Started
	return tx.PutEntry(entry)
}

// stillProven are the addresses of Proven that a loss has, or that were proven since it was noted, without those that were
// withdrawn meanwhile.
func stillProven(lost *Entry, now Entry) []Address {
	return slices.DeleteFunc(now.Owned(), func(a Address) bool {
		return slices.Contains(lost.Addresses, a) || !slices.Contains(lost.Proven, a) && !slices.Contains(now.Proven, a)
	})
}
