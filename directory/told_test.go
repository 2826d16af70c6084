package directory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/directory"
)

// teller is a book that does not list contacts, but tells of them in exact answers.
type teller struct {
	*book
	contacts map[directory.Address][]byte // nil is a contact without a certificate
	faults   map[directory.Address]error
}

func (s *teller) Name() string        { return "teller" }
func (s *teller) TellsContacts() bool { return true }
func (s *teller) BatchSize() int      { return 100 }

func (s *teller) Resolve(ctx context.Context, address directory.Address) (directory.Resolution, error) {
	r, _, err := s.ResolveBatch(ctx, []directory.Address{address})
	return r[0].Resolution, err
}

func (s *teller) ResolveBatch(_ context.Context, addresses []directory.Address) ([]directory.Resolved, int, error) {
	results := make([]directory.Resolved, len(addresses))
	for i, a := range addresses {
		raw, known := s.contacts[a]
		switch p := s.find(a); {
		case s.faults[a] != nil:
			results[i].Err = s.faults[a]
		case p != nil && !p.gone:
			results[i].Records = []directory.Record{p.record}
		case known:
			results[i].Contact = &directory.Record{Primary: a, Addresses: []directory.Address{a}, DisplayName: "Told " + string(a), Partial: true}
			if raw != nil {
				results[i].Contact.Values = []directory.Value{{Property: directory.ActiveSyncCertificate, Data: raw}}
			}
		}
	}
	return results, 1, nil
}

// newTeller makes an account of which the server tells n contacts, all of them asked for.
func newTeller(t *testing.T, n int) (*night, *teller) {
	s := &teller{book: newBook(t, 20, 1), contacts: map[directory.Address][]byte{}, faults: map[directory.Address]error{}}
	night := newNight(t, s.book)
	night.sync.Source, night.sync.Contacts = s, true
	for i := range n {
		a := directory.Address(fmt.Sprintf("friend%d@outside.example", i))
		s.contacts[a] = certificate(t, string(a), time.Time{})
		night.sync.Addresses = append(night.sync.Addresses, a)
	}
	return night, s
}

const friend directory.Address = "friend0@outside.example"

// TestToldContacts: certificates of contacts come with exact answers, and go when a run that is believed is told so.
func TestToldContacts(t *testing.T) {
	for _, known := range []bool{false, true} {
		n, s := newTeller(t, 10)
		if n.sync.KnownOnly = known; known {
			for _, p := range s.people {
				n.sync.Addresses = append(n.sync.Addresses, p.record.Primary)
			}
		}
		n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 10, Added: 10})
		n.sync.Addresses = nil // contacts are known by themselves
		n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 10})
		if n.has(friend) {
			t.Error("a contact is an entry of the address book")
		}
		found, err := n.cache.ContactsOf(t.Context(), friend)
		if err != nil || len(found) != 1 || !found[0].Seen.Equal(n.now.AddDate(0, 0, -1)) || found[0].DisplayName != "Told "+string(friend) {
			t.Errorf("%+v, %v", found, err)
		}
		// Another certificate, none, nobody, a colleague by now; and no usable answer.
		s.contacts[friend] = certificate(t, string(friend), time.Time{})
		s.contacts["friend1@outside.example"] = nil
		n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 9, Certified: 9, Changed: 1, Removed: 1})
		found, err = n.cache.ContactsOf(t.Context(), friend)
		if err != nil || len(found) != 1 || len(found[0].Certificates) != 1 || !slices.Equal(found[0].Certificates[0].Raw, s.contacts[friend]) {
			t.Errorf("%+v, %v", found, err)
		}
		delete(s.contacts, "friend2@outside.example")
		n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 8, Certified: 8, Removed: 1})
		s.add("friend3@outside.example")
		if r := n.run(); r.Contacts.Removed != 1 || r.Contacts.Contacts != 7 || !n.has("friend3@outside.example") {
			t.Errorf("a colleague by now: %+v", r.Contacts)
		}
		before := n.contacts()
		delete(s.contacts, friend)
		s.faults[friend] = fmt.Errorf("ambiguous")
		if r := n.run(); r.Outcome != directory.Incomplete || r.Contacts.Outcome != directory.Complete || r.Contacts.Removed != 0 {
			t.Errorf("no usable answer: %+v", r)
		}
		if diff := cmp.Diff(before["address:"+string(friend)], n.contacts()["address:"+string(friend)]); diff != "" {
			t.Error(diff)
		}
		// Nobody wants contacts any more.
		n.sync.Contacts = false
		n.run()
		if all := n.contacts(); len(all) > 0 {
			t.Errorf("%d are left", len(all))
		}
	}
}

// TestToldContactsAreGuarded: that many are gone is believed the second time, and not at all from a run that is doubted.
func TestToldContactsAreGuarded(t *testing.T) {
	n, s := newTeller(t, 10)
	n.run()
	kept := s.contacts
	s.contacts = nil
	guarded := directory.ContactReport{Outcome: directory.Guarded, Contacts: 10, Certified: 10, HeldLost: 10}
	n.wantContacts(guarded)
	s.contacts = kept
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Contacts: 10, Certified: 10})
	s.contacts = nil
	for range 2 {
		for _, p := range s.people {
			p.gone = true
		}
		if r := n.run(); r.Outcome != directory.Guarded || *r.Contacts != guarded {
			t.Errorf("doubted: %+v, %+v", r, r.Contacts)
		}
	}
	for _, p := range s.people {
		p.gone = false
	}
	n.wantContacts(guarded)
	n.wantContacts(directory.ContactReport{Outcome: directory.Complete, Removed: 10})
}

// TestContactIsNoEntry: where the server names a contact for an address of the address book, the entry stays as it is.
func TestContactIsNoEntry(t *testing.T) {
	for _, known := range []bool{false, true} {
		n, s := newTeller(t, 0)
		n.run()
		n.sync.KnownOnly = known
		p := s.people[0]
		primary := p.record.Primary
		before, err := n.entry(primary)
		if err != nil {
			t.Fatal(err)
		}
		p.gone, s.contacts[primary] = true, certificate(t, string(primary), time.Time{})
		for range 3 {
			r := n.run()
			if r.Outcome != directory.Incomplete || r.Undetermined[string(primary)] == "" {
				t.Errorf("known only %t: %+v", known, r)
			}
		}
		after, err := n.entry(primary)
		after.Unconfirmed, after.LastSeen = time.Time{}, time.Time{}
		if err != nil || cmp.Diff(before, after) != "" {
			t.Errorf("known only %t: %v, %s", known, err, cmp.Diff(before, after))
		}
	}
}

// TestAskTellsOfContact: one question keeps a contact, and takes none away.
func TestAskTellsOfContact(t *testing.T) {
	n, s := newTeller(t, 1)
	for range 2 {
		if found, err := n.sync.Ask(t.Context(), friend); err != nil || !found || len(n.contacts()) != 1 {
			t.Errorf("%t, %v, %v", found, err, n.contacts())
		}
		s.contacts[friend] = nil
	}
	delete(s.contacts, friend)
	if found, err := n.sync.Ask(t.Context(), friend); err != nil || found || len(n.contacts()) != 1 {
		t.Errorf("%t, %v, %v", found, err, n.contacts())
	}
	s.contacts[friend] = certificate(t, string(friend), time.Time{})
	n.sync.Contacts = false
	if _, err := n.sync.Ask(t.Context(), "friend1@outside.example"); err != nil || len(n.contacts()) != 1 {
		t.Errorf("%v, %v", err, n.contacts())
	}
}

// TestListingAndTelling: the contacts of a source that lists them and of one that tells of them, in turns, are the same.
func TestListingAndTelling(t *testing.T) {
	for _, first := range []string{"book", "teller"} {
		n, m := newMailbox(t, 10)
		s := &teller{book: m.book, contacts: map[directory.Address][]byte{}}
		for _, c := range m.items[:9] {
			s.contacts[c.record.Primary] = c.record.Values[0].Data
			n.sync.Addresses = append(n.sync.Addresses, c.record.Primary)
		}
		const other directory.Address = "other@outside.example" // in no folder that is listed
		s.contacts[other] = certificate(t, string(other), time.Time{})
		n.sync.Addresses = append(n.sync.Addresses, other)
		sources := map[string]directory.Source{"book": m, "teller": s}
		want := map[string]int{"book": 10, "teller": 10}
		if first == "book" {
			n.sync.Source = m
			n.run()
			want["teller"] = 11
			want["book"] = 11
		}
		for i := range 6 {
			name := []string{"teller", "book"}[i%2]
			n.sync.Source = sources[name]
			r := n.run()
			if i == 1 {
				want["teller"], want["book"] = 11, 11
			}
			if r.Contacts.Outcome != directory.Complete || r.Contacts.Removed != 0 || r.Contacts.Contacts != want[name] && i != 1 {
				t.Errorf("first %s, night %d, %s: %+v", first, i, name, r.Contacts)
			}
			for a := range s.contacts {
				found, err := n.cache.ContactsOf(t.Context(), a)
				if err != nil || len(found) != 1 || len(found[0].Certificates) != 1 {
					t.Errorf("first %s, night %d, %s: %s: %+v, %v", first, i, name, a, found, err)
				}
			}
		}
		// What is told anew goes into the contact of the listing, and the listing has the last word of it.
		raw := certificate(t, string(friend), time.Time{})
		s.contacts[friend] = raw
		for _, source := range []directory.Source{s, m} {
			n.sync.Source = source
			want := raw
			if source == directory.Source(m) {
				want = m.items[0].record.Values[0].Data
			}
			r := n.run()
			c := n.contacts()["id000"]
			if r.Contacts.Contacts != 11 || len(c.Certificates) != 1 || !slices.Equal(c.Certificates[0].Raw, want) || c.DisplayName != "Friend 0" {
				t.Errorf("%s: %+v, %+v", source.Name(), r.Contacts, c)
			}
		}
		// Nobody tells of it any more: after a while it goes.
		n.now = n.now.Add(directory.MemoryOfQuestions)
		if r := n.run(); r.Contacts.Removed != 1 || r.Contacts.Contacts != 10 {
			t.Errorf("%+v", r.Contacts)
		}
	}
}
