package cms

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// signer judges one SignerInfo.
func (v *verifier) signer(der []byte) Signer {
	info, err := parseSignerInfo(der)
	if err != nil {
		return Signer{Err: err}
	}
	s := Signer{Issuer: info.id.issuer, Serial: info.id.serial, SubjectKeyID: info.id.ski}
	s.Capabilities = attributeCapabilities(info.attributes)
	s.Preferred = v.known.preferred(info.attributes)
	for _, cert := range slices.Concat(v.opts.Certificates, v.signed.Certificates) {
		if len(s.Certificates) < maxCandidates && info.id.names(cert) && !slices.ContainsFunc(s.Certificates, cert.Equal) {
			s.Certificates = append(s.Certificates, cert)
		}
	}
	s.Err = v.judge(info, &s)
	return s
}

// judge returns nil when the signature is good, with the certificates that verify it in s.
func (v *verifier) judge(info *signerInfo, s *Signer) error {
	var known bool
	if s.Digest, known = hashByOID(info.digest.oid); !known {
		return unsupported("digest algorithm %v", info.digest.oid)
	}
	scheme, err := parseSignatureScheme(info.signature, s.Digest)
	s.Algorithm = scheme.kind
	if err != nil {
		return err
	}
	var timeErr error
	if s.SigningTime, timeErr = signingTime(info.attributes); timeErr != nil {
		return timeErr
	}
	if !v.accepts(s.Digest) {
		return fmt.Errorf("%w: %v", ErrWeakDigest, s.Digest)
	}
	digest, ok := v.digests[s.Digest]
	if !ok {
		return syntaxError("signer's digest %v is not announced at the beginning of the message", s.Digest)
	}
	messages, err := v.signedBytes(info, scheme, digest)
	if err != nil {
		return err
	}
	if len(s.Certificates) == 0 {
		return ErrNoCertificate
	}
	return v.check(s, scheme, messages, info.signatureValue)
}

// signedMessage is what may have been signed, with its digest.
type signedMessage struct{ message, digest []byte }

// signedBytes checks the signed attributes against the content and returns what the signature is over.
func (v *verifier) signedBytes(info *signerInfo, scheme signatureScheme, digest []byte) ([]signedMessage, error) {
	if info.signedAttributes == nil {
		return v.signedContent(scheme, digest)
	}
	if err := checkAttributes(info.attributes, v.signed.ContentType, digest); err != nil {
		return nil, err
	}
	var messages []signedMessage
	for _, encoding := range info.attributeEncodings() {
		h := scheme.hash.New()
		h.Write(encoding)
		messages = append(messages, signedMessage{encoding, h.Sum(nil)})
	}
	return messages, nil
}

// signedContent is the case without signed attributes (RFC 5652 section 5.4).
func (v *verifier) signedContent(scheme signatureScheme, digest []byte) ([]signedMessage, error) {
	switch {
	case !v.opts.AllowNoAttributes:
		return nil, ErrNoSignedAttributes
	case !v.signed.ContentType.Equal(oidData):
		return nil, fmt.Errorf("%w: content of type %v needs them", ErrNoSignedAttributes, v.signed.ContentType)
	case v.first.value == tagSet:
		return nil, fmt.Errorf("%w: the content could be the attributes of another message", ErrNoSignedAttributes)
	case scheme.kind == Ed25519:
		return nil, unsupported("Ed25519 signature over bare content")
	}
	return []signedMessage{{digest: digest}}, nil
}

// check keeps the certificates whose key verifies one of the messages.
func (v *verifier) check(s *Signer, scheme signatureScheme, messages []signedMessage, signature []byte) error {
	var good []*x509.Certificate
	why := ErrSignature
	for _, cert := range s.Certificates {
		if v.checks++; v.checks > maxChecks {
			why = syntaxError("more than %d keys to try", maxChecks)
			break
		}
		key := publicKey(cert)
		if slow(key) {
			why = unsupported("a key that is too slow to verify with")
			continue
		}
		if slices.ContainsFunc(messages, func(m signedMessage) bool { return scheme.verify(key, m.message, m.digest, signature) }) {
			good = append(good, cert)
		}
	}
	if len(good) == 0 {
		return why
	}
	s.Certificates = good
	return nil
}

// slow reports an RSA key with which one signature takes so long to verify that a few could keep the processor busy: more than
// 8192 bits, or more than 4096 with an exponent above the usual 65537.
func slow(key crypto.PublicKey) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && (k.N.BitLen() > 8192 || k.N.BitLen() > 4096 && k.E > 65537)
}

// checkAttributes holds the signed attributes to RFC 5652 sections 11.1 and 11.2.
func checkAttributes(attrs []attribute, contentType asn1.ObjectIdentifier, digest []byte) error {
	value, err := singleValue(attrs, oidContentType, "content-type")
	if err != nil {
		return err
	}
	var oid asn1.ObjectIdentifier
	if s := cryptobyte.String(value); !s.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(contentType) {
		return fmt.Errorf("%w: content-type is another one than the content's", ErrAttributes)
	}
	if value, err = singleValue(attrs, oidMessageDigest, "message-digest"); err != nil {
		return err
	}
	var signed cryptobyte.String
	if s := cryptobyte.String(value); !s.ReadASN1(&signed, cryptobyte_asn1.OCTET_STRING) {
		return fmt.Errorf("%w: message-digest is not an octet string", ErrAttributes)
	}
	if subtle.ConstantTimeCompare(signed, digest) != 1 {
		return ErrContentChanged
	}
	return nil
}

// singleValue returns the value of an attribute that must be there once, with one value.
func singleValue(attrs []attribute, oid asn1.ObjectIdentifier, name string) ([]byte, error) {
	var values [][]byte
	count := 0
	for _, a := range attrs {
		if a.oid.Equal(oid) {
			count++
			values = append(values, a.values...)
		}
	}
	if count != 1 || len(values) != 1 {
		return nil, fmt.Errorf("%w: %s is there %d times with %d values", ErrAttributes, name, count, len(values))
	}
	return values[0], nil
}

// signingTime reads the optional attribute (RFC 5652 section 11.3).
func signingTime(attrs []attribute) (time.Time, error) {
	if !slices.ContainsFunc(attrs, func(a attribute) bool { return a.oid.Equal(oidSigningTime) }) {
		return time.Time{}, nil
	}
	value, err := singleValue(attrs, oidSigningTime, "signing-time")
	if err != nil {
		return time.Time{}, err
	}
	var t time.Time
	s := cryptobyte.String(value)
	if s.PeekASN1Tag(cryptobyte_asn1.UTCTime) && s.ReadASN1UTCTime(&t) || s.ReadASN1GeneralizedTime(&t) {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%w: signing-time is not a time", ErrAttributes)
}

// attributeEncodings returns the signed attributes as they may have been signed: with the tag of SET OF, as sent and, should
// that not be DER, in DER order (RFC 5652 section 5.4 signs DER; some writers sign what they send). Both say the same.
func (s *signerInfo) attributeEncodings() [][]byte {
	sent := bytes.Clone(s.signedAttributes)
	sent[0] = tagSet
	in := cryptobyte.String(sent)
	var set cryptobyte.String
	var elements [][]byte
	in.ReadASN1(&set, cryptobyte_asn1.SET)
	for !set.Empty() {
		var element cryptobyte.String
		if !set.ReadASN1Element(&element, cryptobyte_asn1.SEQUENCE) {
			return [][]byte{sent}
		}
		elements = append(elements, element)
	}
	if sorted := encodeSetOf(elements); !bytes.Equal(sorted, sent) {
		return [][]byte{sent, sorted}
	}
	return [][]byte{sent}
}
