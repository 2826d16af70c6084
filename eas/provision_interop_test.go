//go:build interop

package eas

import (
	"net/http"
	"testing"

	"github.com/galsyncd/galsyncd/internal/horde"
)

// basic shows the credential, which internal/httpauth shows over https only.
type basic struct{}

func (basic) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(horde.User, horde.Password)
	return http.DefaultTransport.RoundTrip(r)
}

// TestInteropHordeProvision: a server that is not ours gives its policy in two phases when it is asked for folders, which
// it has only for devices with a policy; the key is good afterwards, also in another process, and a wrong one is replaced.
// With each version, in both forms of the query.
func TestInteropHordeProvision(t *testing.T) {
	server := horde.Start(t, []horde.Person{{Name: "Ada", Alias: "ada", Address: "ada@corp.example"}}, horde.Options{Provision: true})
	for i, version := range Versions {
		if version == "16.1" {
			continue // this server has none
		}
		for _, plain := range []bool{false, true} {
			memory := &remembers{}
			device := testDevice[:30] + string(rune('a'+i))
			if plain {
				device += "p"
			}
			client := func() *Client {
				return &Client{URL: server.URL, HTTP: &http.Client{Transport: basic{}}, DeviceID: device, Version: version, Memory: memory,
					PlainQuery: plain, Username: horde.User}
			}
			c := client()
			if err := c.call(t.Context()).folderSync(); err != nil {
				t.Errorf("%s: %v", version, err)
				continue
			}
			key, policy := c.session.policyKey(), c.Policy()
			if key == 0 || policy == nil {
				t.Errorf("%s, plain %v: folders without a policy", version, plain)
				continue
			}
			t.Logf("%s, plain %v: %s, unmet %v", version, plain, policy.Acknowledged, policy.Unmet)
			next := client()
			k := next.call(t.Context())
			if err := k.folderSync(); err != nil || next.session.policyKey() != key || k.requests != 1 {
				t.Errorf("%s: remembered: %v, key %d and then %d, %d requests", version, err, key, next.session.policyKey(), k.requests)
			}
			next.change(func(s *state) { s.PolicyKey = 12345 })
			if err := next.call(t.Context()).folderSync(); err != nil || next.session.policyKey() == 12345 {
				t.Errorf("%s: after a wrong key: %v", version, err)
			}
		}
	}
}
