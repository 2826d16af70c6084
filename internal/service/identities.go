package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/recipients"
)

// Identity is an own key and its certificate.
type Identity struct {
	Certificate recipients.Certificate `json:"certificate"`
	Added       time.Time              `json:"added"`
	// SignsFor are the addresses for which it signs when nothing else is said: the check mark.
	SignsFor []string `json:"signsFor"`
	// ChosenFor are the addresses that it was chosen for; an empty one is the default of all.
	ChosenFor []string `json:"chosenFor"`
}

// Identities is the list of own keys.
type Identities struct {
	Identities []Identity `json:"identities"`
	// Requests are the keys that wait for their certificate.
	Requests []IdentityRequest `json:"requests"`
}

// IdentityRequest is a key that waits for its certificate.
type IdentityRequest struct {
	// ID is the SHA-256 of the public key (SubjectPublicKeyInfo).
	ID        string    `json:"id"`
	Subject   string    `json:"subject"`
	Addresses []string  `json:"addresses"`
	Key       string    `json:"key"`
	Created   time.Time `json:"created"`
	// CSR is the request for the certification authority (PKCS #10, RFC 2986), DER.
	CSR []byte `json:"csr"`
}

// Imported is what an import brought.
type Imported struct {
	// Identities are the keys that are in the keyring now because of the import, new or not.
	Identities []Identity `json:"identities"`
	// Added counts those that were not there before.
	Added int `json:"added"`
}

// ImportRequest is the body of POST /v1/identities.
type ImportRequest struct {
	// PFX is the file, base64 in JSON: PFX, PEM, or certificates for keys that are there (PEM, DER, PKCS #7).
	PFX []byte `json:"pfx"`
	// PFXPassphrase opens the file; it may be empty.
	PFXPassphrase Secret `json:"pfxPassphrase,omitempty"`
	// KeyringPassphrase is needed when the keyring is new or locked.
	KeyringPassphrase Secret `json:"keyringPassphrase,omitempty"`
}

// NewKeyRequest is the body of POST /v1/identities/requests.
type NewKeyRequest struct {
	Addresses []string `json:"addresses"`
	// Name is the common name; empty: the first address.
	Name string `json:"name,omitempty"`
	// Key is "rsa-3072", "rsa-4096", "p-256" or "p-384"; empty: rsa-3072.
	Key string `json:"key,omitempty"`
	// KeyringPassphrase is needed when the keyring is new or locked.
	KeyringPassphrase Secret `json:"keyringPassphrase,omitempty"`
}

// ExportRequest is the body of POST /v1/identities/{sha256}/export.
type ExportRequest struct {
	// PFXPassphrase protects the file, 8 bytes at least.
	PFXPassphrase Secret `json:"pfxPassphrase"`
	// KeyringPassphrase is needed always.
	KeyringPassphrase Secret `json:"keyringPassphrase"`
}

func (s *Server) getIdentities(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
	}
	list, err := s.Keyring.Identities(r.Context())
	if err != nil {
		return err
	}
	list.Identities, list.Requests = notNil(list.Identities), notNil(list.Requests)
	return writeJSON(w, http.StatusOK, list)
}

func (s *Server) postIdentity(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
	}
	var request ImportRequest
	defer func() { wipe(request.PFX, request.PFXPassphrase, request.KeyringPassphrase) }()
	if err := s.readJSON(w, r, &request); err != nil {
		return err
	}
	if len(request.PFX) == 0 {
		return NewProblem(CodeBadRequest, "the member pfx is missing or empty", "")
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	imported, err := s.Keyring.Import(ctx, request.PFX, request.PFXPassphrase, request.KeyringPassphrase)
	if err != nil {
		return err
	}
	imported.Identities = notNil(imported.Identities)
	return writeJSON(w, http.StatusCreated, imported)
}

// needKeyring refuses a request that has parameters, or comes to a daemon without keyring.
func (s *Server) needKeyring(r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Keyring == nil {
		return missing("a keyring")
	}
	return nil
}

// inKeyring is needKeyring for a request about what the fingerprint in its path names.
func (s *Server) inKeyring(r *http.Request, name, of string) ([sha256.Size]byte, error) {
	if err := s.needKeyring(r); err != nil {
		return [sha256.Size]byte{}, err
	}
	return fingerprint(r, name, of)
}

// fingerprint reads the fingerprint in a path.
func fingerprint(r *http.Request, name, of string) (sum [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(r.PathValue(name), ":", ""))
	if err != nil || len(b) != sha256.Size {
		return sum, NewProblem(CodeBadRequest, of+" is named by a SHA-256 fingerprint: 64 hex digits", "")
	}
	return [sha256.Size]byte(b), nil
}

// getIdentity answers the public half of an identity, in one of the forms in which certificates are handed around.
func (s *Server) getIdentity(w http.ResponseWriter, r *http.Request) error {
	want, err := s.inKeyring(r, "sha256", "an identity")
	if err != nil {
		return err
	}
	kind := accepted(r, "application/json", "application/pkix-cert", "application/x-pem-file", "application/pkcs7-mime")
	if kind == "" {
		return NewProblem(CodeNotAcceptable, "an identity comes as application/json, application/pkix-cert, application/x-pem-file or application/pkcs7-mime", "")
	}
	id, public, err := s.Keyring.Identity(r.Context(), want)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	switch kind {
	case "application/pkix-cert":
		return writeBytes(w, http.StatusOK, kind, public.Chain[0])
	case "application/x-pem-file":
		var text bytes.Buffer
		for _, der := range public.Chain {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Buffer never fails
		}
		return writeBytes(w, http.StatusOK, kind, text.Bytes())
	case "application/pkcs7-mime":
		return writeBytes(w, http.StatusOK, "application/pkcs7-mime; smime-type=certs-only", public.PKCS7)
	}
	return writeJSON(w, http.StatusOK, id)
}

func (s *Server) deleteIdentity(w http.ResponseWriter, r *http.Request) error {
	which, err := s.inKeyring(r, "sha256", "an identity")
	if err != nil {
		return err
	}
	gone, err := s.Keyring.Remove(r.Context(), which)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, gone)
}

func (s *Server) exportIdentity(w http.ResponseWriter, r *http.Request) error {
	which, err := s.inKeyring(r, "sha256", "an identity")
	if err != nil {
		return err
	}
	var request ExportRequest
	defer func() { wipe(request.PFXPassphrase, request.KeyringPassphrase) }()
	if err := s.readJSON(w, r, &request); err != nil {
		return err
	}
	pfx, err := s.Keyring.Export(r.Context(), which, request.PFXPassphrase, request.KeyringPassphrase)
	if err != nil {
		return err
	}
	return writeBytes(w, http.StatusOK, "application/pkcs12", pfx)
}

func (s *Server) postRequest(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
	}
	var request NewKeyRequest
	defer func() { wipe(request.KeyringPassphrase) }()
	if err := s.readJSON(w, r, &request); err != nil {
		return err
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	made, err := s.Keyring.Request(ctx, request)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

func (s *Server) deleteRequest(w http.ResponseWriter, r *http.Request) error {
	which, err := s.inKeyring(r, "id", "a request")
	if err != nil {
		return err
	}
	if err := s.Keyring.RemoveRequest(r.Context(), which); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
