package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Keyring is the keyring as the service asks for it. It implements service.Keyring.
type Keyring struct{ Keyring *keyring.Keyring }

// Status implements service.Keyring.
func (k Keyring) Status(context.Context) (service.KeyringStatus, error) {
	exists, err := k.Keyring.HasPassphrase()
	if err != nil {
		return service.KeyringStatus{}, keyringProblem("look into the keyring", err)
	}
	list, err := k.Keyring.List()
	if err != nil {
		return service.KeyringStatus{}, keyringProblem("list the keyring", err)
	}
	s := service.KeyringStatus{Exists: exists, Identities: len(list)}
	s.Unlocked, s.Until = k.Keyring.Unlocked()
	return s, nil
}

// Identities implements service.Keyring.
func (k Keyring) Identities(context.Context) ([]service.Identity, error) {
	list, err := k.Keyring.List()
	if err != nil {
		return nil, keyringProblem("list the keyring", err)
	}
	return identities(list), nil
}

func identities(list []keyring.Info) []service.Identity {
	out := make([]service.Identity, len(list))
	for i, info := range list {
		out[i] = service.Identity{Certificate: *recipients.Describe(info.Certificate), Added: info.Imported}
	}
	return out
}

// Import implements service.Keyring. A keyring that was locked is locked again afterwards.
func (k Keyring) Import(ctx context.Context, file []byte, passphrase, keyringPassphrase service.Secret) (service.Imported, error) {
	const attempt = "import the identity"
	if unlocked, _ := k.Keyring.Unlocked(); !unlocked {
		if err := k.open(ctx, keyringPassphrase); err != nil {
			return service.Imported{}, keyringProblem(attempt, err)
		}
		defer k.Keyring.Lock()
	}
	list, err := k.add(file, passphrase)
	if err != nil {
		if err = keyringProblem(attempt, err); !isProblem(err) {
			err = service.NewProblem(service.CodeBadIdentity, attempt+": "+detail(err), "")
		}
		return service.Imported{}, err
	}
	out := service.Imported{Identities: identities(list)}
	for _, info := range list {
		if !info.Updated {
			out.Added++
		}
	}
	return out, nil
}

// add imports a PFX file, or PEM with an unencrypted key and its certificates.
func (k Keyring) add(file []byte, passphrase service.Secret) ([]keyring.Info, error) {
	if bytes.Contains(file, []byte("-----BEGIN ")) {
		return k.Keyring.ImportPEM(file)
	}
	return k.Keyring.Import(file, string(passphrase))
}

// open unlocks the keyring for one piece of work; a new keyring gets the passphrase.
func (k Keyring) open(ctx context.Context, passphrase service.Secret) error {
	exists, err := k.Keyring.HasPassphrase()
	if err != nil {
		return err
	}
	if len(passphrase) == 0 {
		return keyring.ErrLocked
	}
	if !exists {
		if err := k.Keyring.SetPassphrase(passphrase); err != nil {
			return err
		}
	}
	return k.Keyring.Unlock(ctx, passphrase, time.Minute)
}

// unlocked returns the identities with their keys. A keyring in which nothing ever was is not called locked.
func unlocked(k *keyring.Keyring) ([]keyring.Identity, error) {
	own, err := k.Identities()
	if exists, existsErr := k.HasPassphrase(); errors.Is(err, keyring.ErrLocked) && existsErr == nil && !exists {
		return nil, keyring.ErrNoPassphrase
	}
	return own, err
}

// Unlock implements service.Keyring.
func (k Keyring) Unlock(ctx context.Context, passphrase service.Secret, period time.Duration) error {
	if period == 0 {
		period = keyring.MaxUnlock
	}
	if period > keyring.MaxUnlock {
		return service.NewProblem(service.CodeBadRequest, "unlock the keyring: for longer than "+keyring.MaxUnlock.String(), "")
	}
	return keyringProblem("unlock the keyring", k.Keyring.Unlock(ctx, passphrase, period))
}

func isProblem(err error) bool {
	_, ok := errors.AsType[*service.Problem](err)
	return ok
}

// Lock implements service.Keyring.
func (k Keyring) Lock(context.Context) error {
	k.Keyring.Lock()
	return nil
}

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
		{keyring.ErrDamaged, service.CodeKeyringDamaged, "restore a copy; galsyncd does not touch the file"},
		{keyring.ErrInUse, service.CodeKeyringUnavailable, "end the other process"},
		{keyring.ErrNewerSchema, service.CodeKeyringUnavailable, "install the newer galsyncd again"},
		{keyring.ErrExposed, service.CodeKeyringUnavailable, "chmod 700 the folder and 600 the file"},
		{keyring.ErrKeyMismatch, service.CodeBadIdentity, ""},
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

// Status implements service.Keyring.
func (n NoKeyring) Status(context.Context) (service.KeyringStatus, error) {
	return service.KeyringStatus{}, n.problem("look into the keyring")
}

// Identities implements service.Keyring.
func (n NoKeyring) Identities(context.Context) ([]service.Identity, error) {
	return nil, n.problem("list the keyring")
}

// Import implements service.Keyring.
func (n NoKeyring) Import(context.Context, []byte, service.Secret, service.Secret) (service.Imported, error) {
	return service.Imported{}, n.problem("import the identity")
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
