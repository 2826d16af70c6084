package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/directory"
)

// mailbox is a book whose account has contacts.
type mailbox struct {
	*book
	items []*contact
	page  int
	// list and get, when set, may spoil an answer.
	list func(*directory.ContactList) error
	get  func(ids []string, answers []directory.ContactAnswer) error

	listed, got, fetched int
}

type contact struct {
	id, version string
	record      directory.Record
	fault       string
}

func (m *mailbox) ListContacts(_ context.Context, offset int) (directory.ContactList, error) {
	m.listed++
	list := directory.ContactList{Total: len(m.items)}
	for _, c := range m.items[offset:min(offset+m.page, len(m.items))] {
		list.Refs, list.Items = append(list.Refs, directory.ContactRef{ID: c.id, Version: c.version}), list.Items+1
	}
	if next := offset + list.Items; next < len(m.items) {
		list.Next = next
	}
	if m.list != nil {
		return list, m.list(&list)
	}
	return list, nil
}

func (m *mailbox) GetContacts(_ context.Context, ids []string) ([]directory.ContactAnswer, error) {
	m.got++
	m.fetched += len(ids)
	answers := make([]directory.ContactAnswer, len(ids))
	for i, id := range ids {
		at := slices.IndexFunc(m.items, func(c *contact) bool { return c.id == id })
		if at < 0 {
			answers[i].Gone = true
		} else if answers[i].Fault = m.items[at].fault; answers[i].Fault == "" {
			answers[i].Record = m.items[at].record
		}
	}
	if m.get != nil {
		return answers, m.get(ids, answers)
	}
	return answers, nil
}

// newMailbox makes an account with n contacts, all with a certificate but every tenth.
func newMailbox(t testing.TB, n int) (*night, *mailbox) {
	m := &mailbox{book: newBook(t, 20, 1), page: 4}
	raw := certificate(t, "friend@outside.example", time.Time{})
	for i := range n {
		c := &contact{id: fmt.Sprintf("id%03d", i), version: "1"}
		a := directory.Address(fmt.Sprintf("friend%d@outside.example", i))
		c.record = directory.Record{Primary: a, Addresses: []directory.Address{a}, DisplayName: fmt.Sprintf("Friend %d", i)}
		if i%10 != 9 {
			c.record.Values = []directory.Value{{Property: directory.UserSMIMECertificate, Data: raw}}
		}
		m.items = append(m.items, c)
	}
	night := newNight(t, m.book)
	night.sync.Source, night.sync.Contacts = m, true
	return night, m
}

// contacts is what is stored.
func (n *night) contacts() map[string]directory.Contact {
	n.t.Helper()
	all := map[string]directory.Contact{}
	err := n.cache.View(func(tx directory.Tx) error {
		return tx.Contacts(func(c directory.Contact) error {
			all[c.ID] = c
			return nil
		})
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// wantContacts runs a sync of the address book that is complete whatever happens to the contacts.
func (n *night) wantContacts(want directory.ContactReport) {
	n.t.Helper()
	r := n.run()
	if r.Outcome != directory.Complete || r.Entries != 20 {
		n.t.Errorf("address book: %+v", r)
	}
	if r.Contacts == nil {
		n.t.Fatal("the contacts were not read")
	}
	got := *r.Contacts
	if want.Error != "" && got.Error != "" {
		want.Error = got.Error
	}
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("contacts (-want +got):\n%s", diff)
	}
	var h directory.History
	if err := n.cache.View(func(tx directory.Tx) (err error) { h, err = directory.ReadHistory(tx); return err }); err != nil || h.Contacts == nil || *h.Contacts != got {
		n.t.Errorf("history %+v, %v", h.Contacts, err)
	}
}

// TestContactsAreFetchedOnce counts the requests of nights: pages of four here.
func TestContactsAreFetchedOnce(t *testing.T) {
	n, m := newMailbox(t, 120)
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 120, Certified: 108, Added: 120})
	if m.listed != 30 || m.got != 3 || m.fetched != 120 {
		t.Errorf("%d pages, %d fetches of %d contacts", m.listed, m.got, m.fetched)
	}
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 120, Certified: 108})
	if m.listed != 60 || m.got != 3 {
		t.Errorf("an unchanged night: %d pages, %d fetches", m.listed-30, m.got-3)
	}
	m.items[3].version, m.items[3].record.DisplayName = "2", "Somebody else"
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 120, Certified: 108, Changed: 1})
	if m.fetched != 121 || n.contacts()["id003"].DisplayName != "Somebody else" || n.contacts()["id003"].Version != "2" {
		t.Errorf("%d fetched, %+v", m.fetched, n.contacts()["id003"])
	}
	// A server without versions is asked for everything; a full run too.
	m.items[4].version = ""
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 120, Certified: 108, Changed: 1})
	if _, err := n.sync.Run(t.Context(), true); err != nil || m.fetched != 121+1+120 {
		t.Errorf("%d fetched, %v", m.fetched, err)
	}
}

// TestContactIsRemovedWithTheListing removes what a complete listing lacks, and at first not too much of it.
func TestContactIsRemovedWithTheListing(t *testing.T) {
	n, m := newMailbox(t, 20)
	n.run()
	m.items = m.items[4:] // 20 %
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 16, Certified: 14, Removed: 4})
	kept := m.items
	m.items = nil
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 16, Certified: 14, HeldLost: 16})
	// The doubt was right.
	m.items = kept
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 16, Certified: 14})
	// This time it is true.
	m.items = nil
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 16, Certified: 14, HeldLost: 16})
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Removed: 16})
}

// TestGrowingLossIsDoubtedAgain: the second listing is believed in what the first one said, not in more.
func TestGrowingLossIsDoubtedAgain(t *testing.T) {
	n, m := newMailbox(t, 20)
	n.run()
	m.items = m.items[6:]
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 20, Certified: 18, HeldLost: 6})
	m.items = nil
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 20, Certified: 18, HeldLost: 20})
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Removed: 20})
}

// TestAnotherMailbox replaces all contacts by others: the old ones go with the second listing.
func TestAnotherMailbox(t *testing.T) {
	n, m := newMailbox(t, 10)
	n.run()
	for _, c := range m.items {
		c.id = "moved-" + c.id
	}
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 20, Certified: 18, Added: 10, HeldLost: 10})
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 9, Removed: 10})
}

// TestHiddenCertificatesOfContacts: contacts that suddenly come without their certificates keep them for a night.
func TestHiddenCertificatesOfContacts(t *testing.T) {
	n, m := newMailbox(t, 10)
	n.run()
	strip := func(c *contact) { c.version, c.record.Values = c.version+"'", nil }
	strip(m.items[0])
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 8, Changed: 1})
	for _, c := range m.items[1:9] {
		strip(c)
	}
	n.wantContacts(directory.ContactReport{Outcome: directory.Guarded, Contacts: 10, Certified: 8, HeldLost: 8, HeldBare: 8})
	if text := (&directory.ContactReport{HeldLost: 8, HeldBare: 8, Contacts: 10}).GuardText(); text != "the sync would have lost the certificates of 8 of 10 contacts" {
		t.Error(text)
	}
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 0, Changed: 8})
}

// TestUnusableAnswersLoseNoContact holds for every way in which an answer can be bad.
func TestUnusableAnswersLoseNoContact(t *testing.T) {
	refused := errors.New("access denied")
	for name, tc := range map[string]struct {
		spoil func(*mailbox)
		want  directory.ContactReport
	}{
		"no listing": {func(m *mailbox) { m.list = func(*directory.ContactList) error { return refused } },
			directory.ContactReport{Outcome: directory.Failed, Error: "x"}},
		"no second page": {func(m *mailbox) {
			m.list = func(l *directory.ContactList) error {
				if l.Refs[0].ID != "id000" {
					return refused
				}
				return nil
			}
		}, directory.ContactReport{Outcome: directory.Failed, Error: "x"}},
		"pages that do not advance": {func(m *mailbox) {
			m.list = func(l *directory.ContactList) error { l.Next = min(l.Next, 4); return nil }
		},
			directory.ContactReport{Outcome: directory.Failed, Error: "x"}},
		"the last page is said to be the first": {func(m *mailbox) { m.list = func(l *directory.ContactList) error { l.Next = 0; return nil } },
			directory.ContactReport{Outcome: directory.Incomplete, Changed: 1}},
		"the number of items changes": {func(m *mailbox) {
			pages := 0
			m.list = func(l *directory.ContactList) error { l.Total += pages; pages++; return nil }
		}, directory.ContactReport{Outcome: directory.Incomplete, Changed: 1}},
		"nobody says how many items there are": {func(m *mailbox) {
			m.list = func(l *directory.ContactList) error { l.Total = -1; return nil }
		}, directory.ContactReport{Outcome: directory.Incomplete, Changed: 1}},
		"one is listed twice": {func(m *mailbox) {
			m.list = func(l *directory.ContactList) error { l.Refs[len(l.Refs)-1] = l.Refs[0]; return nil }
		}, directory.ContactReport{Outcome: directory.Incomplete, Changed: 1}},
		"no content": {func(m *mailbox) { m.get = func([]string, []directory.ContactAnswer) error { return refused } },
			directory.ContactReport{Outcome: directory.Failed, Error: "x"}},
		"one that cannot be read": {func(m *mailbox) { m.items[2].fault = "corrupt" },
			directory.ContactReport{Outcome: directory.Complete, Unread: 1}},
		"gone since the listing": {func(m *mailbox) {
			m.get = func(_ []string, answers []directory.ContactAnswer) error {
				answers[0] = directory.ContactAnswer{Gone: true}
				return nil
			}
		}, directory.ContactReport{Outcome: directory.Complete, Contacts: -1, Certified: -1, Removed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			n, m := newMailbox(t, 10)
			n.run()
			before := n.contacts()
			m.items[2].version = "2"
			tc.spoil(m)
			tc.want.Contacts += 10
			tc.want.Certified += 9
			n.wantContacts(tc.want)
			if tc.want.Outcome == directory.Failed {
				if diff := cmp.Diff(before, n.contacts()); diff != "" {
					t.Errorf("stored contacts changed:\n%s", diff)
				}
			}
			// The next night is good again.
			m.list, m.get, m.items[2].fault = nil, nil, ""
			if name == "gone since the listing" {
				return
			}
			r := n.run()
			if r.Contacts.Outcome != directory.Complete || r.Contacts.Contacts != 10 || n.contacts()["id002"].Version != "2" || !n.contacts()["id002"].Confirmed.IsZero() {
				t.Errorf("%+v, %+v", r.Contacts, n.contacts()["id002"])
			}
		})
	}
}

// TestWhenContactsWereSeen dates what a listing confirmed, and what it did not.
func TestWhenContactsWereSeen(t *testing.T) {
	n, m := newMailbox(t, 3)
	first := n.now
	n.run()
	m.items[1].version, m.items[1].fault = "2", "corrupt"
	second := n.now
	n.run()
	third := n.now
	n.run()
	found := func(i int) time.Time {
		s, err := n.cache.ContactsOf(t.Context(), directory.Address(fmt.Sprintf("friend%d@outside.example", i)))
		if err != nil || len(s) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s[0].Seen
	}
	if got := found(0); !got.Equal(third) {
		t.Errorf("confirmed on %s, want %s", got, third)
	}
	if got := found(1); !got.Equal(first) {
		t.Errorf("the one that cannot be read since %s was confirmed on %s, want %s", second, got, first)
	}
	m.list = func(*directory.ContactList) error { return passing{after: time.Hour} }
	n.run()
	if got := found(0); !got.Equal(third) {
		t.Errorf("after an outage: %s, want %s", got, third)
	}
}

// TestContactsWithoutAddressAreKnown: what has no address is stored all the same, so that it is not fetched every night.
func TestContactsWithoutAddressAreKnown(t *testing.T) {
	n, m := newMailbox(t, 1)
	m.items[0].record = directory.Record{DisplayName: "Plumber"}
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 1, Added: 1})
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 1})
	if m.fetched != 1 {
		t.Errorf("fetched %d times", m.fetched)
	}
}

// TestKnownAddressesOfContacts: a colleague among the contacts is kept fresh every night; who is none is asked for once a week.
func TestKnownAddressesOfContacts(t *testing.T) {
	n, m := newMailbox(t, 30)
	n.sync.KnownOnly = true
	n.run() // reads the contacts
	colleague := m.people[0].record.Primary
	m.items[0].version, m.items[0].record.Addresses = "2", append(m.items[0].record.Addresses, colleague)
	n.run() // asks for all of them, and learns of the colleague
	asked := func(a directory.Address) (times int) {
		for _, text := range m.asked {
			if text == "="+string(a) {
				times++
			}
		}
		return times
	}
	for _, c := range m.items {
		if got := asked(c.record.Primary); got != 1 {
			t.Errorf("%s was asked for %d times", c.record.Primary, got)
		}
	}
	n.run()
	if !n.has(colleague) {
		t.Error("the colleague is not in the address book")
	}
	m.asked = nil
	for range 14 {
		before := len(m.asked)
		n.run()
		if got := len(m.asked) - before; got > 15 {
			t.Errorf("%d were asked for in one night", got)
		}
	}
	for _, c := range m.items {
		if got := asked(c.record.Primary); got < 2 || got > 3 {
			t.Errorf("%s was asked for %d times in two weeks", c.record.Primary, got)
		}
	}
	if got := asked(colleague); got != 14 {
		t.Errorf("the colleague was asked for %d times", got)
	}
}

// TestContactsSwitchedOff forgets them with the next run, also when that fails.
func TestContactsSwitchedOff(t *testing.T) {
	n, m := newMailbox(t, 5)
	n.run()
	n.sync.Contacts = false
	m.fail = func(string, int) error { return errors.New("no") }
	if _, err := n.sync.Run(t.Context(), false); err == nil {
		t.Fatal("no error")
	}
	if left := n.contacts(); len(left) != 0 {
		t.Errorf("%d contacts are left", len(left))
	}
	// A failed walk does not ask for contacts.
	n.sync.Contacts = true
	listed := m.listed
	if r, _ := n.sync.Run(t.Context(), false); r.Contacts != nil || m.listed != listed {
		t.Errorf("%+v, %d listings", r.Contacts, m.listed-listed)
	}
}

// TestBudgetEndsTheContacts: what one run may ask holds for the contacts, too, and the next run goes on.
func TestBudgetEndsTheContacts(t *testing.T) {
	n, m := newMailbox(t, 120)
	m.get = func([]string, []directory.ContactAnswer) error {
		if m.got == 2 {
			n.sync.MaxRequests = 1 // used up by now
		}
		return nil
	}
	r := n.run()
	n.sync.MaxRequests = 0
	if c := r.Contacts; r.Outcome != directory.Complete || c.Outcome != directory.Failed || c.Contacts != 100 || !strings.Contains(c.Error, directory.ErrBudget.Error()) || c.Hint == "" {
		t.Errorf("%+v, %+v", r, c)
	}
	if r = n.run(); r.Contacts.Outcome != directory.Complete || r.Contacts.Added != 20 {
		t.Errorf("%+v", r.Contacts)
	}
}

// TestStopWhileContactsAreRead keeps what was read, and the complete run of the address book.
func TestStopWhileContactsAreRead(t *testing.T) {
	n, m := newMailbox(t, 120)
	ctx, stop := context.WithCancel(t.Context())
	m.get = func([]string, []directory.ContactAnswer) error {
		if m.got == 2 {
			stop()
			return ctx.Err()
		}
		return nil
	}
	r, err := n.sync.Run(ctx, false)
	if err != nil || r.Outcome != directory.Complete || r.Contacts.Outcome != directory.Stopped || r.Contacts.Contacts != 50 {
		t.Fatalf("%+v, %+v, %v", r, r.Contacts, err)
	}
	m.get = nil
	fetched := m.fetched
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 120, Certified: 108, Added: 70})
	if m.fetched-fetched != 70 {
		t.Errorf("%d were fetched", m.fetched-fetched)
	}
}
