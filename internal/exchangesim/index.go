package exchangesim

import (
	"cmp"
	"slices"
	"strings"
)

// index finds the entries that have a text with a prefix. It is a sorted list; the zero value is empty.
type index struct {
	keys []indexKey
}

type indexKey struct {
	text  string // folded
	place int32
}

func compareKeys(a, b indexKey) int {
	return cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(a.place, b.place))
}

func (x *index) add(text string, place int32) {
	if text == "" {
		return
	}
	k := indexKey{text, place}
	if at, found := slices.BinarySearchFunc(x.keys, k, compareKeys); !found {
		x.keys = slices.Insert(x.keys, at, k)
	}
}

func (x *index) remove(text string, place int32) {
	if at, found := slices.BinarySearchFunc(x.keys, indexKey{text, place}, compareKeys); found {
		x.keys = slices.Delete(x.keys, at, at+1)
	}
}

// append adds without keeping order; sort has to follow before anything else.
func (x *index) append(text string, place int32) {
	if text != "" {
		x.keys = append(x.keys, indexKey{text, place})
	}
}

func (x *index) sort() {
	slices.SortFunc(x.keys, compareKeys)
	x.keys = slices.Compact(x.keys)
}

// prefix returns the keys whose text starts with prefix; with exact, those whose text it is.
func (x *index) prefix(prefix string, exact bool) []indexKey {
	from, _ := slices.BinarySearchFunc(x.keys, indexKey{prefix, -1}, compareKeys)
	rest := x.keys[from:]
	n, _ := slices.BinarySearchFunc(rest, prefix, func(k indexKey, p string) int {
		if exact && k.text == p || !exact && strings.HasPrefix(k.text, p) {
			return -1
		}
		return 1
	})
	return rest[:n]
}
