package directory

import (
	"context"
	"time"
)

// A ContactSource is a Source whose account has personal contacts. The contract about errors is that of Source.Search.
type ContactSource interface {
	Source
	// ListContacts returns one page of the account's contacts, those from the offset on: which there are and in which
	// version, without their content.
	ListContacts(ctx context.Context, offset int) (ContactList, error)
	// GetContacts returns the content of at most MaxContactBatch contacts, one answer for each in the order asked. An error
	// means that there is no usable answer about any of them.
	GetContacts(ctx context.Context, ids []string) ([]ContactAnswer, error)
}

// Bounds of the contacts of one account.
const (
	MaxContacts     = 20_000
	MaxContactBatch = 50
	MaxContactID    = 1024 // bytes
)

// ContactList is one page of a listing.
type ContactList struct {
	Refs []ContactRef
	// Items counts what the page listed, what is no contact (distribution lists) included.
	Items int
	// Next is the offset of the next page; 0 when this is the last.
	Next int
	// Total is how many items the server says that there are on all pages together; -1 when it does not say.
	Total int
}

// ContactRef names a contact and its version.
type ContactRef struct {
	// ID is opaque, 1 to MaxContactID bytes.
	ID string
	// Version changes with every change of the contact; empty when the server does not say.
	Version string
}

// ContactAnswer is what a server said about one contact: found, gone, or, with a Fault, nothing of use.
type ContactAnswer struct {
	// Record is the content. Its Primary, the first address, is empty for a contact without a mail address.
	Record Record
	// Gone reports that the server says that there is no such contact (any more).
	Gone bool
	// Fault says why there is no usable answer.
	Fault string
}

// Contact is a personal contact of the account as it is kept. It is never mixed with the entries of the address book:
// what is in it somebody wrote for themselves.
type Contact struct {
	ContactRef
	DisplayName string `json:"displayName,omitempty"`
	GivenName   string `json:"givenName,omitempty"`
	Surname     string `json:"surname,omitempty"`
	// Addresses are those of the contact, each once, the first one first; empty for one without.
	Addresses []Address `json:"addresses,omitempty"`
	// Certificates, Intermediates and Undecodable are as in Entry.
	Certificates  []UserCertificate `json:"certificates,omitempty"`
	Intermediates [][]byte          `json:"intermediates,omitempty"`
	Undecodable   []Undecodable     `json:"undecodable,omitempty"`
	// Changed is when this content was first seen.
	Changed time.Time `json:"changed"`
	// Confirmed is when the server last confirmed this content, where that was not by the last listing: by an exact answer
	// about its address, or before a listing had another version that could not be read. Zero while it is the version of the
	// last listing.
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Resolved marks a contact that an exact answer about its only address brought, and no listing.
	Resolved bool `json:"resolved,omitempty"`
	// Denied is, for a contact that is Resolved, when the run started in which the server last said that there is none with
	// a certificate; zero since it said that there is.
	Denied time.Time `json:"denied,omitzero"`
}

// Seen says when the server last confirmed a contact; listed is ContactHistory.Finished.
func (c *Contact) Seen(listed time.Time) time.Time {
	if !c.Confirmed.IsZero() {
		return c.Confirmed
	}
	return later(c.Changed, listed)
}

// decodeContact makes a Contact of what a source returned.
func decodeContact(ref ContactRef, rec Record) Contact {
	entry := Decode(rec)
	c := Contact{ContactRef: ref, DisplayName: entry.DisplayName, GivenName: entry.GivenName, Surname: entry.Surname,
		Certificates: entry.Certificates, Intermediates: entry.Intermediates, Undecodable: entry.Undecodable}
	for _, a := range entry.Addresses {
		if a != "" {
			c.Addresses = append(c.Addresses, a)
		}
	}
	return c
}
