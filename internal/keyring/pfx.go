package keyring

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"software.sslmate.com/src/go-pkcs12"
)

const (
	// maxIterations bounds every iteration count of a PFX file, maxWork the sum of those that an import really runs.
	maxIterations = 2_000_000
	maxWork       = 12_000_000
	// maxKeys and maxSafes bound how many private keys and encrypted parts one file may have.
	maxKeys  = 8
	maxSafes = 4
	maxSalt  = 1024
)

var (
	// ErrPFXPassphrase reports that the passphrase does not open the PFX file.
	ErrPFXPassphrase = errors.New("wrong passphrase of the file")

	errTooMany     = fmt.Errorf("the file holds more than %d private keys or %d certificates", maxKeys, maxCertificates)
	errKeyTooLarge = fmt.Errorf("a private key is larger than %d bytes", maxKey)
	errBadKey      = errors.New("a private key cannot be read: it is broken or of an algorithm that is not supported")
	errReexport    = errors.New(`the file is built in an unusual way; export it again: openssl pkcs12 -in FILE -nodes | openssl pkcs12 -export -out NEW.p12`)
)

// Import imports the identities of a PFX file (PKCS #12, RFC 7292) that passphrase opens: every private key with its
// certificate and what leads to that. All of the file goes in, or nothing. Importing a certificate again replaces its
// record. The keyring must be unlocked, else ErrLocked; a wrong passphrase is ErrPFXPassphrase, a key without its
// certificate ErrKeyMismatch.
//
// The file is bounded: 1 MiB, 2,000,000 iterations in every key derivation, all of which are counted before one is run.
func (k *Keyring) Import(pfx []byte, passphrase string) ([]Info, error) {
	if err := k.ready(); err != nil {
		return nil, fmt.Errorf("import PFX file: %w", err)
	}
	list, err := parsePFX(pfx, passphrase)
	if err != nil {
		return nil, fmt.Errorf("import PFX file: %w", err)
	}
	return k.add("import PFX file", list)
}

// The structures below are those of RFC 7292 section 4, in DER.
type (
	pfxPDU struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac        digestInfo
		Salt       []byte
		Iterations *big.Int `asn1:"optional,default:1"`
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	encryptedData struct {
		Version int
		Content encryptedContentInfo
	}
	encryptedContentInfo struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   asn1.RawValue `asn1:"optional"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue
		Attributes asn1.RawValue `asn1:"optional"`
	}
	encryptedPrivateKeyInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
)

// pfxFile is what a PFX file holds, before anything is decrypted.
type pfxFile struct {
	keys    []pfxKey  // the key bags of the plain safes
	certs   [][]byte  // the certificate bags of the plain safes
	safes   []pfxSafe // the encrypted safes
	hasMAC  bool
	macWork int    // iterations of the MAC
	pdu     pfxPDU // for the check of the MAC
	content []byte // what the MAC covers
}

// pfxKey is a key bag, and the iterations that open it.
type pfxKey struct {
	bag  []byte
	work int
}

// pfxSafe is an encrypted safe as a ContentInfo, and the iterations that open it.
type pfxSafe struct {
	info []byte
	work int
}

// DecodePFX reads the one identity of a PFX file within the bounds of Import, for a use outside of a keyring.
func DecodePFX(pfx, passphrase []byte) (crypto.Signer, []*x509.Certificate, error) {
	list, err := parsePFX(pfx, string(passphrase))
	if err != nil {
		return nil, nil, fmt.Errorf("read PFX file: %w", err)
	}
	if len(list) != 1 {
		return nil, nil, fmt.Errorf("read PFX file: it holds %d identities, one is needed", len(list))
	}
	key, ok := list[0].Key.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("read PFX file: its key cannot sign")
	}
	return key, append([]*x509.Certificate{list[0].Certificate}, list[0].Chain...), nil
}

// parsePFX reads a PFX file. go-pkcs12 decrypts; what it gets is put together here, so that it derives no key whose
// iterations were not counted: the one key bag comes first, and it refuses a second one, which could hide in an encrypted
// safe, before it looks into it.
func parsePFX(data []byte, passphrase string) ([]Identity, error) {
	if len(data) > maxImport {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxImport)
	}
	if err := checkPFXPassphrase(passphrase); err != nil {
		return nil, err
	}
	f, err := walkPFX(data)
	if err != nil {
		return nil, err
	}
	if err := f.checkWork(); err != nil {
		return nil, err
	}
	if err := f.verifyMAC(passphrase); err != nil {
		return nil, err
	}
	keys, certs, err := f.decrypt(passphrase)
	if err != nil {
		return nil, err
	}
	return match(keys, certs)
}

func checkPFXPassphrase(s string) error {
	if len(s) > maxPassphrase || !utf8.ValidString(s) {
		return fmt.Errorf("the passphrase of the PFX file is longer than %d bytes or not UTF-8", maxPassphrase)
	}
	for _, r := range s {
		if r > 0xFFFF {
			return errors.New("the passphrase of the PFX file has a character beyond U+FFFF, which such a file cannot have")
		}
	}
	return nil
}

// checkWork bounds the sum of all iterations that will be run.
func (f *pfxFile) checkWork() error {
	switch {
	case len(f.keys) == 0 && len(f.safes) > 0:
		return fmt.Errorf("no private key is found outside of its encrypted parts: there is none, or %w", errReexport)
	case len(f.keys) == 0:
		return errors.New("the file holds no private key")
	case len(f.keys) > maxKeys || len(f.safes) > maxSafes || len(f.certs) > maxCertificates:
		return errTooMany
	}
	work := f.macWork
	for _, key := range f.keys {
		work += key.work
	}
	for _, safe := range f.safes {
		work += safe.work + f.keys[0].work
	}
	if work > maxWork {
		return fmt.Errorf("opening the file takes %d iterations of its key derivations, more than %d", work, maxWork)
	}
	return nil
}

// decrypt opens every part.
func (f *pfxFile) decrypt(passphrase string) (keys []crypto.PrivateKey, certs []*x509.Certificate, err error) {
	key, certs, err := f.decryptFirst(passphrase)
	if err != nil {
		return nil, nil, err
	}
	keys = append(keys, key)
	for _, other := range f.keys[1:] {
		// go-pkcs12 wants a certificate beside every key; any will do.
		key, _, err := decodePFX(passphrase, [][]byte{other.bag, certificateBag(certs[0])}, nil)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, key)
	}
	return keys, certs, nil
}

// decryptFirst opens the first key, together with every encrypted safe in turn.
func (f *pfxFile) decryptFirst(passphrase string) (key crypto.PrivateKey, certs []*x509.Certificate, err error) {
	bags := append([][]byte{f.keys[0].bag}, f.certs...)
	if len(f.safes) == 0 {
		if len(f.certs) == 0 {
			return nil, nil, errors.New("the file holds no certificate")
		}
		return decodePFX(passphrase, bags, nil)
	}
	for _, safe := range f.safes {
		k, more, err := decodePFX(passphrase, bags, safe.info)
		if err != nil {
			return nil, nil, err
		}
		key, certs, bags = k, append(certs, more...), bags[:1]
	}
	return key, certs, nil
}

// decodePFX lets go-pkcs12 open one key bag, the certificate bags beside it, and at most one encrypted safe.
func decodePFX(passphrase string, bags [][]byte, safe []byte) (crypto.PrivateKey, []*x509.Certificate, error) {
	pfx, err := assemblePFX(passphrase, bags, safe)
	if err != nil {
		return nil, nil, err
	}
	key, cert, more, err := pkcs12.DecodeChain(pfx, passphrase)
	if err != nil {
		return nil, nil, decodeError(err)
	}
	return key, append([]*x509.Certificate{cert}, more...), nil
}

// decodeError says in our words what go-pkcs12 found. Its own text is kept: it names algorithms and structures, no secret.
func decodeError(err error) error {
	var missing pkcs12.NotImplementedError
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("the file uses what is not supported: %w", err)
	case errors.Is(err, pkcs12.ErrDecryption), errors.Is(err, pkcs12.ErrIncorrectPassword):
		return fmt.Errorf("%w, or its parts have different ones", ErrPFXPassphrase)
	}
	return fmt.Errorf("%w (%v)", errReexport, err)
}
