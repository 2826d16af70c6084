package cache_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
)

// TestLookupWhileWriting: what is remembered is never older than what was last stored.
func TestLookupWhileWriting(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 4)
	var stored atomic.Int64
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				least := stored.Load()
				found, err := c.Lookup(t.Context(), "p0001@corp.example")
				if err != nil || len(found) != 1 {
					t.Errorf("%d found, %v", len(found), err)
					return
				}
				if got, err := strconv.Atoi(found[0].Entry.Alias); err == nil && int64(got) < least {
					t.Errorf("version %d after %d was stored", got, least)
					return
				}
			}
		})
	}
	for i := range 200 {
		e := entry(1)
		e.Alias = strconv.Itoa(i + 1)
		update(t, c, func(tx directory.Tx) error { return tx.PutEntry(e) })
		stored.Store(int64(i + 1))
	}
	close(done)
	readers.Wait()
}

// TestLookupIsShared: what one caller appends does not reach another, and what is gone is not remembered.
func TestLookupIsShared(t *testing.T) {
	c := open(t, t.TempDir())
	fill(t, c, 4)
	ask := func(a directory.Address) []directory.Sighting {
		t.Helper()
		found, err := c.Lookup(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first, second := ask("p0002@corp.example"), ask("p0002@corp.example")
	if len(first) != 1 || len(second) != 1 || &first[0].Entry.Certificates[0].Raw[0] != &second[0].Entry.Certificates[0].Raw[0] {
		t.Fatalf("not remembered: %v, %v", first, second)
	}
	if a, b := append(first, directory.Sighting{}), append(second, directory.Sighting{}); &a[1] == &b[1] {
		t.Error("two callers append to the same memory")
	}
	if found := ask("nobody@corp.example"); len(found) != 0 {
		t.Errorf("nobody is %v", found)
	}
	update(t, c, func(tx directory.Tx) error {
		e := entry(9)
		e.Addresses = append(e.Addresses, "nobody@corp.example")
		if err := tx.PutEntry(e); err != nil {
			return err
		}
		return tx.DeleteEntry("person0002@corp.example")
	})
	if found := ask("nobody@corp.example"); len(found) != 1 {
		t.Errorf("somebody new is not found: %v", found)
	}
	if found := ask("p0002@corp.example"); len(found) != 0 {
		t.Errorf("somebody who left is found: %v", found)
	}
}
