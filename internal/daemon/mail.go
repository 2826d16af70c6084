package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// Encrypter encrypts mails to the certificates that the book chooses. It implements service.Encrypter.
type Encrypter struct {
	Book *recipients.Book
	// Algorithms chooses ciphers; nil is AES-256-CBC.
	Algorithms *smime.AlgorithmPolicy
	// Signer signs when that is wished, and knows the preferences; nil in the system role, and with NoKeyring.
	Signer *Signer
	// NoKeyring says why the keyring of the user cannot be used; nil when it can, and in the system role. What is wished of
	// it is refused, and what may be in it is missed aloud.
	NoKeyring error

	// Of the mail at hand, see service.EncryptOptions.
	ask     func(ctx context.Context, addresses []string)
	explain func(recipients.Result)
}

// ForEncryption implements smime.RecipientSource: the same verdict that a look-up shows.
func (e Encrypter) ForEncryption(ctx context.Context, addresses []mailaddr.Address) ([][]*x509.Certificate, error) {
	asked := make([]string, len(addresses))
	for i, a := range addresses {
		asked[i] = string(a)
	}
	if e.ask != nil {
		e.ask(ctx, asked)
	}
	result, err := e.Book.Lookup(ctx, asked)
	if err != nil {
		return nil, err
	}
	if e.explain != nil {
		e.explain(result)
	}
	var certs [][]*x509.Certificate
	var refused []smime.Refusal
	for _, a := range result.Recipients {
		if a.State != trust.Encryptable {
			refused = append(refused, smime.Refusal{Address: a.Address, State: a.State, Reasons: a.Reasons, Hints: a.Hints})
			continue
		}
		certs = append(certs, a.Certificates())
	}
	if len(refused) > 0 {
		return nil, &smime.RecipientsError{Refused: refused}
	}
	return certs, nil
}

// Encrypt implements service.Encrypter.
func (e Encrypter) Encrypt(ctx context.Context, message io.Reader, o service.EncryptOptions, open func(service.Envelope) (io.WriteCloser, error)) error {
	opts, err := e.options(ctx, o)
	if err != nil {
		return err
	}
	var opened []io.WriteCloser
	place := func(m *smime.Choice) (io.Writer, error) {
		if e.NoKeyring != nil {
			m.Warnings = append(m.Warnings, fmt.Sprintf("the keyring cannot be used, so no preference and no certificate in it counted: %v", e.NoKeyring))
		}
		w, err := open(envelope(m))
		if err == nil {
			opened = append(opened, w)
		}
		return w, err
	}
	if _, err := smime.Encrypt(ctx, message, smime.Outputs{Main: place, Blind: place}, opts); err != nil {
		return mailProblem(err)
	}
	for _, w := range opened {
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (e Encrypter) options(ctx context.Context, o service.EncryptOptions) (*smime.EncryptOptions, error) {
	e.ask, e.explain = o.Recipients, o.Explain
	opts := &smime.EncryptOptions{Recipients: e, To: o.To, Algorithms: e.Algorithms, ProtectHeaders: yes(o.ProtectHeaders), LegacyDisplay: true}
	switch {
	case e.Signer != nil:
		opts.Decide = e.decide(ctx, o)
	case e.NoKeyring != nil && (yes(o.Sign) || yes(o.ToSelf) || o.Sign == nil && o.Identity != ""):
		return nil, NoKeyring{e.NoKeyring}.problem("use an own key")
	case yes(o.Sign) || yes(o.ToSelf):
		return nil, service.NewProblem(service.CodeNotAvailable, "use an own key: this daemon has no keyring", "")
	}
	return opts, nil
}

// envelope is a message as the service shows it.
func envelope(m *smime.Choice) service.Envelope {
	e := service.Envelope{Blind: m.Blind, Choice: &service.Choice{
		Cipher: m.Cipher.String(), Protection: m.Cipher.Protection().String(), KeyManagement: m.KeyManagement, ToSelf: m.ToSelf,
		Reasons: m.Reasons, Warnings: m.Warnings,
	}}
	for _, a := range m.Recipients {
		e.Recipients = append(e.Recipients, string(a))
	}
	return e
}

// Decrypter decrypts mails with the keys of the keyring. It implements service.Decrypter.
type Decrypter struct {
	Keys *Keys
	// Spool makes room for ciphertext.
	Spool func() (cms.Spool, error)
	// MaxContent is the limit of the content in bytes.
	MaxContent int64
	// Verifier judges the signatures inside.
	Verifier Verifier
}

// Decrypt implements service.Decrypter.
func (d Decrypter) Decrypt(ctx context.Context, message io.Reader, o service.DecryptOptions, begin func(service.Decrypted) (io.Writer, error)) error {
	own, err := d.Keys.unlocked(ctx)
	if err != nil {
		return keyringProblem("open the private keys", err)
	}
	identities := make([]cms.Identity, len(own))
	for i, id := range own {
		identities[i] = cms.Identity{Certificate: id.Certificate, Key: id.Key}
	}
	opts := &smime.DecryptOptions{
		Identities: identities, Spool: d.Spool, MaxContent: d.MaxContent, Verify: *d.Verifier.options(ctx, service.VerifyOptions{}),
		Unwrap: o.Unwrap, AllowTripleDES: o.TripleDES,
	}
	open := func(m smime.Decrypted) (io.Writer, error) {
		d.Verifier.advise(ctx, m.Verification)
		return begin(service.Decrypted{Protection: m.Protection.String(), Cipher: m.Cipher.String(), Verification: m.Verification})
	}
	result, err := smime.Decrypt(ctx, message, open, opts)
	if err != nil {
		return mailProblem(err)
	}
	d.Verifier.Capabilities.learn(ctx, result.Verification)
	return nil
}

// mailProblem says what a caller may know about a mail that could not be worked on. What was attempted is the request
// itself.
func mailProblem(err error) error {
	if refused, ok := errors.AsType[*smime.RecipientsError](err); ok {
		var obstacles []service.Obstacle
		for _, r := range refused.Refused {
			obstacles = append(obstacles, service.Obstacle{Address: r.Address, State: string(r.State), Reasons: r.Reasons, Hints: r.Hints})
		}
		return service.UnusableRecipients(obstacles)
	}
	for _, known := range mailErrors {
		if errors.Is(err, known.err) {
			return service.NewProblem(known.code, cmp.Or(known.text, detail(err)), known.hint)
		}
	}
	return err
}

// detail leaves out what the request says already.
func detail(err error) string {
	text := err.Error()
	for _, echo := range []string{"encrypt mail: ", "decrypt mail: ", "sign mail: ", "import PFX file: ",
		"no longer trust certificate: ", "look up installed certificate: ", "remove installed certificate: "} {
		text = strings.TrimPrefix(text, echo)
	}
	return text
}

// mailErrors is how errors of smime and cms are shown. What depends on a key shows nothing but that it failed.
var mailErrors = []struct {
	err  error
	code service.Code
	hint string
	text string // instead of that of the error
}{
	{cms.ErrDecrypt, service.CodeDecryptFailed, "", "the mail cannot be decrypted: no key fits, or it was changed on the way"},
	{cms.ErrNoRecipient, service.CodeNoRecipientKey, "import the key that the mail was encrypted to: galsyncd identity import", "the mail is not encrypted to any key of the keyring"},
	{smime.ErrNoRecipients, service.CodeNoRecipients, "name them with --to, or in the To, Cc or Bcc header", ""},
	{smime.ErrBcc, service.CodeBccNeedsMultipart, "give a folder for their copies with --bcc-dir, or accept multipart/mixed", ""},
	{smime.ErrNoOwnCertificate, service.CodeNoOwnCertificate, "import the own key for this address (galsyncd identity import), or leave --to-self out", ""},
	{smime.ErrNotEncrypted, service.CodeNotEncrypted, "", ""},
	{smime.ErrAlreadyEncrypted, service.CodeAlreadyEncrypted, "", ""},
	{smime.ErrUnprotectable, service.CodeBadMessage, "leave them as they are with --no-protect-headers, or protect the mail before it is signed: galsyncd encrypt --sign", ""},
	{smime.ErrTooManyRecipients, service.CodeBadMessage, "", ""},
	{smime.ErrHeader, service.CodeBadMessage, "the input must be one mail: header, empty line, body", ""},
	{smime.ErrEncoding, service.CodeBadMessage, "", ""},
	{cms.ErrSyntax, service.CodeBadMessage, "", ""},
	{cms.ErrUnsupported, service.CodeBadMessage, "", ""},
	{cms.ErrTooLarge, service.CodeMessageTooLarge, "the limit is limits.max_message", ""},
}
