package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is a keep-alive connection that costs the measuring side little.
type wire struct {
	conn net.Conn
	r    *bufio.Reader
	body bytes.Buffer
}

func dial(b *testing.B, socket string) *wire {
	b.Helper()
	conn, err := net.Dial("unix", socket)
	check(b, err)
	b.Cleanup(func() { conn.Close() })
	return &wire{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// get asks for path and returns the body, which is valid until the next call.
func (w *wire) get(path string) ([]byte, error) {
	if _, err := fmt.Fprintf(w.conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return nil, err
	}
	w.body.Reset()
	_, err = w.body.ReadFrom(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, answer.Status, w.body.Bytes())
	}
	return w.body.Bytes(), err
}

// crowd are connections to one server that ask at the same time.
type crowd struct {
	wires []*wire
	times samples
	rates []float64
}

func newCrowd(b *testing.B, socket string, connections int) *crowd {
	c := &crowd{}
	for range connections {
		c.wires = append(c.wires, dial(b, socket))
	}
	return c
}

// ask has every connection ask for all paths, each from another one on.
func (c *crowd) ask(b *testing.B, paths []string) {
	b.Helper()
	var all sync.WaitGroup
	times := make([]samples, len(c.wires))
	errs := make([]error, len(c.wires))
	began := time.Now()
	for i, w := range c.wires {
		all.Go(func() {
			for j := range paths {
				at := time.Now()
				if _, errs[i] = w.get(paths[(j+i*len(paths)/len(c.wires))%len(paths)]); errs[i] != nil {
					return
				}
				times[i] = append(times[i], time.Since(at))
			}
		})
	}
	all.Wait()
	c.rates = append(c.rates, float64(len(paths)*len(c.wires))/time.Since(began).Seconds())
	for i := range times {
		check(b, errs[i])
		c.times = append(c.times, times[i]...)
	}
}

func (c *crowd) report(b *testing.B, name string) {
	report(b, middle(c.rates), name, "requests/s")
	report(b, microseconds(c.times.at(0.5)), name+", median", "us")
	report(b, microseconds(c.times.at(0.99)), name+", p99", "us")
}

// BenchmarkLookup asks GET /v1/recipients about everybody in turn.
func BenchmarkLookup(b *testing.B) {
	s, err := sharedSite()
	check(b, err)
	d := s.serve(b)
	for _, addresses := range []int{1, 50} {
		paths := s.questions(addresses, 400)
		answers := map[string][]byte{}
		w := dial(b, d.socket)
		for _, path := range paths {
			body, err := w.get(path)
			check(b, err)
			_, query, _ := strings.Cut(path, "?")
			answers[query] = append([]byte(nil), body...)
		}
		bare := startBare(b, answers)
		for _, connections := range []int{1, 8} {
			b.Run(fmt.Sprintf("%d per request, %d at a time", addresses, connections), func(b *testing.B) {
				ours, floor := newCrowd(b, d.socket, connections), newCrowd(b, bare, connections)
				for b.Loop() {
					ours.ask(b, paths)
					floor.ask(b, paths)
				}
				ours.report(b, "galsyncd")
				floor.report(b, "bare net/http and bbolt")
				report(b, middle(floor.rates)/middle(ours.rates), "bare_to_galsyncd", "ratio")
			})
		}
	}
}

// correspondents is how many people look-ups are about: those to whom the users of one machine write.
const correspondents = 2000

// questions returns n different look-ups of so many addresses each, of people from everywhere in the address book.
func (s *site) questions(addresses, n int) []string {
	all := s.exchange.Directory().People()
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:correspondents]
	var paths []string
	for i := range n {
		query := url.Values{}
		for j := range addresses {
			query.Add("address", all[(i*addresses+j)%len(all)].Primary)
		}
		paths = append(paths, "/v1/recipients?"+query.Encode())
	}
	return paths
}

// BenchmarkEntries completes the beginnings of names, as somebody types them.
func BenchmarkEntries(b *testing.B) {
	s, err := sharedSite()
	check(b, err)
	entries(b, s)
}

func entries(b *testing.B, s *site) {
	d := s.serve(b)
	all := s.exchange.Directory().People()
	for _, length := range []int{2, 3, 5} {
		b.Run(fmt.Sprintf("%d characters", length), func(b *testing.B) {
			var paths []string
			for i := range 200 {
				name := []rune(all[i*7919%len(all)].DisplayName)
				paths = append(paths, "/v1/entries?limit=20&query="+url.QueryEscape(strings.TrimSpace(string(name[:min(length, len(name))]))))
			}
			c := newCrowd(b, d.socket, 1)
			for b.Loop() {
				c.ask(b, paths)
			}
			c.report(b, "galsyncd")
		})
	}
}
