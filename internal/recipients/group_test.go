package recipients

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// TestGroups asks for groups in an address book of three people who can be encrypted to, and nora, who cannot.
func TestGroups(t *testing.T) {
	f := newFixture(t)
	people := &shelf{completed: now.Add(-time.Hour)}
	address := func(name string) mailaddr.Address { return mailaddr.Address(name + "@corp.example") }
	person := func(name string, certified bool) {
		e := directory.Entry{Primary: address(name), Addresses: []mailaddr.Address{address(name)}, Kind: directory.KindMailbox}
		if certified {
			e.Certificates = []directory.UserCertificate{f.issue(f.ca, testca.Options{Addresses: []string{name + "@corp.example"}})}
		}
		people.put(directory.Sighting{Entry: e, Seen: now.Add(-time.Hour)})
	}
	for _, name := range []string{"ann", "ben", "cat"} {
		person(name, true)
	}
	person("nora", false)
	group := func(name string, change func(*directory.Members), members ...string) {
		m := &directory.Members{Fetched: now.Add(-time.Hour)}
		for _, n := range members {
			m.Members = append(m.Members, directory.Member{Address: address(n), Kind: directory.KindMailbox})
		}
		if change != nil {
			change(m)
		}
		e := directory.Entry{Primary: address(name), Addresses: []mailaddr.Address{address(name)}, Kind: directory.KindGroup}
		people.put(directory.Sighting{Entry: e, Seen: now.Add(-time.Hour), Members: m})
	}
	group("all", nil, "ann", "ben", "cat")
	group("twice", nil, "ann", "all", "ann")
	group("withnora", nil, "ann", "nora")
	group("over", nil, "ben", "withnora")
	group("empty", nil)
	group("cut", func(m *directory.Members) { m.Truncated = true }, "ann")
	group("hidden", func(m *directory.Members) { m.Unknown = true })
	group("stranger", nil, "ann", "nobody")
	group("noaddress", func(m *directory.Members) { m.Members = append(m.Members, directory.Member{Name: "Public Folder"}) }, "ann")
	group("old", func(m *directory.Members) { m.Fetched = now.Add(-100 * day) }, "ann")
	group("tomorrow", func(m *directory.Members) { m.Fetched = now.Add(2 * day) }, "ann")
	group("aging", func(m *directory.Members) { m.Fetched = now.Add(-10 * day) }, "ann")
	group("ring1", nil, "ring2", "ann")
	group("ring2", nil, "ring1", "ben")
	group("loop1", nil, "loop2")
	group("loop2", nil, "loop1")
	group("self", nil, "self")
	for i := range 12 {
		group(fmt.Sprintf("deep%d", i), nil, fmt.Sprintf("deep%d", i+1), "ann")
	}
	group("deep12", nil, "ann")

	book := f.book(people)
	for _, tc := range []struct {
		name   string
		state  trust.State
		certs  int
		reason string
	}{
		{"all", trust.Encryptable, 3, "all 3 members"},
		{"twice", trust.Encryptable, 3, ""},
		{"withnora", trust.NoCertificate, 0, "nora@corp.example is no-certificate"},
		{"over", trust.NoCertificate, 0, "withnora@corp.example is no-certificate"},
		{"tomorrow", trust.GroupIncomplete, 0, "a time that has not come yet"},
		{"empty", trust.GroupIncomplete, 0, "without members"},
		{"cut", trust.GroupIncomplete, 0, "only a part"},
		{"hidden", trust.GroupIncomplete, 0, "does not show"},
		{"stranger", trust.Unknown, 0, "nobody@corp.example is unknown"},
		{"noaddress", trust.GroupIncomplete, 0, "no mail address"},
		{"old", trust.GroupIncomplete, 0, "100 days ago"},
		{"aging", trust.Encryptable, 1, ""},
		{"ring1", trust.Encryptable, 2, ""},
		{"loop1", trust.GroupIncomplete, 0, "without people"},
		{"self", trust.GroupIncomplete, 0, "without people"},
		{"deep0", trust.GroupIncomplete, 0, "nested"},
		{"deep5", trust.Encryptable, 1, ""},
	} {
		result, err := book.Lookup(t.Context(), []string{string(address(tc.name))})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		a := result.Recipients[0]
		if a.State != tc.state || !strings.Contains(strings.Join(a.Reasons, "\n"), tc.reason) {
			t.Errorf("%s: %s %q, want %s with %q", tc.name, a.State, a.Reasons, tc.state, tc.reason)
		}
		if a.State == trust.Encryptable && len(a.Certificates()) != tc.certs {
			t.Errorf("%s: %d certificates, want %d", tc.name, len(a.Certificates()), tc.certs)
		}
		if encrypted := result.State == Encrypted; encrypted != (tc.state == trust.Encryptable) {
			t.Errorf("%s: the message is %s", tc.name, result.State)
		}
	}
	result, _ := book.Lookup(t.Context(), []string{"empty@corp.example", "cut@corp.example"})
	if hints := result.Recipients[0].Hints; len(hints) != 1 || !strings.Contains(hints[0], "nobody would get the mail") {
		t.Errorf("hints about a group without members: %q", hints)
	}
	if hints := result.Recipients[1].Hints; len(hints) != 1 || !strings.Contains(hints[0], "one by one") {
		t.Errorf("hints about a group that is cut: %q", hints)
	}
	result, _ = book.Lookup(t.Context(), []string{"aging@corp.example"})
	if !slices.ContainsFunc(result.Recipients[0].Warnings, func(w string) bool { return strings.Contains(w, "10 days ago") }) {
		t.Errorf("no warning about old members: %q", result.Recipients[0].Warnings)
	}
}

// TestWideGroups bounds what nested groups can cost: each level doubles the work.
func TestWideGroups(t *testing.T) {
	f := newFixture(t)
	people := &shelf{completed: now}
	for i := range 9 {
		name, next := fmt.Sprintf("g%d@corp.example", i), mailaddr.Address(fmt.Sprintf("g%d@corp.example", i+1))
		m := &directory.Members{Fetched: now}
		for range 50 {
			m.Members = append(m.Members, directory.Member{Address: next, Kind: directory.KindGroup})
		}
		e := directory.Entry{Primary: mailaddr.Address(name), Addresses: []mailaddr.Address{mailaddr.Address(name)}, Kind: directory.KindGroup}
		people.put(directory.Sighting{Entry: e, Seen: now, Members: m})
	}
	book := f.book(people)
	result, err := book.Lookup(t.Context(), []string{"g0@corp.example"})
	if err != nil || result.Recipients[0].State != trust.GroupIncomplete {
		t.Errorf("%+v, %v; want group-incomplete", result.State, err)
	}
}

// TestGroupThatOnlyClaims: an address that only a certificate of a group names is not the group's.
func TestGroupThatOnlyClaims(t *testing.T) {
	f := newFixture(t)
	people := &shelf{completed: now}
	member := mailaddr.Address("mallory@corp.example")
	people.put(directory.Sighting{Seen: now, Entry: directory.Entry{Primary: member, Addresses: []mailaddr.Address{member}, Kind: directory.KindMailbox,
		Certificates: []directory.UserCertificate{f.issue(f.ca, testca.Options{Addresses: []string{string(member)}})}}})
	people.put(directory.Sighting{Seen: now, Claimed: true, Members: &directory.Members{Fetched: now, Members: []directory.Member{{Address: member, Kind: directory.KindMailbox}}},
		Entry: directory.Entry{Primary: "team@corp.example", Addresses: []mailaddr.Address{"team@corp.example"}, Claimed: []mailaddr.Address{"victim@partner.example"}, Kind: directory.KindGroup}})
	result, err := f.book(people).Lookup(t.Context(), []string{"victim@partner.example"})
	if err != nil || result.Recipients[0].State == trust.Encryptable {
		t.Errorf("%+v, %v: a group answers for an address that it does not have", result.Recipients, err)
	}
}

// TestOfferOfTomorrow: a contact that was confirmed at a time that has not come is no more believed than such an entry.
func TestOfferOfTomorrow(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		seen time.Time
		want trust.State
	}{{now, trust.Encryptable}, {now.Add(2 * day), trust.Stale}} {
		people := &shelf{completed: now, offers: map[mailaddr.Address][]Offer{alice: {{Source: Contacts, Raw: f.good().Raw, Seen: tc.seen}}}}
		r, err := f.book(people).Lookup(t.Context(), []string{string(alice)})
		if err != nil {
			t.Fatal(err)
		}
		if a := r.Recipients[0]; a.State != tc.want {
			t.Errorf("seen %s: %s %v", tc.seen, a.State, a.Reasons)
		}
	}
}
