package service

import (
	"sync"
	"time"
)

// budget bounds what each uid may have done within a time.
type budget struct {
	most int
	per  time.Duration
	now  func() time.Time

	mu    sync.Mutex
	spent map[uint32]spending
}

type spending struct {
	since time.Time
	n     int
}

// left reports whether a uid may go on.
func (b *budget) left(uid uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.spent[uid]
	return s.n < b.most || b.now().Sub(s.since) > b.per
}

// reserve takes up to n for a uid and returns how many that are; spend gives back what was not used.
func (b *budget) reserve(uid uint32, n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.most
	if s := b.spent[uid]; b.now().Sub(s.since) <= b.per {
		have = max(0, b.most-s.n)
	}
	n = min(n, have)
	b.add(uid, n)
	return n
}

// spend counts n for a uid; a negative n is given back.
func (b *budget) spend(uid uint32, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(uid, n)
}

func (b *budget) add(uid uint32, n int) {
	if b.spent == nil {
		b.spent = map[uint32]spending{}
	}
	s := b.spent[uid]
	if b.now().Sub(s.since) > b.per {
		s = spending{since: b.now()}
	}
	s.n += n
	b.spent[uid] = s
	for other, old := range b.spent {
		if b.now().Sub(old.since) > b.per {
			delete(b.spent, other)
		}
	}
}
