package aia

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/internal/revocation"
)

// keyKept begins the keys of the store; the SHA-256 of the certificate follows, with a record in JSON as value.
const keyKept = 'a'

// record is what is kept of a certificate.
type record struct {
	Certificate []byte `json:"certificate"`
	// URL is where it was fetched from, Fetched when.
	URL     string    `json:"url"`
	Fetched time.Time `json:"fetched"`
	// Asked is when it was last at hand for a chain, by the day.
	Asked time.Time `json:"asked"`
}

func storeKey(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.Raw)
	return append([]byte{keyKept}, sum[:]...)
}

// maxRecord bounds a record in JSON: a certificate in base64 and a URL.
const maxRecord = 128 << 10

// parseRecord reads a record.
func parseRecord(key, value []byte) (*kept, error) {
	k := &kept{}
	if len(value) > maxRecord {
		return nil, errors.New("it is too long")
	}
	if err := json.Unmarshal(value, &k.record); err != nil {
		return nil, err
	}
	var err error
	if k.cert, err = x509.ParseCertificate(k.Certificate); err != nil {
		return nil, err
	}
	if !bytes.Equal(key, storeKey(k.cert)) || !k.cert.IsCA {
		return nil, errors.New("it is another certificate")
	}
	return k, nil
}

// Restore takes up what is stored. It must be called before anything else. What cannot be read is passed over, and fetched
// again when it is needed.
func (s *Service) Restore() {
	s.tidied = s.now()
	err := s.Store.ViewRevocations(func(tx revocation.Tx) error {
		return tx.Each([]byte{keyKept}, func(key, value []byte) error {
			k, err := parseRecord(key, value)
			if err != nil {
				return fmt.Errorf("read a certificate: %w", err)
			}
			if s.count < maxKept {
				s.add(k)
			}
			return nil
		})
	})
	if err != nil {
		s.log().Warn("stored certificates of authorities cannot be read; they are fetched again", "error", err)
	}
}

func (s *Service) add(k *kept) {
	name := string(k.cert.RawSubject)
	if s.kept == nil {
		s.kept = map[string][]*kept{}
	}
	s.kept[name] = append(s.kept[name], k)
	s.count++
}

// keep takes up a certificate, and reports whether it is new. When there are too many, the one that was not asked for
// longest goes. The lock is held.
func (s *Service) keep(cert *x509.Certificate, url string, now time.Time) bool {
	if slices.ContainsFunc(s.kept[string(cert.RawSubject)], func(k *kept) bool { return k.cert.Equal(cert) }) {
		return false
	}
	if s.count >= maxKept {
		var oldest *kept
		for _, list := range s.kept {
			for _, k := range list {
				if oldest == nil || k.Asked.Before(oldest.Asked) {
					oldest = k
				}
			}
		}
		s.drop(func(k *kept) bool { return k == oldest })
	}
	s.add(&kept{cert: cert, record: record{Certificate: cert.Raw, URL: url, Fetched: now, Asked: now}})
	return true
}

// drop forgets certificates. The lock is held.
func (s *Service) drop(gone func(*kept) bool) {
	for name, list := range s.kept {
		rest := slices.DeleteFunc(list, gone)
		s.count -= len(list) - len(rest)
		if s.kept[name] = rest; len(rest) == 0 {
			delete(s.kept, name)
		}
	}
}

// save writes what is kept, when something came in and once a day. The lock is not held while the store writes, because
// whoever reads the store may be waiting for it.
func (s *Service) save(came bool) error {
	values, err := s.tidy(came)
	if err != nil || values == nil {
		return err
	}
	return s.Store.UpdateRevocations(func(tx revocation.Tx) error { return write(tx, values) })
}

// tidy forgets what was not asked for long, and returns what is to be stored; nil when it is not time to.
func (s *Service) tidy(came bool) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !came && now.Sub(s.tidied) < 24*time.Hour {
		return nil, nil
	}
	s.tidied = now
	old := now.Add(-keepUnasked)
	s.drop(func(k *kept) bool { return k.Asked.Before(old) || now.After(k.cert.NotAfter) })
	for url, t := range s.targets {
		if t.asked.Before(old) {
			delete(s.targets, url)
		}
	}
	values := map[string][]byte{}
	for _, list := range s.kept {
		for _, k := range list {
			value, err := json.Marshal(k.record)
			if err != nil {
				return nil, err
			}
			values[string(storeKey(k.cert))] = value
		}
	}
	return values, nil
}

// write makes the store hold these values and no others.
func write(tx revocation.Tx, values map[string][]byte) error {
	if err := tx.Delete([]byte{keyKept}); err != nil {
		return err
	}
	for key, value := range values {
		if err := tx.Put([]byte(key), value); err != nil {
			return err
		}
	}
	return nil
}
