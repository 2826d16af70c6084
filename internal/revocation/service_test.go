package revocation_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

const (
	person = 1000
	thief  = 2000
)

// world is an authority with a server, a service with a clock, and a certificate.
type world struct {
	*testing.T
	now     time.Time
	dir     string
	cache   *cache.Cache
	service *revocation.Service

	ca     *x509.Certificate
	key    crypto.Signer
	server *httptest.Server

	mu       sync.Mutex
	number   int64
	changed  time.Time
	revoked  []x509.RevocationListEntry
	answer   func(w http.ResponseWriter, r *http.Request) // in place of the CRL
	ocsp     func(request *ocsp.Request) []byte           // nil: no responder
	requests []string
}

func newWorld(t *testing.T, ocsp bool) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC), dir: t.TempDir(), number: 10}
	w.changed = w.now.Add(-time.Hour)
	w.key = newKey(t)
	w.ca = w.issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, 2, 3},
	}, w.key)
	w.server = httptest.NewServer(http.HandlerFunc(w.handle))
	t.Cleanup(w.server.Close)
	w.open(ocsp)
	return w
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens the cache, again when it was open, as a new process would.
func (w *world) open(ocsp bool) {
	w.Helper()
	if w.cache != nil {
		w.check(w.cache.Close())
	}
	c, err := cache.Open(w.dir)
	w.check(err)
	w.cache = c
	w.Cleanup(func() { c.Close() })
	w.configure(ocsp, "127.0.0.1")
}

// configure begins a service with the cache as it is.
func (w *world) configure(ocsp bool, allow ...string) {
	w.Helper()
	c := w.cache
	client, err := revocation.NewClient(revocation.ClientOptions{Allow: allow, MaxSize: 1 << 20, Agent: "test"})
	w.check(err)
	w.service = &revocation.Service{Store: c, OCSP: ocsp, Client: client, Now: func() time.Time { return w.now }}
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// issue signs a certificate by the authority, or its own.
func (w *world) issue(template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	w.Helper()
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = w.now.AddDate(-1, 0, 0), w.now.AddDate(2, 0, 0)
	}
	parent := w.ca
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), w.key)
	w.check(err)
	cert, err := x509.ParseCertificate(der)
	w.check(err)
	return cert
}

func (w *world) leaf(serial int64) *x509.Certificate {
	return w.issue(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "Person"}, CRLDistributionPoints: []string{w.server.URL + "/ca.crl"},
		OCSPServer: []string{w.server.URL + "/ocsp"},
	}, w.key)
}

func (w *world) handle(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, r.URL.Path)
	switch {
	case r.URL.Path == "/ocsp" && w.ocsp != nil:
		body, _ := io.ReadAll(r.Body)
		request, err := ocsp.ParseRequest(body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		rw.Write(w.ocsp(request))
	case r.URL.Path == "/ocsp":
		http.NotFound(rw, r)
	case w.answer != nil:
		w.answer(rw, r)
	default:
		rw.Header().Set("Date", w.now.UTC().Format(http.TimeFormat))
		http.ServeContent(rw, r, "", w.changed, bytes.NewReader(w.crl(w.now.Add(-time.Minute), w.now.Add(24*time.Hour))))
	}
}

func (w *world) crl(this, next time.Time) []byte {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(w.number), ThisUpdate: this, NextUpdate: next, RevokedCertificateEntries: w.revoked}, w.ca, w.key)
	if err != nil {
		w.Error(err)
	}
	return der
}

// publish revokes certificates on a new list.
func (w *world) publish(reason int, serials ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	w.changed = w.now
	w.revoked = nil
	for _, s := range serials {
		w.revoked = append(w.revoked, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: w.now.Add(-time.Hour), ReasonCode: reason})
	}
}

// serve lets the server answer otherwise; nil is the CRL again.
func (w *world) serve(f http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) run(all bool, want revocation.Report) {
	w.Helper()
	got, err := w.service.Run(w.Context(), all)
	w.check(err)
	if got != want {
		w.Errorf("the run did %+v, want %+v", got, want)
	}
}

// expect wants this status, and a reason with this text.
func (w *world) expect(cert *x509.Certificate, status trust.RevocationStatus, text string) {
	w.Helper()
	r := w.service.Revocation(cert, w.ca, w.now)
	if r.Status != status || !strings.Contains(r.Reason, text) {
		w.Errorf("%s: %s (%s), want %s (%s)", w.now.Format(time.DateTime), r.Status, r.Reason, status, text)
	}
	if status == trust.StatusGood && (r.Until.IsZero() || r.Until.Before(w.now)) {
		w.Errorf("good until %s, which is over", r.Until)
	}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// TestLifeOfAList follows one certificate over two weeks.
func TestLifeOfAList(t *testing.T) {
	w := newWorld(t, false)
	cert, other := w.leaf(person), w.leaf(thief)
	w.expect(cert, trust.StatusUnknown, "was not fetched yet")
	before := w.service.Generation()
	w.run(false, revocation.Report{Fetched: 1})
	if w.service.Generation() == before {
		t.Error("earlier answers still hold")
	}
	w.expect(cert, trust.StatusGood, "")
	w.run(false, revocation.Report{})            // not due
	w.run(true, revocation.Report{Unchanged: 1}) // If-Modified-Since

	w.pass(time.Hour)
	w.publish(1, thief)
	w.expect(other, trust.StatusGood, "")
	w.run(true, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusGood, "")
	w.expect(other, trust.StatusRevoked, "key compromise")
	if r := w.service.Revocation(other, w.ca, w.now); !r.Since.Equal(w.now.Add(-time.Hour).Truncate(time.Second)) {
		t.Errorf("revoked since %s", r.Since)
	}

	// The server fails: what is known holds until it ends, also for the next process, and a revocation for ever.
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "down", http.StatusServiceUnavailable) })
	w.pass(23 * time.Hour)
	w.run(false, revocation.Report{Failed: 1})
	w.run(false, revocation.Report{}) // not before a quarter of an hour
	w.expect(cert, trust.StatusGood, "")
	w.open(false)
	w.expect(cert, trust.StatusGood, "")
	w.pass(2 * time.Hour)
	w.run(false, revocation.Report{Failed: 1})
	w.expect(cert, trust.StatusUnknown, "held until 2027-01-06 13:00 UTC, and a newer one could not be fetched (2027-01-06 14:00 UTC): the server answers 503")
	w.expect(other, trust.StatusRevoked, "key compromise")

	// On hold, and taken off.
	w.serve(nil)
	w.pass(24 * time.Hour)
	w.publish(6, person)
	w.run(false, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusRevoked, "on hold")
	w.expect(other, trust.StatusGood, "")
	w.publish(0)
	w.run(true, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusGood, "")

	// The clock goes back to before all this.
	w.pass(-10 * 24 * time.Hour)
	w.expect(cert, trust.StatusUnknown, "has not come yet")
}

// TestAllowedLater: what this machine itself refused to ask is asked as soon as a new configuration allows it.
func TestAllowedLater(t *testing.T) {
	w := newWorld(t, false)
	cert := w.leaf(person)
	w.publish(0)
	w.configure(false)
	w.expect(cert, trust.StatusUnknown, "not fetched yet")
	w.run(false, revocation.Report{Failed: 1})
	w.expect(cert, trust.StatusUnknown, "127.0.0.1 is an address of this machine")
	w.run(false, revocation.Report{}) // not again in the same minute
	w.configure(false, "127.0.0.1")
	w.run(false, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusGood, "")
}

// TestNothingIsForgotten: an older list does not replace a newer one while that holds.
func TestNothingIsForgotten(t *testing.T) {
	w := newWorld(t, false)
	cert := w.leaf(person)
	clean := w.crl(w.now.Add(-2*time.Hour), w.now.Add(40*time.Hour))
	w.publish(4, person)
	w.expect(cert, trust.StatusUnknown, "")
	w.run(true, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusRevoked, "superseded")
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(clean) })
	w.run(true, revocation.Report{Failed: 1})
	w.expect(cert, trust.StatusRevoked, "superseded")
	w.number, w.revoked = 5, nil
	lower := w.crl(w.now, w.now.Add(time.Hour))
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(lower) })
	w.run(true, revocation.Report{Failed: 1})
	w.expect(cert, trust.StatusRevoked, "superseded")
	sum, err := w.service.Summary()
	w.check(err)
	if sum.Failing != 1 || !strings.Contains(sum.Troubles[0].Error, "number is lower") || sum.Revoked != 1 || sum.CurrentLists != 1 {
		t.Errorf("%+v", sum)
	}
	// Once it has ended, whatever holds counts: an authority may have been set up anew.
	w.pass(25 * time.Hour)
	w.run(true, revocation.Report{Failed: 1}) // that of an hour
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(clean) })
	w.run(true, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusGood, "")
}

// TestBadServers: nothing a server does replaces what is known, and each is named.
func TestBadServers(t *testing.T) {
	w := newWorld(t, false)
	cert := w.leaf(person)
	w.expect(cert, trust.StatusUnknown, "")
	stranger := newWorld(t, false)
	inside := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(inside.Close)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"web page":   {func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "<html>sign in</html>") }, "not a CRL that can be used"},
		"empty":      {func(rw http.ResponseWriter, _ *http.Request) {}, "not a CRL that can be used"},
		"another CA": {func(rw http.ResponseWriter, _ *http.Request) { rw.Write(stranger.crl(w.now, w.now.Add(time.Hour))) }, "its signature is not of the key of"},
		"endless":    {func(rw http.ResponseWriter, _ *http.Request) { io.CopyN(rw, zeros{}, 2<<20) }, "longer than 1048576 bytes"},
		"announced":  {func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Content-Length", "2097152") }, "longer than 1048576 bytes"},
		"not asked":  {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotModified) }, "304"},
		"circle":     {func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/again", http.StatusFound) }, "more than 3 redirects"},
		"to a file": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "file:///etc/passwd", http.StatusFound)
		}, "neither http nor https"},
		"to the inside": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, strings.Replace(inside.URL, "127.0.0.1", "127.0.0.2", 1), http.StatusFound)
		}, "127.0.0.2 is an address of this machine"},
		"cut off": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			io.WriteString(rw, "0")
		}, "unexpected EOF"},
	} {
		w.serve(tc.answer)
		w.run(true, revocation.Report{Failed: 1})
		w.expect(cert, trust.StatusUnknown, tc.want)
		if t.Failed() {
			t.Fatalf("in %q", name)
		}
	}
	w.serve(nil)
	w.run(true, revocation.Report{Fetched: 1})
	w.expect(cert, trust.StatusGood, "")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestWhereNobodyCanAsk: certificates that lead to no CRL are unknown, each for its reason.
func TestWhereNobodyCanAsk(t *testing.T) {
	w := newWorld(t, false)
	for name, tc := range map[string]struct {
		template x509.Certificate
		want     string
		nobody   bool
	}{
		"nowhere":     {x509.Certificate{}, "does not say where its authority publishes revocations", true},
		"ocsp only":   {x509.Certificate{OCSPServer: []string{"http://ocsp.example"}}, "over OCSP only", false},
		"ldap only":   {x509.Certificate{CRLDistributionPoints: []string{"ldap:///CN=CA,CN=CDP,DC=corp?certificateRevocationList"}}, "over LDAP only", false},
		"long number": {x509.Certificate{SerialNumber: new(big.Int).Lsh(big.NewInt(1), 180)}, "longer than 20 bytes", false},
	} {
		if tc.template.SerialNumber == nil {
			tc.template.SerialNumber = big.NewInt(person)
		}
		r := w.service.Revocation(w.issue(&tc.template, w.key), w.ca, w.now)
		if r.Status != trust.StatusUnknown || !strings.Contains(r.Reason, tc.want) || r.Unpublished != tc.nobody {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w.run(true, revocation.Report{})
}

// TestWhoIsForgotten: a list nobody asked about for a month is no longer fetched, nor kept.
func TestWhoIsForgotten(t *testing.T) {
	w := newWorld(t, false)
	cert := w.leaf(person)
	w.expect(cert, trust.StatusUnknown, "")
	w.run(true, revocation.Report{Fetched: 1})
	w.open(false)
	w.pass(29 * 24 * time.Hour)
	w.run(false, revocation.Report{Fetched: 1})
	w.pass(2 * 24 * time.Hour)
	w.run(false, revocation.Report{Fetched: 1})
	sum, err := w.service.Summary()
	w.check(err)
	if sum.Lists != 0 {
		t.Errorf("%+v", sum)
	}
	w.run(true, revocation.Report{})
}
