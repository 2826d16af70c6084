// Package recent remembers the values that were used last.
package recent

import "sync"

// Map remembers values by key, and forgets those that were not used for long. The zero value is empty; it may be used from
// any number of goroutines, and must not be copied.
//
// It keeps two generations: when the younger one is full, the older one is forgotten; what is used moves to the younger.
type Map[K comparable, V any] struct {
	mu           sync.Mutex
	young, older map[K]V
	most         int // values in one generation
}

// Get returns the value for key, and whether it is known.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[key]
	if !ok {
		if v, ok = m.older[key]; ok {
			m.put(key, v)
		}
	}
	return v, ok
}

// Put remembers the value for key. One generation holds most values, so that at most twice as many are remembered.
func (m *Map[K, V]) Put(key K, v V, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = most
	m.put(key, v)
}

func (m *Map[K, V]) put(key K, v V) {
	if m.young == nil || len(m.young) >= m.most {
		m.older, m.young = m.young, make(map[K]V)
	}
	m.young[key] = v
}
