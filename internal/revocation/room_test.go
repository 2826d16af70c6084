package revocation

import (
	"encoding/binary"
	"testing"
	"time"
)

// TestNoRoom asks again and again for one list more than there is room for: it is one that is left out.
func TestNoRoom(t *testing.T) {
	var s Service
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i := range maxLists + 1 {
		for range 3 {
			room := s.note(target{id: listKey(key{}, string(binary.BigEndian.AppendUint32(nil, uint32(i)))), asked: now})
			if room != (i < maxLists) {
				t.Fatalf("list %d: room %t", i, room)
			}
		}
	}
	if n := len(s.dropped); n != 1 {
		t.Errorf("%d lists are said to be left out, want 1", n)
	}
	s.forgetTargets(now.Add(time.Hour))
	if n := len(s.dropped); n != 0 || !s.note(target{id: key{1}, asked: now}) {
		t.Errorf("no room after everything was forgotten (%d left out)", n)
	}
}
