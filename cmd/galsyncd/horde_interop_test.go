//go:build interop

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/horde"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// town is a Horde behind a TLS front, and the program with a folder of its own.
type town struct {
	*testing.T
	horde *horde.Server
	front *httptest.Server
	page  atomic.Bool // the front answers everything with a page for people
	dir   string
}

// TestInteropHorde runs the whole program against an ActiveSync server that is not ours: the states of people, and that
// nothing is lost while its directory is down (it then says of everybody that it knows nobody of that name), while something
// in front of it answers with a page, and while it is not there at all.
func TestInteropHorde(t *testing.T) {
	company, stranger := authority(t, "company"), authority(t, "stranger")
	now := time.Now()
	states, unbelieved := map[string]string{}, map[string]string{"quentin@corp.example": "unknown"}
	var people []horde.Person
	add := func(name, state string, ca *testca.CA, o testca.Options) {
		p := horde.Person{Name: name, Alias: name, Address: name + "@corp.example"}
		states[p.Address] = state
		if ca != nil {
			if o.Addresses == nil {
				o.Addresses = []string{p.Address}
			}
			leaf, err := ca.Leaf(o)
			if err != nil {
				t.Fatal(err)
			}
			p.PEM = testca.CertificatePEM(leaf.Certificate)
		}
		people = append(people, p)
	}
	for i := range 20 {
		add(fmt.Sprintf("usable%02d", i), "encryptable", company, testca.Options{})
	}
	add("nora", "no-certificate", nil, testca.Options{})
	add("erik", "expired", company, testca.Options{NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(0, 0, -1)})
	add("petra", "not-yet-valid", company, testca.Options{NotBefore: now.AddDate(0, 0, 2), NotAfter: now.AddDate(1, 0, 0)})
	add("uwe", "untrusted", stranger, testca.Options{})
	add("walter", "wrong-address", company, testca.Options{Addresses: []string{"somebody.else@corp.example"}})
	states["quentin@corp.example"] = "unknown"

	c := newTown(t, people)
	c.configure("config.toml", company, states, "exchange.eas.accept_contacts = true")
	stop := c.serve("config.toml")
	c.sync("the first time", "complete")
	c.looksUp(states)
	c.exits(0, "encrypt", "mail.eml", "out.eml")

	c.horde.StopDirectory()
	for range 3 {
		c.sync("without its directory", "guarded")
		c.looksUp(states)
	}
	c.horde.StartDirectory()
	c.page.Store(true)
	for range 2 {
		c.sync("with a page", "failed")
		c.looksUp(states)
	}
	c.page.Store(false)
	c.sync("after the troubles", "complete")
	c.looksUp(states)
	stop()

	// A server that says of everybody that it is one of the account's own contacts is believed only when the setting says so.
	for address, state := range states {
		if state != "unknown" {
			unbelieved[address] = "unknown"
		}
	}
	c.configure("strict.toml", company, states)
	stop = c.serve("strict.toml")
	c.sync("without the setting", "incomplete")
	if !strings.Contains(c.exits(0, "status"), "accept_contacts") {
		t.Error("status does not name the setting")
	}
	c.looksUp(unbelieved)
	stop()

	// Offline: the same answers from what is in the cache.
	c.front.Close()
	stop = c.serve("config.toml")
	c.sync("offline", "failed")
	c.looksUp(states)
	stop()
}

func authority(t *testing.T, name string) *testca.CA {
	ca, err := testca.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newTown starts Horde and its front: Basic is shown over TLS only.
func newTown(t *testing.T, people []horde.Person) *town {
	c := &town{T: t, horde: horde.Start(t, people, horde.Options{}), dir: filepath.Join(socketRoot(t), "horde")}
	back, err := url.Parse(c.horde.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca := authority(t, "front")
	leaf, err := ca.Leaf(testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", back.Host }}
	c.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.page.Load() {
			fmt.Fprint(w, "<html><body>We are back soon.</body></html>")
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	c.front.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.Key}}}
	c.front.StartTLS()
	t.Cleanup(c.front.Close)
	for _, dir := range []string{c.dir, filepath.Join(c.dir, "home")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.write("front.pem", testca.CertificatePEM(ca.Certificate))
	c.write("password", []byte(horde.Password+"\n"))
	c.write("mail.eml", []byte("From: nora@corp.example\nTo: usable00@corp.example\nSubject: Plans\n\nThe secret of the mail.\n"))
	return c
}

func (c *town) write(name string, content []byte) {
	c.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
		c.Fatal(err)
	}
}

// configure writes a configuration with a cache of its own. This server finds nobody by the beginning of an address, so
// everybody is named.
func (c *town) configure(name string, company *testca.CA, states map[string]string, more ...string) {
	c.write("company.pem", testca.CertificatePEM(company.Certificate))
	addresses, err := json.Marshal(slices.Sorted(maps.Keys(states)))
	if err != nil {
		c.Fatal(err)
	}
	c.write(name, fmt.Appendf(nil, `exchange.protocol = "eas"
exchange.url = %q
exchange.ca_file = "front.pem"
exchange.auth.method = "basic"
exchange.auth.username = %q
exchange.auth.password_file = "password"
sync.schedule = ""
sync.full_gal = false
sync.addresses = %s
cache.dir = %q
socket.path = %q
trust.anchors = ["company.pem"]
%s
`, c.front.URL+"/Microsoft-Server-ActiveSync", horde.User, addresses, filepath.Join(c.dir, name+".cache"), filepath.Join(c.dir, "socket"), strings.Join(more, "\n")))
}

func (c *town) command(args ...string) *exec.Cmd {
	cmd := exec.Command("galsyncd", append([]string{"--socket", filepath.Join(c.dir, "socket")}, args...)...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "HOME="+filepath.Join(c.dir, "home"), "GALSYNCD_CONFIG="+filepath.Join(c.dir, "config.toml"))
	return cmd
}

// serve starts the daemon; what it returns stops it.
func (c *town) serve(config string) (stop func()) {
	c.Helper()
	cmd := c.command("--config", config, "serve")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			c.Errorf("the daemon ended with %v:\n%s", err, log.String())
		}
	})
	c.Cleanup(stop)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", filepath.Join(c.dir, "socket")); err == nil {
			conn.Close()
			return stop
		}
		if time.Now().After(deadline) {
			c.Fatalf("the daemon does not answer:\n%s", log.String())
		}
	}
}

// exits runs the program and returns its output; status -1 is any.
func (c *town) exits(status int, args ...string) string {
	c.Helper()
	cmd := c.command(args...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Run()); ok {
		got = exit.ExitCode()
	}
	if status >= 0 && got != status {
		c.Fatalf("galsyncd %s: exit status %d, not %d:\n%s%s", strings.Join(args, " "), got, status, out.String(), talk.String())
	}
	for _, complaint := range readAloud(talk.String(), got) {
		c.Error(complaint)
	}
	return out.String()
}

// sync runs one through the daemon.
func (c *town) sync(when, outcome string) {
	c.Helper()
	var report client.Report
	if err := json.Unmarshal([]byte(c.exits(-1, "--json", "sync")), &report); err != nil {
		c.Fatal(err)
	}
	c.Logf("%s: %s, %d entries, %d requests, %d missing, %d removed; %s", when, report.Outcome, report.Entries, report.Requests, report.Missing, report.Removed, report.Error)
	if report.Outcome != outcome || report.Missing+report.Removed != 0 {
		c.Errorf("%s: %+v", when, report)
	}
}

// looksUp asks for everybody.
func (c *town) looksUp(states map[string]string) {
	c.Helper()
	var look client.Result
	if err := json.Unmarshal([]byte(c.exits(67, append([]string{"--json", "lookup"}, slices.Sorted(maps.Keys(states))...)...)), &look); err != nil {
		c.Fatal(err)
	}
	for _, r := range look.Recipients {
		if r.State != states[r.Address] {
			c.Errorf("%s is %s, not %s: %s", r.Address, r.State, states[r.Address], r.Reasons)
		}
	}
	if len(look.Recipients) != len(states) {
		c.Errorf("%d answers about %d people", len(look.Recipients), len(states))
	}
}
