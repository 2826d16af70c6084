package recipients

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// TestUnknownAfterKnownOnly: a run over known addresses alone cannot tell that somebody is not in the address book.
func TestUnknownAfterKnownOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		completed, walked time.Duration // ago; 0 is never
		reason            string
		online            bool
	}{
		"never read":             {0, 0, "never read completely", false},
		"walks":                  {2 * time.Hour, 2 * time.Hour, "not in the address book, last read completely on 2027-01-05 10:00 UTC (2 hours ago)", false},
		"known only":             {2 * time.Hour, 0, "not in the local copy, which holds only what was asked for; the whole address book was never read", true},
		"known only, walks once": {2 * time.Hour, 72 * time.Hour, "the whole of it was last read, on 2027-01-02 12:00 UTC (3 days ago); since then only known addresses", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &shelf{walked: new(time.Time)}
			if tc.completed > 0 {
				d.completed = now.Add(-tc.completed)
			}
			if tc.walked > 0 {
				*d.walked = now.Add(-tc.walked)
			}
			book := &Book{Directory: d, Now: func() time.Time { return now }}
			result, err := book.Lookup(t.Context(), []string{"nobody@corp.example"})
			if err != nil {
				t.Fatal(err)
			}
			got := result.Recipients[0]
			if got.State != trust.Unknown || !strings.Contains(strings.Join(got.Reasons, " | "), tc.reason) || slices.Contains(got.Hints, HintOnline) != tc.online {
				t.Errorf("%+v; want the reason %q, the hint to ask online %t", got, tc.reason, tc.online)
			}
		})
	}
}

// TestUnknownWithoutAddressBook: where nobody can run a sync, nobody is told to.
func TestUnknownWithoutAddressBook(t *testing.T) {
	d := &shelf{walked: new(time.Time), absent: "the system's galsyncd does not answer", remedy: "start it"}
	result, err := (&Book{Directory: d, Now: func() time.Time { return now }}).Lookup(t.Context(), []string{"nobody@corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Recipients[0]; got.State != trust.Unknown || !slices.Equal(got.Reasons, []string{d.absent}) || !slices.Equal(got.Hints, []string{d.remedy}) {
		t.Errorf("%+v", got)
	}
}
