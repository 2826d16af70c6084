package directory_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// certificateFrom issues a certificate that begins to be valid then.
func certificateFrom(t testing.TB, address string, notBefore time.Time) []byte {
	t.Helper()
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{address}, Key: key, NotBefore: notBefore, NotAfter: notBefore.AddDate(3, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate.Raw
}

func (n *night) offers(primary directory.Address, raw []byte) bool {
	n.t.Helper()
	e, err := n.entry(primary)
	if err != nil {
		n.t.Fatal(err)
	}
	return slices.ContainsFunc(e.Certificates, func(c directory.UserCertificate) bool { return string(c.Raw) == string(raw) })
}

func (p *person) offer(raw ...[]byte) {
	p.record.Values = nil
	for _, r := range raw {
		p.record.Values = append(p.record.Values, directory.Value{Property: directory.UserSMIMECertificate, Data: r})
	}
}

// TestReusedAddress: somebody leaves, and somebody else gets the address. Whatever the protocol, and whether or not the
// second one has a certificate, those of the first one with which mail could be encrypted are gone with one run. What is to
// become valid later must not come to life then either.
func TestReusedAddress(t *testing.T) {
	const address = "bob@corp.example"
	old, later, mine := certificate(t, address, time.Time{}), certificateFrom(t, address, epoch.AddDate(0, 0, 3)), certificate(t, address, time.Time{})
	for _, partial := range []bool{false, true} {
		for _, known := range []bool{false, true} {
			for _, values := range [][][]byte{nil, {mine}} {
				n, b := newBatchNight(t, 60)
				bob := b.add(address)
				bob.offer(old, later)
				n.sync.Addresses = append(n.sync.Addresses, address)
				n.sync.Source, n.sync.KnownOnly = b.book, false
				n.run()
				if !n.offers(address, old) || !n.offers(address, later) {
					t.Fatal("the first one is not known")
				}
				bob.record.DisplayName = "Another Bob"
				bob.offer(values...)
				if n.sync.KnownOnly = known; partial {
					n.sync.Source = b
				}
				for range 5 {
					n.run()
					if n.offers(address, old) || n.offers(address, later) || n.offers(address, mine) != (values != nil) {
						t.Errorf("partial %v, known %v, with a certificate %v: old %v, later %v, own %v", partial, known, values != nil,
							n.offers(address, old), n.offers(address, later), n.offers(address, mine))
					}
				}
			}
		}
	}
}

// TestMovedCertificate: a certificate that was published for the wrong person moves to the right one.
func TestMovedCertificate(t *testing.T) {
	raw := certificate(t, "bob@corp.example", time.Time{})
	for _, known := range []bool{false, true} {
		n, b := newBatchNight(t, 30)
		alice, bob := b.add("alice@corp.example"), b.add("bob@corp.example")
		n.sync.Addresses = append(n.sync.Addresses, alice.record.Primary, bob.record.Primary)
		n.sync.Source, n.sync.KnownOnly = b.book, known
		alice.offer(raw)
		n.run()
		alice.offer()
		bob.offer(raw)
		n.run()
		if n.offers(alice.record.Primary, raw) || !n.offers(bob.record.Primary, raw) {
			t.Errorf("known %v: alice has it %v, bob %v", known, n.offers(alice.record.Primary, raw), n.offers(bob.record.Primary, raw))
		}
	}
}

// TestAddressThatBeginsOthers: somebody whose whole address begins more than a hundred others is asked for exactly: found
// wherever the server puts him in its answers, seen to renew his certificate, and seen to leave.
func TestAddressThatBeginsOthers(t *testing.T) {
	const address = "bob@corp.example"
	old, renewed := certificate(t, address, time.Time{}), certificate(t, address, time.Time{})
	for _, first := range []bool{true, false} {
		b := newBook(t, 30, 3)
		for i := range 150 {
			b.add(directory.Address(fmt.Sprintf("%s%c%d.org", address, 'a'+i%26, i)))
		}
		bob := b.add(address)
		bob.offer(old)
		if first {
			slices.Reverse(b.people)
		}
		n := newNight(t, b)
		n.run()
		if !n.has(address) {
			t.Fatalf("first %v: not found", first)
		}
		bob.offer(renewed)
		n.run()
		if !n.offers(address, renewed) || n.offers(address, old) {
			t.Errorf("first %v: the renewed certificate is not known", first)
		}
		bob.gone = true
		n.run()
		n.run()
		if n.has(address) {
			t.Errorf("first %v: still there", first)
		}
	}
}
