package cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/directory"
)

// transaction implements directory.Tx. Everything it returns is copied out of the memory map.
type transaction struct {
	tx     *bbolt.Tx
	totals map[string]*uint64 // numbers of the bucket "meta" that were used
}

// bucket panics on a file whose buckets are gone since Open; guard makes ErrDamaged of it.
func (t *transaction) bucket(name []byte) *bbolt.Bucket {
	b := t.tx.Bucket(name)
	if b == nil {
		panic(fmt.Sprintf("bucket %s is gone", name))
	}
	return b
}

func (t *transaction) Entry(primary directory.Address) (directory.Entry, error) {
	return t.entry(primary, t.intermediate)
}

// entry reads an entry, its intermediates by the given function.
func (t *transaction) entry(primary directory.Address, intermediate func([sha256.Size]byte) ([]byte, error)) (directory.Entry, error) {
	b := t.bucket(bucketEntries).Get([]byte(primary))
	if b == nil {
		return directory.Entry{}, directory.ErrNoEntry
	}
	return decodeRecord(b, intermediate)
}

func (t *transaction) intermediate(key [sha256.Size]byte) ([]byte, error) {
	b := t.bucket(bucketIntermediates).Get(key[:])
	if b == nil {
		return nil, fmt.Errorf("%w: an intermediate certificate is gone", ErrDamaged)
	}
	raw, err := unseal(b)
	return bytes.Clone(raw), err
}

func (t *transaction) Digest(primary directory.Address) (digest [sha256.Size]byte, missing bool, err error) {
	b := t.bucket(bucketEntries).Get([]byte(primary))
	if b == nil {
		return digest, false, directory.ErrNoEntry
	}
	return checkRecord(b)
}

// index keys of one entry, per bucket.
func indexKeys(e directory.Entry) map[string][][]byte {
	primary := append([]byte{0}, e.Primary...)
	keys := map[string][][]byte{}
	add := func(bucket []byte, key ...[]byte) {
		keys[string(bucket)] = append(keys[string(bucket)], bytes.Join(key, nil))
	}
	for _, a := range slices.Concat(e.Addresses, e.Proven, e.Claimed) {
		add(bucketAddresses, []byte(a), primary)
	}
	for _, w := range words(e) {
		add(bucketWords, []byte(w.text), primary)
	}
	for _, c := range e.Certificates {
		sum := sha256.Sum256(c.Raw)
		add(bucketCertificates, sum[:], primary[1:])
	}
	return keys
}

func (t *transaction) PutEntry(e directory.Entry) error {
	record, intermediates, err := encodeRecord(e)
	if err != nil {
		return err
	}
	old, err := t.Entry(e.Primary)
	if err != nil && !errors.Is(err, directory.ErrNoEntry) {
		return err
	}
	if err := t.count(old, e); err != nil {
		return err
	}
	if err := t.reindex(old, e); err != nil {
		return err
	}
	for i, key := range intermediates {
		if err := t.put(bucketIntermediates, key[:], seal(bytes.Clone(e.Intermediates[i]))); err != nil {
			return err
		}
	}
	if err := t.noteGroup(e); err != nil {
		return err
	}
	return t.put(bucketEntries, []byte(e.Primary), record)
}

func (t *transaction) DeleteEntry(primary directory.Address) error {
	old, err := t.Entry(primary)
	if errors.Is(err, directory.ErrNoEntry) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.count(old, directory.Entry{}); err != nil {
		return err
	}
	if err := t.reindex(old, directory.Entry{}); err != nil {
		return err
	}
	if err := t.remove(bucketGroups, []byte(primary)); err != nil {
		return err
	}
	return t.remove(bucketEntries, []byte(primary))
}

// reindex replaces the index keys of old by those of e; either may be the zero entry.
func (t *transaction) reindex(old, e directory.Entry) error {
	var before, after map[string][][]byte
	if old.Primary != "" {
		before = indexKeys(old)
	}
	if e.Primary != "" {
		after = indexKeys(e)
	}
	ranked := wordValues(e)
	for _, name := range [][]byte{bucketAddresses, bucketWords, bucketCertificates} {
		keep := map[string]bool{}
		for _, key := range after[string(name)] {
			keep[string(key)] = true
			value := []byte{}
			switch {
			case bytes.Equal(name, bucketAddresses):
				value = addressMark(e, key)
			case bytes.Equal(name, bucketWords):
				value = ranked[string(key)]
			}
			if err := t.put(name, key, value); err != nil {
				return err
			}
		}
		for _, key := range before[string(name)] {
			if !keep[string(key)] {
				if err := t.remove(name, key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var (
	markListed  = []byte{'l'}
	markClaimed = []byte{'c'}
)

func addressMark(e directory.Entry, key []byte) []byte {
	a, _, _ := bytes.Cut(key, []byte{0})
	if slices.Contains(e.Owned(), directory.Address(a)) {
		return markListed
	}
	return markClaimed
}

// count keeps the totals.
func (t *transaction) count(old, e directory.Entry) error {
	entries, err := t.total("entries")
	if err != nil {
		return err
	}
	certified, err := t.total("certified")
	if err != nil {
		return err
	}
	change := func(n *uint64, before, after bool) {
		switch {
		case after && !before:
			*n++
		case before && !after && *n > 0:
			*n--
		}
	}
	change(entries, old.Primary != "", e.Primary != "")
	change(certified, len(old.Certificates) > 0, len(e.Certificates) > 0)
	return nil
}

func (t *transaction) Totals() (entries, certified int, err error) {
	e, err := t.total("entries")
	if err != nil {
		return 0, 0, err
	}
	c, err := t.total("certified")
	if err != nil {
		return 0, 0, err
	}
	return int(*e), int(*c), nil
}

// prefixed calls f for each key of a bucket with the prefix until f says stop or fails.
func (t *transaction) prefixed(bucket []byte, prefix []byte, f func(key, value []byte) (more bool, err error)) error {
	c := t.bucket(bucket).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if more, err := f(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

func (t *transaction) Primaries(prefix string) (out []directory.Address, err error) {
	err = t.prefixed(bucketEntries, []byte(prefix), func(k, _ []byte) (bool, error) {
		out = append(out, directory.Address(k))
		return true, nil
	})
	return out, err
}

func (t *transaction) HasPrimary(prefix string) (has bool, err error) {
	err = t.prefixed(bucketEntries, []byte(prefix), func(_, _ []byte) (bool, error) {
		has = true
		return false, nil
	})
	return has, err
}

func (t *transaction) CountPrefix(prefix string, limit int) (n int, err error) {
	err = t.prefixed(bucketAddresses, []byte(prefix), func(_, v []byte) (bool, error) {
		if bytes.Equal(v, markListed) {
			n++
		}
		return n < limit, nil
	})
	return n, err
}

func (t *transaction) Owners(address directory.Address) (all []directory.Address, err error) {
	prefix := append([]byte(address), 0)
	err = t.prefixed(bucketAddresses, prefix, func(k, v []byte) (bool, error) {
		if bytes.Equal(v, markListed) {
			all = append(all, directory.Address(k[len(prefix):]))
		}
		return true, nil
	})
	return all, err
}

func (t *transaction) State(key string) ([]byte, error) {
	b := t.bucket(bucketState).Get([]byte(key))
	if b == nil {
		return nil, nil
	}
	value, err := unseal(b)
	return bytes.Clone(value), err
}

func (t *transaction) States(prefix string, f func(key string, value []byte) error) error {
	return t.prefixed(bucketState, []byte(prefix), func(k, v []byte) (bool, error) {
		value, err := unseal(v)
		if err != nil {
			return false, err
		}
		return true, f(string(k), bytes.Clone(value))
	})
}

func (t *transaction) SetState(key string, value []byte) error {
	if value == nil {
		return t.remove(bucketState, []byte(key))
	}
	return t.put(bucketState, []byte(key), seal(bytes.Clone(value)))
}
