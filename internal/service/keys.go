package service

import (
	"net/http"
	"time"
)

// ImportRequest is the body of POST /v1/identities.
type ImportRequest struct {
	// PFX is the file, base64 in JSON.
	PFX []byte `json:"pfx"`
	// PFXPassphrase opens the file; it may be empty.
	PFXPassphrase Secret `json:"pfxPassphrase,omitempty"`
	// KeyringPassphrase is needed when the keyring is new or locked.
	KeyringPassphrase Secret `json:"keyringPassphrase,omitempty"`
}

// UnlockRequest is the body of POST /v1/unlock.
type UnlockRequest struct {
	Passphrase Secret `json:"passphrase"`
	// For is how long the keys stay open, as Go writes durations ("8h"); empty: 24 hours.
	For string `json:"for,omitempty"`
}

// maxUnlock is the longest time to stay unlocked.
const maxUnlock = 24 * time.Hour

func (s *Server) getIdentities(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Keyring == nil {
		return missing("a keyring")
	}
	list, err := s.Keyring.Identities(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Identities{Identities: notNil(list)})
}

func (s *Server) postIdentity(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Keyring == nil {
		return missing("a keyring")
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

func (s *Server) postUnlock(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Keyring == nil {
		return missing("a keyring")
	}
	var request UnlockRequest
	defer func() { wipe(request.Passphrase) }()
	if err := s.readJSON(w, r, &request); err != nil {
		return err
	}
	period, err := unlockPeriod(request.For)
	if err != nil {
		return err
	}
	if err := s.Keyring.Unlock(r.Context(), request.Passphrase, period); err != nil {
		return err
	}
	return s.writeKeyring(w, r)
}

func unlockPeriod(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	period, err := time.ParseDuration(text)
	if err != nil || period <= 0 || period > maxUnlock {
		return 0, NewProblem(CodeBadRequest, "the member for is not a duration such as 30m or 8h, of at most 24 hours", "")
	}
	return period, nil
}

func (s *Server) postLock(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Keyring == nil {
		return missing("a keyring")
	}
	if err := s.Keyring.Lock(r.Context()); err != nil {
		return err
	}
	return s.writeKeyring(w, r)
}

// writeKeyring answers with how the keyring is now.
func (s *Server) writeKeyring(w http.ResponseWriter, r *http.Request) error {
	status, err := s.Keyring.Status(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, status)
}
