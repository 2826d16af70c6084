package trust

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Issuers knows certificates of authorities that neither a mail nor the address book brought along (authority
// information access, RFC 5280 section 4.2.2.1). It answers from what is kept and asks nobody meanwhile.
type Issuers interface {
	// Issuers returns certificates of authorities that have the name of the issuer of cert. They prove nothing.
	Issuers(cert *x509.Certificate) []*x509.Certificate
	// Missing notes that no certificate of the issuer of cert is at hand, so that it can be fetched later. It says, as a
	// clause for people, why there is none, and what to do about it; nothing when cert does not say where it is. Depth
	// counts the certificates of Issuers on the way to cert, itself included.
	Missing(cert *x509.Certificate, depth int) (note, hint string)
}

// Bounds of what Issuers add to one question.
const (
	maxFetched      = 8   // certificates
	maxFetchedDepth = 3   // of them above one another
	maxTips         = 3   // certificates that are reported as missing an issuer
	maxSignatures   = 100 // that are checked to find these
)

// withIssuers adds to the intermediates what is kept of authorities above cert and above them.
func (p *Policy) withIssuers(cert *x509.Certificate, intermediates []*x509.Certificate) []*x509.Certificate {
	if p.Issuers == nil {
		return intermediates
	}
	all := append([]*x509.Certificate{cert}, intermediates...)
	most := len(all) + maxFetched
	for i := 0; i < len(all); i++ {
		for _, c := range usable(p.Issuers.Issuers(all[i])) {
			if len(all) < most && !slices.ContainsFunc(all, c.Equal) {
				all = append(all, c)
			}
		}
	}
	return all[1:]
}

// lacking is a failure with what Issuers says now about the certificates that are missing.
type lacking struct {
	*failure
	note, remedy string
}

func (l *lacking) Unwrap() error { return l.error }

// lack notes which issuers are missing.
func (p *Policy) lack(f *failure, cert *x509.Certificate, now time.Time) error {
	l := &lacking{failure: f}
	if now.After(cert.NotAfter) {
		return l
	}
	for _, t := range f.tips {
		if note, hint := p.Issuers.Missing(t.cert, t.depth); l.note == "" {
			l.note, l.remedy = note, hint
		}
	}
	return l
}

// tip is a certificate on the way up, with how many of Issuers are on the way, itself included.
type tip struct {
	cert  *x509.Certificate
	depth int
}

// tips are the certificates above cert, or cert itself, whose issuer is not at hand, or not any more valid. One that is at
// hand only because it was fetched counts as missing, too: what came was not proven by its own issuer, so that somebody on
// the way may have sent something else with the same name and key.
func tips(cert *x509.Certificate, intermediates []*x509.Certificate, given int, at time.Time) (found []tip) {
	way := []tip{{cert: cert}}
	budget := maxSignatures
	for i := 0; i < len(way); i++ {
		c, depth := way[i].cert, way[i].depth
		if bytes.Equal(c.RawIssuer, c.RawSubject) || forgeable(c.SignatureAlgorithm) {
			continue
		}
		above := false
		for j, issuer := range intermediates {
			if !bytes.Equal(issuer.RawSubject, c.RawIssuer) || at.Before(issuer.NotBefore) || at.After(issuer.NotAfter) {
				continue
			}
			if budget--; budget < 0 {
				return found
			}
			if c.CheckSignatureFrom(issuer) != nil {
				continue
			}
			above = above || j < given
			next := tip{issuer, depth}
			if j >= given {
				next.depth++
			}
			if !slices.ContainsFunc(way, func(t tip) bool { return t.cert.Equal(issuer) }) {
				way = append(way, next)
			}
		}
		if !above && depth < maxFetchedDepth && len(found) < maxTips {
			found = append(found, way[i])
		}
	}
	return found
}

// Anchored reports whether an anchor issued cert, or is it.
func (p *Policy) Anchored(cert *x509.Certificate, now time.Time) bool {
	if p.Anchors == nil {
		return false
	}
	_, err := cert.Verify(x509.VerifyOptions{Roots: p.Anchors, CurrentTime: clamp(now, cert), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}
