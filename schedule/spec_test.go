package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestParseRefuses(t *testing.T) {
	for _, spec := range []string{
		"daily", "@Daily", "@reboot", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
		"*/0 * * * *", "5-1 * * * *", "-1 * * * *", ", * * * *", "1,,2 * * * *", "1, * * * *",
		"0 0 30 2 *", "0 0 31 4,6,9,11 *", "TZ=0", "TZ=", "CRON_TZ=Nowhere/City 0 0 * * *", "CRON_TZ=../../x 0 0 * * *",
		"CRON_TZ=Europe/Berlin @every 6h", "@every", "@every 6", "@every6h", "@every -5s", "@every 59s", "@every 0", "@every 99999h",
		strings.Repeat("0,", 100) + "0 * * * *", "0 0 * * *\x00", "０ 0 * * *",
	} {
		if s, err := Parse(spec); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was accepted: next is %v", spec, s.Next(time.Now()))
		}
	}
}

func TestNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		tm, err := time.ParseInLocation("2006-01-02 15:04:05", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	for _, tt := range []struct{ spec, after, want string }{
		{"30 2 * * *", "2026-01-10 02:29:59", "2026-01-10 02:30:00"},
		{"30 2 * * *", "2026-01-10 02:30:00", "2026-01-11 02:30:00"},
		{"@daily", "2026-01-10 12:00:00", "2026-01-11 00:00:00"},
		{"0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
		{"0 0 * * mon", "2026-01-10 12:00:00", "2026-01-12 00:00:00"},
		{"CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-10 00:30:00", "2026-01-10 01:00:00"},
		{"@every 6h", "2026-01-10 00:59:59", "2026-01-10 01:00:00"}, // 00:00 UTC
		{"@every 6h", "2026-01-10 01:00:00", "2026-01-10 07:00:00"},
		// The clock jumps from 02:00 to 03:00: no 02:30 that day.
		{"30 2 * * *", "2026-03-28 12:00:00", "2026-03-30 02:30:00"},
	} {
		s, err := Parse(" " + tt.spec + " ")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(at(tt.after)); !got.Equal(at(tt.want)) {
			t.Errorf("%s after %s: got %v, want %s", tt.spec, tt.after, got, tt.want)
		}
		if s.String() != tt.spec || s.ByHand() {
			t.Errorf("%q comes back as %q", tt.spec, s)
		}
	}
	// The hour from 02:00 to 03:00 comes twice on 2026-10-25, and so does 02:30.
	s, err := Parse("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Next(at("2026-10-25 00:00:00"))
	if second := s.Next(first); second.Sub(first) != time.Hour || second.Day() != 25 {
		t.Errorf("the second 02:30 is %v after the first", second.Sub(first))
	}
}

func TestByHand(t *testing.T) {
	s, err := Parse("  ")
	if err != nil || !s.ByHand() || !s.Next(time.Now()).IsZero() {
		t.Errorf("got %v, %v", s, err)
	}
}

// FuzzParse holds that parsing does not panic or hang, and that the next time of what is accepted lies ahead.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"30 2 * * *", "@every 6h", "TZ=0", "CRON_TZ=Europe/Berlin 0 0 29 2 *", "*/5,1-3/2 ? jan-mar * sun", "@weekly", ""} {
		f.Add(s, int64(1_770_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		now := time.Unix(unix%4_000_000_000, 0)
		next := s.Next(now)
		if s.ByHand() != next.IsZero() && now.Year() < 2090 && now.Year() > 1970 {
			t.Fatalf("%q: next after %v is %v", text, now, next)
		}
		if !next.IsZero() && !next.After(now) {
			t.Fatalf("%q: next after %v is %v", text, now, next)
		}
		again, err := Parse(s.String())
		if err != nil || !again.Next(now).Equal(next) {
			t.Fatalf("%q does not come back: %v", text, err)
		}
	})
}
