package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// maxSocketPath is the longest path of a Unix socket on Linux, in bytes: sun_path of unix(7) without its terminator.
const maxSocketPath = 107

// checkURL accepts what a request can be sent to without surprises.
func checkURL(c *Config) string {
	if c.Exchange.URL == "" {
		return ""
	}
	u, err := url.Parse(c.Exchange.URL)
	switch {
	case err != nil:
		return "is not a web address" // the error of url.Parse would repeat a password written into it
	case u.User != nil:
		return "has a user or password in it; use [exchange.auth]"
	case strings.ContainsAny(c.Exchange.URL, "?#"):
		return "has a query or fragment; write the address without what follows ? or #"
	case u.Scheme != "https" && u.Scheme != "http":
		return `does not begin with "https://"`
	case u.Hostname() == "" || u.Opaque != "":
		return "has no host"
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "is plain http, which is accepted for loopback addresses only; write https"
	}
	return ""
}

// isLoopback reports a host that never leaves this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

func checkUsername(c *Config) string {
	return unless(len(c.Exchange.Auth.Username) <= 320, "is longer than 320 bytes")
}

func checkUserAgent(c *Config) string {
	ua := c.Exchange.UserAgent
	ok := strings.TrimSpace(ua) == ua && ua != "" && len(ua) <= 200 && !strings.ContainsFunc(ua, func(r rune) bool { return r < ' ' || r > '~' })
	return unless(ok, "is not 1 to 200 characters of printable ASCII without a space at either end")
}

func checkMailbox(c *Config) string {
	if c.Exchange.Mailbox == "" {
		return ""
	}
	a, err := mailaddr.Parse(c.Exchange.Mailbox)
	ok := err == nil && !strings.ContainsFunc(string(a), func(r rune) bool { return r > '~' })
	return unless(ok, "is not a mail address in ASCII")
}

// checkPolicyMet accepts names of elements; whether there are such, package eas knows.
func checkPolicyMet(c *Config) string {
	const most = 100
	if len(c.Exchange.EAS.PolicyMet) > most {
		return fmt.Sprintf("has more than %d names", most)
	}
	return ""
}

func checkJitter(c *Config) string {
	return unless(c.Sync.Jitter <= day, "is more than a day")
}

func checkSocketPath(c *Config) string {
	path := c.Socket.Path
	switch {
	case path == "":
		return "is empty"
	case len(path) > maxSocketPath:
		return fmt.Sprintf("is %d bytes long; a Unix socket has at most %d", len(path), maxSocketPath)
	case within(path, "/tmp") || within(path, "/var/tmp"):
		return "is in a folder that everybody can write to; use one of your own, such as $XDG_RUNTIME_DIR"
	}
	return ""
}

// within reports whether the clean path lies in dir or is dir.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

func checkAddresses(c *Config) string {
	const most = 10_000
	if len(c.Sync.Addresses) > most {
		return fmt.Sprintf("has more than %d addresses", most)
	}
	for _, a := range c.Sync.Addresses {
		if _, err := mailaddr.Parse(a); err != nil {
			return fmt.Sprintf("%q is not a mail address", a)
		}
	}
	return ""
}

func checkUpstream(c *Config) string {
	switch {
	case c.Upstream.Socket == "":
		return ""
	case c.Role == RoleSystem:
		return "is for the user role; the system service reads Exchange itself"
	case len(c.Upstream.Socket) > maxSocketPath:
		return fmt.Sprintf("is %d bytes long; a Unix socket has at most %d", len(c.Upstream.Socket), maxSocketPath)
	}
	return ""
}

func checkAdmins(c *Config) string {
	for _, name := range c.Socket.Admins {
		bare := strings.TrimPrefix(name, "@")
		if bare == "" || len(bare) > 256 || strings.ContainsAny(bare, "@: ,") {
			return fmt.Sprintf("%q is neither a user name nor a group name with @ before it", name)
		}
	}
	return ""
}

func checkAnchors(c *Config) string {
	for _, pattern := range c.Trust.Anchors {
		if pattern == "" {
			return `has an empty name`
		}
		if _, err := filepath.Match(pattern, ""); err != nil {
			return fmt.Sprintf("%q is not a valid pattern", pattern)
		}
	}
	return ""
}

// together finds what is wrong between keys.
func (c *Config) together() Problems {
	var ps Problems
	complain := func(bad bool, key, format string, args ...any) {
		if bad {
			ps = append(ps, c.Problem(key, format, args...))
		}
	}
	e := c.Exchange
	withPassword := e.Auth.Method == "ntlm" || e.Auth.Method == "basic"
	complain(e.URL == "" && c.Role == RoleSystem && !c.incomplete, "exchange.url", "is missing; set the address of the server, such as %q", "https://mail.example.com/EWS/Exchange.asmx")
	complain(e.CAOnly && e.CAFile == "", "exchange.ca_only", "needs ca_file")
	complain(e.URL != "" && withPassword && e.Auth.Username == "", "exchange.auth.username", "is missing; method %q needs it", e.Auth.Method)
	complain(e.URL != "" && withPassword && e.Auth.PasswordFile == "", "exchange.auth.password_file", "is missing; method %q needs it", e.Auth.Method)
	complain(e.Auth.Method == "kerberos" && (e.Auth.KeytabFile == "") == (e.Auth.CredentialCache == ""), "exchange.auth.keytab_file", "or credential_cache is needed by method \"kerberos\", one of them")
	complain(e.Auth.Method == "kerberos" && e.Auth.KeytabFile != "" && e.Auth.Username == "", "exchange.auth.username", "is missing; it is the principal of the keytab")
	complain(e.URL != "" && e.Auth.Method == "none" && checkURL(c) == "" && !urlIsLoopback(e.URL), "exchange.auth.method", `"none" is accepted for loopback addresses only`)
	complain(e.URL != "" && e.Protocol == "ews" && e.Auth.Method == "oauth2" && e.Auth.ClientSecretFile != "" && e.Mailbox == "", "exchange.mailbox", "is missing; client credentials have no mailbox of their own, and Exchange resolves names only for an account with one")
	complain(e.Protocol == "eas" && e.Mailbox != "", "exchange.mailbox", `is for protocol "ews"; ActiveSync acts for the account alone`)
	complain(e.Protocol == "eas" && e.EAS.Query == "plain" && e.Auth.Username == "", "exchange.auth.username", `is missing; exchange.eas.query = "plain" names it in each request`)
	ps = append(ps, c.unusedAuth()...)
	complain(e.ClientCertFile == "" && e.ClientKeyFile != "", "exchange.client_key_file", "needs client_cert_file")
	complain(e.ClientCertFile == "" && e.ClientCertPassphraseFile != "", "exchange.client_cert_passphrase_file", "needs client_cert_file")
	complain(e.Auth.Tenant != "" && e.Auth.TokenURL != "", "exchange.auth.token_url", "and tenant name two servers; set one of them")
	complain(e.Auth.Tenant != "" && e.Auth.DeviceURL != "", "exchange.auth.device_url", "and tenant name two servers; set one of them")
	eas := e.EAS
	for _, k := range []struct {
		key  string
		used bool
	}{{"version", eas.Version != "auto"}, {"query", eas.Query != "base64"}, {"accept_contacts", eas.AcceptContacts},
		{"check_revocation", eas.CheckRevocation}, {"policy_met", len(eas.PolicyMet) > 0}} {
		complain(k.used && e.Protocol != "eas", "exchange.eas."+k.key, `is for protocol "eas", and exchange.protocol is %q`, e.Protocol)
	}
	ps = append(ps, c.otherRole()...)
	complain(c.Cache.WarnAfter >= c.Cache.RefuseAfter, "cache.refuse_after", "is not more than warn_after, which is %s", formatDuration(c.Cache.WarnAfter))
	return ps
}

// otherRole finds what is set for the other role, or for a server that is not named: it would do nothing here.
func (c *Config) otherRole() (ps Problems) {
	env := newEnvironment()
	for _, d := range definitions() {
		var why string
		switch name := d.key; {
		case c.Role == RoleSystem && (name == "keyring.unlock_for" || name == "keyring.passphrase_file" || name == "keyring.pinentry"):
			why = "is for the user role; the system service holds no private keys"
		case c.Role == RoleSystem && name == "upstream.installed":
			why = "is for the user role; the system service reads Exchange itself"
		case c.Role == RoleUser && name == "socket.admins":
			why = "is for the system role; a user's service works for that user alone"
		case c.Role == RoleUser && c.Exchange.URL == "" && !c.incomplete && (strings.HasPrefix(name, "exchange.") && name != "exchange.url" || name == "sync.addresses"):
			why = "does nothing without exchange.url"
		}
		if why != "" && literal(d.target(c)) != env.expand(d.initial(c.Role)) {
			ps = append(ps, c.Problem(d.key, "%s", why))
		}
	}
	return ps
}

// unusedAuth finds what is set for another way to sign in than the one that is used.
func (c *Config) unusedAuth() (ps Problems) {
	method, defined := c.Exchange.Auth.Method, definitionsByKey()
	if !slices.Contains(defined["exchange.auth.method"].values, method) {
		return nil // wrong enough
	}
	for _, k := range []struct{ methods, keys []string }{
		{[]string{"ntlm", "basic"}, []string{"password_file"}},
		{[]string{"kerberos"}, []string{"keytab_file", "credential_cache", "krb5_config", "service_principal"}},
		{[]string{"oauth2"}, []string{"tenant", "token_url", "device_url", "client_id", "scopes", "token_file", "client_secret_file",
			"access_token_file", "access_token_command"}},
	} {
		for _, name := range k.keys {
			d := defined["exchange.auth."+name]
			if set := literal(d.target(c)) != d.standard; set && !slices.Contains(k.methods, method) {
				ps = append(ps, c.Problem(d.key, `is for method %s, and exchange.auth.method is %q`, strings.Join(quoteAll(k.methods), " or "), method))
			}
		}
	}
	return ps
}

func urlIsLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && isLoopback(u.Hostname())
}

func checkRevocationRequired(c *Config) string {
	return unless(!c.Trust.RevocationRequired || c.Trust.Revocation != "off", `is true, but trust.revocation is "off": nobody could be encrypted to`)
}

// checkRevocationAllow accepts host names, IP addresses and networks.
func checkRevocationAllow(c *Config) string {
	const most = 256
	if len(c.Trust.RevocationAllow) > most {
		return fmt.Sprintf("has more than %d entries", most)
	}
	for _, text := range c.Trust.RevocationAllow {
		_, addrErr := netip.ParseAddr(text)
		_, networkErr := netip.ParsePrefix(text)
		if addrErr != nil && networkErr != nil && (text == "" || strings.ContainsAny(text, "/:@* \t")) {
			return fmt.Sprintf("has %q, which is not a host name, an address or a network", text)
		}
	}
	return ""
}
