package keyring

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

const (
	// maxCertificate is the largest certificate stored, in bytes of DER.
	maxCertificate = 64 << 10
	// maxAddresses is for how many addresses one certificate may be installed.
	maxAddresses = 100
	// maxFrom bounds the text that says where something came from, in bytes.
	maxFrom = 500
)

var (
	// ErrNotInstalled reports a fingerprint of which no certificate is installed.
	ErrNotInstalled = errors.New("no such certificate is installed")
	// ErrNotCA reports a certificate that cannot be trusted as an issuer, because it is none.
	ErrNotCA = errors.New("the certificate is not that of a certification authority")
)

// How says how a certificate came into the keyring.
type How string

// The ways.
const (
	HowMail  How = "mail"  // from a signed mail
	HowFile  How = "file"  // from a file of certificates
	HowAdmin How = "admin" // by an administrator, for everyone
)

// Installation is a certificate of somebody else that a person wants to keep.
type Installation struct {
	Certificate *x509.Certificate
	// Chain are the certificates that came with it and may lead from its issuer upwards, at most 10. Not verified.
	Chain []*x509.Certificate
	// Addresses are those that it is installed for, 1 to 100.
	Addresses []mailaddr.Address
	How       How
	// From says to people where it came from: the sender of the mail, or the name of the file.
	From string
	// Trust is the decision that it is the right one for Addresses, without a chain that says so.
	Trust bool
}

// Installed is an installed certificate. The certificates in it must not be changed.
type Installed struct {
	// Fingerprint is the SHA-256 of the certificate.
	Fingerprint [sha256.Size]byte
	Certificate *x509.Certificate
	Chain       []*x509.Certificate
	// Addresses are sorted.
	Addresses []InstalledAddress
	How       How
	From      string
	// Installed is when it came first, Updated when something about it changed last.
	Installed, Updated time.Time
}

// InstalledAddress is an address that a certificate was installed for.
type InstalledAddress struct {
	Address mailaddr.Address `json:"address"`
	// Trusted is when the person decided that the certificate is the right one for the address; zero without a decision.
	Trusted time.Time `json:"trusted,omitzero"`
}

// For says whether the certificate is installed for an address, and trusted for it.
func (i *Installed) For(a mailaddr.Address) (installed, trusted bool) {
	for _, own := range i.Addresses {
		if own.Address == a {
			return true, !own.Trusted.IsZero()
		}
	}
	return false, false
}

// Outcome is what Install found and did. When it is neither New nor Changed everything was there just so.
type Outcome struct {
	Installed
	New, Changed bool
}

// installedRecord is an installed certificate in the file.
type installedRecord struct {
	Certificate []byte             `json:"certificate"`
	Chain       [][]byte           `json:"chain,omitempty"`
	Addresses   []InstalledAddress `json:"addresses"`
	How         How                `json:"how"`
	From        string             `json:"from,omitempty"`
	Installed   time.Time          `json:"installed"`
	Updated     time.Time          `json:"updated"`
}

// Install stores a certificate for addresses. To install it again adds addresses and trust and replaces a shorter chain; how
// it came first stays. It needs no passphrase. It is a *FullError when 5000 are installed.
func (k *Keyring) Install(in Installation) (Outcome, error) {
	const what = "install certificate"
	if err := in.check(); err != nil {
		return Outcome{}, fmt.Errorf("%s: %w", what, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	fingerprint := sha256.Sum256(in.Certificate.Raw)
	old, err := k.installedRecord(what, fingerprint)
	if err != nil && !errors.Is(err, ErrNotInstalled) {
		return Outcome{}, err
	}
	rec, changed := old, false
	if rec == nil {
		rec = &installedRecord{Certificate: in.Certificate.Raw, How: in.How, From: printable(in.From), Installed: k.now().UTC()}
		changed = true
	}
	changed = rec.merge(in, k.now().UTC()) || changed
	if changed {
		rec.Updated = k.now().UTC()
		if err := k.putLocked(what, installedTable, fingerprint[:], rec); err != nil {
			return Outcome{}, err
		}
	}
	info, err := k.installedInfo(rec, fingerprint)
	return Outcome{Installed: info, New: old == nil, Changed: old != nil && changed}, err
}

func (in *Installation) check() error {
	switch {
	case in.Certificate == nil || len(in.Certificate.Raw) == 0 || len(in.Certificate.Raw) > maxCertificate:
		return fmt.Errorf("a certificate has 1 to %d bytes", maxCertificate)
	case len(in.Chain) > maxChain:
		return fmt.Errorf("a chain has at most %d certificates", maxChain)
	case len(in.Addresses) == 0 || len(in.Addresses) > maxAddresses:
		return fmt.Errorf("a certificate is installed for 1 to %d addresses", maxAddresses)
	case !in.How.known():
		return fmt.Errorf("%q is no way to install a certificate", in.How)
	}
	for _, c := range in.Chain {
		if len(c.Raw) > maxCertificate {
			return fmt.Errorf("a certificate of the chain has more than %d bytes", maxCertificate)
		}
	}
	for _, a := range in.Addresses {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	return nil
}

func (h How) known() bool { return h == HowMail || h == HowFile || h == HowAdmin }

// checkAddress refuses what is not in canonical form, which would never be found again.
func checkAddress(a mailaddr.Address) error {
	canonical, err := mailaddr.Parse(string(a))
	if err == nil && canonical != a {
		return fmt.Errorf("%q is not in canonical form", a)
	}
	return err
}

// merge adds what is new, and reports whether there was anything.
func (rec *installedRecord) merge(in Installation, now time.Time) (changed bool) {
	if len(in.Chain) > len(rec.Chain) {
		rec.Chain, changed = nil, true
		for _, c := range in.Chain {
			rec.Chain = append(rec.Chain, c.Raw)
		}
	}
	for _, a := range in.Addresses {
		i := rec.index(a)
		if i < 0 {
			rec.Addresses, changed = append(rec.Addresses, InstalledAddress{Address: a}), true
			i = len(rec.Addresses) - 1
		}
		if in.Trust && rec.Addresses[i].Trusted.IsZero() {
			rec.Addresses[i].Trusted, changed = now, true
		}
	}
	slices.SortFunc(rec.Addresses, func(a, b InstalledAddress) int { return cmp.Compare(a.Address, b.Address) })
	return changed
}

func (rec *installedRecord) index(a mailaddr.Address) int {
	return slices.IndexFunc(rec.Addresses, func(own InstalledAddress) bool { return own.Address == a })
}

// Uninstall removes an installed certificate, the choices that name it, and what was learned about it. It returns what was
// removed, or ErrNotInstalled.
func (k *Keyring) Uninstall(fingerprint [sha256.Size]byte) (Installed, error) {
	const what = "remove certificate"
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, err := k.installedRecord(what, fingerprint)
	if err != nil {
		return Installed{}, err
	}
	gone, err := k.installedInfo(rec, fingerprint)
	if err != nil {
		return Installed{}, err
	}
	return gone, k.updateLocked(what, func(tx *bbolt.Tx) error {
		if err := installedTable.delete(tx, fingerprint[:]); err != nil {
			return err
		}
		return forget(tx, fingerprint)
	})
}

// forget removes the choices of a certificate, and what was learned about it, unless it is still known otherwise.
func forget(tx *bbolt.Tx, fingerprint [sha256.Size]byte) error {
	if installedTable.get(tx, fingerprint[:]) != nil || identitiesTable.get(tx, fingerprint[:]) != nil {
		return nil
	}
	choices, err := all(tx, choicesTable, parseChoice)
	if err != nil {
		return err
	}
	for _, c := range choices {
		if bytes.Equal(c.Fingerprint, fingerprint[:]) {
			if err := choicesTable.delete(tx, []byte(c.Address)); err != nil {
				return err
			}
		}
	}
	return capabilitiesTable.delete(tx, fingerprint[:])
}

// Trust records that an installed certificate is the right one for addresses that it is installed for; for all of them
// when none is given. It is ErrNotInstalled for others.
func (k *Keyring) Trust(fingerprint [sha256.Size]byte, addresses ...mailaddr.Address) (Installed, error) {
	return k.decide("trust certificate", fingerprint, addresses, k.now().UTC())
}

// Untrust takes back what Trust recorded.
func (k *Keyring) Untrust(fingerprint [sha256.Size]byte, addresses ...mailaddr.Address) (Installed, error) {
	return k.decide("no longer trust certificate", fingerprint, addresses, time.Time{})
}

func (k *Keyring) decide(what string, fingerprint [sha256.Size]byte, addresses []mailaddr.Address, when time.Time) (Installed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, err := k.installedRecord(what, fingerprint)
	if err != nil {
		return Installed{}, err
	}
	for _, a := range addresses {
		if rec.index(a) < 0 {
			return Installed{}, fmt.Errorf("%s: %w for %s", what, ErrNotInstalled, a)
		}
	}
	changed := false
	for i := range rec.Addresses {
		own := &rec.Addresses[i]
		if (len(addresses) == 0 || slices.Contains(addresses, own.Address)) && own.Trusted.IsZero() != when.IsZero() {
			own.Trusted, changed = when, true
		}
	}
	if changed {
		rec.Updated = k.now().UTC()
		if err := k.putLocked(what, installedTable, fingerprint[:], rec); err != nil {
			return Installed{}, err
		}
	}
	return k.installedInfo(rec, fingerprint)
}

// installedRecord reads one record. The caller holds mu.
func (k *Keyring) installedRecord(what string, fingerprint [sha256.Size]byte) (rec *installedRecord, err error) {
	err = k.view(what, func(tx *bbolt.Tx) error {
		data := installedTable.get(tx, fingerprint[:])
		if data == nil {
			return ErrNotInstalled
		}
		rec, err = parseInstalled(fingerprint[:], data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rec, nil
}

// putLocked writes one record in a transaction of its own. The caller holds mu.
func (k *Keyring) putLocked(what string, t table, key []byte, v any) error {
	return k.updateLocked(what, func(tx *bbolt.Tx) error { return t.put(tx, key, v) })
}

// parseInstalled reads a record and checks that it stands under its own fingerprint.
func parseInstalled(key, data []byte) (*installedRecord, error) {
	rec := new(installedRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(rec.Certificate)
	if !bytes.Equal(sum[:], key) || len(rec.Certificate) > maxCertificate || len(rec.Chain) > maxChain ||
		len(rec.Addresses) > maxAddresses || !rec.How.known() || len(rec.From) > maxFrom {
		return nil, misplaced("installed", key)
	}
	for _, a := range rec.Addresses {
		if checkAddress(a.Address) != nil {
			return nil, misplaced("installed", key)
		}
	}
	return rec, nil
}

// installedInfo parses the certificates of a record.
func (k *Keyring) installedInfo(rec *installedRecord, fingerprint [sha256.Size]byte) (Installed, error) {
	info := Installed{Fingerprint: fingerprint, Addresses: rec.Addresses, How: rec.How, From: rec.From, Installed: rec.Installed, Updated: rec.Updated}
	var err error
	if info.Certificate, err = k.certificate(rec.Certificate); err != nil {
		return info, fmt.Errorf("installed certificate %x: %w", fingerprint, err)
	}
	for _, der := range rec.Chain {
		c, err := k.certificate(der)
		if err != nil {
			return info, fmt.Errorf("chain of the installed certificate %x: %w", fingerprint, err)
		}
		info.Chain = append(info.Chain, c)
	}
	return info, nil
}

// printable makes one line of at most maxFrom bytes without control characters.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxFrom {
		s = strings.ToValidUTF8(s[:maxFrom], "")
	}
	return strings.TrimSpace(s)
}
