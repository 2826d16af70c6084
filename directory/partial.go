package directory

import (
	"bytes"
	"crypto/x509"
	"reflect"
	"slices"
	"time"
)

// complete fills in what a partial record does not tell from what is known of the entry: names, the kind, the chain, how a
// certificate was published, certificates that the server does not show because they have expired, and addresses. An
// address that the server does not list any more is one that must be proven: it is asked for in turns.
func complete(tx Tx, entry *Entry, old Entry, now time.Time) error {
	for _, text := range []struct {
		field *string
		known string
	}{{&entry.DisplayName, old.DisplayName}, {&entry.GivenName, old.GivenName}, {&entry.Surname, old.Surname}, {&entry.Alias, old.Alias}} {
		if *text.field == "" {
			*text.field = text.known
		}
	}
	if entry.Kind == "" {
		entry.Kind = old.Kind
	}
	for i, c := range entry.Certificates {
		if at := indexCertificate(old, c.Raw); at >= 0 {
			entry.Certificates[i] = old.Certificates[at]
		}
	}
	for _, c := range old.Certificates {
		if indexCertificate(*entry, c.Raw) < 0 && len(entry.Certificates) < maxCertificates && expired(c.Raw, now) {
			entry.Certificates = append(entry.Certificates, c)
		}
	}
	if len(entry.Certificates) > 0 && len(entry.Intermediates) == 0 {
		entry.Intermediates = old.Intermediates
	}
	return keepAddresses(tx, entry, old, now)
}

// keepAddresses makes the listed addresses of another protocol proven ones.
func keepAddresses(tx Tx, entry *Entry, old Entry, now time.Time) error {
	for _, a := range old.Addresses {
		if slices.Contains(entry.Owned(), a) || len(entry.Proven) >= maxAddresses {
			continue
		}
		q, err := LastQuestion(tx, a)
		if err != nil {
			return err
		}
		q.Found = true
		if q.Asked.IsZero() {
			q.Asked = now
		}
		if err := q.save(tx, a); err != nil {
			return err
		}
		entry.Proven = append(entry.Proven, a)
	}
	slices.Sort(entry.Proven)
	entry.Claimed = slices.DeleteFunc(entry.Claimed, func(a Address) bool { return slices.Contains(entry.Proven, a) })
	if len(entry.Claimed) == 0 {
		entry.Claimed = nil
	}
	return nil
}

func indexCertificate(e Entry, raw []byte) int { return indexRaw(e.Certificates, raw) }

func indexRaw(all []UserCertificate, raw []byte) int {
	return slices.IndexFunc(all, func(c UserCertificate) bool { return bytes.Equal(c.Raw, raw) })
}

// expired reports that a certificate has ended: it stays for mail from before. One that is not valid yet does not, because
// nobody would look again whether the server still has it once its time has come.
func expired(raw []byte, now time.Time) bool {
	cert, err := x509.ParseCertificate(raw)
	return err == nil && now.After(cert.NotAfter)
}

// sameContent reports that two entries differ in nothing that anybody asks for.
func sameContent(a, b Entry) bool {
	for _, e := range []*Entry{&a, &b} {
		e.Digest, e.Changed, e.Missing, e.Unconfirmed, e.LastSeen = [32]byte{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	return reflect.DeepEqual(a, b)
}
