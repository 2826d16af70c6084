package revocation

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// question is one certificate that is asked about.
type question struct {
	cert      *x509.Certificate
	authority key
	serial    [maxSerial]byte
	points    points
	now       time.Time
}

// Revocation implements trust.Revocations. What is not known is noted, to be fetched by the next run.
func (s *Service) Revocation(cert, issuer *x509.Certificate, now time.Time) trust.Revocation {
	q := question{cert: cert, authority: authorityKey(issuer), points: pointsOf(cert), now: now}
	serial, fits := serialOf(cert)
	if !fits {
		return unknown("its serial number is longer than 20 bytes", "")
	}
	q.serial = serial
	full := !s.want(q, issuer)
	var out trust.Revocation
	err := s.Store.ViewRevocations(func(tx Tx) (err error) {
		out, err = s.answer(tx, q)
		return err
	})
	if err != nil {
		return unknown("what is stored about it cannot be read", "run galsyncd check")
	}
	if full && out.Status == trust.StatusUnknown {
		out.Reason += "; more is asked for than there is room for"
	}
	return out
}

func unknown(reason, hint string) trust.Revocation {
	return trust.Revocation{Status: trust.StatusUnknown, Reason: reason, Hint: hint}
}

// answer takes the first source that knows, and a revocation from wherever it comes. Without one it names the best reason.
func (s *Service) answer(tx Tx, q question) (trust.Revocation, error) {
	var answers []trust.Revocation
	if s.OCSP && len(q.points.responders) > 0 {
		a, err := byOCSP(tx, q)
		if err != nil {
			return a, err
		}
		answers = append(answers, a)
	}
	for _, url := range q.points.lists {
		a, err := byList(tx, q, url)
		if err != nil {
			return a, err
		}
		answers = append(answers, a)
	}
	return s.best(answers, q), nil
}

// best combines what the sources say: revoked by any, good by the first, else why none knows.
func (s *Service) best(answers []trust.Revocation, q question) trust.Revocation {
	for _, status := range []trust.RevocationStatus{trust.StatusRevoked, trust.StatusGood} {
		for _, a := range answers {
			if a.Status == status {
				return a
			}
		}
	}
	if len(answers) == 0 {
		return s.nowhere(q.points)
	}
	var reasons []string
	for _, a := range answers[:min(len(answers), 3)] {
		reasons = append(reasons, a.Reason)
	}
	return unknown(strings.Join(reasons, "; "), answers[0].Hint)
}

// nowhere says why there is no place to ask.
func (s *Service) nowhere(p points) trust.Revocation {
	switch {
	case len(p.others) > 0:
		hint := ""
		if p.others[0] == "over LDAP only" {
			hint = "have its authority publish the CRL over http as well"
		}
		return unknown("its CRL is published "+strings.Join(p.others, ", ")+", which galsyncd does not read", hint)
	case len(p.responders) > 0:
		return unknown("its authority answers over OCSP only", `set trust.revocation to "ocsp"`)
	}
	r := unknown("the certificate does not say where its authority publishes revocations", "")
	r.Unpublished = true
	return r
}

// byList looks into one CRL. What a CRL that has ended says was revoked is revoked; that it does not name a certificate
// says nothing any more.
func byList(tx Tx, q question, url string) (trust.Revocation, error) {
	id := listKey(q.authority, url)
	record, err := load[listRecord](tx, storeKey(keyList, id[:]))
	switch {
	case err != nil:
		return trust.Revocation{}, err
	case record == nil || record.List == nil:
		return record.missing("its CRL " + clip(url)), nil
	case !record.List.Scope.covers(q.cert, q.points.names):
		return unknown(fmt.Sprintf("the CRL %s is of other certificates of its authority", clip(url)), ""), nil
	}
	list := record.List
	entry, found, err := findEntry(tx, id, q.serial)
	switch {
	case err != nil:
		return trust.Revocation{}, err
	case found:
		return revocation(time.Unix(int64(entry.since), 0).UTC(), entry.reason), nil
	case !holds(list.This, list.Next, q.now):
		return record.ended("its CRL "+clip(url), list.This, list.Next, q.now), nil
	}
	return good(list.This, list.Next), nil
}

// byOCSP looks at the answer of an OCSP responder.
func byOCSP(tx Tx, q question) (trust.Revocation, error) {
	id := certificateKey(q.authority, q.serial[:])
	record, err := load[answerRecord](tx, storeKey(keyAnswer, id[:]))
	what := "the OCSP answer about it"
	switch {
	case err != nil:
		return trust.Revocation{}, err
	case record == nil || record.Status == "":
		var a *attempts
		if record != nil {
			a = &record.attempts
		}
		return a.missing(what), nil
	case record.Status == string(trust.StatusRevoked):
		return revocation(record.Since, record.Reason), nil
	case !holds(record.This, record.Next, q.now):
		return record.ended(what, record.This, record.Next, q.now), nil
	}
	return good(record.This, record.Next), nil
}

// missing says why there is no data at all. The receiver may be nil.
func (r *listRecord) missing(what string) trust.Revocation {
	if r == nil {
		return (*attempts)(nil).missing(what)
	}
	return r.attempts.missing(what)
}

func (a *attempts) missing(what string) trust.Revocation {
	if a == nil || a.Failure == "" {
		return unknown(what+" was not fetched yet", "it is fetched in the background, and by the next sync")
	}
	return unknown(fmt.Sprintf("%s could not be fetched (%s): %s", what, moment(a.Tried), a.Failure), a.Hint)
}

// ended says why data does not hold now.
func (a *attempts) ended(what string, this, next, now time.Time) trust.Revocation {
	if now.Before(this) {
		return unknown(fmt.Sprintf("%s is of %s, which has not come yet", what, moment(this)), "set the clock")
	}
	text := fmt.Sprintf("%s held until %s", what, moment(next))
	if a.Failure == "" {
		return unknown(text, "")
	}
	return unknown(fmt.Sprintf("%s, and a newer one could not be fetched (%s): %s", text, moment(a.Tried), a.Failure), a.Hint)
}

// holds reports whether data holds, give or take skew.
func holds(this, next, now time.Time) bool {
	return !now.Before(this.Add(-skew)) && !now.After(next.Add(skew))
}

func good(this, next time.Time) trust.Revocation {
	return trust.Revocation{Status: trust.StatusGood, From: this.Add(-skew), Until: next.Add(skew)}
}

func revocation(since time.Time, reason byte) trust.Revocation {
	r := trust.Revocation{Status: trust.StatusRevoked, Since: since, Reason: reasonText(reason), Hint: "ask for a new certificate"}
	const onHold = 6
	if reason == onHold {
		r.Hint = "its authority may take it off hold, or revoke it for good"
	}
	return r
}
