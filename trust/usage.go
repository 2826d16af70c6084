package trust

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// Sizes of RSA keys in bits. Below the minimum a key can be broken (RFC 8550 section 4.1 and NIST SP 800-131A); above the
// maximum one certificate could keep the processor busy.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// maxExponent is the largest public exponent that crypto/rsa works with; one above usualExponent makes a large key slow.
const (
	maxExponent   = 1<<31 - 1
	usualExponent = 65537
	usualRSABits  = 4096
)

// Slow reports a key with which checking one signature takes so long that a few certificates could keep the processor busy:
// more than MaxRSABits, or more than 4096 bits with an exponent above the usual 65537.
func Slow(key crypto.PublicKey) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && (k.N.BitLen() > MaxRSABits || k.N.BitLen() > usualRSABits && k.E > usualExponent)
}

const dateLayout = "2006-01-02"

// checkValidity holds the time of the decision against the certificate's own (RFC 5280 section 4.1.2.5).
func checkValidity(cert *x509.Certificate, now time.Time) []Finding {
	switch {
	case cert.NotAfter.Before(cert.NotBefore):
		return []Finding{{State: Expired, Reason: "never valid: it ends on " + day(cert.NotAfter) + ", before it begins"}}
	case now.Before(cert.NotBefore):
		return []Finding{{State: NotYetValid, Reason: fmt.Sprintf("valid from %s, in %s", day(cert.NotBefore), span(cert.NotBefore.Sub(now)))}}
	case now.After(cert.NotAfter):
		return []Finding{{State: Expired, Reason: fmt.Sprintf("expired %s ago (%s)", span(now.Sub(cert.NotAfter)), day(cert.NotAfter))}}
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(dateLayout) }

// span says a duration in its largest whole unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / unit.length; n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "a moment"
}

// checkUsage holds the certificate's extensions against the purpose: an end entity's, for mail. What its key usage says
// against the purpose is given, "" for nothing.
func checkUsage(cert *x509.Certificate, keyUsageObstacle string) []Finding {
	var reasons []string
	if cert.BasicConstraintsValid && cert.IsCA {
		reasons = append(reasons, "the certificate of a certification authority, not of a person")
	}
	if keyUsageObstacle != "" {
		reasons = append(reasons, keyUsageObstacle)
	}
	if !forMail(cert) {
		reasons = append(reasons, "not for mail: its extended key usage lacks emailProtection")
	}
	return findings(WrongUsage, reasons)
}

func findings(state State, reasons []string) []Finding {
	var all []Finding
	for _, r := range reasons {
		all = append(all, Finding{State: state, Reason: r})
	}
	return all
}

// keyUsageObstacle checks the key usage extension. RSA keys must be allowed to carry keys (keyEncipherment, RFC 8550
// section 4.4.2), EC keys to agree on one (keyAgreement, RFC 5753 section 7.1). keyEncipherment on an EC key does not
// help: RFC 8813 section 3 forbids the combination, and a recipient's program that is strict would refuse to decrypt. A
// certificate without the extension allows everything (RFC 5280 section 4.2.1.3).
func keyUsageObstacle(cert *x509.Certificate) string {
	needed, name := x509.KeyUsageKeyEncipherment, "keyEncipherment"
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		needed, name = x509.KeyUsageKeyAgreement, "keyAgreement"
	}
	if !hasExtension(cert, oidKeyUsage) || cert.KeyUsage&needed != 0 {
		return ""
	}
	if cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) != 0 {
		return "for signing only: its key usage lacks " + name
	}
	return "not for encryption: its key usage lacks " + name
}

// forMail checks the extended key usage extension, which must be absent or hold emailProtection or any (RFC 8550
// section 4.4.4).
func forMail(cert *x509.Certificate) bool {
	return !hasExtension(cert, oidExtKeyUsage) ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageEmailProtection) ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

var (
	oidKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidExtKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidEmailAddress   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	oidRSAPSS         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidSmtpUTF8       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9}
)

func hasExtension(cert *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oid) })
}

// checkKey demands a key that can encrypt and that is neither too weak nor too large.
func checkKey(cert *x509.Certificate) []Finding {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return findings(WeakKey, rsaObstacles(key))
	case *ecdsa.PublicKey:
		return findings(WeakKey, curveObstacles(key.Curve))
	}
	return []Finding{{State: WrongUsage, Reason: unusableKey(cert)}}
}

func rsaObstacles(key *rsa.PublicKey) []string {
	bits := key.N.BitLen()
	switch {
	case bits < MinRSABits:
		return []string{fmt.Sprintf("an RSA key of %d bits; at least %d are needed", bits, MinRSABits)}
	case bits > MaxRSABits:
		return []string{fmt.Sprintf("an RSA key of %d bits; at most %d are supported", bits, MaxRSABits)}
	case Slow(key):
		return []string{fmt.Sprintf("an RSA key of %d bits with an exponent above %d, which is slow to use", bits, usualExponent)}
	case key.E < 3 || key.E > maxExponent || key.E%2 == 0 || key.N.Bit(0) == 0:
		return []string{"an RSA key that is not one, or not usable: its exponent must be odd and from 3 to 2147483647, its modulus odd"}
	}
	return nil
}

func curveObstacles(curve elliptic.Curve) []string {
	if curve == elliptic.P256() || curve == elliptic.P384() || curve == elliptic.P521() {
		return nil
	}
	return []string{"an EC key on the curve " + curve.Params().Name + "; P-256, P-384 or P-521 is needed"}
}

// unusableKey describes a key that cannot encrypt at all.
func unusableKey(cert *x509.Certificate) string {
	switch cert.PublicKey.(type) {
	case ed25519.PublicKey:
		return "for signing only: an Ed25519 key cannot encrypt"
	case *ecdh.PublicKey:
		return "an X25519 key, to which this program does not encrypt"
	}
	if cert.PublicKeyAlgorithm == x509.DSA {
		return "for signing only: a DSA key cannot encrypt"
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &spki); err != nil {
		return "a key of unknown kind"
	}
	if spki.Algorithm.Algorithm.Equal(oidRSAPSS) {
		return "for signing only: an RSA-PSS key cannot encrypt"
	}
	return "a key of unknown kind (" + spki.Algorithm.Algorithm.String() + ")"
}

// KeyName names a certificate's key by algorithm and size, for example "RSA 2048" or "EC P-256".
func KeyName(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "EC " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *ecdh.PublicKey:
		return "X25519"
	}
	if cert.PublicKeyAlgorithm == x509.DSA {
		return "DSA"
	}
	return "unknown"
}
