package keyring

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxCapabilities is the largest list of capabilities, in bytes of DER.
	maxCapabilities = 8 << 10
	// clockSlack is how far ahead of ours the clock of a signer may be.
	clockSlack = time.Hour
)

// Capabilities are what the signer of a mail that was verified says about himself (RFC 8551 sections 2.5.2 and 2.5.3).
type Capabilities struct {
	// Certificate is the SHA-256 of the signer's certificate.
	Certificate [sha256.Size]byte
	// Raw is the DER of SMIMECapabilities, at most 8 KiB; nil when the mail had none.
	Raw []byte
	// Encryption is the certificate that the signer wants to be encrypted to; nil when he did not say. It must not be
	// changed.
	Encryption *x509.Certificate
	// Signed is the signing time of the mail.
	Signed time.Time
}

type capabilitiesRecord struct {
	Fingerprint []byte    `json:"fingerprint"`
	Raw         []byte    `json:"raw,omitempty"`
	Encryption  []byte    `json:"encryption,omitempty"`
	Signed      time.Time `json:"signed"`
}

// Learn remembers what a mail that was found valid says about its signer. It is kept only when the certificate is installed,
// that of an identity, or known to the caller, and only when its signing time is later than that of what is kept already,
// and not in the future: RFC 8551 section 2.7.1. Learn reports whether it was kept.
func (k *Keyring) Learn(c Capabilities, known bool) (bool, error) {
	const what = "remember capabilities"
	rec := &capabilitiesRecord{Fingerprint: c.Certificate[:], Raw: c.Raw, Signed: c.Signed.UTC()}
	if c.Encryption != nil {
		rec.Encryption = c.Encryption.Raw
	}
	if len(rec.Raw) > maxCapabilities || len(rec.Encryption) > maxCertificate {
		return false, fmt.Errorf("%s: they are larger than %d bytes", what, maxCapabilities)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.Signed.IsZero() || c.Signed.After(k.now().Add(clockSlack)) {
		return false, nil
	}
	wanted, full := false, false
	err := k.view(what, func(tx *bbolt.Tx) error {
		if !known && installedTable.get(tx, c.Certificate[:]) == nil && identitiesTable.get(tx, c.Certificate[:]) == nil {
			return nil
		}
		data := capabilitiesTable.get(tx, c.Certificate[:])
		if data == nil {
			wanted, full = true, capabilitiesTable.bucket(tx).Inspect().KeyN >= capabilitiesTable.most
			return nil
		}
		old, err := parseCapabilities(c.Certificate[:], data)
		wanted = err == nil && c.Signed.After(old.Signed)
		return err
	})
	if err != nil || !wanted {
		return false, err
	}
	err = k.updateLocked(what, func(tx *bbolt.Tx) error {
		if full {
			if err := dropOldest(tx); err != nil {
				return err
			}
		}
		return capabilitiesTable.put(tx, c.Certificate[:], rec)
	})
	return err == nil, err
}

// dropOldest makes room: capabilities are learned again from the next mail.
func dropOldest(tx *bbolt.Tx) error {
	list, err := all(tx, capabilitiesTable, parseCapabilities)
	if err != nil || len(list) == 0 {
		return err
	}
	oldest := list[0]
	for _, rec := range list {
		if rec.Signed.Before(oldest.Signed) {
			oldest = rec
		}
	}
	return capabilitiesTable.delete(tx, oldest.Fingerprint)
}

// Capabilities returns what was learned about the owner of a certificate; ok is false when that is nothing.
func (k *Keyring) Capabilities(fingerprint [sha256.Size]byte) (c Capabilities, ok bool, err error) {
	const what = "look up capabilities"
	k.mu.Lock()
	defer k.mu.Unlock()
	var rec *capabilitiesRecord
	err = k.view(what, func(tx *bbolt.Tx) error {
		data := capabilitiesTable.get(tx, fingerprint[:])
		if data == nil {
			return nil
		}
		rec, err = parseCapabilities(fingerprint[:], data)
		return err
	})
	if err != nil || rec == nil {
		return Capabilities{}, false, err
	}
	c = Capabilities{Certificate: fingerprint, Raw: rec.Raw, Signed: rec.Signed}
	if rec.Encryption != nil {
		if c.Encryption, err = x509.ParseCertificate(rec.Encryption); err != nil {
			return Capabilities{}, false, fmt.Errorf("%s: parse certificate: %w", what, err)
		}
	}
	return c, true, nil
}

func parseCapabilities(key, data []byte) (*capabilitiesRecord, error) {
	rec := new(capabilitiesRecord)
	if err := parseRecord(data, rec); err != nil {
		return nil, err
	}
	if len(key) != sha256.Size || !bytes.Equal(rec.Fingerprint, key) || len(rec.Raw) > maxCapabilities || len(rec.Encryption) > maxCertificate {
		return nil, misplaced("capabilities", key)
	}
	return rec, nil
}
