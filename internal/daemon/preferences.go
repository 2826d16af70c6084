package daemon

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/smime"
)

// Preferences implements service.Keyring.
func (k Keyring) Preferences(context.Context) ([]service.AddressPreferences, error) {
	all, err := k.Keys.Keyring.Preferences()
	if err != nil {
		return nil, keyringProblem("list the preferences", err)
	}
	var list []service.AddressPreferences
	for _, a := range slices.Sorted(maps.Keys(all)) {
		p := all[a]
		out := service.AddressPreferences{Address: string(a), Preferences: service.Preferences{Sign: p.Sign, Encrypt: p.Encrypt, ToSelf: p.ToSelf, ProtectHeaders: p.ProtectHeaders}}
		if p.Identity != ([32]byte{}) {
			out.Identity = hex.EncodeToString(p.Identity[:])
		}
		list = append(list, out)
	}
	return list, nil
}

// SetPreferences implements service.Keyring. An identity has to be one of the keyring.
func (k Keyring) SetPreferences(_ context.Context, p service.AddressPreferences) error {
	const attempt = "set the preferences"
	to := keyring.Preferences{Sign: p.Sign, Encrypt: p.Encrypt, ToSelf: p.ToSelf, ProtectHeaders: p.ProtectHeaders}
	if p.Identity != "" {
		fingerprint, err := hex.DecodeString(strings.ReplaceAll(p.Identity, ":", ""))
		if err != nil || len(fingerprint) != len(to.Identity) {
			return service.NewProblem(service.CodeBadRequest, attempt+": an identity is named by its SHA-256 fingerprint: 64 hex digits", "galsyncd identity list")
		}
		to.Identity = [32]byte(fingerprint)
		if _, _, err := k.find(to.Identity); err != nil {
			return keyringProblem(attempt, err)
		}
	}
	return keyringProblem(attempt, k.Keys.Keyring.SetPreferences(mailaddr.Address(p.Address), to))
}

// decide applies the preferences of the From address where the caller did not say what he wants.
func (e Encrypter) decide(ctx context.Context, o service.EncryptOptions) func([]mailaddr.Address, *smime.EncryptOptions) error {
	return func(from []mailaddr.Address, opts *smime.EncryptOptions) error {
		var address mailaddr.Address
		if len(from) > 0 {
			address = from[0]
		}
		p, err := e.Signer.Keys.Keyring.PreferencesFor(address)
		if err != nil {
			return keyringProblem("read the preferences", err)
		}
		if yes(cmp.Or(o.Sign, p.Sign)) || o.Sign == nil && o.Identity != "" { // who names a key wants it used
			opts.Sign = e.Signer.options(ctx, service.SignOptions{Identity: o.Identity})
		}
		if yes(cmp.Or(o.ToSelf, p.ToSelf)) {
			opts.ToSelf = e.Signer.ownCertificates
		}
		opts.ProtectHeaders = yes(cmp.Or(o.ProtectHeaders, p.ProtectHeaders))
		return nil
	}
}

func yes(choice *bool) bool { return choice != nil && *choice }
