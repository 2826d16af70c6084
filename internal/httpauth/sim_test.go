package httpauth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestStandIn signs in to the stand-in, which verifies the proof of NTLMv2.
func TestStandIn(t *testing.T) {
	for name, o := range map[string]exchangesim.Options{
		"ntlm":             {Auth: exchangesim.AuthNTLM},
		"ntlm, HTTP/2":     {Auth: exchangesim.AuthNTLM, HTTP2: true},
		"channel binding":  {Auth: exchangesim.AuthNTLM, RequireChannelBinding: true},
		"basic":            {Auth: exchangesim.AuthBasic},
		"basic not wanted": {Auth: exchangesim.AuthBasic},
	} {
		t.Run(name, func(t *testing.T) {
			o.User, o.Password = `CORP\svc-galsync`, secret
			sim, err := exchangesim.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sim.Close() })
			roots := x509.NewCertPool()
			roots.AddCert(sim.TLSCA())
			x := newClient(t, sim.URL(), roots, func(c *Options) {
				c.URL = sim.URL()
				if name == "basic" {
					c.Method = Basic
				}
			})
			x.url = sim.URL()[:len(sim.URL())-len(exchangesim.Path)]
			if name == "basic not wanted" {
				wantRefusals(t, x)
				return
			}
			x.password.Store("wrong")
			wantRefusals(t, x)
			x.password.Store(secret)
			if status, _, err := x.ask(t, "no XML"); status == 401 || err != nil {
				t.Errorf("with the right password: %d %v", status, err)
			}
			if n := sim.Requests().HTTP; n > 9 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func wantRefusals(t *testing.T, x *exchangeTest) {
	t.Helper()
	for i := range 4 {
		status, _, err := x.ask(t, "no XML")
		if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("try %d: %d %v", i, status, err)
		}
	}
}

// TestChannelBinding puts a relay with a certificate of its own, or without TLS, before the stand-in: the binding is then
// wrong, or absent.
func TestChannelBinding(t *testing.T) {
	for _, tc := range []struct {
		front    string
		required bool
		ok       bool
	}{
		{"none", true, true},
		{"none", false, true},
		{"other certificate", true, false},
		{"other certificate", false, false},
		{"plain http", true, false},
		{"plain http", false, true},
	} {
		t.Run(fmt.Sprintf("%s, required %t", tc.front, tc.required), func(t *testing.T) {
			sim, err := exchangesim.New(exchangesim.Options{Auth: exchangesim.AuthNTLM, User: `CORP\svc-galsync`, Password: secret, RequireChannelBinding: tc.required})
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sim.Close() })
			roots := x509.NewCertPool()
			roots.AddCert(sim.TLSCA())
			target := strings.TrimSuffix(sim.URL(), exchangesim.Path)
			if tc.front != "none" {
				target = relay(t, strings.TrimPrefix(target, "https://"), roots, tc.front == "other certificate")
			}
			x := newClient(t, target, roots, nil)
			if !tc.ok {
				wantRefusals(t, x)
				return
			}
			for range 3 {
				if status, _, err := x.ask(t, "no XML"); status == 401 || err != nil {
					t.Errorf("%d %v", status, err)
				}
			}
		})
	}
}

// relay passes connections on to a TLS server, and takes them with a certificate of its own, or without TLS. It returns
// its URL; its CA is added to the pool.
func relay(t *testing.T, server string, pool *x509.CertPool, secure bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme, upstream := "http://", pool.Clone()
	if secure {
		ca, cert := authority(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
		pool.AddCert(ca.Certificate)
		scheme, l = "https://", tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := tls.Dial("tcp", server, &tls.Config{RootCAs: upstream})
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	return scheme + l.Addr().String()
}
