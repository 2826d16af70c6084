package revocation

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"
)

// Store keeps revocation data between runs: an ordered map from bytes to bytes. Package cache implements it.
type Store interface {
	// ViewRevocations runs f on a consistent snapshot. Writing in it is an error.
	ViewRevocations(f func(Tx) error) error
	// UpdateRevocations runs f in one transaction: all of it is kept or nothing.
	UpdateRevocations(f func(Tx) error) error
}

// Tx is one transaction on a Store. Values it returns must not be changed, and may be used until it ends.
type Tx interface {
	// Get returns nil when there is nothing at key.
	Get(key []byte) ([]byte, error)
	// Floor returns the last key that begins with prefix and is not after key, with its value; nil when there is none.
	Floor(prefix, key []byte) (found, value []byte, err error)
	// Each calls f for every key that begins with prefix, in order. f must not write.
	Each(prefix []byte, f func(key, value []byte) error) error
	Put(key, value []byte) error
	// Delete removes every key that begins with prefix.
	Delete(prefix []byte) error
}

// Keys of the store begin with one letter.
const (
	keyList      = 'c' // + key of the list: listRecord
	keySerials   = 's' // + key of the list + first serial number: run of entries
	keyAuthority = 'i' // + key of the authority: its certificate
	keyAnswer    = 'o' // + key of the certificate: answerRecord
	// 'a' is package aia's.
)

func storeKey(kind byte, parts ...[]byte) []byte {
	return append([]byte{kind}, bytes.Join(parts, nil)...)
}

// attempts is how fetching went, the same for CRLs and OCSP answers.
type attempts struct {
	// Asked is when somebody last wanted to know, by the day.
	Asked time.Time `json:"asked"`
	// Fetched is the last success, Tried the last attempt.
	Fetched time.Time `json:"fetched,omitzero"`
	Tried   time.Time `json:"tried,omitzero"`
	// Failures counts those since the last success; Failure and Hint are of the last one.
	Failures int    `json:"failures,omitempty"`
	Failure  string `json:"failure,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// listRecord is what is kept about a CRL besides its entries.
type listRecord struct {
	attempts
	URL       string `json:"url"`
	Authority key    `json:"authority"`
	Issuer    string `json:"issuer"`
	// ETag and Modified let the server say that nothing changed.
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
	// List is nil until the first success.
	List *listFacts `json:"list,omitempty"`
}

// listFacts describe the CRL that is kept.
type listFacts struct {
	Number  []byte    `json:"number,omitempty"` // big endian
	This    time.Time `json:"this"`
	Next    time.Time `json:"next"`
	Entries int       `json:"entries"`
	// Sum is the SHA-256 of the whole CRL.
	Sum   key   `json:"sum"`
	Scope scope `json:"scope"`
}

// answerRecord is what is kept of an OCSP answer.
type answerRecord struct {
	attempts
	URL    string `json:"url"`
	Issuer string `json:"issuer"`
	// Status is "" until the first success, else "good" or "revoked".
	Status string    `json:"status,omitempty"`
	This   time.Time `json:"this,omitzero"`
	Next   time.Time `json:"next,omitzero"`
	Since  time.Time `json:"since,omitzero"`
	Reason byte      `json:"reason,omitempty"`
}

// maxRecord bounds a record in JSON.
const maxRecord = 256 << 10

var errRecord = errors.New("a record of the store cannot be read")

func decode[T any](b []byte) (*T, error) {
	if b == nil {
		return nil, nil
	}
	r := new(T)
	if len(b) > maxRecord {
		return nil, fmt.Errorf("%w: it is %d bytes long", errRecord, len(b))
	}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return r, nil
}

// load reads a record; nil when there is none.
func load[T any](tx Tx, at []byte) (*T, error) {
	b, err := tx.Get(at)
	if err != nil {
		return nil, err
	}
	return decode[T](b)
}

func save(tx Tx, at []byte, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Put(at, b)
}

// Entries are kept in runs of so many, each entry as serial number (20), time (4) and reason (1): few enough bytes that
// reading one run is quick, and few enough runs that writing a million entries is.
const (
	runLength = 2048
	entrySize = maxSerial + 4 + 1
)

// putEntries replaces the entries of a list.
func putEntries(tx Tx, list key, entries []revoked) error {
	if err := tx.Delete(storeKey(keySerials, list[:])); err != nil {
		return err
	}
	for len(entries) > 0 {
		n := min(len(entries), runLength)
		run := make([]byte, 0, n*entrySize)
		for _, e := range entries[:n] {
			run = append(run, e.serial[:]...)
			run = binary.BigEndian.AppendUint32(run, e.since)
			run = append(run, e.reason)
		}
		if err := tx.Put(storeKey(keySerials, list[:], entries[0].serial[:]), run); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// findEntry looks for a serial number in a list.
func findEntry(tx Tx, list key, serial [maxSerial]byte) (revoked, bool, error) {
	prefix := storeKey(keySerials, list[:])
	_, run, err := tx.Floor(prefix, storeKey(keySerials, list[:], serial[:]))
	if err != nil || run == nil {
		return revoked{}, false, err
	}
	return searchRun(run, serial)
}

func searchRun(run []byte, serial [maxSerial]byte) (r revoked, found bool, err error) {
	if len(run)%entrySize != 0 {
		return r, false, fmt.Errorf("%w: a run of %d bytes", errRecord, len(run))
	}
	n := len(run) / entrySize
	i := sort.Search(n, func(i int) bool { return bytes.Compare(run[i*entrySize:][:maxSerial], serial[:]) >= 0 })
	if i == n || !bytes.Equal(run[i*entrySize:][:maxSerial], serial[:]) {
		return r, false, nil
	}
	e := run[i*entrySize:][:entrySize]
	return revoked{serial: serial, since: binary.BigEndian.Uint32(e[maxSerial:]), reason: e[entrySize-1]}, true, nil
}

// loadAuthority reads the certificate of an authority.
func loadAuthority(tx Tx, authority key) (*x509.Certificate, error) {
	der, err := tx.Get(storeKey(keyAuthority, authority[:]))
	if err != nil || der == nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil || authorityKey(cert) != authority {
		return nil, fmt.Errorf("%w: the certificate of an authority", errRecord)
	}
	return cert, nil
}

// MarshalText writes a key in JSON.
func (k key) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads a key in JSON.
func (k *key) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) {
		return errors.New("not a key")
	}
	_, err := hex.Decode(k[:], b)
	return err
}
