package daemon

import (
	"context"
	"log/slog"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Revocations keeps the revocation data of the certificates that this daemon judges.
type Revocations struct {
	Service *revocation.Service
	Cache   *cache.Cache
	Book    *recipients.Book
	// Mode and Required are the settings, for Status.
	Mode     string
	Required bool
	Log      *slog.Logger
}

// Refresh has every entry and contact of the cache judged, which tells what is needed, and fetches all of it. What fails is shown by
// Status and by the answers.
func (r *Revocations) Refresh(ctx context.Context) {
	if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
		r.Log.Warn("revocation data is not current", "error", err)
	}
}

func (r *Revocations) refresh(ctx context.Context) error {
	primaries, err := r.Cache.Primaries(ctx)
	if err != nil {
		return err
	}
	contacts, err := r.Cache.ContactAddresses(ctx)
	if err != nil {
		return err
	}
	primaries = append(primaries, contacts...)
	const batch = 100
	for len(primaries) > 0 {
		n := min(len(primaries), batch)
		asked := make([]string, n)
		for i, p := range primaries[:n] {
			asked[i] = string(p)
		}
		if _, err := r.Book.Lookup(ctx, asked); err != nil {
			return err
		}
		primaries = primaries[n:]
	}
	_, err = r.Service.Run(ctx, true)
	return err
}

// status describes the data for people and programs.
func (r *Revocations) status() (*service.RevocationStatus, error) {
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
