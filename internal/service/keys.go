package service

import (
	"net/http"
	"time"
)

// UnlockRequest is the body of POST /v1/unlock.
type UnlockRequest struct {
	Passphrase Secret `json:"passphrase"`
	// For is how long the keys stay open, as Go writes durations ("8h"), 24 hours at most; empty: what the configuration says.
	For string `json:"for,omitempty"`
}

// PassphraseRequest is the body of POST /v1/keyring/passphrase.
type PassphraseRequest struct {
	Old Secret `json:"old"`
	New Secret `json:"new"`
}

// maxUnlock is the longest time to stay unlocked.
const maxUnlock = 24 * time.Hour

func (s *Server) postUnlock(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
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
	switch {
	case err != nil || period <= 0:
		return 0, NewProblem(CodeBadRequest, "unlock the keyring: for is not a duration such as 30m or 8h", "")
	case period > maxUnlock:
		return 0, NewProblem(CodeBadRequest, "unlock the keyring: it stays open for 24 hours at most", "ask for 24h or less")
	}
	return period, nil
}

func (s *Server) postLock(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
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

// postPassphrase changes the passphrase of the keyring.
func (s *Server) postPassphrase(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
	}
	var request PassphraseRequest
	defer func() { wipe(request.Old, request.New) }()
	if err := s.readJSON(w, r, &request); err != nil {
		return err
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	if err := s.Keyring.ChangePassphrase(ctx, request.Old, request.New); err != nil {
		return err
	}
	return s.writeKeyring(w, r)
}

// getBackup answers a copy of the whole keyring.
func (s *Server) getBackup(w http.ResponseWriter, r *http.Request) error {
	if err := s.needKeyring(r); err != nil {
		return err
	}
	data, err := s.Keyring.Backup(r.Context())
	if err != nil {
		return err
	}
	return writeBytes(w, http.StatusOK, "application/octet-stream", data)
}
