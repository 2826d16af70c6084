package recipients

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// maxReasons bounds how many candidates the reasons of one answer speak about; Explain holds all.
const maxReasons = 8

// judge makes the answer for an address from all entries that claim it, and from what other sources offer.
func (q *question) judge(address mailaddr.Address, claims []directory.Sighting, offers []Offer) Answer {
	if len(claims)+len(offers) == 0 {
		return q.unknown()
	}
	var candidates []Candidate
	var best []claim
	for i := range claims {
		own := q.candidates(address, &claims[i])
		rank(own)
		if len(own) > 0 && own[0].State == trust.Encryptable {
			best = append(best, claim{&claims[i], own[0]})
		}
		if candidates == nil {
			candidates = own
		} else {
			candidates = append(candidates, own...)
		}
	}
	for _, o := range offers {
		candidates = append(candidates, q.offered(address, o))
	}
	sharePreference(candidates)
	rank(candidates)
	usable := len(candidates) > 0 && candidates[0].State == trust.Encryptable
	switch {
	case !usable && len(claims) == 0:
		return q.nothingUsable(candidates)
	case !usable:
		return q.unusable(&claims[0], candidates)
	case candidates[0].Preferred && candidates[0].Source != GAL, len(best) == 0 && len(claims) <= 1:
		return q.fromOffer(address, claims, offers, candidates)
	case candidates[0].Preferred:
		return q.encryptable(best, candidates)
	case contradictory(best):
		return ambiguous(best, candidates)
	case len(best) < len(claims):
		a := contested(claims)
		a.Explain = candidates
		return a
	}
	return q.encryptable(best, candidates)
}

// claim is an entry that claims an address, with the certificate it would be encrypted to.
type claim struct {
	sighting *directory.Sighting
	chosen   Candidate
}

// rightful drops the weaker claims on an address. An entry that lists the address goes before entries whose certificates
// merely name it, and among equals an entry that the last complete run found goes before one that it missed. The rest is
// put in order of their primary addresses, so that answers do not depend on the order of the store.
func rightful(address mailaddr.Address, claims []directory.Sighting) []directory.Sighting {
	if len(claims) <= 1 {
		return claims
	}
	claims = prefer(claims, func(s directory.Sighting) bool { return slices.Contains(s.Entry.Addresses, address) })
	claims = prefer(claims, func(s directory.Sighting) bool { return lists(s.Entry, address) })
	claims = prefer(claims, func(s directory.Sighting) bool { return s.Entry.Missing.IsZero() })
	slices.SortStableFunc(claims, func(a, b directory.Sighting) int {
		return strings.Compare(string(a.Entry.Primary), string(b.Entry.Primary))
	})
	return claims
}

// prefer returns the claims that satisfy better, or all when none does.
func prefer(claims []directory.Sighting, better func(directory.Sighting) bool) []directory.Sighting {
	var kept []directory.Sighting
	for _, s := range claims {
		if better(s) {
			kept = append(kept, s)
		}
	}
	if kept == nil {
		return slices.Clone(claims)
	}
	return kept
}

// lists reports whether the address book itself ties address to the entry.
func lists(e directory.Entry, address mailaddr.Address) bool {
	return e.Primary == address || slices.Contains(e.Owned(), address)
}

func contradictory(best []claim) bool {
	return len(best) > 1 && slices.ContainsFunc(best, func(c claim) bool {
		return c.chosen.Certificate.SHA256 != best[0].chosen.Certificate.SHA256
	})
}

func (q *question) unknown() Answer {
	a := Answer{State: trust.Unknown}
	if q.fresh.Completed.IsZero() {
		a.Reasons = []string{cmp.Or(q.fresh.Absent, "not in the local copy of the address book, which was never read completely")}
		a.Hints = []string{cmp.Or(q.fresh.Remedy, "run a sync and ask again: galsyncd sync")}
		return a
	}
	walked := fmt.Sprintf("on %s (%s ago)", moment(q.fresh.Walked), age(q.now.Sub(q.fresh.Walked)))
	switch {
	case q.fresh.Walked.IsZero():
		a.Reasons = []string{"not in the local copy, which holds only what was asked for; the whole address book was never read"}
		a.Hints = []string{HintOnline}
	case q.fresh.Walked.Before(q.fresh.Completed):
		a.Reasons = []string{"not in the address book when the whole of it was last read, " + walked + "; since then only known addresses were asked for"}
		a.Hints = []string{HintOnline}
	default:
		a.Reasons = []string{"not in the address book, last read completely " + walked}
		a.Hints = []string{HintOutside}
	}
	return a
}

// HintOutside is the hint for an address that nobody in the organisation has.
const HintOutside = "to write to somebody outside, get a mail that they signed, and install its certificate: galsyncd cert install"

// HintOnline is the hint for an address that Exchange may know, although the local copy does not.
const HintOnline = "ask Exchange about it: galsyncd lookup --online"

func ambiguous(best []claim, candidates []Candidate) Answer {
	var who []string
	for _, c := range best {
		who = append(who, fmt.Sprintf("%s (certificate %s)", c.sighting.Entry.Primary, short(c.chosen.Certificate)))
	}
	return Answer{
		State:   trust.Ambiguous,
		Reasons: []string{"several entries of the address book claim this address with different certificates: " + strings.Join(who, ", ")},
		Hints:   []string{"have the address book corrected, or use an address that belongs to one entry alone"},
		Explain: candidates,
	}
}

// contested makes the answer when several entries claim an address and do not all lead to one certificate: who gets the
// mail may be somebody who cannot read it.
func contested(claims []directory.Sighting) Answer {
	var who []string
	for _, s := range claims {
		who = append(who, string(s.Entry.Primary))
	}
	return Answer{
		State:   trust.Ambiguous,
		Reasons: []string{"several entries of the address book claim this address: " + strings.Join(who, ", ")},
		Hints:   []string{"have the address book corrected, or use an address that belongs to one entry alone"},
	}
}

// encryptable makes the answer when at least one entry has a usable certificate, and all agree on which.
func (q *question) encryptable(best []claim, candidates []Candidate) Answer {
	candidates[0].Chosen = true
	candidates[0].Reasons = []string{whyFirst(candidates)}
	chosen := candidates[0]
	at := slices.IndexFunc(best, func(c claim) bool { return c.sighting.Entry.Primary == chosen.Entry })
	s := best[max(at, 0)].sighting
	a := Answer{
		State:       trust.Encryptable,
		Source:      chosen.Source,
		Certificate: chosen.Certificate,
		Reasons:     slices.Clone(chosen.Reasons),
		Warnings:    q.warnings(s),
		Name:        s.Entry.DisplayName,
		Seen:        s.Seen,
		Explain:     candidates,
	}
	a.warn(chosen)
	return a
}

// unusable makes the answer when no certificate may be used. Its state is that of the candidate that came closest (see
// closeness): of an expired certificate and one for signing only, the expired one says what to do.
func (q *question) unusable(s *directory.Sighting, candidates []Candidate) Answer {
	a := Answer{Name: s.Entry.DisplayName, Seen: s.Seen, Warnings: q.warnings(s), Explain: candidates}
	if len(candidates) == 0 {
		a.State, a.Reasons = trust.NoCertificate, []string{fmt.Sprintf("the address book has no certificate for %s (last confirmed on %s)", s.Entry.Primary, moment(s.Seen))}
		if s.Entry.Partial {
			a.Reasons = []string{fmt.Sprintf("the server offered no certificate for %s (last confirmed on %s): over ActiveSync it hides those that are expired or whose issuer it does not trust", s.Entry.Primary, moment(s.Seen))}
			a.Hints = []string{"if the person has one, have the server trust its issuer"}
		}
		if s.Entry.Undetermined != "" {
			a.State = trust.Unknown
			a.Reasons, a.Hints = []string{fmt.Sprintf("whether %s has a certificate is not known: %s", s.Entry.Primary, s.Entry.Undetermined)}, nil
		}
		if why := q.staleness(s); why != nil {
			a.State, a.Reasons, a.Hints = why.State, []string{why.Reason}, []string{why.Hint}
		}
		return a
	}
	a.refuse(candidates)
	if !slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Source == GAL }) {
		a.Reasons = append(a.Reasons, fmt.Sprintf("the address book has no certificate for %s", s.Entry.Primary))
	}
	return a
}

// nothingUsable makes the answer for an address that only other sources than the address book know, without a certificate
// that may be used.
func (q *question) nothingUsable(candidates []Candidate) Answer {
	a := Answer{Explain: candidates}
	a.refuse(candidates)
	a.Reasons = append(a.Reasons, q.unknown().Reasons...)
	return a
}

// refuse gives the answer the state of the first candidate, and the reasons and hints of all.
func (a *Answer) refuse(candidates []Candidate) {
	a.State = candidates[0].State
	for i, c := range candidates[:min(len(candidates), maxReasons)] {
		if i == 0 && c.Source == GAL {
			a.Reasons = append(a.Reasons, c.Reasons...)
		} else {
			a.Reasons = append(a.Reasons, describe(c, i > 0, newerThanListed(c, candidates))+": "+strings.Join(c.Reasons, "; "))
		}
		for _, hint := range c.Hints {
			if !slices.Contains(a.Hints, hint) {
				a.Hints = append(a.Hints, hint)
			}
		}
	}
}

// describe names a candidate at the beginning of a reason.
func describe(c Candidate, another, newer bool) string {
	what, article := "value", "a "
	if c.Certificate != nil {
		what = "certificate"
	}
	if another {
		article = "another "
	}
	if c.Source != GAL {
		article, what = "a ", what+" from "+sourceName(c.Source)
	}
	if newer {
		article += "newer "
	}
	if c.Certificate != nil {
		what += " (" + short(c.Certificate) + ")"
	}
	return article + what
}

// newerThanListed reports whether a candidate of another source was issued after all that the address book has.
func newerThanListed(c Candidate, candidates []Candidate) bool {
	listed := slices.DeleteFunc(slices.Clone(candidates), func(o Candidate) bool { return o.Source != GAL || o.Certificate == nil })
	if c.Source == GAL || c.Certificate == nil || len(listed) == 0 {
		return false
	}
	return !slices.ContainsFunc(listed, func(o Candidate) bool { return !c.Certificate.NotBefore.After(o.Certificate.NotBefore) })
}

// warnings tell what does not change the state yet.
func (q *question) warnings(s *directory.Sighting) []string {
	var w []string
	if old := q.now.Sub(s.Seen); q.book.WarnAfter > 0 && old > q.book.WarnAfter && q.staleness(s) == nil {
		w = append(w, fmt.Sprintf("the address book entry was last confirmed %s ago; the certificate may have been replaced since", age(old)))
	}
	if !s.Entry.Missing.IsZero() {
		w = append(w, "the last complete sync did not find this entry any more; it will be forgotten when the next one does not find it either")
	}
	return w
}

// staleness is the finding against everything of an entry that was not confirmed for too long; nil while it is fresh.
func (q *question) staleness(s *directory.Sighting) *trust.Finding {
	old := q.now.Sub(s.Seen)
	if old < -24*time.Hour {
		return &trust.Finding{State: trust.Stale, Reason: "the address book entry was confirmed at a time that has not come yet: a clock was wrong", Hint: "set the clock and run a sync"}
	}
	if q.book.RefuseAfter <= 0 || old <= q.book.RefuseAfter {
		return nil
	}
	reason := fmt.Sprintf("the address book entry was last confirmed %s ago; after %s it is no longer used", age(old), age(q.book.RefuseAfter))
	if s.Seen.IsZero() {
		reason = "the address book entry was never confirmed by a complete answer"
	}
	return &trust.Finding{State: trust.Stale, Reason: reason, Hint: "run a sync: the server was not read completely for too long"}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// age says a duration in whole days or hours.
func age(d time.Duration) string {
	switch days, hours := int(d/(24*time.Hour)), int(d/time.Hour); {
	case days > 1:
		return fmt.Sprintf("%d days", days)
	case hours > 1:
		return fmt.Sprintf("%d hours", hours)
	case hours == 1:
		return "1 hour"
	}
	return "less than an hour"
}
