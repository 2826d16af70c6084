package directory

import (
	"fmt"
	"testing"
	"time"
)

// TestGapsOfGaps: what no run confirmed is as old as it is, also when the places that the server does not answer for grow,
// shrink and overlap from night to night.
func TestGapsOfGaps(t *testing.T) {
	start := time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)
	h := History{Finished: start, Number: 1}
	people := map[Address]time.Time{"bob@corp.example": start, "bob.meyer@corp.example": start, "bob.meier@corp.example": start, "ann@corp.example": start}
	for day, gaps := range [][]string{{"bob.m"}, {"bob"}, {"bob.me"}, {"bob", "a"}, {"bob.mey"}, {"b"}, {"bob.m", "bob"}, {}, {"b"}} {
		now := start.AddDate(0, 0, day+1)
		h.Gaps, h.Finished = h.gaps(Report{Gaps: gaps}), now
		for p, seen := range people {
			missed := false
			for _, g := range gaps {
				missed = missed || len(g) <= len(p) && string(p[:len(g)]) == g
			}
			if !missed {
				seen = now
			}
			people[p] = seen
			if got := h.Seen(Entry{Primary: p}); !got.Equal(seen) {
				t.Errorf("day %d, gaps %v: %s was seen %s, want %s", day+1, gaps, p, got.Format(time.DateOnly), seen.Format(time.DateOnly))
			}
		}
	}
}

// TestGapsAreBounded: whatever a server leaves out, night after night, the memory of it stays small, and nothing looks newer
// than it is.
func TestGapsAreBounded(t *testing.T) {
	start := time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)
	h := History{Finished: start}
	for night := range 20 {
		rep := Report{Gaps: []string{"b"}}
		for i := range maxGaps - 1 {
			rep.Gaps = append(rep.Gaps, fmt.Sprintf("b%d.%d", night, i))
		}
		h.Gaps, h.Finished = h.gaps(rep), start.AddDate(0, 0, night+1)
	}
	if len(h.Gaps) > maxHistory {
		t.Errorf("%d gaps are remembered", len(h.Gaps))
	}
	if got := h.Seen(Entry{Primary: "bob@corp.example"}); !got.Equal(start) {
		t.Errorf("seen %s", got)
	}
}
