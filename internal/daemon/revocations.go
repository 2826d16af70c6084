package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/aia"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/trust"
)

// Revocations keeps the revocation data of the certificates that this daemon judges, and the certificates of authorities
// that their chains lack.
type Revocations struct {
	// Service is nil when revocation is not checked.
	Service *revocation.Service
	// Issuers fetches certificates of authorities; nil when that is switched off.
	Issuers *aia.Service
	Cache   *cache.Cache
	Book    *recipients.Book
	// Keyring holds installed certificates and identities; nil without one.
	Keyring *keyring.Keyring
	// Mode and Required are the settings, for Status.
	Mode     string
	Required bool
	Log      *slog.Logger
}

// Refresh has everything judged, which tells what is needed, and fetches all of it. What fails is shown by Status and by
// the answers.
func (r *Revocations) Refresh(ctx context.Context) {
	r.Judge(ctx, true)
	if r.Issuers != nil {
		n, err := r.Issuers.Run(ctx, true)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("certificates of authorities are not kept", "error", err)
		}
		if n > 0 { // there are more chains now, about which more is asked
			r.Judge(ctx, true)
		}
	}
	if r.Service == nil {
		return
	}
	if _, err := r.Service.Run(ctx, true); err != nil && ctx.Err() == nil {
		r.Log.Warn("revocation data is not current", "error", err)
	}
}

// Judge asks about every contact, every installed certificate and every identity, and every entry of the cache if that is
// wished, so that what is needed about them is fetched when it is due.
func (r *Revocations) Judge(ctx context.Context, entries bool) {
	if err := r.judge(ctx, entries); err != nil && ctx.Err() == nil {
		r.Log.Warn("not all certificates are asked about", "error", err)
	}
}

// soon has what is needed about the certificates of these addresses fetched now. The receiver may be nil.
func (r *Revocations) soon(ctx context.Context, addresses []string) {
	if r == nil || r.Service == nil || len(addresses) == 0 {
		return
	}
	if _, err := r.Book.Lookup(ctx, addresses); err != nil { // the answer says what is needed
		r.Log.WarnContext(ctx, "revocation data of a new certificate is fetched later", "error", err)
	}
	r.Service.Soon()
}

func (r *Revocations) judge(ctx context.Context, entries bool) error {
	addresses, err := r.addresses(ctx, entries)
	if err != nil {
		return err
	}
	const batch = 100
	for len(addresses) > 0 {
		n := min(len(addresses), batch)
		if _, err := r.Book.Lookup(ctx, addresses[:n]); err != nil {
			return err
		}
		addresses = addresses[n:]
	}
	_, err = r.revokedIdentities()
	return err
}

func (r *Revocations) addresses(ctx context.Context, entries bool) (all []string, err error) {
	known, err := r.Cache.ContactAddresses(ctx)
	if err != nil {
		return nil, err
	}
	if entries {
		primaries, err := r.Cache.Primaries(ctx)
		if err != nil {
			return nil, err
		}
		known = append(primaries, known...)
	}
	for _, a := range known {
		all = append(all, string(a))
	}
	if r.Keyring == nil {
		return all, nil
	}
	installed, err := r.Keyring.Installed()
	for _, in := range installed {
		for _, a := range in.Addresses {
			all = append(all, string(a.Address))
		}
	}
	return all, err
}

// revokedIdentities warns of the owner's own certificates that are known to be revoked.
func (r *Revocations) revokedIdentities() (warnings []string, err error) {
	if r.Keyring == nil || r.Book.Policy == nil {
		return nil, nil
	}
	own, err := r.Keyring.List()
	for _, id := range own {
		known := r.Book.Policy.Revocation(id.Certificate, trust.Question{Intermediates: id.Chain, Now: time.Now()})
		if known.Status == trust.StatusRevoked {
			warnings = append(warnings, fmt.Sprintf("your own certificate %s (serial number %x) is %s: ask for a new one", id.Certificate.Subject, id.Certificate.SerialNumber, known.Text()))
		}
	}
	return warnings, err
}

// issuersStatus says how the certificates of authorities are; nil when none are fetched.
func (r *Revocations) issuersStatus() *service.IssuersStatus {
	if r.Issuers == nil {
		return nil
	}
	sum := r.Issuers.Summary()
	out := &service.IssuersStatus{Kept: sum.Kept, Waiting: sum.Waiting, Failing: sum.Failing, Failures: []service.IssuerFailure{}}
	for _, t := range sum.Troubles {
		out.Failures = append(out.Failures, service.IssuerFailure(t))
	}
	return out
}

// status describes the data for people and programs; nil when revocation is not checked.
func (r *Revocations) status() (*service.RevocationStatus, error) {
	if r.Service == nil {
		return nil, nil
	}
	sum, err := r.Service.Summary()
	if err != nil {
		return nil, err
	}
	out := &service.RevocationStatus{
		Mode: r.Mode, Required: r.Required, Lists: sum.Lists, CurrentLists: sum.CurrentLists, Answers: sum.Answers,
		CurrentAnswers: sum.CurrentAnswers, Revoked: sum.Revoked, Oldest: sum.Oldest, NextEnd: sum.NextEnd, Failing: sum.Failing,
		LeftOut: sum.Dropped, Failures: []service.RevocationFailure{},
	}
	for _, t := range sum.Troubles {
		out.Failures = append(out.Failures, service.RevocationFailure{URL: t.URL, Issuer: t.Issuer, Error: t.Error, Hint: t.Hint, Tried: t.Tried, Holds: t.Holds})
	}
	return out, nil
}
