package trust

import (
	"cmp"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// Revocations answers from what is stored, without asking anybody, whether an authority revoked a certificate.
type Revocations interface {
	// Revocation returns what is known at now about cert, whose signature was verified with issuer's key.
	Revocation(cert, issuer *x509.Certificate, now time.Time) Revocation
	// Generation changes whenever what is stored changed, so that earlier answers may not hold any more.
	Generation() uint64
}

// RevocationStatus is the one word about the revocation of a certificate.
type RevocationStatus string

// Statuses. The empty one means that the question does not arise: revocation is not checked, there is no chain, the
// certificate is an anchor itself or has expired.
const (
	StatusGood    RevocationStatus = "good"
	StatusRevoked RevocationStatus = "revoked"
	StatusUnknown RevocationStatus = "unknown"
)

// Revocation is what is known about the revocation of a certificate, or of a whole chain: then it is the worst.
type Revocation struct {
	Status RevocationStatus
	// Reason says why a certificate was revoked (empty when its authority does not say), or why it is not known whether
	// it was, as a clause for people.
	Reason string
	// Hint says what somebody can do about it.
	Hint string
	// Since is when it was revoked; zero unless Status is revoked.
	Since time.Time
	// From and Until bound the time in which the answer holds; a zero time is no bound.
	From, Until time.Time
	// Unpublished marks an unknown revocation about which nobody can do anything, because the certificate does not say
	// where to ask. It is no less unknown, but no failure either.
	Unpublished bool
	// Authority names the authority in the chain whose own certificate is meant; empty for the certificate itself.
	Authority string
}

// severity orders what is known: the more, the worse.
func (r Revocation) severity() int {
	switch {
	case r.Status == StatusRevoked:
		return 4
	case r.Status == StatusUnknown && !r.Unpublished:
		return 3
	case r.Status == StatusUnknown:
		return 2
	case r.Status == StatusGood:
		return 1
	}
	return 0
}

// revocationFindings makes the obstacles of what is known.
func (p *Policy) revocationFindings(r Revocation) []Finding {
	switch {
	case r.Status == StatusRevoked:
		return []Finding{{State: Revoked, Reason: r.sentence(), Hint: r.Hint, Since: r.Since}}
	case r.Status == StatusUnknown && p.RevocationRequired:
		return []Finding{{State: RevocationUnknown, Reason: r.sentence(), Hint: cmp.Or(r.Hint, hintRequired)}}
	}
	return nil
}

// hintRequired is for a revocation that is not known, for a reason without advice of its own.
const hintRequired = "galsyncd status says what could not be fetched; trust.revocation_required of the configuration demands it"

// sentence completes "the certificate is ...".
func (r Revocation) sentence() string {
	switch {
	case r.Status == StatusRevoked && r.Authority != "":
		return "issued under " + r.Authority + ", whose own certificate was revoked on " + day(r.Since) + parenthesis(r.Reason)
	case r.Status == StatusRevoked:
		return "revoked on " + day(r.Since) + parenthesis(r.Reason)
	case r.Authority != "":
		return "issued under " + r.Authority + ", of which it is not known whether its own certificate was revoked: " + r.Reason
	}
	return "not known to be free of revocation: " + r.Reason
}

// Text says in words what is known; empty when it is good or nobody asks.
func (r Revocation) Text() string {
	if r.Status == StatusGood || r.Status == "" {
		return ""
	}
	return r.sentence()
}

func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// Warning is what people should know about an unknown revocation that does not forbid anything; empty when there is
// nothing to say, also when the certificate does not say where to ask.
func (r Revocation) Warning() string {
	if r.Status != StatusUnknown || r.Unpublished {
		return ""
	}
	if r.Authority != "" {
		return "it is not known whether the certificate of " + r.Authority + ", in its chain, was revoked: " + r.Reason
	}
	return "it is not known whether the certificate was revoked: " + r.Reason
}

// standing is what was found out about a certificate whose chain was verified.
type standing struct {
	chain window
	// revocation is the worst of the chain; it holds while known does.
	revocation Revocation
	known      window
}

// holds reports whether the standing still holds at now; at is now moved into the validity of the certificate.
func (s standing) holds(at, now time.Time) bool { return s.chain.holds(at) && s.known.holds(now) }

// errNoAnchors: no chain is looked for.
var errNoAnchors = errors.New("no trusted anchors are configured")

// standing verifies a chain to the anchors of the policy or, where there is none, to those of the policy beside it. The error
// is about the former.
func (p *Policy) standing(cert *x509.Certificate, q Question) (standing, error) {
	s, err := p.ownStanding(cert, q)
	if err != nil && q.Beside != nil {
		if beside, besideErr := q.Beside.ownStanding(cert, q); besideErr == nil {
			return beside, nil
		}
	}
	return s, err
}

// ownStanding verifies a chain, and asks about the revocation of every certificate in it but the anchor. Of several chains
// the one of which the best is known counts (RFC 5280 section 6.1: each path stands for itself).
func (p *Policy) ownStanding(cert *x509.Certificate, q Question) (standing, error) {
	if p.Anchors == nil || p.AnchorCount == 0 {
		return standing{}, errNoAnchors
	}
	at := clamp(q.Now, cert)
	given := usable(q.Intermediates)
	intermediates := p.withIssuers(cert, given)
	key := p.chainKey(cert, intermediates)
	if s, ok := p.chains.get(key, at, q.Now); ok {
		return s, nil
	}
	if f, ok := p.chains.failed(key, len(given), at, q.Now); ok {
		return standing{}, p.lack(f, cert, q.Now)
	}
	chains, err := p.verify(cert, intermediates, at)
	if err != nil {
		return standing{}, p.lack(p.fail(key, err, cert, intermediates, len(given), at, q.Now), cert, q.Now)
	}
	var best standing
	for i, chain := range chains {
		s := p.judge(chain, q.Now)
		if i == 0 || s.revocation.severity() < best.revocation.severity() {
			best = s
		}
	}
	if best.revocation.Status != StatusRevoked {
		p.chains.add(key, best)
	}
	return best, nil
}

// judge asks about the revocation of a chain.
func (p *Policy) judge(chain []*x509.Certificate, now time.Time) standing {
	s := standing{chain: validity(chain)}
	if p.Revocations == nil {
		return s
	}
	for i, cert := range chain[:len(chain)-1] {
		r := p.Revocations.Revocation(cert, chain[i+1], now)
		if r.Status == StatusUnknown && r.From.IsZero() {
			r.From = now
		}
		s.known = s.known.and(window{r.From, r.Until})
		if r.severity() > s.revocation.severity() {
			if s.revocation = r; i > 0 {
				s.revocation.Authority = name(cert.RawSubject, cert.Subject.String())
			}
		}
	}
	// Authorities take expired certificates off their lists: nothing more is known about these than that they expired.
	if end := chain[0].NotAfter; !now.After(end) {
		s.known = s.known.and(window{to: end})
	} else if s.revocation.Status != StatusRevoked {
		return standing{chain: s.chain, known: window{from: now}}
	}
	s.revocation.From, s.revocation.Until = s.known.from, s.known.to
	return s
}

// Revocation returns what is known about the revocation of cert and of the authorities in its chain: the verdict behind
// the findings revoked and revocation-unknown, also where the latter does not forbid anything.
func (p *Policy) Revocation(cert *x509.Certificate, q Question) Revocation {
	if p.Revocations == nil {
		return Revocation{}
	}
	s, err := p.standing(cert, q)
	switch {
	case err == nil:
		return s.revocation
	case q.accepted(p):
		return unchained
	}
	return Revocation{}
}

// unchained is what is known about a certificate that is used on the word of the address book or of a person.
var unchained = Revocation{Status: StatusUnknown, Unpublished: true, Reason: "it has no trusted chain, so nobody is known whose word would count"}

// verify returns every permitted chain, the one whose validity lasts longest first.
func (p *Policy) verify(cert *x509.Certificate, intermediates []*x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	chains, err := p.permittedChains(cert, intermediates, at)
	slices.SortStableFunc(chains, func(a, b []*x509.Certificate) int { return validity(b).to.Compare(validity(a).to) })
	return chains, err
}
