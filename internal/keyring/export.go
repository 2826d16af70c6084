package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
	"software.sslmate.com/src/go-pkcs12"
)

// exportIterations is the cost of each of the three key derivations of an exported file. Windows refuses files whose
// iterations come to more than 600,000.
const exportIterations = 200_000

// Export returns an identity as a PFX file (PKCS #12, RFC 7292) under filePassphrase, in PBES2 with AES-256-CBC and
// PBKDF2-HMAC-SHA256 (RFC 8018). It asks for the passphrase of the keyring also when that is unlocked, so that no program
// can take keys along unnoticed; wrong ones are slow as with Unlock. The error may be ErrNoIdentity or ErrWrongPassphrase.
func (k *Keyring) Export(ctx context.Context, fingerprint [sha256.Size]byte, filePassphrase string, passphrase []byte) ([]byte, error) {
	const what = "export identity"
	if len(filePassphrase) < minPassphrase {
		return nil, fmt.Errorf("%s: %w", what, ErrShortPassphrase)
	}
	if err := checkPFXPassphrase(filePassphrase); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	master, err := k.openMaster(ctx, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer clear(master)
	k.mu.Lock()
	rec, err := k.identityRecord(what, fingerprint)
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	key, err := rec.open(master)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	info, err := rec.info()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pfx, err := pkcs12.Modern2023.WithIterations(exportIterations).Encode(key, info.Certificate, info.Chain, filePassphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return pfx, nil
}

// identityRecord reads one record, or gives ErrNoIdentity. The caller holds mu.
func (k *Keyring) identityRecord(what string, fingerprint [sha256.Size]byte) (rec *identityRecord, err error) {
	err = k.view(what, func(tx *bbolt.Tx) error {
		data := identitiesTable.get(tx, fingerprint[:])
		if data == nil {
			return ErrNoIdentity
		}
		rec, err = parseIdentity(fingerprint[:], data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rec, nil
}

// Backup returns a copy of the whole file as it is now, to be kept somewhere else and put back under its name. Private keys
// in it are as well protected as in the file itself: by the passphrase that it has now. A damaged file is not copied.
func (k *Keyring) Backup() ([]byte, error) {
	k.mu.Lock() // every writer holds it, so that nothing changes meanwhile
	defer k.mu.Unlock()
	if k.db == nil {
		return nil, ErrClosed
	}
	if err := k.view("copy keyring", k.verifyRecords); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(k.file, 0, maxFile+1))
	if err == nil {
		err = verifyBolt(data)
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("copy keyring: %w", err)
	}
	return data, k.check("copy keyring", err)
}
