package recipients

import (
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// Revocation is what is known about the revocation of a certificate and of the authorities above it.
type Revocation struct {
	// Status is "good", "revoked" or "unknown".
	Status trust.RevocationStatus `json:"status"`
	// Reason says why it is not good; empty when it is.
	Reason string `json:"reason,omitempty"`
	// Since is when it was revoked, Until how long "good" holds.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`

	// warning is what to tell about an unknown one that does not forbid anything.
	warning string
}

// revocation tells what is known about a candidate.
func revocation(r trust.Revocation) *Revocation {
	if r.Status == "" {
		return nil
	}
	return &Revocation{Status: r.Status, Reason: r.Text(), Since: r.Since, Until: r.Until, warning: r.Warning()}
}

// warn adds what is to be told about the revocation of the chosen certificate.
func (a *Answer) warn(chosen Candidate) {
	if a.Revocation = chosen.Revocation; a.Revocation != nil && a.Revocation.warning != "" {
		a.Warnings = append(a.Warnings, a.Revocation.warning)
	}
}
