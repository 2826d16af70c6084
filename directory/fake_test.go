package directory_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// book is an address book in memory that answers like Exchange does: prefix match over all addresses, the listed and the
// others, at most a hundred records in no particular order.
type book struct {
	limit    int
	people   []*person
	requests int
	asked    []string
	fail     func(prefix string, n int) error // n counts requests from 1
	hide     bool                             // no certificates at all
}

type person struct {
	record   directory.Record
	unlisted []directory.Address
	gone     bool
	members  []directory.Address // of a group
	hidden   error               // what a group answers instead of its members
}

func (b *book) Name() string { return "book" }

func (b *book) Search(ctx context.Context, prefix string, certificates bool) (directory.Answer, error) {
	b.requests++
	b.asked = append(b.asked, prefix)
	if err := ctx.Err(); err != nil {
		return directory.Answer{}, err
	}
	if b.fail != nil {
		if err := b.fail(prefix, b.requests); err != nil {
			return directory.Answer{}, err
		}
	}
	var a directory.Answer
	for _, p := range b.people {
		if p.gone || !p.matches(prefix) {
			continue
		}
		if len(a.Records) == b.limit {
			a.Truncated = true
			break
		}
		rec := p.record
		if !certificates || b.hide {
			rec.Values = nil
		}
		if !certificates {
			rec.Addresses = []directory.Address{rec.Primary}
		}
		a.Records = append(a.Records, rec)
	}
	return a, nil
}

func (p *person) matches(prefix string) bool {
	for _, list := range [][]directory.Address{p.record.Addresses, p.unlisted} {
		for _, a := range list {
			if strings.HasPrefix(string(a), prefix) {
				return true
			}
		}
	}
	return false
}

func (b *book) find(primary directory.Address) *person {
	for _, p := range b.people {
		if p.record.Primary == primary {
			return p
		}
	}
	return nil
}

func (b *book) add(addresses ...directory.Address) *person {
	p := &person{record: directory.Record{Primary: addresses[0], Addresses: addresses, Kind: directory.KindMailbox, DisplayName: "Name of " + string(addresses[0])}}
	b.people = append(b.people, p)
	return p
}

// newBook makes n people whose names are spread as unevenly as names are: a few first names are very frequent. One in
// four has a second address, one in ten an alias that is not listed; every certifiedth has a certificate.
func newBook(t testing.TB, n, certifiedth int) *book {
	t.Helper()
	first := strings.Fields("michael thomas andreas peter stefan christian martin anna maria sabine julia laura jan tim ole bo xaver quirin yves zoe")
	last := strings.Fields("mueller schmidt schneider fischer weber meyer wagner becker schulz hoffmann koch bauer richter klein wolf adler busch ernst frank graf")
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	pick := func(words []string) string { return words[int(float64(len(words))*rng.Float64()*rng.Float64())] }
	value := certificate(t, "x@corp.example", time.Time{})
	b := &book{limit: 100}
	for i := range n {
		f, l := pick(first), pick(last)
		primary := directory.Address(fmt.Sprintf("%s.%s%d@corp.example", f, l, i))
		p := b.add(primary)
		if i%4 == 0 {
			p.record.Addresses = append(p.record.Addresses, directory.Address(fmt.Sprintf("%c%s%d@corp.example", f[0], l, i)))
		}
		if i%10 == 0 {
			p.unlisted = []directory.Address{directory.Address(fmt.Sprintf("u%06d@corp.example", i))}
		}
		if certifiedth > 0 && i%certifiedth == 0 {
			p.record.Values = []directory.Value{{Property: directory.MSExchangeCertificate, Data: value}}
		}
	}
	rng.Shuffle(len(b.people), func(i, j int) { b.people[i], b.people[j] = b.people[j], b.people[i] })
	return b
}

var testCA = sync.OnceValues(func() (*testca.CA, error) { return testca.New("test CA") })

// certificate issues one; notAfter zero means valid.
func certificate(t testing.TB, address string, notAfter time.Time) []byte {
	t.Helper()
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := testca.Options{Addresses: []string{address}, Key: key, NotBefore: epoch.AddDate(-2, 0, 0), NotAfter: notAfter}
	if notAfter.IsZero() {
		o.NotAfter = epoch.AddDate(5, 0, 0)
	}
	leaf, err := ca.Leaf(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate.Raw
}

var epoch = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

// night is a store, a book and a clock.
type night struct {
	t     testing.TB
	book  *book
	cache *cache.Cache
	now   time.Time
	sync  directory.Sync
}

// memory is a folder for a cache, where there is such a place one in memory: half of the time of a thousand nights would be
// spent waiting for a disk.
func memory(t testing.TB) string {
	t.Helper()
	const place, room = "/dev/shm", 256 << 20
	var free syscall.Statfs_t
	if err := syscall.Statfs(place, &free); err != nil || free.Bavail*uint64(free.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(place, "galsyncd-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newNight(t testing.TB, b *book) *night {
	t.Helper()
	c, err := cache.Open(memory(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	n := &night{t: t, book: b, cache: c, now: epoch}
	n.sync = directory.Sync{Source: b, Store: c, Now: func() time.Time { return n.now }}
	return n
}

// run syncs and lets a day pass.
func (n *night) run() directory.Report {
	n.t.Helper()
	r, err := n.sync.Run(context.Background(), false)
	if err != nil {
		n.t.Fatalf("sync: %v", err)
	}
	n.now = n.now.AddDate(0, 0, 1)
	return r
}

func (n *night) has(primary directory.Address) bool {
	n.t.Helper()
	_, err := n.entry(primary)
	if err != nil && !errors.Is(err, directory.ErrNoEntry) {
		n.t.Fatal(err)
	}
	return err == nil
}

func (n *night) entry(primary directory.Address) (e directory.Entry, err error) {
	err = n.cache.View(func(tx directory.Tx) error {
		e, err = tx.Entry(primary)
		return err
	})
	return e, err
}

// passing is an error that may pass.
type passing struct{ after time.Duration }

func (passing) Error() string               { return "server is busy" }
func (p passing) RetryAfter() time.Duration { return p.after }
