package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/smime"
)

// Capabilities remember what the signers of valid mails announce, in the keyring of a user, and answer what a recipient can
// read.
type Capabilities struct {
	Keyring *keyring.Keyring
	// Directory knows certificates besides those of the keyring. About unknown ones nothing is kept.
	Directory interface {
		Certificate(ctx context.Context, fingerprint [32]byte) (der []byte, owners []directory.Address, err error)
	}
	// Log hears of what could not be kept; nothing else depends on it.
	Log *slog.Logger
}

// learn keeps what the signer of a mail announces: for the certificate that signed, and for the one to encrypt to.
func (c *Capabilities) learn(ctx context.Context, v *smime.Verification) {
	if c == nil || v == nil {
		return
	}
	a := v.Announcement()
	if a == nil {
		return
	}
	what := keyring.Capabilities{Raw: a.Capabilities.Encode(), Signed: a.Signed, Encryption: a.Certificate}
	for _, cert := range []*x509.Certificate{a.Signer, a.Certificate} {
		what.Certificate = sha256.Sum256(cert.Raw)
		_, _, unknown := c.Directory.Certificate(ctx, what.Certificate)
		if _, err := c.Keyring.Learn(what, unknown == nil); err != nil {
			c.Log.WarnContext(ctx, "what a signer can read was not kept", "error", err)
		}
	}
}

// Of returns what the owner of a certificate has announced in mails; nil when nothing is known. It is for
// smime.AlgorithmPolicy.
func (c *Capabilities) Of(_ mailaddr.Address, cert *x509.Certificate) cms.Capabilities {
	known, ok, err := c.Keyring.Capabilities(sha256.Sum256(cert.Raw))
	if err != nil {
		c.Log.Warn("what a recipient can read could not be looked up", "error", err)
	}
	if err != nil || !ok {
		return nil
	}
	list, err := cms.ParseCapabilities(known.Raw)
	if err != nil {
		return nil
	}
	return list
}
