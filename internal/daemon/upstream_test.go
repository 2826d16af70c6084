package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
)

// ownOffer is a source with one certificate for everybody.
type ownOffer struct{}

func (ownOffer) Offers(context.Context, mailaddr.Address) ([]recipients.Offer, error) {
	return []recipients.Offer{{Source: recipients.Installed, Raw: []byte("own")}}, nil
}

// TestUpstreamNobodyThere: without a system's daemon a user's own sources answer alone; one that is stopped, or that is
// configured, makes the look-up fail, because the address book goes first.
func TestUpstreamNobodyThere(t *testing.T) {
	own, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	missing := filepath.Join(interop.SocketFolder(t), "s")
	dead := filepath.Join(interop.SocketFolder(t), "d")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, tc := range []struct {
		name, socket string
		optional, ok bool
	}{
		{"nobody there", missing, true, true},
		{"configured, nobody there", missing, false, false},
		{"stopped", dead, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := &Upstream{Client: &client.Client{Socket: tc.socket}, Own: Directory{Cache: own}, Extra: []recipients.Extra{ownOffer{}}, Optional: tc.optional}
			found, err := u.Lookup(t.Context(), "carol@outside.example")
			if (err == nil) != tc.ok || tc.ok && len(found.Offers) != 1 {
				t.Errorf("look-up: %+v, %v", found, err)
			}
			fresh, err := u.Freshness(t.Context())
			if (err == nil) != tc.ok || tc.ok && !strings.Contains(fresh.Absent, "the system's galsyncd does not answer") {
				t.Errorf("freshness: %+v, %v", fresh, err)
			}
			if refusal, ok := errors.AsType[*service.Problem](err); !tc.ok && (!ok || !strings.Contains(refusal.Hint, "systemctl start galsyncd")) {
				t.Errorf("freshness: %v lacks the hint to start it", err)
			}
			u.remember(time.Time{}, time.Time{})
			if found, err := u.Lookup(t.Context(), "carol@outside.example"); err == nil {
				t.Errorf("a system's daemon that answered before and is gone was passed over: %+v", found)
			}
			u.answered = false
			if _, err := u.Search(t.Context(), "carol", 5); (err == nil) != tc.ok {
				t.Errorf("completion: %v", err)
			}
			if _, _, err := u.Certificate(t.Context(), [32]byte{}); errors.Is(err, service.ErrNotFound) != tc.ok {
				t.Errorf("certificate: %v", err)
			}
		})
	}
}

// TestUpstreamOffers: an administrator's word counts where the user's settings say so, his preferences never.
func TestUpstreamOffers(t *testing.T) {
	wire := client.Offer{Source: "installed", Raw: []byte("x"), Vouched: true, Preferred: true}
	contact := wire
	contact.Source = "contacts"
	for _, accept := range []bool{true, false} {
		u := &Upstream{AcceptInstalled: accept}
		if o := u.offered(wire); o.Vouched != accept || o.Preferred {
			t.Errorf("accept %v: %+v", accept, o)
		}
		if o := u.offered(contact); o.Vouched || o.Preferred {
			t.Errorf("a contact: %+v", o)
		}
	}
}

// TestUpstreamFingerprints: what a short fingerprint is completed to begins with it.
func TestUpstreamFingerprints(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 4)
	for _, tc := range []struct {
		answer string
		ok     bool
	}{{sum, true}, {strings.Repeat("1", 64), false}, {sum[:62], false}, {sum[:62] + "xy", false}} {
		u := &Upstream{Client: upstreamSaying(t, client.Fingerprints{SHA256: []string{tc.answer}})}
		found, err := u.Fingerprints(t.Context(), sum[:8], 5)
		if (err == nil) != tc.ok || tc.ok && (len(found) != 1 || hex.EncodeToString(found[0][:]) != sum) {
			t.Errorf("%s: %x, %v", tc.answer, found, err)
		}
	}
}

// upstreamSaying is a client of a system's daemon that answers everything with v.
func upstreamSaying(t *testing.T, v any) *client.Client {
	t.Helper()
	return upstreamKnowing(t, func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(v) })
}

// upstreamKnowing is one that answers everything with say; nil: it knows nobody.
func upstreamKnowing(t *testing.T, say func(http.ResponseWriter)) *client.Client {
	t.Helper()
	socket := filepath.Join(interop.SocketFolder(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case say != nil:
			say(w)
		case strings.HasPrefix(r.URL.Path, "/v1/certificates/"):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(service.NewProblem(service.CodeNotFound, "", ""))
		default:
			_, _ = w.Write([]byte("{}"))
		}
	})}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }()
	return &client.Client{Socket: socket}
}

// TestUpstreamOtherCertificate: whoever trusts a certificate by its fingerprint trusts that one, whatever the system's daemon
// answers.
func TestUpstreamOtherCertificate(t *testing.T) {
	u := &Upstream{Client: upstreamSaying(t, client.CertificateDetails{Raw: []byte("a certificate")})}
	if der, _, err := u.Certificate(t.Context(), sha256.Sum256([]byte("a certificate"))); err != nil || string(der) != "a certificate" {
		t.Errorf("%q, %v", der, err)
	}
	if der, _, err := u.Certificate(t.Context(), sha256.Sum256([]byte("another"))); err == nil {
		t.Errorf("another certificate was taken: %q", der)
	}
}

// TestUpstreamContacts: the contacts of a user with an Exchange account are there beside the address book of the system's
// daemon, in every question: what a look-up names can be shown and trusted.
func TestUpstreamContacts(t *testing.T) {
	own, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	friend := directory.Contact{ContactRef: directory.ContactRef{ID: "1"}, DisplayName: "Ann Friend", Addresses: []directory.Address{"ann@outside.example"},
		Certificates: []directory.UserCertificate{{Raw: []byte("der"), Property: directory.UserSMIMECertificate}}}
	if err := own.Update(func(tx directory.Tx) error { return tx.PutContact(friend) }); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("der"))
	u := &Upstream{Client: upstreamKnowing(t, nil), Own: Directory{Cache: own, Contacts: &Contacts{Cache: own}}}

	if found, err := u.Lookup(t.Context(), "ann@outside.example"); err != nil || len(found.Offers) != 1 || found.Offers[0].Source != recipients.Contacts {
		t.Errorf("look-up: %+v, %v", found, err)
	}
	if found, err := u.Search(t.Context(), "friend", 5); err != nil || len(found) != 1 || found[0].Primary != "ann@outside.example" {
		t.Errorf("completion: %+v, %v", found, err)
	}
	if der, who, err := u.Certificate(t.Context(), sum); err != nil || string(der) != "der" || len(who) != 1 {
		t.Errorf("certificate: %q of %v, %v", der, who, err)
	}
	if found, err := u.Fingerprints(t.Context(), hex.EncodeToString(sum[:4]), 5); err != nil || len(found) != 1 || found[0] != sum {
		t.Errorf("short fingerprint: %x, %v", found, err)
	}
	u.Own.Contacts = nil
	if _, _, err := u.Certificate(t.Context(), sum); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("without contacts: %v", err)
	}
}
