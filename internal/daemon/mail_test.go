package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// TestMailProblem: what a caller may know has its code and one plain sentence; all other errors stay inside.
func TestMailProblem(t *testing.T) {
	for _, tt := range []struct {
		err    error
		code   service.Code
		detail string
	}{
		{fmt.Errorf("decrypt mail: %w", cms.ErrNoRecipient), service.CodeNoRecipientKey, "the mail is not encrypted to any key of the keyring"},
		{fmt.Errorf("%w: the mail has nobody", smime.ErrNoRecipients), service.CodeNoRecipients, smime.ErrNoRecipients.Error() + ": the mail has nobody"},
		{fmt.Errorf("decrypt mail: %w: an octet", cms.ErrSyntax), service.CodeBadMessage, cms.ErrSyntax.Error() + ": an octet"},
		{fmt.Errorf("encrypt mail: %w", smime.ErrHeader), service.CodeBadMessage, smime.ErrHeader.Error()},
		{smime.ErrBcc, service.CodeBccNeedsMultipart, smime.ErrBcc.Error()},
		{smime.ErrNotEncrypted, service.CodeNotEncrypted, smime.ErrNotEncrypted.Error()},
		{smime.ErrAlreadyEncrypted, service.CodeAlreadyEncrypted, smime.ErrAlreadyEncrypted.Error()},
		{cms.ErrTooLarge, service.CodeMessageTooLarge, cms.ErrTooLarge.Error()},
		{cms.ErrUnsupported, service.CodeBadMessage, cms.ErrUnsupported.Error()},
	} {
		p, ok := errors.AsType[*service.Problem](mailProblem(tt.err))
		if !ok || p.Code != tt.code || p.Detail != tt.detail {
			t.Errorf("mailProblem(%v) = %+v, want %s, %q", tt.err, p, tt.code, tt.detail)
		}
	}
	inside := errors.New("open /var/lib/galsyncd/spool-1: no space left on device")
	if got := mailProblem(inside); got != inside {
		t.Errorf("an error of the daemon's own became %v", got)
	}
}

// TestDecryptionFailuresAreOne: whatever went wrong with a key, the answer is the same to the last byte.
func TestDecryptionFailuresAreOne(t *testing.T) {
	var first string
	for _, err := range []error{cms.ErrDecrypt, fmt.Errorf("decrypt mail: %w", cms.ErrDecrypt), fmt.Errorf("key 3, padding: %w", cms.ErrDecrypt),
		errors.Join(cms.ErrDecrypt, cms.ErrSyntax)} {
		p, ok := errors.AsType[*service.Problem](mailProblem(err))
		if !ok || p.Code != service.CodeDecryptFailed {
			t.Fatalf("mailProblem(%v) = %v", err, p)
		}
		if text := fmt.Sprintf("%+v", *p); first == "" {
			first = text
		} else if text != first {
			t.Errorf("%v tells more than others: %s", err, text)
		}
	}
}

// TestRefusedRecipients: all of them are named, each with its state.
func TestRefusedRecipients(t *testing.T) {
	refused := []smime.Refusal{
		{Address: "erik@corp.example", State: trust.Expired, Reasons: []string{"expired yesterday"}, Hints: []string{"ask him"}},
		{Address: "nobody@corp.example", State: trust.Unknown},
	}
	p, ok := errors.AsType[*service.Problem](mailProblem(fmt.Errorf("encrypt mail: %w", &smime.RecipientsError{Refused: refused})))
	if !ok || p.Code != service.CodeRecipientsUnusable || len(p.Recipients) != 2 || p.Recipients[0].State != "expired" || p.Recipients[0].Hints[0] != "ask him" {
		t.Fatalf("%+v", p)
	}
	if want := "nothing was encrypted: no usable certificate for erik@corp.example (expired), nobody@corp.example (unknown)"; p.Detail != want {
		t.Errorf("detail %q, want %q", p.Detail, want)
	}
	if p := mailProblem(&smime.RecipientsError{Refused: refused[1:]}); code(p) != service.CodeRecipientUnknown {
		t.Errorf("only an unknown one: %v", p)
	}
}

// TestKeyringProblem: every way in which a keyring does not do its work has its code, and says what was attempted.
func TestKeyringProblem(t *testing.T) {
	for err, want := range map[error]service.Code{
		keyring.ErrLocked: service.CodeKeyringLocked, keyring.ErrNoPassphrase: service.CodeKeyringLocked, keyring.ErrWrongPassphrase: service.CodeWrongPassphrase,
		keyring.ErrPFXPassphrase: service.CodeWrongPassphrase, keyring.ErrDamaged: service.CodeKeyringDamaged, keyring.ErrInUse: service.CodeKeyringUnavailable,
		keyring.ErrNewerSchema: service.CodeKeyringUnavailable, keyring.ErrKeyMismatch: service.CodeBadIdentity,
	} {
		got := keyringProblem("unlock the keyring", fmt.Errorf("import PFX file: %w", err))
		p, ok := errors.AsType[*service.Problem](got)
		if !ok || p.Code != want || !strings.HasPrefix(p.Detail, "unlock the keyring: ") || strings.Contains(p.Detail, "import PFX") {
			t.Errorf("%v: %+v, want %s", err, got, want)
		}
	}
	if keyringProblem("unlock the keyring", nil) != nil {
		t.Error("no error became one")
	}
	inside := errors.New("read only file system")
	if got := keyringProblem("unlock the keyring", inside); got != inside {
		t.Errorf("an error of the daemon's own became %v", got)
	}
}

// strangers is a directory that knows no certificate.
type strangers struct{}

func (strangers) Certificate(context.Context, [32]byte) ([]byte, []directory.Address, error) {
	return nil, nil, service.ErrNotFound
}

// TestLookingLearnsNothing: who opens a mail only to see whose certificate is in it does not change what is remembered; who
// reads it does.
func TestLookingLearnsNothing(t *testing.T) {
	ca := newTestCA(t)
	ring, certs := openRing(t, ca, testca.Options{Now: keysNow})
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	policy := &trust.Policy{Anchors: pool, AnchorCount: 1}
	keys := &Keys{Keyring: ring, Now: func() time.Time { return keysNow }, Policy: policy}
	signer := Signer{Keys: keys, Now: keys.Now}
	opts := &smime.EncryptOptions{To: []mailaddr.Address{"alice@example.com"}, Recipients: everybody{certs[0]}, Sign: signer.options(t.Context(), service.SignOptions{})}
	var mail bytes.Buffer
	if _, err := smime.Encrypt(t.Context(), strings.NewReader("From: alice@example.com\n\nhello\n"), smime.Outputs{Main: smime.To(&mail)}, opts); err != nil {
		t.Fatal(err)
	}
	d := Decrypter{Keys: keys, Verifier: Verifier{Policy: policy, Now: keys.Now, Capabilities: &Capabilities{Keyring: ring, Directory: strangers{}, Log: slog.New(slog.DiscardHandler)}}}
	knows := func() bool {
		_, ok, err := ring.Capabilities(sha256.Sum256(certs[0].Raw))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if v, err := d.Decrypted(t.Context(), bytes.NewReader(mail.Bytes())); err != nil || v.Verdict != smime.Valid || knows() {
		t.Errorf("looked at: %+v, %v; knows %v", v, err, knows())
	}
	err := d.Decrypt(t.Context(), bytes.NewReader(mail.Bytes()), service.DecryptOptions{}, func(service.Decrypted) (io.Writer, error) { return io.Discard, nil })
	if err != nil || !knows() {
		t.Errorf("read: %v; knows %v", err, knows())
	}
}

// everybody is a smime.RecipientSource with one certificate for all.
type everybody struct{ cert *x509.Certificate }

func (e everybody) ForEncryption(_ context.Context, addresses []mailaddr.Address) ([][]*x509.Certificate, error) {
	return slices.Repeat([][]*x509.Certificate{{e.cert}}, len(addresses)), nil
}
