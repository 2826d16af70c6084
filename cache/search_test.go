package cache_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
)

// person is an entry with names.
func person(primary, given, surname, alias string) directory.Entry {
	return directory.Entry{Primary: directory.Address(primary), Addresses: []directory.Address{directory.Address(primary)},
		GivenName: given, Surname: surname, DisplayName: given + " " + surname, Alias: alias}
}

func primaries(t *testing.T, c *cache.Cache, text string, limit int) []string {
	t.Helper()
	found, err := c.Search(t.Context(), text, limit)
	if err != nil {
		t.Fatalf("search %q: %v", text, err)
	}
	out := []string{}
	for _, e := range found {
		out = append(out, string(e.Primary))
	}
	return out
}

func TestSearchOrder(t *testing.T) {
	c := open(t, t.TempDir())
	gone := person("martin.gone@corp.example", "Martin", "Gone", "")
	gone.Missing = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := person("x1@corp.example", "", "", "")
	last.DisplayName = "Müller, Zoë (Sales)"
	for _, e := range []directory.Entry{
		person("a1@corp.example", "Zoe", "Martin", "zm"),
		person("martin.k@corp.example", "Karl", "Otto", "ko"),
		person("b2@corp.example", "Bea", "Corp", "martine"),
		person("c3@corp.example", "Martina", "Abel", ""),
		person("d4@corp.example", "Martin", "Zuse", ""),
		person("e5@corp.example", "Anna-Maria", "O'Neil", ""),
		gone, last,
	} {
		update(t, c, func(tx directory.Tx) error { return tx.PutEntry(e) })
	}
	for _, tc := range []struct {
		text  string
		limit int
		want  []string
	}{
		{"martin", 10, []string{"d4@corp.example", "c3@corp.example", "a1@corp.example", "b2@corp.example", "martin.k@corp.example"}},
		{"MARTIN", 2, []string{"d4@corp.example", "c3@corp.example"}},
		{"martin z", 10, []string{"d4@corp.example", "a1@corp.example"}},
		{"zoe müller", 10, []string{"x1@corp.example"}},
		{"Muller, Z", 10, []string{"x1@corp.example"}},
		{"maria", 10, []string{"e5@corp.example"}},
		{"o'neil", 10, []string{"e5@corp.example"}},
		{"anna-maria o'n", 10, []string{"e5@corp.example"}},
		{"bea corp", 10, []string{"b2@corp.example"}}, // the surname, though every domain has this word
		{"karl corp", 10, []string{}},
		{"martin.k@corp", 10, []string{"martin.k@corp.example"}},
		{"karl martin.k@corp", 10, []string{"martin.k@corp.example"}},
		{"gone", 10, []string{}},
	} {
		if got := primaries(t, c, tc.text, tc.limit); !slices.Equal(got, tc.want) {
			t.Errorf("search %q: %v, want %v", tc.text, got, tc.want)
		}
	}
}

// An entry whose words all begin alike takes one place of an answer.
func TestSearchManyWordsAlike(t *testing.T) {
	c := open(t, t.TempDir())
	for i := range 20 {
		e := person(fmt.Sprintf("mama%02d.map@corp.example", i), "Max", "Mahler", "mab")
		update(t, c, func(tx directory.Tx) error { return tx.PutEntry(e) })
	}
	if got := primaries(t, c, "ma", 10); len(got) != 10 || !slices.IsSorted(got) || len(slices.Compact(got)) != 10 {
		t.Errorf("search: %v, want ten entries in order", got)
	}
}

func BenchmarkSearch(b *testing.B) {
	c := open(b, b.TempDir())
	given := []string{"Anna", "Martin", "Maria", "Zoë", "Jürgen", "Jonas", "Katharina", "Ma", "Sven", "Xaver"}
	const people = 100_000
	for i := 0; i < people; i += 1000 {
		err := c.Update(func(tx directory.Tx) error {
			for j := i; j < i+1000; j++ {
				g, s := given[j%len(given)], fmt.Sprintf("Person%05d", j*7919%people)
				if err := tx.PutEntry(person(fmt.Sprintf("%s.p%d@corp.example", g[:1], j), g, s, fmt.Sprintf("a%d", j))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, text := range []string{"ma", "jur", "anna person0", "p", "xaver"} {
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Search(b.Context(), text, 21); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
