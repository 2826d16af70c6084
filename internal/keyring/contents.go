package keyring

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// contents is what is asked for with every mail, read and parsed once after each change of the file.
type contents struct {
	installed   []Installed                            // by fingerprint
	byAddress   map[mailaddr.Address][]int             // indexes of installed, the newest first
	byPrint     map[[sha256.Size]byte]int              // the same
	issuers     []Issuer                               // by fingerprint
	choices     map[mailaddr.Address][sha256.Size]byte //
	preferences map[mailaddr.Address]Preferences       // "" is the default
}

// Version grows with every change of the file.
func (k *Keyring) Version() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version
}

// read returns the contents. The caller holds mu.
func (k *Keyring) read(what string) (*contents, error) {
	if k.db == nil {
		return nil, ErrClosed
	}
	if isFault(k.broken) {
		return nil, k.broken
	}
	if k.contents != nil {
		return k.contents, nil
	}
	c := &contents{byAddress: map[mailaddr.Address][]int{}, byPrint: map[[sha256.Size]byte]int{}}
	var installed []*installedRecord
	var issuers []*issuerRecord
	err := k.view(what, func(tx *bbolt.Tx) (err error) {
		if installed, err = all(tx, installedTable, parseInstalled); err != nil {
			return err
		}
		if issuers, err = all(tx, issuersTable, parseIssuer); err != nil {
			return err
		}
		if c.choices, err = readChoices(tx); err != nil {
			return err
		}
		c.preferences, err = readPreferences(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := k.parseContents(c, installed, issuers); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	k.contents = c
	return c, nil
}

// parseContents parses the certificates, those anew only that were not there before.
func (k *Keyring) parseContents(c *contents, installed []*installedRecord, issuers []*issuerRecord) error {
	for i, rec := range installed {
		info, err := k.installedInfo(rec, sha256.Sum256(rec.Certificate))
		if err != nil {
			return err
		}
		c.installed = append(c.installed, info)
		c.byPrint[info.Fingerprint] = i
		for _, a := range info.Addresses {
			c.byAddress[a.Address] = append(c.byAddress[a.Address], i)
		}
	}
	for _, list := range c.byAddress {
		slices.SortFunc(list, func(a, b int) int {
			one, other := &c.installed[a], &c.installed[b]
			return cmp.Or(other.Certificate.NotBefore.Compare(one.Certificate.NotBefore), bytes.Compare(one.Fingerprint[:], other.Fingerprint[:]))
		})
	}
	for _, rec := range issuers {
		info, err := k.issuerInfo(rec)
		if err != nil {
			return err
		}
		c.issuers = append(c.issuers, info)
	}
	k.dropParsed(c)
	return nil
}

// certificate parses a certificate, or takes the one parsed before. The caller holds mu.
func (k *Keyring) certificate(der []byte) (*x509.Certificate, error) {
	sum := sha256.Sum256(der)
	if c := k.parsed[sum]; c != nil {
		return c, nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	k.parsed[sum] = c
	return c, nil
}

// dropParsed forgets the certificates that are in none of the contents.
func (k *Keyring) dropParsed(c *contents) {
	used := map[*x509.Certificate]bool{}
	for i := range c.installed {
		used[c.installed[i].Certificate] = true
		for _, ca := range c.installed[i].Chain {
			used[ca] = true
		}
	}
	for i := range c.issuers {
		used[c.issuers[i].Certificate] = true
	}
	maps.DeleteFunc(k.parsed, func(_ [sha256.Size]byte, cert *x509.Certificate) bool { return !used[cert] })
}

// Installed returns every installed certificate, in the order of the fingerprints.
func (k *Keyring) Installed() ([]Installed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("list installed certificates")
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.installed), nil
}

// InstalledFor returns the certificates installed for an address: the newest first, by NotBefore, then by fingerprint.
func (k *Keyring) InstalledFor(a mailaddr.Address) ([]Installed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("look up installed certificates")
	if err != nil {
		return nil, err
	}
	var list []Installed
	for _, i := range c.byAddress[a] {
		list = append(list, c.installed[i])
	}
	return list, nil
}

// InstalledCertificate returns one installed certificate, or ErrNotInstalled.
func (k *Keyring) InstalledCertificate(fingerprint [sha256.Size]byte) (Installed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("look up installed certificate")
	if err != nil {
		return Installed{}, err
	}
	i, ok := c.byPrint[fingerprint]
	if !ok {
		return Installed{}, fmt.Errorf("look up installed certificate: %w", ErrNotInstalled)
	}
	return c.installed[i], nil
}

// Issuers returns every trusted issuer, in the order of the fingerprints.
func (k *Keyring) Issuers() ([]Issuer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("list trusted issuers")
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.issuers), nil
}

// Choices returns the fingerprint chosen for each address that has one.
func (k *Keyring) Choices() (map[mailaddr.Address][sha256.Size]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("list choices")
	if err != nil {
		return nil, err
	}
	return maps.Clone(c.choices), nil
}

// Choice returns the fingerprint chosen for an address; ok is false when there is none.
func (k *Keyring) Choice(a mailaddr.Address) (fingerprint [sha256.Size]byte, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("look up choice")
	if err != nil {
		return fingerprint, false, err
	}
	fingerprint, ok = c.choices[a]
	return fingerprint, ok, nil
}

// Preferences returns every entry; the key "" is the default.
func (k *Keyring) Preferences() (map[mailaddr.Address]Preferences, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("list preferences")
	if err != nil {
		return nil, err
	}
	return maps.Clone(c.preferences), nil
}

// PreferencesFor returns what counts for a From address: its own entry, and the default where that says nothing.
func (k *Keyring) PreferencesFor(a mailaddr.Address) (Preferences, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.read("look up preferences")
	if err != nil {
		return Preferences{}, err
	}
	return c.preferences[a].over(c.preferences[""]), nil
}
