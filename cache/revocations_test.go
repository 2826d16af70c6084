package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/revocation"
)

func revocations(t testing.TB, c *cache.Cache, f func(revocation.Tx) error) {
	t.Helper()
	if err := c.UpdateRevocations(f); err != nil {
		t.Fatal(err)
	}
}

// TestRevocationsAreOrdered holds what package revocation relies on: an ordered map, all or nothing.
func TestRevocationsAreOrdered(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	revocations(t, c, func(tx revocation.Tx) error {
		for _, k := range []string{"a1", "b2", "b4", "b6", "c1"} {
			if err := tx.Put([]byte(k), []byte("value of "+k)); err != nil {
				return err
			}
		}
		return nil
	})
	failure := errors.New("no")
	if err := c.UpdateRevocations(func(tx revocation.Tx) error { return errors.Join(tx.Delete([]byte("b")), failure) }); !errors.Is(err, failure) {
		t.Errorf("the failed transaction says %v", err)
	}
	c.Close()
	c = open(t, dir)
	err := c.ViewRevocations(func(tx revocation.Tx) error {
		for key, want := range map[string]string{"b1": "", "b2": "b2", "b3": "b2", "b5": "b4", "b6": "b6", "b9": "b6", "a0": "", "zz": ""} {
			prefix := []byte(key[:1])
			found, value, err := tx.Floor(prefix, []byte(key))
			if err != nil || string(found) != want || want != "" && string(value) != "value of "+want {
				t.Errorf("floor of %s: %q (%q), %v; want %q", key, found, value, err, want)
			}
		}
		var all []string
		err := tx.Each([]byte("b"), func(k, _ []byte) error {
			all = append(all, string(k))
			return nil
		})
		if fmt.Sprint(all) != "[b2 b4 b6]" {
			t.Errorf("keys with b: %q", all)
		}
		if v, err := tx.Get([]byte("x")); v != nil || err != nil {
			t.Errorf("nothing at x: %q, %v", v, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	revocations(t, c, func(tx revocation.Tx) error { return tx.Delete([]byte("b")) })
	err = c.ViewRevocations(func(tx revocation.Tx) error {
		found, _, err := tx.Floor([]byte("b"), []byte("b9"))
		if found != nil {
			t.Errorf("%q was deleted", found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRevocationsAreVerified flips bits of revocation data: the file is refused, or everything in it is what was written.
func TestRevocationsAreVerified(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	run := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 10_000)
	revocations(t, c, func(tx revocation.Tx) error {
		return errors.Join(tx.Put([]byte("list"), run), tx.Put([]byte("record"), []byte("{}")))
	})
	c.Close()
	path := filepath.Join(dir, "cache.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	refused := 0
	for range 300 {
		bad := bytes.Clone(good)
		bit := rng.IntN(len(bad) * 8)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := cache.Open(dir)
		if err != nil {
			refused++
			continue
		}
		err = c.ViewRevocations(func(tx revocation.Tx) error {
			got, err := tx.Get([]byte("list"))
			if !bytes.Equal(got, run) {
				t.Errorf("bit %d: another list, %v", bit, err)
			}
			return err
		})
		if err := errors.Join(err, c.Close()); err != nil {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	if refused < 100 {
		t.Errorf("only %d of 300 flips were noticed", refused)
	}
}
