package keyring

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// assemblePFX makes a PFX file of one plain safe and at most one encrypted safe, with a PBMAC1 that go-pkcs12 accepts. The
// file exists in memory only, so one iteration is enough.
func assemblePFX(passphrase string, bags [][]byte, safe []byte) ([]byte, error) {
	list := make([]asn1.RawValue, len(bags))
	for i, bag := range bags {
		list[i] = asn1.RawValue{FullBytes: bag}
	}
	var parts []asn1.RawValue
	a := assembly{}
	plain := a.marshal(contentInfo{Type: oidData, Content: explicit(a.marshal(a.marshal(list)))})
	parts = append(parts, asn1.RawValue{FullBytes: plain})
	if safe != nil {
		parts = append(parts, asn1.RawValue{FullBytes: safe})
	}
	content := a.marshal(parts)
	salt := make([]byte, saltSize)
	rand.Read(salt)
	hmacSHA256 := pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256}
	kdf := a.marshal(pbkdf2Param{Salt: salt, Iterations: big.NewInt(1), KeyLength: 32, PRF: hmacSHA256})
	params := a.marshal(pbmac1Param{
		KDF: pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: kdf}},
		MAC: hmacSHA256,
	})
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidPBMAC1, Parameters: asn1.RawValue{FullBytes: params}}
	if a.err != nil {
		return nil, a.err
	}
	digest, err := pbmac1(algorithm, passphrase, content)
	if err != nil {
		return nil, err
	}
	pfx := a.marshal(pfxPDU{
		Version:  3,
		AuthSafe: contentInfo{Type: oidData, Content: explicit(a.marshal(content))},
		MacData:  macData{Mac: digestInfo{Algorithm: algorithm, Digest: digest}, Salt: salt, Iterations: big.NewInt(1)},
	})
	return pfx, a.err
}

// assembly marshals and remembers the first error.
type assembly struct{ err error }

func (a *assembly) marshal(v any) []byte {
	der, err := asn1.Marshal(v)
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("assemble PFX: %w", err)
	}
	return der
}

// explicit wraps DER into [0] EXPLICIT.
func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
}

// explicitBytes is explicit as bytes.
func explicitBytes(der []byte) []byte {
	a := assembly{}
	return a.marshal(explicit(der))
}

// certificateBag makes a CertBag (RFC 7292 section 4.2.3).
func certificateBag(cert *x509.Certificate) []byte {
	a := assembly{}
	value := a.marshal(struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oidX509, explicit(a.marshal(cert.Raw))})
	return a.marshal(safeBag{ID: oidCertBag, Value: explicit(value)})
}
