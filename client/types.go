package client

import "time"

// The answers of the daemon. Times that are zero mean unknown or never.

// Version says what program answers.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Status is how the daemon is.
type Status struct {
	Version string `json:"version"`
	// Role is "system" or "user".
	Role    string    `json:"role"`
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
	// FIPS is "off", "on" or "only": the FIPS 140-3 mode of the daemon.
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
	// State is "never", "ok", "running", "incomplete", "guarded", "paused" or "failed".
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
	Started  time.Time `json:"started"`
	Phase    string    `json:"phase"`
	Prefix   string    `json:"prefix,omitempty"`
	Requests int       `json:"requests"`
	Entries  int       `json:"entries"`
	// Fraction is from 0 to 1; nil when it cannot be told.
	Fraction     *float64  `json:"fraction,omitempty"`
	EstimatedEnd time.Time `json:"estimatedEnd,omitzero"`
}

// Counts says what the cache holds.
type Counts struct {
	Entries int            `json:"entries"`
	ByState map[string]int `json:"byState"`
}

// Expiring is an entry whose last usable certificate ends soon.
type Expiring struct {
	Address  string    `json:"address"`
	NotAfter time.Time `json:"notAfter"`
}

// KeyringStatus is how the keyring is.
type KeyringStatus struct {
	Exists   bool `json:"exists"`
	Unlocked bool `json:"unlocked"`
	// Until is when it locks by itself; zero when locked.
	Until      time.Time `json:"until,omitzero"`
	Identities int       `json:"identities"`
	// Requests counts the keys that wait for their certificate.
	Requests int `json:"requests"`
}

// Accepted is the answer to a run that was asked for.
type Accepted struct {
	// Started is repeated by the Report of the run.
	Started time.Time `json:"started"`
}

// Progress is how far a run is.
type Progress struct {
	// Event is "progress".
	Event string `json:"event"`
	Run
}

// Report is how a run ended.
type Report struct {
	// Event is "report".
	Event   string    `json:"event"`
	Started time.Time `json:"started"`
	// Outcome is "complete", "incomplete", "guarded", "paused" or "failed".
	Outcome string `json:"outcome"`
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
	// Code says why a failed run failed: "credential-refused", "no-usable-answer", "stopped" or "not-stored", because the disk is full.
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

// Result is whether a message can be encrypted to all of its recipients.
type Result struct {
	// State is "encrypted" or "unable-to-encrypt".
	State string `json:"state"`
	// Blocking are the addresses that stand in the way.
	Blocking   []string `json:"blocking"`
	Recipients []Answer `json:"recipients"`
	// EncryptByDefault is the preference of the sender in LookupOptions.From: how the lock of the mail stands at first. Nil
	// without one.
	EncryptByDefault *bool `json:"encryptByDefault,omitempty"`
	// Unanswered reports that Exchange should have been asked about unknown addresses and did not answer.
	Unanswered bool `json:"unanswered,omitempty"`
	// Unasked are addresses, in canonical form, about which Exchange was not asked: one look-up, and one user within an hour,
	// can ask about so many only.
	Unasked []string `json:"unasked,omitempty"`
}

// Answer is the answer for one address.
type Answer struct {
	// Address is the canonical form, or the text as asked when that is no address.
	Address string `json:"address"`
	// Asked is the text as asked, when it differs.
	Asked string `json:"asked,omitempty"`
	// State is "encryptable", or why not.
	State string `json:"state"`
	// Source is "gal", "contacts" or "installed".
	Source      string       `json:"source,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// Members are the answers for the direct members of a group, which has no certificate of its own.
	Members  []Answer `json:"members,omitempty"`
	Reasons  []string `json:"reasons"`
	Hints    []string `json:"hints,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Revocation is of the chosen certificate; nil when revocation is not checked.
	Revocation *Revocation `json:"revocation,omitempty"`
	Name       string      `json:"name,omitempty"`
	// Seen is when the server last confirmed the entry.
	Seen time.Time `json:"seen,omitzero"`
	// Explain lists every candidate, best first; only when asked for.
	Explain []Candidate `json:"explain,omitempty"`
}

// Candidate is a certificate, or a value that held none, which was considered.
type Candidate struct {
	Certificate *Certificate `json:"certificate,omitempty"`
	Source      string       `json:"source"`
	Entry       string       `json:"entry,omitempty"`
	Property    string       `json:"property,omitempty"`
	Default     bool         `json:"default,omitempty"`
	Preferred   bool         `json:"preferred,omitempty"`
	State       string       `json:"state"`
	Reasons     []string     `json:"reasons"`
	Hints       []string     `json:"hints,omitempty"`
	// Revocation is nil when revocation is not checked.
	Revocation *Revocation `json:"revocation,omitempty"`
	Chosen     bool        `json:"chosen,omitempty"`
}

// Revocation is what is known about the revocation of a certificate and of the authorities above it.
type Revocation struct {
	// Status is "good", "revoked" or "unknown".
	Status string `json:"status"`
	// Reason says why it is not good; empty when it is.
	Reason string `json:"reason,omitempty"`
	// Since is when it was revoked, Until how long "good" holds.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Certificate says which certificate is meant.
type Certificate struct {
	// SHA256 is the fingerprint in lower-case hex.
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Key is algorithm and size, for example "RSA 2048".
	Key       string   `json:"key"`
	Addresses []string `json:"addresses,omitempty"`
}

// CertificateDetails is a certificate in full.
type CertificateDetails struct {
	Certificate
	SignatureAlgorithm string   `json:"signatureAlgorithm"`
	KeyUsage           []string `json:"keyUsage"`
	ExtendedKeyUsage   []string `json:"extendedKeyUsage"`
	// Entries are the primary addresses of the directory entries that carry it.
	Entries []string `json:"entries"`
	// Installed is what is known about it when it was installed by hand; nil otherwise.
	Installed *InstalledCertificate `json:"installed,omitempty"`
	// Raw is the DER encoding.
	Raw []byte `json:"raw"`
}

// Candidates is what the directory holds about some addresses, without a verdict.
type Candidates struct {
	// LastSuccess is when the last complete run began.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// LastWalk is when the last one over the whole address book began.
	LastWalk  time.Time           `json:"lastWalk,omitzero"`
	Addresses []AddressCandidates `json:"addresses"`
}

// AddressCandidates are the entries of one address, and what other sources hold for it.
type AddressCandidates struct {
	Address   string     `json:"address"`
	Sightings []Sighting `json:"sightings"`
	Offers    []Offer    `json:"offers"`
}

// Offer is one certificate from a source beside the address book, or one value that should have held one.
type Offer struct {
	// Source is "contacts" or "installed".
	Source string `json:"source"`
	// Raw is the certificate in DER; empty when Fault says why the value cannot be read.
	Raw   []byte `json:"raw,omitempty"`
	Fault string `json:"fault,omitempty"`
	// Property is the Exchange property that held it; empty for what did not come from Exchange.
	Property string `json:"property,omitempty"`
	// Default reports Outlook's mark of the certificate to use.
	Default bool `json:"default,omitempty"`
	// Name is the display name of the person there.
	Name string `json:"name,omitempty"`
	// Intermediates are certificates (DER) that may help to build the chain.
	Intermediates [][]byte `json:"intermediates,omitempty"`
	// Seen is when the source last confirmed it; zero for what does not age.
	Seen time.Time `json:"seen,omitzero"`
	// Preferred reports that the owner of the daemon chose it for this address, Vouched that they trust it for this
	// address without a chain.
	Preferred bool `json:"preferred,omitempty"`
	Vouched   bool `json:"vouched,omitempty"`
}

// Sighting is an entry and when the server last confirmed it.
type Sighting struct {
	Entry Entry     `json:"entry"`
	Seen  time.Time `json:"seen"`
	// Claimed reports that only a certificate names the address; the directory does not list it.
	Claimed bool `json:"claimed,omitempty"`
	// Members are those of a group; nil when they were never asked for.
	Members *Members `json:"members,omitempty"`
}

// Members are the direct members of a group.
type Members struct {
	Members []Member `json:"members"`
	// Truncated reports that these are not all; Unknown that the server says that it knows no such group.
	Truncated bool `json:"truncated,omitempty"`
	Unknown   bool `json:"unknown,omitempty"`
	// Fetched is when the server said so.
	Fetched time.Time `json:"fetched,omitzero"`
}

// Member is one member of a group.
type Member struct {
	// Address is empty for a member without a mail address.
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
	// Kind is "group" for a group in the group.
	Kind string `json:"kind"`
}

// Entry is an entry of the address book.
type Entry struct {
	Primary   string   `json:"primary"`
	Addresses []string `json:"addresses"`
	// Proven are addresses by which the server found the entry although it does not list them.
	Proven      []string `json:"proven,omitempty"`
	Claimed     []string `json:"claimed,omitempty"`
	DisplayName string   `json:"displayName,omitempty"`
	GivenName   string   `json:"givenName,omitempty"`
	Surname     string   `json:"surname,omitempty"`
	Alias       string   `json:"alias,omitempty"`
	// Kind is "mailbox", "contact", "group" or "other".
	Kind         string            `json:"kind"`
	Certificates []UserCertificate `json:"certificates,omitempty"`
	// Intermediates are CA certificates (DER) that came along.
	Intermediates [][]byte      `json:"intermediates,omitempty"`
	Undecodable   []Undecodable `json:"undecodable,omitempty"`
	Changed       time.Time     `json:"changed"`
	Missing       time.Time     `json:"missing,omitzero"`
	// Unconfirmed is the start of the last run that did not confirm the entry, although it confirmed others; LastSeen, with
	// one of the two, that of the last run before that did.
	Unconfirmed time.Time `json:"unconfirmed,omitzero"`
	LastSeen    time.Time `json:"lastSeen,omitzero"`
	// Partial reports that the server leaves out certificates which it does not find valid itself.
	Partial bool `json:"partial,omitempty"`
	// Undetermined says why nothing is known about the certificates; empty when the server said what there is.
	Undetermined string `json:"undetermined,omitempty"`
}

// UserCertificate is a certificate of an entry and where it was found.
type UserCertificate struct {
	// Raw is the DER encoding.
	Raw      []byte `json:"raw"`
	Property string `json:"property"`
	Encoding string `json:"encoding"`
	Default  bool   `json:"default,omitempty"`
}

// Undecodable is a value that held no certificate.
type Undecodable struct {
	Property string `json:"property"`
	Reason   string `json:"reason"`
	SHA256   string `json:"sha256,omitempty"`
	Size     int    `json:"size"`
}

// Entries is what a completion found.
type Entries struct {
	Entries []EntrySummary `json:"entries"`
	// More reports that there are more than the limit let through.
	More bool `json:"more"`
}

// Fingerprints are the certificates that a short fingerprint names.
type Fingerprints struct {
	// SHA256 are at most ten fingerprints, in order.
	SHA256 []string `json:"sha256"`
	// More reports that there are others.
	More bool `json:"more"`
}

// EntrySummary is an entry as a completion shows it.
type EntrySummary struct {
	Primary      string   `json:"primary"`
	Addresses    []string `json:"addresses"`
	DisplayName  string   `json:"displayName"`
	GivenName    string   `json:"givenName,omitempty"`
	Surname      string   `json:"surname,omitempty"`
	Kind         string   `json:"kind"`
	Certificates int      `json:"certificates"`
}

// Identity is an own key and its certificate.
type Identity struct {
	Certificate Certificate `json:"certificate"`
	Added       time.Time   `json:"added"`
	// SignsFor are the addresses for which it signs when nothing else is said.
	SignsFor []string `json:"signsFor"`
	// ChosenFor are the addresses that it was chosen for; an empty one is the default of all.
	ChosenFor []string `json:"chosenFor"`
}

// Identities is the list of own keys, and of those that wait for their certificate.
type Identities struct {
	Identities []Identity        `json:"identities"`
	Requests   []IdentityRequest `json:"requests"`
}

// IdentityRequest is a key that waits for its certificate.
type IdentityRequest struct {
	// ID is the SHA-256 of the public key, in hex.
	ID        string    `json:"id"`
	Subject   string    `json:"subject"`
	Addresses []string  `json:"addresses"`
	Key       string    `json:"key"`
	Created   time.Time `json:"created"`
	// CSR is the request for the certification authority (PKCS #10), DER.
	CSR []byte `json:"csr"`
}

// NewKeyRequest is what to ask a certification authority for.
type NewKeyRequest struct {
	Addresses []string `json:"addresses"`
	// Name is the common name; empty: the first address.
	Name string `json:"name,omitempty"`
	// Key is "rsa-3072", "rsa-4096", "p-256" or "p-384"; empty: rsa-3072.
	Key string `json:"key,omitempty"`
	// KeyringPassphrase is needed when the keyring is new or locked.
	KeyringPassphrase string `json:"keyringPassphrase,omitempty"`
}

// ExportRequest are the passphrases of an export.
type ExportRequest struct {
	// PFXPassphrase protects the file; it has 8 bytes at least.
	PFXPassphrase string `json:"pfxPassphrase"`
	// KeyringPassphrase is needed always.
	KeyringPassphrase string `json:"keyringPassphrase"`
}

// Preferences are what is to be done with mails from an address. Nil, and an empty Identity, say nothing, which is not no.
type Preferences struct {
	Sign           *bool `json:"sign,omitempty"`
	Encrypt        *bool `json:"encrypt,omitempty"`
	ToSelf         *bool `json:"toSelf,omitempty"`
	ProtectHeaders *bool `json:"protectHeaders,omitempty"`
	// Identity is the SHA-256 fingerprint of the certificate to sign with.
	Identity string `json:"identity,omitempty"`
}

// AddressPreferences are the preferences for one address; an empty Address is the default of all.
type AddressPreferences struct {
	Address string `json:"address"`
	Preferences
}

// PreferenceList is every entry, and what counts for the address that was asked about.
type PreferenceList struct {
	Preferences []AddressPreferences `json:"preferences"`
	Effective   AddressPreferences   `json:"effective"`
}

// passphraseRequest is the body of POST /v1/keyring/passphrase.
type passphraseRequest struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// ImportRequest is a file of keys or certificates, and its passphrases.
type ImportRequest struct {
	// PFX is a PFX file, PEM with a key, or certificates for keys that are in the keyring (PEM, DER, PKCS #7).
	PFX []byte `json:"pfx"`
	// PFXPassphrase opens the file; it may be empty.
	PFXPassphrase string `json:"pfxPassphrase,omitempty"`
	// KeyringPassphrase is needed when the keyring is new or locked.
	KeyringPassphrase string `json:"keyringPassphrase,omitempty"`
}

// Imported is what an import brought.
type Imported struct {
	Identities []Identity `json:"identities"`
	// Added counts those that were not there before.
	Added int `json:"added"`
}

// unlockRequest is the body of POST /v1/unlock.
type unlockRequest struct {
	Passphrase string `json:"passphrase"`
	For        string `json:"for,omitempty"`
}

// CheckReport is the result of verifying the daemon's files.
type CheckReport struct {
	OK    bool        `json:"ok"`
	Files []FileCheck `json:"files"`
}

// FileCheck is the state of one file: "ok", "missing", "damaged" or "unusable", as a file of a newer version is.
type FileCheck struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// Choice says how one copy of a mail is encrypted, and why so.
type Choice struct {
	// Cipher is the content-encryption algorithm, for example "AES-256-CBC"; Protection what it promises: "malleable" or
	// "authenticated".
	Cipher     string `json:"cipher"`
	Protection string `json:"protection"`
	// KeyManagement is how the content key gets to the recipients, one for each kind of key.
	KeyManagement []string `json:"keyManagement"`
	// ToSelf reports that the sender can read the copy too.
	ToSelf bool `json:"toSelf"`
	// Reasons explain the choice; Warnings say who may not be able to read the copy.
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings,omitempty"`
}

// Verification is what is known about the signatures of a mail.
type Verification struct {
	// Verdict is "valid", "invalid", "untrusted", "valid-but-other-address", "expired-then", "unsigned" or "partial".
	Verdict  string   `json:"verdict"`
	Reasons  []string `json:"reasons"`
	Warnings []string `json:"warnings,omitempty"`
	// Inside is the verdict of the signatures inside of the encrypted layer; empty for a mail that was not decrypted.
	Inside string `json:"inside,omitempty"`
	// From is the address that signers were compared with.
	From string `json:"from,omitempty"`
	// Layers are what the mail is wrapped into, the outermost first.
	Layers []Layer `json:"layers,omitempty"`
	// Parts are the signed parts of a mail whose verdict is "partial".
	Parts   []Part            `json:"parts,omitempty"`
	Headers *ProtectedHeaders `json:"headers,omitempty"`
	// Install says what can be done with the signer's certificate; nil when there is none.
	Install *Install `json:"install,omitempty"`
}

// Layer is one wrapping of a mail.
type Layer struct {
	// Kind is "signed", "encrypted" or "compressed".
	Kind       string      `json:"kind"`
	Verdict    string      `json:"verdict,omitempty"`
	Reasons    []string    `json:"reasons,omitempty"`
	Detached   bool        `json:"detached,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
	Protection string      `json:"protection,omitempty"`
	Cipher     string      `json:"cipher,omitempty"`
}

// Signature is one signature with its outcome.
type Signature struct {
	Verdict     string             `json:"verdict"`
	Reasons     []string           `json:"reasons"`
	Warnings    []string           `json:"warnings,omitempty"`
	Certificate *SignerCertificate `json:"certificate,omitempty"`
	Algorithm   string             `json:"algorithm,omitempty"`
	Digest      string             `json:"digest,omitempty"`
	// SigningTime is what the signer claims.
	SigningTime *time.Time `json:"signingTime,omitempty"`
}

// SignerCertificate describes a signer's certificate.
type SignerCertificate struct {
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	Addresses []string  `json:"addresses"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Key       string    `json:"key"`
}

// Part is a signed part of a mail.
type Part struct {
	// Path counts the parts from 1: "2.1" is the first part of the second part.
	Path         string       `json:"path"`
	Verification Verification `json:"verification"`
}

// ProtectedHeaders says which header fields were inside the signature or encryption (RFC 9788).
type ProtectedHeaders struct {
	Form         string   `json:"form"`
	Fields       []string `json:"fields"`
	Confidential []string `json:"confidential,omitempty"`
	// Unprotected are the fields that only stand outside, where anybody could have put them, and are shown all the same.
	Unprotected []string `json:"unprotected,omitempty"`
}
