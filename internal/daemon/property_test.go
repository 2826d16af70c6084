package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// town is a world of people, certificates and settings made by chance. It is a recipients.Directory.
type town struct {
	*rand.Rand
	now        time.Time
	trusted    *testca.CA
	foreign    *testca.CA
	keys       []crypto.Signer
	owner      map[string]crypto.Signer // by the certificate
	people     []mailaddr.Address
	found      map[mailaddr.Address]recipients.Found
	shelf      *installed.Shelf
	revoked    map[string]time.Time // by the certificate
	generation uint64
}

// Lookup implements recipients.Directory.
func (t *town) Lookup(ctx context.Context, a mailaddr.Address) (recipients.Found, error) {
	f := t.found[a]
	own, err := t.shelf.Offers(ctx, a)
	f.Offers = append(f.Offers[:len(f.Offers):len(f.Offers)], own...)
	return f, err
}

// Freshness implements recipients.Directory.
func (t *town) Freshness(context.Context) (recipients.Freshness, error) {
	return recipients.Freshness{Completed: t.now, Walked: t.now}, nil
}

// Revocation implements trust.Revocations: good, revoked from some time on, or unknown after a while.
func (t *town) Revocation(cert, _ *x509.Certificate, now time.Time) trust.Revocation {
	since, ok := t.revoked[string(cert.Raw)]
	switch {
	case ok && !now.Before(since):
		return trust.Revocation{Status: trust.StatusRevoked, Since: since, From: since}
	case ok:
		return trust.Revocation{Status: trust.StatusGood, Until: since.Add(-1)}
	case cert.SerialNumber.Bit(0) == 0:
		return trust.Revocation{Status: trust.StatusUnknown, Reason: "nobody asked"}
	}
	return trust.Revocation{Status: trust.StatusGood}
}

// Generation implements trust.Revocations.
func (t *town) Generation() uint64 { return t.generation }

func (t *town) chance(percent int) bool { return t.IntN(100) < percent }

// certificate makes one for some addresses, sound more often than not.
func (t *town) certificate(addresses ...mailaddr.Address) []byte {
	ca := t.trusted
	if t.chance(25) {
		ca = t.foreign
	}
	o := testca.Options{Key: t.keys[t.IntN(len(t.keys))], NotBefore: t.now.Add(-time.Duration(t.IntN(400)-20) * 24 * time.Hour)}
	o.NotAfter = o.NotBefore.Add(time.Duration(1+t.IntN(500)) * 24 * time.Hour)
	o.KeyUsage = x509.KeyUsageDigitalSignature
	if !t.chance(10) {
		o.KeyUsage |= x509.KeyUsageKeyEncipherment
		if _, rsa := o.Key.(*rsa.PrivateKey); !rsa {
			o.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
		}
	}
	if t.chance(5) {
		o.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, a := range addresses {
		o.Addresses = append(o.Addresses, string(a))
	}
	leaf, err := ca.Leaf(o)
	if err != nil {
		panic(err)
	}
	t.owner[string(leaf.Certificate.Raw)] = leaf.Key
	if t.chance(15) {
		t.revoked[string(leaf.Certificate.Raw)] = t.now.Add(time.Duration(t.IntN(400)-200) * 24 * time.Hour)
	}
	return leaf.Certificate.Raw
}

// somebody is an address whose certificate is asked for: as a rule the person's own.
func (t *town) somebody(a mailaddr.Address) mailaddr.Address {
	if t.chance(10) {
		return t.people[t.IntN(len(t.people))]
	}
	return a
}

// settle fills the town with people and groups.
func (t *town) settle(tt *testing.T, n int) {
	for i := range n {
		t.people = append(t.people, mailaddr.Address(fmt.Sprintf("person%d@corp.example", i)))
	}
	for _, a := range t.people {
		var f recipients.Found
		if t.chance(70) {
			f.Sightings = append(f.Sightings, t.sighting(a))
		}
		if t.chance(8) { // somebody else's entry lists the address too
			s := t.sighting(t.people[t.IntN(n)])
			s.Entry.Addresses = append(s.Entry.Addresses, a)
			f.Sightings = append(f.Sightings, s)
		}
		for range t.IntN(2) {
			f.Offers = append(f.Offers, recipients.Offer{Source: recipients.Contacts, Raw: t.certificate(t.somebody(a)), Seen: t.now.Add(-time.Duration(t.IntN(120)) * 24 * time.Hour)})
		}
		t.found[a] = f
		if t.chance(30) {
			t.install(tt, a)
		}
	}
	for i := range 4 {
		g := mailaddr.Address(fmt.Sprintf("group%d@corp.example", i))
		s := directory.Sighting{Seen: t.now, Entry: directory.Entry{Primary: g, Addresses: []directory.Address{g}, Kind: directory.KindGroup}, Members: &directory.Members{Fetched: t.now, Truncated: t.chance(10)}}
		for range t.IntN(4) {
			s.Members.Members = append(s.Members.Members, directory.Member{Address: t.people[t.IntN(len(t.people))]})
		}
		t.people = append(t.people, g)
		t.found[g] = recipients.Found{Sightings: []directory.Sighting{s}}
	}
}

func (t *town) sighting(a mailaddr.Address) directory.Sighting {
	s := directory.Sighting{Seen: t.now.Add(-time.Duration(t.IntN(100)) * 24 * time.Hour), Entry: directory.Entry{Primary: a, Addresses: []directory.Address{a}}}
	for range t.IntN(3) {
		s.Entry.Certificates = append(s.Entry.Certificates, directory.UserCertificate{Raw: t.certificate(t.somebody(a)), Default: t.chance(20)})
	}
	return s
}

// install puts a certificate on the shelf as a person may: trusted or not, chosen or not.
func (t *town) install(tt *testing.T, a mailaddr.Address) {
	tt.Helper()
	cert, err := x509.ParseCertificate(t.certificate(t.somebody(a)))
	if err != nil {
		tt.Fatal(err)
	}
	_, err = t.shelf.Store.Install(keyring.Installation{Certificate: cert, Addresses: []mailaddr.Address{a}, How: keyring.HowMail, Trust: t.chance(50)})
	if err == nil && t.chance(20) {
		err = t.shelf.Store.Choose(a, fingerprintOf(cert))
	}
	if err != nil {
		tt.Fatal(err)
	}
}

func newTown(tt *testing.T, seed uint64, keys []crypto.Signer) *town {
	tt.Helper()
	t := &town{Rand: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), keys: keys, owner: map[string]crypto.Signer{},
		found: map[mailaddr.Address]recipients.Found{}, revoked: map[string]time.Time{}}
	var err error
	if t.trusted, err = testca.New("Trusted"); err == nil {
		t.foreign, err = testca.New("Foreign")
	}
	if err != nil {
		tt.Fatal(err)
	}
	store, err := keyring.Open(filepath.Join(tt.TempDir(), "keys", keyring.FileName), &keyring.Options{Now: func() time.Time { return t.now }})
	if err != nil {
		tt.Fatal(err)
	}
	tt.Cleanup(func() { store.Close() })
	pool := x509.NewCertPool()
	pool.AddCert(t.trusted.Certificate)
	policy := &trust.Policy{Anchors: pool, AnchorCount: 1, AcceptDirectory: t.chance(30), RevocationRequired: t.chance(30)}
	if t.chance(70) {
		policy.Revocations = t
	}
	t.shelf = &installed.Shelf{Store: store, Policy: policy, Now: func() time.Time { return t.now }}
	if t.chance(30) {
		if _, err := store.TrustIssuer(t.foreign.Certificate, "a test"); err != nil {
			tt.Fatal(err)
		}
	}
	t.settle(tt, 12)
	return t
}

// TestLookupAndEncryptorAgree: a look-up never says encryptable for what the encryptor refuses, nor the other way round, also
// when the clock has moved since an earlier look-up filled the caches; and what the encryptor makes can be read with the
// key of every certificate that the look-up names.
func TestLookupAndEncryptorAgree(t *testing.T) {
	keys := someKeys(t)
	agreed := map[bool]int{}
	for seed := range uint64(50) {
		world := newTown(t, seed, keys)
		book := &recipients.Book{Directory: world, Policy: world.shelf.Policy, Now: func() time.Time { return world.now },
			WarnAfter: 7 * 24 * time.Hour, RefuseAfter: 90 * 24 * time.Hour}
		encrypter := Encrypter{Book: book, Algorithms: &smime.AlgorithmPolicy{}}
		for range 30 {
			var asked []string
			for range 1 + world.IntN(3) {
				asked = append(asked, string(world.people[world.IntN(len(world.people))]))
			}
			if _, err := book.Lookup(t.Context(), asked); err != nil {
				t.Fatal(err)
			}
			world.now = world.now.Add(time.Duration(world.IntN(60)-25) * 24 * time.Hour)
			verdict, err := book.Lookup(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			mail, err := encryptTo(t, encrypter, asked)
			if problem, refused := errors.AsType[*service.Problem](err); err != nil && !refused {
				t.Fatalf("seed %d: %v", seed, err)
			} else if refused && len(problem.Recipients) != len(dedupe(verdict.Blocking)) {
				t.Errorf("seed %d: the encryptor names %d recipients, the look-up %v", seed, len(problem.Recipients), verdict.Blocking)
			}
			if (err == nil) != (verdict.State == recipients.Encrypted) {
				t.Fatalf("seed %d, %v: the look-up says %s, the encryptor %v", seed, asked, verdict.State, err)
			}
			agreed[err == nil]++
			if err == nil {
				readable(t, world, mail, verdict)
			}
		}
	}
	if agreed[true] < 50 || agreed[false] < 50 {
		t.Errorf("too few of a kind to mean anything: %v", agreed)
	}
}

func dedupe(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}

func encryptTo(t *testing.T, e Encrypter, asked []string) ([]byte, error) {
	t.Helper()
	var to []mailaddr.Address
	for _, a := range asked {
		to = append(to, mailaddr.Address(a))
	}
	var out bytes.Buffer
	message := "From: me@corp.example\r\nSubject: x\r\n\r\nhello\r\n"
	err := e.Encrypt(t.Context(), bytes.NewReader([]byte(message)), service.EncryptOptions{To: to}, func(service.Envelope) (io.WriteCloser, error) {
		return nopCloser{&out}, nil
	})
	return out.Bytes(), err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// readable holds that every certificate of the verdict has a key that opens the mail.
func readable(t *testing.T, world *town, mail []byte, verdict recipients.Result) {
	t.Helper()
	for _, a := range verdict.Recipients {
		for _, cert := range a.Certificates() {
			opts := &smime.DecryptOptions{Identities: []cms.Identity{{Certificate: cert, Key: world.owner[string(cert.Raw)]}}}
			if _, err := smime.Decrypt(t.Context(), bytes.NewReader(mail), smime.Into(io.Discard), opts); err != nil {
				t.Errorf("%s, whose certificate is %x, cannot read the mail: %v", a.Address, fingerprintOf(cert), err)
			}
		}
	}
}

func someKeys(t *testing.T) []crypto.Signer {
	t.Helper()
	var keys []crypto.Signer
	for i := range 3 {
		bits := cmp.Or(map[int]int{2: 1024}[i], 2048) // one is too weak
		key, err := rsa.GenerateKey(cryptorand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, key)
}

func fingerprintOf(c *x509.Certificate) [32]byte { return sha256.Sum256(c.Raw) }
