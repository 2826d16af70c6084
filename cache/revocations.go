package cache

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/revocation"
)

// ViewRevocations implements revocation.Store.
func (c *Cache) ViewRevocations(f func(revocation.Tx) error) error {
	return c.transact(func() error {
		return c.db.View(func(tx *bbolt.Tx) error { return f(revocations{&transaction{tx: tx}}) })
	})
}

// UpdateRevocations implements revocation.Store.
func (c *Cache) UpdateRevocations(f func(revocation.Tx) error) error {
	return c.transact(func() error {
		return c.db.Update(func(tx *bbolt.Tx) error {
			t := &transaction{tx: tx}
			if err := f(revocations{t}); err != nil {
				return err
			}
			return t.flush()
		})
	})
}

// revocations implements revocation.Tx. Values are those of the memory map: a run of a large CRL is not copied for each
// question.
type revocations struct{ t *transaction }

func (r revocations) Get(key []byte) ([]byte, error) {
	b := r.t.bucket(bucketRevocations).Get(key)
	if b == nil {
		return nil, nil
	}
	return unseal(b)
}

func (r revocations) Floor(prefix, key []byte) (found, value []byte, err error) {
	c := r.t.bucket(bucketRevocations).Cursor()
	k, v := c.Seek(key)
	switch {
	case k == nil:
		k, v = c.Last()
	case !bytes.Equal(k, key):
		k, v = c.Prev()
	}
	if k == nil || !bytes.HasPrefix(k, prefix) {
		return nil, nil, nil
	}
	value, err = unseal(v)
	return k, value, err
}

func (r revocations) Each(prefix []byte, f func(key, value []byte) error) error {
	return r.t.prefixed(bucketRevocations, prefix, func(k, v []byte) (bool, error) {
		value, err := unseal(v)
		if err != nil {
			return false, err
		}
		return true, f(k, value)
	})
}

func (r revocations) Put(key, value []byte) error {
	return r.t.put(bucketRevocations, key, seal(bytes.Clone(value)))
}

func (r revocations) Delete(prefix []byte) error {
	var keys [][]byte
	err := r.t.prefixed(bucketRevocations, prefix, func(k, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(k))
		return true, nil
	})
	for _, k := range keys {
		if err == nil {
			err = r.t.remove(bucketRevocations, k)
		}
	}
	return err
}
