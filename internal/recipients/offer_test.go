package recipients

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// offer makes one of alice's certificates an offer.
func offer(source Source, c directory.UserCertificate, change ...func(*Offer)) Offer {
	o := Offer{Source: source, Raw: c.Raw, Name: "Alice from elsewhere"}
	for _, f := range change {
		f(&o)
	}
	return o
}

// TestOrderOfSources holds what is chosen when several sources know an address: the person's choice, the address book,
// contacts, installed certificates.
func TestOrderOfSources(t *testing.T) {
	f := newFixture(t)
	gal, contact, installed := f.good(), f.good(), f.good()
	newer := f.issue(f.ca, testca.Options{NotBefore: now.Add(-time.Minute)})
	aliasOnly := f.issue(f.ca, testca.Options{Addresses: []string{string(alias)}})
	preferred := func(o *Offer) { o.Preferred = true }
	vouched := func(o *Offer) { o.Vouched = true }
	daysOld := func(n int) func(*Offer) { return func(o *Offer) { o.Seen = now.Add(-time.Duration(n) * day) } }
	another := with(seen(f.good()), func(s *directory.Sighting) {
		s.Entry.Primary, s.Entry.Addresses = "z@corp.example", []mailaddr.Address{"z@corp.example", alice}
	})
	group := with(seen(), func(s *directory.Sighting) { s.Entry.Kind = directory.KindGroup })
	tests := []struct {
		name      string
		sightings []directory.Sighting
		offers    []Offer
		accept    bool
		want      trust.State
		source    Source
		chosen    *directory.UserCertificate
		reasons   []string
		warning   string
	}{
		{name: "the address book before contacts and installed", sightings: []directory.Sighting{seen(gal)},
			offers: []Offer{offer(Installed, installed), offer(Contacts, contact)}, want: trust.Encryptable, source: GAL, chosen: &gal, reasons: []string{"address book goes before"}},
		{name: "also before newer and marked ones", sightings: []directory.Sighting{seen(gal)},
			offers: []Offer{offer(Installed, newer, vouched, func(o *Offer) { o.Default = true })}, want: trust.Encryptable, source: GAL, chosen: &gal},
		{name: "contacts before installed", offers: []Offer{offer(Installed, newer), offer(Contacts, contact)},
			want: trust.Encryptable, source: Contacts, chosen: &contact, reasons: []string{"from contacts: alice@corp.example is not in the address book"}},
		{name: "installed alone", offers: []Offer{offer(Installed, installed)}, want: trust.Encryptable, source: Installed, chosen: &installed, reasons: []string{"from installed certificates"}},
		{name: "the person's choice before the address book", sightings: []directory.Sighting{seen(gal)},
			offers: []Offer{offer(Installed, installed, preferred), offer(Contacts, contact)}, want: trust.Encryptable, source: Installed, chosen: &installed, reasons: []string{"chosen by the user"}},
		{name: "the person's choice holds for the same certificate of the address book", sightings: []directory.Sighting{seen(gal, newer)},
			offers: []Offer{offer(Installed, gal, preferred)}, want: trust.Encryptable, source: GAL, chosen: &gal, reasons: []string{"chosen by the user"}},
		{name: "a choice that cannot be used does not help", sightings: []directory.Sighting{seen(gal)},
			offers: []Offer{offer(Installed, f.expired(), preferred)}, want: trust.Encryptable, source: GAL, chosen: &gal},
		{name: "the address book has only an expired one", sightings: []directory.Sighting{seen(f.expired())},
			offers: []Offer{offer(Contacts, contact)}, want: trust.Encryptable, source: Contacts, chosen: &contact,
			reasons: []string{"from contacts: the address book has no certificate that can be used: expired 3 days ago"}},
		{name: "the address book has none", sightings: []directory.Sighting{seen()},
			offers: []Offer{offer(Contacts, contact)}, want: trust.Encryptable, source: Contacts, reasons: []string{"from contacts: the address book has no certificate for alice@corp.example"}},
		{name: "both expired", sightings: []directory.Sighting{seen(f.expired())}, offers: []Offer{offer(Contacts, f.expired())},
			want: trust.Expired, reasons: []string{"expired 3 days ago", "a certificate from contacts (SHA-256 "}},
		{name: "expired, and a newer one in contacts that is not trusted", sightings: []directory.Sighting{seen(f.expired())}, offers: []Offer{offer(Contacts, f.untrusted())},
			want: trust.Untrusted, reasons: []string{"expired 3 days ago", "a newer certificate from contacts (SHA-256 ", "not among the trusted anchors"}},
		{name: "none, and an expired one in contacts", sightings: []directory.Sighting{seen()}, offers: []Offer{offer(Contacts, f.expired())},
			want: trust.Expired, reasons: []string{"a certificate from contacts (SHA-256 ", "the address book has no certificate for alice@corp.example"}},
		{name: "unknown, and an untrusted one in contacts", offers: []Offer{offer(Contacts, f.untrusted())},
			want: trust.Untrusted, reasons: []string{"a certificate from contacts (SHA-256 ", "CN=Foreign Root", "not in the address book"}},
		{name: "accepting the directory does not reach contacts", accept: true, offers: []Offer{offer(Contacts, f.untrusted())}, want: trust.Untrusted},
		{name: "a decision stands in for the chain", offers: []Offer{offer(Installed, f.untrusted(), vouched)}, want: trust.Encryptable, source: Installed},
		{name: "but for nothing else", offers: []Offer{offer(Installed, f.expired(), vouched)}, want: trust.Expired},
		{name: "it must name the address itself", sightings: []directory.Sighting{seen()}, offers: []Offer{offer(Contacts, aliasOnly)},
			want: trust.WrongAddress, reasons: []string{"names a.brown@corp.example, not alice@corp.example"}},
		{name: "a decision does not change whom it names", offers: []Offer{offer(Installed, f.others(), vouched, preferred)}, want: trust.WrongAddress},
		{name: "garbage", offers: []Offer{{Source: Contacts, Fault: "not ASN.1"}}, want: trust.Undecodable, reasons: []string{"a value from contacts: ", "not ASN.1"}},
		{name: "two entries stay ambiguous", sightings: []directory.Sighting{seen(gal), another}, offers: []Offer{offer(Contacts, contact)}, want: trust.Ambiguous},
		{name: "two entries without a usable certificate stay ambiguous", sightings: []directory.Sighting{seen(f.expired()), with(another, func(s *directory.Sighting) { s.Entry.Certificates = nil })},
			offers: []Offer{offer(Contacts, contact)}, want: trust.Ambiguous},
		{name: "unless the person decides", sightings: []directory.Sighting{seen(gal), another}, offers: []Offer{offer(Contacts, contact), offer(Installed, installed, preferred)},
			want: trust.Encryptable, source: Installed, chosen: &installed},
		{name: "a group is a group", sightings: []directory.Sighting{group}, offers: []Offer{offer(Contacts, contact)}, want: trust.GroupIncomplete},
		{name: "old", offers: []Offer{offer(Contacts, contact, daysOld(9))}, want: trust.Encryptable, source: Contacts, warning: "last confirmed in contacts 9 days ago"},
		{name: "too old", offers: []Offer{offer(Contacts, contact, daysOld(91))}, want: trust.Stale, reasons: []string{"91 days ago; after 90 days"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			d := &shelf{completed: now.Add(-2 * time.Hour), offers: map[mailaddr.Address][]Offer{alice: tc.offers}}
			for _, s := range tc.sightings {
				d.put(s)
			}
			book := f.book(d)
			book.Policy.AcceptDirectory = tc.accept
			result, err := book.Lookup(t.Context(), []string{string(alice)})
			if err != nil {
				t.Fatal(err)
			}
			got := result.Recipients[0]
			if got.State != tc.want || got.Source != tc.source {
				t.Fatalf("state %s from %q, want %s from %q; reasons %q", got.State, got.Source, tc.want, tc.source, got.Reasons)
			}
			joined := strings.Join(got.Reasons, " | ")
			for _, reason := range tc.reasons {
				if !strings.Contains(joined, reason) {
					t.Errorf("reasons %q lack %q", joined, reason)
				}
			}
			if joined := strings.Join(got.Warnings, " | "); !strings.Contains(joined, tc.warning) || tc.warning == "" && joined != "" {
				t.Errorf("warnings %q, want %q", joined, tc.warning)
			}
			if tc.chosen != nil && !slices.Equal(got.Certificate.X509.Raw, tc.chosen.Raw) {
				t.Errorf("chose %s", got.Certificate.SHA256)
			}
			checkAnswer(t, result)
		})
	}
}
