package directory

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// goneKey notes aliases that the server did not know any more in this run, with the time of the question. A server whose
// directory is down says so of everybody; so they are withdrawn when the whole run is believed, and forgotten when the guard
// holds it back.
const goneKey = "gone/"

// noteGone notes that the server did not know an address, when it is proven for an entry.
func noteGone(tx Tx, address Address, now time.Time) (noted bool, err error) {
	owners, err := tx.Owners(address)
	for _, primary := range owners {
		entry, err := tx.Entry(primary)
		if err != nil {
			return false, err
		}
		if slices.Contains(entry.Proven, address) {
			return true, tx.SetState(goneKey+string(address), []byte(now.UTC().Format(time.RFC3339Nano)))
		}
	}
	return false, err
}

// gone lists what was noted.
func gone(tx Tx) (addresses []Address, times []time.Time, err error) {
	err = tx.States(goneKey, func(key string, value []byte) error {
		t, _ := time.Parse(time.RFC3339Nano, string(value))
		addresses, times = append(addresses, Address(strings.TrimPrefix(key, goneKey))), append(times, t)
		return nil
	})
	return addresses, times, err
}

// withdrawGone takes the noted aliases from their entries, but for those that were asked for again meanwhile.
func (r *run) withdrawGone(tx Tx) error {
	addresses, times, err := gone(tx)
	for i, a := range addresses {
		q, qErr := LastQuestion(tx, a)
		err = errors.Join(err, qErr, tx.SetState(goneKey+string(a), nil))
		if qErr != nil || q.Asked.After(times[i]) {
			continue
		}
		q.Found = false
		err = errors.Join(err, q.save(tx, a), withdraw(tx, a, nil))
	}
	return err
}

// forgetGone forgets what was noted.
func forgetGone(tx Tx) error {
	addresses, _, err := gone(tx)
	for _, a := range addresses {
		err = errors.Join(err, tx.SetState(goneKey+string(a), nil))
	}
	return err
}
