package directory

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/trust"
)

// Limits of what is taken from one record. Outlook writes one value with at most a handful of certificates; ten times
// that is kept, the rest is named and dropped.
const (
	maxValues       = 64
	maxValueSize    = 64 << 10
	maxCertificates = 64
	maxAddresses    = 64
)

// Decode makes an Entry of a Record: every value of both properties is decoded, each certificate kept once. It never
// fails; what cannot be read is listed in Undecodable. Changed and Missing are left zero.
func Decode(r Record) Entry {
	d := decoder{entry: Entry{
		Primary: r.Primary, DisplayName: clip(r.DisplayName), GivenName: clip(r.GivenName), Surname: clip(r.Surname), Alias: clip(r.Alias),
		Kind: r.Kind, Addresses: orderedAddresses(r), Partial: r.Partial, Undetermined: clip(r.Undetermined),
	}}
	for i, v := range r.Values {
		if i == maxValues {
			d.undecodable(v, fmt.Sprintf("more than %d values: the rest is not read", maxValues))
			break
		}
		d.value(v)
	}
	d.claim()
	return d.entry
}

func orderedAddresses(r Record) []Address {
	others := slices.Clone(r.Addresses)
	slices.Sort(others)
	others = slices.DeleteFunc(slices.Compact(others), func(a Address) bool { return a == r.Primary || a == "" })
	return append([]Address{r.Primary}, others[:min(len(others), maxAddresses-1)]...)
}

// clip bounds a name; Exchange's own limits are 64 to 256 characters.
func clip(s string) string {
	const most = 1024
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

type decoder struct {
	entry Entry
	certs []*x509.Certificate // parallel to entry.Certificates
}

// value tries the encodings in the order of facts: what starts like a SignedData is one, what is a certificate is one,
// the rest may be Outlook's settings.
func (d *decoder) value(v Value) {
	if v.Fault != "" {
		d.undecodable(v, v.Fault)
		return
	}
	if len(v.Data) == 0 {
		d.undecodable(v, "empty value")
		return
	}
	if len(v.Data) > maxValueSize {
		d.undecodable(v, fmt.Sprintf("longer than %d bytes", maxValueSize))
		return
	}
	set, err := cms.ParseCertificates(v.Data)
	switch {
	case err == nil:
		d.signedData(v, set)
		return
	case !errors.Is(err, cms.ErrNotSignedData):
		d.undecodable(v, "damaged SignedData: "+err.Error())
		return
	}
	if cert, err := x509.ParseCertificate(v.Data); err == nil {
		d.add(v, cert, EncodingX509, false)
		return
	}
	if settings, ok := parseSettings(v.Data); ok {
		d.settings(v, settings)
		return
	}
	d.undecodable(v, "neither SignedData, nor a certificate, nor MS-OXOABK settings")
}

func (d *decoder) signedData(v Value, set *cms.CertificateSet) {
	found := false
	for _, raw := range set.Certificates {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			d.undecodable(Value{Property: v.Property, Data: raw}, "certificate in SignedData: "+err.Error())
			continue
		}
		found = true
		d.addOrChain(v, cert, EncodingSignedData, bytes.Equal(raw, set.Preferred))
	}
	if !found && len(set.Certificates) == 0 {
		d.undecodable(v, "SignedData without certificates")
	}
}

func (d *decoder) settings(v Value, settings []setting) {
	for _, s := range settings {
		switch s.tag {
		case tagKeyExchangeCertificate:
			if cert, err := x509.ParseCertificate(s.data); err == nil {
				d.add(v, cert, EncodingSettings, true)
			} else {
				d.undecodable(v, "KeyExchangeCertificate setting: "+err.Error())
			}
		case tagChainCertificate:
			if cert, err := x509.ParseCertificate(s.data); err == nil {
				d.addOrChain(v, cert, EncodingSettings, false)
			}
		}
	}
}

// addOrChain keeps CA certificates as intermediates and everything else as a candidate.
func (d *decoder) addOrChain(v Value, cert *x509.Certificate, e Encoding, preferred bool) {
	if !cert.IsCA {
		d.add(v, cert, e, preferred)
		return
	}
	known := slices.ContainsFunc(d.entry.Intermediates, func(raw []byte) bool { return bytes.Equal(raw, cert.Raw) })
	if !known && len(d.entry.Intermediates) < maxCertificates {
		d.entry.Intermediates = append(d.entry.Intermediates, cert.Raw)
	}
}

func (d *decoder) add(v Value, cert *x509.Certificate, e Encoding, preferred bool) {
	for i := range d.entry.Certificates {
		if bytes.Equal(d.entry.Certificates[i].Raw, cert.Raw) {
			d.entry.Certificates[i].Default = d.entry.Certificates[i].Default || preferred
			return
		}
	}
	if len(d.entry.Certificates) == maxCertificates {
		return
	}
	d.certs = append(d.certs, cert)
	d.entry.Certificates = append(d.entry.Certificates, UserCertificate{Raw: cert.Raw, Property: v.Property, Encoding: e, Default: preferred})
}

func (d *decoder) undecodable(v Value, reason string) {
	u := Undecodable{Property: v.Property, Reason: reason, Size: len(v.Data)}
	if len(v.Data) > 0 {
		sum := sha256.Sum256(v.Data)
		u.SHA256 = hex.EncodeToString(sum[:])
	}
	if len(d.entry.Undecodable) <= maxValues {
		d.entry.Undecodable = append(d.entry.Undecodable, u)
	}
}

// claim lists the addresses that a certificate adds to the entry. Only a certificate that names an address of the entry
// is taken to be this entry's: someone else's certificate in it adds nothing.
func (d *decoder) claim() {
	for _, cert := range d.certs {
		named := trust.CertificateAddresses(cert)
		if !slices.ContainsFunc(named, func(a Address) bool { return slices.Contains(d.entry.Addresses, a) }) {
			continue
		}
		for _, a := range named {
			if !slices.Contains(d.entry.Addresses, a) && !slices.Contains(d.entry.Claimed, a) && len(d.entry.Claimed) < maxAddresses {
				d.entry.Claimed = append(d.entry.Claimed, a)
			}
		}
	}
	slices.Sort(d.entry.Claimed)
}

// Tags of MS-OXOABK section 2.2.4.36 that hold certificates. ChainCertificate and SignCertificate (0x0008, never for
// encryption) are documented; 0x0003 is what Outlook writes for the KeyExchangeCertificate.
const (
	tagKeyExchangeCertificate = 0x0003
	tagChainCertificate       = 0x0004
)

type setting struct {
	tag  uint16
	data []byte
}

// parseSettings reads a run of TAG(2) LENGTH(2, with its own four header bytes) DATA that must fill the value exactly and
// hold a key exchange certificate. The byte order is not documented; little endian is what is known, and the one that
// fits is taken.
func parseSettings(b []byte) ([]setting, bool) {
	if s, ok := parseSettingsIn(binary.LittleEndian, b); ok {
		return s, true
	}
	return parseSettingsIn(binary.BigEndian, b)
}

func parseSettingsIn(order binary.ByteOrder, b []byte) ([]setting, bool) {
	const maxSettings = 256
	var settings []setting
	certificate := false
	for len(b) > 0 {
		if len(b) < 4 || len(settings) == maxSettings {
			return nil, false
		}
		tag, length := order.Uint16(b), int(order.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			return nil, false
		}
		settings = append(settings, setting{tag, b[4:length]})
		certificate = certificate || tag == tagKeyExchangeCertificate
		b = b[length:]
	}
	return settings, certificate
}

// decoderVersion changes when Decode reads more than it did: stored digests then no longer match and every entry is
// decoded again.
const decoderVersion = 1

// digest identifies the content of a record, whatever the order of its addresses.
func digest(r Record) [sha256.Size]byte {
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	field([]byte{decoderVersion})
	for _, s := range []string{string(r.Primary), r.DisplayName, r.GivenName, r.Surname, r.Alias, string(r.Kind)} {
		field([]byte(s))
	}
	for _, a := range orderedAddresses(r) {
		field([]byte(a))
	}
	for _, v := range r.Values {
		field([]byte(v.Property))
		field([]byte(v.Fault))
		field(v.Data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
