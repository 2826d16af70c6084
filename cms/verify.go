package cms

import (
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of what one message may cost: digests at a time, certificates tried for one signer, keys tried for all of them.
const (
	maxDigests    = 8
	maxCandidates = 8
	maxChecks     = 64
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
	checks  int // keys tried so far
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
	if err := v.version(); err != nil {
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
	if !approvedHash(h) && fips140.Enforced() {
		return false
	}
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
