package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// night is when the runs of the tests begin.
var night = time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)

// holder is someone with a certificate that ends then.
func holder(t *testing.T, ca *testca.CA, primary string, notAfter time.Time) directory.Record {
	t.Helper()
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{primary}, NotBefore: night.AddDate(-1, 0, 0), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature})
	if err != nil {
		t.Fatal(err)
	}
	r := someone(primary)
	r.Values = []directory.Value{{Property: directory.MSExchangeCertificate, Data: leaf.Certificate.Raw}}
	return r
}

// newStatus makes a Status over a cache that has read source once.
func newStatus(t *testing.T, source *book, now func() time.Time) (*Status, *directory.Sync) {
	t.Helper()
	c := openCache(t)
	s := &directory.Sync{Source: source, Store: c, Now: now}
	if _, err := s.Run(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	policy := &trust.Policy{AcceptDirectory: true}
	return &Status{Cache: c, Book: &recipients.Book{Directory: Directory{Cache: c}, Policy: policy, Now: now}, Runs: &Runs{}, Protocol: "book",
		URL: "https://mail.corp.example/", WarnAfter: 7 * 24 * time.Hour, Now: now, Log: slog.New(slog.DiscardHandler)}, s
}

func TestStatus(t *testing.T) {
	ca, err := testca.New("CA of the tests")
	if err != nil {
		t.Fatal(err)
	}
	source := &book{people: []directory.Record{
		holder(t, ca, "ann@corp.example", night.AddDate(2, 0, 0)),
		holder(t, ca, "bob@corp.example", night.AddDate(0, 0, 20)),
		holder(t, ca, "carol@corp.example", night.AddDate(0, 0, 10)),
		holder(t, ca, "dora@corp.example", night.AddDate(0, 0, -1)),
		someone("emil@corp.example"),
	}}
	now := night
	s, run := newStatus(t, source, func() time.Time { return now })
	s.Notes = []string{"the cache was set aside"}
	now = now.Add(time.Hour)
	got, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Counts.Entries != 5 || got.Counts.ByState["encryptable"] != 3 || got.Counts.ByState["expired"] != 1 || got.Counts.ByState["no-certificate"] != 1 {
		t.Errorf("counts: %+v", got.Counts)
	}
	if len(got.Expiring) != 2 || got.Expiring[0].Address != "carol@corp.example" || got.Expiring[1].Address != "bob@corp.example" {
		t.Errorf("expiring, the first to expire first: %+v", got.Expiring)
	}
	if src := got.Source; src.State != "ok" || !src.LastSuccess.Equal(night) || src.DataAge == nil || *src.DataAge != 3600 || src.LastError != "" || src.URL != s.URL {
		t.Errorf("source: %+v", src)
	}
	if want := []string{"the cache was set aside", "2 certificates expire within 30 days"}; !slices.Equal(got.Warnings, want) {
		t.Errorf("warnings %q, want %q", got.Warnings, want)
	}

	// Counts are taken again when they are old, and after a run.
	source.people = append(source.people, holder(t, ca, "fred@corp.example", night.AddDate(1, 0, 0)))
	run.Run(t.Context(), true)
	s.Recount(t.Context())
	if got, err = s.Status(t.Context()); err != nil || got.Counts.Entries != 6 || got.Counts.ByState["encryptable"] != 4 {
		t.Errorf("after a run: %+v, %v", got.Counts, err)
	}
	now = night.AddDate(0, 0, 15)
	if got, err = s.Status(t.Context()); err != nil || got.Counts.ByState["expired"] != 2 || len(got.Expiring) != 1 {
		t.Errorf("two weeks later: %+v, expiring %+v, %v", got.Counts, got.Expiring, err)
	}
}

// TestStatusWarnings: everything that somebody should look at is said, and nothing else.
func TestStatusWarnings(t *testing.T) {
	now := night
	s, _ := newStatus(t, &book{people: []directory.Record{someone("ann@corp.example")}}, func() time.Time { return now })
	long := directory.History{Finished: night}
	guarded := directory.Report{Outcome: directory.Guarded, HeldLost: 7, Entries: 9}
	for name, tt := range map[string]struct {
		change  func()
		history directory.History
		want    string
	}{
		"nothing":       {func() {}, long, ""},
		"no source":     {func() { s.Protocol = "" }, long, "no Exchange server is configured"},
		"never":         {func() {}, directory.History{}, "has not been read completely yet"},
		"old":           {func() { now = night.AddDate(0, 0, 9) }, long, "was last read 9 days ago"},
		"not yet old":   {func() { now = night.AddDate(0, 0, 6) }, long, ""},
		"age unbounded": {func() { now, s.WarnAfter = night.AddDate(1, 0, 0), 0 }, long, ""},
		"guarded":       {func() {}, directory.History{Finished: night, Last: &guarded}, "would have lost 7 of 9 entries"},
		"gaps":          {func() {}, directory.History{Finished: night, Gaps: []directory.Gap{{Prefix: "jo"}, {Prefix: "ma"}}}, `2 parts of the address book could not be read in full, for example addresses that begin with "jo"`},
		"silent groups": {func() {}, directory.History{Finished: night, Last: &directory.Report{SilentGroups: 3, Silent: "team@corp.example: it is busy"}}, "the members of 3 groups could not be asked for in the last run, for example team@corp.example: it is busy"},
		"no anchors":    {func() { s.Book.Policy = &trust.Policy{} }, long, "trust.anchors names no certificate"},
		"no policy":     {func() { s.Book.Policy = nil }, long, "trust.anchors names no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			protocol, policy, warnAfter := s.Protocol, s.Book.Policy, s.WarnAfter
			defer func() { s.Protocol, s.Book.Policy, s.WarnAfter, now = protocol, policy, warnAfter, night }()
			tt.change()
			out, err := s.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := s.warnings(tt.history, out)
			switch {
			case tt.want == "" && len(got) != 0:
				t.Errorf("warnings %q, want none", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("warnings %q, want one with %q", got, tt.want)
			}
		})
	}
}

// TestStatusOfOutcomes: how the last run ended is the state of the source, and what it said is kept.
func TestStatusOfOutcomes(t *testing.T) {
	now := night
	source := &book{people: []directory.Record{someone("ann@corp.example"), someone("bob@corp.example"), someone("cleo@corp.example")}}
	s, run := newStatus(t, source, func() time.Time { return now })
	state := func(want string) {
		t.Helper()
		got, err := s.Status(t.Context())
		if err != nil || got.Source.State != want || !got.Source.LastSuccess.Equal(night) && want != "ok" {
			t.Errorf("state %+v, %v; want %q", got.Source, err, want)
		}
		if got.Counts.Entries != 3 {
			t.Errorf("%d entries", got.Counts.Entries)
		}
	}
	state("ok")
	now = now.AddDate(0, 0, 1)
	source.before = func(context.Context) error { return errors.New("no route to host") }
	run.Run(t.Context(), false)
	state("failed")
	if got, _ := s.Status(t.Context()); !strings.Contains(got.Source.LastError, "no route to host") || !got.Source.LastAttempt.Equal(now) {
		t.Errorf("the error is not told: %+v", got.Source)
	}
	source.before, source.people = nil, nil
	run.Run(t.Context(), true)
	state("guarded")
	s.Runs.current = s.Runs.begin(false)
	state("running")
}

// TestDamagedCache: damage that is found at work is told as such, with what to do.
func TestDamagedCache(t *testing.T) {
	err := problem(errors.Join(errors.New("look up"), cache.ErrDamaged))
	if code(err) != "cache-damaged" {
		t.Errorf("%v", err)
	}
	other := errors.New("anything else")
	if got := problem(other); got != other {
		t.Errorf("%v", got)
	}
	if problem(nil) != nil {
		t.Error("no error became one")
	}
}
