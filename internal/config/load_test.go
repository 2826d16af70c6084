package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// minimal is the shortest system configuration that loads.
const minimal = `[exchange]
url = "https://mail.example.com/EWS/Exchange.asmx"
[exchange.auth]
username = 'EXAMPLE\svc'
password_file = "password"
`

func setHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	return home
}

func load(t *testing.T, text string, role Role, checks ...Check) (*Config, error) {
	t.Helper()
	return parse("config.toml", []byte(text), role, checks)
}

func TestMinimalFileHasTheDefaults(t *testing.T) {
	home := setHome(t)
	c, err := load(t, minimal, RoleSystem)
	if err != nil {
		t.Fatal(err)
	}
	if c.Exchange.Auth.Username != `EXAMPLE\svc` || c.Exchange.Auth.Method != "ntlm" || c.Sync.Jitter != 2*time.Hour ||
		c.Sync.MaxRemovals != 0.2 || c.Limits.MaxMessage != 100_000_000 || c.Cache.Dir != "/var/lib/galsyncd" ||
		c.Cache.RefuseAfter != 90*24*time.Hour || !c.Sync.FullGAL || c.Sync.Contacts || c.Trust.Revocation != "crl" || c.Keyring.Dir != "" ||
		c.Sync.OnlineTimeout != 1500*time.Millisecond || c.Socket.Path != "/run/galsyncd/galsyncd.sock" || len(c.Socket.Admins) != 2 {
		t.Errorf("unexpected defaults: %+v", c)
	}
	u, err := load(t, "", RoleUser)
	if err != nil {
		t.Fatalf("an empty file is a user configuration without a server: %v", err)
	}
	if u.Cache.Dir != filepath.Join(home, ".cache/galsyncd") || u.Keyring.Dir != filepath.Join(home, ".local/share/galsyncd") ||
		u.Socket.Path != "/run/user/1000/galsyncd/galsyncd.sock" || !u.Sync.Contacts {
		t.Errorf("unexpected user defaults: %+v", u)
	}
}

func TestDefaultsFollowXDG(t *testing.T) {
	setHome(t)
	t.Setenv("XDG_CACHE_HOME", `/c/"q\`)
	t.Setenv("XDG_DATA_HOME", "relative/is/ignored")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("HOME", "/h")
	c := Default(RoleUser)
	if c.Cache.Dir != `/c/"q\/galsyncd` || c.Keyring.Dir != "/h/.local/share/galsyncd" ||
		c.Socket.Path != fmt.Sprintf("/run/user/%d/galsyncd/galsyncd.sock", os.Getuid()) {
		t.Errorf("got %q, %q, %q", c.Cache.Dir, c.Keyring.Dir, c.Socket.Path)
	}
	t.Setenv("HOME", "/with\na line")
	if _, err := load(t, "", RoleUser); err == nil || !strings.Contains(err.Error(), "keyring.dir: has no default without $HOME") {
		t.Errorf("without a home: %v", err)
	}
}

// TestRefusals gives one bad line each, in line 6 below the minimal file, and the sentence that refuses it.
func TestRefusals(t *testing.T) {
	setHome(t)
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", "[sync]\nschedul = \"\"", `config.toml:7: sync.schedul: unknown key; did you mean sync.schedule?`},
		{"key of another section", "[sync]\npassword_file = \"\"", `config.toml:7: sync.password_file: unknown key; did you mean exchange.auth.password_file?`},
		{"no near key", "[sync]\nzzzzzzzzzzzzzz = 1", `config.toml:7: sync.zzzzzzzzzzzzzz: unknown key`},
		{"unknown section", "[trsut]", `config.toml:6: trsut: unknown section; did you mean trust?`},
		{"quoted key is another key", `"sync.schedule" = ""`, `unknown key`},
		{"list of tables", "[[sync]]", `config.toml:6: sync: is written once, as [sync], not as [[sync]]`},
		{"section as value", "[sync]\n[exchange.auth.method]", `unknown section`},
		{"section twice", "[sync]\n[sync]", `config.toml:7: sync: the section is here twice; the first is on line 6`},
		{"key twice", "[sync]\nschedule=\"\"\nschedule=\"\"", `config.toml:8: sync.schedule: is set twice; the first is on line 7`},
		{"dotted key into a section", "[sync]\njitter = \"1h\"\n[exchange]\nauth.method = \"basic\"", `the section is here twice`},
		{"table through a dotted key", "[sync]\n[cache]\n\"dir\" = \"/x\"\ndir.x = 1", `unknown key`},
		{"number for text", "[sync]\njitter = 2", `config.toml:7: sync.jitter: is a number; write a duration, such as "2h"`},
		{"text for number", "[limits]\nconcurrent_per_user = \"8\"", `is a text; write a number, such as 8`},
		{"text for list", "[trust]\nanchors = \"system\"", `is a text; write a list of strings`},
		{"list of numbers", "[trust]\nanchors = [1]", `is a list; write a list of strings`},
		{"date", "[sync]\nschedule = 2020-01-01", `is a date or time; write a string`},
		{"bad duration", "[sync]\njitter = \"2 hours\"", `"2 hours" is not a duration`},
		{"negative duration", "[sync]\njitter = \"-2h\"", `is out of range`},
		{"long duration", "[cache]\nrefuse_after = \"99999d\"", `is out of range`},
		{"bad size", "[limits]\nmax_message = \"100\"", `"100" is not a size`},
		{"huge size", "[limits]\nmax_message = \"99999999999GB\"", `is not a size`},
		{"size out of range", "[limits]\nmax_message = \"5GB\"", `is not between 1kB and 4GB`},
		{"bad percentage", "[sync]\nmax_removals = \"120%\"", `is not a percentage`},
		{"not a number", "[sync]\nrequests_per_second = nan", `is not between 0.1 and 1000`},
		{"control character", "[ldap]\nbase_dn = \"a=\\u0000\"", `has a control character`},
		{"warn after refuse", "[cache]\nwarn_after = \"100d\"", `config.toml: cache.refuse_after: is not more than warn_after, which is 100d`},
		{"relative dir", "[cache]\ndir = \"cache\"", `"cache" is not an absolute path`},
		{"socket in tmp", "[socket]\npath = \"/tmp/x/../s\"", `is in a folder that everybody can write to`},
		{"socket in var tmp", "[socket]\npath = \"/var/tmp/s\"", `is in a folder that everybody can write to`},
		{"socket relative", "[socket]\npath = \"s\"", `not an absolute path`},
		{"socket too long", "[socket]\npath = \"/" + strings.Repeat("s", 107) + "\"", `is 108 bytes long; a Unix socket has at most 107`},
		{"admin", "[socket]\nadmins = [\"@\"]", `is neither a user name nor a group name`},
		{"bad pattern", "[trust]\nanchors = [\"[\"]", `is not a valid pattern`},
		{"unknown value", "[trust]\ngal = \"maybe\"", `"maybe" is not one of the possible values; set "chain" or "accept"`},
		{"ca_only", "exchange.ca_only = true", `exchange.ca_only`},
		// What this version does not have.
		{"eas", "[exchange.x]", `unknown section`},
		{"revocation", "[trust]\nrevocation = \"on\"", `config.toml:7: trust.revocation: "on" is not one of`},
		{"required", "[trust]\nrevocation = \"off\"\nrevocation_required = true", `trust.revocation is "off"`},
		{"allow", "[trust]\nrevocation_allow = [\"http://pki.example.com/\"]", `is not a host name, an address or a network`},
		{"allow empty", "[trust]\nrevocation_allow = [\"10.0.0.0/8\", \"\"]", `is not a host name, an address or a network`},
		{"list size", "[trust]\nrevocation_max_size = \"1kB\"", `is not between 64KiB and 256MiB`},
		{"ldap", "[ldap]\nlisten = [\"127.0.0.1:389\"]", `["127.0.0.1:389"] is not built into this version; set []`},
		{"ldap base", "[ldap]\nbase_dn = \"dc=example\"", `"dc=example" is not built into this version; set "ou=people,dc=galsyncd"`},
		{"passphrase", "[keyring]\npassphrase_file = \"p\"", `config.toml:7: keyring.passphrase_file: is for the user role`},
		{"pinentry", "[keyring]\npinentry = \"none\"", `is for the user role`},
		{"unlock_for", "[keyring]\nunlock_for = \"1h\"", `is for the user role`},
		{"word of administrators", "[upstream]\ninstalled = \"chain\"", `is for the user role`},
		{"metrics", "[metrics]\nlisten = \"127.0.0.1:9464\"", `is not built into this version; set ""`},
		{"upstream", "[upstream]\nsocket = \"/run/x\"", `is for the user role`},
		{"addresses", "[sync]\naddresses = [\"a b\"]", `"a b" is not a mail address`},
		{"cipher", "[encryption]\ncipher = \"rc2\"", `"rc2" is not one of the possible values; set "auto" or "aes-256-cbc" or "aes-256-gcm"`},
		{"sendmail", "[sendmail]\ncommand = [\"/bin/sh\"]", `["/bin/sh"] is not built into this version; set ["/usr/sbin/sendmail", "-i"]`},
		{"backslash", "[cache]\ndir = \"CORP\\svc\"", `single quotes: 'EXAMPLE\user'`},
		{"bare word", "[encryption]\ncipher = nothing", `a text stands in quotes`},
		{"bare duration", "[sync]\nmax_removals = 20%", `so do durations and percentages`},
		{"syntax", "[sync]\nschedule = ", `config.toml:7: `},
		{"not UTF-8", "# \xff", `config.toml:6: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, minimal+tt.text+"\n", RoleSystem)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			var ps Problems
			if err != nil && (!errors.As(err, &ps) || len(ps) != 1) {
				t.Errorf("%d problems instead of one: %v", len(ps), err)
			}
		})
	}
}

// TestIncomplete: who looks for the server need not name it; all else holds.
func TestIncomplete(t *testing.T) {
	setHome(t)
	path := filepath.Join(t.TempDir(), "config.toml")
	const auth = "[exchange]\nca_file = \"/ca.pem\"\n[exchange.auth]\nusername = \"me\"\npassword_file = \"p\"\n"
	for _, role := range []Role{RoleSystem, RoleUser} {
		if err := os.WriteFile(path, []byte(auth), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := LoadIncomplete(path, role); err != nil || c.Exchange.Auth.Username != "me" || c.Cache.Dir != Default(role).Cache.Dir {
			t.Errorf("%s: %v", role, err)
		}
		if _, err := Load(path, role); err == nil {
			t.Errorf("%s: no server, and no complaint", role)
		}
		if err := os.WriteFile(path, []byte(auth+"[cache]\ndirectory = \"/x\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIncomplete(path, role); err == nil || !strings.Contains(err.Error(), "cache.directory") {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// TestNothingIsIgnored: what would do nothing in the user role, or without a server, is refused.
func TestNothingIsIgnored(t *testing.T) {
	setHome(t)
	const server = "exchange.url = \"http://127.0.0.1/EWS\"\nexchange.auth.method = \"none\"\n"
	for text, want := range map[string]string{
		"":     "",
		server: "",
		server + "sync.addresses = [\"a@b.example\"]": "",
		"exchange.protocol = \"eas\"":                 "config.toml:1: exchange.protocol: does nothing without exchange.url",
		"exchange.auth.username = \"me\"":             "exchange.auth.username: does nothing without exchange.url",
		"exchange.ca_file = \"/etc/ca.pem\"":          "exchange.ca_file: does nothing without exchange.url",
		"sync.addresses = [\"a@b.example\"]":          "sync.addresses: does nothing without exchange.url",
		server + "socket.admins = [\"alice\"]":        "config.toml:3: socket.admins: is for the system role",
		"keyring.unlock_for = \"1h\"\nupstream.installed = \"chain\"\nkeyring.pinentry = \"none\"": "",
	} {
		_, err := load(t, text, RoleUser)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestExchangeRules(t *testing.T) {
	setHome(t)
	for _, tt := range []struct{ exchange, want string }{
		{`url = "http://127.0.0.1:8080/EWS"` + "\nauth.method = \"none\"", ""},
		{`url = "http://[::1]/EWS"` + "\nauth.method = \"none\"", ""},
		{`url = "https://localhost/EWS"` + "\nauth.method = \"none\"", ""},
		{`url = "HTTPS://h.example/EWS"` + "\nauth = { method = \"basic\", username = \"u\", password_file = \"p\" }", ""},
		{`url = "http://mail.example.com/EWS"`, "is plain http, which is accepted for loopback addresses only"},
		{`url = "http://127.0.0.1.example/EWS"`, "is plain http"},
		{`url = "http://[::1%25lo]/EWS"`, "is plain http"},
		{`url = "ftp://mail.example.com/EWS"`, `does not begin with "https://"`},
		{`url = "https:mail.example.com"`, "has no host"},
		{`url = "https:///EWS"`, "has no host"},
		{`url = "https://u:hunter2@mail.example.com/EWS"`, "has a user or password in it"},
		{`url = "https://u:hunter2%zz@mail.example.com/EWS"`, "is not a web address"},
		{`url = "https://mail.example.com/EWS?x"`, "has a query or fragment"},
		{`url = "https://mail.example.com/EWS#"`, "has a query or fragment"},
		{`url = "https://mail.example.com/EWS"` + "\nauth.method = \"none\"", `config.toml:3: exchange.auth.method: "none" is accepted for loopback addresses only`},
		{`url = "https://mail.example.com/EWS"`, "exchange.auth.username: is missing"},
		{`url = "https://mail.example.com/EWS"`, "exchange.auth.password_file: is missing"},
		{`protocol = "imap"`, `config.toml:2: exchange.protocol: "imap" is not one of the possible values; set "ews" or "eas"`},
		{`protocol = "eas"` + "\nmailbox = \"a@b.example\"", `config.toml:3: exchange.mailbox: is for protocol "ews"`},
		{`eas.version = "16.1"`, `config.toml:2: exchange.eas.version: is for protocol "eas", and exchange.protocol is "ews"`},
		{`protocol = "eas"` + "\neas.version = \"2.5\"", `config.toml:3: exchange.eas.version: "2.5" is not one of the possible values`},
		{`protocol = "eas"` + "\neas.query = \"plain\"\nauth.method = \"oauth2\"", "exchange.auth.username: is missing; exchange.eas.query"},
		{`auth.method = "kerberos"`, `exchange.auth.keytab_file: or credential_cache is needed by method "kerberos"`},
		{`auth.method = "digest"`, `"digest" is not one of the possible values`},
		{`auth = 5`, "exchange.auth: is a section; write [exchange.auth]"},
		{`ca_only = true`, "exchange.ca_only: needs ca_file"},
		{`client_key_file = "k"`, "exchange.client_key_file: needs client_cert_file"},
		{`client_cert_passphrase_file = "p"`, "exchange.client_cert_passphrase_file: needs client_cert_file"},
		{`auth.keytab_file = "k"`, `exchange.auth.keytab_file: is for method "kerberos", and exchange.auth.method is "ntlm"`},
		{`auth.client_secret_file = "s"`, `exchange.auth.client_secret_file: is for method "oauth2"`},
		{`auth.access_token_command = ["/bin/t"]`, `exchange.auth.access_token_command: is for method "oauth2"`},
		{"auth = { method = \"oauth2\", password_file = \"p\" }", `exchange.auth.password_file: is for method "ntlm" or "basic", and exchange.auth.method is "oauth2"`},
		{"auth = { method = \"oauth2\", tenant = \"t\", token_url = \"https://x.example/\" }", "exchange.auth.token_url: and tenant name two servers"},
		{"auth = { method = \"oauth2\", tenant = \"t\", device_url = \"https://x.example/\" }", "exchange.auth.device_url: and tenant name two servers"},
		{`url = "http://[::1]/EWS"` + "\nauth.method = \"none\"\nauth.keytab_file = \"\"", ""},
		{`protocol = "ews"`, "config.toml: exchange.url: is missing"},
		{`user_agent = "a\r\nX-Evil: 1"`, "exchange.user_agent: "},
		{`user_agent = ""`, "exchange.user_agent: is not 1 to 200 characters of printable ASCII"},
		{`user_agent = "gälsyncd"`, "is not 1 to 200 characters of printable ASCII"},
		{`user_agent = "galsyncd "`, "without a space at either end"},
		{`mailbox = "nobody"`, "exchange.mailbox: is not a mail address"},
		{`mailbox = "jürgen@example.com"`, "exchange.mailbox: is not a mail address in ASCII"},
		{`url = "https://h.example/EWS"` + "\nauth = { method = \"oauth2\", tenant = \"t\", client_id = \"c\", client_secret_file = \"s\" }",
			"exchange.mailbox: is missing; client credentials have no mailbox of their own"},
		{`url = "https://h.example/EWS"` + "\nmailbox = \"galsync@example.com\"\nauth = { method = \"oauth2\", tenant = \"t\", client_id = \"c\", client_secret_file = \"s\" }", ""},
	} {
		_, err := load(t, "[exchange]\n"+tt.exchange+"\n", RoleSystem)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s\ngot  %v\nwant %s", tt.exchange, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats a password", tt.exchange)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	setHome(t)
	_, err := load(t, "[exchange]\nurl = 1\n[sync]\njitter = \"x\"\nfoo = 1\n[trust]\nrevocation = \"on\"\n", RoleSystem,
		Check{Key: "sync.schedule", Verify: func(s string) error { return fmt.Errorf("%q is no schedule", s) }})
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 5 {
		t.Fatalf("got %d problems: %v", len(ps), err)
	}
	if ps[1].Line != 2 || ps[4].Line != 7 || ps[4].Key != "trust.revocation" {
		t.Errorf("not in the order of the file:\n%v", err)
	}
	many := strings.Repeat("x = 1\n", 5000)
	if _, err = load(t, many, RoleUser); strings.Count(err.Error(), "\n") != maxProblems || !strings.HasSuffix(err.Error(), "and 4900 more problems") {
		t.Errorf("the list is not bounded: %d lines", strings.Count(err.Error(), "\n"))
	}
}

func TestCheckPointsAtTheLine(t *testing.T) {
	setHome(t)
	check := Check{Key: "sync.schedule", Verify: func(s string) error {
		if s == "daily" {
			return errors.New(`"daily" is not a schedule`)
		}
		return nil
	}}
	if _, err := load(t, minimal+"sync.schedule = 'daily'\n", RoleSystem, check); err == nil {
		t.Error("a key below [exchange.auth] was taken for sync.schedule")
	}
	_, err := load(t, "sync.schedule = 'daily'\n"+minimal, RoleSystem, check)
	if err == nil || err.Error() != `config.toml:1: sync.schedule: "daily" is not a schedule` {
		t.Errorf("got %v", err)
	}
	if _, err = load(t, minimal, RoleSystem, check); err != nil {
		t.Error(err)
	}
}

func TestOverride(t *testing.T) {
	setHome(t)
	c, err := load(t, "[socket]\npath = \"/run/a\"\n", RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Override("socket.path", "/tmp/s", "GALSYNCD_SOCKET"); err == nil || !strings.HasPrefix(err.Error(), "GALSYNCD_SOCKET: socket.path: ") {
		t.Errorf("got %v", err)
	}
	if c.Socket.Path != "/run/a" || c.Origin("socket.path") != "config.toml:2" {
		t.Error("a refused override changed the configuration")
	}
	if err := c.Override("socket.path", "/run/b", "--socket"); err != nil || c.Socket.Path != "/run/b" || c.Origin("socket.path") != "--socket" {
		t.Errorf("got %v, %q, %q", err, c.Socket.Path, c.Origin("socket.path"))
	}
}

func TestLoadFiles(t *testing.T) {
	setHome(t)
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.toml"), RoleUser); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir, RoleUser); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("directory: %v", err)
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#\n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, RoleUser); err == nil || !strings.Contains(err.Error(), "larger than 256KiB") {
		t.Errorf("big: %v", err)
	}
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(minimal+"[keyring]\ndir = \"~/k\"\n[socket]\npath=\"/run/x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o646); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, RoleUser); err == nil || !strings.Contains(err.Error(), "mode 0646 lets everybody write to it; run chmod o-w on it") {
		t.Errorf("everybody can write: %v", err)
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(os.Getenv("HOME"), "k"); c.Keyring.Dir != want || c.Dir() != dir {
		t.Errorf("keyring.dir %q, Dir %q", c.Keyring.Dir, c.Dir())
	}
}

// everything has every key of the file's documentation, with values that this version refuses where it has to.
const everything = `
[exchange]
protocol  = "ews"
url       = "https://mail.example.com/EWS/Exchange.asmx"
ca_file   = "/etc/galsyncd/exchange-ca.pem"
[exchange.auth]
method        = "ntlm"
username      = 'EXAMPLE\svc-galsync'
password_file = "exchange-password"
[sync]
schedule  = "30 2 * * *"
jitter    = "2h"
full_gal  = true
contacts  = false
addresses = ["team@example.com"]
max_removals = "20%"
requests_per_second = 5
online_on_miss = false
online_timeout = "1.5s"
[cache]
dir = "/var/lib/galsyncd"
warn_after = "7d"
refuse_after = "90d"
[keyring]
dir = "~/.local/share/galsyncd"
[upstream]
socket = ""
[socket]
path  = "/run/galsyncd/galsyncd.sock"
admins = ["root", "@galsyncd-admin"]
[ldap]
listen  = []
base_dn = "ou=people,dc=galsyncd"
[trust]
anchors    = ["/etc/galsyncd/ca.d/*.pem"]
gal        = "chain"
revocation = "crl"
revocation_required = false
aia = false
[encryption]
cipher     = "auto"
[sendmail]
command = ["/usr/sbin/sendmail", "-i"]
[limits]
max_message = "100MB"
concurrent_per_user = 8
[metrics]
listen = ""
`

func TestEveryKeyIsKnown(t *testing.T) {
	setHome(t)
	for _, role := range []Role{RoleSystem, RoleUser} {
		if _, err := load(t, everything, role); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// FuzzLoad holds that no file makes the loader panic, and that what loads prints and loads again as the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("[sync]\nschedule = \"\"\"\n@every 6h\"\"\"\n[[a]]\nb = {c = [1, 2.5, true, 1979-05-27]}\n"))
	f.Add([]byte("exchange = { auth = { method = 'none' }, url = 'http://127.0.0.1' }\nsync.max_removals = '0.5%'\n"))
	f.Add([]byte("[cache]\nwarn_after = '1d2h3m4.5s'\n[limits]\nmax_message = '10MiB'\n[socket]\nadmins = []\npath = '~/x'\n"))
	f.Add([]byte("\xef\xbb\xbfa = "))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, role := range []Role{RoleSystem, RoleUser} {
			c, err := parse("config.toml", data, role, nil)
			if err != nil {
				var ps Problems
				if !errors.As(err, &ps) {
					t.Fatalf("an error of another type: %v", err)
				}
				continue
			}
			var first, second strings.Builder
			if err := c.Print(&first); err != nil {
				t.Fatal(err)
			}
			again, err := parse("config.toml", []byte(first.String()), role, nil)
			if err != nil {
				t.Fatalf("what was printed does not load: %v\n%s", err, first.String())
			}
			again.origins = c.origins
			if err := again.Print(&second); err != nil || first.String() != second.String() {
				t.Fatalf("printed\n%s\nthen\n%s", first.String(), second.String())
			}
		}
	})
}
