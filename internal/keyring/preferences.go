package keyring

import (
	"cmp"
	"crypto/sha256"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Preferences are what a person wants done with mails from an address. A nil pointer, and an Identity of zeros, say
// nothing, which is not the same as no.
type Preferences struct {
	// Sign signs every mail; Encrypt encrypts every mail by default.
	Sign, Encrypt *bool
	// ToSelf encrypts the mail to the sender as well; ProtectHeaders hides the header (RFC 9788).
	ToSelf, ProtectHeaders *bool
	// Identity is the fingerprint of the identity to sign with.
	Identity [sha256.Size]byte
}

// over fills what p does not say from the default.
func (p Preferences) over(standard Preferences) Preferences {
	return Preferences{
		Sign: cmp.Or(p.Sign, standard.Sign), Encrypt: cmp.Or(p.Encrypt, standard.Encrypt),
		ToSelf: cmp.Or(p.ToSelf, standard.ToSelf), ProtectHeaders: cmp.Or(p.ProtectHeaders, standard.ProtectHeaders),
		Identity: cmp.Or(p.Identity, standard.Identity),
	}
}

// preferencesRecord are preferences in the file, under the address, or under "*" for the default.
type preferencesRecord struct {
	Address        mailaddr.Address `json:"address"`
	Sign           *bool            `json:"sign,omitempty"`
	Encrypt        *bool            `json:"encrypt,omitempty"`
	ToSelf         *bool            `json:"toSelf,omitempty"`
	ProtectHeaders *bool            `json:"protectHeaders,omitempty"`
	Identity       []byte           `json:"identity,omitempty"`
}

func preferencesKey(a mailaddr.Address) []byte { return []byte(cmp.Or(string(a), "*")) }

// SetPreferences replaces the preferences for a From address; "" is the default for all. Those that say nothing remove the
// entry. Whether there is such an identity is for the caller to know.
func (k *Keyring) SetPreferences(a mailaddr.Address, p Preferences) error {
	const what = "set preferences"
	if a != "" {
		if err := checkAddress(a); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if p == (Preferences{}) {
		_, err := k.drop(what, preferencesTable, preferencesKey(a))
		return err
	}
	return k.update(what, func(tx *bbolt.Tx) error { return putPreferences(tx, a, p) })
}

func putPreferences(tx *bbolt.Tx, a mailaddr.Address, p Preferences) error {
	rec := preferencesRecord{Address: a, Sign: p.Sign, Encrypt: p.Encrypt, ToSelf: p.ToSelf, ProtectHeaders: p.ProtectHeaders}
	if p.Identity != ([sha256.Size]byte{}) {
		rec.Identity = p.Identity[:]
	}
	return preferencesTable.put(tx, preferencesKey(a), rec)
}

func parsePreferences(key, data []byte) (*preferencesRecord, error) {
	rec := new(preferencesRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	if string(preferencesKey(rec.Address)) != string(key) || rec.Address != "" && checkAddress(rec.Address) != nil ||
		len(rec.Identity) != 0 && len(rec.Identity) != sha256.Size {
		return nil, misplaced("preferences", key)
	}
	return rec, nil
}

func readPreferences(tx *bbolt.Tx) (map[mailaddr.Address]Preferences, error) {
	list, err := all(tx, preferencesTable, parsePreferences)
	if err != nil {
		return nil, err
	}
	preferences := map[mailaddr.Address]Preferences{}
	for _, rec := range list {
		p := Preferences{Sign: rec.Sign, Encrypt: rec.Encrypt, ToSelf: rec.ToSelf, ProtectHeaders: rec.ProtectHeaders}
		if len(rec.Identity) > 0 {
			p.Identity = [sha256.Size]byte(rec.Identity)
		}
		preferences[rec.Address] = p
	}
	return preferences, nil
}
