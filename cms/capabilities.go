package cms

import (
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const maxCapabilities = 256

// Capability is one algorithm that a recipient announces (RFC 8551 section 2.5.2).
type Capability struct {
	Algorithm  asn1.ObjectIdentifier
	Parameters []byte // DER; nil when absent
}

// Capabilities is an SMIMECapabilities list, the most wanted first.
type Capabilities []Capability

// Ciphers returns the content ciphers in the list that this package can write, in its order.
func (c Capabilities) Ciphers() []Cipher {
	var ciphers []Cipher
	for _, capability := range c {
		if known, ok := cipherByOID(capability.Algorithm); ok && known != DESEDE3CBC {
			ciphers = append(ciphers, known)
		}
	}
	return ciphers
}

// Encode makes the DER of the list, the value of attribute and extension.
func (c Capabilities) Encode() []byte {
	var parts [][]byte
	for _, capability := range c {
		parts = append(parts, encodeAlgorithm(capability.Algorithm, capability.Parameters))
	}
	return encodeElement(tagSequence, parts...)
}

// ParseCapabilities reads the value of the SMIMECapabilities attribute or extension. At most 256 are accepted.
func ParseCapabilities(der []byte) (Capabilities, error) {
	s := cryptobyte.String(der)
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !s.Empty() {
		return nil, syntaxError("SMIMECapabilities")
	}
	list := Capabilities{}
	for !seq.Empty() {
		alg, err := readAlgorithm(&seq)
		if err != nil || len(list) == maxCapabilities {
			return nil, syntaxError("SMIMECapabilities")
		}
		list = append(list, Capability{Algorithm: alg.oid, Parameters: cloneNonEmpty(alg.parameters)})
	}
	return list, nil
}

func cloneNonEmpty(b []byte) []byte { return append([]byte(nil), b...) }

// CertificateCapabilities reads the extension of RFC 4262, with which Microsoft's authorities announce what the holder's
// mail program can read; nil when the certificate has none or it is damaged.
func CertificateCapabilities(cert *x509.Certificate) Capabilities {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidCapabilities) {
			list, err := ParseCapabilities(e.Value)
			if err != nil {
				return nil
			}
			return list
		}
	}
	return nil
}

func attributeCapabilities(attrs []attribute) Capabilities {
	for _, a := range attrs {
		if a.oid.Equal(oidCapabilities) && len(a.values) == 1 {
			if list, err := ParseCapabilities(a.values[0]); err == nil {
				return list
			}
		}
	}
	return nil
}
