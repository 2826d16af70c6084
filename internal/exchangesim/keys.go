package exchangesim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// testKeys holds PUBLIC TEST KEYS. They are published with the program and protect nothing.
//
//go:embed testkeys/*.pem
var testKeys embed.FS

// ordinaryKeys is how many RSA keys the ordinary people share; the keys before firstOrdinary belong to people at fixed
// addresses.
const (
	firstOrdinary = 4
	ordinaryKeys  = 6
)

// keyPool is the parsed set of embedded test keys.
type keyPool struct {
	rsa      []crypto.Signer
	weak     crypto.Signer
	p256     []crypto.Signer
	p384     crypto.Signer
	smime    *testca.CA
	stranger *testca.CA
}

func loadKeys() (*keyPool, error) {
	var p keyPool
	var smime, stranger crypto.Signer
	load := func(name string, into *crypto.Signer) error {
		key, err := loadKey(name)
		*into = key
		return err
	}
	p.rsa, p.p256 = make([]crypto.Signer, firstOrdinary+ordinaryKeys), make([]crypto.Signer, 2)
	files := map[string]*crypto.Signer{
		"rsa1024": &p.weak, "ecp384": &p.p384, "ecp256-0": &p.p256[0], "ecp256-1": &p.p256[1],
		"smime-ca": &smime, "stranger-ca": &stranger,
	}
	for i := range p.rsa {
		files[fmt.Sprintf("rsa2048-%d", i)] = &p.rsa[i]
	}
	for name, into := range files {
		if err := load(name, into); err != nil {
			return nil, fmt.Errorf("read embedded test key %s: %w", name, err)
		}
	}
	var err error
	if p.smime, err = fixedCA("galsyncd exchangesim S/MIME test CA", 1, smime); err != nil {
		return nil, err
	}
	p.stranger, err = fixedCA("A stranger's test CA", 2, stranger)
	return &p, err
}

func loadKey(name string) (crypto.Signer, error) {
	data, err := testKeys.ReadFile("testkeys/" + name + ".pem")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("no PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T does not sign", key)
	}
	return signer, nil
}

// repeatable makes the ECDSA signatures of a key the same every time (RFC 6979), so that a certificate issued twice has
// one fingerprint.
type repeatable struct{ *ecdsa.PrivateKey }

func (k repeatable) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

func sameEveryTime(key crypto.Signer) crypto.Signer {
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return repeatable{ec}
	}
	return key
}

// fixedCA makes a root that is the same after every start.
func fixedCA(commonName string, serial int64, key crypto.Signer) (*testca.CA, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: commonName, Organization: []string{"galsyncd test"}},
		NotBefore:             time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := issue(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &testca.CA{Certificate: cert, Key: key}, nil
}

func issue(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, sameEveryTime(signer))
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}
