package httpauth

import (
	"crypto/x509"
	"errors"
	"testing"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
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
			if name == "channel binding" || name == "basic not wanted" {
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
