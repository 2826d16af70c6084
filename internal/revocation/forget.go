package revocation

import (
	"bytes"
	"time"
)

// forget drops what nobody asked about for long.
func (s *Service) forget(tx Tx, now time.Time) error {
	old := now.Add(-keepUnasked)
	s.forgetTargets(old)
	var gone [][]byte
	used := map[key]bool{}
	err := tx.Each([]byte{keyList}, func(k, v []byte) error {
		r, err := decode[listRecord](v)
		switch {
		case err != nil:
			return err
		case r.Asked.Before(old):
			gone = append(gone, bytes.Clone(k), storeKey(keySerials, k[1:]))
		default:
			used[r.Authority] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Each([]byte{keyAnswer}, func(k, v []byte) error {
		r, err := decode[answerRecord](v)
		if err == nil && r.Asked.Before(old) {
			gone = append(gone, bytes.Clone(k))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = tx.Each([]byte{keyAuthority}, func(k, _ []byte) error {
		if len(k) == 1+len(key{}) && !used[key(k[1:])] {
			gone = append(gone, bytes.Clone(k))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return remove(tx, gone)
}

func (s *Service) forgetTargets(old time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.targets {
		if t.asked.Before(old) {
			delete(s.targets, id)
			s.counts[kindOf(t)]--
		}
	}
	s.dropped = nil
}

// forgetAll drops everything: what cannot be read is fetched again.
func (s *Service) forgetAll() error {
	return s.update(func(tx Tx) error {
		return remove(tx, [][]byte{{keyList}, {keySerials}, {keyAuthority}, {keyAnswer}})
	})
}

func remove(tx Tx, prefixes [][]byte) error {
	for _, p := range prefixes {
		if err := tx.Delete(p); err != nil {
			return err
		}
	}
	return nil
}
