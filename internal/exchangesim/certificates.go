package exchangesim

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"hash/fnv"
	"math/big"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// The fixed dates of all certificates: what they are does not depend on the day.
var (
	validFrom   = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo     = time.Date(2044, 1, 1, 0, 0, 0, 0, time.UTC)
	expiredFrom = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	expiredTo   = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	futureTo    = time.Date(2048, 1, 1, 0, 0, 0, 0, time.UTC)
)

// certificates are the values of the two properties of an entry.
type certificates struct {
	smime, exchange [][]byte
	// own is the certificate (DER) that belongs to key; nil when the entry has none.
	own []byte
	key crypto.Signer
}

// request says which certificate to issue.
type request struct {
	ca       *testca.CA
	key      crypto.Signer
	from, to time.Time
	usage    x509.KeyUsage
}

// certificates makes the values of an entry; the same entry always gets the same ones.
func (p *keyPool) certificates(e *entry) (*certificates, error) {
	if e.SMIME != nil || e.Exchange != nil {
		return &certificates{smime: e.SMIME, exchange: e.Exchange}, nil
	}
	switch e.Recipe {
	case None:
		return &certificates{}, nil
	case Garbage:
		return p.garbage(e)
	case SeveralValues:
		return p.several(e)
	}
	r := p.request(e)
	address, name := e.certified, e.DisplayName
	if e.Recipe == SomeoneElse {
		address, name = Alice, "Alice Adams"
	}
	leaf, err := r.leaf(address, name)
	if err != nil {
		return nil, err
	}
	value, err := encode(leaf, r.ca.Certificate, r.key, e.Encoding)
	if err != nil {
		return nil, err
	}
	c := &certificates{own: leaf.Raw, key: r.key}
	if e.Property != InExchange {
		c.smime = [][]byte{value}
	} else {
		c.exchange = [][]byte{value}
	}
	if e.Property == Both {
		c.exchange = [][]byte{leaf.Raw}
	}
	if e.Recipe != Renewed {
		return c, nil
	}
	r.from, r.to = expiredFrom, expiredTo
	old, err := r.leaf(address, name)
	if err != nil {
		return nil, err
	}
	c.smime, c.exchange = [][]byte{value}, [][]byte{old.Raw}
	return c, nil
}

// request is the certificate that the recipe of e asks for.
func (p *keyPool) request(e *entry) request {
	r := request{ca: p.smime, key: p.rsaKey(e), from: validFrom, to: validTo, usage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	switch e.Recipe {
	case Expired:
		r.from, r.to = expiredFrom, expiredTo
	case NotYetValid:
		r.from, r.to = validTo, futureTo
	case SigningOnly:
		r.usage = x509.KeyUsageDigitalSignature
	case SomeoneElse:
		r.key = p.rsa[0]
	case CurveP256:
		r.key, r.usage = p.p256[e.number()%2], x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement
	case CurveP384:
		r.key, r.usage = p.p384, x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement
	case WeakKey:
		r.key = p.weak
	case UntrustedIssuer:
		r.ca = p.stranger
	}
	return r
}

// rsaKey is the RSA key of e: his own at a fixed address, else one of those that everybody shares.
func (p *keyPool) rsaKey(e *entry) crypto.Signer {
	if e.key >= 0 {
		return p.rsa[e.key]
	}
	return p.rsa[firstOrdinary+e.number()%ordinaryKeys]
}

// several makes an expired, a signing-only and, last, the usable value in one property.
func (p *keyPool) several(e *entry) (*certificates, error) {
	c := &certificates{key: p.rsaKey(e)}
	var values [][]byte
	for _, recipe := range []Recipe{Expired, SigningOnly, Usable} {
		with := *e.with(func(p *Person) { p.Recipe = recipe })
		leaf, err := p.request(&with).leaf(e.certified, e.DisplayName)
		if err != nil {
			return nil, err
		}
		values, c.own = append(values, leaf.Raw), leaf.Raw
	}
	if e.Property == InExchange {
		c.exchange = values
	} else {
		c.smime = values
	}
	return c, nil
}

// garbage makes values without any certificate in them.
func (p *keyPool) garbage(e *entry) (*certificates, error) {
	leaf, err := p.request(e).leaf(e.certified, e.DisplayName)
	if err != nil {
		return nil, err
	}
	noise := sha256.Sum256([]byte("noise"))
	return &certificates{
		smime:    [][]byte{append([]byte{0x30, 0x82, 0xff, 0xff}, noise[:]...), {0x20, 0x00, 0xff, 0x7f, 1}},
		exchange: [][]byte{leaf.Raw[:len(leaf.Raw)/2], {}},
	}, nil
}

// leaf issues the certificate for one address. Its serial number depends on everything that it says.
func (r request) leaf(address, name string) (*x509.Certificate, error) {
	address = strings.ToLower(address)
	id := sha256.Sum256([]byte(strings.Join([]string{address, r.from.String(), r.to.String(), r.ca.Certificate.Subject.CommonName}, "\n")))
	id[0] &= 0x7f
	id[0] |= byte(r.usage) & 0x0f
	template := &x509.Certificate{
		SerialNumber:   new(big.Int).SetBytes(id[:16]),
		Subject:        pkix.Name{CommonName: name},
		EmailAddresses: []string{address},
		NotBefore:      r.from,
		NotAfter:       r.to,
		KeyUsage:       r.usage,
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
		// End-entity certificates say so.
		BasicConstraintsValid: true,
	}
	return issue(template, r.ca.Certificate, r.key.Public(), r.ca.Key)
}

func encode(leaf, ca *x509.Certificate, key crypto.Signer, encoding Encoding) ([]byte, error) {
	switch encoding {
	case SignedData:
		return signedDataValue(leaf, ca, key)
	case Settings:
		return settingsValue(leaf, ca), nil
	}
	return leaf.Raw, nil
}

// hash spreads addresses evenly; it is the same on every machine.
func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	// FNV's low bits of similar strings are alike: mix them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
