package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/recent"
)

// ErrNotFound reports that nothing in the cache matches.
var ErrNotFound = errors.New("not in the cache")

// maxSightings bounds the entries that may claim one address; more than two are ambiguous already.
const maxSightings = 16

// Lookup returns the entries that the address belongs to: those that list it first, then those of which only a
// certificate names it. None is not an error. What is returned must not be modified.
func (c *Cache) Lookup(ctx context.Context, address directory.Address) (found []directory.Sighting, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		s, err := c.snapshot(tx)
		if err != nil {
			return err
		}
		var known bool
		if found, known = s.sightings.Get(address); known {
			return nil
		}
		found, err = tx.sightings(address, s)
		if err == nil && rememberable(found) {
			found = slices.Clip(found) // nobody's append may reach what is shared
			s.sightings.Put(address, found, maxAddresses)
		}
		return err
	})
	return found, err
}

// sightings reads the entries that the address belongs to.
func (t *transaction) sightings(address directory.Address, of *snapshot) (found []directory.Sighting, err error) {
	intermediate := func(key [sha256.Size]byte) ([]byte, error) { return of.intermediate(t, key) }
	prefix := append([]byte(address), 0)
	err = t.prefixed(bucketAddresses, prefix, func(k, v []byte) (bool, error) {
		e, err := t.entry(directory.Address(k[len(prefix):]), intermediate)
		if err != nil {
			return false, damagedIndex(err)
		}
		s := directory.Sighting{Entry: e, Seen: of.history.Seen(e), Claimed: bytes.Equal(v, markClaimed)}
		if e.Kind == directory.KindGroup {
			if s.Members, err = t.Members(e.Primary); err != nil {
				return false, err
			}
		}
		found = append(found, s)
		return len(found) < maxSightings, nil
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

// snapshot is what was read of one state of the file. Transactions with the same number show the same state, so nothing of
// it grows old; with the next state of the file all of it is forgotten.
type snapshot struct {
	number        int
	history       directory.History
	sightings     recent.Map[directory.Address, []directory.Sighting]
	intermediates recent.Map[[sha256.Size]byte, []byte] // many entries share a few
}

// Bounds of what a snapshot remembers: generations of addresses with a few KiB each, and of intermediates.
const (
	maxAddresses     = 4096
	maxIntermediates = 64
	maxRemembered    = 16 << 10 // bytes for one address
	memberSize       = 64       // about, in memory
)

// intermediate reads an intermediate certificate.
func (s *snapshot) intermediate(t *transaction, key [sha256.Size]byte) ([]byte, error) {
	raw, known := s.intermediates.Get(key)
	if known {
		return raw, nil
	}
	raw, err := t.intermediate(key)
	if err == nil && len(raw) <= maxRemembered {
		s.intermediates.Put(key, raw, maxIntermediates)
	}
	return raw, err
}

// rememberable reports whether sightings are small enough to be kept in memory.
func rememberable(found []directory.Sighting) bool {
	size := 0
	for _, s := range found {
		for _, u := range s.Entry.Certificates {
			size += len(u.Raw)
		}
		for _, raw := range s.Entry.Intermediates {
			size += len(raw)
		}
		if s.Members != nil {
			size += len(s.Members.Members) * memberSize
		}
	}
	return size <= maxRemembered
}

// snapshot is the one that tx sees. It reads the history, which every look-up needs.
func (c *Cache) snapshot(tx *transaction) (*snapshot, error) {
	if known := c.known.Load(); known != nil && known.number == tx.tx.ID() {
		return known, nil
	}
	h, err := directory.ReadHistory(tx)
	if err != nil {
		return nil, err
	}
	s := &snapshot{number: tx.tx.ID(), history: h}
	c.known.Store(s)
	return s, nil
}

// History returns what the cache remembers about earlier runs. It must not be modified.
func (c *Cache) History(ctx context.Context) (h directory.History, entries, certified int, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		s, err := c.snapshot(tx)
		if err != nil {
			return err
		}
		h = s.history
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
