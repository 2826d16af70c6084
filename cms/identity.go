package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Identity is a certificate with its private key.
type Identity struct {
	Certificate *x509.Certificate
	// Key is a [crypto.Decrypter] for RSA, and *ecdsa.PrivateKey, *ecdh.PrivateKey or another [KeyAgreement] for
	// elliptic curves.
	Key crypto.PrivateKey
}

// agreement returns the identity's key for Diffie-Hellman and its curve.
func (i *Identity) agreement() (KeyAgreement, curve, bool) {
	var pub *ecdh.PublicKey
	switch p := publicKey(i.Certificate).(type) {
	case *ecdsa.PublicKey:
		point, err := p.ECDH()
		if err != nil {
			return nil, curve{}, false
		}
		pub = point
	case *ecdh.PublicKey:
		pub = p
	default:
		return nil, curve{}, false
	}
	c, ok := curveOf(pub)
	if !ok {
		return nil, curve{}, false
	}
	if key, isECDSA := i.Key.(*ecdsa.PrivateKey); isECDSA {
		k, err := key.ECDH()
		return k, c, err == nil
	}
	k, ok := i.Key.(KeyAgreement)
	return k, c, ok
}

// keyIdentifier names a certificate by issuer and serial number or by subject key identifier, as RecipientIdentifier and
// SignerIdentifier do (RFC 5652 sections 5.3 and 6.2.1).
type keyIdentifier struct {
	issuer []byte // RDNSequence, DER; nil with ski
	serial *big.Int
	ski    []byte
}

// readKeyIdentifier reads the choice between IssuerAndSerialNumber and [0] SubjectKeyIdentifier.
func readKeyIdentifier(s *cryptobyte.String) (keyIdentifier, error) {
	if s.PeekASN1Tag(cryptobyte_asn1.SEQUENCE) {
		return readIssuerAndSerial(s, cryptobyte_asn1.SEQUENCE)
	}
	var ski cryptobyte.String
	if !s.ReadASN1(&ski, cryptobyte_asn1.Tag(0).ContextSpecific()) || ski.Empty() {
		return keyIdentifier{}, syntaxError("key identifier")
	}
	return keyIdentifier{ski: ski}, nil
}

func readIssuerAndSerial(s *cryptobyte.String, tag cryptobyte_asn1.Tag) (keyIdentifier, error) {
	var seq, issuer cryptobyte.String
	id := keyIdentifier{serial: new(big.Int)}
	if !s.ReadASN1(&seq, tag) || !seq.ReadASN1Element(&issuer, cryptobyte_asn1.SEQUENCE) || !seq.ReadASN1Integer(id.serial) || !seq.Empty() {
		return id, syntaxError("issuer and serial number")
	}
	id.issuer = issuer
	return id, nil
}

// names reports whether id can mean cert. Issuers are compared as bytes, and if that fails as names: some writers encode
// them anew. A wrong match does no harm, because the key will not fit.
func (id keyIdentifier) names(cert *x509.Certificate) bool {
	switch {
	case cert == nil:
		return false
	case id.ski != nil:
		return bytes.Equal(id.ski, subjectKeyID(cert))
	case cert.SerialNumber == nil:
		return false
	}
	return id.serial.Cmp(cert.SerialNumber) == 0 && (bytes.Equal(id.issuer, cert.RawIssuer) || sameName(id.issuer, cert.RawIssuer))
}

// subjectKeyID is the extension's value. Without the extension the usual SHA-1 of the key stands in, because that is
// what writers then put into messages (RFC 5280 section 4.2.1.2).
func subjectKeyID(cert *x509.Certificate) []byte {
	if len(cert.SubjectKeyId) > 0 {
		return cert.SubjectKeyId
	}
	spki := cryptobyte.String(cert.RawSubjectPublicKeyInfo)
	var seq, alg, bits cryptobyte.String
	if !spki.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !seq.ReadASN1(&alg, cryptobyte_asn1.SEQUENCE) ||
		!seq.ReadASN1(&bits, cryptobyte_asn1.BIT_STRING) || !bits.Skip(1) {
		return nil
	}
	var id []byte
	fips140.WithoutEnforcement(func() { // it is a name
		h := crypto.SHA1.New()
		h.Write(bits)
		id = h.Sum(nil)
	})
	return id
}

// sameName compares two names without regard to string types, case and repeated spaces (RFC 5280 section 7.1).
func sameName(a, b []byte) bool {
	x, okX := parseName(a)
	y, okY := parseName(b)
	if !okX || !okY || len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			if !x[i][j].Type.Equal(y[i][j].Type) || !sameValue(x[i][j].Value, y[i][j].Value) {
				return false
			}
		}
	}
	return true
}

func parseName(der []byte) (pkix.RDNSequence, bool) {
	var name pkix.RDNSequence
	rest, err := asn1.Unmarshal(der, &name)
	return name, err == nil && len(rest) == 0
}

func sameValue(a, b any) bool {
	x, okX := a.(string)
	y, okY := b.(string)
	fold := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return okX && okY && strings.EqualFold(fold(x), fold(y))
}
