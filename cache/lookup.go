package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/galsyncd/galsyncd/directory"
)

// ErrNotFound reports that nothing in the cache matches.
var ErrNotFound = errors.New("not in the cache")

// maxSightings bounds the entries that may claim one address; more than two are ambiguous already.
const maxSightings = 16

// Lookup returns the entries that the address belongs to: those that list it first, then those of which only a
// certificate names it. None is not an error.
func (c *Cache) Lookup(ctx context.Context, address directory.Address) (found []directory.Sighting, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		history, err := c.history(tx)
		if err != nil {
			return err
		}
		prefix := append([]byte(address), 0)
		return tx.prefixed(bucketAddresses, prefix, func(k, v []byte) (bool, error) {
			e, err := tx.Entry(directory.Address(k[len(prefix):]))
			if err != nil {
				return false, damagedIndex(err)
			}
			s := directory.Sighting{Entry: e, Seen: history.Seen(e), Claimed: bytes.Equal(v, markClaimed)}
			if e.Kind == directory.KindGroup {
				if s.Members, err = tx.Members(e.Primary); err != nil {
					return false, err
				}
			}
			found = append(found, s)
			return len(found) < maxSightings, nil
		})
	})
	slices.SortStableFunc(found, func(a, b directory.Sighting) int { return cmp.Compare(boolInt(a.Claimed), boolInt(b.Claimed)) })
	return found, err
}

func sha256Of(b []byte) [32]byte { return sha256.Sum256(b) }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func damagedIndex(err error) error {
	if errors.Is(err, directory.ErrNoEntry) {
		return errors.Join(ErrDamaged, errors.New("an index names an entry that is gone"))
	}
	return err
}

// view is View for reading here; it respects the end of the context before it starts.
func (c *Cache) view(ctx context.Context, f func(*transaction) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.View(func(tx directory.Tx) error { return f(tx.(*transaction)) })
}

// Certificate returns the DER of a certificate that an entry has, by its SHA-256, and the primary addresses of the entries
// that have it. ErrNotFound when there is none.
func (c *Cache) Certificate(ctx context.Context, sum [32]byte) (der []byte, owners []directory.Address, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		err := tx.prefixed(bucketCertificates, sum[:], func(k, _ []byte) (bool, error) {
			owners = append(owners, directory.Address(k[len(sum):]))
			return len(owners) < maxSightings, nil
		})
		if err != nil {
			return err
		}
		if len(owners) == 0 {
			der, err = tx.intermediate(sum)
			if errors.Is(err, ErrDamaged) && tx.bucket(bucketIntermediates).Get(sum[:]) == nil {
				return ErrNotFound
			}
			return err
		}
		e, err := tx.Entry(owners[0])
		if err != nil {
			return damagedIndex(err)
		}
		for _, cert := range e.Certificates {
			if sha256Of(cert.Raw) == sum {
				der = cert.Raw
			}
		}
		return nil
	})
	return der, owners, err
}

// snapshotHistory is the history in the snapshot with this number.
type snapshotHistory struct {
	number  int
	history directory.History
}

// history reads the history once for each state of the file: every look-up needs it. Snapshots with the same number show
// the same state.
func (c *Cache) history(tx *transaction) (directory.History, error) {
	if known := c.known.Load(); known != nil && known.number == tx.tx.ID() {
		return known.history, nil
	}
	h, err := directory.ReadHistory(tx)
	if err == nil {
		c.known.Store(&snapshotHistory{tx.tx.ID(), h})
	}
	return h, err
}

// History returns what the cache remembers about earlier runs. It must not be modified.
func (c *Cache) History(ctx context.Context) (h directory.History, entries, certified int, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		if h, err = c.history(tx); err != nil {
			return err
		}
		entries, certified, err = tx.Totals()
		return err
	})
	return h, entries, certified, err
}

// Primaries returns the primary addresses of all entries, in order.
func (c *Cache) Primaries(ctx context.Context) (all []directory.Address, err error) {
	err = c.view(ctx, func(tx *transaction) (err error) {
		all, err = tx.Primaries("")
		return err
	})
	return all, err
}
