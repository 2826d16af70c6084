//go:build interop

package httpauth

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// realm is a Kerberos realm with one KDC on loopback and a principal for testUser.
type realm struct {
	t       *testing.T
	dir     string
	conf    string // krb5.conf
	keytab  string // of testUser
	service string // keytab of HTTP/localhost
	env     []string
}

const principalName = testUser + "@TEST.EXAMPLE"

// newRealm makes a realm; tickets live for as long as said.
func newRealm(t *testing.T, life string) *realm {
	t.Helper()
	need(t, "krb5-kdc", "/usr/sbin/krb5kdc", "/usr/sbin/kdb5_util")
	need(t, "krb5-admin-server", "/usr/sbin/kadmin.local")
	need(t, "krb5-user", "kinit")
	dir, port := t.TempDir(), freePort(t)
	r := &realm{t: t, dir: dir, keytab: filepath.Join(dir, "user.keytab"), service: filepath.Join(dir, "service.keytab")}
	snippets := filepath.Join(dir, "krb5.conf.d")
	if err := os.Mkdir(snippets, 0o700); err != nil {
		t.Fatal(err)
	}
	// As distributions do it: the realm stands in a snippet.
	write(t, snippets, "realm", "[realms]\nTEST.EXAMPLE = {\n  kdc = 127.0.0.1:"+port+"\n}\n")
	r.conf = write(t, dir, "krb5.conf", "includedir "+snippets+"\n[libdefaults]\ndefault_realm = TEST.EXAMPLE\ndns_lookup_kdc = false\nrdns = false\n")
	profile := write(t, dir, "kdc.conf", fmt.Sprintf(`[kdcdefaults]
kdc_listen = 127.0.0.1:%[2]s
kdc_tcp_listen = 127.0.0.1:%[2]s
[realms]
TEST.EXAMPLE = {
  database_name = %[1]s/principal
  key_stash_file = %[1]s/stash
  acl_file = %[1]s/kadm5.acl
  max_life = %[3]s
  default_principal_flags = +preauth
}
[logging]
kdc = FILE:%[1]s/kdc.log
`, dir, port, life))
	r.env = append(os.Environ(), "KRB5_CONFIG="+r.conf, "KRB5_KDC_PROFILE="+profile)
	r.run("/usr/sbin/kdb5_util", "create", "-s", "-r", "TEST.EXAMPLE", "-P", "master")
	r.kadmin("addprinc -randkey " + testUser)
	r.kadmin("addprinc -randkey HTTP/localhost")
	r.kadmin("ktadd -k " + r.keytab + " " + testUser)
	r.kadmin("ktadd -k " + r.service + " HTTP/localhost")
	cmd := exec.Command("/usr/sbin/krb5kdc", "-n", "-P", filepath.Join(dir, "pid"))
	cmd.Env = r.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	listening(t, port)
	return r
}

func (r *realm) kadmin(query string) {
	r.t.Helper()
	r.run("/usr/sbin/kadmin.local", "-r", "TEST.EXAMPLE", "-q", query)
}

func (r *realm) run(name string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = r.env
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// kinit makes a credential cache with the keytab.
func (r *realm) kinit() string {
	path := filepath.Join(r.dir, "ccache")
	r.run("kinit", "-c", path, "-k", "-t", r.keytab, testUser)
	return path
}

// client signs in to a server as testUser with the keytab.
func (r *realm) client(t *testing.T, x *apache, change func(*Options)) *exchangeTest {
	return newClient(t, x.url, x.pool, func(o *Options) {
		o.Method, o.Username, o.Password, o.Now, o.MaxConns = Kerberos, principalName, nil, nil, 1
		o.Kerberos = KerberosOptions{Keytab: r.keytab, Config: r.conf}
		if change != nil {
			change(o)
		}
	})
}

// apache starts the service HTTP/localhost.
func (r *realm) apache(t *testing.T, directives string) *apache {
	t.Helper()
	key, err := os.ReadFile(r.service)
	if err != nil {
		t.Fatal(err)
	}
	dir := peerFolder(t)
	name := put(t, filepath.Join(dir, "krb5.conf"), "[libdefaults]\ndefault_realm = TEST.EXAMPLE\nrdns = false\n", 0o644)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return newApache(t, "GssapiAllowedMech krb5\nGssapiAcceptorName HTTP@localhost\nGssapiCredStore keytab:FOLDER/service.keytab\nGssapiCredStore rcache:none:\n"+directives,
		[]string{"KRB5_CONFIG=" + name, "KRB5RCACHENAME=none:"}, map[string][]byte{"service.keytab": key})
}

func askAll(t *testing.T, c *exchangeTest, questions int) {
	t.Helper()
	for i := range questions {
		q := fmt.Sprintf("<q>%d</q>", i)
		if status, body, err := c.ask(t, q); status != 200 || body != "echo "+q || err != nil {
			t.Fatalf("question %d: %d %q %v", i, status, body, err)
		}
	}
}

// TestInteropKerberosApache signs in to mod_auth_gssapi with tickets of MIT's KDC.
func TestInteropKerberosApache(t *testing.T) {
	r := newRealm(t, "1h")
	for name, tc := range map[string]struct {
		directives string
		change     func(*Options)
		requests   int // for 10 questions
	}{
		"keytab, connection signed in": {"GssapiConnectionBound On", nil, 11},
		"keytab, token each time":      {"GssapiConnectionBound Off", nil, 12},
		"credential cache": {"GssapiConnectionBound On", func(o *Options) {
			o.Username, o.Kerberos.Keytab, o.Kerberos.CredentialCache = "", "", r.kinit()
		}, 11},
		"name of the service": {"GssapiConnectionBound On", func(o *Options) { o.Kerberos.Service = "HTTP/localhost" }, 11},
		"default realm":       {"GssapiConnectionBound On", func(o *Options) { o.Username = testUser }, 11},
	} {
		t.Run(name, func(t *testing.T) {
			x := r.apache(t, tc.directives)
			askAll(t, r.client(t, x, tc.change), 10)
			if user, _ := x.user.Load().(string); user != principalName {
				t.Errorf("signed in as %q", user)
			}
			// Apache writes its log after its answer.
			for deadline := time.Now().Add(time.Minute); x.seen(t) < tc.requests && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			if n := x.seen(t); n != tc.requests {
				t.Errorf("%d requests for 10 questions, want %d", n, tc.requests)
			}
		})
	}
}

// TestInteropKerberosRefusals holds that a KDC is not asked for ever with a key it refuses.
func TestInteropKerberosRefusals(t *testing.T) {
	r := newRealm(t, "1h")
	x := r.apache(t, "GssapiConnectionBound On")
	c := r.client(t, x, nil)
	askAll(t, c, 2)
	old, err := os.ReadFile(r.keytab)
	if err != nil {
		t.Fatal(err)
	}
	r.kadmin("cpw -randkey " + testUser) // the password changed, the keytab did not
	if err := os.WriteFile(r.keytab, append(old, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	for i := range 4 {
		_, _, err := c.ask(t, "q")
		var u interface{ Unauthorized() bool }
		if err == nil || !errors.As(err, &u) || !u.Unauthorized() || errors.Is(err, ErrLockedOut) != (i >= 2) {
			t.Errorf("try %d: %v", i, err)
		}
	}
	log, _ := os.ReadFile(filepath.Join(r.dir, "kdc.log"))
	if n := strings.Count(string(log), "PREAUTH_FAILED"); n != 2 {
		t.Errorf("the KDC refused %d times, want 2", n)
	}
	_ = os.Remove(r.keytab)
	r.kadmin("ktadd -k " + r.keytab + " " + testUser)
	askAll(t, c, 2) // a new key is tried at once
}

// TestInteropKerberosNoSuchService asks for a name that is not registered, which says nothing about the credential.
func TestInteropKerberosNoSuchService(t *testing.T) {
	r := newRealm(t, "1h")
	x := r.apache(t, "GssapiConnectionBound On")
	c := r.client(t, x, func(o *Options) { o.Kerberos.Service = "HTTP/nowhere.example" })
	for range 3 {
		_, _, err := c.ask(t, "q")
		var h interface{ Hint() string }
		if !errors.As(err, &h) || !strings.Contains(h.Hint(), "service_principal") || errors.Is(err, ErrLockedOut) {
			t.Errorf("%v", err)
		}
	}
}

// TestInteropKerberosRenews asks for longer than a ticket lives.
func TestInteropKerberosRenews(t *testing.T) {
	r := newRealm(t, "6s")
	x := r.apache(t, "GssapiConnectionBound Off")
	c := r.client(t, x, nil)
	var passed atomic.Int64
	c2 := r.client(t, x, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	})
	askAll(t, c, 1)
	askAll(t, c2, 1)
	asked := func() int {
		log, _ := os.ReadFile(filepath.Join(r.dir, "kdc.log"))
		return strings.Count(string(log), "TGS_REQ")
	}
	before := asked()
	passed.Store(int64(5100 * time.Millisecond)) // in the last sixth of its life
	askAll(t, c2, 3)
	if n := asked() - before; n < 1 {
		t.Errorf("%d new tickets, want one", n)
	}
}

// TestInteropKerberosStaleCache asks with a credential cache that nobody renewed, and then did.
func TestInteropKerberosStaleCache(t *testing.T) {
	r := newRealm(t, "1h")
	x := r.apache(t, "GssapiConnectionBound Off")
	path := r.kinit()
	late := time.Now().Add(2 * time.Hour)
	c := r.client(t, x, func(o *Options) {
		o.Kerberos.Keytab, o.Kerberos.CredentialCache = "", "FILE:"+path
		o.Now = func() time.Time { return late }
	})
	_, _, err := c.ask(t, "q")
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "kinit") {
		t.Errorf("%v", err)
	}
	late = time.Now()
	r.kinit()
	askAll(t, c, 2)
}
