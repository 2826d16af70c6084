package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
)

// ForSigning returns every obstacle to believing that a signature made with cert's key is the person's, in the order
// validity, usage, key, address, chain, revocation. An empty result means that there is none. Whether the signature verifies is not
// asked here, and q.Now is the time that decides: a signing time is only what the signer claims.
//
// A signature by a certificate that is in the address book needs its chain all the same unless the policy accepts the
// directory and q.FromDirectory says that it is this very certificate.
func (p *Policy) ForSigning(cert *x509.Certificate, q Question) []Finding {
	findings := checkValidity(cert, q.Now)
	findings = append(findings, checkUsage(cert, signingObstacle(cert))...)
	findings = append(findings, checkSigningKey(cert)...)
	findings = append(findings, checkAddress(cert, q)...)
	findings = append(findings, checkCritical(cert)...)
	obstacles, _ := p.checkStanding(cert, q)
	return append(findings, obstacles...)
}

// signingObstacle checks the key usage extension, which must be absent or hold digitalSignature or nonRepudiation (RFC
// 8550 section 4.4.2).
func signingObstacle(cert *x509.Certificate) string {
	if !hasExtension(cert, oidKeyUsage) || cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) != 0 {
		return ""
	}
	return "not for signing: its key usage lacks digitalSignature and nonRepudiation"
}

// checkSigningKey demands a key whose signatures cannot be forged.
func checkSigningKey(cert *x509.Certificate) []Finding {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return findings(WeakKey, rsaObstacles(key))
	case *ecdsa.PublicKey:
		return findings(WeakKey, curveObstacles(key.Curve))
	case ed25519.PublicKey:
		return nil
	}
	if cert.PublicKeyAlgorithm == x509.DSA {
		return []Finding{{State: WeakKey, Reason: "a DSA key, which this program does not accept"}}
	}
	return []Finding{{State: WrongUsage, Reason: "a key that cannot sign, or of unknown kind"}}
}
