package cms

import (
	"crypto"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// oaepHashes are the hashes of RSAES-OAEP and of its MGF1 (RFC 4055 section 2.1).
var oaepHashes = []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512}

var hashOIDs = map[crypto.Hash]asn1.ObjectIdentifier{
	crypto.SHA1:   {1, 3, 14, 3, 2, 26},
	crypto.SHA224: {2, 16, 840, 1, 101, 3, 4, 2, 4},
	crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
	crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2},
	crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	crypto.MD5:    {1, 2, 840, 113549, 2, 5},
}

func hashByOID(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	for h, o := range hashOIDs {
		if o.Equal(oid) {
			return h, true
		}
	}
	return 0, false
}

// oaepParameters encodes RSAES-OAEP-params with one hash for both uses (RFC 4055 section 4). SHA-1 is the default and
// must then be left out.
func oaepParameters(hash crypto.Hash) []byte {
	if hash == crypto.SHA1 {
		return encodeElement(tagSequence)
	}
	h := encodeAlgorithm(hashOIDs[hash], asn1Null)
	return encodeElement(tagSequence,
		encodeElement(tagContext0|constructed, h),
		encodeElement(tagContext1|constructed, encodeAlgorithm(oidMGF1, h)),
	)
}

type oaep struct {
	hash, mgf crypto.Hash
	label     []byte
}

// parseOAEP reads RSAES-OAEP-params; absent parameters are all defaults.
func parseOAEP(parameters cryptobyte.String) (oaep, error) {
	o := oaep{hash: crypto.SHA1, mgf: crypto.SHA1}
	if parameters.Empty() {
		return o, requireAllowed(false, "RSAES-OAEP with SHA-1")
	}
	var seq cryptobyte.String
	if !parameters.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !parameters.Empty() {
		return o, syntaxError("RSAES-OAEP parameters")
	}
	var err error
	if o.hash, err = readTaggedHash(&seq, 0, o.hash); err != nil {
		return o, err
	}
	if o.mgf, err = readTaggedMGF(&seq, 1, o.mgf); err != nil {
		return o, err
	}
	if o.label, err = readLabel(&seq); err != nil {
		return o, err
	}
	if !seq.Empty() {
		return o, syntaxError("RSAES-OAEP parameters")
	}
	if !slices.Contains(oaepHashes, o.hash) || !slices.Contains(oaepHashes, o.mgf) {
		return o, unsupported("RSAES-OAEP with %v and MGF1 with %v", o.hash, o.mgf)
	}
	return o, requireAllowed(approvedHash(o.hash) && approvedHash(o.mgf), "RSAES-OAEP with SHA-1")
}

// readTaggedHash reads an optional explicitly tagged hash AlgorithmIdentifier.
func readTaggedHash(s *cryptobyte.String, tag uint8, missing crypto.Hash) (crypto.Hash, error) {
	var inner cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&inner, &present, cryptobyte_asn1.Tag(tag).ContextSpecific().Constructed()) {
		return 0, syntaxError("hash algorithm")
	}
	if !present {
		return missing, nil
	}
	return readHash(&inner)
}

func readHash(s *cryptobyte.String) (crypto.Hash, error) {
	alg, err := readAlgorithm(s)
	if err != nil {
		return 0, err
	}
	if h, ok := hashByOID(alg.oid); ok {
		return h, nil
	}
	return 0, unsupported("hash algorithm %v", alg.oid)
}

// readTaggedMGF reads an optional explicitly tagged mask generation function and returns its hash.
func readTaggedMGF(s *cryptobyte.String, tag uint8, missing crypto.Hash) (crypto.Hash, error) {
	var inner cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&inner, &present, cryptobyte_asn1.Tag(tag).ContextSpecific().Constructed()) {
		return 0, syntaxError("mask generation function")
	}
	if !present {
		return missing, nil
	}
	alg, err := readAlgorithm(&inner)
	if err != nil {
		return 0, err
	}
	if !alg.oid.Equal(oidMGF1) {
		return 0, unsupported("mask generation function %v", alg.oid)
	}
	return readHash(&alg.parameters)
}

func readLabel(s *cryptobyte.String) ([]byte, error) {
	var inner, label cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&inner, &present, cryptobyte_asn1.Tag(2).ContextSpecific().Constructed()) {
		return nil, syntaxError("RSAES-OAEP label")
	}
	if !present {
		return nil, nil
	}
	alg, err := readAlgorithm(&inner)
	if err != nil {
		return nil, err
	}
	if !alg.oid.Equal(oidPSpecified) {
		return nil, unsupported("RSAES-OAEP label source %v", alg.oid)
	}
	if !alg.parameters.ReadASN1(&label, cryptobyte_asn1.OCTET_STRING) {
		return nil, syntaxError("RSAES-OAEP label")
	}
	return label, nil
}

// algorithm is an AlgorithmIdentifier; parameters are empty when absent.
type algorithm struct {
	oid        asn1.ObjectIdentifier
	parameters cryptobyte.String
	raw        []byte // the whole element
}

func readAlgorithm(s *cryptobyte.String) (algorithm, error) {
	var a algorithm
	var element, seq cryptobyte.String
	if !s.ReadASN1Element(&element, cryptobyte_asn1.SEQUENCE) {
		return a, syntaxError("algorithm identifier")
	}
	a.raw = element
	if !element.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return a, syntaxError("algorithm identifier")
	}
	a.parameters = seq
	return a, nil
}
