package cms

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of what one message may cost: digests at a time, certificates tried for one signer.
const (
	maxDigests    = 8
	maxCandidates = 8
)

// VerifyOptions say where content comes from and goes to, and what is accepted. Nil and the zero value verify a message
// that holds its content, with its own certificates, and refuse SHA-1 and signatures without signed attributes.
type VerifyOptions struct {
	// Content is what a detached signature signs. It is read to its end.
	Content io.Reader
	// Output, when not nil, receives the content of a message that holds it, while it is read. It must not be handed
	// on before Verify returned and the result was looked at.
	Output io.Writer
	// Certificates are candidates for signers besides those of the message; they are tried first. For one signer at
	// most eight are tried.
	Certificates []*x509.Certificate
	// MaxContent is the limit of the content in bytes; 0 means DefaultMaxContent.
	MaxContent int64
	// AllowSHA1 accepts SHA-1, which old mail uses. MD5 is never accepted.
	AllowSHA1 bool
	// AllowNoAttributes accepts signatures over the bare content. Content that could itself be signed attributes is
	// refused all the same: an attacker can present the attributes of another message so.
	AllowNoAttributes bool
}

func (o *VerifyOptions) maxContent() int64 {
	if o.MaxContent <= 0 {
		return DefaultMaxContent
	}
	return o.MaxContent
}

// Signed is what a SignedData says and what of it is true.
type Signed struct {
	// ContentType is the type of the signed content; id-data for mail.
	ContentType asn1.ObjectIdentifier
	// Detached reports that the content was not in the message.
	Detached bool
	// Size is the length of the content in bytes.
	Size int64
	// Certificates are those of the message that can be parsed, in its order. They prove nothing by being there.
	Certificates []*x509.Certificate
	// Signers are all of the message, in its order. None at all means that the message is not signed, whatever its
	// type is called (certs-only).
	Signers []Signer
}

// Signer is one signature with its outcome.
type Signer struct {
	// Err is nil when the signature verifies over the content. Else it is one of the findings ErrSignature,
	// ErrContentChanged, ErrNoCertificate, ErrWeakDigest, ErrNoSignedAttributes, ErrAttributes, or ErrUnsupported or
	// ErrSyntax with a sentence.
	Err error
	// Certificates are those that the signer's identifier names and, when Err is nil, whose key verifies the
	// signature. There can be several, for an identifier can be forged; who vouches for which is for the caller to find
	// out.
	Certificates []*x509.Certificate
	// Issuer (DER) and Serial, or SubjectKeyID, identify the signer's certificate.
	Issuer       []byte
	Serial       *big.Int
	SubjectKeyID []byte
	Digest       crypto.Hash
	Algorithm    SignatureAlgorithm
	// SigningTime is what the signer claims; zero when it claims nothing.
	SigningTime time.Time
	// Capabilities and Preferred (a certificate of the message, DER) are the signer's wishes for mail to it; nil when
	// there are none. They count only when Err is nil.
	Capabilities Capabilities
	Preferred    []byte
}

// Verify reads a SignedData from r, to the end of r, and examines every signer (RFC 5652 section 5). The error says that
// the message as a whole cannot be judged: ErrNotSignedData, ErrSyntax, ErrTooLarge, ErrNoContent, or a wrapped error of a
// reader or of Output. Whether a signature is good stands in each [Signer].
func Verify(r io.Reader, opts *VerifyOptions) (*Signed, error) {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	b := newReader(r, 4*opts.maxContent()+readOverhead)
	oid, err := b.readContentInfo()
	if errors.Is(err, ErrSyntax) || err == nil && !oid.Equal(oidSignedData) {
		return nil, ErrNotSignedData
	}
	if err != nil {
		return nil, err
	}
	v := &verifier{reader: b, opts: opts, signed: &Signed{}}
	if err := v.read(); err != nil {
		return nil, err
	}
	for _, der := range v.infos {
		v.signed.Signers = append(v.signed.Signers, v.signer(der))
	}
	return v.signed, nil
}

// verifier is a SignedData while it is read.
type verifier struct {
	*reader
	opts    *VerifyOptions
	signed  *Signed
	hashes  map[crypto.Hash]hash.Hash // of the announced digest algorithms
	first   firstByte
	known   knownCertificates
	infos   [][]byte
	digests map[crypto.Hash][]byte
}

// firstByte remembers the first byte written to it.
type firstByte struct {
	value byte
	any   bool
}

func (f *firstByte) Write(p []byte) (int, error) {
	if !f.any && len(p) > 0 {
		f.value, f.any = p[0], true
	}
	return len(p), nil
}

func (v *verifier) read() error {
	if err := v.readStart(); err != nil {
		return err
	}
	if err := v.readContent(); err != nil {
		return err
	}
	certs, err := v.readCertificates()
	if err != nil {
		return err
	}
	if v.infos, err = v.readSignerInfos(); err != nil {
		return err
	}
	if v.signed.Detached && v.opts.Content == nil && len(v.infos) > 0 {
		return fmt.Errorf("%w: the signature is detached and no content was given", ErrNoContent)
	}
	v.digests = map[crypto.Hash][]byte{}
	for h, state := range v.hashes {
		v.digests[h] = state.Sum(nil)
	}
	v.known = newKnownCertificates(certs)
	for _, k := range v.known {
		if k.parsed != nil {
			v.signed.Certificates = append(v.signed.Certificates, k.parsed)
		}
	}
	return nil
}

// readStart reads up to the content and prepares the announced digests. Unknown and weak ones are left out.
func (v *verifier) readStart() error {
	if err := v.enter(tagSequence, "SignedData"); err != nil {
		return err
	}
	if _, err := v.element(maxSmall, "version"); err != nil {
		return err
	}
	der, err := v.element(maxElement, "digest algorithms")
	if err != nil {
		return err
	}
	s := cryptobyte.String(der)
	var set cryptobyte.String
	if !s.ReadASN1(&set, cryptobyte_asn1.SET) {
		return syntaxError("digest algorithms")
	}
	v.hashes = map[crypto.Hash]hash.Hash{}
	for !set.Empty() {
		alg, err := readAlgorithm(&set)
		if err != nil {
			return within("digest algorithms", err)
		}
		if h, ok := hashByOID(alg.oid); ok && v.accepts(h) && len(v.hashes) < maxDigests {
			v.hashes[h] = h.New()
		}
	}
	return nil
}

// accepts reports whether a digest is strong enough.
func (v *verifier) accepts(h crypto.Hash) bool {
	return h != crypto.MD5 && (h != crypto.SHA1 || v.opts.AllowSHA1)
}

// readContent reads EncapsulatedContentInfo and digests the content, from there or from outside.
func (v *verifier) readContent() error {
	if err := v.enter(tagSequence, "EncapsulatedContentInfo"); err != nil {
		return err
	}
	var err error
	if v.signed.ContentType, err = v.oid("type of the signed content"); err != nil {
		return err
	}
	inside, err := v.next(tagContext0 | constructed)
	if err != nil {
		return err
	}
	switch {
	case inside && v.opts.Content != nil:
		return fmt.Errorf("%w: the message has content of its own", ErrNoContent)
	case inside:
		err = v.readInside()
	default:
		v.signed.Detached = true
		err = v.readOutside()
	}
	if err != nil {
		return err
	}
	return v.leave("EncapsulatedContentInfo")
}

func (v *verifier) readInside() error {
	if err := v.enter(tagContext0|constructed, "signed content"); err != nil {
		return err
	}
	content, err := v.octets(tagOctetString, v.opts.maxContent(), "signed content")
	if err != nil {
		return err
	}
	if err := v.digest(content, v.opts.Output); err != nil {
		return err
	}
	return v.leave("signed content")
}

func (v *verifier) readOutside() error {
	if v.opts.Content == nil {
		return nil
	}
	limit := v.opts.maxContent()
	if err := v.digest(io.LimitReader(v.opts.Content, limit+1), nil); err != nil {
		return fmt.Errorf("read signed content: %w", err)
	}
	if v.signed.Size > limit {
		return ErrTooLarge
	}
	return nil
}

// digest feeds the content to all digests and to output.
func (v *verifier) digest(content io.Reader, output io.Writer) error {
	writers := []io.Writer{&v.first}
	for h := range maps.Values(v.hashes) {
		writers = append(writers, h)
	}
	if output != nil {
		writers = append(writers, output)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(writers...)}, struct{ io.Reader }{content}, make([]byte, copyBuffer))
	v.signed.Size = n
	return err
}

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
	return s.check(scheme, messages, info.signatureValue)
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
func (s *Signer) check(scheme signatureScheme, messages []signedMessage, signature []byte) error {
	var good []*x509.Certificate
	for _, cert := range s.Certificates {
		if slices.ContainsFunc(messages, func(m signedMessage) bool {
			return scheme.verify(publicKey(cert), m.message, m.digest, signature)
		}) {
			good = append(good, cert)
		}
	}
	if len(good) == 0 {
		return ErrSignature
	}
	s.Certificates = good
	return nil
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
