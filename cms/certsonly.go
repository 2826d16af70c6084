package cms

import (
	"crypto/x509"
	"slices"
)

// MarshalCertificates makes a SignedData without content and signatures that carries certificates, as .p7b and .p7c files do
// (RFC 8551 section 3.8, RFC 5652 section 5.1), in DER.
func MarshalCertificates(certs []*x509.Certificate) []byte {
	set := make([][]byte, len(certs))
	for i, c := range certs {
		set[i] = c.Raw
	}
	slices.SortFunc(set, slices.Compare[[]byte]) // as a SET OF in DER
	signedData := encodeElement(tagSequence, encodeInt(1), encodeElement(tagSet), encodeElement(tagSequence, encodeOID(oidData)),
		encodeElement(tagContext0|constructed, set...), encodeElement(tagSet))
	return encodeElement(tagSequence, encodeOID(oidSignedData), encodeElement(tagContext0|constructed, signedData))
}
