package directory

import (
	"context"
	"errors"
	"fmt"
)

// A copier is a Store that may have older copies of what is in it.
type copier interface{ RemoveCopies() error }

// wipe carries out the order of the server to forget everything that came from it: the entries, the contacts, the
// questions about addresses and what was learned about the shape of the address book. Nothing outside of the store and its older copies is touched.
// Then the server is told.
func (r *run) wipe(ctx context.Context) error {
	r.sync.log().Warn("the server ordered this device to forget its data: the cache is emptied, nothing else")
	for {
		more := false
		err := r.sync.Store.Update(func(tx Tx) (err error) {
			more, err = forgetEntries(tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("empty the cache as the server ordered: %w", err)
		}
		if !more {
			break
		}
	}
	err := r.sync.Store.Update(func(tx Tx) error {
		var keys []string
		note := func(key string, _ []byte) error {
			keys = append(keys, key)
			return nil
		}
		err := errors.Join(tx.States(questionKey, note), tx.States(splitKey, note), tx.States(goneKey, note), tx.ClearLosses(), forgetContacts(tx))
		for _, key := range append(keys, extraKey) {
			err = errors.Join(err, tx.SetState(key, nil))
		}
		return errors.Join(err, tx.Sweep())
	})
	if err != nil {
		return fmt.Errorf("empty the cache as the server ordered: %w", err)
	}
	if c, ok := r.sync.Store.(copier); ok {
		if err := c.RemoveCopies(); err != nil {
			return fmt.Errorf("empty the cache as the server ordered: %w", err)
		}
	}
	r.partition = &partition{split: map[string]int{}, dirty: map[string]bool{}}
	r.state.Cursor, r.state.Applying, r.state.Held = "", false, false
	r.history = History{}
	if wiper, ok := r.sync.Source.(Wiper); ok && ctx.Err() == nil {
		if err := wiper.ConfirmWipe(ctx); err != nil {
			return fmt.Errorf("tell the server that the cache was emptied: %w", err)
		}
	}
	return nil
}

// forgetEntries deletes some entries; more says that there may be others.
func forgetEntries(tx Tx) (more bool, err error) {
	const batch = 500
	all, err := tx.Primaries("")
	if err != nil {
		return false, err
	}
	for _, a := range all[:min(len(all), batch)] {
		if err := tx.DeleteEntry(a); err != nil {
			return false, err
		}
	}
	return len(all) > batch, nil
}
