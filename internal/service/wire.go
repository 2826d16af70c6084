package service

import (
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/recipients"
)

// The types of the answers, but for the verdicts, which are package recipients' own. Times are RFC 3339; durations are seconds. Absent members mean unknown or none. The OpenAPI
// file describes the same; a test compares the two.

// Status is how the daemon is. Version, Role, PID, Started and Keyring are the Server's to fill in; the StatusSource
// gives the rest.
type Status struct {
	Version string    `json:"version"`
	Role    Role      `json:"role"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Source  Source    `json:"source"`
	// Running is the run under way; nil when there is none.
	Running *Run   `json:"running,omitempty"`
	Counts  Counts `json:"counts"`
	// Contacts is nil when none are read.
	Contacts *Contacts  `json:"contacts,omitempty"`
	Expiring []Expiring `json:"expiring"`
	// Warnings are sentences for people.
	Warnings []string `json:"warnings"`
	// FIPS is "off", "on" or "only": the FIPS 140-3 mode of the program (GODEBUG=fips140=…).
	FIPS string `json:"fips,omitempty"`
	// Revocation is nil when revocation is not checked.
	Revocation *RevocationStatus `json:"revocation,omitempty"`
	// Issuers is nil when no certificates of authorities are fetched (trust.aia).
	Issuers *IssuersStatus `json:"issuers,omitempty"`
	// Keyring is nil in the system role.
	Keyring *KeyringStatus `json:"keyring,omitempty"`
}

// RevocationStatus is how the revocation data is. Lists are CRLs, answers those of OCSP responders.
type RevocationStatus struct {
	// Mode is "crl" or "ocsp".
	Mode string `json:"mode"`
	// Required reports that certificates of unknown revocation are refused.
	Required bool `json:"required"`
	// Lists and Answers count what is asked for, CurrentLists and CurrentAnswers what of it holds now.
	Lists          int `json:"lists"`
	CurrentLists   int `json:"currentLists"`
	Answers        int `json:"answers"`
	CurrentAnswers int `json:"currentAnswers"`
	// Revoked counts the certificates on all lists.
	Revoked int `json:"revoked"`
	// Oldest is when the oldest data that holds was made, NextEnd when the first of it ends; absent when none holds.
	Oldest  time.Time `json:"oldest,omitzero"`
	NextEnd time.Time `json:"nextEnd,omitzero"`
	// Failing counts what could not be fetched when it was last tried; Failures are at most 20 of these.
	Failing  int                 `json:"failing"`
	Failures []RevocationFailure `json:"failures"`
	// LeftOut counts what there was no room to ask about.
	LeftOut int `json:"leftOut,omitempty"`
}

// IssuersStatus is how the certificates of authorities are that are fetched because a chain lacks them.
type IssuersStatus struct {
	// Kept counts those that were fetched, Waiting the places that are still to be asked.
	Kept    int `json:"kept"`
	Waiting int `json:"waiting"`
	// Failing counts the places that gave nothing when they were last asked; Failures are at most 20 of these, the latest first.
	Failing  int             `json:"failing"`
	Failures []IssuerFailure `json:"failures"`
}

// IssuerFailure is the certificate of an authority that could not be fetched.
type IssuerFailure struct {
	URL   string    `json:"url"`
	Error string    `json:"error"`
	Hint  string    `json:"hint,omitempty"`
	Tried time.Time `json:"tried"`
}

// RevocationFailure is a list or an answer that could not be fetched.
type RevocationFailure struct {
	URL    string    `json:"url"`
	Issuer string    `json:"issuer"`
	Error  string    `json:"error"`
	Hint   string    `json:"hint,omitempty"`
	Tried  time.Time `json:"tried"`
	// Holds reports that older data still holds.
	Holds bool `json:"holds,omitempty"`
}

// Source is where directory data comes from, and how that went.
type Source struct {
	// Protocol is "ews", "eas" or "upstream"; empty when there is no source.
	Protocol string `json:"protocol"`
	URL      string `json:"url,omitempty"`
	// State is "never", "ok", "running", "incomplete", "guarded", "paused" or "failed": how the last run ended.
	State       string    `json:"state"`
	LastAttempt time.Time `json:"lastAttempt,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// LastWalk is when the last complete run over the whole address book began; LastSuccess may have asked for known
	// addresses alone.
	LastWalk      time.Time `json:"lastWalk,omitzero"`
	LastError     string    `json:"lastError,omitempty"`
	LastErrorHint string    `json:"lastErrorHint,omitempty"`
	NextRun       time.Time `json:"nextRun,omitzero"`
	// DataAge is the age of the data in seconds; nil when there never was any.
	DataAge *float64 `json:"dataAge,omitempty"`
	// SignIn is set while the credential is not shown to the server, because it was refused twice.
	SignIn *SignInStopped `json:"signIn,omitempty"`
	// Policy is what an ActiveSync server demands of this device; nil when it has no policy, or with another protocol.
	Policy *DevicePolicy `json:"policy,omitempty"`
}

// DevicePolicy is the mobile device mailbox policy of the account (MS-ASPROV section 2.2.2).
type DevicePolicy struct {
	// SMIME are its settings about signed and encrypted mail, Demands what it asks of the machine, by the names of their
	// elements.
	SMIME   map[string]string `json:"smime"`
	Demands map[string]string `json:"demands"`
	// Unmet are the names among Demands for which nobody vouches.
	Unmet []string `json:"unmet"`
	// Acknowledged is what the server was told: "applied" or "partly applied".
	Acknowledged string    `json:"acknowledged"`
	Fetched      time.Time `json:"fetched"`
}

// SignInStopped says since when a credential is left alone, and until when unless it changes.
type SignInStopped struct {
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until"`
	// Hint says what to do.
	Hint string `json:"hint"`
}

// Run is a synchronisation under way.
type Run struct {
	Started time.Time `json:"started"`
	// Phase is a word for people, for example "enumerate".
	Phase string `json:"phase"`
	// Prefix is what the server was asked for last.
	Prefix   string `json:"prefix,omitempty"`
	Requests int    `json:"requests"`
	Entries  int    `json:"entries"`
	// Fraction is from 0 to 1; nil when it cannot be told.
	Fraction     *float64  `json:"fraction,omitempty"`
	EstimatedEnd time.Time `json:"estimatedEnd,omitzero"`
}

// Counts says what the cache holds.
type Counts struct {
	Entries int `json:"entries"`
	// ByState counts entries by the state that a look-up of their primary address would give.
	ByState map[string]int `json:"byState"`
}

// Expiring is an entry whose last usable certificate ends soon.
type Expiring struct {
	Address  string    `json:"address"`
	NotAfter time.Time `json:"notAfter"`
}

// KeyringStatus is how the keyring of a user is.
type KeyringStatus struct {
	Exists   bool `json:"exists"`
	Unlocked bool `json:"unlocked"`
	// Until is when it locks by itself; zero when locked.
	Until      time.Time `json:"until,omitzero"`
	Identities int       `json:"identities"`
	// Requests counts the keys that wait for their certificate.
	Requests int `json:"requests"`
	// Warnings go into those of the status.
	Warnings []string `json:"-"`
}

// Progress is one line of a run that is being watched.
type Progress struct {
	// Event is "progress"; the Server fills it in.
	Event string `json:"event"`
	Run
}

// Outcomes of a run.
const (
	OutcomeComplete   = "complete"
	OutcomeIncomplete = "incomplete" // some answers were not usable; nothing was removed for them
	OutcomeGuarded    = "guarded"    // complete, but so much would have gone that nothing was removed
	OutcomePaused     = "paused"     // the budget of one run is used up; the next one goes on
	OutcomeFailed     = "failed"
)

// Why a run failed.
const (
	FailureCredential = "credential-refused" // or not tried, because it was refused before
	FailureAnswer     = "no-usable-answer"
	FailureStopped    = "stopped"    // the daemon was told to stop
	FailureStore      = "not-stored" // there is no room on the disk
)

// Report is how a run ended.
type Report struct {
	// Event is "report"; the Server fills it in.
	Event   string    `json:"event"`
	Started time.Time `json:"started"`
	Outcome string    `json:"outcome"`
	// Added, Changed, Removed and Missing count entries; missing ones were not found but are kept for now. When the run went
	// on with an earlier one they count what both found.
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	Missing int `json:"missing"`
	Entries int `json:"entries"`
	// Requests and Duration, in seconds, are those of this run alone.
	Requests int     `json:"requests"`
	Duration float64 `json:"duration"`
	// Whole is the sum over several runs, when this one went on where an earlier one had ended; else nil.
	Whole *Whole `json:"whole,omitempty"`
	// Code says why a failed run failed: FailureCredential, FailureAnswer, FailureStopped or FailureStore.
	Code  string `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Gaps are the prefixes that got no usable answer, and at most a hundred single addresses that got none.
	Gaps []Gap `json:"gaps"`
	// Undetermined counts all single addresses that got no usable answer.
	Undetermined int `json:"undetermined,omitempty"`
	// Contacts is how the contacts were read; nil when they were not.
	Contacts *Contacts `json:"contacts,omitempty"`
}

// Contacts is how the personal contacts of the account are, or how a run went that read them.
type Contacts struct {
	// State is "never", or how the last listing ended: "complete", "incomplete", when it contradicted itself and so removed
	// nothing, "guarded" or "failed".
	State string `json:"state"`
	// Count is the number of contacts that are kept, Certified those of them with at least one certificate.
	Count     int `json:"count"`
	Certified int `json:"certified"`
	// Added, Changed and Removed are those of that run; of Unread contacts the server did not show the content.
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	Unread  int `json:"unread,omitempty"`
	// LastSuccess is when the last complete listing began; zero in a report.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	Error       string    `json:"error,omitempty"`
	Hint        string    `json:"hint,omitempty"`
}

// Whole is a run in several parts.
type Whole struct {
	Started  time.Time `json:"started"`
	Runs     int       `json:"runs"`
	Requests int       `json:"requests"`
	// Duration is the working time in seconds.
	Duration float64 `json:"duration"`
}

// Gap is a part of the directory that could not be read.
type Gap struct {
	Prefix string `json:"prefix"`
	Reason string `json:"reason"`
}

// Accepted is the answer to a run that was asked for.
type Accepted struct {
	// Started is when the run began, or now when it is about to; its Report repeats it.
	Started time.Time `json:"started"`
}

// CertificateDetails is one certificate of the cache in full.
type CertificateDetails struct {
	recipients.Certificate
	SignatureAlgorithm string   `json:"signatureAlgorithm"`
	KeyUsage           []string `json:"keyUsage"`
	ExtendedKeyUsage   []string `json:"extendedKeyUsage"`
	// Entries are the primary addresses of the directory entries that carry it.
	Entries []string `json:"entries"`
	// Installed is what is known about it when it was installed by hand; absent otherwise.
	Installed *installed.Entry `json:"installed,omitempty"`
	// Raw is the DER encoding.
	Raw []byte `json:"raw"`
}

// Candidates is the raw material for a verdict: what the directory holds about some addresses.
type Candidates struct {
	// LastSuccess is when the last complete run began; zero when there never was one.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// LastWalk is when the last one over the whole address book began.
	LastWalk  time.Time           `json:"lastWalk,omitzero"`
	Addresses []AddressCandidates `json:"addresses"`
}

// AddressCandidates are the entries that an address is proven to belong to, and what other sources offer; none when
// nothing is known about it.
type AddressCandidates struct {
	Address   string             `json:"address"`
	Sightings []Sighting         `json:"sightings"`
	Offers    []recipients.Offer `json:"offers"`
}

// Sighting is an entry and when the server last confirmed it.
type Sighting struct {
	Entry directory.Entry `json:"entry"`
	Seen  time.Time       `json:"seen"`
	// Claimed reports that only a certificate names the address, the directory does not list it.
	Claimed bool `json:"claimed,omitempty"`
	// Members are those of a group; absent when they were never asked for.
	Members *directory.Members `json:"members,omitempty"`
}

// Entries is what a completion found.
type Entries struct {
	Entries []EntrySummary `json:"entries"`
	// More reports that there are more than the limit let through.
	More bool `json:"more"`
}

// EntrySummary is an entry as a completion shows it.
type EntrySummary struct {
	Primary     string         `json:"primary"`
	Addresses   []string       `json:"addresses"`
	DisplayName string         `json:"displayName"`
	GivenName   string         `json:"givenName,omitempty"`
	Surname     string         `json:"surname,omitempty"`
	Kind        directory.Kind `json:"kind"`
	// Certificates counts the candidates; no verdict is in it.
	Certificates int `json:"certificates"`
}

// CheckReport is the result of verifying the files.
type CheckReport struct {
	// OK reports that every file is in order.
	OK    bool        `json:"ok"`
	Files []FileCheck `json:"files"`
}

// FileCheck is the state of one file.
type FileCheck struct {
	// Name is "cache", "keyring" or "installed".
	Name string `json:"name"`
	Path string `json:"path"`
	// State is "ok", "missing", "damaged" or "unusable", as a file of a newer version is.
	State string `json:"state"`
	// Detail and Hint are for people.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// Choice says how one copy of a mail is encrypted, and why so.
type Choice struct {
	// Cipher is the content-encryption algorithm, for example "AES-256-CBC".
	Cipher string `json:"cipher"`
	// Protection is what the cipher promises: "malleable" or "authenticated".
	Protection string `json:"protection"`
	// KeyManagement is how the content key gets to the recipients, one for each kind of key.
	KeyManagement []string `json:"keyManagement"`
	// ToSelf reports that the sender can read the copy too.
	ToSelf bool `json:"toSelf"`
	// Reasons explain the choice; Warnings say who may not be able to read the copy.
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings,omitempty"`
}
