package cache

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"

	"go.etcd.io/bbolt"
)

// Every bucket has a sum over its keys and values in the bucket "meta", kept by put and remove: whatever a bad disk
// changes, drops or doubles, Verify notices, also in the indexes, whose keys have no checksum of their own. The sum does
// not depend on the order, so that it costs nothing to keep.

// sumOf is what one key and value add to the sum of their bucket.
func sumOf(key, value []byte) uint64 {
	h := fnv.New64a()
	h.Write(key)
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], crc32.Checksum(value, castagnoli))
	h.Write(crc[:])
	return h.Sum64()
}

func sumKey(bucket []byte) string { return "sum/" + string(bucket) }

// number reads a number of the bucket "meta"; 0 when it is not there.
func number(b *bbolt.Bucket, key string) (uint64, error) {
	v := b.Get([]byte(key))
	if v == nil {
		return 0, nil
	}
	return parseNumber(v)
}

func parseNumber(v []byte) (uint64, error) {
	v, err := unseal(v)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: a number of %d bytes", ErrDamaged, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func setNumber(b *bbolt.Bucket, key string, n uint64) error {
	return b.Put([]byte(key), seal(binary.BigEndian.AppendUint64(nil, n)))
}

// total returns a number of the bucket "meta" as this transaction sees it, to be changed in place.
func (t *transaction) total(key string) (*uint64, error) {
	if n, ok := t.totals[key]; ok {
		return n, nil
	}
	n, err := number(t.bucket(bucketMeta), key)
	if err != nil {
		return nil, err
	}
	if t.totals == nil {
		t.totals = map[string]*uint64{}
	}
	t.totals[key] = &n
	return &n, nil
}

// flush stores the numbers that changed.
func (t *transaction) flush() error {
	meta := t.bucket(bucketMeta)
	for key, n := range t.totals {
		if before, err := number(meta, key); err != nil || before == *n {
			if err != nil {
				return err
			}
			continue
		}
		if err := setNumber(meta, key, *n); err != nil {
			return err
		}
	}
	return nil
}

// put stores a value, unless it is stored already.
func (t *transaction) put(bucket, key, value []byte) error {
	b := t.bucket(bucket)
	sum, err := t.total(sumKey(bucket))
	if err != nil {
		return err
	}
	if old := b.Get(key); old != nil {
		if string(old) == string(value) {
			return nil
		}
		*sum -= sumOf(key, old)
	}
	*sum += sumOf(key, value)
	return b.Put(key, value)
}

// remove deletes a key if it is there.
func (t *transaction) remove(bucket, key []byte) error {
	b := t.bucket(bucket)
	old := b.Get(key)
	if old == nil {
		return nil
	}
	sum, err := t.total(sumKey(bucket))
	if err != nil {
		return err
	}
	*sum -= sumOf(key, old)
	return b.Delete(key)
}

// empty removes all keys of a bucket.
func (t *transaction) empty(bucket []byte) error {
	if k, _ := t.bucket(bucket).Cursor().First(); k == nil {
		return nil
	}
	sum, err := t.total(sumKey(bucket))
	if err != nil {
		return err
	}
	*sum = 0
	if err := t.tx.DeleteBucket(bucket); err != nil {
		return err
	}
	_, err = t.tx.CreateBucket(bucket)
	return err
}
