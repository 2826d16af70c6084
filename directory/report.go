package directory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Outcome is how a run ended.
type Outcome string

// Outcomes of a run.
const (
	// Complete: the whole address book was seen and the differences were applied.
	Complete Outcome = "complete"
	// Incomplete: as Complete, but some prefixes could not be answered in full; entries there were not aged.
	Incomplete Outcome = "incomplete"
	// Guarded: the whole address book was seen, and so much was missing from it that nothing was aged or removed.
	Guarded Outcome = "guarded"
	// Failed: the server gave no usable answer. What was found is kept, nothing was aged; the next run goes on from there.
	Failed Outcome = "failed"
	// Stopped: as Failed, because the run was asked to stop.
	Stopped Outcome = "stopped"
	// Paused: as Stopped, because the run used up the budget of one run.
	Paused Outcome = "paused"
)

// Report is the result of a run, over all its parts when it was resumed.
type Report struct {
	Outcome Outcome       `json:"outcome"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Elapsed time.Duration `json:"-"`
	// Requests are the questions asked, retries included; Records the records in their answers.
	Requests int `json:"requests"`
	Records  int `json:"records"`
	// Parts counts the calls of Run that the run took so far. Began is when the last of them began, PartRequests are those
	// that it asked.
	Parts        int       `json:"parts,omitempty"`
	Began        time.Time `json:"began,omitzero"`
	PartRequests int       `json:"partRequests,omitempty"`
	// Entries are in the store at the end, Certified those of them with at least one certificate.
	Entries   int `json:"entries"`
	Certified int `json:"certified"`
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	// Missing entries were not found by this run and wait for the next complete one; Removed ones were not found twice.
	Missing int `json:"missing"`
	Removed int `json:"removed"`
	// HeldLost says, after a guarded run, how many entries would have been lost or would have lost their last usable
	// certificate, HeldBare how many of them would have stayed without one, and HeldUncertified how many have one now.
	HeldLost        int `json:"heldLost,omitempty"`
	HeldBare        int `json:"heldBare,omitempty"`
	HeldUncertified int `json:"heldUncertified,omitempty"`
	// Gaps are prefixes that the server did not answer in full, Refused those it does not search for.
	Gaps    []string `json:"gaps,omitempty"`
	Refused []string `json:"refused,omitempty"`
	// Reasons say, for gaps that are there because a question had no usable answer, what the trouble was.
	Reasons map[string]string `json:"reasons,omitempty"`
	// SilentGroups counts the groups whose members could not be asked for; they keep those they have. Silent says so of one
	// of them, with the reason.
	SilentGroups int    `json:"silentGroups,omitempty"`
	Silent       string `json:"silent,omitempty"`
	// Contacts is how the part went that reads the contacts; nil when it was not reached, or is switched off.
	Contacts *ContactReport `json:"contacts,omitempty"`
	// UndeterminedCount counts the addresses about which the server gave no usable answer. Undetermined names some of them,
	// each with the reason.
	UndeterminedCount int               `json:"undeterminedCount,omitempty"`
	Undetermined      map[string]string `json:"undetermined,omitempty"`
}

// Unanswered are the Gaps, and after them the addresses named in Undetermined, in order.
func (r Report) Unanswered() []string {
	return append(slices.Clone(r.Gaps), slices.Sorted(maps.Keys(r.Undetermined))...)
}

// silentReason is why one of the addresses in Undetermined is there; empty without one.
func (r Report) silentReason() string {
	for _, a := range slices.Sorted(maps.Keys(r.Undetermined)) {
		return r.Undetermined[a]
	}
	return ""
}

// mend takes a prefix from the gaps.
func (r *Report) mend(prefix string) {
	delete(r.Reasons, prefix)
	r.Gaps = slices.DeleteFunc(r.Gaps, func(g string) bool { return g == prefix })
}

// GapReason says why a prefix is among the Gaps.
func (r Report) GapReason(prefix string) string {
	if why := cmp.Or(r.Reasons[prefix], r.Undetermined[prefix]); why != "" {
		return why
	}
	return "the server does not list all addresses that begin so"
}

// GuardText says, after a guarded run, what it would have lost.
func (r Report) GuardText() string {
	return heldText(r.HeldLost-r.HeldBare, r.HeldBare, r.Entries, "entries", "last usable certificate")
}

// heldText says that some of all would have been lost, and others only their certificates.
func heldText(gone, bare, all int, what, certificates string) string {
	switch {
	case bare == 0:
		return fmt.Sprintf("the sync would have lost %d of %d %s", gone, all, what)
	case gone == 0:
		return fmt.Sprintf("the sync would have lost the %s of %d of %d %s", certificates, bare, all, what)
	}
	return fmt.Sprintf("the sync would have lost %d of %d %s, and the %s of %d others", gone, all, what, certificates, bare)
}

// GuardHint says what to do about a guarded run.
const GuardHint = "nothing was removed; look at the server, or set sync.max_removals higher for one run if this is right (delete cache.db if it is another server)"

// StoppedText and StoppedHint say what became of a stopped run.
const (
	StoppedText = "the sync was stopped"
	StoppedHint = "what it found is kept, and the next sync goes on from there"
)

// Phases of a run, in words for people.
const (
	PhaseWalk     = "searching"
	PhaseKnown    = "asking for known addresses"
	PhaseAliases  = "asking for aliases"
	PhaseGroups   = "asking for the members of groups"
	PhaseContacts = "reading the contacts"
)

// Progress is where a run stands.
type Progress struct {
	Started time.Time
	Phase   string
	// Prefix, address or group that is being asked.
	Prefix string
	// Requests of this part of the run and Records so far; Entries in the store when the run began.
	Requests, Records, Entries int
	// Fraction of the address book, by an estimate, that has been seen: 0 to 1.
	Fraction float64
	// End is estimated from the pace so far; zero while there is too little to tell.
	End time.Time
}

// History is what a store remembers about earlier runs. The zero value: there was none.
type History struct {
	// Number of the last walk that reached its end, also when the guard then held back what was lost. Runs over known
	// addresses have none.
	Number int `json:"number"`
	// Finished is when the last complete or incomplete run started.
	Finished time.Time `json:"finished,omitzero"`
	// KnownOnly reports that it was a run over known addresses.
	KnownOnly bool `json:"knownOnly,omitempty"`
	// Walked is when the last complete or incomplete run over the whole address book started.
	Walked time.Time `json:"walked,omitzero"`
	// Confirmed is when the last run started that reached its end, be it that the guard then held back what was lost. It
	// confirmed every entry that is not marked missing or unconfirmed, and in none of its gaps. Not before Finished.
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Gaps of that run: entries there were not confirmed by it.
	Gaps []Gap `json:"gaps,omitempty"`
	// Undetermined counts the addresses about which that run got no usable answer; Silent is one of them.
	Undetermined int  `json:"undetermined,omitempty"`
	Silent       *Gap `json:"silent,omitempty"`
	// Last is the report of the last run of any outcome, Error and Hint say why it failed.
	Last  *Report `json:"last,omitempty"`
	Error string  `json:"error,omitempty"`
	Hint  string  `json:"hint,omitempty"`
	// Source is the name of the source of that run, Server the server it asked.
	Source string `json:"source,omitempty"`
	Server string `json:"server,omitempty"`
	// Contacts is the report of the last run that read the contacts.
	Contacts *ContactReport `json:"contacts,omitempty"`
}

// Gap is a prefix below which a run could not confirm entries.
type Gap struct {
	Prefix string `json:"prefix"`
	// Seen is when entries there were confirmed for the last time.
	Seen time.Time `json:"seen,omitzero"`
	// Reason is what the trouble was, when a question had no usable answer; else empty.
	Reason string `json:"reason,omitempty"`
}

// Seen says when the server last confirmed an entry.
func (h History) Seen(e Entry) time.Time {
	if !e.Missing.IsZero() {
		return e.LastSeen
	}
	seen := h.confirmed()
	if !e.Unconfirmed.IsZero() && !e.Unconfirmed.Before(seen) {
		return e.LastSeen
	}
	for _, gap := range h.Gaps {
		if strings.HasPrefix(string(e.Primary), gap.Prefix) && gap.Seen.Before(seen) {
			seen = gap.Seen
		}
	}
	return later(e.Changed, seen)
}

// confirmed is Confirmed, also in a history of before there was one.
func (h History) confirmed() time.Time { return later(h.Finished, h.Confirmed) }

// gaps are those of a run that ends now. What was a gap before, and is in one now, was not confirmed since: it stays, with
// the time of then.
func (h History) gaps(rep Report) (all []Gap) {
	before, at := map[string]time.Time{}, map[string]int{}
	for _, old := range h.Gaps {
		before[old.Prefix] = old.Seen
	}
	for _, p := range rep.Gaps {
		g := Gap{Prefix: p, Seen: h.confirmed(), Reason: rep.Reasons[p]}
		for n := range len(p) + 1 {
			if seen, ok := before[p[:n]]; ok && seen.Before(g.Seen) {
				g.Seen = seen
			}
		}
		at[p] = len(all)
		all = append(all, g)
	}
	for _, old := range h.Gaps {
		for n := range len(old.Prefix) {
			i, ok := at[old.Prefix[:n]]
			if _, again := at[old.Prefix]; !ok || again {
				continue
			}
			if len(all) < maxHistory {
				all = append(all, old)
				break
			}
			if old.Seen.Before(all[i].Seen) {
				all[i].Seen = old.Seen // all of it looks as old as this part
			}
		}
	}
	return all
}

// maxHistory bounds the gaps that are remembered.
const maxHistory = 2*maxGaps + maxTroubled

// troubled reports that the last finished run could not ask there: it is asked for in the next one, whosever turn it is.
func (h History) troubled(prefix string) bool {
	return slices.ContainsFunc(h.Gaps, func(g Gap) bool { return g.Reason != "" && strings.HasPrefix(prefix, g.Prefix) })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const historyKey = "walk/history"

// ReadHistory returns what the store remembers about earlier runs.
func ReadHistory(tx Tx) (History, error) {
	var h History
	b, err := tx.State(historyKey)
	if err != nil || b == nil {
		return h, err
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("read history of runs: %w", err)
	}
	if h.Walked.IsZero() && !h.KnownOnly {
		h.Walked = h.Finished
	}
	return h, nil
}

func (h History) save(tx Tx) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tx.SetState(historyKey, b)
}

// state is a run in progress, stored so that it can be resumed.
type state struct {
	Number  int       `json:"number"`
	Started time.Time `json:"started"`
	Source  string    `json:"source"`
	Server  string    `json:"server,omitempty"`
	// Full asks every leaf, also empty ones that are not due.
	Full bool `json:"full,omitempty"`
	// KnownOnly is a run over known addresses.
	KnownOnly bool `json:"knownOnly,omitempty"`
	// Cursor is the last leaf that is done; the walk goes in byte order.
	Cursor string `json:"cursor"`
	// Applying: the walk is over and the guard let the losses pass.
	Applying bool `json:"applying,omitempty"`
	// Held: the walk is over and the guard did not.
	Held bool `json:"held,omitempty"`
	// Elapsed is the working time of earlier parts.
	Elapsed time.Duration `json:"elapsed,omitempty"`
	// Paused: a part of the run used up its budget.
	Paused bool `json:"paused,omitempty"`
	// Answered is when the server last gave an answer.
	Answered time.Time `json:"answered,omitzero"`
	// ContactsAdded and ContactsChanged count contacts that exact answers brought.
	ContactsAdded   int    `json:"contactsAdded,omitempty"`
	ContactsChanged int    `json:"contactsChanged,omitempty"`
	Report          Report `json:"report"`
}

// judged reports that the guard has decided about what is lost.
func (s *state) judged() bool { return s.Applying || s.Held }

// done notes that the walk is past a leaf.
func (s *state) done(leaf string) { s.Cursor = max(s.Cursor, leaf) }

// resume begins another part of the run.
func (s *state) resume(now time.Time) {
	s.Report.Parts = max(1, s.Report.Parts) + 1
	s.Report.Began, s.Report.PartRequests, s.Report.Outcome = now, 0, ""
}

const stateKey = "walk/run"

func loadState(tx Tx) (*state, error) {
	b, err := tx.State(stateKey)
	if err != nil || b == nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read interrupted run: %w", err)
	}
	return s, nil
}

func (s *state) save(tx Tx) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return tx.SetState(stateKey, b)
}
