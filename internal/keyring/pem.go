package keyring

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ImportPEM imports private keys with their certificates, and what leads to those, from PEM blocks in any order. The keys
// must not be encrypted. Otherwise it does as Import.
func (k *Keyring) ImportPEM(data []byte) ([]Info, error) {
	list, err := parsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("import PEM: %w", err)
	}
	return k.add("import PEM", list)
}

func parsePEM(data []byte) ([]Identity, error) {
	if len(data) > maxImport {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxImport)
	}
	var keys []crypto.PrivateKey
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
			}
			certs = append(certs, cert)
			continue
		}
		key, err := parsePEMKey(block)
		clear(block.Bytes)
		if err != nil {
			return nil, err
		}
		if key != nil {
			keys = append(keys, key)
		}
		if len(keys) > maxKeys || len(certs) > maxCertificates {
			return nil, errTooMany
		}
	}
	return match(keys, certs)
}

// parsePEMKey returns nil for a block that is no private key.
func parsePEMKey(block *pem.Block) (crypto.PrivateKey, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the private key is encrypted; make a PFX file of it: openssl pkcs12 -export -inkey KEY -in CERTIFICATE -out FILE.p12")
	}
	if !bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
		return nil, nil
	}
	if len(block.Bytes) > maxKey {
		return nil, errKeyTooLarge
	}
	var key crypto.PrivateKey
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("private keys of type %q are not supported", block.Type)
	}
	if err != nil {
		return nil, errBadKey
	}
	return key, nil
}
