package directory

import "errors"

// Store keeps entries between runs; package cache implements it. One process uses it at a time.
type Store interface {
	// View runs f on a consistent snapshot. Writing in it is an error.
	View(f func(Tx) error) error
	// Update runs f in one transaction: all of it is kept, also over a crash right after Update returned, or nothing.
	Update(f func(Tx) error) error
}

// Tx is one transaction on a Store. Values it returns are the caller's own.
type Tx interface {
	// Entry returns ErrNoEntry when there is none.
	Entry(primary Address) (Entry, error)
	PutEntry(Entry) error
	// DeleteEntry of an entry that is not there does nothing.
	DeleteEntry(primary Address) error
	// Digest returns the digest of an entry and whether it is marked missing, without reading the rest.
	// ErrNoEntry when there is none.
	Digest(primary Address) (digest [32]byte, missing bool, err error)
	// Primaries returns the primary addresses that start with prefix, in order.
	Primaries(prefix string) ([]Address, error)
	// HasPrimary reports whether any primary address starts with prefix.
	HasPrimary(prefix string) (bool, error)
	// CountPrefix counts the addresses (primary and other) that start with prefix, up to limit.
	CountPrefix(prefix string, limit int) (int, error)
	// Owners returns the primary addresses of the entries that an address belongs to, listed or proven.
	Owners(address Address) ([]Address, error)
	// Totals counts entries and those among them with at least one certificate.
	Totals() (entries, certified int, err error)
	// Sweep removes what no entry refers to any more.
	Sweep() error

	// Members returns those of a group; nil when they were never stored.
	Members(group Address) (*Members, error)
	// PutMembers stores the members of a group, an entry of the store. They go with the entry.
	PutMembers(group Address, m Members) error
	// Groups returns the primary addresses of all entries of KindGroup, in order.
	Groups() ([]Address, error)

	// Contact returns ErrNoEntry when there is none with that identifier.
	Contact(id string) (Contact, error)
	// Contacts calls f for each contact, in order of their identifiers.
	Contacts(f func(Contact) error) error
	// ContactIDs returns the identifiers of contacts with an address, in order; of very many the first.
	ContactIDs(address Address) ([]string, error)
	PutContact(Contact) error
	// DeleteContact of a contact that is not there does nothing.
	DeleteContact(id string) error

	// PutLoss holds back a change that would lose something, until the run is complete; at most one per entry.
	PutLoss(Loss) error
	// Losses calls f for up to limit losses, in order of their primary address.
	Losses(limit int, f func(Loss) error) error
	// CountLosses counts the losses, and those of entries that have a certificate now.
	CountLosses() (losses, certified int, err error)
	DeleteLoss(primary Address) error
	ClearLosses() error

	// State returns a value stored with SetState, nil when there is none.
	State(key string) ([]byte, error)
	// States calls f for every key that starts with prefix, in order.
	States(prefix string, f func(key string, value []byte) error) error
	// SetState stores a value; nil removes it.
	SetState(key string, value []byte) error
}

// ErrNoEntry reports that the store has no entry with that primary address.
var ErrNoEntry = errors.New("no such entry")

// Loss is a change held back: the entry was not found where it must be, or was found without the usable certificate
// that it had.
type Loss struct {
	Primary Address
	// Entry is the entry as found; nil when it was not found.
	Entry *Entry
}
