package service

import (
	"context"
	"io"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/smime"
)

// The parts that the service asks. All methods are called from several goroutines at once. Their errors are as Problem
// says: a *Problem is shown to the caller, anything else is logged and hidden.

// StatusSource knows how the daemon is.
type StatusSource interface {
	Status(ctx context.Context) (Status, error)
}

// Syncer starts and shows synchronisation runs.
type Syncer interface {
	// Start asks for a run, a full one if so wished, and returns when it began: a Watch that follows sees that run. It
	// returns a Problem with CodeSyncRunning when one is under way.
	Start(ctx context.Context, full bool) (time.Time, error)
	// Watch calls progress, in this goroutine, until the run under way ends, and returns its report; when none is under
	// way it returns the report of the last one at once, and ErrNotFound when there never was one. The run never waits
	// for a watcher: progress that a slow one misses is dropped. An error of progress ends the watch and is returned.
	Watch(ctx context.Context, progress func(Progress) error) (Report, error)
}

// Recipients gives verdicts; a *recipients.Book does.
type Recipients interface {
	// Lookup answers for each address in the order asked. An address that is none is unknown, not an error. Explain may
	// be filled always; the service drops it when nobody asked.
	Lookup(ctx context.Context, addresses []string) (recipients.Result, error)
}

// Directory is the copy of the address book, without verdicts.
type Directory interface {
	// Lookup returns the entries that the address is proven to belong to, and what other sources offer; none is no error.
	Lookup(ctx context.Context, address directory.Address) (recipients.Found, error)
	// Search returns at most limit entries whose names or addresses begin with the text, best first.
	Search(ctx context.Context, text string, limit int) ([]directory.Entry, error)
	// Certificate returns the certificate with this SHA-256 fingerprint (DER), and the primary addresses of the entries
	// that carry it. It returns ErrNotFound when there is none.
	Certificate(ctx context.Context, fingerprint [32]byte) (der []byte, entries []directory.Address, err error)
	// Fingerprints returns up to limit fingerprints of such certificates that begin with these lower-case hex
	// digits.
	Fingerprints(ctx context.Context, beginning string, limit int) ([][32]byte, error)
	// Freshness says how well the copy is known to agree with the server.
	Freshness(ctx context.Context) (recipients.Freshness, error)
}

// Encrypter encrypts a mail.
type Encrypter interface {
	// Encrypt reads the message to its end and writes the encrypted copies. All copies are opened before the first is
	// written to, and closed when they are complete; writes to different copies may alternate but not overlap. When one
	// recipient has no usable certificate nothing is written and the error is UnusableRecipients. An error of open is
	// returned as it is.
	Encrypt(ctx context.Context, message io.Reader, options EncryptOptions, open func(Envelope) (io.WriteCloser, error)) error
}

// EncryptOptions are the wishes of the caller.
type EncryptOptions struct {
	// To are the recipients; empty: those of the To, Cc and Bcc headers. When set, Bcc headers are dropped.
	To []directory.Address
	// Size is the length of the message in bytes, -1 when it is not known.
	Size int64
	// Sign signs the mail before it is encrypted, with the key of Identity: see SignOptions. Only in RoleUser. Nil, here and
	// below: as the preferences of the From address say, and no without any. An Identity with Sign nil is a wish to sign.
	Sign     *bool
	Identity string
	// ProtectHeaders puts the header inside and hides the subject outside (RFC 9788).
	ProtectHeaders *bool
	// ToSelf lets the sender read the mail too, with the key of the From address. Only in RoleUser.
	ToSelf *bool
	// Recipients, when set, is told for whom the mail is before certificates are looked up.
	Recipients func(ctx context.Context, addresses []string)
	// Explain, when set, is given the look-up that chose the certificates.
	Explain func(recipients.Result)
}

// Envelope says who gets a copy.
type Envelope struct {
	// Recipients are the envelope recipients (RFC 5321 RCPT TO) of the copy, as addresses for a mail server.
	Recipients []string
	// Blind marks the copy for a Bcc recipient.
	Blind bool
	// Choice says how the copy is encrypted; nil when it is not.
	Choice *Choice
}

// Decrypter decrypts a mail with the keys of the keyring.
type Decrypter interface {
	// Decrypt reads the message to its end. Only when all of it was checked does it call begin, once, and write the
	// plaintext to what begin returns.
	Decrypt(ctx context.Context, message io.Reader, options DecryptOptions, begin func(Decrypted) (io.Writer, error)) error
}

// DecryptOptions are the wishes of the caller.
type DecryptOptions struct {
	// Unwrap takes the signatures inside off too, for programs that cannot read application/pkcs7-mime.
	Unwrap bool
	// TripleDES accepts mails that are encrypted with Triple-DES.
	TripleDES bool
}

// Decrypted says how a mail was protected.
type Decrypted struct {
	// Protection is "malleable" or "authenticated".
	Protection string
	// Cipher is its name, for example "AES-256-CBC".
	Cipher string
	// Verification is what is known about signatures; nil when nothing is.
	Verification *smime.Verification
}

// Keyring holds the own keys.
type Keyring interface {
	Status(ctx context.Context) (KeyringStatus, error)
	Identities(ctx context.Context) (Identities, error)
	// Identity returns one identity and its public half in the forms for others, or ErrNotFound.
	Identity(ctx context.Context, fingerprint [32]byte) (Identity, PublicHalf, error)
	// Import adds the keys of a PFX file (PKCS #12, RFC 7292) or of PEM, or joins certificates with keys that are there. The
	// keyring's passphrase is needed when the keyring is locked, or new: then it becomes its passphrase. The secrets are
	// wiped after the call, here and below.
	Import(ctx context.Context, file []byte, passphrase, keyringPassphrase Secret) (Imported, error)
	// Export returns an identity as a PFX file, or ErrNotFound.
	Export(ctx context.Context, fingerprint [32]byte, passphrase, keyringPassphrase Secret) ([]byte, error)
	// Remove deletes an identity for ever and returns what it was, or ErrNotFound.
	Remove(ctx context.Context, fingerprint [32]byte) (Identity, error)
	// Request makes a key and a certificate request for it. The passphrase is needed as for Import.
	Request(ctx context.Context, r NewKeyRequest) (IdentityRequest, error)
	// RemoveRequest deletes a waiting key for ever, or gives ErrNotFound.
	RemoveRequest(ctx context.Context, id [32]byte) error
	// Preferences returns every entry, by address; the default has an empty one.
	Preferences(ctx context.Context) ([]AddressPreferences, error)
	// SetPreferences replaces the entry of an address; one that says nothing removes it.
	SetPreferences(ctx context.Context, p AddressPreferences) error
	// ChangePassphrase replaces the passphrase of the keyring.
	ChangePassphrase(ctx context.Context, old, new Secret) error
	// Backup returns a copy of the whole file.
	Backup(ctx context.Context) ([]byte, error)
	// Unlock takes the passphrase and keeps the keys open for that long; zero: as the configuration says.
	Unlock(ctx context.Context, passphrase Secret, period time.Duration) error
	// Lock forgets the keys; locking a locked keyring is no error.
	Lock(ctx context.Context) error
}

// PublicHalf is what others may have of an identity.
type PublicHalf struct {
	// Chain is the certificate and what leads upwards from it, DER, at least one.
	Chain [][]byte
	// PKCS7 are the same as a certs-only message (RFC 8551 section 3.8).
	PKCS7 []byte
}

// Checker verifies the files of the daemon.
type Checker interface {
	Check(ctx context.Context) (CheckReport, error)
}
