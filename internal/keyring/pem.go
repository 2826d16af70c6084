package keyring

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
)

// ImportPEM imports private keys with their certificates, and what leads to those, from PEM blocks in any order. Keys may be
// encrypted as PKCS #8 (RFC 5958 section 3), all under one passphrase; the older encryption of PEM itself is refused. Otherwise
// it does as Import.
func (k *Keyring) ImportPEM(data []byte, passphrase string) ([]Info, error) {
	if err := k.ready(); err != nil {
		return nil, fmt.Errorf("import PEM: %w", err)
	}
	list, err := parsePEM(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("import PEM: %w", err)
	}
	return k.add("import PEM", list)
}

func parsePEM(data []byte, passphrase string) ([]Identity, error) {
	if len(data) > maxImport {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxImport)
	}
	var keys []crypto.PrivateKey
	var sealed [][]byte
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
		if block.Type == "ENCRYPTED PRIVATE KEY" {
			if sealed = append(sealed, block.Bytes); len(sealed) > maxKeys {
				return nil, errTooMany
			}
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
	opened, err := openPKCS8(sealed, certs, passphrase)
	if err != nil {
		return nil, err
	}
	return match(append(keys, opened...), certs)
}

// openPKCS8 decrypts EncryptedPrivateKeyInfo structures, which are what a key bag of PFX has inside.
func openPKCS8(sealed [][]byte, certs []*x509.Certificate, passphrase string) ([]crypto.PrivateKey, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	if len(certs) == 0 {
		return nil, ErrKeyMismatch
	}
	if err := checkPFXPassphrase(passphrase); err != nil {
		return nil, err
	}
	f, work := &pfxFile{}, 0
	for _, der := range sealed {
		if err := f.walkBag(&safeBag{ID: oidShroudedBag, Value: asn1.RawValue{FullBytes: explicitBytes(der), Bytes: der}}); err != nil {
			return nil, err
		}
		work += f.keys[len(f.keys)-1].work
	}
	if work > maxWork {
		return nil, fmt.Errorf("opening the file takes %d iterations of its key derivations, more than %d", work, maxWork)
	}
	var keys []crypto.PrivateKey
	for _, key := range f.keys {
		// go-pkcs12 wants a certificate beside every key; any will do.
		k, _, err := decodePFX(passphrase, [][]byte{key.bag, certificateBag(certs[0])}, nil)
		if errors.Is(err, errReexport) { // without a MAC a wrong passphrase gives any garbage
			return nil, fmt.Errorf("%w, or the key is encrypted in another way than PBES2 with AES", ErrPFXPassphrase)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parsePEMKey returns nil for a block that is no private key.
func parsePEMKey(block *pem.Block) (crypto.PrivateKey, error) {
	if block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the private key is encrypted in an old way; make a PFX file of it: openssl pkcs12 -export -inkey KEY -in CERTIFICATE -out FILE.p12")
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
