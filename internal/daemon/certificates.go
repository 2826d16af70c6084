package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"

	"github.com/galsyncd/galsyncd/internal/certfile"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/smime"
)

// Certificates are the installed certificates as the service asks for them. It implements service.Certificates.
type Certificates struct {
	Installer *installed.Installer
	// Directory knows certificates that can be trusted without being installed before.
	Directory service.Directory
	// Revocations fetches what is needed about a certificate as soon as it is installed; nil when nothing is fetched.
	Revocations *Revocations
}

// List implements service.Certificates.
func (c Certificates) List(ctx context.Context) (*installed.List, error) {
	list, err := c.Installer.List(ctx)
	return list, certificateProblem("list the installed certificates", err)
}

// Entry implements service.Certificates.
func (c Certificates) Entry(ctx context.Context, sum [sha256.Size]byte) (*installed.Entry, error) {
	e, err := c.Installer.Entry(ctx, sum)
	if errors.Is(err, keyring.ErrNotInstalled) {
		return nil, service.ErrNotFound
	}
	return e, certificateProblem("show the certificate", err)
}

// Certificate implements service.Certificates.
func (c Certificates) Certificate(_ context.Context, sum [sha256.Size]byte) ([]byte, error) {
	cert, err := c.Installer.Find(sum)
	if err != nil {
		return nil, certificateProblem("show the certificate", err)
	}
	if cert == nil {
		return nil, service.ErrNotFound
	}
	return cert.Raw, nil
}

// Fingerprints implements service.Certificates.
func (c Certificates) Fingerprints(_ context.Context, beginning string) ([][sha256.Size]byte, error) {
	found, err := c.Installer.Fingerprints(beginning)
	return found, certificateProblem("find the certificate", err)
}

// Install implements service.Certificates.
func (c Certificates) Install(ctx context.Context, data []byte, o installed.Options, dry bool) (*installed.Report, error) {
	work := c.Installer.Install
	if dry {
		work = c.Installer.Examine
	}
	r, err := work(ctx, data, o)
	if err == nil && !dry {
		var addresses []string
		for _, item := range r.Certificates {
			for _, a := range item.For {
				addresses = append(addresses, string(a))
			}
		}
		c.Revocations.soon(ctx, addresses)
	}
	return r, certificateProblem("install a certificate", err)
}

// Trust implements service.Certificates.
func (c Certificates) Trust(ctx context.Context, sum [sha256.Size]byte, o installed.TrustOptions) (*installed.Entry, error) {
	if c.Directory != nil {
		der, _, err := c.Directory.Certificate(ctx, sum)
		if err == nil {
			o.Known, err = x509.ParseCertificate(der)
		}
		if err != nil && !errors.Is(err, service.ErrNotFound) && !isProblem(err) {
			return nil, err
		}
	}
	e, err := c.Installer.Trust(ctx, sum, o)
	return e, certificateProblem("trust the certificate", err)
}

// Untrust implements service.Certificates.
func (c Certificates) Untrust(_ context.Context, sum [sha256.Size]byte, addresses []mailaddr.Address) error {
	return certificateProblem("no longer trust the certificate", c.Installer.Untrust(sum, addresses))
}

// Remove implements service.Certificates.
func (c Certificates) Remove(_ context.Context, sum [sha256.Size]byte) error {
	return certificateProblem("remove the certificate", c.Installer.Remove(sum))
}

// certificateProblem says what a caller may know about certificates that could not be worked on.
func certificateProblem(attempt string, err error) error {
	if err == nil || isProblem(err) {
		return err
	}
	if refusal, ok := errors.AsType[*installed.Refusal](err); ok {
		return service.NewProblem(service.CodeCertificateRefused, refusal.Error(), refusal.Hint())
	}
	if full, ok := errors.AsType[*keyring.FullError](err); ok {
		return service.NewProblem(service.CodeCertificateRefused, attempt+": "+full.Error(), "remove some that are not needed any more: galsyncd cert remove")
	}
	for _, known := range []struct {
		err  error
		code service.Code
		hint string
	}{
		{keyring.ErrNotInstalled, service.CodeNotFound, "galsyncd cert list shows what is installed"},
		{keyring.ErrNotCA, service.CodeBadCertificate, ""},
		{installed.ErrNotNamed, service.CodeBadCertificate, "a certificate is used only for addresses that it names itself"},
		{installed.ErrNoAuthority, service.CodeBadCertificate, ""},
		{installed.ErrTooLarge, service.CodeMessageTooLarge, ""},
		{certfile.ErrTooLarge, service.CodeBadCertificate, ""},
		{certfile.ErrNoCertificate, service.CodeBadCertificate, ""},
		{certfile.ErrUnknownFormat, service.CodeBadCertificate, ""},
		{smime.ErrHeader, service.CodeBadCertificate, "give a signed mail, or a file in PEM, DER, PKCS #7 or vCard format"},
	} {
		if errors.Is(err, known.err) {
			return service.NewProblem(known.code, attempt+": "+detail(err), known.hint)
		}
	}
	if mail := mailProblem(err); isProblem(mail) {
		return mail
	}
	return keyringProblem(attempt, err)
}

// Decrypted decrypts a mail only to judge the signatures in it: its content goes nowhere, and nothing is remembered.
func (d Decrypter) Decrypted(ctx context.Context, message io.Reader) (*smime.Verification, error) {
	d.Verifier.Capabilities = nil // what is to be kept is for the installer to decide
	var found *smime.Verification
	err := d.Decrypt(ctx, message, service.DecryptOptions{}, func(how service.Decrypted) (io.Writer, error) {
		found = how.Verification
		return io.Discard, nil
	})
	return found, err
}

// NoCertificates stands for a store of installed certificates that could not be opened: it answers every request with the
// reason. It implements service.Certificates and recipients.Extra.
type NoCertificates struct{ Err error }

// List implements service.Certificates.
func (n NoCertificates) List(context.Context) (*installed.List, error) {
	return nil, n.problem("list the installed certificates")
}

// Entry implements service.Certificates: what the directory knows is shown without it.
func (NoCertificates) Entry(context.Context, [sha256.Size]byte) (*installed.Entry, error) {
	return nil, service.ErrNotFound
}

// Certificate implements service.Certificates.
func (n NoCertificates) Certificate(context.Context, [sha256.Size]byte) ([]byte, error) {
	return nil, n.problem("show the certificate")
}

// Fingerprints implements service.Certificates.
func (n NoCertificates) Fingerprints(context.Context, string) ([][sha256.Size]byte, error) {
	return nil, n.problem("find the certificate")
}

// Install implements service.Certificates.
func (n NoCertificates) Install(context.Context, []byte, installed.Options, bool) (*installed.Report, error) {
	return nil, n.problem("install a certificate")
}

// Trust implements service.Certificates.
func (n NoCertificates) Trust(context.Context, [sha256.Size]byte, installed.TrustOptions) (*installed.Entry, error) {
	return nil, n.problem("trust the certificate")
}

// Untrust implements service.Certificates.
func (n NoCertificates) Untrust(context.Context, [sha256.Size]byte, []mailaddr.Address) error {
	return n.problem("no longer trust the certificate")
}

// Remove implements service.Certificates.
func (n NoCertificates) Remove(context.Context, [sha256.Size]byte) error {
	return n.problem("remove the certificate")
}

func (n NoCertificates) problem(attempt string) error { return NoKeyring(n).problem(attempt) }
