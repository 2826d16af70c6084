package cms

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Attribute is a signed attribute (RFC 5652 section 5.3).
type Attribute struct {
	Type   asn1.ObjectIdentifier
	Values [][]byte // DER
}

// CapabilitiesAttribute announces what the signer can read (RFC 8551 section 2.5.2).
func CapabilitiesAttribute(c Capabilities) Attribute {
	return Attribute{Type: oidCapabilities, Values: [][]byte{c.Encode()}}
}

// KeyPreferenceAttribute names the certificate that mail to the signer should be encrypted with (RFC 8551 section 2.5.3).
func KeyPreferenceAttribute(cert *x509.Certificate) Attribute {
	value := issuerAndSerial(cert)
	value[0] = tagContext0 | constructed
	return Attribute{Type: oidKeyPreference, Values: [][]byte{value}}
}

// SigningKey is one signer of a message to be written.
type SigningKey struct {
	Certificate *x509.Certificate
	// Key belongs to the certificate: RSA, ECDSA or Ed25519.
	Key crypto.Signer
	// Digest is SHA-256, SHA-384 or SHA-512; zero means SHA-256 for RSA, the curve's strength for ECDSA, SHA-512 for
	// Ed25519.
	Digest crypto.Hash
	// PSS signs with RSASSA-PSS instead of PKCS #1 v1.5; it has no meaning for other keys.
	PSS bool
	// SigningTime is what the signer claims; nothing is claimed when it is zero.
	SigningTime time.Time
	// Attributes are signed besides content-type, message-digest and signing-time, which may not be among them.
	Attributes []Attribute
}

// SignOptions vary a SignedData. Nil and the zero value make one that holds its content.
type SignOptions struct {
	// Detached leaves the content out; the message is then DER, else BER with content in chunks.
	Detached bool
	// Certificates are sent besides those of the signers, such as intermediate authorities.
	Certificates []*x509.Certificate
}

// Sign writes a SignedData over what the caller writes to the returned writer (RFC 5652 section 5). The message is
// complete only after Close, which does not close w. Every signer's certificate is included and named by issuer and serial
// number. Without signers it is an error. A key that cannot sign is found before anything is written.
func Sign(w io.Writer, signers []SigningKey, opts *SignOptions) (io.WriteCloser, error) {
	if opts == nil {
		opts = &SignOptions{}
	}
	if len(signers) == 0 {
		return nil, errors.New("sign: no signers given")
	}
	s := &signWriter{w: w, opts: opts, digests: map[crypto.Hash]hash.Hash{}}
	for i, key := range signers {
		scheme, err := key.scheme()
		if err != nil {
			return nil, fmt.Errorf("sign with key %d: %w", i+1, err)
		}
		s.signers = append(s.signers, signing{key, scheme})
		if s.digests[scheme.hash] == nil {
			s.digests[scheme.hash] = scheme.hash.New()
		}
	}
	if opts.Detached {
		return s, nil
	}
	if _, err := w.Write(s.prefix()); err != nil {
		return nil, fmt.Errorf("write message header: %w", err)
	}
	s.chunks = newOctetWriter(w, true)
	s.buf = s.chunks.body()[:0]
	return s, nil
}

// scheme checks the signer and chooses its algorithm.
func (k *SigningKey) scheme() (signatureScheme, error) {
	if k.Certificate == nil || k.Key == nil {
		return signatureScheme{}, errors.New("certificate or key is missing")
	}
	pub := publicKey(k.Certificate)
	if own, ok := k.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(pub) {
		return signatureScheme{}, fmt.Errorf("the key does not belong to the certificate of %q", k.Certificate.Subject)
	}
	for _, a := range k.Attributes {
		if _, err := asn1.Marshal(a.Type); err != nil {
			return signatureScheme{}, fmt.Errorf("attribute type %v: %w", a.Type, err)
		}
		for _, reserved := range []asn1.ObjectIdentifier{oidContentType, oidMessageDigest, oidSigningTime} {
			if a.Type.Equal(reserved) {
				return signatureScheme{}, fmt.Errorf("attribute %v is set by Sign itself", a.Type)
			}
		}
	}
	return writtenSignature(pub, k.Digest, k.PSS)
}

type signing struct {
	SigningKey
	scheme signatureScheme
}

// signWriter digests the content and, unless it is detached, writes it in chunks.
type signWriter struct {
	w       io.Writer
	opts    *SignOptions
	signers []signing
	digests map[crypto.Hash]hash.Hash
	chunks  octetWriter
	buf     []byte
	failure error
}

// prefix is everything before the content, with indefinite lengths.
func (s *signWriter) prefix() []byte {
	n := nest{size: -1}
	n.wrap(tagOctetString|constructed, nil, nil)
	n.wrap(tagContext0|constructed, nil, nil)
	n.wrap(tagSequence, encodeOID(oidData), nil)
	n.wrap(tagSequence, s.start(), nil)
	n.wrap(tagContext0|constructed, nil, nil)
	n.wrap(tagSequence, encodeOID(oidSignedData), nil)
	return n.prefix
}

// start is version and digest algorithms (RFC 5652 section 5.1: version 1, signers are named by issuer and serial number).
func (s *signWriter) start() []byte {
	var algorithms [][]byte
	for h := range s.digests {
		algorithms = append(algorithms, digestAlgorithm(h))
	}
	return slices.Concat(encodeInt(1), encodeSetOf(algorithms))
}

func (s *signWriter) Write(p []byte) (int, error) {
	if s.failure != nil {
		return 0, s.failure
	}
	for _, h := range s.digests {
		h.Write(p)
	}
	if s.opts.Detached {
		return len(p), nil
	}
	written := 0
	for written < len(p) {
		n := copy(s.buf[len(s.buf):cap(s.buf)], p[written:])
		s.buf = s.buf[:len(s.buf)+n]
		written += n
		if len(s.buf) == cap(s.buf) {
			if s.failure = s.flush(); s.failure != nil {
				return written, s.failure
			}
		}
	}
	return written, nil
}

func (s *signWriter) flush() error {
	err := s.chunks.write(len(s.buf))
	s.buf = s.buf[:0]
	return err
}

// Close signs and writes the rest of the message.
func (s *signWriter) Close() error {
	if s.failure != nil {
		return s.failure
	}
	s.failure = errClosed
	infos, err := s.signerInfos()
	if err != nil {
		return err
	}
	rest := slices.Concat(s.certificates(), infos)
	if s.opts.Detached {
		inner := encodeElement(tagSequence, s.start(), encodeElement(tagSequence, encodeOID(oidData)), rest)
		rest = encodeElement(tagSequence, encodeOID(oidSignedData), encodeElement(tagContext0|constructed, inner))
	} else {
		if err := s.flush(); err != nil {
			return err
		}
		ends := make([]byte, 3*len(endOfContents)) // of three elements inside, of three around
		rest = slices.Concat(ends, rest, ends)
	}
	if _, err := s.w.Write(rest); err != nil {
		return fmt.Errorf("write signatures: %w", err)
	}
	return nil
}

// certificates is the [0] CertificateSet, each certificate once.
func (s *signWriter) certificates() []byte {
	var certs []*x509.Certificate
	for _, k := range s.signers {
		certs = append(certs, k.Certificate)
	}
	var ders [][]byte
	for _, cert := range slices.Concat(certs, s.opts.Certificates) {
		if !slices.ContainsFunc(ders, func(der []byte) bool { return slices.Equal(der, cert.Raw) }) {
			ders = append(ders, cert.Raw)
		}
	}
	set := encodeSetOf(ders)
	set[0] = tagContext0 | constructed
	return set
}

func (s *signWriter) signerInfos() ([]byte, error) {
	var infos [][]byte
	for i, k := range s.signers {
		info, err := k.signerInfo(s.digests[k.scheme.hash].Sum(nil))
		if err != nil {
			return nil, fmt.Errorf("sign with key %d: %w", i+1, err)
		}
		infos = append(infos, info)
	}
	return encodeSetOf(infos), nil
}

// signerInfo signs the attributes (RFC 5652 section 5.3 and 5.4).
func (k *signing) signerInfo(contentDigest []byte) ([]byte, error) {
	attrs, err := k.signedAttributes(contentDigest)
	if err != nil {
		return nil, err
	}
	h := k.scheme.hash.New()
	h.Write(attrs)
	signature, err := k.scheme.sign(k.Key, attrs, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	attrs[0] = tagContext0 | constructed
	return encodeElement(tagSequence, encodeInt(1), issuerAndSerial(k.Certificate), digestAlgorithm(k.scheme.hash), attrs,
		k.scheme.algorithm(), encodeOctets(signature)), nil
}

func (k *signing) signedAttributes(contentDigest []byte) ([]byte, error) {
	all := append([]Attribute{
		{oidContentType, [][]byte{encodeOID(oidData)}},
		{oidMessageDigest, [][]byte{encodeOctets(contentDigest)}},
	}, k.Attributes...)
	if !k.SigningTime.IsZero() {
		value, err := encodeTime(k.SigningTime)
		if err != nil {
			return nil, err
		}
		all = append(all, Attribute{oidSigningTime, [][]byte{value}})
	}
	var encoded [][]byte
	for _, a := range all {
		encoded = append(encoded, encodeElement(tagSequence, encodeOID(a.Type), encodeSetOf(slices.Clone(a.Values))))
	}
	return encodeSetOf(encoded), nil
}

// encodeTime uses UTCTime from 1950 to 2049 and GeneralizedTime otherwise (RFC 5652 section 11.3), in whole seconds.
func encodeTime(t time.Time) ([]byte, error) {
	t = t.UTC().Truncate(time.Second)
	var b cryptobyte.Builder
	if t.Year() >= 1950 && t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode signing time: %w", err)
	}
	return der, nil
}
