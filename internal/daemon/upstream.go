package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Upstream takes directory data from the system's daemon: candidates only, never its verdicts. What the user's own cache
// holds answers while that daemon does not.
type Upstream struct {
	Client *client.Client
	// Own is the own cache. Its contacts count beside what the system's daemon has; its Extra is empty.
	Own Directory
	// Extra are the user's own sources. What the system's daemon offers is added to them.
	Extra []recipients.Extra
	// AcceptInstalled takes an administrator's word for certificates installed for everyone, in place of a chain.
	AcceptInstalled bool
	// Syncs says that the user's own cache is kept fresh, too, and not only left from another time.
	Syncs bool
	// Optional says that there need not be a system's daemon: where its socket does not exist, there is no address book, and
	// the user's own sources answer alone.
	Optional bool

	mu   sync.Mutex
	last recipients.Freshness // of the data, as an answer of the system's daemon said
	// answered: there was an answer, so that this machine has a system's daemon.
	answered bool
}

// Lookup implements recipients.Directory and service.Directory.
func (u *Upstream) Lookup(ctx context.Context, address mailaddr.Address) (recipients.Found, error) {
	found, err := u.candidates(ctx, address)
	if err != nil {
		return recipients.Found{}, err
	}
	own, err := offersOf(ctx, u.Extra, address)
	found.Offers = append(found.Offers, own...)
	return found, err
}

func (u *Upstream) candidates(ctx context.Context, address mailaddr.Address) (recipients.Found, error) {
	answer, err := u.Client.Directory(ctx, string(address))
	if u.nobodyThere(err) {
		return u.Own.Lookup(ctx, address)
	}
	if err != nil {
		return fallback(u, ctx, err, func() (recipients.Found, error) { return u.Own.Lookup(ctx, address) })
	}
	u.remember(answer.LastSuccess, answer.LastWalk)
	var found recipients.Found
	for _, a := range answer.Addresses {
		for _, s := range a.Sightings {
			found.Sightings = append(found.Sightings, directory.Sighting{Entry: entry(s.Entry), Seen: s.Seen, Claimed: s.Claimed, Members: members(s.Members)})
		}
		for _, o := range a.Offers {
			found.Offers = append(found.Offers, u.offered(o))
		}
	}
	contacts, err := u.Own.Contacts.Offers(ctx, address)
	found.Offers = append(found.Offers, contacts...)
	return found, problem(err)
}

// offered makes the domain's offer of the wire's. Whom the system's daemon prefers is somebody else's choice. That an
// administrator vouches for a certificate that he installed for everyone counts only when the user's settings say so.
func (u *Upstream) offered(o client.Offer) recipients.Offer {
	source := recipients.Source(o.Source)
	return recipients.Offer{Source: source, Raw: o.Raw, Fault: o.Fault, Property: directory.Property(o.Property),
		Default: o.Default, Name: o.Name, Intermediates: o.Intermediates, Seen: o.Seen,
		Vouched: o.Vouched && source == recipients.Installed && u.AcceptInstalled}
}

// nobodyThere reports whether err means that this machine has no system's daemon, and need not have one. One that answered
// before is stopped, which is another matter.
func (u *Upstream) nobodyThere(err error) bool {
	if !u.Optional || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.answered
}

// hintSystem is for a system's daemon that does not answer, hintNamed for one that the configuration names.
const (
	hintSystem = "start it: sudo systemctl start galsyncd; how it is: systemctl status galsyncd"
	hintNamed  = hintSystem + "; to do without it, remove socket from [upstream] in the configuration"
)

func (u *Upstream) hint() string {
	if u.Optional {
		return hintSystem
	}
	return hintNamed
}

// fallback asks the own cache after the upstream failed, if that was ever filled.
func fallback[T any](u *Upstream, ctx context.Context, failure error, own func() (T, error)) (T, error) {
	h, _, _, err := u.Own.History(ctx)
	if err == nil && !h.Finished.IsZero() {
		return own()
	}
	var none T
	hint := u.hint()
	if errors.Is(failure, client.ErrUntrustedServer) {
		hint = ""
	}
	return none, service.NewProblem(service.CodeNotAvailable, fmt.Sprintf("ask the system's galsyncd: %v", failure), hint)
}

// Freshness implements recipients.Directory and service.Directory. It is what the last answer said: each look-up brings it
// along.
func (u *Upstream) Freshness(ctx context.Context) (recipients.Freshness, error) {
	u.mu.Lock()
	last := u.last
	u.mu.Unlock()
	if !last.Completed.IsZero() && !u.Syncs { // else the own cache may be the one that answers
		return last, nil
	}
	s, err := u.Client.Status(ctx)
	if u.nobodyThere(err) {
		own, ownErr := u.Own.Freshness(ctx)
		own.Absent = fmt.Sprintf("there is no address book to look into: the system's galsyncd does not answer (%v)", err)
		own.Remedy = "start it: sudo systemctl start galsyncd; or have your own galsyncd read Exchange: set exchange.url; " + recipients.HintOutside
		return own, ownErr
	}
	if err != nil {
		return fallback(u, ctx, err, func() (recipients.Freshness, error) { return u.Own.Freshness(ctx) })
	}
	return u.remember(s.Source.LastSuccess, s.Source.LastWalk), nil
}

// remember keeps what an answer said.
func (u *Upstream) remember(completed, walked time.Time) recipients.Freshness {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered = true
	u.last = recipients.Freshness{Completed: completed, Walked: walked, Remedy: "have the system's galsyncd sync, and ask again: sudo galsyncd sync"}
	return u.last
}

// Search implements service.Directory. The entries hold what a completion shows: names, addresses, and as many empty
// certificates as there are.
func (u *Upstream) Search(ctx context.Context, text string, limit int) ([]directory.Entry, error) {
	found, err := u.Client.Entries(ctx, text, min(limit, 50))
	if u.nobodyThere(err) {
		return u.Own.Search(ctx, text, limit)
	}
	if err != nil {
		return fallback(u, ctx, err, func() ([]directory.Entry, error) { return u.Own.Search(ctx, text, limit) })
	}
	out := make([]directory.Entry, len(found.Entries))
	for i, e := range found.Entries {
		out[i] = directory.Entry{Primary: mailaddr.Address(e.Primary), Addresses: addresses(e.Addresses), DisplayName: e.DisplayName,
			GivenName: e.GivenName, Surname: e.Surname, Kind: directory.Kind(e.Kind), Certificates: make([]directory.UserCertificate, e.Certificates)}
	}
	out, err = u.Own.Contacts.search(ctx, text, limit, out)
	return out, problem(err)
}

// Certificate implements service.Directory.
func (u *Upstream) Certificate(ctx context.Context, sum [32]byte) ([]byte, []directory.Address, error) {
	c, err := u.Client.Certificate(ctx, hex.EncodeToString(sum[:]))
	if u.nobodyThere(err) {
		return u.Own.Certificate(ctx, sum)
	}
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code == client.CodeNotFound {
		der, owners, err := u.Own.Contacts.certificate(ctx, sum)
		return der, owners, problem(err)
	}
	if err != nil {
		return u.ownCertificate(ctx, err, sum)
	}
	if sha256.Sum256(c.Raw) != sum { // somebody may be about to trust it by its fingerprint
		return nil, nil, service.NewProblem(service.CodeNotAvailable, "ask the system's galsyncd: it answered with another certificate than the one asked for", "")
	}
	return c.Raw, addresses(c.Entries), nil
}

// ownCertificate is the answer of the own cache after the upstream failed.
func (u *Upstream) ownCertificate(ctx context.Context, failure error, sum [32]byte) (der []byte, owners []directory.Address, err error) {
	_, err = fallback(u, ctx, failure, func() (none struct{}, err error) {
		der, owners, err = u.Own.Certificate(ctx, sum)
		return none, err
	})
	return der, owners, err
}

// Fingerprints implements service.Directory.
func (u *Upstream) Fingerprints(ctx context.Context, beginning string, limit int) (found [][32]byte, err error) {
	answer, err := u.Client.Fingerprints(ctx, beginning)
	if u.nobodyThere(err) {
		return u.Own.Fingerprints(ctx, beginning, limit)
	}
	if err != nil {
		return fallback(u, ctx, err, func() ([][32]byte, error) { return u.Own.Fingerprints(ctx, beginning, limit) })
	}
	for _, text := range answer.SHA256 {
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(text, beginning) {
			return nil, unavailable(fmt.Errorf("%w: %q is no fingerprint that begins with %s", client.ErrAnswer, text, beginning))
		}
		found = append(found, [32]byte(sum))
	}
	contacts, err := u.Own.Contacts.fingerprints(ctx, beginning, limit)
	return append(found[:min(len(found), limit)], contacts...), problem(err)
}

// unavailable says that the system's daemon did not answer.
func unavailable(err error) error {
	return service.NewProblem(service.CodeNotAvailable, fmt.Sprintf("ask the system's galsyncd: %v", err), hintSystem)
}

func addresses(list []string) []mailaddr.Address {
	out := make([]mailaddr.Address, len(list))
	for i, a := range list {
		out[i] = mailaddr.Address(a)
	}
	return out
}

// entry makes the domain's entry of the wire's.
func entry(e client.Entry) directory.Entry {
	out := directory.Entry{
		Primary: mailaddr.Address(e.Primary), Addresses: addresses(e.Addresses), Proven: addresses(e.Proven), Claimed: addresses(e.Claimed),
		DisplayName: e.DisplayName, GivenName: e.GivenName, Surname: e.Surname, Alias: e.Alias, Kind: directory.Kind(e.Kind),
		Intermediates: e.Intermediates, Changed: e.Changed, Missing: e.Missing, Unconfirmed: e.Unconfirmed, LastSeen: e.LastSeen,
	}
	for _, c := range e.Certificates {
		out.Certificates = append(out.Certificates, directory.UserCertificate{Raw: c.Raw, Property: directory.Property(c.Property),
			Encoding: directory.Encoding(c.Encoding), Default: c.Default})
	}
	out.Partial, out.Undetermined = e.Partial, e.Undetermined
	for _, v := range e.Undecodable {
		out.Undecodable = append(out.Undecodable, directory.Undecodable{Property: directory.Property(v.Property), Reason: v.Reason, SHA256: v.SHA256, Size: v.Size})
	}
	return out
}

func members(m *client.Members) *directory.Members {
	if m == nil {
		return nil
	}
	out := &directory.Members{Truncated: m.Truncated, Unknown: m.Unknown, Fetched: m.Fetched}
	for _, one := range m.Members {
		out.Members = append(out.Members, directory.Member{Address: mailaddr.Address(one.Address), Name: one.Name, Kind: directory.Kind(one.Kind)})
	}
	return out
}
