package trust

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// MaxIntermediates is how many intermediate certificates of one question are looked at. crypto/x509 itself stops after a
// hundred signatures.
const MaxIntermediates = 32

const anchorHint = "if the issuer is to be trusted, add the certificate of its root to trust.anchors"

// checkCritical refuses what RFC 5280 section 4.2 demands to refuse: a critical extension that is not understood.
func checkCritical(cert *x509.Certificate) []Finding {
	for _, oid := range cert.UnhandledCriticalExtensions {
		if !oid.Equal(oidSubjectAltName) { // read by CertificateAddresses
			return []Finding{{State: Untrusted, Reason: "marked with a critical extension that this program does not know (" + oid.String() + ")"}}
		}
	}
	return nil
}

// checkStanding looks for a chain from cert to an anchor in which nothing was revoked, and says what is known about
// revocation (see Revocation). Where the word of the address book or of a person takes the place of the chain, only what was
// revoked is an obstacle.
func (p *Policy) checkStanding(cert *x509.Certificate, q Question) ([]Finding, Revocation) {
	accepted := q.accepted(p)
	if accepted && p.Revocations == nil {
		return nil, Revocation{}
	}
	s, err := p.standing(cert, q)
	switch {
	case err == nil:
		return p.revocationFindings(s.revocation), s.revocation
	case accepted:
		return p.revocationFindings(unchained), unchained
	}
	return []Finding{unchainedFinding(cert, err)}, Revocation{}
}

// accepted reports whether somebody's word takes the place of a chain.
func (q Question) accepted(p *Policy) bool { return q.Vouched || p.AcceptDirectory && q.FromDirectory }

// unchainedFinding puts into words why there is no chain.
func unchainedFinding(cert *x509.Certificate, err error) Finding {
	l, ok := errors.AsType[*lacking](err)
	if !ok { // errNoAnchors
		return Finding{
			State:  Untrusted,
			Reason: fmt.Sprintf("issued by %s, and no trusted anchors are configured", name(cert.RawIssuer, cert.Issuer.String())),
			Hint:   "name the certificates of the roots that are to be trusted in trust.anchors",
		}
	}
	if l.note != "" {
		return Finding{State: Untrusted, Reason: l.reason + "; " + l.note, Hint: cmp.Or(l.remedy, l.hint)}
	}
	return Finding{State: Untrusted, Reason: l.reason, Hint: l.hint}
}

// clamp moves now into the certificate's validity, so that an expired certificate is reported as expired and not also as
// untrusted for that reason.
func clamp(now time.Time, cert *x509.Certificate) time.Time {
	switch {
	case now.Before(cert.NotBefore):
		return cert.NotBefore
	case now.After(cert.NotAfter):
		return cert.NotAfter
	}
	return now
}

// usable drops the intermediates with RSA keys that are too weak to vouch for anybody, or large enough to make checking a
// signature slow, and bounds the number of the rest.
func usable(intermediates []*x509.Certificate) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, c := range intermediates {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && len(rsaObstacles(key)) > 0 {
			continue
		}
		if kept = append(kept, c); len(kept) == MaxIntermediates {
			break
		}
	}
	return kept
}

// errConstraint reports a name that an authority in the chain may not vouch for.
var errConstraint = errors.New("an authority in its chain may not issue certificates for this address")

// permittedChains returns the verified chains, at least one without an error. crypto/x509 checks signatures (SHA-1 and
// older are refused), validity, basic constraints, path length, key usage of the authorities, extended key usage along the
// chain and name constraints. What concerns the leaf alone is checked elsewhere and taken out here, so that one fault is
// one finding.
func (p *Policy) permittedChains(cert *x509.Certificate, intermediates []*x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	leaf := *cert
	leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage, leaf.UnhandledCriticalExtensions = nil, nil, nil
	pool := x509.NewCertPool()
	for _, c := range intermediates {
		pool.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         p.Anchors,
		Intermediates: pool,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	})
	if err != nil {
		return nil, err
	}
	names := CertificateAddresses(cert)
	chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool { return !permitted(chain, names) })
	if len(chains) == 0 {
		return nil, errConstraint
	}
	return chains, nil
}

// window is a span of time, ends included; a zero end is none.
type window struct{ from, to time.Time }

func (w window) holds(t time.Time) bool {
	return !t.Before(w.from) && (w.to.IsZero() || !t.After(w.to))
}

// and returns the time in which both hold.
func (w window) and(v window) window {
	if v.from.After(w.from) {
		w.from = v.from
	}
	if w.to.IsZero() || !v.to.IsZero() && v.to.Before(w.to) {
		w.to = v.to
	}
	return w
}

// validity is when all certificates of a chain are valid.
func validity(chain []*x509.Certificate) window {
	var w window
	for _, c := range chain {
		w = w.and(window{c.NotBefore, c.NotAfter})
	}
	return w
}

// permitted holds the name constraints of a chain against all mail addresses of its leaf (RFC 5280 section 4.2.1.10, RFC
// 9598 section 6). crypto/x509 does this for rfc822Names only, compares local parts with regard to case, and lets a
// constraint to one host stand for its subdomains; here every address counts, in canonical form, and a host is one host.
func permitted(chain []*x509.Certificate, names []mailaddr.Address) bool {
	for _, ca := range chain[1:] {
		for _, a := range names {
			covers := func(constraint string) bool { return matches(constraint, a) }
			if slices.ContainsFunc(ca.ExcludedEmailAddresses, covers) {
				return false
			}
			if len(ca.PermittedEmailAddresses) > 0 && !slices.ContainsFunc(ca.PermittedEmailAddresses, covers) {
				return false
			}
		}
	}
	return true
}

// matches reports whether an rfc822Name constraint covers an address: a mailbox, a host, or with a leading dot all hosts
// of a domain.
func matches(constraint string, a mailaddr.Address) bool {
	if strings.Contains(constraint, "@") {
		mailbox, err := mailaddr.Parse(constraint)
		return err == nil && mailbox == a
	}
	constraint = strings.ToLower(constraint)
	if strings.HasPrefix(constraint, ".") {
		return strings.HasSuffix(a.Domain(), constraint)
	}
	return a.Domain() == constraint
}

// explainChain puts into words why no chain was found.
func (p *Policy) explainChain(cert *x509.Certificate, intermediates []*x509.Certificate, at time.Time, err error) (reason, hint string) {
	issuer := name(cert.RawIssuer, cert.Issuer.String())
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errConstraint), errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		return fmt.Sprintf("issued by %s, but %s", issuer, errConstraint), ""
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Sprintf("issued by %s, but an authority in its chain is not for mail certificates", issuer), ""
	}
	top, reason := path(cert, intermediates)
	if reason != "" {
		return reason, ""
	}
	// When it was issued the chain must have held. If it did, an authority has gone out of validity since.
	if then, err := p.verify(cert, intermediates, cert.NotBefore); err == nil {
		for _, ca := range then[0][1:] {
			if at.After(ca.NotAfter) {
				return fmt.Sprintf("issued by %s, but the authority %s expired on %s", issuer, name(ca.RawSubject, ca.Subject.String()), day(ca.NotAfter)), ""
			}
		}
	}
	if why := obstacle(err); why != "" {
		return fmt.Sprintf("issued by %s, but its chain to a trusted anchor does not hold: %s", issuer, why), ""
	}
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		hint := "if it is genuine, add it to trust.anchors"
		if !cert.IsCA {
			hint = "if you are sure that it is theirs, trust it alone: galsyncd cert install, galsyncd cert trust"
		}
		return "self-signed and not among the trusted anchors", hint
	}
	if top == cert {
		return fmt.Sprintf("issued by %s, which is not among the trusted anchors", issuer), anchorHint
	}
	return fmt.Sprintf("issued by %s, whose chain ends in %s, which is not among the trusted anchors", issuer, name(top.RawIssuer, top.Issuer.String())), anchorHint
}

// obstacle is what crypto/x509 says about an authority that it tried and had to refuse; empty when it tried none. An
// UnknownAuthorityError has this in its text only. Nothing but the wording of a reason depends on it.
func obstacle(err error) string {
	text := err.Error()
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		_, rest, _ := strings.Cut(text, "possibly because of ")
		quoted, _ := strconv.QuotedPrefix(rest)
		text, _ = strconv.Unquote(quoted)
	}
	return strings.TrimPrefix(text, "x509: ")
}

// path follows issuer names upwards as far as the intermediates go. It returns the last certificate on the way, and a
// reason when one on the way is signed with a hash that can be forged.
func path(cert *x509.Certificate, intermediates []*x509.Certificate) (top *x509.Certificate, reason string) {
	top = cert
	for range MaxIntermediates {
		if forgeable(top.SignatureAlgorithm) && !bytes.Equal(top.RawIssuer, top.RawSubject) {
			return top, fmt.Sprintf("signed with %s by %s; such signatures can be forged", top.SignatureAlgorithm, name(top.RawIssuer, top.Issuer.String()))
		}
		next := slices.IndexFunc(intermediates, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, top.RawIssuer) && !bytes.Equal(c.RawSubject, top.RawSubject)
		})
		if next < 0 {
			break
		}
		top = intermediates[next]
	}
	return top, ""
}

func forgeable(a x509.SignatureAlgorithm) bool {
	return slices.Contains([]x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}, a)
}

// maxName is how much of a distinguished name goes into a sentence.
const maxName = 200

// name writes a distinguished name into a sentence.
func name(raw []byte, text string) string {
	if text == "" {
		return fmt.Sprintf("an unnamed issuer (%d bytes of name)", len(raw))
	}
	if runes := []rune(text); len(runes) > maxName {
		text = string(runes[:maxName]) + "…"
	}
	return text
}
