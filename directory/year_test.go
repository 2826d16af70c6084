package directory_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
)

// TestYearOfNights lets a year of nightly runs pass over an address book whose people come, go, renew certificates and
// change their names, and whose server has every trouble there is. After each night: nobody who is in the address book and
// was found once is lost; nobody ages too early; what went wrong is on record; everybody is found within the number of
// runs that EmptyPeriod promises.
func TestYearOfNights(t *testing.T) {
	seeds := []uint64{1}
	if !raceEnabled {
		seeds = []uint64{1, 2, 3}
	}
	values := certificatePool(t, 40)
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := memory(t)
			synctest.Test(t, func(t *testing.T) { newYear(t, dir, seed, values).pass(365) })
		})
	}
}

func certificatePool(t *testing.T, n int) (values [][]byte) {
	for i := range n {
		values = append(values, certificate(t, fmt.Sprintf("x%d@corp.example", i), time.Time{}))
	}
	return values
}

// year is the world of TestYearOfNights.
type year struct {
	t      *testing.T
	rng    *mathrand.Rand
	book   *book
	dir    string
	cache  *cache.Cache
	sync   directory.Sync
	values [][]byte
	skew   time.Duration // of the clock that the runs see
	lives  map[*person]*life
	joined int
	aside  []*person // of the address book, while everybody is hidden

	night     int
	walkBegan time.Time // true time at which the walk that is under way, or ended last, began
	outcomes  map[directory.Outcome]int
}

// life is what the test knows of one person. Walks are counted that began after the event and were finished.
type life struct {
	known     bool // an entry was seen in the store
	certified bool // with a certificate, under the present name
	came      time.Time
	walks     int // since came, without those in which the person was in a gap
	left      time.Time
	finished  int // complete and incomplete runs since left
	renewed   time.Time
	confirmed bool // a walk was finished since renewed, in which the person was not in a gap
}

func newYear(t *testing.T, dir string, seed uint64, values [][]byte) *year {
	y := &year{t: t, rng: mathrand.New(mathrand.NewPCG(seed, 0)), book: newBook(t, 80, 0), dir: dir, values: values,
		lives: map[*person]*life{}, outcomes: map[directory.Outcome]int{}}
	y.book.limit = 20 // so that a small address book is split, too
	for _, p := range y.book.people {
		y.lives[p] = &life{came: time.Now()}
		y.renew(p)
	}
	for i := range 4 {
		y.lives[y.book.group(directory.Address(fmt.Sprintf("team%d@corp.example", i)), y.book.people[i].record.Primary)] = &life{came: time.Now()}
	}
	y.sync = directory.Sync{Source: y.book, Now: func() time.Time { return time.Now().Add(y.skew) }, Pace: directory.NewPace(1000)}
	y.restart()
	return y
}

// restart opens the cache anew, as another process does.
func (y *year) restart() {
	y.t.Helper()
	if y.cache != nil {
		if err := y.cache.Close(); err != nil {
			y.t.Fatal(err)
		}
	}
	c, err := cache.Open(y.dir)
	if err != nil {
		y.t.Fatal(err)
	}
	y.cache, y.sync.Store = c, c
}

func (y *year) pass(nights int) {
	defer func() { y.cache.Close() }()
	for y.night = range nights {
		if y.night%9 == 0 {
			y.restart()
		}
		if y.night > 0 {
			y.day()
		}
		why := y.trouble()
		r, err := y.run()
		y.named(why, r, err)
		y.account(r, why.name != hidden)
		y.check()
		if y.t.Failed() {
			y.t.Fatalf("night %d, %s: %+v, %v", y.night, why.name, r, err)
		}
		y.book.fail, y.book.hide, y.skew, y.sync.MaxRequests = nil, false, 0, 0
		time.Sleep(24*time.Hour - time.Since(time.Now().Truncate(24*time.Hour)))
	}
	y.t.Logf("%d people in a year, %d requests, outcomes %v", len(y.lives), y.book.requests, y.outcomes)
	for _, o := range []directory.Outcome{directory.Complete, directory.Incomplete, directory.Guarded, directory.Failed, directory.Paused} {
		if y.outcomes[o] < 3 {
			y.t.Errorf("only %d nights ended %s: the year was too calm", y.outcomes[o], o)
		}
	}
}

// day changes the address book.
func (y *year) day() {
	for range y.rng.IntN(2) {
		y.join()
	}
	for range y.rng.IntN(2) {
		if p := y.somebody(); p != nil && len(y.book.people) > 60 {
			p.gone = true
			*y.lives[p] = life{known: y.lives[p].known, left: time.Now()}
		}
	}
	for range y.rng.IntN(4) {
		if p := y.somebody(); p != nil {
			y.renew(p)
		}
	}
	if p := y.somebody(); p != nil && y.rng.IntN(2) == 0 {
		y.rename(p)
	}
	if p := y.back(); p != nil && y.rng.IntN(3) == 0 {
		p.gone = false
		// A walk under way may have missed them for the second time before they came back.
		*y.lives[p] = life{came: time.Now(), renewed: time.Now(), known: y.holds(p) != nil && !y.pending()}
	}
	y.rng.Shuffle(len(y.book.people), func(i, j int) {
		y.book.people[i], y.book.people[j] = y.book.people[j], y.book.people[i]
	})
}

func (y *year) join() {
	const chars = "abcdefghijklmnopqrstuvwxyz0123456789_-'+~!"
	y.joined++
	name := fmt.Sprintf("%c%c.new%d", chars[y.rng.IntN(len(chars))], chars[y.rng.IntN(len(chars))], y.joined)
	p := y.book.add(directory.Address(name + "@corp.example"))
	y.lives[p] = &life{came: time.Now()}
	y.renew(p)
}

func (y *year) renew(p *person) {
	p.record.Values = []directory.Value{{Property: directory.MSExchangeCertificate, Data: y.values[y.rng.IntN(len(y.values))]}}
	y.lives[p].renewed, y.lives[p].confirmed = time.Now(), false
}

// rename gives somebody another primary address; the one before stays theirs.
func (y *year) rename(p *person) {
	old := p.record.Primary
	local, _, _ := strings.Cut(string(old), "@")
	p.record.Primary = directory.Address(fmt.Sprintf("%s-%d@corp.example", strings.TrimRight(local, "-0123456789"), y.night*10+y.rng.IntN(10)))
	p.record.Addresses = []directory.Address{p.record.Primary, old}
	y.lives[p].renewed, y.lives[p].confirmed, y.lives[p].certified = time.Now(), false, false
}

func (y *year) somebody() *person {
	p := y.book.people[y.rng.IntN(len(y.book.people))]
	if p.gone || p.record.Kind == directory.KindGroup {
		return nil
	}
	return p
}

// back is somebody who left a short time ago.
func (y *year) back() *person {
	i := slices.IndexFunc(y.book.people, func(p *person) bool { return p.gone && time.Since(y.lives[p].left) < 3*24*time.Hour })
	if i < 0 {
		return nil
	}
	return y.book.people[i]
}

// trouble is what goes wrong in a night, and how it must end; no outcome is any.
type trouble struct {
	name string
	want []directory.Outcome
	says string
}

const hidden = "everybody is hidden"

var errRefused = errors.New("the credential was refused")

// trouble spoils the server for a night.
func (y *year) trouble() trouble {
	b, begun := y.book, y.book.requests
	from := func(n int, err error) func(string, int) error {
		return func(_ string, now int) error {
			if now > begun+n {
				return err
			}
			return nil
		}
	}
	pending := y.pending()
	switch {
	case y.night >= 120 && y.night < 127:
		b.fail = from(0, errRefused)
		return trouble{"the password was changed", []directory.Outcome{directory.Failed}, "credential was refused"}
	case y.night == 200:
		y.skew = 400 * 24 * time.Hour
		return trouble{name: "the clock is a year ahead"}
	case y.night == 250:
		y.skew = -30 * 24 * time.Hour
		return trouble{name: "the clock is a month behind"}
	}
	ends := []directory.Outcome{directory.Failed, directory.Complete, directory.Incomplete}
	switch k := y.rng.IntN(24); k {
	case 0:
		b.fail = from(y.rng.IntN(60), passing{})
		return trouble{"an outage", ends, "busy"}
	case 1:
		b.fail = from(y.rng.IntN(60), passing{time.Hour})
		return trouble{"throttled for an hour", ends, "busy"}
	case 2:
		b.fail = func(string, int) error {
			if y.rng.IntN(5) == 0 {
				return passing{2 * time.Second}
			}
			return nil
		}
		return trouble{"throttled now and then", []directory.Outcome{directory.Complete, directory.Incomplete, directory.Failed}, "busy"}
	case 3, 4:
		bad := string(rune('a' + y.rng.IntN(26)))
		b.fail = func(prefix string, _ int) error {
			if strings.HasPrefix(prefix, bad) {
				return fmt.Errorf("%w: half of it", directory.ErrUnreadable)
			}
			return nil
		}
		return trouble{"half-broken answers at " + bad, ends, "half of it"}
	case 5, 6:
		y.sync.MaxRequests = 20 + y.rng.IntN(40)
		return trouble{"a small budget", []directory.Outcome{directory.Paused, directory.Complete, directory.Incomplete}, "budget"}
	case 7:
		if !pending {
			b.hide = true
			return trouble{"certificates are hidden", []directory.Outcome{directory.Guarded}, ""}
		}
	case 8:
		if !pending {
			b.fail = nil
			y.aside, b.people = b.people, nil
			return trouble{hidden, []directory.Outcome{directory.Guarded}, ""}
		}
	}
	return trouble{name: "a calm night", want: []directory.Outcome{directory.Complete, directory.Incomplete}}
}

// pending reports that a walk is under way, so that tonight's run goes on with it.
func (y *year) pending() (is bool) {
	err := y.cache.View(func(tx directory.Tx) error {
		b, err := tx.State("walk/run")
		is = b != nil
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return is
}

func (y *year) run() (directory.Report, error) {
	start := time.Now()
	r, err := y.sync.Run(context.Background(), false)
	if r.Parts == 1 {
		y.walkBegan = start
	}
	y.outcomes[r.Outcome]++
	return r, err
}

// account counts the runs of every life.
func (y *year) account(r directory.Report, shown bool) {
	walked := r.Outcome == directory.Complete || r.Outcome == directory.Incomplete || r.Outcome == directory.Guarded
	for p, l := range y.lives {
		gap := slices.ContainsFunc(r.Gaps, func(g string) bool {
			return slices.ContainsFunc(p.record.Addresses, func(a directory.Address) bool { return strings.HasPrefix(string(a), g) })
		})
		if !shown {
			l.walks = 0 // the server had its turn to show them, and said that there is nobody
		}
		if walked && shown && !gap && !l.came.IsZero() && !y.walkBegan.Before(l.came) {
			l.walks++
		}
		if walked && r.Outcome != directory.Guarded {
			l.finished++
			if !gap && l.known && !y.walkBegan.Before(l.renewed) {
				l.confirmed = true
			}
		}
	}
}

// named wants the end of the night on record, with the trouble that there was.
func (y *year) named(why trouble, r directory.Report, failure error) {
	if why.name == hidden {
		y.book.people = y.aside
	}
	h, _, _, err := y.cache.History(context.Background())
	if err != nil || h.Last == nil || h.Last.Outcome != r.Outcome || !h.Last.Ended.Equal(r.Ended) {
		y.t.Fatalf("history %+v, %v", h, err)
	}
	if why.want != nil && !slices.Contains(why.want, r.Outcome) {
		y.t.Errorf("outcome %s, want one of %v", r.Outcome, why.want)
	}
	switch r.Outcome {
	case directory.Failed, directory.Paused:
		if failure == nil || h.Error == "" || !strings.Contains(h.Error, why.says) {
			y.t.Errorf("the history says %q, not %q", h.Error, why.says)
		}
	case directory.Incomplete:
		if len(h.Gaps) == 0 || h.Gaps[0].Reason == "" {
			y.t.Errorf("gaps without a reason: %+v", h.Gaps)
		}
	case directory.Guarded:
		if h.Last.HeldLost+h.Last.HeldUncertified == 0 {
			y.t.Error("the guard does not say what it held back")
		}
	case directory.Complete:
		if h.Error != "" || len(h.Gaps) > 0 {
			y.t.Errorf("complete, with %q and %+v", h.Error, h.Gaps)
		}
	}
}

// check holds what the store has against the truth.
func (y *year) check() {
	h, _, _, _ := y.cache.History(context.Background())
	pending := y.pending()
	for p, l := range y.lives {
		e := y.holds(p)
		if p.gone {
			y.checkLeaver(p, l, e, h)
			continue
		}
		least := 14
		if strings.ContainsAny(string(p.record.Primary[:2]), "~!") {
			least = 3 * 14
		}
		switch {
		case e == nil && l.known:
			y.t.Errorf("%s is lost", p.record.Primary)
		case e == nil && l.walks >= least:
			y.t.Errorf("%s is not found after %d walks", p.record.Primary, l.walks)
		case e == nil:
			continue
		case l.certified && len(e.Certificates) == 0:
			y.t.Errorf("%s has lost the certificate", p.record.Primary)
		case l.confirmed && len(p.record.Values) > 0 && len(e.Certificates) == 0:
			y.t.Errorf("%s has no certificate after a walk that began after %v", p.record.Primary, l.renewed)
		case l.confirmed && len(p.record.Values) > 0 && !slices.Equal(e.Certificates[0].Raw, p.record.Values[0].Data):
			y.t.Errorf("%s has an old certificate", p.record.Primary)
		case l.confirmed && (e.Primary != p.record.Primary || !e.Missing.IsZero()):
			y.t.Errorf("%s is %s in the store, missing since %v", p.record.Primary, e.Primary, e.Missing)
		case y.skew == 0 && h.Seen(*e).After(time.Now()):
			y.t.Errorf("%s was seen in the future: %v", e.Primary, h.Seen(*e))
		}
		if e != nil && !(pending && y.walkBegan.Before(l.came)) { // a walk under way may have noted that they are not there
			l.known, l.certified = true, len(e.Certificates) > 0 && e.Primary == p.record.Primary
		}
	}
}

func (y *year) checkLeaver(p *person, l *life, e *directory.Entry, h directory.History) {
	switch {
	case e == nil && l.known && l.finished < 2:
		y.t.Errorf("%s was removed after %d runs", p.record.Primary, l.finished)
	case e != nil && y.skew == 0 && h.Seen(*e).After(l.left):
		y.t.Errorf("%s left on %v and counts as seen on %v", p.record.Primary, l.left, h.Seen(*e))
	case e != nil && l.finished > 6:
		y.t.Errorf("%s is still there after %d runs", p.record.Primary, l.finished)
	case e == nil:
		delete(y.lives, p)
		y.book.people = slices.DeleteFunc(y.book.people, func(q *person) bool { return p == q })
	}
}

// holds returns the entry of a person, under the present primary address or another one; nil without one.
func (y *year) holds(p *person) (found *directory.Entry) {
	err := y.cache.View(func(tx directory.Tx) error {
		for _, a := range p.record.Addresses {
			e, err := tx.Entry(a)
			if errors.Is(err, directory.ErrNoEntry) {
				continue
			}
			if err != nil {
				return err
			}
			if found == nil || !found.Missing.IsZero() {
				found = &e
			}
		}
		return nil
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return found
}
