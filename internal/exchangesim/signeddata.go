package exchangesim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of a published userSMIMECertificate value (RFC 2798 section 2.8, RFC 5652, RFC 8551, and Outlook's
// own mark for the certificate to encrypt to).
var (
	oidData                    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSMIMECapabilities       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 15}
	oidMicrosoftEncryptionCert = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 16, 4}
	oidSHA256                  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA                     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSAWithSHA256         = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidAES256CBC               = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidAES128CBC               = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidTripleDES               = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
)

// published is what Outlook signs when it publishes a certificate: the content says nothing.
const published = "Empty Body"

// signedDataValue makes what Outlook's "Publish to GAL" writes: SignedData over "Empty Body" with the certificate and its
// issuer, signed with the key of the certificate. The result is the same every time.
func signedDataValue(leaf, ca *x509.Certificate, key crypto.Signer) ([]byte, error) {
	attributes := signedAttributes(leaf)
	toSign, err := derSet(casn1.SET, attributes)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(toSign)
	signature, err := sameEveryTime(key).Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	signatureAlgorithm := algorithm(oidRSA, true)
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		signatureAlgorithm = algorithm(oidECDSAWithSHA256, false)
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(casn1.SET, algorithm(oidSHA256, true))
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidData)
					b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
						b.AddASN1OctetString([]byte(published))
					})
				})
				addSet(b, casn1.Tag(0).ContextSpecific().Constructed(), [][]byte{leaf.Raw, ca.Raw})
				b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1Int64(1)
						issuerAndSerial(leaf)(b)
						algorithm(oidSHA256, true)(b)
						addSet(b, casn1.Tag(0).ContextSpecific().Constructed(), attributes)
						signatureAlgorithm(b)
						b.AddASN1OctetString(signature)
					})
				})
			})
		})
	})
	return b.Bytes()
}

// signedAttributes are the encoded attributes of the one signer.
func signedAttributes(leaf *x509.Certificate) [][]byte {
	digest := sha256.Sum256([]byte(published))
	return [][]byte{
		attribute(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) }),
		attribute(oidSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(time.Date(2024, 1, 2, 9, 0, 0, 0, time.UTC)) }),
		attribute(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest[:]) }),
		attribute(oidSMIMECapabilities, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, oid := range []asn1.ObjectIdentifier{oidAES256CBC, oidAES128CBC, oidTripleDES} {
					algorithm(oid, false)(b)
				}
			})
		}),
		attribute(oidMicrosoftEncryptionCert, issuerAndSerial(leaf)),
	}
}

func attribute(oid asn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) []byte {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(casn1.SET, value)
	})
	return b.BytesOrPanic()
}

func algorithm(oid asn1.ObjectIdentifier, null bool) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			if null {
				b.AddASN1NULL()
			}
		})
	}
}

func issuerAndSerial(cert *x509.Certificate) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(cert.RawIssuer)
			b.AddASN1BigInt(cert.SerialNumber)
		})
	}
}

// addSet writes a DER SET OF: its elements in ascending order (X.690 section 11.6).
func addSet(b *cryptobyte.Builder, tag casn1.Tag, elements [][]byte) {
	sorted := slices.SortedFunc(slices.Values(elements), bytes.Compare)
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, e := range sorted {
			b.AddBytes(e)
		}
	})
}

func derSet(tag casn1.Tag, elements [][]byte) ([]byte, error) {
	var b cryptobyte.Builder
	addSet(&b, tag, elements)
	return b.Bytes()
}

// Tags of the settings form (MS-OXOABK section 2.2.4.36). 0x0003 and 0x0020 are not documented there.
const (
	tagKeyExchangeCertificate = 0x0003
	tagChainCertificate       = 0x0004
	tagSignCertificate        = 0x0008
	tagSignSHA1Hash           = 0x0009
	tagDefaultFlags           = 0x0020
	tagUnknown                = 0x7fff
)

// settingsValue makes the tag, length, value form: little-endian, the length counts its own four bytes of header.
func settingsValue(leaf, ca *x509.Certificate) []byte {
	hash := sha1.Sum(leaf.Raw)
	var b []byte
	add := func(tag uint16, data []byte) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(data)+4))
		b = append(b, data...)
	}
	add(tagDefaultFlags, []byte{3, 0, 0, 0})
	add(tagKeyExchangeCertificate, leaf.Raw)
	add(tagChainCertificate, ca.Raw)
	add(tagSignCertificate, leaf.Raw)
	add(tagSignSHA1Hash, hash[:])
	add(tagUnknown, []byte("unknown"))
	return b
}
