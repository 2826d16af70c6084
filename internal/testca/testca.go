// Package testca makes throw-away certificate authorities and certificates for tests, the demo and the Exchange
// stand-in. Nothing it makes is ever trusted by galsyncd unless a configuration names it.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CA is a certificate authority with its key.
type CA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Leaf is an end-entity certificate with its key.
type Leaf struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Options vary a leaf. The zero value makes an e-mail certificate that is valid from an hour before Now for a year.
type Options struct {
	// CommonName of the subject; the first address when empty.
	CommonName string
	// Addresses become rfc822Name alternative names.
	Addresses []string
	// DNSNames and IPs make a TLS server certificate.
	DNSNames []string
	IPs      []net.IP
	// Now is the time that the defaults of NotBefore and NotAfter count from; time.Now() when zero.
	Now                 time.Time
	NotBefore, NotAfter time.Time
	// Key is used when set; else an RSA key of 2048 bits is made.
	Key crypto.Signer
	// KeyUsage is digitalSignature and keyEncipherment when zero.
	KeyUsage x509.KeyUsage
	// ExtKeyUsage is emailProtection when nil, serverAuth with DNSNames or IPs; an empty slice leaves the extension out.
	ExtKeyUsage []x509.ExtKeyUsage
	// SubjectEmail is put into the subject as an emailAddress attribute (RFC 5280 section 4.1.2.6, old practice).
	SubjectEmail    string
	ExtraExtensions []pkix.Extension
}

// New makes a self-signed root that is valid from 2015 to 2049.
func New(commonName string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newCA(commonName, key, nil)
}

// Intermediate makes a subordinate authority.
func (ca *CA) Intermediate(commonName string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newCA(commonName, key, ca)
}

func newCA(commonName string, key crypto.Signer, parent *CA) (*CA, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: commonName, Organization: []string{"galsyncd test"}},
		NotBefore:             time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Certificate, parent.Key
	}
	cert, err := create(template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &CA{Certificate: cert, Key: key}, nil
}

// Leaf issues an end-entity certificate.
func (ca *CA) Leaf(o Options) (*Leaf, error) {
	if o.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		o.Key = key
	}
	cert, err := create(o.template(), ca.Certificate, o.Key.Public(), ca.Key)
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: cert, Key: o.Key}, nil
}

func (o *Options) template() *x509.Certificate {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = o.Now.Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = o.NotBefore.AddDate(1, 0, 0)
	}
	if o.CommonName == "" && len(o.Addresses) > 0 {
		o.CommonName = o.Addresses[0]
	}
	if o.KeyUsage == 0 {
		o.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	if o.ExtKeyUsage == nil {
		o.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		if len(o.DNSNames)+len(o.IPs) > 0 {
			o.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
	}
	subject := pkix.Name{CommonName: o.CommonName}
	if o.SubjectEmail != "" {
		subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: o.SubjectEmail}}
	}
	return &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               subject,
		EmailAddresses:        o.Addresses,
		DNSNames:              o.DNSNames,
		IPAddresses:           o.IPs,
		NotBefore:             o.NotBefore,
		NotAfter:              o.NotAfter,
		KeyUsage:              o.KeyUsage,
		ExtKeyUsage:           o.ExtKeyUsage,
		BasicConstraintsValid: true,
		ExtraExtensions:       o.ExtraExtensions,
	}
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// CertificatePEM encodes a certificate.
func CertificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// KeyPEM encodes the private key of a leaf as PKCS #8.
func (l *Leaf) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(l.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
