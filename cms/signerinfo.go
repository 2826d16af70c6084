package cms

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const maxAttributes = 64

// attribute is one Attribute (RFC 5652 section 5.3); its values are whole elements.
type attribute struct {
	oid    asn1.ObjectIdentifier
	values [][]byte
}

// signerInfo is one SignerInfo as it stands in the message (RFC 5652 section 5.3).
type signerInfo struct {
	id               keyIdentifier
	digest           algorithm
	signedAttributes []byte // the whole element, with the tag [0]; nil when absent
	attributes       []attribute
	signature        algorithm
	signatureValue   []byte
}

func parseSignerInfo(der []byte) (*signerInfo, error) {
	in := cryptobyte.String(der)
	var s cryptobyte.String
	var version int
	if !in.ReadASN1(&s, cryptobyte_asn1.SEQUENCE) || !in.Empty() || !s.ReadASN1Integer(&version) {
		return nil, syntaxError("SignerInfo")
	}
	info := &signerInfo{}
	var err error
	if info.id, err = readKeyIdentifier(&s); err != nil {
		return nil, err
	}
	if info.digest, err = readAlgorithm(&s); err != nil {
		return nil, err
	}
	if s.PeekASN1Tag(signedAttributesTag) {
		var element cryptobyte.String
		if !s.ReadASN1Element(&element, signedAttributesTag) {
			return nil, syntaxError("signed attributes")
		}
		info.signedAttributes = element
		if info.attributes, err = parseAttributes(element); err != nil {
			return nil, err
		}
	}
	if info.signature, err = readAlgorithm(&s); err != nil {
		return nil, err
	}
	var value cryptobyte.String
	if !s.ReadASN1(&value, cryptobyte_asn1.OCTET_STRING) {
		return nil, syntaxError("signature value")
	}
	info.signatureValue = value
	if !s.SkipOptionalASN1(cryptobyte_asn1.Tag(1).ContextSpecific().Constructed()) || !s.Empty() {
		return nil, syntaxError("unsigned attributes")
	}
	return info, nil
}

var signedAttributesTag = cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()

// parseAttributes reads the attributes in the element [0] IMPLICIT SET OF Attribute, in their order.
func parseAttributes(element cryptobyte.String) ([]attribute, error) {
	var set cryptobyte.String
	if !element.ReadASN1(&set, signedAttributesTag) {
		return nil, syntaxError("signed attributes")
	}
	var attrs []attribute
	for !set.Empty() {
		var seq, values cryptobyte.String
		a := attribute{}
		if len(attrs) == maxAttributes || !set.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) ||
			!seq.ReadASN1(&values, cryptobyte_asn1.SET) || !seq.Empty() {
			return nil, syntaxError("signed attributes")
		}
		for !values.Empty() {
			var value cryptobyte.String
			var tag cryptobyte_asn1.Tag
			if !values.ReadAnyASN1Element(&value, &tag) {
				return nil, syntaxError("signed attributes")
			}
			a.values = append(a.values, value)
		}
		attrs = append(attrs, a)
	}
	return attrs, nil
}
