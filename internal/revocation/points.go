package revocation

import (
	"crypto/x509"
	"encoding/asn1"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds of what is read from one certificate.
const (
	maxPoints = 16
	maxNames  = 32
	maxURL    = 2048
)

var (
	oidCRLPoints = asn1.ObjectIdentifier{2, 5, 29, 31}

	tag0 = cbasn1.Tag(0).ContextSpecific()
	tag1 = cbasn1.Tag(1).ContextSpecific()
	tag2 = cbasn1.Tag(2).ContextSpecific()
	tag3 = cbasn1.Tag(3).ContextSpecific()
	tag4 = cbasn1.Tag(4).ContextSpecific()
	tag5 = cbasn1.Tag(5).ContextSpecific()

	tagURI = cbasn1.Tag(6).ContextSpecific() // of a GeneralName
)

// points are the places at which a certificate says that its revocation is published. The zero value is none.
type points struct {
	// lists are the http and https URLs of complete CRLs of the issuer itself, responders those of OCSP.
	lists, responders []string
	// names are the full names of all distribution points as they are encoded, for comparison with the scope of a CRL.
	names [][]byte
	// others says why points were left out: "over LDAP only", "indirect" and so on; in order, each once.
	others []string
}

// pointsOf reads the CRL distribution points (RFC 5280 section 4.2.1.13) and the OCSP responders (section 4.2.2.1). What
// cannot be read is left out and named.
func pointsOf(cert *x509.Certificate) points {
	var p points
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidCRLPoints) && !p.readLists(e.Value) {
			p.leaveOut("named in a form that cannot be read")
		}
	}
	for _, text := range cert.OCSPServer[:min(len(cert.OCSPServer), maxPoints)] {
		if u := webAddress(text); u != "" && !slices.Contains(p.responders, u) {
			p.responders = append(p.responders, u)
		}
	}
	return p
}

func (p *points) leaveOut(why string) {
	if !slices.Contains(p.others, why) {
		p.others = append(p.others, why)
	}
}

// readLists reads CRLDistributionPoints.
func (p *points) readLists(der []byte) bool {
	input, list := cryptobyte.String(der), cryptobyte.String(nil)
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() {
		return false
	}
	for range maxPoints {
		if list.Empty() {
			return true
		}
		var point cryptobyte.String
		if !list.ReadASN1(&point, cbasn1.SEQUENCE) || !p.readPoint(point) {
			return false
		}
	}
	p.leaveOut("at more places than are looked at")
	return true
}

// readPoint reads one DistributionPoint.
func (p *points) readPoint(point cryptobyte.String) bool {
	var at cryptobyte.String
	var named bool
	if !point.ReadOptionalASN1(&at, &named, tag0.Constructed()) {
		return false
	}
	switch {
	case point.PeekASN1Tag(tag1):
		p.leaveOut("for some reasons only")
	case point.PeekASN1Tag(tag2.Constructed()):
		p.leaveOut("by another authority (an indirect CRL)")
	case !named:
		p.leaveOut("without a place")
	default:
		return p.readName(at)
	}
	return true
}

// readName reads a DistributionPointName.
func (p *points) readName(at cryptobyte.String) bool {
	names, ok := fullName(at)
	if !ok {
		return false
	}
	if names == nil {
		p.leaveOut("relative to the name of the authority, which needs its directory")
		return true
	}
	web := false
	for _, n := range names {
		text := uri(n)
		if u := webAddress(text); u != "" {
			web = true
			if !slices.Contains(p.lists, u) {
				p.lists = append(p.lists, u)
			}
		}
		p.names = append(p.names, n)
	}
	ldap := slices.ContainsFunc(names, func(n []byte) bool { return strings.HasPrefix(strings.ToLower(uri(n)), "ldap") })
	switch {
	case web:
	case ldap:
		p.leaveOut("over LDAP only")
	default:
		p.leaveOut("neither over http nor over https")
	}
	return true
}

// fullName reads the names of a DistributionPointName as they are encoded, at most maxNames; nil when it is relative to
// the issuer.
func fullName(at cryptobyte.String) (names [][]byte, ok bool) {
	if at.PeekASN1Tag(tag1.Constructed()) {
		return nil, true
	}
	var list cryptobyte.String
	if !at.ReadASN1(&list, tag0.Constructed()) || !at.Empty() || list.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1Element(&name, &tag) || len(names) == maxNames {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// uri returns the text of a GeneralName that is a URI, else nothing.
func uri(name []byte) string {
	input, text := cryptobyte.String(name), cryptobyte.String(nil)
	if !input.ReadASN1(&text, tagURI) {
		return ""
	}
	return string(text)
}

// WebAddress returns the URL of a server that a Client can ask, in its usual spelling; empty for others.
func WebAddress(text string) string { return webAddress(text) }

// webAddress returns a URL that can be fetched from, in its usual spelling; empty for others.
func webAddress(text string) string {
	if len(text) > maxURL {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	u.Fragment = ""
	return u.String()
}
