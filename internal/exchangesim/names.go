package exchangesim

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
)

//go:embed names/names.txt
var nameLists string

// language is one group of names that go together.
type language struct {
	first, last weighted
	// letters writes out what addresses of this language do not just strip of its accent.
	letters *strings.Replacer
}

// weighted draws words by rank: the n-th word weighs 1/(n+4).
type weighted struct {
	words      []string
	cumulative []float64
}

func newWeighted(words []string, weight func(rank int) float64) weighted {
	w := weighted{words: words}
	sum := 0.0
	for i := range words {
		sum += weight(i)
		w.cumulative = append(w.cumulative, sum)
	}
	return w
}

func (w weighted) index(r *rand.Rand) int {
	x := r.Float64() * w.cumulative[len(w.cumulative)-1]
	return min(sort.SearchFloat64s(w.cumulative, x), len(w.words)-1)
}

func (w weighted) draw(r *rand.Rand) string { return w.words[w.index(r)] }

// languages are the embedded lists and the share of each language.
type languages struct {
	all   []language
	share weighted
}

func byRank(rank int) float64 { return 1 / float64(rank+4) }

// readNames reads lines "[language share letters]", "first NAMES" and "last NAMES".
func readNames(text string) (*languages, error) {
	var l languages
	var names []string
	var shares []float64
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(strings.TrimRight(line, "]"))
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if head, ok := strings.CutPrefix(words[0], "["); ok && len(words) > 1 {
			share, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				return nil, fmt.Errorf("names line %d: %w", n+1, err)
			}
			names, shares = append(names, head), append(shares, share)
			l.all = append(l.all, language{letters: letters(words[2:])})
			continue
		}
		if len(l.all) == 0 || words[0] != "first" && words[0] != "last" {
			return nil, fmt.Errorf("names line %d: unknown word %q", n+1, words[0])
		}
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "_", " ")
		}
		list := newWeighted(words[1:], byRank)
		if words[0] == "first" {
			l.all[len(l.all)-1].first = list
		} else {
			l.all[len(l.all)-1].last = list
		}
	}
	l.share = newWeighted(names, func(rank int) float64 { return shares[rank] })
	return &l, nil
}

func letters(pairs []string) *strings.Replacer {
	var list []string
	for _, p := range pairs {
		from, to, _ := strings.Cut(p, "=")
		list = append(list, from, to)
	}
	return strings.NewReplacer(list...)
}

// ascii writes a name for use in an address: lower case, the language's own letters written out, no accents, the words of
// a surname run together.
func (l *language) ascii(name string) string {
	name = fold(l.letters.Replace(strings.ToLower(name)))
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '\'' || r == '.' {
			return r
		}
		return -1
	}, name)
}
