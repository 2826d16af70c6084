package recent

import (
	"sync"
	"testing"
)

// TestGenerations: what is used stays, what is not goes, and no more is kept than was said.
func TestGenerations(t *testing.T) {
	var m Map[int, string]
	if v, ok := m.Get(1); ok {
		t.Fatalf("an empty one knows %q", v)
	}
	m.Put(-1, "used", 10)
	m.Put(-2, "unused", 10)
	for i := range 100 {
		m.Put(i, "other", 10)
		if v, ok := m.Get(-1); !ok || v != "used" {
			t.Fatalf("after %d others: %q, %t", i+1, v, ok)
		}
		if n := len(m.young) + len(m.older); n > 20 {
			t.Fatalf("%d values after %d", n, i+1)
		}
	}
	if _, ok := m.Get(-2); ok {
		t.Error("what nobody used is still there")
	}
	m.Put(-1, "new", 10)
	if v, _ := m.Get(-1); v != "new" {
		t.Errorf("%q", v)
	}
}

func TestConcurrently(t *testing.T) {
	var m Map[int, int]
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 1000 {
				m.Put(j, j, 16)
				if v, ok := m.Get((j + i) % 100); ok && v != (j+i)%100 {
					t.Errorf("%d is %d", (j+i)%100, v)
				}
			}
		})
	}
	all.Wait()
}
