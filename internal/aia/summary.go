package aia

import (
	"cmp"
	"slices"
	"time"
)

// Summary is how the service is.
type Summary struct {
	// Kept counts certificates, Waiting places that are still to be asked, Failing those that gave nothing when last asked.
	Kept, Waiting, Failing int
	// Troubles are at most 20 of those that fail, the latest first.
	Troubles []Trouble
}

// Trouble is a place that gave nothing.
type Trouble struct {
	URL   string
	Error string
	Hint  string
	Tried time.Time
}

// Summary says how the service is.
func (s *Service) Summary() Summary {
	const most = 20
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := Summary{Kept: s.count}
	for _, t := range s.targets {
		switch {
		case t.failure != "":
			sum.Failing++
			sum.Troubles = append(sum.Troubles, Trouble{URL: clip(t.url), Error: t.failure, Hint: t.hint, Tried: t.tried})
		case len(t.waiting) > 0:
			sum.Waiting++
		}
	}
	slices.SortFunc(sum.Troubles, func(a, b Trouble) int { return cmp.Or(b.Tried.Compare(a.Tried), cmp.Compare(a.URL, b.URL)) })
	sum.Troubles = sum.Troubles[:min(len(sum.Troubles), most)]
	return sum
}
