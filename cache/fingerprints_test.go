package cache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
)

// TestFingerprints compares the seeks in the indexes with a search through everything that was stored.
func TestFingerprints(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 300)
	var all, contacts []string
	note := func(list *[]string, raw []byte) {
		sum := sha256.Sum256(raw)
		*list = append(*list, hex.EncodeToString(sum[:]))
	}
	for i := range 300 {
		e := entry(i)
		for _, cert := range e.Certificates {
			note(&all, cert.Raw)
		}
		for _, raw := range e.Intermediates {
			note(&all, raw)
		}
	}
	friend := contact(1)
	friend.Certificates = []directory.UserCertificate{{Raw: []byte("one")}, {Raw: []byte("two")}}
	putContacts(t, c, friend)
	note(&contacts, []byte("one"))
	note(&contacts, []byte("two"))
	for _, tc := range []struct {
		name string
		have []string
		ask  func(string, int) ([][32]byte, error)
	}{
		{"entries", all, func(s string, n int) ([][32]byte, error) { return c.Fingerprints(t.Context(), s, n) }},
		{"contacts", contacts, func(s string, n int) ([][32]byte, error) { return c.ContactFingerprints(t.Context(), s, n) }},
	} {
		slices.Sort(tc.have)
		tc.have = slices.Compact(tc.have)
		beginnings := []string{"", strings.Repeat("f", 64), strings.Repeat("0", 64), "0123456789abcdef"}
		for _, sum := range tc.have[:min(len(tc.have), 20)] {
			for _, n := range []int{1, 2, 7, 8, 9, 63, 64} {
				beginnings = append(beginnings, sum[:n], sum[:n-1]+"f")
			}
		}
		for _, b := range beginnings {
			for _, limit := range []int{1, 3, 1000} {
				var want []string
				for _, sum := range tc.have {
					if strings.HasPrefix(sum, b) && len(want) < limit {
						want = append(want, sum)
					}
				}
				found, err := tc.ask(b, limit)
				var got []string
				for _, sum := range found {
					got = append(got, hex.EncodeToString(sum[:]))
				}
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %q, at most %d: %v, %v; want %v", tc.name, b, limit, got, err, want)
				}
			}
		}
		for _, b := range []string{"0123456x", strings.Repeat("0", 65)} {
			if _, err := tc.ask(b, 1); err == nil {
				t.Errorf("%s: %q is taken for the beginning of a fingerprint", tc.name, b)
			}
		}
	}
}

// TestFingerprintsOfOneForAll: a certificate that everybody has costs one seek, not one for each.
func TestFingerprintsOfOneForAll(t *testing.T) {
	c := open(t, t.TempDir())
	raw := bytes.Repeat([]byte{7}, 900)
	sum := sha256.Sum256(raw)
	update(t, c, func(tx directory.Tx) error {
		for i := range 2000 {
			a := directory.Address(fmt.Sprintf("shared%04d@corp.example", i))
			e := directory.Entry{Primary: a, Addresses: []directory.Address{a}, Kind: directory.KindMailbox,
				Certificates: []directory.UserCertificate{{Raw: raw, Property: directory.MSExchangeCertificate}}}
			if err := tx.PutEntry(e); err != nil {
				return err
			}
		}
		return nil
	})
	short := hex.EncodeToString(sum[:4])
	if found, err := c.Fingerprints(t.Context(), short, 10); err != nil || len(found) != 1 || found[0] != sum {
		t.Errorf("%d fingerprints, %v", len(found), err)
	}
	allocations := testing.AllocsPerRun(10, func() { _, _ = c.Fingerprints(t.Context(), short, 10) })
	if allocations > 100 {
		t.Errorf("%.0f allocations for one certificate that 2,000 people have", allocations)
	}
}
