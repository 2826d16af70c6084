package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"strings"
	"unicode/utf16"

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

// maxName is the longest name that is compared as a name, in bytes. Anybody can write a message in which a great many have to be.
const maxName = 2048

// sameName compares two names without regard to string types, case and repeated spaces (RFC 5280 section 7.1).
func sameName(a, b []byte) bool {
	if len(a) > maxName || len(b) > maxName {
		return false
	}
	var x, y cryptobyte.String
	if !readBoth(a, b, cryptobyte_asn1.SEQUENCE, &x, &y) {
		return false
	}
	for !x.Empty() && !y.Empty() {
		var set, otherSet cryptobyte.String
		if !x.ReadASN1(&set, cryptobyte_asn1.SET) || !y.ReadASN1(&otherSet, cryptobyte_asn1.SET) || !sameAttributes(set, otherSet) {
			return false
		}
	}
	return x.Empty() && y.Empty()
}

// readBoth reads two whole elements with the same tag.
func readBoth(a, b cryptobyte.String, tag cryptobyte_asn1.Tag, x, y *cryptobyte.String) bool {
	return a.ReadASN1(x, tag) && b.ReadASN1(y, tag) && a.Empty() && b.Empty()
}

// sameAttributes compares the attributes of one relative name, in their order.
func sameAttributes(x, y cryptobyte.String) bool {
	for !x.Empty() && !y.Empty() {
		var a, b, kind, otherKind, value, otherValue cryptobyte.String
		var tag, otherTag cryptobyte_asn1.Tag
		if !x.ReadASN1(&a, cryptobyte_asn1.SEQUENCE) || !y.ReadASN1(&b, cryptobyte_asn1.SEQUENCE) ||
			!a.ReadASN1(&kind, cryptobyte_asn1.OBJECT_IDENTIFIER) || !b.ReadASN1(&otherKind, cryptobyte_asn1.OBJECT_IDENTIFIER) || !bytes.Equal(kind, otherKind) ||
			!a.ReadAnyASN1(&value, &tag) || !b.ReadAnyASN1(&otherValue, &otherTag) || !a.Empty() || !b.Empty() {
			return false
		}
		one, ok := nameText(tag, value)
		other, okOther := nameText(otherTag, otherValue)
		if !ok || !okOther || !strings.EqualFold(one, other) {
			return false
		}
	}
	return x.Empty() && y.Empty()
}

// nameText is the value of a string of any type, with single spaces; ok is false for what is no string.
func nameText(tag cryptobyte_asn1.Tag, value []byte) (s string, ok bool) {
	const utf8String, numericString, bmpString = 12, 18, 30 // X.680 section 41
	switch tag {
	case utf8String, numericString, cryptobyte_asn1.PrintableString, cryptobyte_asn1.T61String, cryptobyte_asn1.IA5String:
		s = string(value)
	case bmpString:
		units := make([]uint16, len(value)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(value[2*i:])
		}
		s = string(utf16.Decode(units))
	default:
		return "", false
	}
	return strings.Join(strings.Fields(s), " "), true
}
