package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SignatureAlgorithm is the kind of a signature; its digest is told apart.
type SignatureAlgorithm string

const (
	RSAPKCS1v15 SignatureAlgorithm = "RSA PKCS #1 v1.5" // RFC 3370 section 3.2
	RSAPSS      SignatureAlgorithm = "RSASSA-PSS"       // RFC 4056
	ECDSA       SignatureAlgorithm = "ECDSA"            // RFC 5753 section 2.1
	Ed25519     SignatureAlgorithm = "Ed25519"          // RFC 8419
)

// signatureScheme is a signature algorithm with its parameters.
type signatureScheme struct {
	kind SignatureAlgorithm
	hash crypto.Hash // 0: what the SignerInfo's digest algorithm says
	salt int         // of PSS, in bytes
}

// combinedOIDs name algorithm and digest together; RFC 5652 wants the digest to agree with the SignerInfo's.
var combinedOIDs = []struct {
	oid    asn1.ObjectIdentifier
	scheme signatureScheme
}{
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, signatureScheme{RSAPKCS1v15, crypto.MD5, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, signatureScheme{RSAPKCS1v15, crypto.SHA1, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 14}, signatureScheme{RSAPKCS1v15, crypto.SHA224, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, signatureScheme{RSAPKCS1v15, crypto.SHA256, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, signatureScheme{RSAPKCS1v15, crypto.SHA384, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, signatureScheme{RSAPKCS1v15, crypto.SHA512, 0}},
	{oidRSA, signatureScheme{RSAPKCS1v15, 0, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, signatureScheme{ECDSA, crypto.SHA1, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 1}, signatureScheme{ECDSA, crypto.SHA224, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, signatureScheme{ECDSA, crypto.SHA256, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, signatureScheme{ECDSA, crypto.SHA384, 0}},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, signatureScheme{ECDSA, crypto.SHA512, 0}},
	{oidEd25519, signatureScheme{Ed25519, crypto.SHA512, 0}},
}

// parseSignatureScheme reads a signatureAlgorithm that goes with the given digest.
func parseSignatureScheme(alg algorithm, digest crypto.Hash) (signatureScheme, error) {
	scheme, err := findSignatureScheme(alg)
	if err != nil {
		return scheme, err
	}
	if scheme.hash == 0 {
		scheme.hash = digest
	}
	if scheme.hash != digest {
		return scheme, unsupported("signature with %v over a digest with %v", scheme.hash, digest)
	}
	return scheme, nil
}

func findSignatureScheme(alg algorithm) (signatureScheme, error) {
	if alg.oid.Equal(oidRSAPSS) {
		return parsePSS(alg.parameters)
	}
	for _, c := range combinedOIDs {
		if c.oid.Equal(alg.oid) {
			return c.scheme, nil
		}
	}
	return signatureScheme{}, unsupported("signature algorithm %v", alg.oid)
}

// parsePSS reads RSASSA-PSS-params (RFC 4055 section 3.1). Go computes MGF1 with the hash of the message only.
func parsePSS(parameters cryptobyte.String) (signatureScheme, error) {
	scheme := signatureScheme{kind: RSAPSS, hash: crypto.SHA1, salt: 20}
	var seq cryptobyte.String
	if !parameters.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !parameters.Empty() {
		return scheme, syntaxError("RSASSA-PSS parameters")
	}
	var err error
	if scheme.hash, err = readTaggedHash(&seq, 0, crypto.SHA1); err != nil {
		return scheme, err
	}
	mgf, err := readTaggedMGF(&seq, 1, crypto.SHA1)
	if err != nil {
		return scheme, err
	}
	trailer := 1
	explicit := func(n uint8) cryptobyte_asn1.Tag { return cryptobyte_asn1.Tag(n).ContextSpecific().Constructed() }
	if !seq.ReadOptionalASN1Integer(&scheme.salt, explicit(2), 20) || !seq.ReadOptionalASN1Integer(&trailer, explicit(3), 1) || !seq.Empty() {
		return scheme, syntaxError("RSASSA-PSS parameters")
	}
	if mgf != scheme.hash || trailer != 1 || scheme.salt < 1 || scheme.salt > 1024 {
		return scheme, unsupported("RSASSA-PSS with %v, MGF1 with %v, salt of %d, trailer %d", scheme.hash, mgf, scheme.salt, trailer)
	}
	return scheme, nil
}

// verify checks a signature over message, whose digest is given; Ed25519 signs the message itself.
func (s signatureScheme) verify(pub crypto.PublicKey, message, digest, signature []byte) bool {
	switch key := pub.(type) {
	case *rsa.PublicKey:
		switch {
		case s.kind == RSAPKCS1v15:
			return rsa.VerifyPKCS1v15(key, s.hash, digest, signature) == nil
		case s.kind == RSAPSS:
			return rsa.VerifyPSS(key, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash}) == nil
		}
	case *ecdsa.PublicKey:
		return s.kind == ECDSA && ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		return s.kind == Ed25519 && ed25519.Verify(key, message, signature)
	}
	return false
}

// sign is the counterpart of verify.
func (s signatureScheme) sign(key crypto.Signer, message, digest []byte) ([]byte, error) {
	switch s.kind {
	case Ed25519:
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	case RSAPSS:
		return key.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash})
	}
	return key.Sign(rand.Reader, digest, s.hash)
}

// writtenSignature chooses the scheme for a key: for RSA as asked, for ECDSA the digest of the curve's strength unless one is
// asked for, for Ed25519 what RFC 8419 section 3.1 prescribes.
func writtenSignature(pub crypto.PublicKey, digest crypto.Hash, pss bool) (signatureScheme, error) {
	switch digest {
	case 0, crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return signatureScheme{}, fmt.Errorf("%v is not a digest to sign with; use SHA-256, SHA-384 or SHA-512", digest)
	}
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if digest == 0 {
			digest = crypto.SHA256
		}
		if pss {
			return signatureScheme{RSAPSS, digest, digest.Size()}, nil
		}
		return signatureScheme{RSAPKCS1v15, digest, 0}, nil
	case *ecdsa.PublicKey:
		if digest == 0 {
			digest = curveDigest(key.Curve.Params().BitSize)
		}
		return signatureScheme{ECDSA, digest, 0}, nil
	case ed25519.PublicKey:
		if digest != 0 && digest != crypto.SHA512 {
			return signatureScheme{}, fmt.Errorf("an Ed25519 signature needs SHA-512, not %v", digest)
		}
		return signatureScheme{Ed25519, crypto.SHA512, 0}, nil
	}
	return signatureScheme{}, fmt.Errorf("a %T cannot sign", pub)
}

func curveDigest(bits int) crypto.Hash {
	switch {
	case bits <= 256:
		return crypto.SHA256
	case bits <= 384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

// algorithm encodes the signatureAlgorithm of a SignerInfo.
func (s signatureScheme) algorithm() []byte {
	switch s.kind {
	case RSAPKCS1v15:
		return encodeAlgorithm(oidRSA, asn1Null) // RFC 3370 section 3.2
	case RSAPSS:
		h := encodeAlgorithm(hashOIDs[s.hash], asn1Null)
		return encodeAlgorithm(oidRSAPSS, encodeElement(tagSequence,
			encodeElement(tagContext0|constructed, h),
			encodeElement(tagContext1|constructed, encodeAlgorithm(oidMGF1, h)),
			encodeElement(tagContext2|constructed, encodeInt(int64(s.salt)))))
	}
	for _, c := range combinedOIDs {
		if c.scheme == s {
			return encodeAlgorithm(c.oid, nil) // RFC 5754 section 3.3, RFC 8419 section 2.2
		}
	}
	return nil
}

// digestAlgorithm encodes a digest; parameters are absent (RFC 5754 section 2).
func digestAlgorithm(h crypto.Hash) []byte { return encodeAlgorithm(hashOIDs[h], nil) }
