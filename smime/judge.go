package smime

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Judge decides about a signer's certificate; *trust.Policy is one.
type Judge interface {
	ForSigning(cert *x509.Certificate, q trust.Question) []trust.Finding
	// Revocation says what is known about the revocation of cert; what forbids something is among the findings already.
	Revocation(cert *x509.Certificate, q trust.Question) trust.Revocation
}

// VerifyOptions say whom to trust. The zero value trusts nobody, but still tells changed mails from unchanged ones.
type VerifyOptions struct {
	// Policy judges the signer's certificate; nil trusts nobody.
	Policy Judge
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Certificates are candidates for signers whose certificate is not in the mail, and intermediates.
	Certificates []*x509.Certificate
	// MaxContent is the limit of what a signed mail holds for its reader, without transfer encodings, in bytes; 0 means
	// cms.DefaultMaxContent. The mail as it arrives, and each of its layers, may have MaxWrapped of it.
	MaxContent int64
	// ReportSHA1 examines signatures with SHA-1 further; the best that is ever said about them is Untrusted. Without it
	// they are Invalid.
	ReportSHA1 bool
}

func (o *VerifyOptions) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o *VerifyOptions) policy() Judge {
	if o.Policy == nil {
		return &trust.Policy{}
	}
	return o.Policy
}

func (o *VerifyOptions) maxContent() int64 {
	if o.MaxContent <= 0 {
		return cms.DefaultMaxContent
	}
	return o.MaxContent
}

// clockSkew is how wrong the clock of a signer may be.
const clockSkew = 5 * time.Minute

// Limits of what one mail may cost, over all its layers and parts: anybody can write a mail with signatures and certificates
// that take long to examine.
const (
	maxMessages = maxLayers + maxSignedParts // signed and compressed messages
	maxJudged   = 32                         // certificates of signers, as many as one message can have signers
)

// judging is the judgement over the signers of one mail.
type judging struct {
	opts *VerifyOptions
	from author
	now  time.Time
	// messages and judged count what was examined in the whole mail.
	messages, judged *int
}

func newJudging(h header, opts *VerifyOptions) judging {
	return judging{opts: opts, from: readFrom(h), now: opts.now(), messages: new(int), judged: new(int)}
}

// another reports whether one more message may be examined.
func (j *judging) another() bool {
	*j.messages++
	return *j.messages <= maxMessages
}

// judgement is what is known about the certificate of a signer.
type judgement struct {
	findings   []trust.Finding
	revocation trust.Revocation
}

// candidates are the certificates of one signed message, and what was found out about those that signed it.
type candidates struct {
	judging *judging
	certs   []*x509.Certificate
	known   map[string]judgement
}

// judge judges a certificate; ok is false when it would be one too many.
func (c *candidates) judge(cert *x509.Certificate) (result judgement, ok bool) {
	if result, ok = c.known[string(cert.Raw)]; ok {
		return result, true
	}
	if *c.judging.judged++; *c.judging.judged > maxJudged {
		return result, false
	}
	q, policy := c.judging.question(c.certs), c.judging.opts.policy()
	result = judgement{policy.ForSigning(cert, q), policy.Revocation(cert, q)}
	c.known[string(cert.Raw)] = result
	return result, true
}

// layer judges all signers of a SignedData.
func (j *judging) layer(signed *cms.Signed) Layer {
	l := Layer{Kind: SignedLayer, Detached: signed.Detached, Certificates: signed.Certificates}
	if len(signed.Signers) == 0 {
		l.Verdict, l.Reasons = Unsigned, []string{"it holds certificates and no signature"}
		return l
	}
	l.Verdict = Invalid
	certs := &candidates{judging: j, certs: signed.Certificates, known: map[string]judgement{}}
	for i := range signed.Signers {
		s := j.signature(&signed.Signers[i], certs)
		if better(s.Verdict, l.Verdict) {
			l.Verdict = s.Verdict
		}
		l.Signatures = append(l.Signatures, s)
	}
	return l
}

func (j *judging) signature(s *cms.Signer, certs *candidates) Signature {
	result := Signature{Verdict: Invalid, Reasons: []string{}, Algorithm: string(s.Algorithm)}
	if s.Digest != 0 {
		result.Digest = s.Digest.String()
	}
	if !s.SigningTime.IsZero() {
		result.SigningTime = &s.SigningTime
	}
	if s.Err != nil {
		result.Reasons = append(result.Reasons, s.Err.Error())
		if len(s.Certificates) == 1 && !errors.Is(s.Err, cms.ErrSignature) {
			result.Certificate = describe(s.Certificates[0])
		}
		return result
	}
	cert, judged := certs.best(s.Certificates)
	if cert == nil {
		result.Verdict = Untrusted
		result.Reasons = append(result.Reasons, fmt.Sprintf("not examined: the mail has more than %d certificates of signers", maxJudged))
		return result
	}
	findings := judged.findings
	result.Certificate = describe(cert)
	result.Verdict = verdictOf(findings)
	result.Reasons = j.reasons(findings)
	if s.Digest == crypto.SHA1 {
		result.Verdict = worse(result.Verdict, Untrusted)
		result.Reasons = append(result.Reasons, "signed with SHA-1; such signatures can be forged")
	}
	if result.Verdict == ExpiredThen && outOfTime(s.SigningTime, cert) {
		result.Verdict = Untrusted
		result.Reasons = append(result.Reasons, "by the signer's own claim it was signed when the certificate was not valid")
	}
	if result.Verdict == Valid {
		result.Reasons = []string{fmt.Sprintf("signed by %s, whose certificate names %s", cert.Subject, j.from)}
	}
	result.Reasons = append(result.Reasons, afterwards(findings, s.SigningTime)...)
	result.Warnings = j.timeWarnings(s.SigningTime, cert)
	result.fromFuture = s.SigningTime.After(j.now.Add(clockSkew))
	if text := judged.revocation.Warning(); text != "" && result.Verdict != Invalid {
		result.Warnings = append(result.Warnings, text)
	}
	result.Capabilities = s.Capabilities
	for _, c := range certs.certs {
		if s.Preferred != nil && slices.Equal(c.Raw, s.Preferred) {
			result.Preferred = c
		}
	}
	return result
}

// best chooses the certificate with the best verdict among those whose key verifies the signature. There can be several
// because anybody can make a certificate with somebody else's key. It is nil when none may be examined any more.
func (c *candidates) best(signers []*x509.Certificate) (best *x509.Certificate, why judgement) {
	for _, cert := range signers {
		found, ok := c.judge(cert)
		if ok && (best == nil || better(verdictOf(found.findings), verdictOf(why.findings))) {
			best, why = cert, found
		}
	}
	return best, why
}

// question is what is asked about every certificate.
func (j *judging) question(certs []*x509.Certificate) trust.Question {
	q := trust.Question{Now: j.now, Intermediates: slices.Concat(certs, j.opts.Certificates)}
	if j.from.address != "" {
		q.Addresses = []mailaddr.Address{j.from.address}
	}
	return q
}

// afterwards says how a revocation lies to the time of signing: a mail signed before it may be genuine, but nobody can
// prove when that was.
func afterwards(findings []trust.Finding, claimed time.Time) []string {
	for _, f := range findings {
		switch {
		case f.State != trust.Revoked:
		case claimed.IsZero():
			return []string{"the mail does not say when it was signed"}
		case claimed.Before(f.Since):
			return []string{fmt.Sprintf("the claimed time of signing, %s, is before the revocation, but that time is only what the signer says", claimed.UTC().Format(time.DateTime))}
		default:
			return []string{fmt.Sprintf("even the claimed time of signing, %s, is after the revocation", claimed.UTC().Format(time.DateTime))}
		}
	}
	return nil
}

func (j *judging) reasons(findings []trust.Finding) []string {
	reasons := []string{}
	for _, f := range findings {
		switch {
		case f.State == trust.WrongAddress && j.from.problem != "":
			reasons = append(reasons, j.from.problem)
		default:
			reasons = append(reasons, "the signer's certificate: "+f.Reason)
		}
		if f.Hint != "" {
			reasons = append(reasons, f.Hint)
		}
	}
	return reasons
}

// timeWarnings compares what a signer claims with what is known.
func (j *judging) timeWarnings(claimed time.Time, cert *x509.Certificate) []string {
	switch {
	case claimed.IsZero():
		return nil
	case claimed.After(j.now.Add(clockSkew)):
		return []string{fmt.Sprintf("the claimed time of signing, %s, is in the future", claimed.UTC().Format(time.DateTime))}
	case outOfTime(claimed, cert):
		return []string{fmt.Sprintf("at the claimed time of signing, %s, the certificate was not valid", claimed.UTC().Format(time.DateTime))}
	}
	return nil
}

// outOfTime reports a claimed time of signing at which the certificate was not valid, by whatever clock the signer has; without
// a claim it is false.
func outOfTime(claimed time.Time, cert *x509.Certificate) bool {
	return !claimed.IsZero() && (claimed.Before(cert.NotBefore.Add(-clockSkew)) || claimed.After(cert.NotAfter.Add(clockSkew)))
}

func describe(cert *x509.Certificate) *SignerCertificate {
	sum := sha256.Sum256(cert.Raw)
	d := &SignerCertificate{
		SHA256: hex.EncodeToString(sum[:]), Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), Serial: cert.SerialNumber.Text(16),
		Addresses: []string{}, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Key: trust.KeyName(cert), X509: cert,
	}
	for _, a := range trust.CertificateAddresses(cert) {
		d.Addresses = append(d.Addresses, string(a))
	}
	return d
}
