package exchangesim

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// localCharacters are the characters of the generated local parts.
const localCharacters = "abcdefghijklmnopqrstuvwxyz0123456789.-_'@"

func newDirectoryOf(t testing.TB, entries int, seed uint64) *Directory {
	t.Helper()
	s, err := New(Options{Entries: entries, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return s.Directory()
}

func TestDirectoryIsTheSameEveryTime(t *testing.T) {
	one, two, other := newDirectoryOf(t, 400, 7), newDirectoryOf(t, 400, 7), newDirectoryOf(t, 400, 8)
	if !slices.EqualFunc(one.People(), two.People(), samePerson) {
		t.Fatal("one seed made two directories")
	}
	if slices.EqualFunc(one.People(), other.People(), samePerson) {
		t.Fatal("two seeds made one directory")
	}
	for i := range one.entries {
		a, err := one.certificates(one.entries[i])
		if err != nil {
			t.Fatal(err)
		}
		b, err := two.certificates(two.entries[i])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(a.smime, b.smime, bytes.Equal) || !slices.EqualFunc(a.exchange, b.exchange, bytes.Equal) {
			t.Fatalf("%s has other certificates in the second directory", one.entries[i].Primary)
		}
	}
}

func samePerson(a, b Person) bool {
	return a.Primary == b.Primary && slices.Equal(a.Proxies, b.Proxies) && a.DisplayName == b.DisplayName && a.Recipe == b.Recipe && slices.Equal(a.Members, b.Members)
}

// TestSpread holds the shape that the package comment promises, and prints the figures.
func TestSpread(t *testing.T) {
	const n = 10000
	d := newDirectoryOf(t, n, 1)
	if want := n + len(fixtures()); d.Len() != want {
		t.Fatalf("%d entries, want %d", d.Len(), want)
	}
	kinds, recipes, domains, letters := map[MailboxType]int{}, map[Recipe]int{}, map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	nonASCII, people, addresses, unlisted, ancestors := 0, 0, 0, 0, 0
	for _, p := range d.People()[len(fixtures()):] {
		kinds[p.Kind]++
		if p.Kind == Mailbox && p.GivenName != "" {
			people++
			recipes[p.Recipe]++
			domains[p.Primary[strings.LastIndexByte(p.Primary, '@')+1:]]++
			letters[p.Primary[:1]]++
			unlisted += max(0, len(p.Proxies)-2)
			if mailaddr.Fold(p.DisplayName) != strings.ToLower(p.DisplayName) {
				nonASCII++
			}
		}
		for _, a := range append([]string{p.Primary}, p.Proxies...) {
			addresses++
			if seen[a] {
				t.Fatalf("%s belongs to two entries", a)
			}
			seen[a] = true
			if _, err := mailaddr.Parse(a); err != nil {
				t.Fatal(err)
			}
			if strings.Trim(a, localCharacters) != "" {
				t.Fatalf("%q has a character that the alphabet does not have", a)
			}
		}
		for _, m := range p.Members {
			if _, ok := d.Lookup(m); !ok {
				t.Fatalf("group %s has a member that is nobody: %s", p.Primary, m)
			}
		}
	}
	for _, k := range d.proxies.keys {
		if strings.HasSuffix(k.text, "@corp.example") && len(d.proxies.prefix(k.text, false)) > 1 {
			ancestors++
		}
	}
	share := func(part, whole int, low, high float64, what string) {
		if x := float64(part) / float64(whole); x < low || x > high {
			t.Errorf("%s: %.3f, want %.3f to %.3f", what, x, low, high)
		}
	}
	share(people, n, 0.88, 0.92, "people")
	share(kinds[Contact], n, 0.03, 0.05, "contacts")
	share(kinds[PublicDL], n, 0.02, 0.04, "groups")
	share(recipes[Usable], people, 0.74, 0.78, "usable certificates")
	share(recipes[None], people, 0.10, 0.14, "without certificate")
	share(domains["corp.example.org"], people, 0.08, 0.12, "corp.example.org")
	share(nonASCII, people, 0.10, 0.30, "names beyond ASCII")
	share(letters["m"]+letters["j"], people, 0.15, 0.35, "addresses that start with m or j")
	share(letters["x"], people, 0, 0.01, "addresses that start with x")
	if unlisted == 0 || ancestors == 0 {
		t.Errorf("%d unlisted addresses and %d that are the beginning of another: want some", unlisted, ancestors)
	}
	frequent := slices.SortedFunc(maps.Keys(letters), func(a, b string) int { return cmp.Compare(letters[b], letters[a]) })
	for _, l := range frequent[:6] {
		t.Logf("first letter %s: %.1f %%", l, 100*float64(letters[l])/float64(people))
	}
	t.Logf("%d addresses, %d of them never listed, %.1f %% of the names beyond ASCII", addresses, unlisted, 100*float64(nonASCII)/float64(people))
	t.Logf("prefixes needed: %+v", d.PrefixCost(localCharacters))
}

func TestPrefixCostFindsEverybody(t *testing.T) {
	d := newDirectoryOf(t, 3000, 2)
	found := map[string]bool{}
	var cost PrefixCost
	var walk func(prefix string)
	walk = func(prefix string) {
		for _, c := range localCharacters {
			r := d.resolve("smtp:" + prefix + string(c))
			if r.truncated {
				cost.Truncated++
				walk(prefix + string(c))
				continue
			}
			if len(r.entries) == 0 {
				cost.Empty++
				continue
			}
			cost.Leaves++
			for _, e := range r.entries {
				found[e.Primary] = true
			}
		}
	}
	walk("")
	if len(found) != d.Len() {
		t.Errorf("a walk found %d of %d entries", len(found), d.Len())
	}
	if got := d.PrefixCost(localCharacters); got != cost {
		t.Errorf("PrefixCost says %+v, the walk needed %+v", got, cost)
	}
}

func TestDirectoryChanges(t *testing.T) {
	d := newDirectoryOf(t, 50, 1)
	before := d.Len()
	if err := d.Add(Person{Primary: "new.person@corp.example", DisplayName: "New Person", Recipe: Usable}); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(Person{Primary: "x@corp.example", Proxies: []string{strings.ToUpper(Alice)}}); err == nil {
		t.Error("an address of two entries was accepted")
	}
	if got := primaries(d.resolve("smtp:new.person@corp.example")); !slices.Equal(got, []string{"new.person@corp.example"}) {
		t.Errorf("found %v", got)
	}
	if err := d.RenamePrimary(Bob, "robert.brown@corp.example"); err != nil {
		t.Fatal(err)
	}
	p, ok := d.Lookup(Bob)
	if !ok || p.Primary != "robert.brown@corp.example" || !slices.Equal(p.Proxies, []string{Bob}) {
		t.Errorf("after the renaming: %+v", p)
	}
	if got := primaries(d.resolve(Bob)); slices.Contains(got, "robert.brown@corp.example") {
		t.Error("the former address is found without smtp:, as if it were primary")
	}
	if got := primaries(d.resolve("=smtp:" + Bob)); !slices.Equal(got, []string{"robert.brown@corp.example"}) {
		t.Errorf("found %v", got)
	}
	if cert, _, err := d.identity(Bob); err != nil || cert.EmailAddresses[0] != Bob {
		t.Errorf("the certificate should go on naming the old address: %v", err)
	}
	if err := d.RenamePrimary(Bob, Alice); err == nil {
		t.Error("took somebody else's address")
	}
	if err := d.Remove(Alice); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Lookup(Alice); ok || len(d.resolve("smtp:"+Alice).entries) > 0 || len(d.resolve("adams").entries) > 0 {
		t.Error("Alice is still there")
	}
	if err := d.Remove(Alice); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if d.Len() != before || len(d.People()) != before {
		t.Errorf("%d entries, want %d", d.Len(), before)
	}
}

func TestReplaceCertificates(t *testing.T) {
	d := newDirectoryOf(t, 0, 1)
	show := func(address string) *certificates {
		e, _ := d.lookup(address)
		c, err := d.certificates(e)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := show(Bob).exchange
	if err := d.ReplaceCertificates(Bob, [][]byte{{1}, {2}}, nil); err != nil {
		t.Fatal(err)
	}
	if c := show(Bob); len(c.smime) != 2 || c.exchange != nil {
		t.Errorf("after replacing: %v", c)
	}
	if err := d.ReplaceCertificates(Bob, nil, nil); err != nil || !slices.EqualFunc(show(Bob).exchange, old, bytes.Equal) {
		t.Errorf("the values of the recipe did not come back: %v", err)
	}
	if err := d.SetRecipe(Bob, None); err != nil || show(Bob).exchange != nil {
		t.Errorf("after the recipe None: %v", err)
	}
	d.HideCertificates(1)
	if show(Alice).smime != nil {
		t.Error("hidden certificates are shown")
	}
	if _, _, err := d.identity(Alice); err != nil {
		t.Errorf("the identity has to stay: %v", err)
	}
	d.HideCertificates(0)
	if show(Alice).smime == nil {
		t.Error("certificates stay hidden")
	}
}

func TestHideCertificatesHidesThatShare(t *testing.T) {
	d := newDirectoryOf(t, 1000, 1)
	count := func() (n int) {
		for _, e := range d.entries {
			if c, err := d.certificates(e); err != nil {
				t.Fatal(err)
			} else if c.smime != nil || c.exchange != nil {
				n++
			}
		}
		return n
	}
	all := count()
	d.HideCertificates(0.3)
	if left := float64(count()) / float64(all); left < 0.66 || left > 0.74 {
		t.Errorf("30 %% hidden leave %.2f", left)
	}
}

func TestStartOfAHundredThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second and 200 MB")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	d := newDirectoryOf(t, 100_000, 1)
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d entries in %v, %d MiB", d.Len(), took.Round(time.Millisecond), (after.HeapAlloc-before.HeapAlloc)>>20)
	// Generous: the machine may be busy, and the race detector makes it ten times slower.
	if took > 5*time.Minute {
		t.Errorf("start took %v", took)
	}
	began = time.Now()
	r := d.resolve("smtp:m")
	t.Logf("smtp:m in %v, truncated %t", time.Since(began), r.truncated)
	t.Logf("prefixes needed: %+v", d.PrefixCost(localCharacters))
	runtime.KeepAlive(d)
}

func primaries(r resolution) []string {
	var list []string
	for _, e := range r.entries {
		list = append(list, e.Primary)
	}
	return list
}
