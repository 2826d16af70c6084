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
	client, err := revocation.NewClient([]string{"127.0.0.1"}, 1<<20, "test")
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

// respond signs an OCSP answer.
func (w *world) respond(t ocsp.Response, responder *x509.Certificate, key crypto.Signer) []byte {
	if t.ThisUpdate.IsZero() {
		t.ThisUpdate = w.now.Add(-time.Minute)
	}
	der, err := ocsp.CreateResponse(w.ca, responder, t, key)
	if err != nil {
		w.Error(err)
	}
	return der
}

// TestOCSP has a responder answer in every way.
func TestOCSP(t *testing.T) {
	w := newWorld(t, true)
	cert := w.leaf(person)
	delegate := newKey(t)
	entitled := func(change func(*x509.Certificate)) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Responder"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
		change(template)
		return w.issue(template, delegate)
	}
	responder := entitled(func(*x509.Certificate) {})
	stranger := newWorld(t, true)
	next := w.now.Add(24 * time.Hour)
	for _, tc := range []struct {
		name   string
		answer func(*ocsp.Request) []byte
		status trust.RevocationStatus // unknown: the CRL, which is fetched too, does not help
		want   string
	}{
		{"good", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusGood, ""},
		{"revoked", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now.Add(-time.Hour), RevocationReason: 3, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusRevoked, "affiliation"},
		{"delegated", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: responder}, responder, delegate)
		}, trust.StatusRevoked, ""},
		{"without an end", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber}, w.ca, w.key)
		}, trust.StatusGood, ""},
		{"not entitled", func(r *ocsp.Request) []byte {
			c := entitled(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "is not for OCSP answers"},
		{"expired responder", func(r *ocsp.Request) []byte {
			c := entitled(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = w.now.AddDate(-2, 0, 0), w.now.AddDate(-1, 0, 0) })
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "is not valid now"},
		{"another authority's responder", func(r *ocsp.Request) []byte {
			c := stranger.issue(&x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "R"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, delegate)
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "whose certificate is not by"},
		{"another key", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, delegate)
		}, trust.StatusUnknown, "its signature is not of the key of"},
		{"another number", func(*ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(thief), NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "no response matching"},
		{"another issuer", func(r *ocsp.Request) []byte {
			der, err := ocsp.CreateResponse(stranger.ca, w.ca, ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now, NextUpdate: next}, w.key)
			w.check(err)
			return der
		}, trust.StatusUnknown, "about another certificate"},
		{"unknown", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Unknown, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "does not know the certificate"},
		{"ended", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now.Add(-9 * time.Hour), NextUpdate: w.now.Add(-time.Hour)}, w.ca, w.key)
		}, trust.StatusUnknown, "it held until"},
		{"of tomorrow", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now.Add(time.Hour), NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "has not come yet"},
		{"try later", func(*ocsp.Request) []byte { return ocsp.TryLaterErrorResponse }, trust.StatusUnknown, "the OCSP responder says: try later"},
		{"garbage", func(*ocsp.Request) []byte { return []byte("<html>") }, trust.StatusUnknown, "not an OCSP answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := &world{T: t, now: w.now, dir: t.TempDir(), ca: w.ca, key: w.key, server: w.server}
			v.open(true)
			v.expect(cert, trust.StatusUnknown, "was not fetched yet")
			w.mu.Lock()
			w.ocsp, w.answer = tc.answer, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) }
			w.mu.Unlock()
			_, err := v.service.Run(t.Context(), true)
			v.check(err)
			v.expect(cert, tc.status, tc.want)
			// The list is what is fallen back on.
			w.serve(nil)
			_, err = v.service.Run(t.Context(), true)
			v.check(err)
			if tc.status == trust.StatusUnknown {
				v.expect(cert, trust.StatusGood, "")
			} else {
				v.expect(cert, tc.status, tc.want)
			}
		})
	}
}

// TestRevokedResponder: the answer of a responder whose own certificate is on the list counts for nothing, unless its
// authority says that nobody need look (id-pkix-ocsp-nocheck).
func TestRevokedResponder(t *testing.T) {
	w := newWorld(t, true)
	cert := w.leaf(person)
	delegate := newKey(t)
	template := x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Responder"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, CRLDistributionPoints: []string{w.server.URL + "/ca.crl"}}
	checked := w.issue(&template, delegate)
	template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	unchecked := w.issue(&template, delegate)
	responder := checked
	w.ocsp = func(r *ocsp.Request) []byte {
		return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now, SerialNumber: r.SerialNumber, NextUpdate: w.now.Add(time.Hour), Certificate: responder}, responder, delegate)
	}
	w.publish(1, 77)
	w.expect(cert, trust.StatusUnknown, "")
	w.run(true, revocation.Report{Fetched: 1, Failed: 1})
	w.expect(cert, trust.StatusGood, "")
	responder = unchecked
	w.run(true, revocation.Report{Fetched: 2})
	w.expect(cert, trust.StatusRevoked, "")
}

// TestDestinations: addresses that are not of the open Internet, in every disguise, are refused unless they are named.
func TestDestinations(t *testing.T) {
	inside := []string{"127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "[fe80::1]", "[fd00::1]", "224.0.0.1", "0.0.0.0",
		"[::]", "100.64.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "localhost", "255.255.255.255", "198.18.0.1", "192.0.0.1"}
	client, err := revocation.NewClient(nil, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range inside {
		err := client.Reach(t.Context(), "http://"+host+":1/ca.crl")
		if err == nil || !strings.Contains(err.Error(), "address") || strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", host, err)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for allow, reached := range map[string]bool{"127.0.0.1": true, "127.0.0.0/8": true, "10.0.0.0/8": false, "localhost": false, "::ffff:127.0.0.1": true} {
		client, err := revocation.NewClient([]string{allow}, 0, "test")
		if err != nil {
			t.Fatal(err)
		}
		err = client.Reach(t.Context(), server.URL)
		if got := err != nil && strings.Contains(err.Error(), "404"); got != reached {
			t.Errorf("with %q allowed: %v", allow, err)
		}
	}
	byName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for allow, reached := range map[string]bool{"localhost": true, "LOCALHOST.": true, "host": false} {
		client, _ := revocation.NewClient([]string{allow}, 0, "test")
		err := client.Reach(t.Context(), byName)
		if got := err != nil && strings.Contains(err.Error(), "404"); got != reached {
			t.Errorf("with %q allowed: %v", allow, err)
		}
	}
	for _, bad := range []string{"", "http://x", "a b", "10.0.0.0/33", "host:80"} {
		if _, err := revocation.NewClient([]string{bad}, 0, "test"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
