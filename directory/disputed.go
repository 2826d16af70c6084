package directory

import (
	"crypto/x509"
	"errors"
	"slices"

	"github.com/galsyncd/galsyncd/trust"
)

// isDisputed is why an answer says nothing about a person.
const isDisputed = "the server does not tell whether it is a person or a list with one member, and the certificates name no address known as this person's alone"

// sortOut decides whose the disputed certificates of records are.
func sortOut(tx Tx, records []Record) ([]Record, error) {
	if !slices.ContainsFunc(records, func(rec Record) bool { return len(rec.Disputed) > 0 }) {
		return records, nil
	}
	records = slices.Clone(records)
	for i := range records {
		var err error
		if records[i], err = sortOutOne(tx, records[i]); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// sortOutOne keeps a record the group that it looks like, unless another protocol told that the entry is a person's. Then
// either the certificates are that person's by an address of theirs, or nothing of use was said.
func sortOutOne(tx Tx, rec Record) (Record, error) {
	values := rec.Disputed
	if rec.Disputed = nil; len(values) == 0 {
		return rec, nil
	}
	known, err := tx.Entry(rec.Primary)
	switch {
	case errors.Is(err, ErrNoEntry):
		return rec, nil
	case err != nil:
		return rec, err
	case known.Kind != KindMailbox && known.Kind != KindContact: // which ActiveSync tells of nobody
		return rec, nil
	}
	own, err := nameOnly(tx, known, values)
	rec.Kind = ""
	if own {
		rec.Values = values
	} else {
		rec.Undetermined = isDisputed
	}
	return rec, err
}

// nameOnly reports that certificates name an address that the address book ties to an entry, and none that it ties to
// another one: a member of a list has an entry too.
func nameOnly(tx Tx, entry Entry, values []Value) (bool, error) {
	own := false
	for _, c := range Decode(Record{Primary: entry.Primary, Values: values}).Certificates {
		cert, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			return false, err
		}
		for _, a := range trust.CertificateAddresses(cert) {
			owners, err := tx.Owners(a)
			if err != nil {
				return false, err
			}
			if slices.ContainsFunc(owners, func(o Address) bool { return o != entry.Primary }) {
				return false, nil
			}
			own = own || len(owners) > 0
		}
	}
	return own, nil
}
