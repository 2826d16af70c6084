// Package config reads galsyncd.toml(5), the one file that configures galsyncd.
//
// The file is TOML 1.0. Every key has one entry in the table of definitions (definitions.go), which drives reading,
// "check-config --print" and the manual page alike. The package promises that nothing in the file is ignored: an unknown
// key, a value of the wrong type, a value out of range and a setting that this version does not have are all errors, all
// of them are reported at once, and each says where it stands as file:line.
package config

import (
	"errors"
	"path/filepath"
	"time"
)

// ErrNotFound reports that there is no configuration file at the path. It is apart from invalid so that a program may go
// on with Default.
var ErrNotFound = errors.New("no configuration file")

// Role says who runs the daemon; some defaults depend on it.
type Role int

const (
	// RoleSystem is the service for every user of the machine. It holds no private key.
	RoleSystem Role = iota
	// RoleUser is the service of one user, with the user's keyring.
	RoleUser
)

// String returns "system" or "user".
func (r Role) String() string {
	if r == RoleUser {
		return "user"
	}
	return "system"
}

// Config is the whole effective configuration: defaults of the role, then the file, then overrides. Paths are absolute
// and clean; lists are never nil-sensitive.
type Config struct {
	// Role is the role the configuration was loaded for.
	Role Role
	// Path is the file as it was named; "" when no file was read.
	Path string

	Exchange   Exchange
	Sync       Sync
	Cache      Cache
	Keyring    Keyring
	Upstream   Upstream
	Socket     Socket
	LDAP       LDAP
	Trust      Trust
	Encryption Encryption
	Sendmail   Sendmail
	Limits     Limits
	Metrics    Metrics

	// origins holds, by key, where a value came from when it is not the default.
	origins map[string]origin
	// incomplete: the server need not be named.
	incomplete bool
}

// Exchange is the [exchange] section: the server.
type Exchange struct {
	// Protocol is "ews" or "eas".
	Protocol string
	// URL is the service address, https or, for loopback addresses only, http; without userinfo, query and fragment. In
	// the user role it may be "": then nothing is fetched.
	URL string
	// UserAgent is 1 to 200 characters of printable ASCII.
	UserAgent string
	// Mailbox is the address of the mailbox to act for; "" is the account's own.
	Mailbox string
	// CAFile names a PEM file of extra roots for the server's certificate, "" for none; see Roots.
	CAFile string
	// CAOnly makes the roots of CAFile the only ones.
	CAOnly bool
	Auth   Auth
	EAS    EAS
	// ClientCertFile, ClientKeyFile and ClientCertPassphraseFile are the TLS client certificate; the last is for
	// Config.Secret.
	ClientCertFile, ClientKeyFile, ClientCertPassphraseFile string
}

// EAS is the [exchange.eas] section: what ActiveSync needs. Its keys are errors with another protocol.
type EAS struct {
	// Version is "auto" or one of "16.1", "16.0", "14.1", "14.0", "12.1".
	Version string
	// Query is "base64" or "plain".
	Query string
	// AcceptContacts takes recipients of type 2 for people of the directory.
	AcceptContacts bool
	// CheckRevocation has the server check each certificate.
	CheckRevocation bool
	// PolicyMet names elements of the policy document that this machine meets.
	PolicyMet []string
}

// Auth is the [exchange.auth] section: how to sign in.
type Auth struct {
	// Method is "ntlm", "basic", "kerberos", "oauth2" or "none"; "none" only with a loopback address.
	Method string
	// Username is as the server wants it, DOMAIN\user or user@domain.
	Username string
	// PasswordFile is for Config.Secret, with the methods "ntlm" and "basic".
	PasswordFile string

	// Method "kerberos": one of KeytabFile and CredentialCache.
	KeytabFile, CredentialCache, Krb5Config, ServicePrincipal string

	// Method "oauth2": Tenant, or TokenURL and DeviceURL; ClientSecretFile is for Config.Secret.
	Tenant, TokenURL, DeviceURL, ClientID        string
	Scopes                                       []string
	TokenFile, ClientSecretFile, AccessTokenFile string
	AccessTokenCommand                           []string
}

// Sync is the [sync] section: what is fetched and when.
type Sync struct {
	// Schedule is a cron expression, "@every" with a duration, or "" for only by hand. Its syntax is judged by the Check
	// given to Load.
	Schedule string
	// Jitter spreads the start of a run over a time fixed per machine; 0 is none.
	Jitter time.Duration
	// FullGAL walks the whole GAL; else only known addresses are asked for.
	FullGAL bool
	// Contacts reads the personal contacts of the account.
	Contacts bool
	// Addresses are always kept fresh.
	Addresses []string
	// MaxRemovals is the guard's limit as a fraction of the entries, 0 to 1.
	MaxRemovals float64
	// RequestsPerSecond bounds the rate of requests to Exchange.
	RequestsPerSecond float64
	// MaxRequests and MaxDuration are the budget of one run; 0 is no limit.
	MaxRequests int
	MaxDuration time.Duration
	// OnlineOnMiss lets every look-up ask Exchange when nothing is known.
	OnlineOnMiss bool
	// OnlineTimeout bounds such a question.
	OnlineTimeout time.Duration
}

// Cache is the [cache] section: the copy of the directory.
type Cache struct {
	// Dir is the directory of the cache file.
	Dir string
	// WarnAfter is the age of the data from which answers carry a warning.
	WarnAfter time.Duration
	// RefuseAfter is the age from which nothing is encrypted with the data; more than WarnAfter.
	RefuseAfter time.Duration
}

// Keyring is the [keyring] section, used in the user role.
type Keyring struct {
	// Dir is the directory of the keyring file.
	Dir string
	// UnlockFor is how long it stays open, up to 24 hours.
	UnlockFor time.Duration
	// PassphraseFile is for Config.Secret; "" for none.
	PassphraseFile string
	// Pinentry is "auto", "none" or an absolute path.
	Pinentry string
}

// Upstream is the [upstream] section: the system service as a source of directory data.
type Upstream struct {
	// Socket is "" when the data comes from Exchange; always "" in the system role.
	Socket string
	// Installed is "accept" when an administrator's word stands in for the chain of certificates installed for everyone,
	// else "chain".
	Installed string
}

// Socket is the [socket] section: the local service.
type Socket struct {
	// Path is the Unix socket: absolute, at most 107 bytes, never in /tmp or /var/tmp.
	Path string
	// Admins are user names, and group names with "@" before them.
	Admins []string
}

// LDAP is the [ldap] section. Listen is always empty in this version.
type LDAP struct {
	Listen []string
	BaseDN string
}

// Trust is the [trust] section: which certificates count.
type Trust struct {
	// Anchors are file names, globs, or "system"; see Config.Anchors.
	Anchors []string
	// GAL is "chain" or "accept".
	GAL string
	// Revocation is "off", "crl" or "ocsp".
	Revocation string
	// RevocationRequired refuses certificates of unknown revocation; false when Revocation is "off".
	RevocationRequired bool
	// RevocationAllow are host names, IP addresses and networks of servers that may be asked although they are inside.
	RevocationAllow []string
	// Proxy is the address of an HTTP proxy for what is fetched from authorities; empty is none.
	Proxy string
	// RevocationMaxSize is the largest CRL that is read, in bytes.
	RevocationMaxSize int64
	// AIA fetches the certificates of authorities that a chain lacks.
	AIA bool
}

// Encryption is the [encryption] section.
type Encryption struct {
	// Cipher is "auto", "aes-256-cbc" or "aes-256-gcm".
	Cipher string
	// Mixed is "one-message" or "split".
	Mixed string
}

// Sendmail is the [sendmail] section. Command is always the default in this version.
type Sendmail struct{ Command []string }

// Limits is the [limits] section.
type Limits struct {
	// MaxMessage is the largest mail accepted, in bytes, without what wraps it.
	MaxMessage int64
	// ConcurrentPerUser is how many requests of one user are worked on at a time.
	ConcurrentPerUser int
}

// Metrics is the [metrics] section. Listen is always "" in this version.
type Metrics struct{ Listen string }

// Dir returns the directory of the configuration file, which relative names count from; "" when no file was read.
func (c *Config) Dir() string {
	if c.Path == "" {
		return ""
	}
	abs, err := filepath.Abs(c.Path)
	if err != nil {
		return filepath.Dir(c.Path)
	}
	return filepath.Dir(abs)
}

// origin is where a value that is not the default came from.
type origin struct {
	source string
	line   int
}
