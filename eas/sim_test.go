package eas_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/eas"
	"github.com/galsyncd/galsyncd/ews"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

const deviceID = "0123456789abcdef0123456789abcdef"

// simulator starts the stand-in without a credential, and a client.
func simulator(t *testing.T, o exchangesim.Options) (*exchangesim.Server, *eas.Client) {
	t.Helper()
	o.Auth, o.Plain = exchangesim.AuthNone, true
	sim, err := exchangesim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim, &eas.Client{URL: sim.ActiveSyncURL(), DeviceID: deviceID}
}

func openCache(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func entry(t *testing.T, store directory.Store, address string) (e directory.Entry, err error) {
	t.Helper()
	err = store.View(func(tx directory.Tx) error {
		e, err = tx.Entry(directory.Address(strings.ToLower(address)))
		return err
	})
	return e, err
}

func run(t *testing.T, s *directory.Sync) directory.Report {
	t.Helper()
	rep, err := s.Run(t.Context(), false)
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	return rep
}

// TestWalk fills a cache over ActiveSync alone, and compares it with the directory.
func TestWalk(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 400, ActiveSync: exchangesim.ActiveSyncOptions{Policy: true}})
	store := openCache(t)
	s := &directory.Sync{Source: c, Store: store}
	rep := run(t, s)
	t.Logf("%d people, %d entries, %d with certificates, %d requests, gaps %v; commands %v", sim.Directory().Len(), rep.Entries, rep.Certified, rep.Requests, rep.Undetermined, sim.Commands())
	if rep.Entries != sim.Directory().Len() {
		t.Errorf("%d entries of %d", rep.Entries, sim.Directory().Len())
	}
	for address, certificates := range map[string]int{exchangesim.Alice: 1, exchangesim.Bob: 1, exchangesim.NoCertificate: 0, exchangesim.ExpiredPerson: 0, exchangesim.Team: 0} {
		e, err := entry(t, store, address)
		if err != nil || len(e.Certificates) != certificates || !e.Partial {
			t.Errorf("%s: %d certificates, %v, want %d", address, len(e.Certificates), err, certificates)
		}
	}
	if e, _ := entry(t, store, exchangesim.Team); e.Kind != directory.KindGroup {
		t.Errorf("the group is of kind %q", e.Kind)
	}
	if devices := sim.Devices(); len(devices) != 1 || devices[0].ID != deviceID || !devices[0].Acknowledged || devices[0].Model == "" {
		t.Errorf("devices %+v", devices)
	}
	again := run(t, s)
	if again.Added+again.Changed+again.Missing+again.Removed != 0 {
		t.Errorf("the second run found %+v", again)
	}
	t.Logf("the second run: %d requests", again.Requests)
}

// TestBothProtocols: the same cache serves ews one night and eas the next, without duplicates and without a loss.
func TestBothProtocols(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 150})
	store := openCache(t)
	now := time.Now()
	s := &directory.Sync{Store: store, Now: func() time.Time { return now }}
	night := func(source directory.Source) directory.Report {
		s.Source = source
		rep := run(t, s)
		now = now.AddDate(0, 0, 1)
		if rep.Entries != sim.Directory().Len() || rep.Outcome == directory.Guarded || rep.Removed+rep.Missing > 0 {
			t.Fatalf("%s: %d entries of %d, %+v", source.Name(), rep.Entries, sim.Directory().Len(), rep)
		}
		return rep
	}
	soap := &ews.Client{URL: sim.URL()}
	first := night(soap)
	before := snapshot(t, store)
	second := night(c)
	for primary, old := range before {
		e, err := entry(t, store, string(primary))
		if err != nil {
			t.Errorf("%s: %v", primary, err)
			continue
		}
		for _, a := range old.Owned() {
			if !slices.Contains(e.Owned(), a) {
				t.Errorf("%s lost the address %s", primary, a)
			}
		}
		if primary == exchangesim.Untrusted {
			continue // over ActiveSync the server hides what it does not trust itself
		}
		if e.Kind != old.Kind || old.GivenName != "" && e.GivenName != old.GivenName || len(e.Certificates) < min(1, begun(old, now)) {
			t.Errorf("%s was of kind %s with %d certificates and is of kind %s with %d", primary, old.Kind, len(old.Certificates), e.Kind, len(e.Certificates))
		}
	}
	third := night(soap)
	for primary, old := range before {
		e, _ := entry(t, store, string(primary))
		old.Changed, e.Changed = time.Time{}, time.Time{}
		if !slices.Equal(e.Addresses, old.Addresses) || len(e.Certificates) != len(old.Certificates) || e.Partial {
			t.Errorf("%s is not as ews had it", primary)
		}
	}
	fourth := night(c)
	t.Logf("certified: ews %d, eas %d, ews %d, eas %d", first.Certified, second.Certified, third.Certified, fourth.Certified)
}

// TestPersonOrListOfOne has a server that counts one member for people, too. Who has a certificate for a former address keeps
// it once the other protocol told whose the address is; a list never gets the certificate of its only member.
func TestPersonOrListOfOne(t *testing.T) {
	const list, renamed = "only-alice@corp.example", "bob.married@corp.example"
	sim, c := simulator(t, exchangesim.Options{Entries: 60, ActiveSync: exchangesim.ActiveSyncOptions{CountPeople: true}})
	err := errors.Join(sim.Directory().Add(exchangesim.Person{Primary: list, DisplayName: "Only Alice", Kind: exchangesim.PublicDL, Members: []string{exchangesim.Alice}}),
		sim.Directory().RenamePrimary(exchangesim.Bob, renamed))
	if err != nil {
		t.Fatal(err)
	}
	soap := &ews.Client{URL: sim.URL()}
	for name, nights := range map[string][]directory.Source{"ews first": {soap, c, c, soap, c}, "eas first": {c, soap, c, c, soap}} {
		for _, known := range []bool{false, true} {
			s := &directory.Sync{Store: openCache(t), MaxRemovals: 1}
			told := false
			for i, source := range nights {
				now := time.Now().AddDate(0, 0, i)
				s.Source, s.Now, s.KnownOnly = source, func() time.Time { return now }, known && i > 0
				run(t, s)
				told = told || source == soap
				l, err := entry(t, s.Store, list)
				if err != nil || l.Kind != directory.KindGroup || len(l.Certificates) != 0 {
					t.Errorf("%s, night %d: the list is of kind %s with %d certificates, %v", name, i, l.Kind, len(l.Certificates), err)
				}
				p, err := entry(t, s.Store, renamed)
				if err != nil || told && (p.Kind != directory.KindMailbox || len(p.Certificates) != 1 || !p.Unconfirmed.IsZero()) || !told && len(p.Certificates) != 0 {
					t.Errorf("%s, night %d, known only %t: the person is of kind %s with %d certificates, unconfirmed %v, %v", name, i, s.KnownOnly, p.Kind, len(p.Certificates), p.Unconfirmed, err)
				}
				w, err := entry(t, s.Store, exchangesim.WrongAddress) // has the certificate of Alice
				if err != nil || told && (w.Kind != directory.KindMailbox || source == c && !w.Unconfirmed.Equal(now)) {
					t.Errorf("%s, night %d: who has the certificate of another is of kind %s, unconfirmed %v, %v", name, i, w.Kind, w.Unconfirmed, err)
				}
			}
		}
	}
}

// begun counts the certificates of an entry that are valid, or were: what is to become valid later is forgotten when the
// server does not show it.
func begun(e directory.Entry, now time.Time) (n int) {
	for _, c := range e.Certificates {
		if cert, err := x509.ParseCertificate(c.Raw); err != nil || !now.Before(cert.NotBefore) {
			n++
		}
	}
	return n
}

func snapshot(t *testing.T, store directory.Store) map[directory.Address]directory.Entry {
	t.Helper()
	all := map[directory.Address]directory.Entry{}
	err := store.View(func(tx directory.Tx) error {
		primaries, err := tx.Primaries("")
		for _, p := range primaries {
			e, eErr := tx.Entry(p)
			all[p], err = e, errors.Join(err, eErr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestResolve asks for one address each.
func TestResolve(t *testing.T) {
	_, c := simulator(t, exchangesim.Options{})
	ask := func(address string) (directory.Resolution, error) {
		return c.Resolve(t.Context(), directory.Address(address))
	}
	if r, err := ask(exchangesim.Alice); err != nil || len(r.Records) != 1 || len(r.Records[0].Values) != 1 || r.Unlisted {
		t.Errorf("alice: %+v, %v", r, err)
	}
	if r, err := ask(exchangesim.NoCertificate); err != nil || len(r.Records) != 1 || len(r.Records[0].Values) != 0 {
		t.Errorf("without certificate: %+v, %v", r, err)
	}
	if r, err := ask(exchangesim.Nobody); err != nil || len(r.Records) != 0 {
		t.Errorf("nobody: %+v, %v", r, err)
	}
	if r, err := ask(exchangesim.AliasUnlisted); err != nil || len(r.Records) != 1 || r.Records[0].Primary != exchangesim.Alias || r.Unlisted {
		t.Errorf("an alias proves nothing over ActiveSync: %+v, %v", r, err)
	}
	if _, err := ask("bob"); !errors.Is(err, eas.ErrNoAnswer) {
		t.Errorf("ambiguous: %v", err)
	}
}

// TestDevice: one identifier for ever, whoever asks first.
func TestDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device")
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() {
			id, err := eas.DeviceID(path)
			if err != nil {
				id = err.Error()
			}
			ids <- id
		}()
	}
	first := <-ids
	for range cap(ids) - 1 {
		if id := <-ids; id != first || len(id) != 32 {
			t.Errorf("%q and %q", first, id)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := eas.DeviceID(path); err == nil {
		t.Errorf("rubbish is the device %q", id)
	}
}

// TestPolicy: a policy that changes in the middle costs one more Provision; what is remembered spares it in the next
// process.
func TestPolicy(t *testing.T) {
	for _, version := range eas.Versions {
		t.Run(version, func(t *testing.T) {
			sim, c := simulator(t, exchangesim.Options{ActiveSync: exchangesim.ActiveSyncOptions{Policy: true, Versions: []string{"2.5", version}}})
			memory := directory.SourceMemory{Store: openCache(t), Name: "eas"}
			c.Memory = memory
			ask := func(c *eas.Client) {
				t.Helper()
				if r, err := c.Resolve(t.Context(), exchangesim.Alice); err != nil || len(r.Records) != 1 {
					t.Fatalf("%+v, %v", r, err)
				}
			}
			ask(c)
			p := c.Policy()
			if p == nil || p.Acknowledged != "applied" || !slices.Contains(p.SMIME, eas.Setting{Name: "RequireEncryptedSMIMEMessages", Value: "1"}) {
				t.Errorf("policy %+v", p)
			}
			next := &eas.Client{URL: c.URL, DeviceID: c.DeviceID, Memory: memory, PlainQuery: true, Username: "svc"}
			ask(next)
			if n := sim.Commands()["Provision"]; n != 2 {
				t.Errorf("%d Provision commands", n)
			}
			sim.ChangePolicy()
			ask(next)
			if n := sim.Commands()["Provision"]; n != 4 || len(sim.Devices()) != 1 {
				t.Errorf("%d Provision commands, devices %v", n, sim.Devices())
			}
		})
	}
}

// TestRemoteWipe: the cache is emptied, the server is told, and the next night fills it again.
func TestRemoteWipe(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{ActiveSync: exchangesim.ActiveSyncOptions{Policy: true}})
	store := openCache(t)
	s := &directory.Sync{Source: c, Store: store}
	filled := run(t, s)
	sim.WipeDevices()
	rep, err := s.Run(t.Context(), false)
	if !errors.Is(err, directory.ErrRemoteWipe) || rep.Outcome != directory.Failed || rep.Entries != 0 || filled.Entries == 0 {
		t.Fatalf("%d entries, then %+v, %v", filled.Entries, rep, err)
	}
	if len(sim.Devices()) != 0 {
		t.Errorf("the server was not told: %v", sim.Devices())
	}
	if again := run(t, s); again.Entries != filled.Entries {
		t.Errorf("%d entries after the next run, %d before", again.Entries, filled.Entries)
	}
}

// TestBatches: 10,000 addresses cost a hundred requests, and somewhat more with a server that takes fewer at a time.
func TestBatches(t *testing.T) {
	var addresses []directory.Address
	for i := range 10_000 {
		addresses = append(addresses, directory.Address("user"+string(rune('a'+i%26))+time.Duration(i).String()+"@corp.example"))
	}
	for most, want := range map[int]int{100: 100, 50: 201, 30: 400 + 3} {
		sim, c := simulator(t, exchangesim.Options{ActiveSync: exchangesim.ActiveSyncOptions{MaxTo: most}})
		outcomes, err := c.ResolveRecipients(t.Context(), addresses)
		if err != nil || len(outcomes) != len(addresses) {
			t.Fatalf("%d outcomes, %v", len(outcomes), err)
		}
		if n := sim.Commands()["ResolveRecipients"]; n > want {
			t.Errorf("%d requests with %d addresses at most, want %d", n, most, want)
		}
	}
}

// TestCertificateLimit: an answer that is cut off is asked for again alone; if it still is, it is no answer.
func TestCertificateLimit(t *testing.T) {
	_, c := simulator(t, exchangesim.Options{ActiveSync: exchangesim.ActiveSyncOptions{MaxCertificates: 1}})
	outcomes, err := c.ResolveRecipients(t.Context(), []directory.Address{exchangesim.Alice, exchangesim.Bob, exchangesim.NoCertificate})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes[:2] {
		if o.Err != nil || len(o.Recipient.Values) != 1 {
			t.Errorf("%+v", o)
		}
	}
	if o := outcomes[2]; o.Err != nil || len(o.Recipient.Values) != 0 {
		t.Errorf("without certificate: %+v", o)
	}
}

// TestContacts: type 2 is no answer, unless the setting says that it is the directory.
func TestContacts(t *testing.T) {
	_, c := simulator(t, exchangesim.Options{ActiveSync: exchangesim.ActiveSyncOptions{AllContacts: true}})
	if _, err := c.Resolve(t.Context(), exchangesim.Alice); !errors.Is(err, eas.ErrNoAnswer) || !strings.Contains(err.Error(), "accept_contacts") {
		t.Errorf("error %v", err)
	}
	accepting := &eas.Client{URL: c.URL, DeviceID: deviceID, AcceptContacts: true}
	if r, err := accepting.Resolve(t.Context(), exchangesim.Alice); err != nil || len(r.Records) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestOwnContacts: with Contacts, type 2 is a contact under its own address, and never an entry.
func TestOwnContacts(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Contacts: 10, ActiveSync: exchangesim.ActiveSyncOptions{}})
	c.Contacts = true
	sim.Contacts().Add(exchangesim.Person{Primary: "first@outside.example", Proxies: []string{"second@outside.example"}, DisplayName: "Two", Recipe: exchangesim.Usable})
	results, _, err := c.ResolveBatch(t.Context(), []directory.Address{"contact0@outside.example", "contact9@outside.example", "second@outside.example", "nobody@outside.example", "alice.adams@corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Err != nil || len(r.Records) > 0 || r.Contact == nil || r.Contact.Primary != "contact0@outside.example" || len(r.Contact.Values) != 1 {
		t.Errorf("a contact: %+v", r)
	}
	if r := results[1]; r.Err != nil || len(r.Records) > 0 || r.Contact == nil || len(r.Contact.Values) > 0 {
		t.Errorf("a contact without certificate: %+v", r)
	}
	if r := results[2]; !errors.Is(r.Err, eas.ErrNoAnswer) || r.Contact != nil || len(r.Records) > 0 {
		t.Errorf("the second address of a contact: %+v", r)
	}
	if r := results[3]; r.Err != nil || r.Contact != nil || len(r.Records) > 0 {
		t.Errorf("nobody: %+v", r)
	}
	if r := results[4]; r.Err != nil || r.Contact != nil || len(r.Records) != 1 {
		t.Errorf("a colleague: %+v", r)
	}
	if c.AcceptContacts = true; c.TellsContacts() {
		t.Error("contacts are told of although they are people of the directory")
	}
	if r, err := c.Resolve(t.Context(), "contact0@outside.example"); err != nil || r.Contact != nil || len(r.Records) != 1 {
		t.Errorf("accepted: %+v, %v", r, err)
	}
}

// TestEverybodyIsAContact: a walk over a server that says 2 of everybody finds people without certificates, and keeps
// contacts of nobody in the address book.
func TestEverybodyIsAContact(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 60, ActiveSync: exchangesim.ActiveSyncOptions{AllContacts: true}})
	c.Contacts = true
	rep := run(t, &directory.Sync{Source: c, Store: openCache(t), Contacts: true})
	if rep.Outcome != directory.Incomplete || rep.Entries != sim.Directory().Len() || rep.Certified != 0 || rep.Contacts.Contacts != 0 {
		t.Errorf("%+v, %+v", rep, rep.Contacts)
	}
	for _, reason := range rep.Undetermined {
		if !strings.Contains(reason, "accept_contacts") {
			t.Errorf("reason %q", reason)
		}
	}
}

// TestShortPages: with a server that gives one result less than asked for, nobody gets lost.
func TestShortPages(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 300, ActiveSync: exchangesim.ActiveSyncOptions{ShortPages: true}})
	if rep := run(t, &directory.Sync{Source: c, Store: openCache(t)}); rep.Entries != sim.Directory().Len() {
		t.Errorf("%d entries of %d", rep.Entries, sim.Directory().Len())
	}
}

// TestFaults plays every fault of the stand-in: each is an error, none loses anything, and the next question is answered.
func TestFaults(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{})
	c.Timeout = 2 * time.Second
	for _, kind := range append(exchangesim.FaultKinds(), exchangesim.ActiveSyncFaultKinds()...) {
		switch kind {
		case exchangesim.FaultADOperation, exchangesim.FaultSchemaVersion, exchangesim.FaultTimeout, exchangesim.FaultObjects:
			continue // ActiveSync has none of these
		case exchangesim.FaultNoResults, exchangesim.FaultNoCertificates, exchangesim.FaultNotProvisioned:
			continue // those are answers
		case exchangesim.FaultHang, exchangesim.FaultEndless, exchangesim.FaultDrip:
			continue // see TestSlow
		}
		sim.Fault(exchangesim.Fault{Kind: kind, Requests: 1})
		if kind == exchangesim.FaultCertificateLimit {
			sim.ClearFaults()
			sim.Fault(exchangesim.Fault{Kind: kind, Requests: 2})
		}
		r, err := c.Resolve(t.Context(), exchangesim.Alice)
		if err == nil {
			t.Errorf("%s: %d records and no error", kind, len(r.Records))
		} else {
			t.Logf("%s: %v", kind, err)
			if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("%s: the error is not one short line", kind)
			}
		}
		sim.ClearFaults()
		if _, err := c.Resolve(t.Context(), exchangesim.Alice); err != nil {
			t.Errorf("after %s: %v", kind, err)
		}
	}
}

// TestSlow: a server that never ends its answer, or never begins it, costs the time limit and bounded memory.
func TestSlow(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{})
	if _, err := c.Resolve(t.Context(), exchangesim.Alice); err != nil { // the version is known
		t.Fatal(err)
	}
	for _, kind := range []exchangesim.FaultKind{exchangesim.FaultHang, exchangesim.FaultDrip, exchangesim.FaultEndless} {
		slow := &eas.Client{URL: c.URL, DeviceID: deviceID, Version: "16.1", Timeout: 500 * time.Millisecond}
		sim.Fault(exchangesim.Fault{Kind: kind, Requests: 1})
		began := time.Now()
		_, err := slow.Resolve(t.Context(), exchangesim.Alice)
		if err == nil || time.Since(began) > time.Minute {
			t.Errorf("%s: %v after %s", kind, err, time.Since(began))
		}
		sim.ClearFaults()
	}
}

// TestMoved: 451 is followed and remembered.
func TestMoved(t *testing.T) {
	home, _ := simulator(t, exchangesim.Options{})
	front, c := simulator(t, exchangesim.Options{})
	memory := directory.SourceMemory{Store: openCache(t), Name: "eas"}
	asked := 0
	c.Memory = memory
	c.Follow = func(url string) (*http.Client, error) { asked++; return http.DefaultClient, nil }
	front.Fault(exchangesim.Fault{Kind: exchangesim.FaultMoved, Requests: 1, Location: home.ActiveSyncURL()})
	if _, err := c.Resolve(t.Context(), exchangesim.Alice); err != nil || asked != 1 {
		t.Fatalf("%v, followed %d times", err, asked)
	}
	next := &eas.Client{URL: c.URL, DeviceID: deviceID, Memory: memory, Follow: c.Follow}
	if _, err := next.Resolve(t.Context(), exchangesim.Alice); err != nil || home.Commands()["ResolveRecipients"] != 2 {
		t.Errorf("%v, the new place was asked %v", err, home.Commands())
	}
	for _, location := range []string{"http://mail.corp.example/Microsoft-Server-ActiveSync", "ftp://x", "", "https://user:pw@x/"} {
		fresh := &eas.Client{URL: front.ActiveSyncURL(), DeviceID: deviceID, Follow: c.Follow}
		front.Fault(exchangesim.Fault{Kind: exchangesim.FaultMoved, Requests: 1, Location: location})
		if _, err := fresh.Resolve(t.Context(), exchangesim.Alice); err == nil {
			t.Errorf("moved to %q without an error", location)
		}
		front.ClearFaults()
	}
	if asked != 2 {
		t.Errorf("followed %d times", asked)
	}
}

// TestStop: a context that ends stops a question at once.
func TestStop(t *testing.T) {
	_, c := simulator(t, exchangesim.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, exchangesim.Alice); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestTenThousandKnown: 10,000 known addresses, a thousand of them people, are refreshed with a request per hundred. A server
// that refuses in the middle costs the batch: the next run asks for the rest.
func TestTenThousandKnown(t *testing.T) {
	const known = 10_000
	sim, c := simulator(t, exchangesim.Options{Entries: 1000, ActiveSync: exchangesim.ActiveSyncOptions{Policy: true}})
	store := openCache(t)
	now := time.Now()
	s := &directory.Sync{Source: c, Store: store, KnownOnly: true, Now: func() time.Time { return now }}
	for _, p := range sim.Directory().People() {
		s.Addresses = append(s.Addresses, directory.Address(strings.ToLower(p.Primary)))
	}
	people := len(s.Addresses)
	for i := range known - people {
		s.Addresses = append(s.Addresses, directory.Address(fmt.Sprintf("zz.nobody%d@corp.example", i)))
	}
	sim.Fault(exchangesim.Fault{Kind: exchangesim.FaultBlocked, Operation: "ResolveRecipients", Skip: 8, Requests: 1})
	rep, err := s.Run(t.Context(), false)
	if err == nil || rep.Entries < 600 || rep.Entries >= people {
		t.Fatalf("%d entries of %d when the server refuses in the middle, %v", rep.Entries, people, err)
	}
	before := sim.Commands()["ResolveRecipients"]
	rep = run(t, s)
	total := sim.Commands()["ResolveRecipients"]
	t.Logf("%d people of %d addresses: %d requests until it was refused, %d for the rest", people, known, before, total-before)
	if rep.Entries != people || rep.Outcome != directory.Complete || total > 110 {
		t.Errorf("%s, %d entries of %d, %d requests in all", rep.Outcome, rep.Entries, people, total)
	}
	now = now.AddDate(0, 0, 1)
	if rep := run(t, s); rep.Requests > 110 || rep.Entries != people || rep.Changed+rep.Missing != 0 {
		t.Errorf("the next night: %d requests, %+v", rep.Requests, rep)
	}
}

// TestDirectoryDown: a server whose directory is down says of everybody that it knows nobody of that name. However many
// nights that goes on: no entry, no certificate and no address is lost, also those that only the other protocol listed.
func TestDirectoryDown(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 30})
	store := openCache(t)
	now := time.Now()
	s := &directory.Sync{Store: store, Now: func() time.Time { return now }}
	s.Source = &ews.Client{URL: sim.URL()}
	run(t, s)
	s.Source = c
	now = now.AddDate(0, 0, 1)
	run(t, s)
	before := snapshot(t, store)
	sim.Fault(exchangesim.Fault{Kind: exchangesim.FaultNoResults})
	for night := range 16 {
		now = now.AddDate(0, 0, 1)
		s.KnownOnly = night%2 == 0
		if rep, err := s.Run(t.Context(), false); err != nil || rep.Outcome != directory.Guarded {
			t.Fatalf("%+v, %v", rep, err)
		}
	}
	after := snapshot(t, store)
	for primary, old := range before {
		e := after[primary]
		if len(e.Certificates) != len(old.Certificates) || !slices.Equal(e.Owned(), old.Owned()) || !e.Missing.IsZero() {
			t.Errorf("%s: %d certificates and the addresses %v, before %d and %v", primary, len(e.Certificates), e.Owned(), len(old.Certificates), old.Owned())
		}
	}
}

// TestPersonBecomesListOfOne: a list that takes the address of a person never gets the certificate of its member.
func TestPersonBecomesListOfOne(t *testing.T) {
	sim, c := simulator(t, exchangesim.Options{Entries: 60, ActiveSync: exchangesim.ActiveSyncOptions{CountPeople: true}})
	soap := &ews.Client{URL: sim.URL()}
	now := time.Now()
	s := &directory.Sync{Source: soap, Store: openCache(t), MaxRemovals: 1, Now: func() time.Time { return now }}
	run(t, s)
	before, err := entry(t, s.Store, exchangesim.Bob)
	if err != nil {
		t.Fatal(err)
	}
	list := func(address, member string) error {
		return sim.Directory().Add(exchangesim.Person{Primary: address, DisplayName: "List", Kind: exchangesim.PublicDL, Members: []string{member}})
	}
	err = errors.Join(sim.Directory().Remove(exchangesim.Bob), list(exchangesim.Bob, exchangesim.Alice))
	if err != nil {
		t.Fatal(err)
	}
	began := now
	for range 3 {
		now = now.AddDate(0, 0, 1)
		s.Source = c
		run(t, s)
		e, err := entry(t, s.Store, exchangesim.Bob)
		if err != nil || len(e.Certificates) != len(before.Certificates) || len(e.Certificates) > 0 && !slices.Equal(e.Certificates[0].Raw, before.Certificates[0].Raw) || !e.LastSeen.Equal(began) {
			t.Errorf("%d certificates, last seen %v, %v; want those of before, last seen %v", len(e.Certificates), e.LastSeen, err, began)
		}
	}
	s.Source, now = soap, now.AddDate(0, 0, 1)
	run(t, s)
	if e, err := entry(t, s.Store, exchangesim.Bob); err != nil || e.Kind != directory.KindGroup || len(e.Certificates) != 0 {
		t.Errorf("over ews it is of kind %s with %d certificates, %v", e.Kind, len(e.Certificates), err)
	}
	s.Source, now = c, now.AddDate(0, 0, 1)
	run(t, s)
	if e, err := entry(t, s.Store, exchangesim.Bob); err != nil || e.Kind != directory.KindGroup || len(e.Certificates) != 0 {
		t.Errorf("then it is of kind %s with %d certificates, %v", e.Kind, len(e.Certificates), err)
	}
}
