package installed

import (
	"context"
	"errors"
	"slices"

	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/smime"
)

// Signer says what installing from a verified mail would do; nil for a mail without a signer's certificate.
func (i *Installer) Signer(ctx context.Context, v *smime.Verification) (*smime.Install, error) {
	m := i.fromMail(v)
	if len(m.people) == 0 {
		return nil, nil
	}
	out := &smime.Install{Action: "install", Certificates: []string{}, Addresses: []mailaddr.Address{}, Reasons: []string{}}
	there, used, own := 0, 0, 0
	for _, c := range m.people {
		item, err := i.item(ctx, m, c, Options{})
		if err != nil {
			return nil, err
		}
		addItem(out, item)
		if inUse(item) {
			used++
		}
		if item.remarked(CodeOwn) {
			own++
		}
		if _, err := i.Shelf.Store.InstalledCertificate(fingerprint(c)); err == nil {
			there++
		} else if !errors.Is(err, keyring.ErrNotInstalled) {
			return nil, err
		}
	}
	out.Used, out.Own = used == len(m.people), own == len(m.people)
	switch {
	case there == len(m.people):
		out.Action = "remove"
	case out.Own:
		out.Action, out.Reasons = "", append(out.Reasons, "it is your own")
	case len(out.Reasons) > 0:
		out.Action = ""
	}
	return out, nil
}

// inUse reports whether mail is encrypted to a certificate without its being installed, for every address.
func inUse(item *Item) bool {
	count := 0
	for _, r := range item.Unusual {
		if r.Code == CodeInUse {
			count++
		}
	}
	return count > 0 && count == len(item.For)
}

func addItem(out *smime.Install, item *Item) {
	out.Certificates = append(out.Certificates, item.SHA256)
	for _, a := range item.For {
		if !slices.Contains(out.Addresses, a) {
			out.Addresses = append(out.Addresses, a)
		}
	}
	out.Encryption = out.Encryption || slices.Contains(item.Uses, Encryption)
	for _, r := range item.Unusual {
		out.Renewal = out.Renewal || r.Code == CodeRenewal
	}
	for _, o := range item.Obstacles {
		if !slices.Contains(out.Reasons, o.Text) {
			out.Reasons = append(out.Reasons, o.Text)
		}
	}
}
