package cache_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
)

func contact(i int) directory.Contact {
	return directory.Contact{
		ContactRef:  directory.ContactRef{ID: fmt.Sprintf("AAMk%d=", i), Version: "1"},
		DisplayName: fmt.Sprintf("Žofie Čapková-%d", i), GivenName: "Žofie", Surname: fmt.Sprintf("Čapková-%d", i),
		Addresses:     []directory.Address{directory.Address(fmt.Sprintf("zofie%d@outside.example", i)), "family@outside.example"},
		Certificates:  []directory.UserCertificate{{Raw: fmt.Appendf(nil, "certificate %d", i), Property: directory.UserSMIMECertificate, Encoding: directory.EncodingSettings, Default: true}},
		Intermediates: [][]byte{[]byte("ca")},
		Undecodable:   []directory.Undecodable{{Property: directory.MSExchangeCertificate, Reason: "noise", Size: 3}},
		Changed:       time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC),
	}
}

func putContacts(t testing.TB, c *cache.Cache, all ...directory.Contact) {
	t.Helper()
	update(t, c, func(tx directory.Tx) error {
		for _, k := range all {
			if err := tx.PutContact(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestContacts keeps, finds, changes and forgets contacts, over a restart with a verified file.
func TestContacts(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	var all []directory.Contact
	for i := range 3 {
		all = append(all, contact(i))
	}
	putContacts(t, c, all...)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir)
	find := func(address directory.Address) (found []directory.Contact) {
		t.Helper()
		s, err := c.ContactsOf(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range s {
			found = append(found, one.Contact)
		}
		return found
	}
	if diff := cmp.Diff(all[1:2], find("zofie1@outside.example")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(all, find("family@outside.example")); diff != "" {
		t.Error(diff)
	}
	for _, other := range []directory.Address{"zofie@outside.example", "zofie1@outside.example.org", "outside.example", ""} {
		if got := find(other); len(got) > 0 {
			t.Errorf("%q finds %+v", other, got)
		}
	}
	if got, err := c.ContactAddresses(t.Context()); err != nil || !slices.Equal(got, []directory.Address{"family@outside.example", "zofie0@outside.example", "zofie1@outside.example", "zofie2@outside.example"}) {
		t.Errorf("%v, %v", got, err)
	}
	// A look-up of the address book does not see them, nor do its totals.
	if s, err := c.Lookup(t.Context(), "zofie1@outside.example"); err != nil || len(s) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if entries, certified := totals(t, c); entries+certified > 0 {
		t.Errorf("%d entries, %d certified", entries, certified)
	}
	// Certificates by fingerprint.
	sum := sha256.Sum256([]byte("certificate 2"))
	der, who, err := c.ContactCertificate(t.Context(), sum)
	if err != nil || string(der) != "certificate 2" || !slices.Equal(who, []directory.Address{"zofie2@outside.example"}) {
		t.Errorf("%q of %v, %v", der, who, err)
	}
	if _, _, err := c.Certificate(t.Context(), sum); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("as of the address book: %v", err)
	}
	// Another address and certificate replace the index.
	changed := all[2]
	changed.Addresses, changed.Certificates = []directory.Address{"new@outside.example"}, nil
	putContacts(t, c, changed)
	if len(find("zofie2@outside.example")) > 0 || len(find("family@outside.example")) != 2 || len(find("new@outside.example")) != 1 {
		t.Error("the index has the old content")
	}
	if _, _, err := c.ContactCertificate(t.Context(), sum); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("the certificate that is gone: %v", err)
	}
	update(t, c, func(tx directory.Tx) error {
		return errors.Join(tx.DeleteContact("AAMk0="), tx.DeleteContact("AAMk1="), tx.DeleteContact("nobody"), tx.DeleteContact(changed.ID))
	})
	if got, err := c.SearchContacts(t.Context(), "zofie", 10); err != nil || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSearchContacts(t *testing.T) {
	c := open(t, t.TempDir())
	nobody := contact(3)
	nobody.Addresses = nil
	putContacts(t, c, contact(0), contact(1), contact(2), nobody)
	for text, want := range map[string]int{"zofie": 3, "ŽOFIE": 3, "capkova 1": 1, "zof cap": 3, "zof novak": 0, "zofie2@outside.example": 1, "family": 0, "outside": 0, "": 0, "  ": 0, "\x00": 0} {
		got, err := c.SearchContacts(t.Context(), text, 10)
		if err != nil || len(got) != want {
			t.Errorf("%q finds %d, want %d; %v", text, len(got), want, err)
		}
	}
	if got, _ := c.SearchContacts(t.Context(), "zofie", 2); len(got) != 2 || got[0].DisplayName > got[1].DisplayName {
		t.Errorf("%+v", got)
	}
}

func TestContactWithoutIdentifier(t *testing.T) {
	c := open(t, t.TempDir())
	for _, id := range []string{"", strings.Repeat("A", directory.MaxContactID+1)} {
		err := c.Update(func(tx directory.Tx) error {
			return tx.PutContact(directory.Contact{ContactRef: directory.ContactRef{ID: id}})
		})
		if err == nil {
			t.Errorf("an identifier of %d bytes is kept", len(id))
		}
	}
}

// TestContactsAreVerified finds damage in contacts and their index when the file is opened.
func TestContactsAreVerified(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	putContacts(t, c, contact(0))
	c.Close()
	path := filepath.Join(dir, "cache.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"AAMk0=", "azofie0@outside.example\x00AAMk0=", "wzofie\x00AAMk0=", "Čapková-0"} {
		if !bytes.Contains(good, []byte(part)) {
			t.Fatalf("%q is not in the file", part)
		}
		bad := bytes.ReplaceAll(good, []byte(part), []byte(part[:len(part)-1]+"?"))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := cache.Open(dir); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("%q: %v", part, err)
			if err == nil {
				c.Close()
			}
		}
	}
}
