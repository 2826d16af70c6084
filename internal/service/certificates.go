package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"

	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Certificates keeps the certificates that people install by hand. Fingerprints are SHA-256; ErrNotFound reports one that
// is not there.
type Certificates interface {
	List(ctx context.Context) (*installed.List, error)
	// Entry returns what is known about an installed certificate.
	Entry(ctx context.Context, sum [sha256.Size]byte) (*installed.Entry, error)
	// Certificate returns the DER of a certificate that is installed, came with one that is, or is that of a trusted issuer.
	Certificate(ctx context.Context, sum [sha256.Size]byte) ([]byte, error)
	// Fingerprints returns those of such certificates that begin with these lower-case hex digits.
	Fingerprints(ctx context.Context, beginning string) ([][sha256.Size]byte, error)
	// Install installs what a mail or file holds, or with dry says what it would do.
	Install(ctx context.Context, data []byte, o installed.Options, dry bool) (*installed.Report, error)
	// Trust returns nil for an issuer.
	Trust(ctx context.Context, sum [sha256.Size]byte, o installed.TrustOptions) (*installed.Entry, error)
	Untrust(ctx context.Context, sum [sha256.Size]byte, addresses []mailaddr.Address) error
	Remove(ctx context.Context, sum [sha256.Size]byte) error
}

// certificateName reads the fingerprint in the path of a request.
func certificateName(r *http.Request) ([sha256.Size]byte, error) {
	return fingerprint(r, "sha256", "a certificate")
}

func (s *Server) getCertificates(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Certificates == nil {
		return missing("installed certificates")
	}
	list, err := s.Certificates.List(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list)
}

func (s *Server) postCertificate(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "dry-run", "address", "name", "invalid-signature", "no-trust", "issuer")
	if err != nil {
		return err
	}
	var o installed.Options
	var dry bool
	for name, target := range map[string]*bool{"dry-run": &dry, "invalid-signature": &o.AnySignature, "no-trust": &o.NoTrust, "issuer": &o.Issuer} {
		if *target, err = flag(values, name); err != nil {
			return err
		}
	}
	if o.Name, err = one(values, "name"); err != nil {
		return err
	}
	if o.Addresses, err = optionalAddresses(values["address"]); err != nil {
		return err
	}
	if s.Certificates == nil {
		return missing("installed certificates")
	}
	data, err := s.readCertificates(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	var report *installed.Report
	err = s.boundFailures(r, func() (err error) {
		report, err = s.Certificates.Install(ctx, data, o, dry)
		return err
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if report.Done {
		status = http.StatusCreated
	}
	return writeJSON(w, status, report)
}

// readCertificates reads the body: a mail, or a file with certificates.
func (s *Server) readCertificates(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := s.openWrapped(w, r, installed.MaxMail)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(b)
	return data, b.verdict(err)
}

// optionalAddresses parses addresses, none being none.
func optionalAddresses(list []string) ([]mailaddr.Address, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) > maxCandidates {
		return nil, NewProblem(CodeBadRequest, "too many addresses in one request", "")
	}
	return parseAddresses(list)
}

func (s *Server) putTrust(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "address", "prefer", "issuer")
	if err != nil {
		return err
	}
	sum, err := certificateName(r)
	if err != nil {
		return err
	}
	var o installed.TrustOptions
	if o.Prefer, err = flag(values, "prefer"); err != nil {
		return err
	}
	if o.Issuer, err = flag(values, "issuer"); err != nil {
		return err
	}
	if o.Addresses, err = optionalAddresses(values["address"]); err != nil {
		return err
	}
	if s.Certificates == nil {
		return missing("installed certificates")
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	entry, err := s.Certificates.Trust(ctx, sum, o)
	if err != nil {
		return err
	}
	if entry == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, http.StatusOK, entry)
}

func (s *Server) deleteTrust(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "address")
	if err != nil {
		return err
	}
	list, err := optionalAddresses(values["address"])
	if err != nil {
		return err
	}
	return s.forget(w, r, func(ctx context.Context, sum [sha256.Size]byte) error { return s.Certificates.Untrust(ctx, sum, list) })
}

func (s *Server) deleteCertificate(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	return s.forget(w, r, func(ctx context.Context, sum [sha256.Size]byte) error { return s.Certificates.Remove(ctx, sum) })
}

// forget takes something back and answers without content.
func (s *Server) forget(w http.ResponseWriter, r *http.Request, work func(context.Context, [sha256.Size]byte) error) error {
	sum, err := certificateName(r)
	if err != nil {
		return err
	}
	if s.Certificates == nil {
		return missing("installed certificates")
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	if err := work(ctx, sum); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// anyCertificate finds a certificate in the directory, or among those that were installed. Entry is nil when it was not.
func (s *Server) anyCertificate(ctx context.Context, sum [sha256.Size]byte) (der []byte, entries []mailaddr.Address, entry *installed.Entry, err error) {
	if s.Directory == nil && s.Certificates == nil {
		return nil, nil, nil, missing("a directory")
	}
	err = ErrNotFound
	if s.Directory != nil {
		der, entries, err = s.Directory.Certificate(ctx, sum)
	}
	if s.Certificates == nil {
		return der, entries, nil, err
	}
	if err != nil { // a directory that does not answer hides nothing of what was installed
		own, ownErr := s.Certificates.Certificate(ctx, sum)
		if ownErr != nil && errors.Is(err, ErrNotFound) {
			err = ownErr
		}
		if ownErr != nil {
			return nil, nil, nil, err
		}
		der = own
	}
	if entry, err = s.Certificates.Entry(ctx, sum); errors.Is(err, ErrNotFound) {
		return der, entries, nil, nil
	}
	return der, entries, entry, err
}
