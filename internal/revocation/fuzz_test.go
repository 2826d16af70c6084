package revocation

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// FuzzCRL holds that no bytes make the reader panic, and that nothing is read that the authority did not sign: all that
// is fuzzed is signed by nobody, but for the seed.
func FuzzCRL(f *testing.F) {
	ca := newAuthority(f, "CA", x509.KeyUsageCRLSign)
	seed := ca.crl(f, x509.RevocationList{
		ExtraExtensions:           scopeExtension(raw(0xa0, raw(0xa0, raw(0x86, []byte(listURL)))), raw(0x81, []byte{0xff})),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(2), RevocationTime: now, ReasonCode: 1}},
	})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := parseCRL(der, ca.cert, now)
		if err == nil && (len(c.revoked) != 1 || !c.scope.Users) {
			t.Errorf("something else than the seed was taken: %+v", c)
		}
		if o, err := outlineOf(der); err == nil {
			readEntries(o.entries)
		}
	})
}

// FuzzEntries reads what a careless authority may have signed.
func FuzzEntries(f *testing.F) {
	f.Add(raw(0x30, raw(0x02, []byte{5}), raw(0x17, []byte("270101000000Z")), raw(0x30, raw(0x30, raw(0x06, []byte{0x55, 0x1d, 0x15}), raw(0x04, raw(0x0a, []byte{1}))))))
	f.Fuzz(func(t *testing.T, der []byte) {
		entries, err := readEntries(der)
		if err != nil {
			return
		}
		if len(entries)*4 > len(der) {
			t.Errorf("%d entries of %d bytes", len(entries), len(der))
		}
		for i := range max(len(entries)-1, 0) {
			if string(entries[i].serial[:]) >= string(entries[i+1].serial[:]) {
				t.Error("not in order")
			}
		}
	})
}

// FuzzPoints reads both extensions that name distribution points.
func FuzzPoints(f *testing.F) {
	f.Add(raw(0x30, raw(0x30, raw(0xa0, raw(0xa0, raw(0x86, []byte(listURL)))))))
	f.Add(raw(0x30, raw(0xa0, raw(0xa0, raw(0x86, []byte(listURL)))), raw(0x82, []byte{0xff})))
	f.Fuzz(func(t *testing.T, der []byte) {
		p := pointsOf(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidCRLPoints, Value: der}}, OCSPServer: []string{string(der)}})
		if len(p.lists) > maxPoints*maxNames || len(p.names) > maxPoints*maxNames || len(p.others) > 8 {
			t.Errorf("%d lists, %d names, %d others", len(p.lists), len(p.names), len(p.others))
		}
		if s, err := parseScope(der); err == nil {
			s.covers(&x509.Certificate{}, p.names)
		}
	})
}

// FuzzOCSP holds that no bytes but those of the issuer are taken for an answer.
func FuzzOCSP(f *testing.F) {
	ca := newAuthority(f, "CA", x509.KeyUsageCRLSign)
	other := newAuthority(f, "Other", x509.KeyUsageCRLSign)
	template := ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(5), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	genuine := map[string]bool{}
	for _, signer := range []*authority{ca, other} {
		der, err := ocsp.CreateResponse(ca.cert, signer.cert, template, signer.key)
		if err != nil {
			f.Fatal(err)
		}
		genuine[string(der)] = signer == ca
		f.Add(der)
	}
	q := inquiry{serial: big.NewInt(5), issuer: ca.cert}
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := q.read(der, now)
		if err == nil && !genuine[string(der)] && !r.ThisUpdate.Equal(now) {
			t.Errorf("taken: %+v", r)
		}
	})
}

// FuzzStored reads what the store may hold: records, runs of entries, authorities.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"url":"http://x","authority":"00","list":{"this":"2027-01-01T00:00:00Z","next":"2027-01-02T00:00:00Z","scope":{"names":["hg=="]}}}`), uint64(7))
	run := make([]byte, 3*entrySize)
	rand.Read(run[entrySize:])
	f.Add(run, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, n uint64) {
		if r, err := decode[listRecord](b); err == nil && r != nil {
			r.due()
			r.missing("it")
			r.ended("it", now, now, now)
		}
		if r, err := decode[answerRecord](b); err == nil && r != nil {
			r.dueAfter(r.Next)
		}
		var serial [maxSerial]byte
		new(big.Int).SetUint64(n).FillBytes(serial[:])
		if e, found, err := searchRun(b, serial); found && (err != nil || e.serial != serial) {
			t.Errorf("%v, %v", e, err)
		}
	})
}
