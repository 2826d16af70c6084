//go:build interop

package eas_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/eas"
	"github.com/galsyncd/galsyncd/internal/horde"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// signedIn adds the credential, which internal/httpauth shows over https only.
type signedIn struct{ http.RoundTripper }

func (s signedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(horde.User, horde.Password)
	return s.RoundTripper.RoundTrip(r)
}

// TestInteropHorde fills a cache from a server that is not ours, by known addresses and a walk; while its directory is down
// nothing is lost, although it then says of everybody that it knows nobody of that name.
func TestInteropHorde(t *testing.T) {
	const people, certified = 130, 44
	ca, err := testca.New("people of horde")
	if err != nil {
		t.Fatal(err)
	}
	var all []horde.Person
	for i := range people {
		p := horde.Person{Name: fmt.Sprintf("Person %03d", i), Alias: fmt.Sprintf("p%03d", i), Address: fmt.Sprintf("%c.person%03d@corp.example", 'a'+i%5, i)}
		if i%3 == 0 {
			leaf, err := ca.Leaf(testca.Options{Addresses: []string{p.Address}})
			if err != nil {
				t.Fatal(err)
			}
			p.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate.Raw})
		}
		all = append(all, p)
	}
	for _, provision := range []bool{false, true} {
		t.Run(fmt.Sprintf("provision %v", provision), func(t *testing.T) {
			server := horde.Start(t, all, horde.Options{Provision: provision})
			client := func() *eas.Client {
				return &eas.Client{URL: server.URL, HTTP: &http.Client{Transport: signedIn{http.DefaultTransport}}, DeviceID: deviceID, AcceptContacts: true}
			}
			store := openCache(t)
			now := time.Now()
			s := &directory.Sync{Source: client(), Store: store, Now: func() time.Time { return now }}
			for _, p := range all {
				s.Addresses = append(s.Addresses, directory.Address(p.Address))
			}
			s.KnownOnly = true
			rep := run(t, s)
			t.Logf("known addresses: %d entries, %d with certificates, %d requests", rep.Entries, rep.Certified, rep.Requests)
			if rep.Entries != people || rep.Certified != certified || rep.Requests > 5 {
				t.Errorf("%+v", rep)
			}
			// This server's search goes by names and finds nobody by address; exact questions keep them all.
			now = now.AddDate(0, 0, 1)
			s.Source, s.KnownOnly, s.Addresses = client(), false, nil
			if rep := run(t, s); rep.Entries != people || rep.Certified != certified || rep.Changed+rep.Missing != 0 {
				t.Errorf("walk: %+v", rep)
			}
			server.StopDirectory()
			for night := range 4 {
				now = now.AddDate(0, 0, 1)
				s.KnownOnly = night%2 == 0
				rep, err := s.Run(t.Context(), false)
				t.Logf("without its directory: %s, %v", rep.Outcome, err)
				if rep.Entries != people || rep.Certified != certified || rep.Removed+rep.Missing != 0 || rep.Outcome == directory.Complete {
					t.Errorf("without its directory: %+v, %v", rep, err)
				}
			}
			server.StartDirectory()
			now = now.AddDate(0, 0, 1)
			s.KnownOnly = false
			if rep := run(t, s); rep.Entries != people || rep.Certified != certified || rep.Outcome != directory.Complete {
				t.Errorf("after it came back: %+v", rep)
			}
		})
	}
}
