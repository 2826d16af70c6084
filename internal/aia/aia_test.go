package aia_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/aia"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

// world has a root, a web server, a cache, and a policy that uses both.
type world struct {
	*testing.T
	now     time.Time
	dir     string
	allow   []string
	root    *authority
	server  *httptest.Server
	cache   *cache.Cache
	service *aia.Service
	policy  *trust.Policy

	mu       sync.Mutex
	files    map[string][]byte
	requests []string
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC), dir: t.TempDir(), allow: []string{"127.0.0.1"}, files: map[string][]byte{}}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests = append(w.requests, r.URL.Path)
		if body, ok := w.files[r.URL.Path]; ok {
			rw.Write(body)
			return
		}
		http.NotFound(rw, r)
	}))
	t.Cleanup(w.server.Close)
	w.root = w.authority("Root", nil)
	w.open()
	return w
}

// open opens the cache, again when it was open, as a new process would.
func (w *world) open() {
	w.Helper()
	if w.cache != nil {
		w.check(w.cache.Close())
	}
	c, err := cache.Open(w.dir)
	w.check(err)
	w.Cleanup(func() { c.Close() })
	client, err := revocation.NewClient(revocation.ClientOptions{Allow: w.allow, Agent: "test"})
	w.check(err)
	anchors := x509.NewCertPool()
	anchors.AddCert(w.root.cert)
	w.cache, w.policy = c, &trust.Policy{Anchors: anchors, AnchorCount: 1}
	w.service = &aia.Service{Store: c, Client: client, Anchored: w.policy.Anchored, Now: func() time.Time { return w.now }}
	w.service.Restore()
	w.policy.Issuers = w.service
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) key() crypto.Signer {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.check(err)
	return key
}

// certificate issues; the places are paths of the server.
func (w *world) certificate(template *x509.Certificate, key crypto.Signer, by *authority, places ...string) *x509.Certificate {
	w.Helper()
	template.SerialNumber = big.NewInt(2)
	template.NotBefore, template.NotAfter = w.now.AddDate(-1, 0, 0), w.now.AddDate(2, 0, 0)
	for _, p := range places {
		template.IssuingCertificateURL = append(template.IssuingCertificateURL, w.server.URL+p)
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	w.check(err)
	cert, err := x509.ParseCertificate(der)
	w.check(err)
	return cert
}

func (w *world) authority(name string, by *authority, places ...string) *authority {
	w.Helper()
	key := w.key()
	return &authority{w.certificate(caTemplate(name), key, by, places...), key}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
}

func (w *world) leaf(by *authority, places ...string) *x509.Certificate {
	w.Helper()
	return w.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "P"}, EmailAddresses: []string{"p@corp.example"}, KeyUsage: x509.KeyUsageDigitalSignature}, w.key(), by, places...)
}

// ask judges a signer; the answer is empty when nothing is held against it.
func (w *world) ask(cert *x509.Certificate, intermediates ...*x509.Certificate) string {
	w.Helper()
	address, err := mailaddr.Parse("p@corp.example")
	w.check(err)
	var text []string
	for _, f := range w.policy.ForSigning(cert, trust.Question{Addresses: []mailaddr.Address{address}, Intermediates: intermediates, Now: w.now}) {
		text = append(text, fmt.Sprintf("%s: %s (%s)", f.State, f.Reason, f.Hint))
	}
	return strings.Join(text, "\n")
}

func (w *world) run(all bool, want int) {
	w.Helper()
	n, err := w.service.Run(w.Context(), all)
	w.check(err)
	if n != want {
		w.Errorf("%d certificates came, want %d", n, want)
	}
}

func (w *world) asked(want ...string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if fmt.Sprint(w.requests) != fmt.Sprint(want) {
		w.Errorf("asked %v, want %v", w.requests, want)
	}
	w.requests = nil
}

func (w *world) says(answer, want string) {
	w.Helper()
	if want == "" && answer != "" || !strings.Contains(answer, want) {
		w.Errorf("the answer is %q, want %q", answer, want)
	}
}

// TestChain: three authorities are fetched, one after the other, up to the anchor and no further; they count at once, and
// offline after a restart. A mail that brings some of them needs only the others.
func TestChain(t *testing.T) {
	w := newWorld(t)
	a := w.authority("A", w.root, "/root")
	b := w.authority("B", a, "/a")
	c := w.authority("C", b, "/b")
	leaf := w.leaf(c, "/c")
	w.files["/a"], w.files["/b"] = a.cert.Raw, cms.MarshalCertificates([]*x509.Certificate{w.root.cert, b.cert})
	w.files["/c"], w.files["/root"] = c.cert.Raw, w.root.cert.Raw
	w.says(w.ask(leaf, c.cert), "issued by CN=C, whose chain ends in CN=B, which is not among the trusted anchors; the certificate of the issuer was not fetched yet")
	w.run(false, 2)
	w.asked("/b", "/a")
	w.says(w.ask(leaf, c.cert), "")
	w.says(w.ask(leaf), "issued by CN=C, which is not among the trusted anchors; the certificate of the issuer was not fetched yet (it is fetched in the background, and by the next sync)")
	w.asked()
	w.run(false, 1)
	w.asked("/c")
	w.says(w.ask(leaf), "")
	w.run(true, 0)
	w.asked()
	w.server.Close()
	w.open()
	w.says(w.ask(leaf), "")
	w.run(true, 0)
}

// TestDepth: a fourth authority is not fetched, whether in one run or in many.
func TestDepth(t *testing.T) {
	w := newWorld(t)
	by, place := w.root, "/none"
	for i := range 4 {
		by = w.authority(fmt.Sprint("A", i), by, place)
		place = fmt.Sprint("/", i)
		w.files[place] = by.cert.Raw
	}
	leaf := w.leaf(by, place)
	w.ask(leaf)
	w.run(true, 3)
	w.asked("/3", "/2", "/1")
	w.says(w.ask(leaf), "untrusted")
	w.run(false, 0)
	w.asked()
	w.run(true, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if r == "/0" || r == "/none" {
			t.Errorf("asked for %s", r)
		}
	}
}

// TestRefused: what is there is not what was asked for.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root)
	subject := caTemplate("Sub")
	noCA := &x509.Certificate{Subject: subject.Subject}
	elsewhere := caTemplate("Other")
	w.now = w.now.AddDate(-5, 0, 0)
	expired := w.certificate(caTemplate("Sub"), sub.key, w.root)
	w.now = w.now.AddDate(5, 0, 0)
	const wrong = "what is there is not the certificate of an authority that issued"
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"same name, other key": {w.authority("Sub", w.root).cert.Raw, wrong},
		"same key, other name": {w.certificate(elsewhere, sub.key, w.root).Raw, wrong},
		"no authority":         {w.certificate(noCA, sub.key, w.root).Raw, wrong},
		"expired":              {expired.Raw, wrong},
		"the root":             {w.root.cert.Raw, wrong},
		"huge":                 {append(sub.cert.Raw, make([]byte, 64<<10)...), "the answer is longer than 65536 bytes ("},
		"a page":               {[]byte("<html>not found</html>"), "it is neither PEM, DER"},
		"nothing":              {nil, "it is neither PEM, DER"},
		"not found":            {[]byte("-"), "the server answers 404"},
	} {
		t.Run(name, func(t *testing.T) {
			w.T = t
			place := "/" + strings.ReplaceAll(name, " ", "-")
			leaf := w.leaf(sub, place)
			if w.files[place] = tc.body; string(tc.body) == "-" {
				delete(w.files, place)
			}
			w.ask(leaf)
			w.run(false, 0)
			w.asked(place)
			w.says(w.ask(leaf), "the certificate of the issuer could not be fetched from "+w.server.URL+place+" (2027-01-05 12:00 UTC): "+tc.want[:min(len(tc.want), 60)])
		})
	}
}

// TestLoop: two authorities that certify each other are fetched once each, and no chain is found.
func TestLoop(t *testing.T) {
	w := newWorld(t)
	a := &authority{caTemplate("A"), w.key()}
	b := w.authority("B", a, "/a")
	a.cert = w.certificate(caTemplate("A"), a.key, b, "/b")
	w.files["/a"], w.files["/b"] = a.cert.Raw, b.cert.Raw
	leaf := w.leaf(a, "/a")
	w.says(w.ask(leaf), "untrusted")
	w.run(true, 2)
	w.asked("/a", "/b")
	w.says(w.ask(leaf), "untrusted")
	w.run(false, 0)
	w.asked()
}

// TestNobodyIsAsked: without leave, for what has ended, for what is complete, and for what says nothing.
func TestNobodyIsAsked(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root, "/root")
	leaf := w.leaf(sub, "/sub")
	w.files["/sub"] = sub.cert.Raw
	w.says(w.ask(leaf, sub.cert), "")
	w.now = w.now.AddDate(3, 0, 0)
	w.says(w.ask(leaf), "expired")
	w.now = w.now.AddDate(-3, 0, 0)
	w.says(w.ask(w.leaf(sub)), "not among the trusted anchors (if")
	ldap := w.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "P"}, EmailAddresses: []string{"p@corp.example"},
		IssuingCertificateURL: []string{"ldap:///CN=Sub?cACertificate", "file:///etc/passwd"}}, w.key(), sub)
	w.says(w.ask(ldap), "the certificate of the issuer is published neither over http nor over https")
	w.run(true, 0)
	w.policy.Issuers = nil
	w.says(w.ask(leaf), "untrusted")
	w.run(true, 0)
	w.asked()

	w.allow = nil
	w.open()
	w.ask(leaf)
	w.run(true, 0)
	w.says(w.ask(leaf), "127.0.0.1 is an address of this machine (if that server is the authority's, name it in trust.revocation_allow)")
	w.asked()
}

// TestRetries: after failures less and less often, and never more than what waits.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root)
	leaf := w.leaf(sub, "/sub")
	for range 24 * 60 {
		w.ask(leaf)
		w.run(false, 0)
		w.now = w.now.Add(time.Minute)
	}
	w.mu.Lock()
	n := len(w.requests)
	w.requests = nil
	w.mu.Unlock()
	if n < 5 || n > 8 {
		t.Errorf("%d requests on a day without the file", n)
	}
	w.files["/sub"] = sub.cert.Raw
	w.now = w.now.Add(12 * time.Hour)
	w.run(false, 1)
	w.says(w.ask(leaf), "")
}

// TestPoison: neither a forged certificate that names the place of another authority, nor something else that was sent in
// place of an authority's certificate, keeps the real one away for good.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root)
	w.files["/sub"] = sub.cert.Raw
	forged := w.leaf(w.authority("Sub", nil), "/sub")
	leaf := w.leaf(sub, "/sub")
	w.ask(forged)
	w.run(false, 0)
	w.ask(leaf)
	w.now = w.now.Add(20 * time.Minute)
	w.run(false, 1)
	w.says(w.ask(leaf), "")

	other := w.authority("Other", w.root)
	mine := w.leaf(other, "/other")
	w.files["/other"] = w.certificate(caTemplate("Other"), other.key, w.authority("Nobody", nil)).Raw // the right key, but nobody's word
	w.ask(mine)
	w.run(false, 1)
	w.says(w.ask(mine), "untrusted")
	w.files["/other"] = other.cert.Raw
	w.now = w.now.Add(21 * time.Hour)
	w.ask(mine)
	w.run(false, 1)
	w.says(w.ask(mine), "")
}

// TestServe: without any sync, what is missing is fetched within a minute, and told; nothing is asked when nothing waits.
func TestServe(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root)
	leaf := w.leaf(sub, "/sub")
	w.files["/sub"] = sub.cert.Raw
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		arrived, done := make(chan time.Time, 1), make(chan struct{})
		start := time.Now()
		go func() {
			w.service.Serve(ctx, time.Minute, func() { arrived <- time.Now() })
			close(done)
		}()
		time.Sleep(time.Hour)
		w.asked()
		w.says(w.ask(leaf), "untrusted")
		if after := (<-arrived).Sub(start); after > time.Hour+time.Minute {
			t.Errorf("arrived after %s", after)
		}
		w.says(w.ask(leaf), "")
		time.Sleep(time.Hour)
		w.asked("/sub")
		cancel()
		<-done
	})
}

// TestBounds: one run asks no more often, and no more is kept, than there is room for.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	key := w.key()
	for i := range 300 {
		place := fmt.Sprint("/", i)
		ca := &authority{w.certificate(caTemplate(place), key, w.root), key}
		w.files[place] = ca.cert.Raw
		leaf := w.leaf(ca, place)
		if answer := w.ask(leaf); i == 299 {
			w.says(answer, "more is asked for than there is room for")
		}
	}
	for _, want := range []int{64, 64, 64, 64, 0} {
		w.run(true, want)
	}
	w.mu.Lock()
	w.requests = nil
	w.mu.Unlock()
	late := w.authority("Late", w.root)
	w.files["/late"] = late.cert.Raw
	w.says(w.ask(w.leaf(late, "/late")), "more is asked for than there is room for")
	w.now = w.now.Add(2 * time.Hour) // what was tried, and is wanted no more, makes room
	leaf := w.leaf(late, "/late")
	w.says(w.ask(leaf), "was not fetched yet")
	w.run(true, 1)
	w.says(w.ask(leaf), "")
	w.mu.Lock()
	w.requests = nil
	w.mu.Unlock()
	// What nobody asked about for a month is forgotten.
	w.now = w.now.AddDate(0, 0, 31)
	w.run(true, 0)
	sub := w.authority("Sub", w.root)
	w.files["/sub"] = sub.cert.Raw
	w.ask(w.leaf(sub, "/sub"))
	w.run(true, 1)
	w.asked("/sub")
	n := 0
	w.check(w.cache.ViewRevocations(func(tx revocation.Tx) error {
		return tx.Each([]byte{'a'}, func(_, _ []byte) error { n++; return nil })
	}))
	if n != 1 {
		t.Errorf("%d are stored", n)
	}
}

// TestDamaged: a record that cannot be read is fetched again.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	sub := w.authority("Sub", w.root)
	leaf := w.leaf(sub, "/sub")
	w.files["/sub"] = sub.cert.Raw
	w.check(w.cache.UpdateRevocations(func(tx revocation.Tx) error { return tx.Put([]byte("a1"), []byte(`{"certificate":"AAAA"}`)) }))
	w.open()
	w.ask(leaf)
	w.run(false, 1)
	w.open()
	w.says(w.ask(leaf), "")
}
