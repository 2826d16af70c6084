package daemon

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// TestContactsOfTheDirectory: contacts are offered, completed and shown beside the address book, whose entries go first;
// without the setting nobody sees them.
func TestContactsOfTheDirectory(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	changed := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	friend := directory.Contact{ContactRef: directory.ContactRef{ID: "1", Version: "a"}, DisplayName: "Ann Friend", Addresses: []directory.Address{"ann@outside.example", "af@outside.example"},
		Certificates: []directory.UserCertificate{{Raw: []byte("der"), Property: directory.UserSMIMECertificate, Default: true}}, Intermediates: [][]byte{[]byte("ca")},
		Undecodable: []directory.Undecodable{{Property: directory.MSExchangeCertificate, Reason: "noise"}}, Changed: changed}
	colleague := directory.Contact{ContactRef: directory.ContactRef{ID: "2"}, DisplayName: "Ann Colleague of mine", Addresses: []directory.Address{"ann@corp.example"}, Changed: changed}
	err = c.Update(func(tx directory.Tx) error {
		return errors.Join(tx.PutContact(friend), tx.PutContact(colleague),
			tx.PutEntry(directory.Entry{Primary: "ann@corp.example", Addresses: []directory.Address{"ann@corp.example"}, DisplayName: "Ann Colleague", Kind: directory.KindMailbox}))
	})
	if err != nil {
		t.Fatal(err)
	}
	with, without := Directory{Cache: c, Contacts: &Contacts{Cache: c}}, Directory{Cache: c}

	found, err := with.Lookup(t.Context(), "af@outside.example")
	if err != nil || len(found.Sightings) != 0 || len(found.Offers) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	if o := found.Offers[0]; o.Source != recipients.Contacts || string(o.Raw) != "der" || !o.Default || o.Name != "Ann Friend" || !o.Seen.Equal(changed) || len(o.Intermediates) != 1 || o.Preferred || o.Vouched {
		t.Errorf("%+v", o)
	}
	if o := found.Offers[1]; o.Fault != "noise" || len(o.Raw) != 0 {
		t.Errorf("%+v", o)
	}
	if found, err := without.Lookup(t.Context(), "af@outside.example"); err != nil || len(found.Offers) != 0 {
		t.Errorf("switched off: %+v, %v", found, err)
	}

	for limit, want := range map[int][]directory.Address{10: {"ann@corp.example", "ann@outside.example"}, 1: {"ann@corp.example"}} {
		entries, err := with.Search(t.Context(), "ann", limit)
		var got []directory.Address
		for _, e := range entries {
			got = append(got, e.Primary)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, %v", limit, got, err)
		}
	}
	if entries, _ := with.Search(t.Context(), "friend", 10); len(entries) != 1 || entries[0].Kind != directory.KindPersonal || len(entries[0].Certificates) != 1 {
		t.Errorf("%+v", entries)
	}
	if entries, _ := without.Search(t.Context(), "friend", 10); len(entries) != 0 {
		t.Errorf("switched off: %+v", entries)
	}

	sum := sha256.Sum256([]byte("der"))
	if der, who, err := with.Certificate(t.Context(), sum); err != nil || string(der) != "der" || !slices.Equal(who, friend.Addresses[:1]) {
		t.Errorf("%q of %v, %v", der, who, err)
	}
	for _, d := range []Directory{with, without} {
		if _, _, err := d.Certificate(t.Context(), [32]byte{1}); !errors.Is(err, service.ErrNotFound) {
			t.Errorf("unknown certificate: %v", err)
		}
	}
	if _, _, err := without.Certificate(t.Context(), sum); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("switched off: %v", err)
	}
}
