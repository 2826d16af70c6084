package cache

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/galsyncd/galsyncd/directory"
)

func (t *transaction) PutLoss(l directory.Loss) error {
	if l.Entry == nil {
		return t.put(bucketLosses, []byte(l.Primary), []byte{})
	}
	record, intermediates, err := encodeRecord(*l.Entry)
	if err != nil {
		return err
	}
	// A loss is applied or dropped before the sweep of the same run, so its intermediates stay.
	for i, key := range intermediates {
		if err := t.put(bucketIntermediates, key[:], seal(bytes.Clone(l.Entry.Intermediates[i]))); err != nil {
			return err
		}
	}
	return t.put(bucketLosses, []byte(l.Primary), record)
}

func (t *transaction) Losses(limit int, f func(directory.Loss) error) error {
	n := 0
	return t.prefixed(bucketLosses, nil, func(k, v []byte) (bool, error) {
		if n == limit {
			return false, nil
		}
		n++
		l := directory.Loss{Primary: directory.Address(k)}
		if len(v) > 0 {
			e, err := decodeRecord(v, t.intermediate)
			if err != nil {
				return false, err
			}
			l.Entry = &e
		}
		return true, f(l)
	})
}

func (t *transaction) CountLosses() (losses, certified int, err error) {
	err = t.prefixed(bucketLosses, nil, func(k, _ []byte) (bool, error) {
		e, err := t.Entry(directory.Address(k))
		if err != nil {
			return false, fmt.Errorf("loss of %s: %w", k, err)
		}
		losses++
		if len(e.Certificates) > 0 {
			certified++
		}
		return true, nil
	})
	return losses, certified, err
}

func (t *transaction) DeleteLoss(primary directory.Address) error {
	return t.remove(bucketLosses, []byte(primary))
}

func (t *transaction) ClearLosses() error {
	return t.empty(bucketLosses)
}

// Sweep removes intermediate certificates that no entry came with any more. A handful is not worth the scan.
func (t *transaction) Sweep() error {
	const few = 64
	var keys [][sha256.Size]byte
	err := t.prefixed(bucketIntermediates, nil, func(k, _ []byte) (bool, error) {
		if len(k) == sha256.Size {
			keys = append(keys, [sha256.Size]byte(k))
		}
		return true, nil
	})
	if err != nil || len(keys) <= few {
		return err
	}
	used := map[[sha256.Size]byte]bool{}
	note := func(key [sha256.Size]byte) ([]byte, error) {
		used[key] = true
		return nil, nil
	}
	for _, name := range [][]byte{bucketEntries, bucketLosses} {
		err := t.prefixed(name, nil, func(_, v []byte) (bool, error) {
			if len(v) == 0 {
				return true, nil
			}
			_, err := decodeRecord(v, note)
			return true, err
		})
		if err != nil {
			return err
		}
	}
	for _, key := range keys {
		if !used[key] {
			if err := t.remove(bucketIntermediates, key[:]); err != nil {
				return err
			}
		}
	}
	return nil
}
