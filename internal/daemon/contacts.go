package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Contacts are the personal contacts of the cache; nil: none. It implements recipients.Extra.
type Contacts struct{ Cache *cache.Cache }

// Offers implements recipients.Extra.
func (c *Contacts) Offers(ctx context.Context, address mailaddr.Address) (all []recipients.Offer, err error) {
	if c == nil {
		return nil, nil
	}
	found, err := c.Cache.ContactsOf(ctx, address)
	for _, contact := range found {
		offer := recipients.Offer{Source: recipients.Contacts, Name: contact.DisplayName, Intermediates: contact.Intermediates, Seen: contact.Seen}
		for _, cert := range contact.Certificates {
			o := offer
			o.Raw, o.Property, o.Default = cert.Raw, cert.Property, cert.Default
			all = append(all, o)
		}
		for _, value := range contact.Undecodable {
			o := offer
			o.Fault, o.Property, o.Intermediates = value.Reason, value.Property, nil
			all = append(all, o)
		}
	}
	return all, err
}

// search adds to entries of the address book, up to limit in all, those contacts that match text, as entries of KindPersonal.
// An address that the address book has is its own.
func (c *Contacts) search(ctx context.Context, text string, limit int, out []directory.Entry) ([]directory.Entry, error) {
	if c == nil || limit <= len(out) {
		return out, nil
	}
	found, err := c.Cache.SearchContacts(ctx, text, limit-len(out))
	for _, contact := range found {
		primary := contact.Addresses[0]
		known, err := c.Cache.Lookup(ctx, primary)
		if err != nil {
			return nil, err
		}
		twice := slices.ContainsFunc(out, func(e directory.Entry) bool { return slices.Contains(e.Addresses, primary) })
		if len(known) == 0 && !twice {
			out = append(out, directory.Entry{Primary: primary, Addresses: contact.Addresses, DisplayName: contact.DisplayName,
				GivenName: contact.GivenName, Surname: contact.Surname, Kind: directory.KindPersonal, Certificates: contact.Certificates})
		}
	}
	return out, err
}

// certificate returns a certificate of a contact; service.ErrNotFound when none has it.
func (c *Contacts) certificate(ctx context.Context, sum [32]byte) ([]byte, []directory.Address, error) {
	if c == nil {
		return nil, nil, service.ErrNotFound
	}
	der, addresses, err := c.Cache.ContactCertificate(ctx, sum)
	if errors.Is(err, cache.ErrNotFound) {
		err = service.ErrNotFound
	}
	return der, addresses, err
}

// fingerprints returns up to limit of those of certificates of contacts.
func (c *Contacts) fingerprints(ctx context.Context, beginning string, limit int) ([][32]byte, error) {
	if c == nil {
		return nil, nil
	}
	return c.Cache.ContactFingerprints(ctx, beginning, limit)
}

// contactsHint is what to do when a listing lacked many contacts.
const contactsHint = "nothing was removed; when the next sync finds the same, it is believed"

// ContactsReport says how a run read the contacts; nil when it did not.
func ContactsReport(r *directory.ContactReport) *service.Contacts {
	if r == nil {
		return nil
	}
	out := &service.Contacts{State: string(r.Outcome), Count: r.Contacts, Certified: r.Certified, Added: r.Added, Changed: r.Changed,
		Removed: r.Removed, Unread: r.Unread, Error: r.Error, Hint: r.Hint}
	switch r.Outcome {
	case directory.Stopped:
		out.State = service.OutcomeFailed
	case directory.Guarded:
		out.Error, out.Hint = r.GuardText(), contactsHint
	case directory.Incomplete:
		out.Error = "the listing of the contacts contradicted itself, so nothing was removed"
	}
	return out
}

// contactsStatus says how the contacts are.
func contactsStatus(ctx context.Context, c *cache.Cache, h directory.History) (*service.Contacts, error) {
	listed, err := c.ContactHistory(ctx)
	if err != nil {
		return nil, err
	}
	out := ContactsReport(h.Contacts)
	if out == nil {
		out = &service.Contacts{State: "never"}
	}
	out.LastSuccess = listed.Finished
	if listed.Resolved.After(out.LastSuccess) {
		out.LastSuccess = listed.Resolved
	}
	return out, nil
}

// contactsWarning says what is wrong with the contacts; empty when nothing is.
func contactsWarning(c *service.Contacts) string {
	switch {
	case c == nil:
		return ""
	case c.Error != "":
		text := "contacts: " + c.Error
		if c.Hint != "" {
			text += "; " + c.Hint
		}
		return text
	case c.Unread > 0:
		return fmt.Sprintf("contacts: %d could not be read; what was known of them is kept", c.Unread)
	}
	return ""
}
