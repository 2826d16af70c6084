package cms

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
)

// KeyAgreement is a private key that can compute a Diffie-Hellman secret with a public key of its own curve, such as
// *ecdh.PrivateKey or a key on a smart card. Leading zero bytes may be missing from the result.
type KeyAgreement interface {
	ECDH(remote *ecdh.PublicKey) ([]byte, error)
}

type curve struct {
	ecdh ecdh.Curve
	oid  asn1.ObjectIdentifier // named curve; nil for X25519
	size int                   // of the shared secret in bytes
}

var curves = []curve{
	{ecdh.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	{ecdh.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	{ecdh.P521(), asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
	{ecdh.X25519(), nil, 32},
}

func curveOf(pub *ecdh.PublicKey) (curve, bool) {
	for _, c := range curves {
		if pub.Curve() == c.ecdh {
			return c, true
		}
	}
	return curve{}, false
}

// keyAlgorithm is the AlgorithmIdentifier of a public key on the curve. The named curve is repeated, which RFC 5753
// section 3.1.1 allows and some readers need.
func (c curve) keyAlgorithm() []byte {
	if c.oid == nil {
		return encodeAlgorithm(oidX25519, nil)
	}
	return encodeAlgorithm(oidECPublicKey, encodeOID(c.oid))
}

// agreementInfo makes a KeyAgreeRecipientInfo (RFC 5652 section 6.2.2) with an ephemeral key of its own.
func agreementInfo(cert *x509.Certificate, pub *ecdh.PublicKey, key []byte) ([]byte, error) {
	c, ok := curveOf(pub)
	if !ok {
		return nil, fmt.Errorf("elliptic curve %v is not supported", pub.Curve())
	}
	ephemeral, err := c.ecdh.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make ephemeral key: %w", err)
	}
	secret, err := ephemeral.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w", err)
	}
	defer clear(secret)
	scheme := writtenScheme
	if c.oid == nil {
		scheme = writtenX25519Scheme
	}
	wrap := encodeAlgorithm(keyWraps[len(key)], nil)
	kek, err := scheme.derive(secret, wrap, nil, len(key))
	if err != nil {
		return nil, fmt.Errorf("derive key encryption key: %w", err)
	}
	defer clear(kek)
	wrapped, err := wrapKey(kek, key)
	if err != nil {
		return nil, fmt.Errorf("wrap content key: %w", err)
	}
	point := encodeElement(tagBitString, []byte{0}, ephemeral.PublicKey().Bytes())
	originator := encodeElement(tagContext1|constructed, c.keyAlgorithm(), point)
	recipient := encodeElement(tagSequence, issuerAndSerial(cert), encodeOctets(wrapped))
	return encodeElement(tagContext1|constructed,
		encodeInt(3),
		encodeElement(tagContext0|constructed, originator),
		encodeAlgorithm(scheme.oid, wrap),
		encodeElement(tagSequence, recipient),
	), nil
}
