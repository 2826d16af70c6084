package cache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
)

var epoch = time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)

// entry makes one whose certificates are not certificates: the cache does not look into them.
func entry(i int) directory.Entry {
	a := directory.Address(fmt.Sprintf("person%04d@corp.example", i))
	e := directory.Entry{
		Primary: a, Addresses: []directory.Address{a, directory.Address(fmt.Sprintf("p%04d@corp.example", i))},
		DisplayName: fmt.Sprintf("Jürgen Person%04d", i), GivenName: "Jürgen", Surname: fmt.Sprintf("Person%04d", i),
		Kind: directory.KindMailbox, Changed: epoch,
		Digest: [32]byte{byte(i), byte(i >> 8)},
	}
	if i%2 == 0 {
		e.Certificates = []directory.UserCertificate{{Raw: bytes.Repeat([]byte{byte(i)}, 900), Property: directory.MSExchangeCertificate, Encoding: directory.EncodingX509}}
		e.Intermediates = [][]byte{bytes.Repeat([]byte{byte(i % 7)}, 700)}
	}
	return e
}

// same compares what the tests vary; cmp would take most of their time.
func same(a, b directory.Entry) bool {
	certs := slices.EqualFunc(a.Certificates, b.Certificates, func(a, b directory.UserCertificate) bool {
		return bytes.Equal(a.Raw, b.Raw) && a.Property == b.Property && a.Encoding == b.Encoding && a.Default == b.Default
	})
	return certs && a.Primary == b.Primary && slices.Equal(a.Addresses, b.Addresses) && a.DisplayName == b.DisplayName &&
		a.GivenName == b.GivenName && a.Surname == b.Surname && a.Kind == b.Kind && a.Changed.Equal(b.Changed) && a.Digest == b.Digest &&
		slices.EqualFunc(a.Intermediates, b.Intermediates, bytes.Equal)
}

func open(t testing.TB, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fill(t testing.TB, c *cache.Cache, n int) {
	t.Helper()
	for at := 0; at < n; at += 100 {
		err := c.Update(func(tx directory.Tx) error {
			for i := at; i < min(at+100, n); i++ {
				if err := tx.PutEntry(entry(i)); err != nil {
					return err
				}
			}
			return tx.SetState("at", fmt.Appendf(nil, "%d", at))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	fill(t, c, 50)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir)
	for i := range 50 {
		want := entry(i)
		for _, a := range want.Addresses {
			got, err := c.Lookup(t.Context(), a)
			if err != nil || len(got) != 1 || !same(got[0].Entry, want) || got[0].Claimed || !got[0].Seen.Equal(epoch) {
				t.Fatalf("Lookup(%s) = %+v, %v; want %+v", a, got, err, want)
			}
		}
	}
	for _, a := range []directory.Address{"person0001@corp.example.org", "person000@corp.example", "erson0001@corp.example"} {
		if got, err := c.Lookup(t.Context(), a); err != nil || len(got) != 0 {
			t.Errorf("Lookup(%s) = %v, %v; want nothing", a, got, err)
		}
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("check while open: %v", err)
	}
}

func TestIndexFollowsEntry(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 3)
	e := entry(2)
	e.Addresses = []directory.Address{e.Primary, "new@corp.example"}
	e.Claimed = []directory.Address{"p0002@corp.example"}
	e.DisplayName, e.GivenName, e.Surname, e.Certificates = "Zoë Łuk", "Zoë", "Łuk", nil
	update(t, c, func(tx directory.Tx) error { return tx.PutEntry(e) })
	if got, _ := c.Lookup(t.Context(), "p0002@corp.example"); len(got) != 1 || !got[0].Claimed {
		t.Errorf("claimed address: %+v", got)
	}
	if got, _ := c.Search(t.Context(), "luk zoe", 10); len(got) != 1 {
		t.Errorf("search by new name: %v", got)
	}
	if got, _ := c.Search(t.Context(), "person0002", 10); len(got) != 1 { // still by its address
		t.Errorf("search by address: %v", got)
	}
	entries, certified := totals(t, c)
	if entries != 3 || certified != 1 {
		t.Errorf("totals %d, %d; want 3, 1", entries, certified)
	}
	update(t, c, func(tx directory.Tx) error { return tx.DeleteEntry(e.Primary) })
	for _, a := range []directory.Address{e.Primary, "new@corp.example", "p0002@corp.example"} {
		if got, _ := c.Lookup(t.Context(), a); len(got) != 0 {
			t.Errorf("Lookup(%s) after delete: %v", a, got)
		}
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func update(t testing.TB, c *cache.Cache, f func(directory.Tx) error) {
	t.Helper()
	if err := c.Update(f); err != nil {
		t.Fatal(err)
	}
}

func totals(t testing.TB, c *cache.Cache) (entries, certified int) {
	t.Helper()
	_, entries, certified, err := c.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return entries, certified
}

// The history is read once for each state of the file: every commit must show in the next look-up.
func TestLookupFollowsHistory(t *testing.T) {
	c := open(t, t.TempDir())
	e := entry(1)
	update(t, c, func(tx directory.Tx) error { return tx.PutEntry(e) })
	for run := range 4 {
		finished := epoch.Add(time.Duration(run) * 24 * time.Hour)
		h := directory.History{Number: run, Finished: finished, Gaps: []directory.Gap{{Prefix: fmt.Sprintf("gap%d", run)}}}
		update(t, c, func(tx directory.Tx) error {
			b, err := json.Marshal(h)
			return errors.Join(err, tx.SetState("walk/history", b))
		})
		for range 2 {
			found, err := c.Lookup(t.Context(), e.Primary)
			if err != nil || len(found) != 1 || !found[0].Seen.Equal(finished) {
				t.Errorf("after run %d: %+v, %v; want an entry seen at %v", run, found, err, finished)
			}
			got, _, _, err := c.History(t.Context())
			if err != nil || got.Number != run || !got.Finished.Equal(finished) || !slices.Equal(got.Gaps, h.Gaps) {
				t.Errorf("after run %d: history %+v, %v", run, got, err)
			}
		}
	}
}

func TestSearch(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 300)
	for text, want := range map[string]int{"jurgen": 50, "JÜRGEN person01": 50, "person0123": 1, "person0123@corp.example": 1, "xyz": 0, "": 0, ",,": 0, "person0123 xyz": 0} {
		got, err := c.Search(t.Context(), text, 50)
		if err != nil || len(got) != want {
			t.Errorf("Search(%q) found %d, %v; want %d", text, len(got), err, want)
		}
	}
}

func TestSweepKeepsWhatIsUsed(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx directory.Tx) error {
		for i := range 200 {
			e := entry(2 * i)
			e.Intermediates = [][]byte{fmt.Appendf(nil, "intermediate %d", i)}
			if err := tx.PutEntry(e); err != nil {
				return err
			}
		}
		for i := range 100 {
			if err := tx.DeleteEntry(entry(2 * i).Primary); err != nil {
				return err
			}
		}
		return tx.Sweep()
	})
	for i := range 200 {
		got, err := c.Lookup(t.Context(), entry(2*i).Primary)
		if err != nil || len(got) != i/100 {
			t.Fatalf("entry %d after the sweep: %v, %v", i, got, err)
		}
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := cache.Open(dir); !errors.Is(err, cache.ErrInUse) {
		t.Errorf("second open: %v, want ErrInUse", err)
	}
}

func TestSchema(t *testing.T) {
	for schema, want := range map[uint64]error{cache.Schema + 1: cache.ErrNewerSchema, cache.Schema - 1: cache.ErrOlderSchema} {
		dir := t.TempDir()
		open(t, dir).Close()
		db, err := bbolt.Open(filepath.Join(dir, "cache.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			value := binary.BigEndian.AppendUint64(nil, schema)
			sum := crc32.Checksum(value, crc32.MakeTable(crc32.Castagnoli))
			return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(value, sum))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Open(dir); !errors.Is(err, want) {
			t.Errorf("open schema %d: %v, want %v", schema, err, want)
		}
		aside, err := cache.SetAside(dir)
		if err != nil {
			t.Fatal(err)
		}
		open(t, dir)
		if _, err := os.Stat(aside); err != nil {
			t.Errorf("set aside: %v", err)
		}
	}
}

func TestNotARegularFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "cache.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Open(dir); err == nil {
		t.Error("a directory was opened as a cache")
	}
}

// TestBitFlips flips one bit at a time: the file is refused as damaged, or everything that can be read is what was
// written. Never a panic, never another answer.
func TestBitFlips(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	fill(t, c, 40)
	c.Close()
	path := filepath.Join(dir, "cache.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 1000 {
		bad := bytes.Clone(good)
		bit := rng.IntN(len(bad) * 8)
		bad[bit/8] ^= 1 << (bit % 8)
		if spoiled(t, bad, fmt.Sprintf("bit %d of byte %d", bit%8, bit/8)) {
			refused++
		}
	}
	t.Logf("%d of 1000 flips were refused; the others were in unused bytes", refused)
	if refused < 200 {
		t.Errorf("only %d of 1000 flips were noticed", refused)
	}
}

func TestTruncations(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	fill(t, c, 40)
	c.Close()
	good, err := os.ReadFile(filepath.Join(dir, "cache.db"))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		n := rng.IntN(len(good))
		spoiled(t, good[:n], fmt.Sprintf("cut at %d", n))
	}
}

// spoiled opens a damaged file and reads all of it; true when it was refused.
func spoiled(t *testing.T, content []byte, what string) bool {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "cache.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(dir)
	if err != nil {
		if !errors.Is(err, cache.ErrDamaged) && !errors.Is(err, cache.ErrNewerSchema) && !errors.Is(err, cache.ErrOlderSchema) {
			t.Errorf("%s: %v is not a known error", what, err)
		}
		return true
	}
	defer c.Close()
	entries, _ := totals(t, c)
	for i := range 40 {
		got, err := c.Lookup(t.Context(), entry(i).Primary)
		if err != nil || len(got) > 0 && !same(got[0].Entry, entry(i)) || len(got) == 0 && entries == 40 {
			t.Errorf("%s: entry %d reads as %v, %v", what, i, got, err)
		}
	}
	if len(what)%4 == 0 { // some: each write waits for the disk
		if err := c.Update(func(tx directory.Tx) error { return tx.PutEntry(entry(7)) }); err != nil {
			t.Errorf("%s: write: %v", what, err)
		}
	}
	return false
}

// TestDamageWhileOpen cuts the file under an open cache: the memory map faults, which must come as an error.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	fill(t, c, 2000)
	if err := os.Truncate(c.Path(), 8192); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := range 2000 {
		if _, err = c.Lookup(t.Context(), entry(i).Primary); err != nil {
			break
		}
	}
	if !errors.Is(err, cache.ErrDamaged) || !c.Broken() {
		t.Fatalf("reading a cut file: %v, want ErrDamaged", err)
	}
	if err := c.Update(func(directory.Tx) error { return nil }); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("writing after damage: %v, want ErrDamaged", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := cache.SetAside(dir); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestCheckWhileWriting(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 500)
	stop := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		var err error
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			err = c.Update(func(tx directory.Tx) error {
				e := entry(i % 500)
				e.DisplayName = fmt.Sprint("another name ", i)
				return tx.PutEntry(e)
			})
		}
		stop <- err
	}()
	for range 20 {
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-stop; err != nil {
		t.Error(err)
	}
}

// TestOpenWhileWriting opens the file of a process that writes. What it reads may be torn, so that it must not even look:
// a file taken for damaged is set aside, from under the process that has it open.
func TestOpenWhileWriting(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	fill(t, c, 500)
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan error)
	go func() {
		var err error
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			err = c.Update(func(tx directory.Tx) error {
				e := entry(i % 500)
				e.DisplayName = fmt.Sprint("another name ", i)
				return tx.PutEntry(e)
			})
		}
		stop <- err
	}()
	for range 20 {
		if err := cache.Verify(c.Path()); !errors.Is(err, cache.ErrInUse) {
			t.Errorf("verify: %v, want ErrInUse", err)
		}
	}
	if _, err := cache.Open(dir); !errors.Is(err, cache.ErrInUse) {
		t.Errorf("open: %v, want ErrInUse", err)
	}
	cancel()
	if err := <-stop; err != nil {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	c := open(f, dir)
	fill(f, c, 12)
	c.Close()
	good, err := os.ReadFile(filepath.Join(dir, "cache.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			t.Skip("larger than the fuzzer needs")
		}
		path := filepath.Join(t.TempDir(), "cache.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cache.Verify(path); err != nil {
			return
		}
		c, err := cache.Open(filepath.Dir(path))
		if err != nil {
			return
		}
		defer c.Close()
		primaries, err := c.Primaries(t.Context())
		for _, p := range primaries {
			if err == nil {
				_, err = c.Lookup(t.Context(), p)
			}
		}
		if err != nil {
			t.Errorf("a verified file cannot be read: %v", err)
		}
	})
}
