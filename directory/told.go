package directory

import (
	"errors"
	"slices"
	"time"
)

// A ContactTeller is a BatchResolver that has no list of the account's contacts, but says of an address that it is one of
// them (Resolution.Contact). What it says is kept as contacts that are Resolved.
type ContactTeller interface {
	BatchResolver
	// TellsContacts reports that Resolution.Contact is in use.
	TellsContacts() bool
}

// resolvedPrefix begins the identifiers of contacts that are Resolved; the address follows.
const resolvedPrefix = "address:"

func resolvedID(address Address) string { return resolvedPrefix + string(address) }

func (r *run) tellsContacts() bool {
	t, ok := r.sync.Source.(ContactTeller)
	return ok && r.sync.Contacts && t.TellsContacts()
}

// settleContact applies what an exact answer says about the contact with an address: certificates are kept at once; that
// there are none, or that the address is no contact, is noted until the run is believed.
func (r *run) settleContact(tx Tx, address Address, answer Resolution) error {
	switch {
	case !r.tellsContacts():
		return nil
	case answer.Contact != nil && len(answer.Contact.Values) > 0:
		return r.keepContact(tx, address, *answer.Contact)
	}
	c, err := tx.Contact(resolvedID(address))
	if errors.Is(err, ErrNoEntry) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Denied = r.state.Started
	return tx.PutContact(c)
}

// keepContact gives the certificates of an answer to the contact with the address that a listing named before, or else to
// one of the address alone, so that nobody is there twice. An answer without one that can be read changes nothing.
func (r *run) keepContact(tx Tx, address Address, rec Record) error {
	told := decodeContact(ContactRef{ID: resolvedID(address)}, rec)
	if len(told.Certificates) == 0 {
		return nil
	}
	now := r.sync.now()
	known, listed, err := contactWith(tx, address, told)
	switch {
	case err != nil:
		return err
	case known == nil:
		told.Resolved, told.Changed, told.Confirmed = true, now, now
		r.state.ContactsAdded++
		return tx.PutContact(told)
	}
	if known.renew(told, now) {
		r.state.ContactsChanged++
	}
	if listed {
		err = tx.DeleteContact(resolvedID(address))
	} else {
		known.DisplayName = told.DisplayName
	}
	return errors.Join(err, tx.PutContact(*known))
}

// contactWith returns the contact that an answer about the address speaks of: among those of a listing the one with all
// certificates of the answer, or the first; else the one that is Resolved; nil when there is none.
func contactWith(tx Tx, address Address, told Contact) (best *Contact, listed bool, err error) {
	ids, err := tx.ContactIDs(address)
	for _, id := range ids {
		c, err := tx.Contact(id)
		switch {
		case err != nil:
			return nil, false, err
		case c.Resolved && best == nil:
			best = &c
		case !c.Resolved && (!listed || c.hasAll(told) && !best.hasAll(told)):
			best, listed = &c, true
		}
	}
	return best, listed, err
}

func (c *Contact) hasAll(other Contact) bool {
	return !slices.ContainsFunc(other.Certificates, func(u UserCertificate) bool { return indexRaw(c.Certificates, u.Raw) < 0 })
}

// renew takes over the certificates of an answer, in which the server leaves out those that have expired: these stay.
func (c *Contact) renew(told Contact, now time.Time) (changed bool) {
	fresh := slices.Clone(told.Certificates)
	for i, u := range fresh {
		if at := indexRaw(c.Certificates, u.Raw); at >= 0 {
			fresh[i] = c.Certificates[at]
		} else {
			changed = true
		}
	}
	for _, u := range c.Certificates {
		switch {
		case indexRaw(fresh, u.Raw) >= 0:
		case len(fresh) < maxCertificates && expired(u.Raw, now):
			fresh = append(fresh, u)
		default:
			changed = true
		}
	}
	c.Certificates = fresh
	if len(told.Intermediates) > 0 {
		c.Intermediates = told.Intermediates
	}
	if changed {
		c.Changed = now
	}
	c.Confirmed, c.Denied = now, time.Time{}
	return changed
}

// concludeResolved removes the contacts that this run was told are none, if the run is believed and the guard lets them go.
// When the guard holds them, the next run has to say the same. Contacts of a listing stay: only a listing says that they
// are gone.
func (c *contactRun) concludeResolved() error {
	return c.sync.Store.Update(func(tx Tx) (err error) {
		h, err := ReadContactHistory(tx)
		if err != nil {
			return err
		}
		var gone []string
		resolved := 0
		err = tx.Contacts(func(k Contact) error {
			if k.Resolved {
				resolved++
			}
			if k.Resolved && k.Denied.Equal(c.state.Started) {
				gone = append(gone, k.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		c.report.Outcome, c.report.Added, c.report.Changed = Complete, c.state.ContactsAdded, c.state.ContactsChanged
		doubted := c.state.Report.Outcome == Guarded
		if lost := len(gone); lost > 0 && (doubted || lost > c.allowed(resolved) && lost > h.ResolvedLost) {
			c.report.Outcome, c.report.HeldLost = Guarded, lost
			if doubted {
				return nil
			}
			h.ResolvedLost = lost
			return h.save(tx)
		}
		for _, id := range gone {
			err = errors.Join(err, tx.DeleteContact(id))
		}
		c.report.Removed = len(gone)
		if !doubted {
			h.Resolved, h.ResolvedLost = c.state.Started, 0
		}
		return errors.Join(err, h.save(tx))
	})
}

// supersede removes the contacts that are Resolved and have an address of one that a listing brought with certificates.
func supersede(tx Tx, listed Contact) (err error) {
	if len(listed.Certificates) == 0 {
		return nil
	}
	for _, a := range listed.Addresses {
		err = errors.Join(err, tx.DeleteContact(resolvedID(a)))
	}
	return err
}
