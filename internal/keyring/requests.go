package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// maxCSR is the largest certificate request, in bytes; maxName the longest name in one (RFC 5280 appendix A.1,
// ub-common-name), in characters.
const (
	maxCSR  = 64 << 10
	maxName = 64
)

// ErrNoKey reports certificates that belong to no key of the keyring.
var ErrNoKey = errors.New("the certificate belongs to no key of the keyring")

// KeyKind says which key is made for a request.
type KeyKind string

// The kinds.
const (
	KeyRSA3072 KeyKind = "rsa-3072" // which every mail program can use
	KeyRSA4096 KeyKind = "rsa-4096"
	KeyP256    KeyKind = "p-256"
	KeyP384    KeyKind = "p-384"
)

// RequestOptions say what to ask a certification authority for.
type RequestOptions struct {
	// Addresses go into the subject alternative name, 1 to 100; their local parts must be ASCII.
	Addresses []mailaddr.Address
	// Name is the common name; empty is the first address.
	Name string
	// Key is the kind of key; empty is KeyRSA3072.
	Key KeyKind
}

// Request is a key that waits for its certificate.
type Request struct {
	// ID is the SHA-256 of the public key as SubjectPublicKeyInfo.
	ID [sha256.Size]byte
	// CSR is the request as PKCS #10 (RFC 2986), for the certification authority.
	CSR     *x509.CertificateRequest
	Created time.Time
}

type requestRecord struct {
	CSR     []byte    `json:"csr"`
	Created time.Time `json:"created"`
	Sealed  []byte    `json:"sealed"`
}

// NewRequest makes a key, keeps it sealed, and returns the certificate request for it. The keyring must be unlocked, else
// ErrLocked. It takes up to some seconds for RSA.
func (k *Keyring) NewRequest(o RequestOptions) (Request, error) {
	const what = "make certificate request"
	if err := o.check(); err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	if err := k.ready(); err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	key, err := o.Key.generate()
	if err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	der, err := o.sign(key)
	if err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Request{}, fmt.Errorf("%s: encode private key: %w", what, err)
	}
	defer clear(pkcs8)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readyLocked(); err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	rec := &requestRecord{CSR: der, Created: k.now().UTC()}
	info, err := rec.info()
	if err != nil {
		return Request{}, fmt.Errorf("%s: %w", what, err)
	}
	rec.Sealed = seal(k.master, pkcs8, rec.additional())
	return info, k.putLocked(what, requestsTable, info.ID[:], rec)
}

func (o *RequestOptions) check() error {
	if len(o.Addresses) == 0 || len(o.Addresses) > maxAddresses {
		return fmt.Errorf("a certificate is for 1 to %d addresses", maxAddresses)
	}
	for _, a := range o.Addresses {
		if err := checkAddress(a); err != nil {
			return err
		}
		if strings.ContainsFunc(string(a), func(r rune) bool { return r >= utf8.RuneSelf }) {
			return fmt.Errorf("a certificate cannot name %s in the usual way: its local part is not ASCII", a)
		}
	}
	if !utf8.ValidString(o.Name) || utf8.RuneCountInString(o.Name) > maxName || printable(o.Name) != o.Name {
		return fmt.Errorf("a name has at most %d characters, all of them printable", maxName)
	}
	return nil
}

func (kind KeyKind) generate() (crypto.Signer, error) {
	switch kind {
	case "", KeyRSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case KeyRSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case KeyP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case KeyP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("there is no kind of key %q: it is one of %s, %s, %s, %s", kind, KeyRSA3072, KeyRSA4096, KeyP256, KeyP384)
}

// sign makes the request. The common name of an address that is too long for one is left out.
func (o *RequestOptions) sign(key crypto.Signer) ([]byte, error) {
	name := o.Name
	if name == "" && len(o.Addresses[0]) <= maxName {
		name = string(o.Addresses[0])
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	for _, a := range o.Addresses {
		template.EmailAddresses = append(template.EmailAddresses, string(a))
	}
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}

// Requests returns the keys that wait for a certificate, the oldest first.
func (k *Keyring) Requests() ([]Request, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	records, err := k.requests()
	if err != nil {
		return nil, err
	}
	list := make([]Request, len(records))
	for i, rec := range records {
		if list[i], err = rec.info(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b Request) int { return a.Created.Compare(b.Created) })
	return list, nil
}

func (k *Keyring) requests() (list []*requestRecord, err error) {
	err = k.view("list certificate requests", func(tx *bbolt.Tx) error {
		list, err = all(tx, requestsTable, parseRequest)
		return err
	})
	return list, err
}

// RemoveRequest deletes a waiting key, for ever, and reports whether it was there.
func (k *Keyring) RemoveRequest(id [sha256.Size]byte) (bool, error) {
	return k.drop("remove certificate request", requestsTable, id[:])
}

// ImportCertificates joins certificates with the keys of the keyring that they were issued for: those that wait for one,
// and those of identities, which are renewed so. Certificates that belong to no key lead to others, or are left alone;
// when none belongs to any, that is ErrNoKey. The keyring must be unlocked, else ErrLocked.
func (k *Keyring) ImportCertificates(certs []*x509.Certificate) ([]Info, error) {
	const what = "import certificate"
	if len(certs) == 0 || len(certs) > maxCertificates {
		return nil, fmt.Errorf("%s: there have to be 1 to %d", what, maxCertificates)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readyLocked(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	keys, err := k.keysFor(certs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: %w", what, ErrNoKey)
	}
	list, err := match(keys, certs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return k.addLocked(what, list)
}

// keysFor opens the keys that one of the certificates is for. The caller holds mu.
func (k *Keyring) keysFor(certs []*x509.Certificate) (keys []crypto.PrivateKey, err error) {
	waiting, err := k.requests()
	if err != nil {
		return nil, err
	}
	seen := map[[sha256.Size]byte]bool{}
	for _, rec := range waiting {
		csr, err := x509.ParseCertificateRequest(rec.CSR)
		if err != nil {
			return nil, fmt.Errorf("parse certificate request: %w", err)
		}
		if !wanted(certs, csr.RawSubjectPublicKeyInfo, seen) {
			continue
		}
		key, err := rec.open(k.master)
		if err != nil {
			return nil, k.check("open private key", err)
		}
		keys = append(keys, key)
	}
	own, err := k.load()
	if err != nil {
		return nil, err
	}
	for _, rec := range own {
		info, err := rec.info()
		if err != nil || !wanted(certs, info.Certificate.RawSubjectPublicKeyInfo, seen) {
			continue
		}
		key, err := rec.open(k.master)
		if err != nil {
			return nil, k.check("open private key", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// wanted reports a public key that one of the certificates is for, once.
func wanted(certs []*x509.Certificate, spki []byte, seen map[[sha256.Size]byte]bool) bool {
	id := sha256.Sum256(spki)
	if seen[id] || !slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubjectPublicKeyInfo, spki) }) {
		return false
	}
	seen[id] = true
	return true
}

func (rec *requestRecord) info() (Request, error) {
	csr, err := x509.ParseCertificateRequest(rec.CSR)
	if err != nil {
		return Request{}, fmt.Errorf("parse certificate request: %w", err)
	}
	return Request{ID: sha256.Sum256(csr.RawSubjectPublicKeyInfo), CSR: csr, Created: rec.Created}, nil
}

func (rec *requestRecord) open(master []byte) (crypto.PrivateKey, error) {
	return openKey(master, rec.Sealed, rec.additional(), "of a certificate request")
}

// additional is what the seal of the key binds: the purpose and the public half.
func (rec *requestRecord) additional() []byte {
	h := sha256.New()
	binary.Write(h, binary.BigEndian, rec.Created.UnixNano())
	h.Write(rec.CSR)
	return h.Sum([]byte("galsyncd keyring request\x00"))
}

// parseRequest reads a record and checks that it stands under its own key.
func parseRequest(key, data []byte) (*requestRecord, error) {
	rec := new(requestRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	if len(rec.CSR) > maxCSR || len(rec.Sealed) > maxKey+64 {
		return nil, misplaced("requests", key)
	}
	info, err := rec.info()
	if err != nil || !bytes.Equal(info.ID[:], key) {
		return nil, misplaced("requests", key)
	}
	return rec, nil
}
