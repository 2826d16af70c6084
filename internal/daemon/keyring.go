package daemon

import (
	"context"
	"errors"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Keyring is the keyring as the service asks for it. It implements service.Keyring.
type Keyring struct{ Keys *Keys }

// workTime is how long a keyring is open for one piece of work at most.
const workTime = time.Minute

// Status implements service.Keyring.
func (k Keyring) Status(context.Context) (service.KeyringStatus, error) {
	exists, err := k.Keys.Keyring.HasPassphrase()
	if err != nil {
		return service.KeyringStatus{}, keyringProblem("look into the keyring", err)
	}
	list, err := k.Keys.Keyring.List()
	if err != nil {
		return service.KeyringStatus{}, keyringProblem("list the keyring", err)
	}
	waiting, err := k.Keys.Keyring.Requests()
	if err != nil {
		return service.KeyringStatus{}, keyringProblem("list the keyring", err)
	}
	s := service.KeyringStatus{Exists: exists, Identities: len(list), Requests: len(waiting), Warnings: expiryWarnings(list, k.Keys.Now())}
	s.Warnings = append(s.Warnings, k.Keys.passphraseWarnings()...)
	s.Unlocked, s.Until = k.Keys.Keyring.Unlocked()
	return s, nil
}

// ChangePassphrase implements service.Keyring.
func (k Keyring) ChangePassphrase(ctx context.Context, old, new service.Secret) error {
	err := k.Keys.Keyring.ChangePassphrase(ctx, old, new)
	if err == nil {
		k.Keys.unfit.Store(false) // it may fit now; the next try tells
	}
	return keyringProblem("change the passphrase", err)
}

// Backup implements service.Keyring.
func (k Keyring) Backup(context.Context) ([]byte, error) {
	data, err := k.Keys.Keyring.Backup()
	return data, keyringProblem("copy the keyring", err)
}

// Unlock implements service.Keyring.
func (k Keyring) Unlock(ctx context.Context, passphrase service.Secret, period time.Duration) error {
	if period == 0 {
		period = k.Keys.period()
	}
	if period > keyring.MaxUnlock {
		return service.NewProblem(service.CodeBadRequest, "unlock the keyring: for longer than "+keyring.MaxUnlock.String(), "")
	}
	err := k.Keys.Keyring.Unlock(ctx, passphrase, period)
	if err == nil {
		k.Keys.manual(true)
	}
	return keyringProblem("unlock the keyring", err)
}

func isProblem(err error) bool {
	_, ok := errors.AsType[*service.Problem](err)
	return ok
}

// Lock implements service.Keyring. The passphrase of the configuration then opens nothing any more, until Unlock or a
// restart.
func (k Keyring) Lock(context.Context) error {
	k.Keys.Keyring.Lock()
	k.Keys.manual(false)
	return nil
}

const hintKeyringRoom = "make room on the disk, and try again; nothing was changed"

// keyringProblem says what a caller may know about a keyring that did not do its work.
func keyringProblem(attempt string, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []struct {
		err  error
		code service.Code
		hint string
	}{
		{keyring.ErrLocked, service.CodeKeyringLocked, "galsyncd unlock"},
		{keyring.ErrNoPassphrase, service.CodeKeyringLocked, "import an identity first: galsyncd identity import"},
		{keyring.ErrWrongPassphrase, service.CodeWrongPassphrase, ""},
		{keyring.ErrPFXPassphrase, service.CodeWrongPassphrase, ""},
		{keyring.ErrShortPassphrase, service.CodeBadRequest, "choose a longer one"},
		{keyring.ErrDamaged, service.CodeKeyringDamaged, "restore a copy; galsyncd does not touch the file"},
		{keyring.ErrInUse, service.CodeKeyringUnavailable, "end the other process"},
		{keyring.ErrNewerSchema, service.CodeKeyringUnavailable, "install the newer galsyncd again"},
		{keyring.ErrExposed, service.CodeKeyringUnavailable, "chmod 700 the folder and 600 the file"},
		{syscall.ENOSPC, service.CodeKeyringUnavailable, hintKeyringRoom},
		{syscall.EDQUOT, service.CodeKeyringUnavailable, hintKeyringRoom},
		{syscall.EROFS, service.CodeKeyringUnavailable, "nothing can be written there"},
		{keyring.ErrKeyMismatch, service.CodeBadIdentity, ""},
		{keyring.ErrNoKey, service.CodeBadIdentity, "its key is elsewhere: import that as PFX or PEM, or ask for a certificate with galsyncd identity request"},
		{keyring.ErrNoIdentity, service.CodeNotFound, "galsyncd identity list"},
	} {
		if errors.Is(err, known.err) {
			return service.NewProblem(known.code, attempt+": "+detail(err), known.hint)
		}
	}
	return err
}

// NoKeyring stands for a keyring that could not be opened: it answers every request with the reason. It implements
// service.Keyring, service.Decrypter and service.Signer.
type NoKeyring struct{ Err error }

// WithoutKeyring answers look-ups with the warning that what is installed in the keyring did not count. It implements
// service.Recipients.
type WithoutKeyring struct{ service.Recipients }

// Lookup implements service.Recipients.
func (w WithoutKeyring) Lookup(ctx context.Context, addresses []string) (recipients.Result, error) {
	result, err := w.Recipients.Lookup(ctx, addresses)
	for i := range result.Recipients {
		a := &result.Recipients[i]
		a.Warnings = append(slices.Clip(a.Warnings), "the keyring cannot be used, so no certificate installed there counted: galsyncd status says why")
	}
	return result, err
}

// Status implements service.Keyring.
func (n NoKeyring) Status(context.Context) (service.KeyringStatus, error) {
	return service.KeyringStatus{}, n.problem("look into the keyring")
}

// Identities implements service.Keyring.
func (n NoKeyring) Identities(context.Context) (service.Identities, error) {
	return service.Identities{}, n.problem("list the keyring")
}

// Identity implements service.Keyring.
func (n NoKeyring) Identity(context.Context, [32]byte) (service.Identity, service.PublicHalf, error) {
	return service.Identity{}, service.PublicHalf{}, n.problem("show the identity")
}

// Import implements service.Keyring.
func (n NoKeyring) Import(context.Context, []byte, service.Secret, service.Secret) (service.Imported, error) {
	return service.Imported{}, n.problem("import the identity")
}

// Export implements service.Keyring.
func (n NoKeyring) Export(context.Context, [32]byte, service.Secret, service.Secret) ([]byte, error) {
	return nil, n.problem("export the identity")
}

// Remove implements service.Keyring.
func (n NoKeyring) Remove(context.Context, [32]byte) (service.Identity, error) {
	return service.Identity{}, n.problem("remove the identity")
}

// Request implements service.Keyring.
func (n NoKeyring) Request(context.Context, service.NewKeyRequest) (service.IdentityRequest, error) {
	return service.IdentityRequest{}, n.problem("request a certificate")
}

// RemoveRequest implements service.Keyring.
func (n NoKeyring) RemoveRequest(context.Context, [32]byte) error {
	return n.problem("remove the request")
}

// Preferences implements service.Keyring.
func (n NoKeyring) Preferences(context.Context) ([]service.AddressPreferences, error) {
	return nil, n.problem("list the preferences")
}

// SetPreferences implements service.Keyring.
func (n NoKeyring) SetPreferences(context.Context, service.AddressPreferences) error {
	return n.problem("set the preferences")
}

// ChangePassphrase implements service.Keyring.
func (n NoKeyring) ChangePassphrase(context.Context, service.Secret, service.Secret) error {
	return n.problem("change the passphrase")
}

// Backup implements service.Keyring.
func (n NoKeyring) Backup(context.Context) ([]byte, error) {
	return nil, n.problem("copy the keyring")
}

// Unlock implements service.Keyring.
func (n NoKeyring) Unlock(context.Context, service.Secret, time.Duration) error {
	return n.problem("unlock the keyring")
}

// Lock implements service.Keyring: there is nothing to forget.
func (NoKeyring) Lock(context.Context) error { return nil }

// Decrypt implements service.Decrypter.
func (n NoKeyring) Decrypt(context.Context, io.Reader, service.DecryptOptions, func(service.Decrypted) (io.Writer, error)) error {
	return n.problem("open the private keys")
}

// Sign implements service.Signer.
func (n NoKeyring) Sign(context.Context, io.Reader, io.Writer, service.SignOptions) error {
	return n.problem("sign the mail")
}

func (n NoKeyring) problem(attempt string) error {
	if err := keyringProblem(attempt, n.Err); isProblem(err) {
		return err
	}
	return service.NewProblem(service.CodeKeyringUnavailable, attempt+": "+n.Err.Error(), "")
}
