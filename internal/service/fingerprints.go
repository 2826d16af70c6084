package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Bounds of short fingerprints.
const (
	minBeginning    = 8 // digits: 32 bits tell 100,000 certificates apart
	maxFingerprints = 10
)

// Fingerprints are the certificates that a short fingerprint names.
type Fingerprints struct {
	// SHA256 are at most ten fingerprints, in order.
	SHA256 []string `json:"sha256"`
	// More reports that there are others.
	More bool `json:"more"`
}

func (s *Server) getFingerprints(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "beginning")
	if err != nil {
		return err
	}
	beginning, err := beginningOf(one(values, "beginning"))
	if err != nil {
		return err
	}
	if s.Directory == nil && s.Certificates == nil {
		return missing("a directory")
	}
	found, err := s.fingerprints(r.Context(), beginning, maxFingerprints+1)
	if err != nil {
		return err
	}
	answer := Fingerprints{SHA256: []string{}, More: len(found) > maxFingerprints}
	for _, sum := range found[:min(len(found), maxFingerprints)] {
		answer.SHA256 = append(answer.SHA256, hex.EncodeToString(sum[:]))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// beginningOf reads the beginning of a fingerprint: lower-case hex digits without colons.
func beginningOf(text string, err error) (string, error) {
	digits := strings.ToLower(strings.ReplaceAll(text, ":", ""))
	isHex := strings.Trim(digits, "0123456789abcdef") == ""
	if err == nil && (!isHex || len(digits) < minBeginning || len(digits) > hex.EncodedLen(sha256.Size)) {
		err = NewProblem(CodeBadRequest, "the parameter beginning is "+strconv.Itoa(minBeginning)+" to 64 hex digits of a SHA-256 fingerprint", "")
	}
	return digits, err
}

// fingerprints merges what the directory has with what was installed. When one of the two does not answer, the other one
// does.
func (s *Server) fingerprints(ctx context.Context, beginning string, limit int) (found [][sha256.Size]byte, err error) {
	if s.Directory != nil {
		found, err = s.Directory.Fingerprints(ctx, beginning, limit)
	}
	if s.Certificates != nil {
		own, ownErr := s.Certificates.Fingerprints(ctx, beginning)
		found, err = append(found, own...), cmp.Or(err, ownErr)
	}
	if len(found) == 0 && err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(found), nil
}
