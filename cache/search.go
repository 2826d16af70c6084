package cache

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Bounds of one search: words that are looked for, and keys that are looked at.
const (
	maxWanted = 8
	maxKeys   = 20_000
)

// Search completes text: it returns up to limit entries in which every word of text begins a word of a name, the alias
// or the address. Case and accents do not matter. First come those whose given name begins with it, then by surname, other
// names, alias and address; whole words before beginnings, then by name. Entries that the last run did not find are left
// out.
//
// It reads an index whose values say all that the order needs, so that only the entries that are returned are decoded. Of a
// beginning that more than maxKeys words share, the first of them are considered.
func (c *Cache) Search(ctx context.Context, text string, limit int) (found []directory.Entry, err error) {
	wanted := wantedWords(text)
	if len(wanted) == 0 || limit <= 0 {
		return nil, nil
	}
	err = c.view(ctx, func(tx *transaction) error {
		best, err := tx.best(wanted, limit)
		if err != nil {
			return err
		}
		for _, primary := range best {
			e, err := tx.Entry(primary)
			if err != nil {
				return damagedIndex(err)
			}
			found = append(found, e)
		}
		return nil
	})
	return found, err
}

// wantedWords are the words of a text that somebody typed, the longest first: it is the rarest as a rule. What has an @ is
// an address and stays whole.
func wantedWords(text string) []string {
	var wanted []string
	for _, w := range strings.FieldsFunc(mailaddr.Fold(text), func(r rune) bool { return strings.ContainsRune(" \t,;\"<>", r) }) {
		if strings.Contains(w, "@") {
			wanted = append(wanted, w)
		} else {
			wanted = append(wanted, strings.FieldsFunc(w, betweenWords)...)
		}
	}
	slices.SortStableFunc(wanted, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return wanted[:min(len(wanted), maxWanted)]
}

// separators stand between words.
const separators = " .,-_'()/&+"

func betweenWords(r rune) bool { return strings.ContainsRune(separators, r) }

// Ranks of a word within its entry, the best first.
const (
	rankGiven = iota
	rankSurname
	rankName
	rankAlias
	rankAddress
	rankMissing = 0xff // of every word of an entry that the last run did not find
)

// word is a beginning by which an entry is found.
type word struct {
	text string
	rank byte
}

// words are those of an entry: each word of its names, its alias, the parts of its primary address's local part, and that
// address; folded, each once with its best rank, at most 32.
func words(e directory.Entry) []word {
	local, _, _ := strings.Cut(string(e.Primary), "@")
	display := byte(rankName)
	if e.GivenName == "" && e.Surname == "" {
		display = rankGiven
	}
	best := map[string]byte{}
	add := func(w string, rank byte) {
		if known, ok := best[w]; w != "" && len(w) <= 256 && !strings.ContainsRune(w, 0) && (!ok || rank < known) {
			best[w] = rank
		}
	}
	for _, source := range []struct {
		text string
		rank byte
	}{{e.GivenName, rankGiven}, {e.Surname, rankSurname}, {e.DisplayName, display}, {e.Alias, rankAlias}, {local, rankAddress}} {
		for _, w := range strings.FieldsFunc(mailaddr.Fold(source.text), betweenWords) {
			add(w, source.rank)
		}
	}
	add(string(e.Primary), rankAddress)
	var out []word
	for text, rank := range best {
		out = append(out, word{text, rank})
	}
	slices.SortFunc(out, func(a, b word) int { return strings.Compare(a.text, b.text) })
	return out[:min(len(out), 32)]
}

// maxNameInIndex is how much of a name the index keeps to sort by, in bytes.
const maxNameInIndex = 64

// wordValues are the values of the keys of an entry in the bucket "words": the rank of the word (1 byte), the folded display
// name, 0x00, and the words that stand neither in that nor in the address, so that a search for several words reads one
// range of keys only.
func wordValues(e directory.Entry) map[string][]byte {
	list := words(e)
	name := strings.ReplaceAll(mailaddr.Fold(e.DisplayName), "\x00", " ")
	rest := name[:min(len(name), maxNameInIndex)]
	local, _, _ := strings.Cut(string(e.Primary), "@")
	var others []string
	for _, w := range list {
		if !strings.Contains(w.text, "@") && !beginsWord([]byte(rest), w.text) && !beginsWord([]byte(local), w.text) {
			others = append(others, w.text)
		}
	}
	rest += "\x00" + strings.Join(others, " ")
	values := map[string][]byte{}
	for _, w := range list {
		rank := w.rank
		if !e.Missing.IsZero() {
			rank = rankMissing
		}
		values[w.text+"\x00"+string(e.Primary)] = append([]byte{rank}, rest...)
	}
	return values
}

// beginsWord reports whether a word of text begins with w.
func beginsWord(text []byte, w string) bool {
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(w))
		if at < 0 {
			return false
		}
		if at += from; at == 0 || strings.IndexByte(separators, text[at-1]) >= 0 {
			return true
		}
		from = at + 1
	}
}

// hit is a key that a search found. Its bytes are those of the memory map.
type hit struct {
	rank    byte
	whole   bool // the word is the one that was typed, not only its beginning
	name    []byte
	primary []byte
}

func (h hit) compare(other hit) int {
	return cmp.Or(cmp.Compare(h.rank, other.rank), cmp.Compare(boolInt(!h.whole), boolInt(!other.whole)),
		bytes.Compare(h.name, other.name), bytes.Compare(h.primary, other.primary))
}

// bestHits keeps the best hits seen so far: a heap with the worst of them on top.
type bestHits []hit

func (b bestHits) Len() int           { return len(b) }
func (b bestHits) Less(i, j int) bool { return b[i].compare(b[j]) > 0 }
func (b bestHits) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *bestHits) Push(x any)        { *b = append(*b, x.(hit)) }
func (b *bestHits) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

func (b *bestHits) offer(h hit, most int) {
	if len(*b) < most {
		heap.Push(b, h)
	} else if h.compare((*b)[0]) < 0 {
		(*b)[0] = h
		heap.Fix(b, 0)
	}
}

// keysPerEntry is how many words of one entry may begin alike before a search can return fewer entries than it was asked
// for.
const keysPerEntry = 6

// best returns the primary addresses of the best entries that have, for each wanted text, a word that begins with it.
func (t *transaction) best(wanted []string, limit int) ([]directory.Address, error) {
	var best bestHits
	n := 0
	err := t.prefixed(bucketWords, []byte(wanted[0]), func(k, v []byte) (bool, error) {
		n++
		at := bytes.IndexByte(k, 0)
		if len(v) == 0 || at < 0 {
			return false, damagedIndex(directory.ErrNoEntry)
		}
		if v[0] != rankMissing && hasWords(v[1:], k[at+1:], wanted[1:]) {
			name, _, _ := bytes.Cut(v[1:], []byte{0})
			best.offer(hit{v[0], at == len(wanted[0]), name, k[at+1:]}, limit*keysPerEntry)
		}
		return n < maxKeys, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(best, hit.compare)
	var out []directory.Address
	for _, h := range best {
		if a := directory.Address(h.primary); !slices.Contains(out, a) && len(out) < limit {
			out = append(out, a)
		}
	}
	return out, nil
}

// hasWords reports whether an entry, as its index value and primary address show it, has a word for each of wanted.
func hasWords(value, primary []byte, wanted []string) bool {
	name, others, _ := bytes.Cut(value, []byte{0})
	local, _, _ := bytes.Cut(primary, []byte{'@'})
	for _, w := range wanted {
		if strings.Contains(w, "@") && !bytes.HasPrefix(primary, []byte(w)) {
			return false
		}
		if !strings.Contains(w, "@") && !beginsWord(name, w) && !beginsWord(others, w) && !beginsWord(local, w) {
			return false
		}
	}
	return true
}
