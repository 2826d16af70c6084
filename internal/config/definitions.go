package config

import (
	"slices"
	"strings"
	"time"
)

// definition is everything there is to know about one key. It drives reading, printing and the manual page.
type definition struct {
	key string
	// kind names the type in the manual page.
	kind string
	// standard is the default as TOML; user replaces it in the user role when not "". $XDG_ variables are expanded.
	standard, user string
	// doc is what the key does, in sentences.
	doc string
	// example is shown in the manual page and in messages; the default when "".
	example string
	// values are the only ones allowed, when not empty; later are known ones that this version does not have.
	values, later []string
	// fixed says that only the default is built into this version.
	fixed bool
	// target returns where the value lives: a pointer to a field, converted to a type of kinds.go where it needs one.
	target func(*Config) any
	// check returns what is wrong with the value in c, "" when nothing is.
	check func(c *Config) string
}

// initial returns the default of a role, as TOML.
func (d *definition) initial(role Role) string {
	if role == RoleUser && d.user != "" {
		return d.user
	}
	return d.standard
}

// shown returns the example, or the default of the system role.
func (d *definition) shown() string {
	if d.example != "" {
		return d.example
	}
	return d.standard
}

// definitions returns every key of the file, section by section in the order of the manual page.
func definitions() []definition {
	return slices.Concat(
		exchangeKeys(), easKeys(), syncKeys(), cacheKeys(), keyringKeys(), socketKeys(), ldapKeys(), trustKeys(), mailKeys(),
	)
}

func exchangeKeys() []definition {
	return []definition{
		{key: "exchange.protocol", kind: "string", standard: `"ews"`, values: []string{"ews", "eas"},
			doc: `The protocol: "ews" is Exchange Web Services, "eas" is Exchange ActiveSync, which shows only certificates that the server ` +
				`itself finds valid, no members of groups and no aliases.`,
			target: func(c *Config) any { return &c.Exchange.Protocol }},
		{key: "exchange.url", kind: "string", standard: `""`, example: `"https://mail.example.com/EWS/Exchange.asmx"`,
			doc: "The address of the service; for ActiveSync it ends in /Microsoft-Server-ActiveSync. It begins with https; plain http is accepted for loopback addresses only. " +
				"Needed in the system role; without it the user role fetches nothing.",
			target: func(c *Config) any { return &c.Exchange.URL }, check: checkURL},
		{key: "exchange.user_agent", kind: "string", standard: `"galsyncd"`,
			doc: "How the program names itself in each request, for servers that admit programs by name (EwsAllowList, device access rules). The default stays " +
				"the same from version to version. Printable ASCII, at most 200 characters.",
			target: func(c *Config) any { return &c.Exchange.UserAgent }, check: checkUserAgent},
		{key: "exchange.mailbox", kind: "string", standard: `""`, example: `"galsync@example.com"`,
			doc: "The mailbox on whose behalf the account asks (ExchangeImpersonation, X-AnchorMailbox): needed with OAuth2 client " +
				"credentials, which have no mailbox of their own. Empty means the mailbox of the account.",
			target: func(c *Config) any { return &c.Exchange.Mailbox }, check: checkMailbox},
		{key: "exchange.ca_file", kind: "file", standard: `""`, example: `"/etc/galsyncd/exchange-ca.pem"`,
			doc: "PEM file of further root certificates for the certificate of the server. A relative name counts from the " +
				"configuration file. Nothing turns verification off.",
			target: func(c *Config) any { return (*file)(&c.Exchange.CAFile) }},
		{key: "exchange.ca_only", kind: "boolean", standard: `false`,
			doc:    "Whether the certificates of ca_file are the only roots; otherwise the roots of the system count as well.",
			target: func(c *Config) any { return &c.Exchange.CAOnly }},
		{key: "exchange.client_cert_file", kind: "file", standard: `""`, example: `"client.pem"`,
			doc:    "TLS client certificate, with any method: PEM with certificate and key, or PFX.",
			target: func(c *Config) any { return (*file)(&c.Exchange.ClientCertFile) }},
		{key: "exchange.client_key_file", kind: "file", standard: `""`,
			doc:    "The PEM key of client_cert_file, when it is in a file of its own.",
			target: func(c *Config) any { return (*file)(&c.Exchange.ClientKeyFile) }},
		{key: "exchange.client_cert_passphrase_file", kind: "file", standard: `""`,
			doc:    "The passphrase of a PFX file. Found as password_file is.",
			target: func(c *Config) any { return &c.Exchange.ClientCertPassphraseFile }},
		{key: "exchange.auth.method", kind: "string", standard: `"ntlm"`, values: []string{"ntlm", "basic", "kerberos", "oauth2", "none"},
			doc: `How to sign in: "ntlm", "kerberos", "oauth2", "basic" (over https only, and never because a server asks for it), or "none", ` +
				`which is accepted for loopback addresses only.`,
			target: func(c *Config) any { return &c.Exchange.Auth.Method }},
		{key: "exchange.auth.username", kind: "string", standard: `""`, example: `'EXAMPLE\svc-galsync'`,
			doc:    "The account, as the server wants it: DOMAIN\\user or user@domain. Single quotes keep the backslash.",
			target: func(c *Config) any { return &c.Exchange.Auth.Username }, check: checkUsername},
		{key: "exchange.auth.password_file", kind: "file", standard: `""`, example: `"exchange-password"`,
			doc: "File with the password of the account. A relative name is looked for in $CREDENTIALS_DIRECTORY, where systemd puts " +
				"credentials, then beside the configuration file. Group and others must not be able to read it.",
			target: func(c *Config) any { return &c.Exchange.Auth.PasswordFile }},
		{key: "exchange.auth.keytab_file", kind: "file", standard: `""`, example: `"galsyncd.keytab"`,
			doc:    "Kerberos: keytab with the keys of the account. Group and others must not be able to read it.",
			target: func(c *Config) any { return (*file)(&c.Exchange.Auth.KeytabFile) }},
		{key: "exchange.auth.credential_cache", kind: "string", standard: `""`,
			doc: `Kerberos, in place of a keytab: a credential cache that another program keeps fresh, as a path, or "default" for what ` +
				"kinit uses.",
			target: func(c *Config) any { return &c.Exchange.Auth.CredentialCache }},
		{key: "exchange.auth.krb5_config", kind: "file", standard: `""`, example: `"/etc/krb5.conf"`,
			doc:    "Kerberos: the configuration of the realm. Empty means $KRB5_CONFIG, else /etc/krb5.conf.",
			target: func(c *Config) any { return (*file)(&c.Exchange.Auth.Krb5Config) }},
		{key: "exchange.auth.service_principal", kind: "string", standard: `""`, example: `"HTTP/mail.example.com"`,
			doc:    "Kerberos: the service principal name of Exchange. Empty means HTTP/ and the host of the URL.",
			target: func(c *Config) any { return &c.Exchange.Auth.ServicePrincipal }},
		{key: "exchange.auth.tenant", kind: "string", standard: `""`, example: `"example.onmicrosoft.com"`,
			doc:    "OAuth2: the tenant of Microsoft Entra ID, in place of token_url and device_url.",
			target: func(c *Config) any { return &c.Exchange.Auth.Tenant }},
		{key: "exchange.auth.token_url", kind: "string", standard: `""`,
			doc:    "OAuth2: the token endpoint of the authorization server.",
			target: func(c *Config) any { return &c.Exchange.Auth.TokenURL }},
		{key: "exchange.auth.device_url", kind: "string", standard: `""`,
			doc:    "OAuth2: the device authorization endpoint, for galsyncd auth login.",
			target: func(c *Config) any { return &c.Exchange.Auth.DeviceURL }},
		{key: "exchange.auth.client_id", kind: "string", standard: `""`,
			doc:    "OAuth2: the identifier of the registered application.",
			target: func(c *Config) any { return &c.Exchange.Auth.ClientID }},
		{key: "exchange.auth.scopes", kind: "list of strings", standard: `[]`,
			example: `["https://outlook.office365.com/EWS.AccessAsUser.All", "offline_access"]`,
			doc:     "OAuth2: the scopes to ask for.",
			target:  func(c *Config) any { return &c.Exchange.Auth.Scopes }},
		{key: "exchange.auth.token_file", kind: "file", standard: `""`,
			doc: "OAuth2: where galsyncd auth login keeps the refresh token, which is replaced with each use. Empty, without another " +
				"source of tokens, means exchange-sign-in in cache.dir.",
			target: func(c *Config) any { return (*file)(&c.Exchange.Auth.TokenFile) }},
		{key: "exchange.auth.client_secret_file", kind: "file", standard: `""`,
			doc:    "OAuth2: the secret of the application itself (client credentials). Found as password_file is.",
			target: func(c *Config) any { return &c.Exchange.Auth.ClientSecretFile }},
		{key: "exchange.auth.access_token_file", kind: "file", standard: `""`,
			doc:    "OAuth2: a bearer token that another program keeps fresh.",
			target: func(c *Config) any { return (*file)(&c.Exchange.Auth.AccessTokenFile) }},
		{key: "exchange.auth.access_token_command", kind: "list of strings", standard: `[]`,
			doc:    "OAuth2: a program that prints a bearer token: an absolute path and arguments, run without a shell.",
			target: func(c *Config) any { return &c.Exchange.Auth.AccessTokenCommand }},
	}
}

func easKeys() []definition {
	return []definition{
		{key: "exchange.eas.version", kind: "string", standard: `"auto"`, values: []string{"auto", "16.1", "16.0", "14.1", "14.0", "12.1"},
			doc:    `The version of ActiveSync; "auto" is the best that the server offers.`,
			target: func(c *Config) any { return &c.Exchange.EAS.Version }},
		{key: "exchange.eas.query", kind: "string", standard: `"base64"`, values: []string{"base64", "plain"},
			doc:    `How a command is written into the address of a request. "plain" is for gateways that want to read it.`,
			target: func(c *Config) any { return &c.Exchange.EAS.Query }},
		{key: "exchange.eas.accept_contacts", kind: "boolean", standard: `false`,
			doc: "Whether to take recipients of type 2 for people of the address book. The protocol has this type for the account's own contacts, " +
				"into which whoever can write that mailbox can put a certificate; some servers (Horde) say it of everybody. When false, sync.contacts decides what becomes of them; when true, no contacts are kept.",
			target: func(c *Config) any { return &c.Exchange.EAS.AcceptContacts }},
		{key: "exchange.eas.check_revocation", kind: "boolean", standard: `false`,
			doc: "Whether to have the server check each certificate (ValidateCert), one more request for 100 certificates: those that it says are " +
				"revoked are not taken. A second opinion, for machines that reach no revocation list.",
			target: func(c *Config) any { return &c.Exchange.EAS.CheckRevocation }},
		{key: "exchange.eas.policy_met", kind: "list of strings", standard: `[]`, example: `["DevicePasswordEnabled", "RequireDeviceEncryption"]`,
			doc: "Demands of the mobile device mailbox policy that this machine meets, by the names of MS-ASPROV; the administrator vouches for " +
				"them. The server is told that the policy is applied when nothing else is demanded, and that it is partly applied otherwise; " +
				"galsyncd status names what is missing.",
			target: func(c *Config) any { return &c.Exchange.EAS.PolicyMet }, check: checkPolicyMet},
	}
}

func syncKeys() []definition {
	return []definition{
		{key: "sync.schedule", kind: "string", standard: `"30 2 * * *"`,
			doc:    `When to fetch: a cron expression of five fields, "@daily", "@every 6h", or "" for only by hand.`,
			target: func(c *Config) any { return &c.Sync.Schedule }},
		{key: "sync.jitter", kind: "duration", standard: `"2h"`,
			doc:    "The start of a run is put off by a part of this time that is fixed per machine, so that a fleet spreads out.",
			target: func(c *Config) any { return &c.Sync.Jitter }, check: checkJitter},
		{key: "sync.full_gal", kind: "boolean", standard: `true`,
			doc: "Whether to walk the whole Global Address List. When false, only known addresses are asked for: those of the cache, of " +
				"sync.addresses, of the members of groups, of contacts, and those that somebody looked up online in the last 90 days.",
			target: func(c *Config) any { return &c.Sync.FullGAL }},
		{key: "sync.contacts", kind: "boolean", standard: `false`, user: `true`,
			doc: "Whether to read the personal contacts of the account: over EWS its folder Contacts; over ActiveSync, which does not list them, what the " +
				"server says of known addresses (recipients of type 2). Their certificates serve where the address book has none that can be used. In the system role every local user gets the contacts of the service account. When false, contacts " +
				"read before are forgotten.",
			target: func(c *Config) any { return &c.Sync.Contacts }},
		{key: "sync.addresses", kind: "list of strings", standard: `[]`, example: `["team@example.com"]`,
			doc:    "Addresses that are always kept fresh, also aliases that the address book does not list.",
			target: func(c *Config) any { return &c.Sync.Addresses }, check: checkAddresses},
		{key: "sync.max_removals", kind: "percentage", standard: `"20%"`,
			doc:    "A run that would remove more than this share of the entries, or of the usable certificates, removes nothing and is reported. One entry may always go.",
			target: func(c *Config) any { return (*percentage)(&c.Sync.MaxRemovals) }},
		{key: "sync.requests_per_second", kind: "number", standard: `5`,
			doc:    "The most requests per second to Exchange, between 0.1 and 1000.",
			target: func(c *Config) any { return &c.Sync.RequestsPerSecond },
			check: func(c *Config) string {
				return unless(c.Sync.RequestsPerSecond >= 0.1 && c.Sync.RequestsPerSecond <= 1000, "is not between 0.1 and 1000")
			}},
		{key: "sync.max_requests", kind: "number", standard: `100000`,
			doc: "The most requests of one sync; 0 is no limit. One that has used them up stops, is shown as paused, and the next one goes on " +
				"from there. A first sync takes about 0.8 requests per entry of the address book, a later one 0.1.",
			target: func(c *Config) any { return &c.Sync.MaxRequests },
			check:  func(c *Config) string { return unless(c.Sync.MaxRequests >= 0, "is below 0") }},
		{key: "sync.max_duration", kind: "duration", standard: `"12h"`,
			doc:    "The longest time of one sync; 0s is no limit. What happens then is as with max_requests.",
			target: func(c *Config) any { return &c.Sync.MaxDuration },
			check:  func(c *Config) string { return unless(c.Sync.MaxDuration >= 0, "is below 0") }},
		{key: "sync.online_on_miss", kind: "boolean", standard: `false`,
			doc:    "Whether every look-up may ask Exchange when the cache has nothing, as galsyncd lookup --online does.",
			target: func(c *Config) any { return &c.Sync.OnlineOnMiss }},
		{key: "sync.online_timeout", kind: "duration", standard: `"1.5s"`,
			doc:    "How long online questions may hold up one look-up.",
			target: func(c *Config) any { return &c.Sync.OnlineTimeout },
			check: func(c *Config) string {
				return unless(c.Sync.OnlineTimeout >= time.Millisecond && c.Sync.OnlineTimeout <= time.Minute, "is not between 1ms and 1m")
			}},
	}
}

func cacheKeys() []definition {
	return []definition{
		{key: "cache.dir", kind: "directory", standard: `"/var/lib/galsyncd"`, user: `"$XDG_CACHE_HOME/galsyncd"`,
			doc:    "Where the copy of the directory lives.",
			target: func(c *Config) any { return (*directory)(&c.Cache.Dir) },
			check:  func(c *Config) string { return unless(c.Cache.Dir != "", "has no default without $HOME; set it") }},
		{key: "cache.warn_after", kind: "duration", standard: `"7d"`,
			doc:    "The age of the data from which answers carry a warning.",
			target: func(c *Config) any { return &c.Cache.WarnAfter },
			check:  func(c *Config) string { return unless(c.Cache.WarnAfter > 0, "is not above 0") }},
		{key: "cache.refuse_after", kind: "duration", standard: `"90d"`,
			doc:    "The age of the data from which nothing is encrypted with it. More than warn_after.",
			target: func(c *Config) any { return &c.Cache.RefuseAfter },
			check:  func(c *Config) string { return unless(c.Cache.RefuseAfter > 0, "is not above 0") }},
	}
}

func keyringKeys() []definition {
	return []definition{
		{key: "keyring.dir", kind: "directory", standard: `""`, user: `"$XDG_DATA_HOME/galsyncd"`, example: `"~/.local/share/galsyncd"`,
			doc:    "Where the private keys of the user live. Used in the user role; the system service holds no keys.",
			target: func(c *Config) any { return (*directory)(&c.Keyring.Dir) },
			check: func(c *Config) string {
				return unless(c.Keyring.Dir != "" || c.Role == RoleSystem, "has no default without $HOME; set it")
			}},
		{key: "keyring.unlock_for", kind: "duration", standard: `"8h"`,
			doc:    "How long the keyring stays open after it was unlocked, when nothing else is said: at most 24h.",
			target: func(c *Config) any { return &c.Keyring.UnlockFor },
			check: func(c *Config) string {
				return unless(c.Keyring.UnlockFor > 0 && c.Keyring.UnlockFor <= 24*time.Hour, "is not between 1s and 24h")
			}},
		{key: "keyring.passphrase_file", kind: "file", standard: `""`, example: `"keyring-passphrase"`,
			doc: "File with the passphrase of the keyring, for a daemon that nobody can be asked by: the keyring then opens by itself " +
				"when a key is needed, until galsyncd lock. Found as password_file is; best as a systemd credential.",
			target: func(c *Config) any { return &c.Keyring.PassphraseFile }},
		{key: "keyring.pinentry", kind: "string", standard: `"auto"`, example: `"/usr/bin/pinentry-gnome3"`,
			doc: `The program that asks for passphrases: an absolute path, "auto", which is pinentry of $PATH when there is a display, or ` +
				`"none", which is the terminal always. A program that is named is used on a terminal too.`,
			target: func(c *Config) any { return &c.Keyring.Pinentry },
			check: func(c *Config) string {
				p := c.Keyring.Pinentry
				return unless(p == "auto" || p == "none" || strings.HasPrefix(p, "/"), `is neither "auto", "none" nor an absolute path`)
			}},
		{key: "upstream.socket", kind: "socket", standard: `""`, example: `"/run/galsyncd/galsyncd.sock"`,
			doc: "User role: the socket of the system service to take directory data from, in place of Exchange. With exchange.url as well, " +
				"this daemon syncs too, as [sync] says, and its own copy answers while the system service does not. Empty without " +
				"exchange.url means /run/galsyncd/galsyncd.sock.",
			target: func(c *Config) any { return (*directory)(&c.Upstream.Socket) }, check: checkUpstream},
		{key: "upstream.installed", kind: "string", standard: `"accept"`, values: []string{"accept", "chain"},
			doc: `User role: whether certificates that an administrator installed for everyone and trusts are trusted ("accept"), or need ` +
				`a chain to one of this user's anchors like others ("chain").`,
			target: func(c *Config) any { return &c.Upstream.Installed }},
	}
}

func socketKeys() []definition {
	return []definition{
		{key: "socket.path", kind: "socket", standard: `"/run/galsyncd/galsyncd.sock"`, user: `"$XDG_RUNTIME_DIR/galsyncd/galsyncd.sock"`,
			doc:    "The Unix socket: an absolute path of at most 107 bytes, never in /tmp or /var/tmp, where anybody could put another one.",
			target: func(c *Config) any { return (*directory)(&c.Socket.Path) }, check: checkSocketPath},
		{key: "socket.admins", kind: "list of strings", standard: `["root", "@galsyncd-admin"]`,
			doc:    "Users, and groups with @ before their names, who may start a sync and change what counts for everyone.",
			target: func(c *Config) any { return &c.Socket.Admins }, check: checkAdmins},
	}
}

func ldapKeys() []definition {
	return []definition{
		{key: "ldap.listen", kind: "list of strings", standard: `[]`, fixed: true,
			doc:    "Addresses of the LDAP service.",
			target: func(c *Config) any { return &c.LDAP.Listen }},
		{key: "ldap.base_dn", kind: "string", standard: `"ou=people,dc=galsyncd"`, fixed: true,
			doc:    "The entry under which the LDAP service shows people.",
			target: func(c *Config) any { return &c.LDAP.BaseDN }},
	}
}

func trustKeys() []definition {
	return []definition{
		{key: "trust.anchors", kind: "list of strings", standard: `["/etc/galsyncd/ca.d/*.pem"]`,
			user: `["/etc/galsyncd/ca.d/*.pem", "$XDG_CONFIG_HOME/galsyncd/ca.d/*.pem"]`,
			doc: "Files of root certificates that certificates of people must chain to, PEM or DER; patterns with * and ? are allowed; a relative name counts from the configuration file; " +
				`"system" means the roots of the system. When empty, nothing is trusted.`,
			target: func(c *Config) any { return &c.Trust.Anchors }, check: checkAnchors},
		{key: "trust.gal", kind: "string", standard: `"chain"`, values: []string{"chain", "accept"},
			doc:    `Whether a certificate of the directory needs a trusted chain ("chain") or the word of the directory is enough ("accept").`,
			target: func(c *Config) any { return &c.Trust.GAL }},
		{key: "trust.revocation", kind: "string", standard: `"crl"`, values: []string{"off", "crl", "ocsp"},
			doc: `How it is found out whether certificates were revoked: "crl" fetches the lists of their authorities after each sync and ` +
				`whenever they are due, "ocsp" asks the OCSP responders first, for each certificate, and falls back on the lists, "off" ` +
				"asks nobody. Answers come from what was fetched, also offline, as long as it says that it holds.",
			target: func(c *Config) any { return &c.Trust.Revocation }},
		{key: "trust.revocation_required", kind: "boolean", standard: `false`,
			doc: "Whether a certificate is refused when it is not known whether it was revoked. Otherwise answers carry a warning, unless " +
				"the certificate does not say where its authority publishes revocations.",
			target: func(c *Config) any { return &c.Trust.RevocationRequired }, check: checkRevocationRequired},
		{key: "trust.revocation_allow", kind: "list of strings", standard: `[]`, example: `["pki.example.com", "10.1.0.0/16"]`,
			doc: "Servers of authorities that may be asked although their addresses are private, of this machine, or otherwise not of the " +
				"open Internet: host names, IP addresses and networks. Others are refused when the connection is made.",
			target: func(c *Config) any { return &c.Trust.RevocationAllow }, check: checkRevocationAllow},
		{key: "trust.proxy", kind: "string", standard: `""`, example: `"http://proxy.example.com:3128"`,
			doc: "The proxy through which lists, OCSP answers and certificates of authorities are fetched, without a sign-in; empty is none, " +
				"whatever the environment says. Servers inside that trust.revocation_allow names are asked without it. A server at an inside " +
				"address that is not named there is not asked through the proxy either.",
			target: func(c *Config) any { return &c.Trust.Proxy }},
		{key: "trust.revocation_max_size", kind: "size", standard: `"32MiB"`,
			doc:    "The largest list that is read, between 64KiB and 256MiB.",
			target: func(c *Config) any { return (*size)(&c.Trust.RevocationMaxSize) },
			check: func(c *Config) string {
				return unless(c.Trust.RevocationMaxSize >= 64<<10 && c.Trust.RevocationMaxSize <= 256<<20, "is not between 64KiB and 256MiB")
			}},
		{key: "trust.aia", kind: "boolean", standard: `false`,
			doc: "Whether certificates of authorities that a chain lacks are fetched, in the background, from where the certificate says that " +
				"its issuer's is (authority information access), and kept. They help to build a chain and prove nothing. " +
				"trust.revocation_allow holds for these servers too. Whoever sends a signed mail can name a server of his own, and so learn " +
				"that the mail was looked at, when, and from which network.",
			target: func(c *Config) any { return &c.Trust.AIA }},
	}
}

func mailKeys() []definition {
	return []definition{
		{key: "encryption.cipher", kind: "string", standard: `"auto"`, values: []string{"auto", "aes-256-cbc", "aes-256-gcm"},
			doc: `The cipher of mails. "auto" is AES-256-GCM when the certificates of all recipients announce it, and AES-256-CBC, which ` +
				`everybody reads, otherwise. "aes-256-gcm" is for organisations whose mail programs all read it: many cannot.`,
			target: func(c *Config) any { return &c.Encryption.Cipher }},
		{key: "encryption.mixed", kind: "string", standard: `"one-message"`, values: []string{"one-message", "split"},
			doc: `What becomes of a mail whose recipients have RSA keys and elliptic curve keys. "one-message" encrypts one message to all of ` +
				`them and warns: some older programs cannot read it. "split" makes a message for each kind of key; who asks must be able to ` +
				`take both, as with Bcc recipients.`,
			target: func(c *Config) any { return &c.Encryption.Mixed }},
		{key: "sendmail.command", kind: "list of strings", standard: `["/usr/sbin/sendmail", "-i"]`, fixed: true,
			doc:    "The program that hands mails on.",
			target: func(c *Config) any { return &c.Sendmail.Command }},
		{key: "limits.max_message", kind: "size", standard: `"100MB"`,
			doc: "The largest mail accepted, between 1kB and 4GB, as who writes or reads it sees it. What arrives to be decrypted or verified is longer by its " +
				"wrapping and may have four times as many bytes and 16 MiB; what is in it keeps to the limit, counted without transfer encodings.",
			target: func(c *Config) any { return (*size)(&c.Limits.MaxMessage) },
			check: func(c *Config) string {
				return unless(c.Limits.MaxMessage >= 1e3 && c.Limits.MaxMessage <= 4e9, "is not between 1kB and 4GB")
			}},
		{key: "limits.concurrent_per_user", kind: "number", standard: `8`,
			doc:    "How many requests of one user are worked on at a time, between 1 and 1000.",
			target: func(c *Config) any { return &c.Limits.ConcurrentPerUser },
			check: func(c *Config) string {
				return unless(c.Limits.ConcurrentPerUser >= 1 && c.Limits.ConcurrentPerUser <= 1000, "is not between 1 and 1000")
			}},
		{key: "metrics.listen", kind: "string", standard: `""`, fixed: true,
			doc:    "Address of the metrics service.",
			target: func(c *Config) any { return &c.Metrics.Listen }},
	}
}

// unless returns the complaint when ok is false.
func unless(ok bool, complaint string) string {
	if ok {
		return ""
	}
	return complaint
}

// keys returns the names of all keys.
func keys() []string {
	var names []string
	for _, d := range definitions() {
		names = append(names, d.key)
	}
	return names
}

// sections returns the names of all sections in their order.
func sections() []string {
	var names []string
	for _, d := range definitions() {
		if s := sectionOf(d.key); !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}

func isSection(name string) bool { return slices.Contains(sections(), name) }

// sectionOf returns a key without its last part.
func sectionOf(key string) string { return key[:strings.LastIndexByte(key, '.')] }
