package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Keys are the user's keyring, how long it stays open, and who may open it.
type Keys struct {
	Keyring *keyring.Keyring
	Now     func() time.Time
	// UnlockFor is how long the keyring stays open when nobody says otherwise; 0 is as long as it may.
	UnlockFor time.Duration
	// Passphrase, when not nil, reads the passphrase that the configuration names. The keyring then opens when a key is
	// needed, until somebody locks it.
	Passphrase func() (string, error)
	Log        *slog.Logger
	// Policy knows which own certificates were revoked; nil: none.
	Policy *trust.Policy

	mu      sync.Mutex
	refused bool // somebody locked it, or the passphrase of the configuration did not open it

	// unfit: the passphrase of the configuration did not open it. Apart from mu, which is held while a passphrase is tried.
	unfit atomic.Bool
}

// period is UnlockFor or the longest time.
func (k *Keys) period() time.Duration { return cmp.Or(k.UnlockFor, keyring.MaxUnlock) }

// unlocked returns the identities with their keys. A keyring in which nothing ever was is not called locked.
func (k *Keys) unlocked(ctx context.Context) ([]keyring.Identity, error) {
	own, err := k.Keyring.Identities()
	if errors.Is(err, keyring.ErrLocked) && k.openByConfiguration(ctx) {
		own, err = k.Keyring.Identities()
	}
	if exists, existsErr := k.Keyring.HasPassphrase(); errors.Is(err, keyring.ErrLocked) && existsErr == nil && !exists {
		return nil, keyring.ErrNoPassphrase
	}
	return own, err
}

// openByConfiguration opens the keyring with the passphrase of the configuration. One that does not fit is tried once.
func (k *Keys) openByConfiguration(ctx context.Context) bool {
	if k.Passphrase == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refused {
		return false
	}
	passphrase, err := k.Passphrase()
	if err == nil {
		err = k.Keyring.Unlock(ctx, []byte(passphrase), k.period())
	}
	k.note(ctx, err)
	return err == nil
}

// note remembers whether the passphrase of the configuration fits. The lock is held.
func (k *Keys) note(ctx context.Context, err error) {
	if err != nil {
		k.refused = errors.Is(err, keyring.ErrWrongPassphrase)
		k.Log.WarnContext(ctx, "the passphrase of keyring.passphrase_file does not open the keyring", "error", err)
	}
	k.unfit.Store(errors.Is(err, keyring.ErrWrongPassphrase))
}

// Probe finds out whether the passphrase of the configuration fits, so that its owner hears of it before he needs a key. The
// keyring stays locked.
func (k *Keys) Probe(ctx context.Context) {
	if k.Passphrase == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	exists, err := k.Keyring.HasPassphrase()
	if err != nil || !exists || k.refused {
		return
	}
	passphrase, err := k.Passphrase()
	if err == nil {
		err = k.Keyring.CheckPassphrase(ctx, []byte(passphrase))
	}
	k.note(ctx, err)
}

// passphraseWarnings says why the passphrase of the configuration does not open the keyring, as far as that is known.
func (k *Keys) passphraseWarnings() []string {
	if k.Passphrase == nil {
		return nil
	}
	if _, err := k.Passphrase(); err != nil {
		return []string{"keyring.passphrase_file cannot be used: " + err.Error()}
	}
	if k.unfit.Load() {
		return []string{"the passphrase in keyring.passphrase_file is not that of the keyring: correct it and restart galsyncd; until then: galsyncd unlock"}
	}
	return nil
}

// manual notes that a person opened (true) or locked (false) the keyring.
func (k *Keys) manual(opened bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = !opened
}

// choose returns the index of the identity that signs for From addresses when nothing else is said; -1 is none. It is the
// one chosen for the address; else the default, when its certificate names the address; else the newest whose certificate
// does; else the default. None of them has to be trusted here, but all have to be valid.
func (k *Keys) choose(list []keyring.Info, preferences map[mailaddr.Address]keyring.Preferences, from []mailaddr.Address) int {
	find := func(fingerprint [sha256.Size]byte, from []mailaddr.Address) int {
		return slices.IndexFunc(list, func(info keyring.Info) bool {
			return info.Fingerprint == fingerprint && fingerprint != [sha256.Size]byte{} && k.signsFor(&info, from)
		})
	}
	standard := preferences[""].Identity
	if len(from) > 0 {
		if i := find(preferences[from[0]].Identity, nil); i >= 0 {
			return i
		}
		if i := find(standard, from); i >= 0 {
			return i
		}
		if i := k.newest(list, from, false); i >= 0 {
			return i
		}
		if i := k.newest(list, from, true); i >= 0 {
			return i
		}
	}
	return find(standard, nil)
}

// newest returns the index of the newest identity whose certificate names one of the addresses; -1 is none. Those that are
// marked as authorities, which readers do not take for a person's, count on request only.
func (k *Keys) newest(list []keyring.Info, from []mailaddr.Address, authorities bool) int {
	best := -1
	for i := range list {
		if (authorities || !list[i].Certificate.IsCA) && k.signsFor(&list[i], from) && (best < 0 || list[i].Certificate.NotBefore.After(list[best].Certificate.NotBefore)) {
			best = i
		}
	}
	return best
}

// signsFor reports that an identity may sign for one of the addresses now; for anything when there are none.
func (k *Keys) signsFor(info *keyring.Info, from []mailaddr.Address) bool {
	named := len(from) == 0 || slices.ContainsFunc(from, func(a mailaddr.Address) bool { return names(info, a) })
	return named && len(k.obstacles(info)) == 0
}

func names(info *keyring.Info, a mailaddr.Address) bool {
	return slices.Contains(trust.CertificateAddresses(info.Certificate), a)
}

// obstacles are what forbids to sign with an identity now, in sentences about its certificate: readers would refuse the
// signature. Whether others trust it is for them to say.
func (k *Keys) obstacles(info *keyring.Info) (reasons []string) {
	question := trust.Question{Addresses: trust.CertificateAddresses(info.Certificate), Intermediates: info.Chain, Now: k.Now()}
	for _, f := range k.policy().ForSigning(asPerson(info.Certificate), question) {
		switch f.State {
		case trust.Untrusted, trust.RevocationUnknown, trust.WrongAddress:
		default:
			reasons = append(reasons, f.Reason)
		}
	}
	return reasons
}

// asPerson is an own certificate without the mark of an authority. Tools put it on certificates that people make for
// themselves (openssl req -x509); what they sign can be verified all the same.
func asPerson(cert *x509.Certificate) *x509.Certificate {
	person := *cert
	person.IsCA = false
	return &person
}

func (k *Keys) policy() *trust.Policy {
	if k.Policy == nil {
		return &trust.Policy{}
	}
	return k.Policy
}

// expirySoon is how long before the end of a certificate its owner is told.
const expirySoon = 30 * 24 * time.Hour

// expiryWarnings says which own certificates end soon, or have ended, without a later one for the same address.
func expiryWarnings(list []keyring.Info, now time.Time) []string {
	last := map[mailaddr.Address]time.Time{}
	for _, info := range list {
		for _, a := range trust.CertificateAddresses(info.Certificate) {
			if info.Certificate.NotAfter.After(last[a]) {
				last[a] = info.Certificate.NotAfter
			}
		}
	}
	var warnings []string
	addresses := make([]mailaddr.Address, 0, len(last))
	for a := range last {
		addresses = append(addresses, a)
	}
	slices.Sort(addresses)
	for _, a := range addresses {
		left := last[a].Sub(now)
		switch days := int(left.Hours() / 24); {
		case left <= 0:
			warnings = append(warnings, fmt.Sprintf("your certificate for %s expired on %s: get a new one (galsyncd identity request); the old one still opens old mail",
				a, last[a].Format(time.DateOnly)))
		case left < expirySoon:
			warnings = append(warnings, fmt.Sprintf("your certificate for %s expires in %d days: get a new one (galsyncd identity request)", a, days))
		}
	}
	return warnings
}
