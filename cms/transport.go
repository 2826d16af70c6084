package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// maxRSABits bounds what a foreign public key may cost.
const maxRSABits = 16384

// recipientInfo encrypts the content key for one certificate and returns the RecipientInfo with its version (RFC 5652
// section 6.2).
func recipientInfo(cert *x509.Certificate, key []byte, opts *EncryptOptions) (der []byte, version int64, err error) {
	if cert == nil {
		return nil, 0, errors.New("no certificate")
	}
	switch pub := publicKey(cert).(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() > maxRSABits {
			return nil, 0, fmt.Errorf("RSA key of %d bits; %d are the limit", pub.N.BitLen(), maxRSABits)
		}
		der, err = transportInfo(cert, pub, key, opts.OAEP)
		return der, 0, err
	case *ecdsa.PublicKey:
		point, err := pub.ECDH()
		if err != nil {
			return nil, 0, fmt.Errorf("elliptic curve %s: %w", pub.Params().Name, err)
		}
		der, err = agreementInfo(cert, point, key)
		return der, 3, err
	case *ecdh.PublicKey:
		der, err = agreementInfo(cert, pub, key)
		return der, 3, err
	}
	return nil, 0, fmt.Errorf("certificate %q has a key that cannot be encrypted to (%v)", cert.Subject, cert.PublicKeyAlgorithm)
}

// publicKey returns the key of a certificate. crypto/x509 leaves keys out that cannot sign, such as X25519.
func publicKey(cert *x509.Certificate) crypto.PublicKey {
	if cert.PublicKey != nil {
		return cert.PublicKey
	}
	key, err := x509.ParsePKIXPublicKey(cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil
	}
	return key
}

// transportInfo makes a KeyTransRecipientInfo (RFC 5652 section 6.2.1).
func transportInfo(cert *x509.Certificate, pub *rsa.PublicKey, key []byte, oaep crypto.Hash) ([]byte, error) {
	algorithm, encrypted, err := encryptRSA(pub, key, oaep)
	if err != nil {
		return nil, err
	}
	return encodeElement(tagSequence, encodeInt(0), issuerAndSerial(cert), algorithm, encodeOctets(encrypted)), nil
}

// encryptRSA returns the AlgorithmIdentifier and the encrypted key. RFC 3370 section 4.2.1 wants NULL parameters with
// rsaEncryption; gpgsm insists.
func encryptRSA(pub *rsa.PublicKey, key []byte, oaep crypto.Hash) (algorithm, encrypted []byte, err error) {
	if oaep == 0 {
		//lint:ignore SA1019 PKCS #1 v1.5 is what every mail reader understands (RFC 8551 section 2.3: MUST-)
		encrypted, err = rsa.EncryptPKCS1v15(rand.Reader, pub, key)
		return encodeAlgorithm(oidRSA, asn1Null), encrypted, err
	}
	encrypted, err = rsa.EncryptOAEPWithOptions(rand.Reader, pub, key, &rsa.OAEPOptions{Hash: oaep, MGFHash: oaep})
	return encodeAlgorithm(oidOAEP, oaepParameters(oaep)), encrypted, err
}

// issuerAndSerial copies the issuer as it stands in the certificate: readers compare bytes.
func issuerAndSerial(cert *x509.Certificate) []byte {
	return encodeElement(tagSequence, cert.RawIssuer, encodeBigInt(cert.SerialNumber))
}
