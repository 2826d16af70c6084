package recipients

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

var now = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

const (
	alice = mailaddr.Address("alice@corp.example")
	alias = mailaddr.Address("a.brown@corp.example")
	day   = 24 * time.Hour
)

var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	return key
})

// shelf is a Directory that holds sightings by the address they are found under.
type shelf struct {
	entries   map[mailaddr.Address][]directory.Sighting
	offers    map[mailaddr.Address][]Offer
	completed time.Time
	walked    *time.Time // nil: all runs are walks
	err       error

	absent, remedy string
}

func (s *shelf) Lookup(_ context.Context, a mailaddr.Address) (Found, error) {
	return Found{Sightings: s.entries[a], Offers: s.offers[a]}, s.err
}

func (s *shelf) Freshness(context.Context) (Freshness, error) {
	if s.walked != nil {
		return Freshness{Completed: s.completed, Walked: *s.walked, Absent: s.absent, Remedy: s.remedy}, nil
	}
	return Freshness{Completed: s.completed, Walked: s.completed}, nil
}

// put files a sighting under every address that its entry lists or claims, as the cache's index does.
func (s *shelf) put(sighting directory.Sighting) {
	if s.entries == nil {
		s.entries = map[mailaddr.Address][]directory.Sighting{}
	}
	for _, a := range slices.Concat(sighting.Entry.Addresses, sighting.Entry.Claimed) {
		s.entries[a] = append(s.entries[a], sighting)
	}
}

// fixture issues certificates and entries.
type fixture struct {
	t           testing.TB
	ca, foreign *testca.CA
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	ca, err := testca.New("Corp Root")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := testca.New("Foreign Root")
	if err != nil {
		t.Fatal(err)
	}
	return fixture{t, ca, foreign}
}

func (f fixture) policy() *trust.Policy {
	pool := x509.NewCertPool()
	pool.AddCert(f.ca.Certificate)
	return &trust.Policy{Anchors: pool, AnchorCount: 1}
}

func (f fixture) book(d Directory) *Book {
	return &Book{Directory: d, Policy: f.policy(), Now: func() time.Time { return now }, WarnAfter: 7 * day, RefuseAfter: 90 * day}
}

func (f fixture) issue(ca *testca.CA, o testca.Options) directory.UserCertificate {
	f.t.Helper()
	o.Now, o.Key = now, rsaKey()
	if o.Addresses == nil {
		o.Addresses = []string{string(alice)}
	}
	leaf, err := ca.Leaf(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return directory.UserCertificate{Raw: leaf.Certificate.Raw, Property: directory.UserSMIMECertificate, Encoding: directory.EncodingSignedData}
}

func (f fixture) good() directory.UserCertificate { return f.issue(f.ca, testca.Options{}) }
func (f fixture) expired() directory.UserCertificate {
	return f.issue(f.ca, testca.Options{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(-3 * day)})
}
func (f fixture) signing() directory.UserCertificate {
	return f.issue(f.ca, testca.Options{KeyUsage: x509.KeyUsageDigitalSignature})
}
func (f fixture) others() directory.UserCertificate {
	return f.issue(f.ca, testca.Options{Addresses: []string{"bob@corp.example"}})
}
func (f fixture) untrusted() directory.UserCertificate { return f.issue(f.foreign, testca.Options{}) }

// seen makes a fresh sighting of alice.
func seen(certs ...directory.UserCertificate) directory.Sighting {
	return directory.Sighting{
		Entry: directory.Entry{Primary: alice, Addresses: []mailaddr.Address{alice, alias}, DisplayName: "Alice Brown", Kind: directory.KindMailbox, Certificates: certs},
		Seen:  now.Add(-time.Hour),
	}
}

func with(s directory.Sighting, change func(*directory.Sighting)) directory.Sighting {
	change(&s)
	return s
}

func TestStates(t *testing.T) {
	f := newFixture(t)
	good := f.good()
	bothNames := f.issue(f.ca, testca.Options{Addresses: []string{string(alice), "alice@old.example"}})
	garbage := directory.Undecodable{Property: directory.UserSMIMECertificate, Reason: "not ASN.1", Size: 3}
	second := func(certs ...directory.UserCertificate) directory.Sighting {
		return with(seen(certs...), func(s *directory.Sighting) {
			s.Entry.Primary = "z@corp.example"
			s.Entry.Addresses = []mailaddr.Address{"z@corp.example", alice}
		})
	}
	claimed := func(certs ...directory.UserCertificate) directory.Sighting {
		return with(seen(certs...), func(s *directory.Sighting) { s.Entry.Claimed = []mailaddr.Address{"alice@old.example"} })
	}
	missing := func(s directory.Sighting) directory.Sighting {
		return with(s, func(s *directory.Sighting) { s.Entry.Missing = now.Add(-time.Hour) })
	}
	old := func(days int, s directory.Sighting) directory.Sighting {
		return with(s, func(s *directory.Sighting) { s.Seen = now.Add(-time.Duration(days) * day) })
	}
	isGroup := func(s directory.Sighting) directory.Sighting {
		return with(s, func(s *directory.Sighting) { s.Entry.Kind = directory.KindGroup })
	}
	for _, tc := range []struct {
		name      string
		ask       string
		accept    bool
		sightings []directory.Sighting
		want      trust.State
		reason    string // part of the joined reasons
		warning   string // part of the joined warnings; "" wants none
		chosen    *directory.UserCertificate
	}{
		{name: "good", sightings: []directory.Sighting{seen(good)}, want: trust.Encryptable, chosen: &good, reason: "only usable"},
		{name: "display name and case", ask: `"Brown, Alice" <ALICE@Corp.example>`, sightings: []directory.Sighting{seen(good)}, want: trust.Encryptable},
		{name: "proven alias that the certificate does not name", ask: string(alias), sightings: []directory.Sighting{seen(good)}, want: trust.Encryptable},
		{name: "longer domain", ask: "alice@corp.example.org", sightings: []directory.Sighting{seen(good)}, want: trust.Unknown, reason: "not in the address book"},
		{name: "unknown", ask: "eve@corp.example", want: trust.Unknown, reason: "last read completely on 2027-01-05 10:00 UTC (2 hours ago)"},
		{name: "not an address", ask: "alice", want: trust.Unknown, reason: "not a mail address"},
		{name: "two addresses in one", ask: "alice@corp.example, eve@corp.example", want: trust.Unknown, reason: "not a mail address"},
		{name: "none", sightings: []directory.Sighting{seen()}, want: trust.NoCertificate, reason: "no certificate for alice@corp.example"},
		{name: "expired", sightings: []directory.Sighting{seen(f.expired())}, want: trust.Expired, reason: "expired 3 days ago"},
		{name: "signing only", sightings: []directory.Sighting{seen(f.signing())}, want: trust.WrongUsage, reason: "for signing only"},
		{name: "somebody else's", sightings: []directory.Sighting{seen(f.others())}, want: trust.WrongAddress, reason: "names bob@corp.example, not alice@corp.example and a.brown@corp.example"},
		{name: "untrusted", sightings: []directory.Sighting{seen(f.untrusted())}, want: trust.Untrusted, reason: "CN=Foreign Root"},
		{name: "untrusted but accepted", accept: true, sightings: []directory.Sighting{seen(f.untrusted())}, want: trust.Encryptable},
		{name: "garbage", sightings: []directory.Sighting{with(seen(), func(s *directory.Sighting) { s.Entry.Undecodable = []directory.Undecodable{garbage} })}, want: trust.Undecodable, reason: "not ASN.1"},
		{name: "damaged in the store", sightings: []directory.Sighting{seen(directory.UserCertificate{Raw: []byte{1}})}, want: trust.Undecodable},
		{name: "good one last", sightings: []directory.Sighting{seen(f.expired(), f.signing(), f.others(), good)}, want: trust.Encryptable, chosen: &good},
		{name: "closest of several", sightings: []directory.Sighting{with(seen(f.others(), f.signing(), f.expired()), func(s *directory.Sighting) { s.Entry.Undecodable = []directory.Undecodable{garbage} })},
			want: trust.Expired, reason: "expired 3 days ago (2027-01-02) | another certificate (SHA-256 "},
		{name: "group", sightings: []directory.Sighting{isGroup(seen(good))}, want: trust.GroupIncomplete, reason: "members are not known"},
		{name: "group and person", sightings: []directory.Sighting{seen(good), isGroup(second())}, want: trust.Ambiguous},

		{name: "two entries, two certificates", sightings: []directory.Sighting{seen(good), second(f.good())}, want: trust.Ambiguous, reason: "alice@corp.example (certificate SHA-256 "},
		{name: "two entries, one certificate", sightings: []directory.Sighting{seen(good), second(good)}, want: trust.Encryptable, chosen: &good},
		{name: "two entries, one usable", sightings: []directory.Sighting{seen(f.expired()), second(good)}, want: trust.Ambiguous},
		{name: "missing entry gives way", sightings: []directory.Sighting{missing(second(f.good())), seen(good)}, want: trust.Encryptable, chosen: &good},
		{name: "missing entry gives way to one without certificate", sightings: []directory.Sighting{missing(second(f.good())), seen()}, want: trust.NoCertificate},
		{name: "missing but alone", sightings: []directory.Sighting{missing(seen(good))}, want: trust.Encryptable, warning: "did not find this entry"},

		{name: "address from the certificate", ask: "alice@old.example", sightings: []directory.Sighting{claimed(bothNames)}, want: trust.Encryptable, chosen: &bothNames},
		{name: "address from another certificate of the entry", ask: "alice@old.example", sightings: []directory.Sighting{claimed(good)}, want: trust.WrongAddress, reason: "does not name alice@old.example"},
		{name: "address from an accepted but untrusted certificate", ask: "alice@old.example", accept: true,
			sightings: []directory.Sighting{claimed(f.issue(f.foreign, testca.Options{Addresses: []string{string(alice), "alice@old.example"}}))}, want: trust.Untrusted},
		{name: "a claim never stands against a listing", sightings: []directory.Sighting{
			with(seen(f.issue(f.ca, testca.Options{Addresses: []string{"mallory@corp.example", string(alice)}})), func(s *directory.Sighting) {
				s.Entry.Primary, s.Entry.Addresses, s.Entry.Claimed = "mallory@corp.example", []mailaddr.Address{"mallory@corp.example"}, []mailaddr.Address{alice}
			}), missing(seen(good))}, want: trust.Encryptable, chosen: &good, warning: "did not find"},

		{name: "a week old", sightings: []directory.Sighting{old(7, seen(good))}, want: trust.Encryptable},
		{name: "old", sightings: []directory.Sighting{old(9, seen(good))}, want: trust.Encryptable, warning: "last confirmed 9 days ago"},
		{name: "90 days", sightings: []directory.Sighting{old(90, seen(good))}, want: trust.Encryptable, warning: "90 days"},
		{name: "too old", sightings: []directory.Sighting{old(91, seen(good))}, want: trust.Stale, reason: "91 days ago; after 90 days"},
		{name: "too old and none", sightings: []directory.Sighting{old(91, seen())}, want: trust.Stale},
		{name: "too old and expired", sightings: []directory.Sighting{old(91, seen(f.expired()))}, want: trust.Expired, reason: "91 days ago"},
		{name: "never confirmed", sightings: []directory.Sighting{with(seen(good), func(s *directory.Sighting) { s.Seen = time.Time{} })}, want: trust.Stale, reason: "never confirmed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &shelf{completed: now.Add(-2 * time.Hour)}
			for _, s := range tc.sightings {
				d.put(s)
			}
			book := f.book(d)
			book.Policy.AcceptDirectory = tc.accept
			if tc.ask == "" {
				tc.ask = string(alice)
			}
			result, err := book.Lookup(t.Context(), []string{tc.ask})
			if err != nil {
				t.Fatal(err)
			}
			got := result.Recipients[0]
			if got.State != tc.want {
				t.Fatalf("state %s, want %s; reasons %q", got.State, tc.want, got.Reasons)
			}
			if joined := strings.Join(got.Reasons, " | "); joined == "" || !strings.Contains(joined, tc.reason) {
				t.Errorf("reasons %q lack %q", joined, tc.reason)
			}
			if joined := strings.Join(got.Warnings, " | "); !strings.Contains(joined, tc.warning) || tc.warning == "" && joined != "" {
				t.Errorf("warnings %q, want %q", joined, tc.warning)
			}
			if tc.chosen != nil && !slices.Equal(got.Certificate.X509.Raw, tc.chosen.Raw) {
				t.Errorf("chose %s", got.Certificate.Subject)
			}
			checkAnswer(t, result)
		})
	}
}

// checkAnswer holds what is true of every result.
func checkAnswer(t *testing.T, r Result) {
	t.Helper()
	var blocking []string
	for _, a := range r.Recipients {
		chosen := slices.IndexFunc(a.Explain, func(c Candidate) bool { return c.Chosen })
		switch {
		case len(a.Reasons) == 0:
			t.Errorf("%s: no reasons", a.Address)
		case a.State == trust.Encryptable && (a.Certificate == nil || a.Certificate.X509 == nil || a.Source == "" || chosen != 0 || a.Explain[0].Certificate != a.Certificate):
			t.Errorf("%s: encryptable, but certificate %v, source %q, chosen candidate %d", a.Address, a.Certificate, a.Source, chosen)
		case a.State != trust.Encryptable && (a.Certificate != nil || a.Source != "" || chosen >= 0):
			t.Errorf("%s: %s, yet with a certificate", a.Address, a.State)
		}
		for _, c := range a.Explain {
			if a.State == trust.Encryptable && a.Members == nil && !a.Explain[0].Preferred && c.State == trust.Encryptable && sourceOrder(c.Source) < sourceOrder(a.Source) {
				t.Errorf("%s: from %s although %s has a usable certificate", a.Address, a.Source, c.Source)
			}
		}
		if a.State != trust.Encryptable {
			blocking = append(blocking, a.Address)
		}
	}
	if (r.State == Encrypted) != (len(blocking) == 0) || !slices.Equal(r.Blocking, blocking) || r.Blocking == nil {
		t.Errorf("message %s, blocking %v, want %v", r.State, r.Blocking, blocking)
	}
}

func TestQuestionErrors(t *testing.T) {
	f := newFixture(t)
	d := &shelf{}
	if _, err := f.book(d).Lookup(t.Context(), nil); !errors.Is(err, ErrNoAddresses) {
		t.Errorf("no address: %v", err)
	}
	if _, err := f.book(d).Lookup(t.Context(), make([]string, MaxAddresses+1)); !errors.Is(err, ErrTooManyAddresses) {
		t.Errorf("too many: %v", err)
	}
	r, err := f.book(d).Lookup(t.Context(), []string{strings.Repeat("x", 2000), string(alice)})
	if err != nil || r.Recipients[0].State != trust.Unknown || !strings.Contains(r.Recipients[1].Reasons[0], "never read completely") {
		t.Errorf("%+v, %v", r, err)
	}
	d.err = errors.New("disk on fire")
	if _, err := f.book(d).Lookup(t.Context(), []string{string(alice)}); !errors.Is(err, d.err) || !strings.Contains(err.Error(), string(alice)) {
		t.Errorf("error of the directory: %v", err)
	}
}

func TestNothingConfigured(t *testing.T) {
	f := newFixture(t)
	d := &shelf{}
	d.put(seen(f.good()))
	r, err := (&Book{Directory: d, Now: func() time.Time { return now }}).Lookup(t.Context(), []string{string(alice)})
	if err != nil || r.Recipients[0].State != trust.Untrusted || !strings.Contains(strings.Join(r.Recipients[0].Hints, " "), "trust.anchors") {
		t.Errorf("%+v, %v", r, err)
	}
}

// The order of choice, one line per step: in each pair the first must win.
func TestRank(t *testing.T) {
	cert := func(begin int, print string) *Certificate {
		return &Certificate{NotBefore: now.AddDate(0, 0, begin), SHA256: print}
	}
	ok := trust.Encryptable
	for _, tc := range []struct {
		name          string
		better, worse Candidate
		why           string
	}{
		{"usable before chosen", Candidate{State: ok, Source: Installed, Certificate: cert(0, "b")}, Candidate{State: trust.Expired, Source: GAL, Preferred: true, Default: true, Certificate: cert(9, "a")}, "only usable"},
		{"choice before GAL", Candidate{State: ok, Source: Installed, Preferred: true, Certificate: cert(0, "b")}, Candidate{State: ok, Source: GAL, Default: true, Certificate: cert(9, "a")}, "chosen by the user"},
		{"GAL before contacts", Candidate{State: ok, Source: GAL, Certificate: cert(0, "b")}, Candidate{State: ok, Source: Contacts, Default: true, Certificate: cert(9, "a")}, "address book goes before"},
		{"contacts before installed", Candidate{State: ok, Source: Contacts, Certificate: cert(0, "b")}, Candidate{State: ok, Source: Installed, Default: true, Certificate: cert(9, "a")}, "goes before contacts"},
		{"default mark before age", Candidate{State: ok, Source: GAL, Default: true, Certificate: cert(0, "b")}, Candidate{State: ok, Source: GAL, Certificate: cert(9, "a")}, "marked as the default"},
		{"newest", Candidate{State: ok, Source: GAL, Certificate: cert(9, "b")}, Candidate{State: ok, Source: GAL, Certificate: cert(0, "a")}, "newest"},
		{"fingerprint", Candidate{State: ok, Source: GAL, Certificate: cert(0, "a")}, Candidate{State: ok, Source: GAL, Certificate: cert(0, "b")}, "fingerprint"},
	} {
		for _, order := range [][]Candidate{{tc.better, tc.worse}, {tc.worse, tc.better}} {
			rank(order)
			if !cmp.Equal(order[0], tc.better) {
				t.Errorf("%s: %+v came first", tc.name, order[0])
			}
			if why := whyFirst(order); !strings.Contains(why, tc.why) {
				t.Errorf("%s: explained as %q", tc.name, why)
			}
		}
	}
	if why := whyFirst([]Candidate{{State: ok, Certificate: cert(0, "a")}}); why != "the only usable certificate" {
		t.Errorf("one candidate: %q", why)
	}
}

// The order in which a candidate's findings, and an address's candidates, are weighed.
func TestCloseness(t *testing.T) {
	order := []trust.State{trust.Encryptable, trust.Stale, trust.RevocationUnknown, trust.NotYetValid, trust.Untrusted, trust.Expired,
		trust.Revoked, trust.WeakKey, trust.WrongUsage, trust.WrongAddress, trust.Undecodable}
	for i, s := range order {
		if closeness(s) != i {
			t.Errorf("%s has closeness %d, want %d", s, closeness(s), i)
		}
		for j, other := range order[:i] {
			both := []trust.Finding{{State: s, Reason: "x"}, {State: other, Reason: "y"}}
			if j == 0 {
				both = both[:1]
			}
			for range 2 {
				var c Candidate
				c.judged(both)
				if c.State != s {
					t.Errorf("%s and %s make %s", s, other, c.State)
				}
				slices.Reverse(both)
			}
		}
	}
	if closeness("nonsense") != len(order) {
		t.Error("an unknown state is not the farthest")
	}
}

// Whatever the address book holds: a message is encrypted only when every recipient is encryptable, and trust has no
// objection to any chosen certificate.
func TestNeverEncryptsWhatTrustRefuses(t *testing.T) {
	f := newFixture(t)
	stock := []directory.UserCertificate{f.good(), f.good(), f.expired(), f.signing(), f.others(), f.untrusted(), {Raw: []byte("x")},
		f.issue(f.ca, testca.Options{NotBefore: now.Add(day)}), f.issue(f.ca, testca.Options{Addresses: []string{string(alice), "alice@old.example"}})}
	people := []mailaddr.Address{alice, alias, "bob@corp.example", "alice@old.example", "nobody@corp.example"}
	random := mathrand.New(mathrand.NewPCG(3, 4))
	pick := func() (some []mailaddr.Address) {
		for _, a := range people[:4] {
			if random.IntN(3) == 0 {
				some = append(some, a)
			}
		}
		return some
	}
	counts := map[trust.State]int{}
	for range 3000 {
		d := &shelf{completed: now}
		for i := range random.IntN(4) {
			e := directory.Entry{Primary: mailaddr.Address(fmt.Sprintf("p%d@corp.example", i)), Addresses: pick(), Claimed: pick(), Kind: directory.KindMailbox}
			if random.IntN(10) == 0 {
				e.Kind = directory.KindGroup
			}
			if random.IntN(4) == 0 {
				e.Missing = now.Add(-time.Hour)
			}
			for range random.IntN(4) {
				c := stock[random.IntN(len(stock))]
				c.Default = random.IntN(3) == 0
				e.Certificates = append(e.Certificates, c)
			}
			d.put(directory.Sighting{Entry: e, Seen: now.Add(-time.Duration(random.IntN(100)) * day)})
		}
		d.offers = map[mailaddr.Address][]Offer{}
		for range random.IntN(4) {
			a := people[random.IntN(len(people))]
			d.offers[a] = append(d.offers[a], Offer{Source: []Source{Contacts, Installed}[random.IntN(2)], Raw: stock[random.IntN(len(stock))].Raw,
				Seen: now.Add(-time.Duration(random.IntN(100)) * day), Preferred: random.IntN(5) == 0, Vouched: random.IntN(5) == 0})
		}
		book := f.book(d)
		book.Policy.AcceptDirectory = random.IntN(2) == 0
		if random.IntN(2) == 0 {
			book.Policy.Revocations, book.Policy.RevocationRequired = register{uint64(random.IntN(1000))}, random.IntN(2) == 0
		}
		var ask []string
		for range 1 + random.IntN(3) {
			ask = append(ask, string(people[random.IntN(len(people))]))
		}
		result, err := book.Lookup(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, result)
		for _, a := range result.Recipients {
			counts[a.State]++
			if a.State == trust.Encryptable {
				confirm(t, book, d, a)
			}
		}
		if _, err := json.Marshal(result); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []trust.State{trust.Encryptable, trust.Ambiguous, trust.Unknown, trust.NoCertificate, trust.GroupIncomplete, trust.Stale, trust.Expired, trust.WrongAddress, trust.Revoked,
		trust.RevocationUnknown} {
		if counts[s] < 20 {
			t.Errorf("only %d answers were %s; the test proves little", counts[s], s)
		}
	}
}

// confirm asks trust anew about a chosen certificate, for the entry or offer that it came from.
func confirm(t *testing.T, book *Book, d *shelf, a Answer) {
	t.Helper()
	address := mailaddr.Address(a.Address)
	for _, o := range d.offers[address] {
		q := trust.Question{Addresses: []mailaddr.Address{address}, Now: now, Vouched: o.Vouched}
		if o.Source == a.Source && slices.Equal(o.Raw, a.Certificate.X509.Raw) && len(book.Policy.ForEncryption(a.Certificate.X509, q)) == 0 && now.Sub(o.Seen) <= book.RefuseAfter {
			return
		}
	}
	if a.Source != GAL {
		t.Errorf("%s is encryptable with %s from %s, which offers no such thing", a.Address, a.Certificate.SHA256, a.Source)
		return
	}
	for _, s := range d.entries[mailaddr.Address(a.Address)] {
		listed := slices.Contains(s.Entry.Addresses, mailaddr.Address(a.Address))
		q := trust.Question{Addresses: append(slices.Clone(s.Entry.Addresses), s.Entry.Primary), Now: now, FromDirectory: listed}
		holds := slices.ContainsFunc(s.Entry.Certificates, func(c directory.UserCertificate) bool { return slices.Equal(c.Raw, a.Certificate.X509.Raw) })
		if holds && len(book.Policy.ForEncryption(a.Certificate.X509, q)) == 0 && now.Sub(s.Seen) <= book.RefuseAfter && s.Entry.Kind != directory.KindGroup {
			return
		}
	}
	t.Errorf("%s is encryptable with %s, to which trust objects for every entry that holds it", a.Address, a.Certificate.SHA256)
}

func TestJSON(t *testing.T) {
	f := newFixture(t)
	d := &shelf{completed: now}
	d.put(seen(f.good()))
	r, err := f.book(d).Lookup(t.Context(), []string{"Alice <alice@corp.example>", "eve@corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"state":"unable-to-encrypt"`, `"blocking":["eve@corp.example"]`, `"address":"alice@corp.example","asked":"Alice \u003calice@corp.example\u003e","state":"encryptable","source":"gal"`, `"key":"RSA 2048"`, `"chosen":true`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("%s lacks %s", data, part)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"alice@corp.example", `"Brown, Alice" <alice@corp.example>`, "Team: a@x.example;", "=?utf-8?q?A?= <a@b\u00fccher.example>", "<@a:b@c>", "\x00<a@b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parse(s)
		if err != nil {
			return
		}
		if again, err := parse(string(a)); err != nil || again != a {
			t.Fatalf("%q -> %q -> %q, %v", s, a, again, err)
		}
	})
}

func BenchmarkLookup50(b *testing.B) {
	f := newFixture(b)
	d := &shelf{completed: now}
	var ask []string
	for i := range 50 {
		a := mailaddr.Address(fmt.Sprintf("p%d@corp.example", i))
		c := f.issue(f.ca, testca.Options{Addresses: []string{string(a)}})
		d.put(directory.Sighting{Entry: directory.Entry{Primary: a, Addresses: []mailaddr.Address{a}, Certificates: []directory.UserCertificate{c, f.expired()}}, Seen: now})
		ask = append(ask, string(a))
	}
	book := f.book(d)
	for b.Loop() {
		if r, err := book.Lookup(b.Context(), ask); err != nil || r.State != Encrypted {
			b.Fatal(r, err)
		}
	}
}
