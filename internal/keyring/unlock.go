package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// MaxUnlock is the longest time a keyring stays unlocked.
	MaxUnlock = 24 * time.Hour
	// minPassphrase is the shortest passphrase that can be set, in bytes, of a keyring or an exported file: whoever gets the
	// file can guess as long as he likes. Shorter ones that were set before still open what they opened.
	minPassphrase = 8
	// maxPassphrase is the longest passphrase, in bytes.
	maxPassphrase = 1024
	// firstDelay and lastDelay bound the wait before another passphrase is tried; it doubles with every wrong one.
	firstDelay = time.Second
	lastDelay  = 30 * time.Second
)

// SetPassphrase gives a new keyring its passphrase and master key. It is ErrHasPassphrase when there is one. The keyring
// stays locked.
func (k *Keyring) SetPassphrase(passphrase []byte) error {
	if k.certificatesOnly {
		return fmt.Errorf("set passphrase: %w", ErrNoIdentities)
	}
	if err := checkNewPassphrase(passphrase); err != nil {
		return err
	}
	master := make([]byte, keySize)
	rand.Read(master)
	defer clear(master)
	rec := sealMaster(master, passphrase, k.argon2)
	return k.update("set passphrase", func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketMeta).Get(keyMaster) != nil {
			return ErrHasPassphrase
		}
		return putMaster(tx, &rec)
	})
}

// ChangePassphrase seals the master key under another passphrase. It waits as Unlock does, and leaves the keyring locked or
// unlocked as it was.
func (k *Keyring) ChangePassphrase(ctx context.Context, old, new []byte) error {
	if err := checkNewPassphrase(new); err != nil {
		return err
	}
	master, err := k.openMaster(ctx, old)
	if err != nil {
		return err
	}
	defer clear(master)
	rec := sealMaster(master, new, k.argon2)
	return k.update("change passphrase", func(tx *bbolt.Tx) error { return putMaster(tx, &rec) })
}

// Unlock makes the private keys available for a time, at most MaxUnlock. Every passphrase that does not open the keyring is
// ErrWrongPassphrase; after each, the next call waits longer before it tries, up to 30 seconds or until ctx is done.
func (k *Keyring) Unlock(ctx context.Context, passphrase []byte, period time.Duration) error {
	if period <= 0 || period > MaxUnlock {
		return fmt.Errorf("unlock keyring: the time is not between 0 and %v", MaxUnlock)
	}
	master, err := k.openMaster(ctx, passphrase)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		clear(master)
		return ErrClosed
	}
	k.lock()
	// Round takes the monotonic clock off, which stands still while the machine is suspended; the timer runs on it.
	k.master, k.until = master, k.now().Add(period).Round(0)
	k.timer = time.AfterFunc(period, func() { k.expire(master) })
	return nil
}

// CheckPassphrase says whether a passphrase is the one of the keyring. It waits and fails as Unlock does, and leaves the
// keyring locked or unlocked as it was.
func (k *Keyring) CheckPassphrase(ctx context.Context, passphrase []byte) error {
	master, err := k.openMaster(ctx, passphrase)
	clear(master)
	return err
}

// Lock forgets the master key. What Identities has returned before stays usable to whoever holds it.
func (k *Keyring) Lock() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lock()
}

// Unlocked says whether the private keys are available, and until when.
func (k *Keyring) Unlocked() (bool, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.unlocked() {
		return false, time.Time{}
	}
	return true, k.until
}

// HasPassphrase says whether SetPassphrase was called, at any time.
func (k *Keyring) HasPassphrase() (bool, error) {
	_, err := k.masterRecord()
	if errors.Is(err, ErrNoPassphrase) {
		return false, nil
	}
	return err == nil, err
}

// unlocked locks the keyring when its time is over. The caller holds mu.
func (k *Keyring) unlocked() bool {
	if k.master != nil && !k.now().Before(k.until) {
		k.lock()
	}
	return k.master != nil
}

// lock wipes the master key. The caller holds mu.
func (k *Keyring) lock() {
	clear(k.master)
	k.master, k.until = nil, time.Time{}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// expire locks the keyring unless another Unlock came in between. It runs on the monotonic clock, so that setting the
// calendar back does not prolong anything.
func (k *Keyring) expire(master []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.master != nil && &k.master[0] == &master[0] {
		k.lock()
	}
}

// openMaster tries one passphrase, after the wait that earlier wrong ones have earned.
func (k *Keyring) openMaster(ctx context.Context, passphrase []byte) ([]byte, error) {
	k.attempts.Lock()
	defer k.attempts.Unlock()
	if err := k.delay(ctx); err != nil {
		return nil, err
	}
	rec, err := k.masterRecord()
	if err != nil {
		return nil, err
	}
	var master []byte
	if err = checkPassphrase(passphrase); err == nil {
		master, err = rec.open(passphrase)
	}
	if err != nil {
		k.failures++
		k.lastFail = time.Now()
		return nil, ErrWrongPassphrase
	}
	k.failures = 0
	return master, nil
}

// delay waits until another passphrase may be tried. The caller holds attempts.
func (k *Keyring) delay(ctx context.Context) error {
	if k.failures == 0 {
		return ctx.Err()
	}
	wait := min(firstDelay<<min(k.failures-1, 10), lastDelay)
	timer := time.NewTimer(wait - time.Since(k.lastFail))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait after a wrong passphrase: %w", ctx.Err())
	}
}

// ErrShortPassphrase reports a new passphrase that is too short to protect private keys.
var ErrShortPassphrase = fmt.Errorf("a new passphrase has at least %d bytes", minPassphrase)

func checkNewPassphrase(passphrase []byte) error {
	if len(passphrase) < minPassphrase {
		return ErrShortPassphrase
	}
	return checkPassphrase(passphrase)
}

func checkPassphrase(passphrase []byte) error {
	if len(passphrase) == 0 || len(passphrase) > maxPassphrase {
		return fmt.Errorf("a passphrase has 1 to %d bytes", maxPassphrase)
	}
	return nil
}
