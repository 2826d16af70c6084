package keyring

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Issuer is a certification authority that the person trusts for mail. The certificate must not be changed.
type Issuer struct {
	Fingerprint [sha256.Size]byte
	Certificate *x509.Certificate
	// Trusted is when it was decided, From where the certificate came from.
	Trusted time.Time
	From    string
}

type issuerRecord struct {
	Certificate []byte    `json:"certificate"`
	Trusted     time.Time `json:"trusted"`
	From        string    `json:"from,omitempty"`
}

// TrustIssuer records that certificates of mail below a CA certificate are to be trusted. It reports whether that is new.
// It is ErrNotCA for a certificate that does not say that it is one of a CA (RFC 5280 section 4.2.1.9).
func (k *Keyring) TrustIssuer(cert *x509.Certificate, from string) (bool, error) {
	const what = "trust issuer"
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return false, fmt.Errorf("%s: %w", what, ErrNotCA)
	}
	if len(cert.Raw) > maxCertificate {
		return false, fmt.Errorf("%s: a certificate has 1 to %d bytes", what, maxCertificate)
	}
	fingerprint := sha256.Sum256(cert.Raw)
	rec := &issuerRecord{Certificate: cert.Raw, Trusted: k.now().UTC(), From: printable(from)}
	fresh := false
	err := k.update(what, func(tx *bbolt.Tx) error {
		if fresh = issuersTable.get(tx, fingerprint[:]) == nil; !fresh {
			return nil
		}
		return issuersTable.put(tx, fingerprint[:], rec)
	})
	return fresh && err == nil, err
}

// UntrustIssuer takes back what TrustIssuer recorded, and reports whether there was anything.
func (k *Keyring) UntrustIssuer(fingerprint [sha256.Size]byte) (bool, error) {
	return k.drop("no longer trust issuer", issuersTable, fingerprint[:])
}

func parseIssuer(key, data []byte) (*issuerRecord, error) {
	rec := new(issuerRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(rec.Certificate)
	if !bytes.Equal(sum[:], key) || len(rec.Certificate) > maxCertificate || len(rec.From) > maxFrom {
		return nil, misplaced("issuers", key)
	}
	return rec, nil
}

func (k *Keyring) issuerInfo(rec *issuerRecord) (Issuer, error) {
	info := Issuer{Fingerprint: sha256.Sum256(rec.Certificate), Trusted: rec.Trusted, From: rec.From}
	var err error
	if info.Certificate, err = k.certificate(rec.Certificate); err != nil {
		return info, fmt.Errorf("trusted issuer %x: %w", info.Fingerprint, err)
	}
	return info, nil
}

// choiceRecord is the certificate that the person chose for an address.
type choiceRecord struct {
	Address     mailaddr.Address `json:"address"`
	Fingerprint []byte           `json:"fingerprint"`
	Chosen      time.Time        `json:"chosen"`
}

// Choose records which certificate is to be used for an address before all others. It need not be installed: it may be one
// of the address book.
func (k *Keyring) Choose(a mailaddr.Address, fingerprint [sha256.Size]byte) error {
	const what = "choose certificate"
	if err := checkAddress(a); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	rec := choiceRecord{Address: a, Fingerprint: fingerprint[:], Chosen: k.now().UTC()}
	return k.update(what, func(tx *bbolt.Tx) error { return choicesTable.put(tx, []byte(a), rec) })
}

// Unchoose takes a choice back, and reports whether there was one.
func (k *Keyring) Unchoose(a mailaddr.Address) (bool, error) {
	return k.drop("take back the choice of a certificate", choicesTable, []byte(a))
}

// drop deletes one record and reports whether it was there.
func (k *Keyring) drop(what string, t table, key []byte) (there bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.view(what, func(tx *bbolt.Tx) error {
		there = len(key) > 0 && t.get(tx, key) != nil
		return nil
	})
	if err != nil || !there {
		return false, err
	}
	err = k.updateLocked(what, func(tx *bbolt.Tx) error { return t.delete(tx, key) })
	return err == nil, err
}

func parseChoice(key, data []byte) (*choiceRecord, error) {
	rec := new(choiceRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	if string(rec.Address) != string(key) || checkAddress(rec.Address) != nil || len(rec.Fingerprint) != sha256.Size {
		return nil, misplaced("choices", key)
	}
	return rec, nil
}

func readChoices(tx *bbolt.Tx) (map[mailaddr.Address][sha256.Size]byte, error) {
	list, err := all(tx, choicesTable, parseChoice)
	if err != nil {
		return nil, err
	}
	choices := map[mailaddr.Address][sha256.Size]byte{}
	for _, c := range list {
		choices[c.Address] = [sha256.Size]byte(c.Fingerprint)
	}
	return choices, nil
}
