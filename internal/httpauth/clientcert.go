package httpauth

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// maxCertificate bounds the file of a client certificate, in bytes.
const maxCertificate = 1 << 20

// ClientCertificate says which certificate to show to a server that asks for one in TLS, beside any method. The zero value
// is none. The files are read for each connection, so that a renewed certificate counts.
type ClientCertificate struct {
	// File holds certificate and key: PEM with the certificate first, then its issuers, and an unencrypted key anywhere; or
	// PFX (RFC 7292). Nobody else may be able to read it.
	File string
	// KeyFile holds the PEM key when File does not; File is then not secret.
	KeyFile string
	// Passphrase opens a PFX file; nil is the empty one.
	Passphrase func() ([]byte, error)
	// DecodePFX reads a PFX file within bounds of its own; nil refuses such files.
	DecodePFX func(pfx, passphrase []byte) (crypto.Signer, []*x509.Certificate, error)
}

// load reads the certificate; its error holds no secret.
func (c *ClientCertificate) load(now time.Time) (*tls.Certificate, error) {
	cert, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("read the client certificate %s: %w", c.File, err)
	}
	if now.After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("the client certificate %s ended on %s; put a new one there", c.File, cert.Leaf.NotAfter.Format(time.DateOnly))
	}
	return cert, nil
}

func (c *ClientCertificate) read() (*tls.Certificate, error) {
	if c.KeyFile != "" {
		key, err := readPrivate(c.KeyFile, maxCertificate)
		if err != nil {
			return nil, err
		}
		chain, err := readBounded(c.File, maxCertificate)
		if err != nil {
			return nil, err
		}
		return fromPEM(chain, key)
	}
	b, err := readPrivate(c.File, maxCertificate)
	if err != nil {
		return nil, err
	}
	if b[0] == 0x30 { // SEQUENCE: DER
		return c.fromPFX(b)
	}
	return fromPEM(b, b)
}

func fromPEM(chain, key []byte) (*tls.Certificate, error) {
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key is encrypted; use a PFX file with its passphrase, or a plain key in a file of mode 0600")
		}
	}
	if bytes.Contains(chain, []byte("-----BEGIN")) && bytes.Contains(key, []byte("PRIVATE KEY-----")) {
		cert, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return nil, errors.New("it holds no certificate and key that belong together; the certificate of the key must be the first one")
		}
		return &cert, nil
	}
	return nil, errors.New("there is no PEM certificate with its key in it")
}

func (c *ClientCertificate) fromPFX(b []byte) (*tls.Certificate, error) {
	if c.DecodePFX == nil {
		return nil, errors.New("PFX files are not read here; use PEM")
	}
	var passphrase []byte
	if c.Passphrase != nil {
		var err error
		if passphrase, err = c.Passphrase(); err != nil {
			return nil, fmt.Errorf("read its passphrase: %w", err)
		}
	}
	key, chain, err := c.DecodePFX(b, passphrase)
	if err != nil {
		return nil, err
	}
	if key == nil || len(chain) == 0 || !samePublicKey(key.Public(), chain[0].PublicKey) {
		return nil, errors.New("it holds no certificate and key that belong together")
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, issued := range chain {
		cert.Certificate = append(cert.Certificate, issued.Raw)
	}
	return cert, nil
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// forServer is what TLS calls when the server asks for a certificate. The server has proven who it is by then.
func (c *ClientCertificate) forServer(now func() time.Time) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c.File == "" {
		return nil
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.load(now()) }
}
