package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNoContacts reports a source that knows no personal contacts.
var ErrNoContacts = errors.New("this source has no personal contacts")

// ContactReport is how the part of a run went that reads the contacts. It ends Complete; Incomplete, when the listing
// contradicted itself, so that nothing could be missed by it; Guarded; Failed; or Stopped.
type ContactReport struct {
	Outcome Outcome `json:"outcome"`
	// Contacts are in the store at the end, Certified those of them with at least one certificate.
	Contacts  int `json:"contacts"`
	Certified int `json:"certified"`
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Removed   int `json:"removed"`
	// Unread contacts are listed, but the server had no usable answer about their content: what was known of them is kept.
	Unread int `json:"unread,omitempty"`
	// HeldLost says, after a guarded run, how many contacts would have been removed or would have lost their last
	// certificate.
	HeldLost int `json:"heldLost,omitempty"`
	// HeldBare is how many of these would have stayed without a certificate.
	HeldBare int `json:"heldBare,omitempty"`
	// Error and Hint say why it failed.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// ContactHistory is what a store remembers about how contacts were read before. The zero value: never.
type ContactHistory struct {
	// Finished is when the last complete listing began: every contact of the store that is not Resolved was in it.
	Finished time.Time `json:"finished,omitzero"`
	// Doubted is when a complete listing lacked more contacts than the guard lets go, and DoubtedLost how many. The next one
	// is believed when it lacks no more.
	Doubted     time.Time `json:"doubted,omitzero"`
	DoubtedLost int       `json:"doubtedLost,omitempty"`
	// Resolved is when the last run began whose exact answers about contacts were believed. ResolvedLost is how many
	// contacts the run after it was told are gone, more than the guard lets go; the next one is believed when it is told of no
	// more.
	Resolved     time.Time `json:"resolved,omitzero"`
	ResolvedLost int       `json:"resolvedLost,omitempty"`
}

// GuardText says, after a guarded run, what it would have lost.
func (r *ContactReport) GuardText() string {
	return heldText(r.HeldLost-r.HeldBare, r.HeldBare, r.Contacts, "contacts", "certificates")
}

const contactsKey = "contacts/history"

// ReadContactHistory returns what the store remembers about listings of contacts.
func ReadContactHistory(tx Tx) (h ContactHistory, err error) {
	b, err := tx.State(contactsKey)
	if err != nil || b == nil {
		return h, err
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("read history of contacts: %w", err)
	}
	return h, nil
}

func (h ContactHistory) save(tx Tx) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tx.SetState(contactsKey, b)
}

// contactRun is the part of a run that reads the contacts.
type contactRun struct {
	*run
	source  ContactSource
	report  *ContactReport
	history ContactHistory
	began   time.Time
	// listed are the versions of the contacts on the server.
	listed map[string]string
	// whole reports that the listing is known to hold every contact.
	whole bool
	// bare are contacts that came without the certificates they had: held back until the guard has weighed them.
	bare []Contact
}

// contacts brings the contacts of the store in line with the account's. Whatever happens is in the report: contacts never
// make a run of the address book fail, and what did not work loses nothing.
func (r *run) contacts(ctx context.Context) {
	if !r.sync.Contacts {
		return
	}
	r.phase, r.fraction = PhaseContacts, 1
	r.tell("", time.Time{})
	rep := &ContactReport{}
	r.state.Report.Contacts = rep
	c := &contactRun{run: r, report: rep, began: r.sync.now()}
	err := c.bring(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		rep.Outcome, rep.Error, rep.Hint = Stopped, StoppedText, StoppedHint
	case err != nil:
		rep.Outcome, rep.Error, rep.Hint = Failed, fmt.Errorf("read the contacts: %w", err).Error(), hintOf(err)
		r.sync.log().Warn("the contacts were not read; what is known of them is kept", "error", err)
	}
	if err := c.count(); err != nil {
		r.sync.log().Warn("contacts cannot be counted", "error", err)
	}
	r.sync.log().Info("contacts read", "outcome", rep.Outcome, "contacts", rep.Contacts, "added", rep.Added, "changed", rep.Changed,
		"removed", rep.Removed, "unread", rep.Unread)
}

// forgetContacts removes all contacts, and what is remembered of their listings.
func forgetContacts(tx Tx) error {
	var ids []string
	err := tx.Contacts(func(c Contact) error {
		ids = append(ids, c.ID)
		return nil
	})
	for _, id := range ids {
		err = errors.Join(err, tx.DeleteContact(id))
	}
	return errors.Join(err, tx.SetState(contactsKey, nil))
}

// bring reads the contacts, or concludes what exact answers said of them.
func (c *contactRun) bring(ctx context.Context) error {
	if c.tellsContacts() {
		return c.concludeResolved()
	}
	return c.read(ctx)
}

func (c *contactRun) read(ctx context.Context) (err error) {
	var ok bool
	if c.source, ok = c.sync.Source.(ContactSource); !ok {
		return ErrNoContacts
	}
	refs, err := c.list(ctx)
	if err != nil {
		return err
	}
	due, err := c.compare(refs)
	if err != nil {
		return err
	}
	for len(due) > 0 {
		batch := due[:min(len(due), MaxContactBatch)]
		due = due[len(batch):]
		if err := c.fetch(ctx, batch); err != nil {
			return err
		}
	}
	return c.conclude()
}

// list reads all pages of the listing. It holds every contact when the server said how many items there are, always the
// same number, and as many were listed.
func (c *contactRun) list(ctx context.Context) (refs []ContactRef, err error) {
	c.listed, c.whole = map[string]string{}, true
	items, total := 0, -1
	for offset, more := 0, true; more; {
		var page ContactList
		err := c.retry(ctx, maxTries, func() (err error) {
			page, err = c.source.ListContacts(ctx, offset)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case page.Next != 0 && page.Next <= offset:
			return nil, errors.New("the listing of the contacts does not advance")
		case items > 0 && page.Total != total:
			c.whole = false // something changed meanwhile, and may have slipped through
		}
		items, total = items+page.Items, page.Total
		for _, ref := range page.Refs {
			if _, twice := c.listed[ref.ID]; twice {
				c.whole = false
				continue
			}
			c.listed[ref.ID] = ref.Version
			refs = append(refs, ref)
		}
		if len(refs) > MaxContacts || items > 2*MaxContacts {
			return nil, fmt.Errorf("the account has more than %d contacts", MaxContacts)
		}
		offset, more = page.Next, page.Next != 0
	}
	c.whole = c.whole && total == items
	return refs, nil
}

// compare returns the contacts that have to be fetched: new ones and other versions, all in a full run.
func (c *contactRun) compare(refs []ContactRef) (due []ContactRef, err error) {
	stored := map[string]string{} // "" for what has to be fetched again
	err = c.sync.Store.View(func(tx Tx) (err error) {
		if c.history, err = ReadContactHistory(tx); err != nil {
			return err
		}
		return tx.Contacts(func(k Contact) error {
			if k.Confirmed.IsZero() {
				stored[k.ID] = k.Version
			}
			return nil
		})
	})
	if c.history.Finished.After(c.began) { // a clock was wrong
		c.history.Finished = time.Time{}
	}
	for _, ref := range refs {
		if version := stored[ref.ID]; version == "" || version != ref.Version || c.state.Full {
			due = append(due, ref)
		}
	}
	return due, err
}

// fetch asks for the content of some contacts and stores it.
func (c *contactRun) fetch(ctx context.Context, batch []ContactRef) error {
	ids := make([]string, len(batch))
	for i, ref := range batch {
		ids[i] = ref.ID
	}
	var answers []ContactAnswer
	err := c.retry(ctx, maxTries, func() (err error) {
		answers, err = c.source.GetContacts(ctx, ids)
		if err == nil && len(answers) != len(ids) {
			err = fmt.Errorf("%d answers about %d contacts", len(answers), len(ids))
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.sync.Store.Update(func(tx Tx) error {
		for i, answer := range answers {
			if err := c.take(tx, batch[i], answer); err != nil {
				return fmt.Errorf("store a contact: %w", err)
			}
		}
		return nil
	})
}

// take stores what a server said about one contact.
func (c *contactRun) take(tx Tx, ref ContactRef, answer ContactAnswer) error {
	old, err := tx.Contact(ref.ID)
	known := err == nil
	if err != nil && !errors.Is(err, ErrNoEntry) {
		return err
	}
	switch {
	case answer.Gone:
		delete(c.listed, ref.ID) // since the listing
		return nil
	case answer.Fault != "":
		c.report.Unread++
		c.sync.log().Warn("a contact cannot be read", "error", answer.Fault)
		if !known || !old.Confirmed.IsZero() || old.Version == ref.Version {
			return nil
		}
		old.Confirmed = old.Seen(c.history.Finished)
		return tx.PutContact(old)
	}
	contact := decodeContact(ref, answer.Record)
	contact.Changed = c.sync.now()
	switch {
	case !known:
		c.report.Added++
	case len(old.Certificates) > 0 && len(contact.Certificates) == 0:
		c.bare = append(c.bare, contact)
		return nil
	case old.Version != contact.Version || contact.Version == "":
		c.report.Changed++
	default:
		contact.Changed = old.Changed // fetched again without need
	}
	return errors.Join(supersede(tx, contact), tx.PutContact(contact))
}

// conclude applies what is lost, all in one transaction with the history: contacts that are gone from the server, and
// certificates that are gone from contacts. When the guard finds it too much, the next complete listing has to say the
// same.
func (c *contactRun) conclude() error {
	if !c.whole {
		c.report.Outcome = Incomplete
		return nil
	}
	return c.sync.Store.Update(func(tx Tx) error {
		var gone, old []string
		stored, certified := -c.report.Added, 0
		err := tx.Contacts(func(k Contact) error {
			if k.Resolved { // no listing can miss it; without an answer it goes after a while
				if c.began.Sub(k.Confirmed) > MemoryOfQuestions {
					old = append(old, k.ID)
				}
				return nil
			}
			stored++
			if len(k.Certificates) > 0 {
				certified++
			}
			if _, here := c.listed[k.ID]; !here {
				gone = append(gone, k.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		lost := len(gone) + len(c.bare)
		if lost > c.history.DoubtedLost && (len(gone) > c.allowed(stored) || len(c.bare) > c.allowed(certified)) {
			c.report.Outcome, c.report.HeldLost, c.report.HeldBare = Guarded, lost, len(c.bare)
			c.history.Doubted, c.history.DoubtedLost = c.began, lost
			return c.history.save(tx)
		}
		for _, id := range append(gone, old...) {
			err = errors.Join(err, tx.DeleteContact(id))
		}
		for _, contact := range c.bare {
			err = errors.Join(err, tx.PutContact(contact))
		}
		c.report.Outcome, c.report.Removed = Complete, len(gone)+len(old)
		c.report.Changed += len(c.bare)
		return errors.Join(err, ContactHistory{Finished: c.began}.save(tx))
	})
}

func (c *contactRun) count() error {
	return c.sync.Store.View(func(tx Tx) error {
		return tx.Contacts(func(k Contact) error {
			c.report.Contacts++
			if len(k.Certificates) > 0 {
				c.report.Certified++
			}
			return nil
		})
	})
}
