package keyring

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxImport is the largest file imported, in bytes.
	maxImport = 1 << 20
	// maxKey is the largest private key as PKCS #8, in bytes; RSA with 16384 bits has 9.3 KiB.
	maxKey = 10 << 10
	// maxCertificates is how many certificates one file may hold, maxChain how many of them are kept as the chain of one.
	maxCertificates = 100
	maxChain        = 10
)

// ErrKeyMismatch reports that a file holds no certificate for one of its private keys.
var ErrKeyMismatch = errors.New("the private key belongs to none of the certificates")

// ErrNoIdentity reports a fingerprint that no identity has.
var ErrNoIdentity = errors.New("no identity has this fingerprint")

// Info is the public half of an identity.
type Info struct {
	// Fingerprint is the SHA-256 of the certificate.
	Fingerprint [sha256.Size]byte
	Certificate *x509.Certificate
	// Chain leads from the issuer of the certificate upwards, as far as it was imported with it. It is not verified.
	Chain []*x509.Certificate
	// Imported is when the identity was imported, or imported again.
	Imported time.Time
	// Updated says, in the answer of an import only, that the identity was there before.
	Updated bool
}

// Identity is an identity with its private key: *rsa.PrivateKey, *ecdsa.PrivateKey, *ecdh.PrivateKey or
// ed25519.PrivateKey.
type Identity struct {
	Info
	Key crypto.PrivateKey
}

// identityRecord is an identity in the file. Sealed is the key as PKCS #8.
type identityRecord struct {
	Certificate []byte    `json:"certificate"`
	Chain       [][]byte  `json:"chain,omitempty"`
	Imported    time.Time `json:"imported"`
	Sealed      []byte    `json:"sealed"`
}

// List returns the public half of every identity, in the order of the fingerprints. It works while the keyring is locked;
// then nothing but the checksums of the file vouches for Chain and Imported.
func (k *Keyring) List() ([]Info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	records, err := k.load()
	if err != nil {
		return nil, err
	}
	list := make([]Info, len(records))
	for i, rec := range records {
		if list[i], err = rec.info(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Identities returns every identity with its key, in the order of the fingerprints, or ErrLocked.
func (k *Keyring) Identities() ([]Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.db == nil {
		return nil, ErrClosed
	}
	if !k.unlocked() {
		return nil, ErrLocked
	}
	records, err := k.load()
	if err != nil {
		return nil, err
	}
	list := make([]Identity, len(records))
	for i, rec := range records {
		if list[i].Info, err = rec.info(); err != nil {
			return nil, err
		}
		if list[i].Key, err = rec.open(k.master); err != nil {
			return nil, k.check("open private key", err)
		}
	}
	return list, nil
}

// add stores identities in one transaction. The keyring must be unlocked.
func (k *Keyring) add(what string, list []Identity) ([]Info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readyLocked(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return k.addLocked(what, list)
}

// ready says whether private keys can be stored and opened: nil, ErrNoIdentities, ErrClosed or ErrLocked.
func (k *Keyring) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.readyLocked()
}

func (k *Keyring) readyLocked() error {
	switch {
	case k.certificatesOnly:
		return ErrNoIdentities
	case k.db == nil:
		return ErrClosed
	case !k.unlocked():
		return ErrLocked
	}
	return nil
}

// addLocked is add for a caller that holds mu and knows that the keyring is unlocked. A key that waited for its certificate
// waits no longer.
func (k *Keyring) addLocked(what string, list []Identity) ([]Info, error) {
	infos := make([]Info, len(list))
	records := make([]*identityRecord, len(list))
	for i := range list {
		list[i].Imported = k.now().UTC()
		rec, err := newRecord(&list[i], k.master)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		records[i], infos[i] = rec, list[i].Info
	}
	err := k.updateLocked(what, func(tx *bbolt.Tx) error {
		for i, rec := range records {
			infos[i].Updated = identitiesTable.get(tx, rec.fingerprint()) != nil
			if err := identitiesTable.put(tx, rec.fingerprint(), rec); err != nil {
				return err
			}
			waiting := sha256.Sum256(list[i].Certificate.RawSubjectPublicKeyInfo)
			if err := requestsTable.delete(tx, waiting[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return infos, nil
}

func newRecord(id *Identity, master []byte) (*identityRecord, error) {
	key, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	defer clear(key)
	rec := &identityRecord{Certificate: id.Certificate.Raw, Imported: id.Imported}
	for _, cert := range id.Chain {
		rec.Chain = append(rec.Chain, cert.Raw)
	}
	rec.Sealed = seal(master, key, rec.additional())
	return rec, nil
}

// open returns the private key. The seal covers the public half too, so a changed one is ErrDamaged.
func (rec *identityRecord) open(master []byte) (crypto.PrivateKey, error) {
	return openKey(master, rec.Sealed, rec.additional(), fmt.Sprintf("of identity %x", rec.fingerprint()))
}

// openKey opens a sealed private key; whose says in messages whose it is.
func openKey(master, sealed, additional []byte, whose string) (crypto.PrivateKey, error) {
	pkcs8, err := unseal(master, sealed, additional)
	if err != nil {
		return nil, damaged("the seal of the private key %s is broken", whose)
	}
	defer clear(pkcs8)
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, fmt.Errorf("the private key %s cannot be read by this version", whose)
	}
	return key, nil
}

// additional is what the seal of the key binds: the purpose, the certificate, and the rest of the public half.
func (rec *identityRecord) additional() []byte {
	h := sha256.New()
	binary.Write(h, binary.BigEndian, rec.Imported.UnixNano())
	for _, cert := range rec.Chain {
		sum := sha256.Sum256(cert)
		h.Write(sum[:])
	}
	return h.Sum(append([]byte("galsyncd keyring identity\x00"), rec.fingerprint()...))
}

func (rec *identityRecord) fingerprint() []byte {
	sum := sha256.Sum256(rec.Certificate)
	return sum[:]
}

// parseIdentity reads a record and checks that it stands under its own fingerprint.
func parseIdentity(key, data []byte) (*identityRecord, error) {
	rec := new(identityRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	if !bytes.Equal(rec.fingerprint(), key) || len(rec.Chain) > maxChain || len(rec.Sealed) > maxKey+64 {
		return nil, misplaced("identities", key)
	}
	return rec, nil
}

func (rec *identityRecord) info() (Info, error) {
	info := Info{Fingerprint: [32]byte(rec.fingerprint()), Imported: rec.Imported}
	var err error
	if info.Certificate, err = x509.ParseCertificate(rec.Certificate); err != nil {
		return info, fmt.Errorf("identity %x: parse certificate: %w", info.Fingerprint, err)
	}
	for _, der := range rec.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return info, fmt.Errorf("identity %x: parse certificate of the chain: %w", info.Fingerprint, err)
		}
		info.Chain = append(info.Chain, cert)
	}
	return info, nil
}

// RemoveIdentity deletes a private key with its certificate, for ever, and the preferences that name it. It needs no
// passphrase, so that a key whose passphrase is lost can go. It is ErrNoIdentity when there is none.
func (k *Keyring) RemoveIdentity(fingerprint [sha256.Size]byte) (Info, error) {
	const what = "remove identity"
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, err := k.identityRecord(what, fingerprint)
	if err != nil {
		return Info{}, err
	}
	info, err := rec.info()
	if err != nil {
		return Info{}, err
	}
	return info, k.updateLocked(what, func(tx *bbolt.Tx) error {
		preferences, err := readPreferences(tx)
		if err != nil {
			return err
		}
		for a, p := range preferences {
			if p.Identity != fingerprint {
				continue
			}
			if p.Identity = [sha256.Size]byte{}; p == (Preferences{}) {
				err = preferencesTable.delete(tx, preferencesKey(a))
			} else {
				err = putPreferences(tx, a, p)
			}
			if err != nil {
				return err
			}
		}
		if err := identitiesTable.delete(tx, fingerprint[:]); err != nil {
			return err
		}
		return forget(tx, fingerprint)
	})
}

// match joins every key with its certificate and chain.
func match(keys []crypto.PrivateKey, certs []*x509.Certificate) ([]Identity, error) {
	if len(certs) > maxCertificates {
		return nil, fmt.Errorf("the file holds more than %d certificates", maxCertificates)
	}
	if len(keys) == 0 {
		return nil, errors.New("the file holds no private key")
	}
	var list []Identity
	for _, key := range keys {
		public, ok := key.(interface{ Public() crypto.PublicKey })
		if !ok {
			return nil, fmt.Errorf("private keys of type %T are not supported", key)
		}
		before := len(list)
		for _, cert := range certs {
			if !certifies(cert, public.Public()) || slices.ContainsFunc(list, func(id Identity) bool { return id.Certificate.Equal(cert) }) {
				continue
			}
			info := Info{Fingerprint: sha256.Sum256(cert.Raw), Certificate: cert, Chain: chain(cert, certs)}
			list = append(list, Identity{Info: info, Key: key})
		}
		if len(list) == before {
			return nil, ErrKeyMismatch
		}
	}
	return list, nil
}

// certifies reports whether the certificate is for the key. crypto/x509 does not decode X25519 in certificates (RFC 8410);
// there the encoded keys are compared.
func certifies(cert *x509.Certificate, key crypto.PublicKey) bool {
	if known, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok {
		return known.Equal(key)
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	return err == nil && bytes.Equal(spki, cert.RawSubjectPublicKeyInfo)
}

// chain follows the issuers of a certificate by name and key identifier (RFC 5280 section 4.2.1.1).
func chain(cert *x509.Certificate, certs []*x509.Certificate) []*x509.Certificate {
	var path []*x509.Certificate
	for len(path) < maxChain && !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		i := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, cert.RawIssuer) && !slices.Contains(path, c) &&
				(len(cert.AuthorityKeyId) == 0 || len(c.SubjectKeyId) == 0 || bytes.Equal(c.SubjectKeyId, cert.AuthorityKeyId))
		})
		if i < 0 {
			break
		}
		cert = certs[i]
		path = append(path, cert)
	}
	return path
}
