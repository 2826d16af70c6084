package revocation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidCRLNumber    = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReason       = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidity   = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidDelta        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidScope        = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// errCRL is the beginning of every complaint about a CRL.
var errCRL = errors.New("not a CRL that can be used")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errCRL}, args...)...)
}

// crl is a CRL that was read and proven.
type crl struct {
	number         *big.Int // nil when it has none
	this, next     time.Time
	scope          scope
	revoked        []revoked // in order of the serial numbers, each once
	issuer, signed []byte
}

// maxSerial is the longest serial number in bytes (RFC 5280 section 4.1.2.2). A certificate with a longer one is never
// said to be good.
const maxSerial = 20

// revoked is one entry of a CRL.
type revoked struct {
	serial [maxSerial]byte // big endian, filled up with zeros at the front
	since  uint32          // seconds since 1970
	reason byte            // CRLReason
}

// outline is a CRL cut into its parts.
type outline struct {
	skeleton  []byte // the CRL without its entries
	signed    []byte
	signature []byte
	entries   cryptobyte.String
}

// parseCRL reads a CRL and proves that issuer made it, now. The entries are read without a copy each, because there can be
// a million.
func parseCRL(der []byte, issuer *x509.Certificate, now time.Time) (*crl, error) {
	o, err := outlineOf(der)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(o.skeleton)
	if err != nil {
		return nil, refuse("%w", err)
	}
	if err := proven(list, o, issuer); err != nil {
		return nil, err
	}
	c := &crl{number: list.Number, this: list.ThisUpdate, next: list.NextUpdate, issuer: list.RawIssuer, signed: o.signed}
	if err := c.checkTimes(now); err != nil {
		return nil, err
	}
	if err := c.readExtensions(list); err != nil {
		return nil, err
	}
	if c.revoked, err = readEntries(o.entries); err != nil {
		return nil, err
	}
	return c, nil
}

// outlineOf takes the entries out of a CRL, so that the rest, which is small, can be read by crypto/x509.
func outlineOf(der []byte) (*outline, error) {
	o := &outline{}
	input := cryptobyte.String(der)
	var list, tbs, algorithm, signed cryptobyte.String
	var signature asn1.BitString
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, refuse("not one DER structure")
	}
	if !list.ReadASN1Element(&signed, cbasn1.SEQUENCE) || !list.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) ||
		!list.ReadASN1BitString(&signature) || !list.Empty() {
		return nil, refuse("not a CertificateList")
	}
	o.signed, o.signature = signed, signature.RightAlign()
	if whole := signed; !whole.ReadASN1(&tbs, cbasn1.SEQUENCE) {
		return nil, refuse("not a CertificateList")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { o.copy(b, tbs) })
		b.AddBytes(algorithm)
		b.AddASN1BitString(o.signature)
	})
	var err error
	if o.skeleton, err = b.Bytes(); err != nil {
		return nil, refuse("%w", err)
	}
	return o, nil
}

// maxSkeleton bounds what a CRL holds besides its entries.
const maxSkeleton = 64 << 10

// copy copies the members of a TBSCertList but for revokedCertificates: the one sequence behind a time.
func (o *outline) copy(b *cryptobyte.Builder, tbs cryptobyte.String) {
	size, afterTime := 0, false
	for !tbs.Empty() {
		var element cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1Element(&element, &tag) {
			b.SetError(errors.New("not a TBSCertList"))
			return
		}
		if tag == cbasn1.SEQUENCE && afterTime {
			afterTime = false
			element.ReadASN1(&o.entries, cbasn1.SEQUENCE)
			continue
		}
		afterTime = tag == cbasn1.UTCTime || tag == cbasn1.GeneralizedTime
		if size += len(element); size > maxSkeleton {
			b.SetError(errors.New("more than 64 KiB besides its entries"))
			return
		}
		b.AddBytes(element)
	}
}

// proven holds a CRL against its issuer (RFC 5280 section 6.3.3 steps f and g).
func proven(list *x509.RevocationList, o *outline, issuer *x509.Certificate) error {
	switch {
	case !bytes.Equal(list.RawIssuer, issuer.RawSubject) && list.Issuer.String() != issuer.Subject.String():
		return refuse("it is of %s, not of %s", clip(list.Issuer.String()), clip(issuer.Subject.String()))
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0:
		return refuse("the certificate of %s does not allow it to sign CRLs", clip(issuer.Subject.String()))
	}
	return checkSignature(issuer, list.SignatureAlgorithm, o.signed, o.signature)
}

// checkSignature refuses also what crypto/x509 lets pass besides certificates: hashes that can be forged.
func checkSignature(signer *x509.Certificate, algorithm x509.SignatureAlgorithm, signed, signature []byte) error {
	switch algorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return refuse("signed with %s; such signatures can be forged", algorithm)
	}
	if err := signer.CheckSignature(algorithm, signed, signature); err != nil {
		return refuse("its signature is not of the key of %s", clip(signer.Subject.String()))
	}
	return nil
}

// checkTimes demands the times that RFC 5280 section 5.1.2.5 demands. A CRL that has ended is read all the same: what it
// says was revoked is revoked.
func (c *crl) checkTimes(now time.Time) error {
	switch {
	case c.next.IsZero():
		return refuse("it does not say until when it holds (nextUpdate)")
	case c.next.Before(c.this):
		return refuse("it ends before it begins")
	case c.this.After(now.Add(skew)):
		return refuse("it is of %s, which has not come yet", moment(c.this))
	}
	return nil
}

// readExtensions refuses what would change the meaning of the list.
func (c *crl) readExtensions(list *x509.RevocationList) error {
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return refuse("a delta CRL, which is not complete")
		case e.Id.Equal(oidScope):
			var err error
			if c.scope, err = parseScope(e.Value); err != nil {
				return err
			}
		case e.Id.Equal(oidCRLNumber), e.Id.Equal(oidAuthorityKey):
		case e.Critical:
			return refuse("it has a critical extension that is not known (%s)", e.Id)
		}
	}
	return nil
}

// readEntries reads revokedCertificates.
func readEntries(entries cryptobyte.String) ([]revoked, error) {
	const usual = 32 // bytes of an entry
	all := make([]revoked, 0, len(entries)/usual)
	for !entries.Empty() {
		var entry cryptobyte.String
		if !entries.ReadASN1(&entry, cbasn1.SEQUENCE) {
			return nil, refuse("an entry cannot be read")
		}
		r, counts, err := readEntry(entry)
		if err != nil {
			return nil, err
		}
		if counts {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b revoked) int {
		return cmp.Or(bytes.Compare(a.serial[:], b.serial[:]), cmp.Compare(a.since, b.since))
	})
	return slices.CompactFunc(all, func(a, b revoked) bool { return a.serial == b.serial }), nil
}

const removeFromCRL = 8

// readEntry reads one entry. It does not count when no certificate can have its number, or when it says that it is none
// (removeFromCRL).
func readEntry(entry cryptobyte.String) (r revoked, counts bool, err error) {
	var serial cryptobyte.String
	var since time.Time
	if !entry.ReadASN1(&serial, cbasn1.INTEGER) || len(serial) == 0 || !readTime(&entry, &since) {
		return r, false, refuse("an entry cannot be read")
	}
	r.since = uint32(min(max(since.Unix(), 0), math.MaxUint32))
	if r.reason, err = readReason(entry); err != nil {
		return r, false, err
	}
	n, fits := serialBytes(serial)
	r.serial = n
	return r, fits && r.reason != removeFromCRL, nil
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(cbasn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// readReason reads the extensions of an entry (RFC 5280 section 5.3).
func readReason(entry cryptobyte.String) (reason byte, err error) {
	if entry.Empty() {
		return 0, nil
	}
	var extensions cryptobyte.String
	if !entry.ReadASN1(&extensions, cbasn1.SEQUENCE) || !entry.Empty() {
		return 0, refuse("an entry cannot be read")
	}
	for !extensions.Empty() {
		var e, value cryptobyte.String
		var id asn1.ObjectIdentifier
		var critical bool
		if !extensions.ReadASN1(&e, cbasn1.SEQUENCE) || !e.ReadASN1ObjectIdentifier(&id) ||
			e.PeekASN1Tag(cbasn1.BOOLEAN) && !e.ReadASN1Boolean(&critical) || !e.ReadASN1(&value, cbasn1.OCTET_STRING) || !e.Empty() {
			return 0, refuse("an extension of an entry cannot be read")
		}
		switch {
		case id.Equal(oidReason):
			var code int
			if !value.ReadASN1Enum(&code) || code < 0 || code > 10 {
				return 0, refuse("an entry has a reason that is not known")
			}
			reason = byte(code)
		case critical && !id.Equal(oidInvalidity):
			return 0, refuse("an entry has a critical extension that is not known (%s)", id)
		}
	}
	return reason, nil
}

// serialBytes fits a big-endian positive integer into the form of the store.
func serialBytes(n []byte) (out [maxSerial]byte, fits bool) {
	if len(n) > 0 && n[0]&0x80 != 0 {
		return out, false
	}
	n = bytes.TrimLeft(n, "\x00")
	if len(n) > maxSerial {
		return out, false
	}
	copy(out[maxSerial-len(n):], n)
	return out, true
}

// serialOf is serialBytes of a certificate's number.
func serialOf(cert *x509.Certificate) (out [maxSerial]byte, fits bool) {
	if cert.SerialNumber.Sign() < 0 {
		return out, false
	}
	return serialBytes(append([]byte{0}, cert.SerialNumber.Bytes()...))
}

// reasonText is a CRLReason (RFC 5280 section 5.3.1) in words; empty when there is none.
func reasonText(code byte) string {
	switch code {
	case 1:
		return "key compromise"
	case 2:
		return "compromise of the authority"
	case 3:
		return "the holder's affiliation changed"
	case 4:
		return "superseded"
	case 5:
		return "no longer needed"
	case 6:
		return "on hold"
	case 9:
		return "privilege withdrawn"
	case 10:
		return "compromise of the attribute authority"
	}
	return ""
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// clip bounds a text of others in a sentence.
func clip(s string) string {
	const most = 120
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
