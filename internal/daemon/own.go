package daemon

import (
	"context"
	"sync/atomic"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/trust"
)

// Own offers the certificates of the user's own identities for the addresses that they name, so that one can write to
// oneself. Who holds the private key needs nobody's word for it, but a usable certificate of the address book goes first.
// It implements recipients.Extra.
type Own struct {
	Keyring *keyring.Keyring

	known atomic.Pointer[ownOffers]
}

// ownOffers are the offers as of a version of the keyring.
type ownOffers struct {
	version uint64
	offers  map[mailaddr.Address][]recipients.Offer
}

// Offers implements recipients.Extra.
func (o *Own) Offers(_ context.Context, address mailaddr.Address) ([]recipients.Offer, error) {
	version := o.Keyring.Version()
	if known := o.known.Load(); known != nil && known.version == version {
		return known.offers[address], nil
	}
	list, err := o.Keyring.List()
	if err != nil {
		return nil, err
	}
	made := &ownOffers{version: version, offers: make(map[mailaddr.Address][]recipients.Offer)}
	for _, id := range list {
		offer := recipients.Offer{Source: recipients.Installed, Raw: id.Certificate.Raw, Name: id.Certificate.Subject.CommonName, Vouched: true}
		for _, c := range id.Chain {
			offer.Intermediates = append(offer.Intermediates, c.Raw)
		}
		for _, a := range trust.CertificateAddresses(id.Certificate) {
			made.offers[a] = append(made.offers[a], offer)
		}
	}
	o.known.Store(made)
	return made.offers[address], nil
}
