package bench

import (
	"cmp"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// alphabet are the characters that mail addresses begin with and go on with, by which a prefix is split.
const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789.-_@"

// BenchmarkWalk syncs an empty cache, and then that cache again.
func BenchmarkWalk(b *testing.B) {
	s, err := newSite(people, 0)
	check(b, err)
	walks(b, s)
}

// latency is how long the server of the long walks takes for each answer: 20 ms, or what the environment says.
func latency() (time.Duration, error) {
	return time.ParseDuration(cmp.Or(os.Getenv(latencyVar), "20ms"))
}

// lateSite starts a server that takes its time.
func lateSite(entries int) (*site, error) {
	d, err := latency()
	if err != nil {
		return nil, err
	}
	return newSite(entries, d)
}

// BenchmarkLateWalk syncs 10,000 people on a server that takes its time.
func BenchmarkLateWalk(b *testing.B) {
	if os.Getenv(bigVar) != "1" {
		b.Skip("only with BIG=1")
	}
	s, err := lateSite(people)
	check(b, err)
	walks(b, s)
}

// bigSite has not been synced.
var bigSite = sync.OnceValues(func() (*site, error) { return lateSite(10 * people) })

// BenchmarkBigWalk is the same for 100,000 people.
func BenchmarkBigWalk(b *testing.B) {
	if os.Getenv(bigVar) != "1" {
		b.Skip("only with BIG=1")
	}
	s, err := bigSite()
	check(b, err)
	walks(b, s)
}

// BenchmarkBigEntries is BenchmarkEntries among 100,000 people.
func BenchmarkBigEntries(b *testing.B) {
	if os.Getenv(bigVar) != "1" {
		b.Skip("only with BIG=1")
	}
	s, err := bigSite()
	check(b, err)
	if _, err := os.Stat(s.cache()); err != nil {
		s.sync(b)
	}
	entries(b, s)
}

// sync runs sync --once.
func (s *site) sync(b *testing.B) {
	b.Helper()
	program, err := galsyncd()
	check(b, err)
	run(b, nil, program, "--config", s.config, "sync", "--once")
}

func walks(b *testing.B, s *site) {
	count := float64(s.exchange.Directory().Len())
	floor := s.exchange.Directory().PrefixCost(alphabet)
	for _, run := range []struct {
		name    string
		prepare func()
	}{
		{"first run", func() { check(b, os.RemoveAll(s.cache())) }},
		{"second run", func() {}},
	} {
		b.Run(run.name, func(b *testing.B) {
			s.walk(b, run.prepare)
			report(b, float64(floor.Leaves)/count, "leaf floor", "requests/person")
			report(b, float64(floor.Leaves+floor.Truncated)/count, "leaf floor with the splits", "requests/person")
		})
	}
}

// walk measures runs of sync --once.
func (s *site) walk(b *testing.B, prepare func()) {
	program, err := galsyncd()
	check(b, err)
	var wall, cpu samples
	var anon, hwm, written []float64
	var requests exchangesim.Requests
	for b.Loop() {
		prepare()
		before := s.exchange.Requests()
		u := run(b, nil, program, "--config", s.config, "sync", "--once")
		after := s.exchange.Requests()
		requests = exchangesim.Requests{HTTP: after.HTTP - before.HTTP, Full: after.Full - before.Full, BytesSent: after.BytesSent - before.BytesSent}
		wall, cpu = append(wall, u.wall), append(cpu, u.cpu)
		anon, hwm, written = append(anon, float64(u.anon)), append(hwm, float64(u.hwm)), append(written, float64(u.written))
	}
	count := float64(s.exchange.Directory().Len())
	report(b, float64(requests.HTTP)/count, "all HTTP requests", "requests/person")
	report(b, float64(requests.HTTP), "all HTTP requests", "requests")
	report(b, float64(requests.Full), "of them with certificates", "requests")
	report(b, float64(requests.BytesSent)/mib, "received", "MiB")
	report(b, wall.at(0.5).Seconds(), "wall", "s")
	report(b, cpu.at(0.5).Seconds(), "processor time of galsyncd", "s")
	report(b, middle(anon)/mib, "peak of RssAnon", "MiB")
	report(b, middle(hwm)/mib, "peak of resident memory", "MiB")
	report(b, middle(written)/mib, "written to disk", "MiB")
}
