package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// Signer signs mails with the keys of the keyring. It implements service.Signer.
type Signer struct {
	Keys *Keys
	Now  func() time.Time
}

// Sign implements service.Signer.
func (s Signer) Sign(ctx context.Context, message io.Reader, out io.Writer, o service.SignOptions) error {
	if _, err := smime.Sign(ctx, message, out, s.options(ctx, o)); err != nil {
		return mailProblem(err)
	}
	return nil
}

func (s Signer) options(ctx context.Context, o service.SignOptions) *smime.SignOptions {
	return &smime.SignOptions{Opaque: o.Opaque, Warn: o.Warn, Time: s.Now(), Choose: func(from []mailaddr.Address) (smime.Signer, error) {
		return s.choose(ctx, o.Identity, from)
	}}
}

// choose picks the identity to sign with: the one named, or the one that choose picks for the From address.
func (s Signer) choose(ctx context.Context, fingerprint string, from []mailaddr.Address) (smime.Signer, error) {
	const attempt = "sign the mail"
	own, err := s.Keys.unlocked(ctx)
	if err != nil {
		return smime.Signer{}, keyringProblem(attempt, err)
	}
	best := -1
	if fingerprint != "" {
		wanted := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
		best = slices.IndexFunc(own, func(id keyring.Identity) bool { return hex.EncodeToString(id.Fingerprint[:]) == wanted })
		if best < 0 {
			return smime.Signer{}, service.NewProblem(service.CodeNotFound, fmt.Sprintf("%s: no identity has the fingerprint %.64s", attempt, fingerprint), "galsyncd identity list")
		}
		if why := s.Keys.obstacles(&own[best].Info); len(why) > 0 {
			return smime.Signer{}, service.NewProblem(service.CodeNoSigningKey, attempt+": the certificate of this identity: "+strings.Join(why, "; "),
				"name another one; galsyncd identity list marks those that sign")
		}
	} else {
		preferences, err := s.Keys.Keyring.Preferences()
		if err != nil {
			return smime.Signer{}, keyringProblem(attempt, err)
		}
		infos := make([]keyring.Info, len(own))
		for i := range own {
			infos[i] = own[i].Info
		}
		if best = s.Keys.choose(infos, preferences, from); best < 0 {
			return smime.Signer{}, s.nobody(attempt, infos, from)
		}
	}
	key, ok := own[best].Key.(crypto.Signer)
	if !ok {
		return smime.Signer{}, service.NewProblem(service.CodeNoSigningKey, attempt+": the key of this identity cannot sign", "")
	}
	signer := smime.Signer{Certificate: own[best].Certificate, Key: key, Intermediates: own[best].Chain}
	if signer.Encryption, err = s.encryptionBeside(signer.Certificate, from); err != nil {
		return smime.Signer{}, err
	}
	return signer, nil
}

// nobody says that no identity can sign for From addresses, and why the newest of those that name one cannot.
func (s Signer) nobody(attempt string, list []keyring.Info, from []mailaddr.Address) error {
	text := attempt + ": no identity can sign for a mail without a From address"
	if len(from) > 0 {
		text = fmt.Sprintf("%s: no identity can sign for %s", attempt, from[0])
		list = slices.DeleteFunc(slices.Clone(list), func(info keyring.Info) bool { return !names(&info, from[0]) })
		if len(list) > 0 {
			newest := slices.MaxFunc(list, func(a, b keyring.Info) int { return a.Certificate.NotBefore.Compare(b.Certificate.NotBefore) })
			text += "; its certificate: " + strings.Join(s.Keys.obstacles(&newest), "; ")
		}
	}
	return service.NewProblem(service.CodeNoSigningKey, text, "import one (galsyncd identity import), choose one (galsyncd identity use), or name one with --identity")
}

// encryptionBeside is the own certificate that answers are to be encrypted to, when the one that signs is for signing only;
// nil when it is not, or when there is none.
func (s Signer) encryptionBeside(signing *x509.Certificate, from []mailaddr.Address) (*x509.Certificate, error) {
	var policy trust.Policy
	findings := policy.ForEncryption(asPerson(signing), trust.Question{Addresses: from, Now: s.Now()})
	if !slices.ContainsFunc(findings, func(f trust.Finding) bool { return f.State == trust.WrongUsage }) {
		return nil, nil
	}
	own, err := s.ownCertificates(from)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	return own[0], nil
}

// ownCertificates is the newest own certificate that can be encrypted to for one of the addresses. The keyring may be locked.
// It need not be trusted, but what was revoked may be in somebody else's hands.
func (s Signer) ownCertificates(from []mailaddr.Address) ([]*x509.Certificate, error) {
	list, err := s.Keys.Keyring.List()
	if err != nil {
		return nil, keyringProblem("encrypt to the sender", err)
	}
	var best *x509.Certificate
	for _, info := range list {
		findings := s.Keys.policy().ForEncryption(asPerson(info.Certificate), trust.Question{Addresses: from, Intermediates: info.Chain, Now: s.Now()})
		if slices.ContainsFunc(findings, func(f trust.Finding) bool { return f.State != trust.Untrusted && f.State != trust.RevocationUnknown }) {
			continue
		}
		if best == nil || info.Certificate.NotBefore.After(best.NotBefore) {
			best = info.Certificate
		}
	}
	if best == nil {
		return nil, nil
	}
	return []*x509.Certificate{best}, nil
}

// Verifier verifies signed mails. It implements service.Verifier.
type Verifier struct {
	Policy     *trust.Policy
	Now        func() time.Time
	MaxContent int64
	// Capabilities keep what signers announce; nil in the system role.
	Capabilities *Capabilities
	// Directory knows senders: intermediate certificates, certificates that somebody vouches for; nil: none.
	Directory recipients.Directory
	// Installer knows what was installed; nil: nothing can be.
	Installer *installed.Installer
}

// Verify implements service.Verifier.
func (v Verifier) Verify(ctx context.Context, message io.Reader, o service.VerifyOptions) (*smime.Verification, error) {
	var begin func(*smime.Verification) (io.Writer, error)
	if o.Unwrap != nil {
		begin = func(found *smime.Verification) (io.Writer, error) {
			v.advise(ctx, found)
			return o.Unwrap(found)
		}
	}
	findings, err := smime.Unwrap(ctx, message, begin, &smime.UnwrapOptions{Verify: v.options(ctx, o)})
	if err != nil {
		return nil, mailProblem(err)
	}
	v.advise(ctx, findings)
	// What was not needed for the verdict counts against the limit of the service, and must have come whole.
	if _, err := io.Copy(io.Discard, message); err != nil {
		return nil, err
	}
	v.Capabilities.learn(ctx, findings)
	return findings, nil
}

// Findings judges the signatures of a mail, without advice on what to install.
func (v Verifier) Findings(ctx context.Context, message io.Reader) (*smime.Verification, error) {
	found, err := smime.Verify(ctx, message, v.options(ctx, service.VerifyOptions{}))
	if err != nil {
		return nil, mailProblem(err)
	}
	return found, nil
}

// advise says what can be done with the signer's certificate. A store in trouble does not hide what was found.
func (v Verifier) advise(ctx context.Context, found *smime.Verification) {
	if v.Installer == nil || found == nil || found.Install != nil {
		return
	}
	if advice, err := v.Installer.Signer(ctx, found); err == nil {
		found.Install = advice
	}
}

func (v Verifier) options(ctx context.Context, o service.VerifyOptions) *smime.VerifyOptions {
	judge := &installed.Judge{Context: ctx, Policy: v.Policy, Directory: v.Directory}
	if v.Installer != nil {
		judge.Shelf = v.Installer.Shelf
	}
	return &smime.VerifyOptions{Policy: judge, Now: v.Now, MaxContent: v.MaxContent, ReportSHA1: o.SHA1}
}
