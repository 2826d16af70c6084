package revocation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

var (
	errOCSP    = errors.New("not an OCSP answer that can be used")
	oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
)

func refuseOCSP(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errOCSP}, args...)...)
}

// withoutNext is how long an answer counts that does not say until when it holds: newer information is then available
// all the time (RFC 6960 section 4.2.2.1).
const withoutNext = 24 * time.Hour

// inquiry is one OCSP request: for a certificate by its number.
type inquiry struct {
	serial *big.Int
	issuer *x509.Certificate
}

func (q inquiry) request() ([]byte, error) {
	// SHA-1 only names the issuer here, and is what every responder knows (RFC 5019 section 2.1.1).
	return ocsp.CreateRequest(&x509.Certificate{SerialNumber: q.serial}, q.issuer, &ocsp.RequestOptions{Hash: crypto.SHA1})
}

// read reads an answer and proves that it is about the certificate, by its issuer or whom that entitled, and current. A
// nonce is not used, so that responders can sign beforehand.
func (q inquiry) read(der []byte, now time.Time) (*ocsp.Response, error) {
	if len(der) > maxAnswer {
		return nil, refuseOCSP("longer than %d bytes", maxAnswer)
	}
	r, err := ocsp.ParseResponseForCert(der, &x509.Certificate{SerialNumber: q.serial}, nil)
	if refused, ok := errors.AsType[ocsp.ResponseError](err); ok {
		return nil, fmt.Errorf("the OCSP responder says: %s", refused.Status)
	}
	if err != nil {
		return nil, refuseOCSP("%w", err)
	}
	if !q.named(der) {
		return nil, refuseOCSP("it is about another certificate")
	}
	if err := q.entitled(r, now); err != nil {
		return nil, err
	}
	return r, currentAnswer(r, now)
}

// currentAnswer holds the times of an answer against the clock, and gives it an end when it has none.
func currentAnswer(r *ocsp.Response, now time.Time) error {
	if r.NextUpdate.IsZero() {
		r.NextUpdate = r.ThisUpdate.Add(withoutNext)
	}
	switch {
	case r.Status == ocsp.Unknown:
		return errors.New("the OCSP responder does not know the certificate")
	case r.NextUpdate.Before(r.ThisUpdate):
		return refuseOCSP("it ends before it begins")
	case r.ThisUpdate.After(now.Add(skew)):
		return refuseOCSP("it is of %s, which has not come yet", moment(r.ThisUpdate))
	case r.NextUpdate.Add(skew).Before(now):
		return refuseOCSP("it held until %s", moment(r.NextUpdate))
	}
	return nil
}

// entitled demands that the issuer signed the answer, or somebody to whom it gave a certificate for that (RFC 6960
// section 4.2.2.2).
func (q inquiry) entitled(r *ocsp.Response, now time.Time) error {
	c := r.Certificate
	if c == nil || bytes.Equal(c.RawSubjectPublicKeyInfo, q.issuer.RawSubjectPublicKeyInfo) && bytes.Equal(c.RawSubject, q.issuer.RawSubject) {
		return checkSignature(q.issuer, r.SignatureAlgorithm, r.TBSResponseData, r.Signature)
	}
	who := clip(c.Subject.String())
	switch {
	case !bytes.Equal(c.RawIssuer, q.issuer.RawSubject), checkSignature(q.issuer, c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil:
		return refuseOCSP("signed by %s, whose certificate is not by %s", who, clip(q.issuer.Subject.String()))
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return refuseOCSP("signed by %s, whose certificate is not for OCSP answers", who)
	case now.Add(skew).Before(c.NotBefore), now.Add(-skew).After(c.NotAfter):
		return refuseOCSP("signed by %s, whose certificate is not valid now", who)
	case len(c.UnhandledCriticalExtensions) > 0:
		return refuseOCSP("signed by %s, whose certificate has a critical extension that is not known", who)
	}
	// ocsp.ParseResponse has checked the signature with the key of c; this refuses hashes that can be forged.
	return checkSignature(c, r.SignatureAlgorithm, r.TBSResponseData, r.Signature)
}

// unchecked reports whether a responder's certificate is exempt from being checked itself.
func unchecked(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNoCheck) })
}

// basicAnswer is as much of an answer as it takes to find whom it is about: package ocsp compares serial numbers only.
type basicAnswer struct {
	Data struct {
		Version   int `asn1:"optional,default:0,explicit,tag:0"`
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Answers   []struct {
			ID     certificateID
			Status asn1.RawValue
			This   time.Time     `asn1:"generalized"`
			Next   asn1.RawValue `asn1:"optional,tag:0"`
			More   asn1.RawValue `asn1:"optional,tag:1"`
		}
		Extensions asn1.RawValue `asn1:"optional,tag:1"`
	}
	Algorithm    pkix.AlgorithmIdentifier
	Signature    asn1.BitString
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
}

type certificateID struct {
	Hash   pkix.AlgorithmIdentifier
	Name   []byte
	Key    []byte
	Serial *big.Int
}

// named reports whether the answer that package ocsp takes, the first with the serial number, names the issuer.
func (q inquiry) named(der []byte) bool {
	var outer struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	var basic basicAnswer
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(outer.Bytes.Basic, &basic); err != nil {
		return false
	}
	for _, a := range basic.Data.Answers {
		if a.ID.Serial.Cmp(q.serial) == 0 {
			return q.isIssuer(a.ID)
		}
	}
	return false
}

func (q inquiry) isIssuer(id certificateID) bool {
	for h, oid := range map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
		crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	} {
		if !id.Hash.Algorithm.Equal(oid) {
			continue
		}
		var spki struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(q.issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
			return false
		}
		name, key := h.New(), h.New()
		name.Write(q.issuer.RawSubject)
		key.Write(spki.Key.RightAlign())
		return bytes.Equal(name.Sum(nil), id.Name) && bytes.Equal(key.Sum(nil), id.Key)
	}
	return false
}

// inquire asks the responders in turn until one answers.
func (c *Client) inquire(ctx context.Context, urls []string, q inquiry, now func() time.Time) (r *ocsp.Response, url string, err error) {
	request, err := q.request()
	if err != nil {
		return nil, "", err
	}
	for _, url = range urls {
		var der []byte
		if der, err = c.ask(ctx, url, request); err != nil {
			continue
		}
		if r, err = q.read(der, now()); err == nil {
			return r, url, nil
		}
	}
	return nil, url, err
}
