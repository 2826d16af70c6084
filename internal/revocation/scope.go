package revocation

import (
	"bytes"
	"crypto/x509"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// scope is which certificates of its issuer a CRL speaks about. The zero value is all of them.
type scope struct {
	// Names are the names of the distribution point as they are encoded; a certificate must have one of them.
	Names [][]byte `json:"names,omitempty"`
	// Users and Authorities restrict it to certificates that are not, and that are, of authorities.
	Users       bool `json:"users,omitempty"`
	Authorities bool `json:"authorities,omitempty"`
}

// parseScope reads IssuingDistributionPoint (RFC 5280 section 5.2.5).
func parseScope(der []byte) (scope, error) {
	var sc scope
	input, fields := cryptobyte.String(der), cryptobyte.String(nil)
	if !input.ReadASN1(&fields, cbasn1.SEQUENCE) || !input.Empty() {
		return sc, refuse("its scope cannot be read")
	}
	var at cryptobyte.String
	var named bool
	if !fields.ReadOptionalASN1(&at, &named, tag0.Constructed()) {
		return sc, refuse("its scope cannot be read")
	}
	if named {
		names, ok := fullName(at)
		if !ok || names == nil {
			return sc, refuse("its scope is named relative to the authority")
		}
		sc.Names = names
	}
	var some, indirect, attributes bool
	for _, flag := range []struct {
		tag cbasn1.Tag
		to  *bool
	}{{tag1, &sc.Users}, {tag2, &sc.Authorities}, {tag3, &some}, {tag4, &indirect}, {tag5, &attributes}} {
		var value cryptobyte.String
		if !fields.ReadOptionalASN1(&value, flag.to, flag.tag) {
			return sc, refuse("its scope cannot be read")
		}
		if *flag.to && flag.tag != tag3 {
			*flag.to = len(value) == 1 && value[0] != 0
		}
	}
	switch {
	case !fields.Empty():
		return sc, refuse("its scope cannot be read")
	case some:
		return sc, refuse("it covers only some reasons")
	case indirect:
		return sc, refuse("an indirect CRL")
	case attributes:
		return sc, refuse("it is of attribute certificates")
	}
	return sc, nil
}

// covers reports whether the CRL speaks about a certificate that names these distribution points.
func (sc scope) covers(cert *x509.Certificate, names [][]byte) bool {
	authority := cert.BasicConstraintsValid && cert.IsCA
	if sc.Users && authority || sc.Authorities && !authority {
		return false
	}
	return len(sc.Names) == 0 || slices.ContainsFunc(sc.Names, func(n []byte) bool {
		return slices.ContainsFunc(names, func(m []byte) bool { return bytes.Equal(n, m) })
	})
}
