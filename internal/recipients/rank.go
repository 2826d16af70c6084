package recipients

import (
	"cmp"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/trust"
)

// rank puts candidates in order of choice, best first: usable ones; the user's explicit choice; the address book, then
// contacts, then installed certificates; Outlook's default mark; the latest beginning of validity; the fingerprint, so that
// every machine chooses alike. Those that are not usable follow by closeness, then in the same order.
//
// A certificate that somebody installed never beats a usable one of the address book, unless the user chose it.
func rank(candidates []Candidate) {
	slices.SortStableFunc(candidates, func(a, b Candidate) int {
		for _, c := range criteria {
			if d := c.compare(a, b); d != 0 {
				return d
			}
		}
		return 0
	})
}

// criterion is one step of the order of choice. reason says why the first of two was preferred by it.
type criterion struct {
	compare func(a, b Candidate) int
	reason  string
}

var criteria = []criterion{
	{func(a, b Candidate) int { return cmp.Compare(closeness(a.State), closeness(b.State)) }, "the only usable certificate"},
	{func(a, b Candidate) int { return trueFirst(a.Preferred, b.Preferred) }, "chosen by the user for this address"},
	{func(a, b Candidate) int { return cmp.Compare(sourceOrder(a.Source), sourceOrder(b.Source)) }, "the address book goes before contacts, contacts before installed certificates"},
	{func(a, b Candidate) int { return trueFirst(a.Default, b.Default) }, "marked as the default by its owner's mail program"},
	{newerFirst, "the newest of the usable certificates"},
	{func(a, b Candidate) int { return strings.Compare(fingerprint(a), fingerprint(b)) }, "as new as another usable certificate; the lower fingerprint decides"},
}

// whyFirst says why the first of ranked candidates was preferred to the second.
func whyFirst(ranked []Candidate) string {
	if ranked[0].Preferred { // the second may be the same certificate of another source
		return criteria[1].reason
	}
	if len(ranked) > 1 {
		for _, c := range criteria {
			if c.compare(ranked[0], ranked[1]) != 0 {
				return c.reason
			}
		}
	}
	return criteria[0].reason
}

func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func sourceOrder(s Source) int {
	return slices.Index([]Source{GAL, Contacts, Installed}, s)
}

func newerFirst(a, b Candidate) int {
	switch {
	case a.Certificate == nil && b.Certificate == nil:
		return 0
	case a.Certificate == nil:
		return 1
	case b.Certificate == nil:
		return -1
	}
	return b.Certificate.NotBefore.Compare(a.Certificate.NotBefore)
}

func fingerprint(c Candidate) string {
	if c.Certificate == nil {
		return ""
	}
	return c.Certificate.SHA256
}

// closeness says how far a certificate in a state is from being usable; zero is usable. First comes what passes by
// itself or with somebody's word, then what only a new certificate cures, then what never was this person's encryption
// certificate at all.
func closeness(s trust.State) int {
	order := [...]trust.State{
		trust.Encryptable,
		trust.Stale,
		trust.RevocationUnknown,
		trust.NotYetValid,
		trust.Untrusted,
		trust.Expired,
		trust.Revoked,
		trust.WeakKey,
		trust.WrongUsage,
		trust.WrongAddress,
		trust.Undecodable,
	}
	if i := slices.Index(order[:], s); i >= 0 {
		return i
	}
	return len(order)
}
