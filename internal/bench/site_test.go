package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// site is an Exchange stand-in and a folder with what a galsyncd needs to sync from it: configuration, cache, socket.
type site struct {
	dir, config, socket string
	exchange            *exchangesim.Server
}

const people = 10_000

// sharedSite has been synced once.
var sharedSite = sync.OnceValues(func() (*site, error) {
	s, err := newSite(people, 0)
	if err != nil {
		return nil, err
	}
	program, err := galsyncd()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(program, "--config", s.config, "sync", "--once").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("first sync: %w\n%s", err, out)
	}
	return s, nil
})

// newSite starts a stand-in over TLS with NTLM.
func newSite(entries int, latency time.Duration) (*site, error) {
	dir, err := scratch()
	if err != nil {
		return nil, err
	}
	sockets, err := socketFolder()
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, config: filepath.Join(dir, "config.toml"), socket: filepath.Join(sockets, "s")}
	password := rand.Text()
	s.exchange, err = exchangesim.New(exchangesim.Options{Entries: entries, Seed: 1, Auth: exchangesim.AuthNTLM, User: `CORP\svc`, Password: password, Latency: latency})
	if err != nil {
		return nil, err
	}
	if err := s.exchange.Start(); err != nil {
		return nil, err
	}
	cleanups = append(cleanups, func() { s.exchange.Close() })
	for _, p := range s.exchange.Directory().People() {
		// The stand-in makes certificates when they are first asked for; that is no part of a sync.
		s.exchange.Identity(p.Primary)
	}
	return s, errors.Join(
		os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600),
		os.WriteFile(filepath.Join(dir, "tls.pem"), testca.CertificatePEM(s.exchange.TLSCA()), 0o600),
		os.WriteFile(filepath.Join(dir, "anchors.pem"), testca.CertificatePEM(s.exchange.SMIMECA()), 0o600),
		os.WriteFile(s.config, fmt.Appendf(nil, `[exchange]
url = %q
ca_file = "tls.pem"
ca_only = true
[exchange.auth]
username = 'CORP\svc'
password_file = "password"
[sync]
schedule = ""
requests_per_second = 1000
[cache]
dir = %q
[socket]
path = %q
[trust]
anchors = ["anchors.pem"]
`, s.exchange.URL(), s.cache(), s.socket), 0o600))
}

func (s *site) cache() string { return filepath.Join(s.dir, "cache") }

// usable returns the addresses of n people who can be encrypted to.
func (s *site) usable(n int) []string {
	var list []string
	for _, p := range s.exchange.Directory().People() {
		if p.Recipe == exchangesim.Usable && !p.NoContact && len(list) < n {
			list = append(list, p.Primary)
		}
	}
	return list
}

// daemon is a galsyncd that serves.
type daemon struct {
	pid    int
	socket string
	client *client.Client
}

// start runs a galsyncd until the end of the benchmark.
func start(b *testing.B, socket string, args ...string) *daemon {
	b.Helper()
	program, err := galsyncd()
	check(b, err)
	cmd := exec.Command(program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	check(b, cmd.Start())
	b.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			b.Errorf("galsyncd: %v\n%s", err, log.Bytes())
		}
	})
	d := &daemon{pid: cmd.Process.Pid, socket: socket, client: &client.Client{Socket: socket}}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for {
		if _, err = d.client.Version(ctx); err == nil {
			return d
		}
		select {
		case <-ctx.Done():
			b.Fatalf("galsyncd does not answer: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// serve runs the system's galsyncd on the cache of s.
func (s *site) serve(b *testing.B) *daemon {
	b.Helper()
	return start(b, s.socket, "--config", s.config, "serve")
}

// serveWith is serve with a content cipher in the configuration.
func (s *site) serveWith(b *testing.B, cipher string) *daemon {
	b.Helper()
	text, err := os.ReadFile(s.config)
	check(b, err)
	config := filepath.Join(s.dir, "config-"+cipher+".toml")
	check(b, os.WriteFile(config, fmt.Appendf(text, "[encryption]\ncipher = %q\n", cipher), 0o600))
	return start(b, s.socket, "--config", config, "serve")
}

// settle waits until the daemon has done what it does at its start: verifying the chains of the whole directory.
func (d *daemon) settle(b *testing.B) {
	b.Helper()
	for quiet, used := 0, processorTime(d.pid); quiet < 5; {
		time.Sleep(100 * time.Millisecond)
		if now := processorTime(d.pid); now == used {
			quiet++
		} else {
			quiet, used = 0, now
		}
	}
}

// fingerprint is the SHA-1 fingerprint by which gpgsm names its anchors.
func fingerprint(cert *x509.Certificate) string { return fmt.Sprintf("%X", sha1.Sum(cert.Raw)) }
