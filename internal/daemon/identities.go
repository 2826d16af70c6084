package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"maps"
	"slices"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/certfile"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/trust"
)

// Identities implements service.Keyring.
func (k Keyring) Identities(context.Context) (service.Identities, error) {
	list, err := k.Keys.Keyring.List()
	if err != nil {
		return service.Identities{}, keyringProblem("list the keyring", err)
	}
	described, err := k.describe(list, list)
	if err != nil {
		return service.Identities{}, keyringProblem("list the keyring", err)
	}
	waiting, err := k.Keys.Keyring.Requests()
	if err != nil {
		return service.Identities{}, keyringProblem("list the keyring", err)
	}
	out := service.Identities{Identities: described}
	for _, r := range waiting {
		out.Requests = append(out.Requests, describeRequest(r))
	}
	return out, nil
}

// describe shows some identities of the whole list.
func (k Keyring) describe(some, list []keyring.Info) ([]service.Identity, error) {
	preferences, err := k.Keys.Keyring.Preferences()
	if err != nil {
		return nil, err
	}
	out := make([]service.Identity, len(some))
	for i, info := range some {
		out[i] = service.Identity{Certificate: *recipients.Describe(info.Certificate), Added: info.Imported, SignsFor: []string{}, ChosenFor: []string{}}
		for _, a := range slices.Sorted(maps.Keys(preferences)) {
			if preferences[a].Identity == info.Fingerprint {
				out[i].ChosenFor = append(out[i].ChosenFor, string(a))
			}
		}
		for _, a := range k.signable(list, preferences) {
			if j := k.Keys.choose(list, preferences, []mailaddr.Address{a}); j >= 0 && list[j].Fingerprint == info.Fingerprint {
				out[i].SignsFor = append(out[i].SignsFor, string(a))
			}
		}
	}
	return out, nil
}

// signable are the addresses that certificates or preferences name.
func (k Keyring) signable(list []keyring.Info, preferences map[mailaddr.Address]keyring.Preferences) []mailaddr.Address {
	set := map[mailaddr.Address]bool{}
	for _, info := range list {
		for _, a := range trust.CertificateAddresses(info.Certificate) {
			set[a] = true
		}
	}
	for a := range preferences {
		if a != "" {
			set[a] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func describeRequest(r keyring.Request) service.IdentityRequest {
	out := service.IdentityRequest{
		ID: hex.EncodeToString(r.ID[:]), Subject: r.CSR.Subject.String(), Addresses: []string{}, Created: r.Created, CSR: r.CSR.Raw,
		Key: trust.KeyName(&x509.Certificate{PublicKey: r.CSR.PublicKey, PublicKeyAlgorithm: r.CSR.PublicKeyAlgorithm}),
	}
	out.Addresses = append(out.Addresses, r.CSR.EmailAddresses...)
	return out
}

// find returns one identity of the list.
func (k Keyring) find(fingerprint [sha256.Size]byte) (keyring.Info, service.Identity, error) {
	list, err := k.Keys.Keyring.List()
	if err != nil {
		return keyring.Info{}, service.Identity{}, err
	}
	i := slices.IndexFunc(list, func(info keyring.Info) bool { return info.Fingerprint == fingerprint })
	if i < 0 {
		return keyring.Info{}, service.Identity{}, keyring.ErrNoIdentity
	}
	described, err := k.describe(list[i:i+1], list)
	if err != nil {
		return keyring.Info{}, service.Identity{}, err
	}
	return list[i], described[0], nil
}

// Identity implements service.Keyring.
func (k Keyring) Identity(_ context.Context, fingerprint [32]byte) (service.Identity, service.PublicHalf, error) {
	info, described, err := k.find(fingerprint)
	if err != nil {
		return service.Identity{}, service.PublicHalf{}, keyringProblem("show the identity", err)
	}
	certs := append([]*x509.Certificate{info.Certificate}, info.Chain...)
	public := service.PublicHalf{PKCS7: cms.MarshalCertificates(certs)}
	for _, c := range certs {
		public.Chain = append(public.Chain, c.Raw)
	}
	return described, public, nil
}

// Import implements service.Keyring. A keyring that was locked is locked again afterwards.
func (k Keyring) Import(ctx context.Context, file []byte, passphrase, keyringPassphrase service.Secret) (service.Imported, error) {
	const attempt = "import the identity"
	lock, err := k.open(ctx, keyringPassphrase)
	if err != nil {
		return service.Imported{}, keyringProblem(attempt, err)
	}
	defer lock()
	list, err := k.add(file, passphrase)
	if err != nil {
		if err = keyringProblem(attempt, err); !isProblem(err) {
			err = service.NewProblem(service.CodeBadIdentity, attempt+": "+detail(err), "")
		}
		return service.Imported{}, err
	}
	all, err := k.Keys.Keyring.List()
	if err != nil {
		return service.Imported{}, keyringProblem(attempt, err)
	}
	out := service.Imported{}
	if out.Identities, err = k.describe(list, all); err != nil {
		return service.Imported{}, keyringProblem(attempt, err)
	}
	for _, info := range list {
		if !info.Updated {
			out.Added++
		}
	}
	return out, nil
}

// add imports a PFX file, PEM with a key and its certificates, or the certificates of keys that are there.
func (k Keyring) add(file []byte, passphrase service.Secret) ([]keyring.Info, error) {
	if bytes.Contains(file, []byte("-----BEGIN ")) && bytes.Contains(file, []byte("PRIVATE KEY-----")) {
		return k.Keys.Keyring.ImportPEM(file, string(passphrase))
	}
	switch f, err := certfile.Parse(file); {
	case err == nil && f.Format != certfile.VCard:
		return k.Keys.Keyring.ImportCertificates(f.Certificates)
	case errors.Is(err, certfile.ErrTooLarge), certfile.Detect(file[:min(len(file), 512)]) == certfile.PEM:
		return nil, err
	}
	return k.Keys.Keyring.Import(file, string(passphrase))
}

// open unlocks the keyring for one piece of work and returns what locks it again, if it was locked; a new keyring gets the
// passphrase. One that is given although it is not needed must be the right one all the same.
func (k Keyring) open(ctx context.Context, passphrase service.Secret) (lock func(), err error) {
	if unlocked, _ := k.Keys.Keyring.Unlocked(); unlocked {
		if len(passphrase) == 0 {
			return func() {}, nil
		}
		return func() {}, k.Keys.Keyring.CheckPassphrase(ctx, passphrase)
	}
	exists, err := k.Keys.Keyring.HasPassphrase()
	if err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		if exists && k.Keys.openByConfiguration(ctx) {
			return func() {}, nil
		}
		return nil, keyring.ErrLocked
	}
	if !exists {
		if err := k.Keys.Keyring.SetPassphrase(passphrase); err != nil {
			return nil, err
		}
	}
	if err := k.Keys.Keyring.Unlock(ctx, passphrase, workTime); err != nil {
		return nil, err
	}
	return k.Keys.Keyring.Lock, nil
}

// Export implements service.Keyring.
func (k Keyring) Export(ctx context.Context, fingerprint [32]byte, passphrase, keyringPassphrase service.Secret) ([]byte, error) {
	const attempt = "export the identity"
	pfx, err := k.Keys.Keyring.Export(ctx, fingerprint, string(passphrase), keyringPassphrase)
	return pfx, keyringProblem(attempt, err)
}

// Remove implements service.Keyring.
func (k Keyring) Remove(_ context.Context, fingerprint [32]byte) (service.Identity, error) {
	const attempt = "remove the identity"
	_, described, err := k.find(fingerprint)
	if err == nil {
		_, err = k.Keys.Keyring.RemoveIdentity(fingerprint)
	}
	return described, keyringProblem(attempt, err)
}

// Request implements service.Keyring. A keyring that was locked is locked again afterwards.
func (k Keyring) Request(ctx context.Context, r service.NewKeyRequest) (service.IdentityRequest, error) {
	const attempt = "request a certificate"
	o := keyring.RequestOptions{Name: r.Name, Key: keyring.KeyKind(r.Key)}
	for _, text := range r.Addresses {
		a, err := mailaddr.Parse(text)
		if err != nil {
			return service.IdentityRequest{}, service.NewProblem(service.CodeBadRequest, attempt+": "+err.Error(), "")
		}
		o.Addresses = append(o.Addresses, a)
	}
	lock, err := k.open(ctx, r.KeyringPassphrase)
	if err != nil {
		return service.IdentityRequest{}, keyringProblem(attempt, err)
	}
	defer lock()
	made, err := k.Keys.Keyring.NewRequest(o)
	if err != nil {
		if err = keyringProblem(attempt, err); !isProblem(err) {
			err = service.NewProblem(service.CodeBadRequest, attempt+": "+detail(err), "")
		}
		return service.IdentityRequest{}, err
	}
	return describeRequest(made), nil
}

// RemoveRequest implements service.Keyring.
func (k Keyring) RemoveRequest(_ context.Context, id [32]byte) error {
	const attempt = "remove the request"
	there, err := k.Keys.Keyring.RemoveRequest(id)
	if err == nil && !there {
		return service.NewProblem(service.CodeNotFound, attempt+": no key that waits for its certificate has this fingerprint", "galsyncd identity list")
	}
	return keyringProblem(attempt, err)
}
