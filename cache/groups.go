package cache

import (
	"encoding/json"
	"fmt"

	"github.com/galsyncd/galsyncd/directory"
)

// noteGroup keeps a key for every group, also while its members are not known.
func (t *transaction) noteGroup(e directory.Entry) error {
	key := []byte(e.Primary)
	if e.Kind != directory.KindGroup {
		return t.remove(bucketGroups, key)
	}
	if t.bucket(bucketGroups).Get(key) != nil {
		return nil
	}
	return t.put(bucketGroups, key, []byte{})
}

func (t *transaction) Groups() (all []directory.Address, err error) {
	err = t.prefixed(bucketGroups, nil, func(k, _ []byte) (bool, error) {
		all = append(all, directory.Address(k))
		return true, nil
	})
	return all, err
}

func (t *transaction) Members(group directory.Address) (*directory.Members, error) {
	b := t.bucket(bucketGroups).Get([]byte(group))
	if len(b) == 0 {
		return nil, nil
	}
	js, err := unseal(b)
	if err != nil {
		return nil, err
	}
	m := &directory.Members{}
	if err := json.Unmarshal(js, m); err != nil {
		return nil, fmt.Errorf("%w: members of %s: %w", ErrDamaged, group, err)
	}
	return m, nil
}

// PutMembers stores nothing for what is no group of the cache.
func (t *transaction) PutMembers(group directory.Address, m directory.Members) error {
	key := []byte(group)
	if t.bucket(bucketGroups).Get(key) == nil {
		return nil
	}
	js, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode members: %w", err)
	}
	return t.put(bucketGroups, key, seal(js))
}
