package cms

import (
	"crypto"
	"crypto/hkdf"
	"encoding/asn1"
	"encoding/binary"

	// The hashes of the key derivation functions, of OAEP and of signatures.
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// agreementScheme is a way from a shared secret to a key encryption key. The standard and the cofactor scheme are equal for the
// curves used here, whose cofactor is 1.
type agreementScheme struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
	hkdf bool // RFC 8418 section 2.2; else X9.63
}

var agreementSchemes = []agreementScheme{
	{asn1.ObjectIdentifier{1, 3, 133, 16, 840, 63, 0, 2}, crypto.SHA1, false}, // dhSinglePass-stdDH-*, RFC 5753 section 7.1.4
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 0}, crypto.SHA224, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 1}, crypto.SHA256, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 2}, crypto.SHA384, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 3}, crypto.SHA512, false},
	{asn1.ObjectIdentifier{1, 3, 133, 16, 840, 63, 0, 3}, crypto.SHA1, false}, // dhSinglePass-cofactorDH-*
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 0}, crypto.SHA224, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 1}, crypto.SHA256, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 2}, crypto.SHA384, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 3}, crypto.SHA512, false},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 19}, crypto.SHA256, true}, // dhSinglePass-stdDH-hkdf-*, RFC 8418
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 20}, crypto.SHA384, true},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 21}, crypto.SHA512, true},
}

// What is written: SHA-256 as RFC 8551 section 2.3 asks, for X25519 with HKDF.
var (
	writtenScheme       = agreementSchemes[2]
	writtenX25519Scheme = agreementSchemes[10]
)

func agreementSchemeByOID(oid asn1.ObjectIdentifier) (agreementScheme, bool) {
	for _, s := range agreementSchemes {
		if s.oid.Equal(oid) {
			return s, true
		}
	}
	return agreementScheme{}, false
}

// derive makes a key encryption key. wrap is the AlgorithmIdentifier of the key wrap as it stands in the message; ukm is
// nil when absent.
func (s agreementScheme) derive(secret, wrap, ukm []byte, size int) ([]byte, error) {
	info := sharedInfo(wrap, ukm, size)
	if s.hkdf {
		return hkdf.Key(s.hash.New, secret, ukm, string(info), size)
	}
	return x963KDF(s.hash, secret, info, size), nil
}

// x963KDF is the key derivation function of ANSI X9.63 and SEC 1 section 3.6.1.
func x963KDF(hash crypto.Hash, secret, info []byte, size int) []byte {
	var key []byte
	h := hash.New()
	for counter := uint32(1); len(key) < size; counter++ {
		h.Reset()
		h.Write(secret)
		h.Write(binary.BigEndian.AppendUint32(nil, counter))
		h.Write(info)
		key = h.Sum(key)
	}
	return key[:size]
}

// sharedInfo is ECC-CMS-SharedInfo (RFC 5753 section 7.2).
func sharedInfo(wrap, ukm []byte, size int) []byte {
	var entity []byte
	if ukm != nil {
		entity = encodeElement(tagContext0|constructed, encodeOctets(ukm))
	}
	bits := binary.BigEndian.AppendUint32(nil, uint32(size)*8)
	return encodeElement(tagSequence, wrap, entity, encodeElement(tagContext2|constructed, encodeOctets(bits)))
}

// keyWraps are the AES key wraps by key size (RFC 3565 section 2.3.2).
var keyWraps = map[int]asn1.ObjectIdentifier{
	16: {2, 16, 840, 1, 101, 3, 4, 1, 5},
	24: {2, 16, 840, 1, 101, 3, 4, 1, 25},
	32: {2, 16, 840, 1, 101, 3, 4, 1, 45},
}

func keyWrapSize(oid asn1.ObjectIdentifier) (int, bool) {
	for size, o := range keyWraps {
		if o.Equal(oid) {
			return size, true
		}
	}
	return 0, false
}
