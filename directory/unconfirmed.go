package directory

import (
	"errors"
	"fmt"
	"slices"
)

// Bounds of how much a server may leave without a usable answer. Each address keeps what is known of it and grows old by
// itself, so a few per hundred for ever are no reason to end a run; a server that is in trouble is.
const (
	// maxSilence, or one in silencePart of the known address book when that is more, is how many addresses in a row may have
	// no usable answer before the run ends, to be resumed later.
	maxSilence  = 1000
	silencePart = 20
	// maxSilent, or a share of the address book of silentShare when that is more, may have none in a whole run.
	maxSilent   = 1000
	silentShare = 0.2
	// maxNamed bounds the addresses in Report.Undetermined: the report is stored with every step of a run.
	maxNamed = 100
)

// errSilent is wrapped by the error of a run in which too many addresses had no usable answer. It is not resumed: what it
// noted would end it again.
var errSilent = errors.New("the server gave no usable answer about too many addresses")

// undetermined notes that the server gave no usable answer about one address: what is known of it stays, and grows old.
func (r *run) undetermined(tx Tx, address Address, reason string) error {
	rep := &r.state.Report
	if rep.UndeterminedCount == 0 {
		r.sync.log().Warn("no usable answer about an address", "error", reason)
	}
	again, err := r.unconfirmed(tx, address)
	if err != nil {
		return fmt.Errorf("note %s as not answered for: %w", address, err)
	}
	r.silence, r.silenceReason = r.silence+1, clip(reason)
	if _, named := rep.Undetermined[string(address)]; again || named {
		return nil
	}
	rep.UndeterminedCount++
	if rep.Undetermined == nil {
		rep.Undetermined = map[string]string{}
	}
	if len(rep.Undetermined) < maxNamed {
		rep.Undetermined[string(address)] = clip(reason)
	}
	return nil
}

// unconfirmed marks an entry as one that this run does not confirm; again says that it did so before.
func (r *run) unconfirmed(tx Tx, primary Address) (again bool, err error) {
	e, err := tx.Entry(primary)
	switch {
	case errors.Is(err, ErrNoEntry):
		return false, nil
	case err != nil:
		return false, err
	case e.Unconfirmed.Equal(r.state.Started):
		return true, nil
	}
	e.LastSeen, e.Unconfirmed = r.history.Seen(e), r.state.Started
	return false, tx.PutEntry(e)
}

// tooSilent reports a server that has not answered for anybody for long.
func (r *run) tooSilent() error {
	if r.silence <= max(maxSilence, r.entries/silencePart) {
		return nil
	}
	return fmt.Errorf("no usable answer about %d addresses in a row, the last one because %s", r.silence, r.silenceReason)
}

// mostlyAnswered reports, at the end of a run, a server that did not answer for a large part of the address book.
func (r *run) mostlyAnswered() error {
	count, all := r.state.Report.UndeterminedCount, 0
	err := r.sync.Store.View(func(tx Tx) (err error) {
		all, _, err = tx.Totals()
		return err
	})
	all = max(all, len(r.seen))
	if err != nil || count <= max(maxSilent, int(silentShare*float64(all))) {
		return err
	}
	return fmt.Errorf("%w: %d of %d, one of them because %s", errSilent, count, all, r.state.Report.silentReason())
}

// holdBack marks the entries whose loss the guard does not believe, before the run counts as one that confirmed the others.
func (r *run) holdBack() error {
	var held []Address
	err := r.sync.Store.View(func(tx Tx) error {
		return tx.Losses(-1, func(l Loss) error {
			held = append(held, l.Primary)
			return nil
		})
	})
	const batch = 500
	for part := range slices.Chunk(held, batch) {
		err = errors.Join(err, r.sync.Store.Update(func(tx Tx) (err error) {
			for _, p := range part {
				_, one := r.unconfirmed(tx, p)
				err = errors.Join(err, one)
			}
			return err
		}))
	}
	return err
}
