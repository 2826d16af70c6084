package service

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b := budget{most: 3, now: func() time.Time { return now }}
	const ann, ben = 1000, 1001
	b.spend(ann, 2)
	if !b.left(ann) {
		t.Error("two of three questions used up everything")
	}
	b.spend(ann, 1)
	if b.left(ann) || !b.left(ben) {
		t.Error("one user's questions must end at three, and not touch another's")
	}
	now = now.Add(59 * time.Minute)
	if b.left(ann) {
		t.Error("the hour is not over")
	}
	now = now.Add(2 * time.Minute)
	if !b.left(ann) {
		t.Error("the hour is over")
	}
	b.spend(ben, 1)
	if len(b.spent) != 1 {
		t.Errorf("%d users remembered, want the one of this hour", len(b.spent))
	}
}
