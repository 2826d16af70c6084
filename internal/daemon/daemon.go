// Package daemon ties the rooms of galsyncd together: it gives internal/service what it asks for, made of the cache, the
// schedule, the source, the recipients and the keyring. Every adapter is thin; decisions are made in the rooms.
package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Directory is the cache as the service and the recipients ask for it, with what other sources offer.
type Directory struct {
	*cache.Cache
	// Contacts are the personal contacts of the cache; nil when nobody wants them.
	Contacts *Contacts
	// Extra are further sources.
	Extra []recipients.Extra
}

// Freshness implements recipients.Directory.
func (d Directory) Freshness(ctx context.Context) (recipients.Freshness, error) {
	h, _, _, err := d.History(ctx)
	return recipients.Freshness{Completed: h.Finished, Walked: h.Walked}, problem(err)
}

// LastSuccess is when the last complete run began; zero when there never was one.
func (d Directory) LastSuccess(ctx context.Context) (time.Time, error) {
	h, _, _, err := d.History(ctx)
	return h.Finished, problem(err)
}

// Certificate implements service.Directory.
func (d Directory) Certificate(ctx context.Context, sum [32]byte) ([]byte, []directory.Address, error) {
	der, owners, err := d.Cache.Certificate(ctx, sum)
	if errors.Is(err, cache.ErrNotFound) {
		der, owners, err = d.Contacts.certificate(ctx, sum)
	}
	return der, owners, problem(err)
}

// Fingerprints implements service.Directory.
func (d Directory) Fingerprints(ctx context.Context, beginning string, limit int) ([][32]byte, error) {
	found, err := d.Cache.Fingerprints(ctx, beginning, limit)
	if err != nil {
		return nil, problem(err)
	}
	more, err := d.Contacts.fingerprints(ctx, beginning, limit)
	return append(found, more...), problem(err)
}

// Lookup implements recipients.Directory and service.Directory.
func (d Directory) Lookup(ctx context.Context, address mailaddr.Address) (recipients.Found, error) {
	sightings, err := d.Cache.Lookup(ctx, address)
	if err != nil {
		return recipients.Found{}, problem(err)
	}
	offers, err := offersOf(ctx, append([]recipients.Extra{d.Contacts}, d.Extra...), address)
	return recipients.Found{Sightings: sightings, Offers: offers}, problem(err)
}

// offersOf asks all extra sources.
func offersOf(ctx context.Context, extra []recipients.Extra, address mailaddr.Address) (all []recipients.Offer, err error) {
	for _, source := range extra {
		offers, err := source.Offers(ctx, address)
		if err != nil {
			return nil, err
		}
		all = append(all, offers...)
	}
	return all, nil
}

// Search implements service.Directory.
func (d Directory) Search(ctx context.Context, text string, limit int) ([]directory.Entry, error) {
	found, err := d.Cache.Search(ctx, text, limit)
	if err != nil {
		return nil, problem(err)
	}
	found, err = d.Contacts.search(ctx, text, limit, found)
	return found, problem(err)
}

// problem makes of an error what a caller of the service may be told about it.
func problem(err error) error {
	if errors.Is(err, cache.ErrDamaged) {
		return service.NewProblem(service.CodeCacheDamaged, "the copy of the address book on disk is damaged",
			"restart galsyncd: it sets the file aside and fetches the address book again")
	}
	return err
}
