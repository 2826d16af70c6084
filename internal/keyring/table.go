package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// table is one bucket of records of a kind. Beside it, in the bucket "meta" under "sum " and its name, stands a digest over
// its keys and the checksums of its records, so that one that is missing, added or put back in an older state is noticed.
type table struct {
	name string
	// one names a record in messages; most is how many there may be.
	one  string
	most int
	// check reads a record and finds out whether it may stand under its key.
	check func(key, data []byte) error
}

// The tables of the file.
func tables() []table {
	return []table{identitiesTable, requestsTable, installedTable, issuersTable, choicesTable, preferencesTable, capabilitiesTable}
}

var (
	identitiesTable   = table{"identities", "identity", 1000, checked(parseIdentity)}
	requestsTable     = table{"requests", "request", 100, checked(parseRequest)}
	installedTable    = table{"installed", "certificate", 5000, checked(parseInstalled)}
	issuersTable      = table{"issuers", "issuer", 500, checked(parseIssuer)}
	choicesTable      = table{"choices", "choice", 5000, checked(parseChoice)}
	preferencesTable  = table{"preferences", "preference", 200, checked(parsePreferences)}
	capabilitiesTable = table{"capabilities", "capability", 5000, checked(parseCapabilities)}
)

func checked[T any](parse func(key, data []byte) (T, error)) func(key, data []byte) error {
	return func(key, data []byte) error {
		_, err := parse(key, data)
		return err
	}
}

func (t table) bucket(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket([]byte(t.name)) }

func (t table) sumKey() []byte { return []byte("sum " + t.name) }

func (t table) put(tx *bbolt.Tx, key []byte, v any) error { return putRecord(t.bucket(tx), key, v) }

func (t table) get(tx *bbolt.Tx, key []byte) []byte { return t.bucket(tx).Get(key) }

func (t table) delete(tx *bbolt.Tx, key []byte) error { return t.bucket(tx).Delete(key) }

// sum is the digest of the table as it is, and the number of its records.
func (t table) sum(tx *bbolt.Tx) (digest []byte, n int) {
	h := sha256.New()
	c := t.bucket(tx).Cursor()
	for key, data := c.First(); key != nil; key, data = c.Next() {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(key))))
		h.Write(key)
		h.Write(data[:min(len(data), sha256.Size)])
		n++
	}
	return h.Sum(nil), n
}

// verifySum is ErrDamaged when the table does not hold what was written last.
func (t table) verifySum(tx *bbolt.Tx) error {
	if t.bucket(tx) == nil {
		return damaged("it has no bucket %q", t.name)
	}
	digest, n := t.sum(tx)
	if n > t.most {
		return damaged("it has more than %d records in %q", t.most, t.name)
	}
	if !bytes.Equal(digest, tx.Bucket(bucketMeta).Get(t.sumKey())) {
		return damaged("a record in %q is missing or is another one than was written", t.name)
	}
	return nil
}

// putSum has to follow every change of the table in the same transaction.
func (t table) putSum(tx *bbolt.Tx) error {
	digest, n := t.sum(tx)
	if n > t.most {
		return &FullError{Record: t.one, Most: t.most}
	}
	return tx.Bucket(bucketMeta).Put(t.sumKey(), digest)
}

// verify checks the digest and every record.
func (t table) verify(tx *bbolt.Tx) error {
	if err := t.verifySum(tx); err != nil {
		return err
	}
	return t.bucket(tx).ForEach(t.check)
}

// all reads every record of a table in the order of the keys.
func all[T any](tx *bbolt.Tx, t table, parse func(key, data []byte) (T, error)) (list []T, err error) {
	if err := t.verifySum(tx); err != nil {
		return nil, err
	}
	err = t.bucket(tx).ForEach(func(key, data []byte) error {
		rec, err := parse(key, data)
		list = append(list, rec)
		return err
	})
	return list, err
}

// FullError reports a table that has all the records it may have.
type FullError struct {
	// Record names what does not fit any more, Most is how many do.
	Record string
	Most   int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the keyring holds at most %d records of this kind (%s)", e.Most, e.Record)
}

// putRecord writes v as JSON after its SHA-256, which tells damage from content.
func putRecord(b *bbolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxRecord {
		return fmt.Errorf("the record would be larger than %d bytes", maxRecord)
	}
	sum := sha256.Sum256(text)
	return b.Put(key, append(sum[:], text...))
}

// parseRecord is the inverse of putRecord.
func parseRecord(data []byte, v any) error {
	if len(data) < sha256.Size || len(data) > sha256.Size+maxRecord {
		return damaged("a record has a wrong length")
	}
	sum := sha256.Sum256(data[sha256.Size:])
	if !bytes.Equal(sum[:], data[:sha256.Size]) {
		return damaged("a record does not match its checksum")
	}
	if err := json.Unmarshal(data[sha256.Size:], v); err != nil {
		return damaged("a record cannot be read")
	}
	return nil
}

// misplaced reports a record that is whole but does not belong where it stands.
func misplaced(t string, key []byte) error {
	return damaged("the record %s in %q does not belong there", hex.EncodeToString(key[:min(len(key), 32)]), t)
}
