package smime

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Signer is a certificate with its private key.
type Signer struct {
	Certificate *x509.Certificate
	// Key belongs to the certificate: RSA, ECDSA or Ed25519. It may be on a smart card.
	Key crypto.Signer
	// Intermediates are sent along, so that the reader can build a chain.
	Intermediates []*x509.Certificate
	// Encryption is the certificate that answers should be encrypted to, and is sent along; nil means Certificate, when
	// its key can be encrypted to.
	Encryption *x509.Certificate
}

// SignOptions say with which key and in which form.
type SignOptions struct {
	Signer Signer
	// Choose, when not nil, picks the Signer for a mail by its From addresses: one, or none when they cannot be told.
	Choose func(from []mailaddr.Address) (Signer, error)
	// Opaque wraps the mail into application/pkcs7-mime, which only S/MIME programs can show, in place of multipart/signed,
	// which everybody can read (RFC 8551 section 3.5).
	Opaque bool
	// PSS signs with RSASSA-PSS, which not everybody can verify, in place of RSA PKCS #1 v1.5.
	PSS bool
	// Time is the claimed time of signing; the zero value claims nothing.
	Time time.Time
	// LF ends the lines of the output with LF in place of CRLF. The signature is over CRLF all the same. It has no
	// meaning inside an encrypted mail.
	LF bool
	// Warn, when not nil, is given sentences about how readers will take the signature, before the first byte is written. The
	// mail is signed all the same. Encrypt puts them into Choice.Warnings in its place.
	Warn func(warnings []string)
}

// Signed says how a mail was signed.
type Signed struct {
	// Digest is the digest algorithm of the signature.
	Digest crypto.Hash
}

// forMail are the options for a mail with this header: with the signer that Choose picks.
func (o *SignOptions) forMail(h header) (*SignOptions, error) {
	if o.Choose == nil {
		return o, nil
	}
	chosen := *o
	var err error
	chosen.Signer, err = o.Choose(readFrom(h).list())
	return &chosen, err
}

// Sign reads a mail (message/rfc822, lines ending in LF or CRLF) from r and writes it signed to w.
//
// The outer header keeps every field as it is, in order, but Content-* and MIME-Version. What is signed are the Content-*
// fields and the body, in the form of RFC 8551 section 3.1: lines end in CRLF, parts that are 8bit or binary, or in truth
// not 7bit, become quoted-printable or base64, and so do lines that a mailbox file would change. The signature has a signing time when one is given, announces what this
// program can read (SMIMECapabilities) and with which certificate (SMIMEEncryptionKeyPreference).
//
// The mail is streamed. Errors before the first byte is written: ErrHeader, a certificate or key that cannot sign, and those
// of the reader. What was written when a later error occurs (ErrHeader, ErrStructure, the key, reader or writer) is no mail
// and must be thrown away.
func Sign(ctx context.Context, r io.Reader, w io.Writer, opts *SignOptions) (*Signed, error) {
	in := bufio.NewReaderSize(&contextReader{ctx, r}, blockSize)
	h, err := readMailHeader(in)
	if err != nil {
		return nil, err
	}
	if opts, err = opts.forMail(h); err != nil {
		return nil, err
	}
	s, err := newSigning(opts)
	if err != nil {
		return nil, err
	}
	if _, err := h.transferEncoding(); err != nil {
		return nil, err
	}
	if _, _, err := h.mediaType(); err != nil {
		return nil, err
	}
	if warnings := s.warnings(h); opts.Warn != nil && warnings != nil {
		opts.Warn(warnings)
	}
	out := bufio.NewWriterSize(w, blockSize)
	var lines io.Writer = out
	lf := &lfWriter{w: out}
	if opts.LF {
		lines = lf
	}
	outer := append(h.without("MIME-Version").append(nil), "MIME-Version: 1.0\r\n"...)
	if _, err := lines.Write(outer); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	if err := s.entity(lines, h.described(in).contentOrText(), in); err != nil {
		return nil, fmt.Errorf("sign mail: %w", err)
	}
	if err := errors.Join(lf.Flush(), out.Flush()); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	return &Signed{Digest: s.key.Digest}, nil
}

// signing is a signature to be made.
type signing struct {
	opts  *SignOptions
	key   cms.SigningKey
	certs []*x509.Certificate
}

// newSigning prepares a signature and finds out whether the key can make it.
func newSigning(opts *SignOptions) (*signing, error) {
	who := opts.Signer
	if who.Certificate == nil || who.Key == nil {
		return nil, errors.New("sign mail: no certificate or no key given")
	}
	s := &signing{opts: opts, certs: who.Intermediates}
	s.key = cms.SigningKey{Certificate: who.Certificate, Key: who.Key, Digest: digestFor(who.Certificate.PublicKey), PSS: opts.PSS, SigningTime: opts.Time}
	s.key.Attributes = append(s.key.Attributes, cms.CapabilitiesAttribute(ownCapabilities()))
	switch preferred := who.Encryption; {
	case preferred != nil:
		s.certs = append([]*x509.Certificate{preferred}, s.certs...)
		s.key.Attributes = append(s.key.Attributes, cms.KeyPreferenceAttribute(preferred))
	case canEncryptTo(who.Certificate):
		s.key.Attributes = append(s.key.Attributes, cms.KeyPreferenceAttribute(who.Certificate))
	}
	if _, err := cms.Sign(io.Discard, []cms.SigningKey{s.key}, s.cmsOptions()); err != nil {
		return nil, fmt.Errorf("sign mail: %w", err)
	}
	return s, nil
}

func (s *signing) cmsOptions() *cms.SignOptions {
	return &cms.SignOptions{Detached: !s.opts.Opaque, Certificates: s.certs}
}

// digestFor is the digest of the key's strength (RFC 8551 section 2.1, RFC 8419 section 3.1).
func digestFor(pub crypto.PublicKey) crypto.Hash {
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		switch bits := key.Curve.Params().BitSize; {
		case bits > 384:
			return crypto.SHA512
		case bits > 256:
			return crypto.SHA384
		}
	case ed25519.PublicKey:
		return crypto.SHA512
	}
	return crypto.SHA256
}

// canEncryptTo reports whether a certificate allows the encryption of keys (see package trust for the whole judgement).
func canEncryptTo(cert *x509.Certificate) bool {
	switch cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return cert.KeyUsage == 0 || cert.KeyUsage&x509.KeyUsageKeyEncipherment != 0
	case *ecdsa.PublicKey:
		return cert.KeyUsage == 0 || cert.KeyUsage&x509.KeyUsageKeyAgreement != 0
	}
	return false
}

// ownCapabilities are what package cms can read, the best first (RFC 8551 section 2.5.2).
func ownCapabilities() cms.Capabilities {
	var list cms.Capabilities
	for _, c := range []cms.Cipher{cms.AES256GCM, cms.AES128GCM, cms.AES256CBC, cms.AES192CBC, cms.AES128CBC} {
		list = append(list, cms.Capability{Algorithm: c.OID()})
	}
	for _, oid := range []asn1.ObjectIdentifier{oidECDHSHA256, oidRSAOAEP} {
		list = append(list, cms.Capability{Algorithm: oid, Parameters: capabilityParameters(oid)})
	}
	return list
}

var (
	oidECDHSHA256 = asn1.ObjectIdentifier{1, 3, 132, 1, 11, 1}             // dhSinglePass-stdDH-sha256kdf (RFC 5753)
	oidAES256Wrap = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 45} // id-aes256-wrap (RFC 3565)
	oidRSAOAEP    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}      // id-RSAES-OAEP (RFC 3560)
)

// capabilityParameters are the wrap of key agreement (RFC 5753 section 7), and the empty parameters of OAEP that RFC 3560
// section 5 prescribes.
func capabilityParameters(oid asn1.ObjectIdentifier) []byte {
	var der []byte
	var err error
	if oid.Equal(oidECDHSHA256) {
		der, err = asn1.Marshal(struct{ Wrap asn1.ObjectIdentifier }{oidAES256Wrap})
	} else {
		der, err = asn1.Marshal(struct{}{})
	}
	if err != nil {
		return nil // cannot happen: both are constant
	}
	return der
}

// warnings says what the reader of the mail will wonder about.
func (s *signing) warnings(h header) []string {
	from := readFrom(h)
	if from.problem != "" {
		return []string{from.problem}
	}
	if !from.namedBy(s.opts.Signer.Certificate) {
		return []string{fmt.Sprintf("the certificate does not name %s, so readers will be warned", from)}
	}
	return nil
}

// entity writes the signed form of an entity.
func (s *signing) entity(w io.Writer, h header, body *bufio.Reader) error {
	if s.opts.Opaque {
		return s.opaque(w, h, body)
	}
	return s.multipart(w, h, body)
}

const opaqueHeader = "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=\"smime.p7m\"\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"Content-Disposition: attachment; filename=\"smime.p7m\"\r\n" +
	"Content-Description: S/MIME signed message\r\n\r\n"

// opaque writes application/pkcs7-mime (RFC 8551 section 3.5.2).
func (s *signing) opaque(w io.Writer, h header, body *bufio.Reader) error {
	if _, err := io.WriteString(w, opaqueHeader); err != nil {
		return err
	}
	text := newBase64Writer(w, "\r\n")
	signed, err := cms.Sign(text, []cms.SigningKey{s.key}, s.cmsOptions())
	if err != nil {
		return err
	}
	if err := s.content(signed, h, body); err != nil {
		return err
	}
	if err := signed.Close(); err != nil {
		return err
	}
	return text.Close()
}

// content writes what is signed.
func (s *signing) content(w io.Writer, h header, body *bufio.Reader) error {
	canonical := newCRLFWriter(w)
	if err := (&sevenBit{canonical}).entity(h, body, 0); err != nil {
		return err
	}
	return canonical.Flush()
}

const signatureHeader = "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"Content-Disposition: attachment; filename=\"smime.p7s\"\r\n" +
	"Content-Description: S/MIME cryptographic signature\r\n\r\n"

// multipart writes multipart/signed (RFC 8551 section 3.5.3). The boundary is random, so it cannot occur inside.
func (s *signing) multipart(w io.Writer, h header, body *bufio.Reader) error {
	boundary := "signed-" + rand.Text()
	_, err := fmt.Fprintf(w, "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n\tmicalg=%s; boundary=\"%s\"\r\n\r\n"+
		"This is a signed message in MIME format.\r\n\r\n--%s\r\n", micalg(s.key.Digest), boundary, boundary)
	if err != nil {
		return err
	}
	var message bytes.Buffer
	signed, err := cms.Sign(&message, []cms.SigningKey{s.key}, s.cmsOptions())
	if err != nil {
		return err
	}
	if err := s.content(io.MultiWriter(signed, w), h, body); err != nil {
		return err
	}
	if err := signed.Close(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\r\n--%s\r\n%s", boundary, signatureHeader); err != nil {
		return err
	}
	text := newBase64Writer(w, "\r\n")
	if _, err := text.Write(message.Bytes()); err != nil {
		return err
	}
	if err := text.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\r\n--%s--\r\n", boundary)
	return err
}

// micalg names a digest as RFC 8551 section 3.5.3.2 does.
func micalg(h crypto.Hash) string {
	switch h {
	case crypto.SHA384:
		return "sha-384"
	case crypto.SHA512:
		return "sha-512"
	}
	return "sha-256"
}
