package cache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Bounds of a completion among contacts: those that are read, and those that are returned.
const (
	maxContactsRead   = 200
	maxContactMatches = 50
)

// Kinds of keys in the bucket "contactindex"; the identifier of the contact follows.
const (
	indexAddress     = 'a' // address 0x00
	indexWord        = 'w' // folded word 0x00
	indexCertificate = 'c' // SHA-256 of the certificate
)

func (t *transaction) Contact(id string) (directory.Contact, error) {
	b := t.bucket(bucketContacts).Get([]byte(id))
	if b == nil {
		return directory.Contact{}, directory.ErrNoEntry
	}
	return decodeContact(b)
}

// decodeContact reads a stored contact: JSON with checksum.
func decodeContact(b []byte) (c directory.Contact, err error) {
	js, err := unseal(b)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(js, &c); err != nil {
		return c, fmt.Errorf("%w: a contact: %w", ErrDamaged, err)
	}
	return c, nil
}

func (t *transaction) Contacts(f func(directory.Contact) error) error {
	return t.prefixed(bucketContacts, nil, func(_, v []byte) (bool, error) {
		c, err := decodeContact(v)
		if err != nil {
			return false, err
		}
		return true, f(c)
	})
}

func (t *transaction) ContactIDs(address directory.Address) ([]string, error) {
	return t.contactIDs(indexAddress, string(address)+"\x00", maxSightings)
}

func (t *transaction) PutContact(c directory.Contact) error {
	if c.ID == "" || len(c.ID) > directory.MaxContactID {
		return fmt.Errorf("a contact with an identifier of %d bytes", len(c.ID))
	}
	js, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode contact: %w", err)
	}
	if len(js) > maxRecord {
		return fmt.Errorf("contact of %d bytes is too large to keep", len(js))
	}
	if err := t.unindexContact(c.ID); err != nil {
		return err
	}
	for _, key := range contactKeys(c) {
		if err := t.put(bucketContactIndex, key, []byte{}); err != nil {
			return err
		}
	}
	return t.put(bucketContacts, []byte(c.ID), seal(js))
}

func (t *transaction) DeleteContact(id string) error {
	if err := t.unindexContact(id); err != nil {
		return err
	}
	return t.remove(bucketContacts, []byte(id))
}

// unindexContact removes the index keys of a stored contact, if it is there.
func (t *transaction) unindexContact(id string) error {
	old, err := t.Contact(id)
	if errors.Is(err, directory.ErrNoEntry) {
		return nil
	}
	for _, key := range contactKeys(old) {
		err = errors.Join(err, t.remove(bucketContactIndex, key))
	}
	return err
}

// contactKeys are the index keys of a contact.
func contactKeys(c directory.Contact) (keys [][]byte) {
	for _, a := range c.Addresses {
		keys = append(keys, contactKey(indexAddress, string(a)+"\x00", c.ID))
	}
	// Without an address there is nothing to complete.
	for _, w := range contactWords(c) {
		keys = append(keys, contactKey(indexWord, w.text+"\x00", c.ID))
	}
	for _, cert := range c.Certificates {
		sum := sha256.Sum256(cert.Raw)
		keys = append(keys, contactKey(indexCertificate, string(sum[:]), c.ID))
	}
	return keys
}

func contactKey(kind byte, text, id string) []byte {
	return append([]byte{kind}, text+id...)
}

// contactWords are the beginnings by which a contact with an address is found, as words makes them for an entry.
func contactWords(c directory.Contact) []word {
	if len(c.Addresses) == 0 {
		return nil
	}
	return words(directory.Entry{Primary: c.Addresses[0], DisplayName: c.DisplayName, GivenName: c.GivenName, Surname: c.Surname})
}

// contactIDs returns the identifiers of up to limit contacts that have an index key which begins with kind and text, in
// order.
func (t *transaction) contactIDs(kind byte, text string, limit int) (ids []string, err error) {
	prefix := contactKey(kind, text, "")
	err = t.prefixed(bucketContactIndex, prefix, func(k, _ []byte) (bool, error) {
		rest := k[len(prefix):]
		if kind == indexWord { // the rest of the word comes first
			_, rest, _ = bytes.Cut(rest, []byte{0})
		}
		if id := string(rest); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		return len(ids) < limit, nil
	})
	return ids, err
}

// ContactSighting is a contact together with how sure we are that it still stands.
type ContactSighting struct {
	directory.Contact
	// Seen is when the server last confirmed it.
	Seen time.Time
}

// ContactsOf returns the contacts that have the address, in order of their identifiers. None is not an error.
func (c *Cache) ContactsOf(ctx context.Context, address directory.Address) (found []ContactSighting, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		ids, err := tx.ContactIDs(address)
		if err != nil || len(ids) == 0 {
			return err
		}
		history, err := directory.ReadContactHistory(tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			contact, err := tx.Contact(id)
			if err != nil {
				return damagedIndex(err)
			}
			found = append(found, ContactSighting{contact, contact.Seen(history.Finished)})
		}
		return nil
	})
	return found, err
}

// SearchContacts completes text, as Search does for entries: contacts with an address in which every word of text begins a
// word of a name or of the first address, by name.
func (c *Cache) SearchContacts(ctx context.Context, text string, limit int) (found []directory.Contact, err error) {
	wanted := wantedWords(text)
	if len(wanted) == 0 || limit <= 0 {
		return nil, nil
	}
	err = c.view(ctx, func(tx *transaction) error {
		ids, err := tx.contactIDs(indexWord, wanted[0], maxContactsRead)
		if err != nil {
			return err
		}
		for _, id := range ids {
			contact, err := tx.Contact(id)
			if err != nil {
				return damagedIndex(err)
			}
			if matchesAll(contactWords(contact), wanted) {
				found = append(found, contact)
			}
		}
		return nil
	})
	slices.SortFunc(found, func(a, b directory.Contact) int {
		return cmp.Or(cmp.Compare(mailaddr.Fold(a.DisplayName), mailaddr.Fold(b.DisplayName)), cmp.Compare(a.Addresses[0], b.Addresses[0]), cmp.Compare(a.ID, b.ID))
	})
	return found[:min(len(found), limit, maxContactMatches)], err
}

// matchesAll reports that each wanted text begins one of the words.
func matchesAll(words []word, wanted []string) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(words, func(word word) bool { return strings.HasPrefix(word.text, w) }) {
			return false
		}
	}
	return true
}

// ContactCertificate returns the DER of a certificate that a contact has, by its SHA-256, and the addresses of the
// contacts that have it. ErrNotFound when there is none.
func (c *Cache) ContactCertificate(ctx context.Context, sum [32]byte) (der []byte, addresses []directory.Address, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		ids, err := tx.contactIDs(indexCertificate, string(sum[:]), maxSightings)
		if err != nil {
			return err
		}
		for _, id := range ids {
			contact, err := tx.Contact(id)
			if err != nil {
				return damagedIndex(err)
			}
			for _, cert := range contact.Certificates {
				if sha256Of(cert.Raw) == sum {
					der = cert.Raw
				}
			}
			if len(contact.Addresses) > 0 && !slices.Contains(addresses, contact.Addresses[0]) {
				addresses = append(addresses, contact.Addresses[0])
			}
		}
		if der == nil {
			return ErrNotFound
		}
		return nil
	})
	return der, addresses, err
}

// ContactHistory returns what the cache remembers about earlier listings of contacts.
func (c *Cache) ContactHistory(ctx context.Context) (h directory.ContactHistory, err error) {
	err = c.view(ctx, func(tx *transaction) (err error) {
		h, err = directory.ReadContactHistory(tx)
		return err
	})
	return h, err
}

// ContactAddresses returns the addresses of all contacts that have a certificate, in order.
func (c *Cache) ContactAddresses(ctx context.Context) (all []directory.Address, err error) {
	err = c.view(ctx, func(tx *transaction) error {
		return tx.Contacts(func(k directory.Contact) error {
			if len(k.Certificates) > 0 {
				all = append(all, k.Addresses...)
			}
			return nil
		})
	})
	slices.Sort(all)
	return slices.Compact(all), err
}
