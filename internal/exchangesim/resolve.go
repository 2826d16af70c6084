package exchangesim

import (
	"slices"
	"strings"
)

// maxCandidates is how many entries one answer holds; there is no next page.
const maxCandidates = 100

// resolution is what a search found: at most maxCandidates entries in directory order, and whether there are more.
type resolution struct {
	entries   []*entry
	truncated bool
}

// resolve is ambiguous name resolution. Text with the prefix "smtp:" is compared with all addresses, other text with
// names, alias, office and the primary address alone, and, split at its first space, with given name and surname in both
// orders. A leading "=" asks for equality instead of a common beginning.
func (d *Directory) resolve(text string) resolution {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.pick(d.matches(text))
}

func (d *Directory) matches(text string) []int32 {
	text, exact := strings.CutPrefix(strings.TrimSpace(text), "=")
	text = fold(text)
	if address, ok := strings.CutPrefix(text, "smtp:"); ok {
		return places(d.proxies.prefix(address, exact))
	}
	if strings.HasPrefix(text, "sip:") {
		return nil
	}
	found := places(d.names.prefix(text, exact))
	if first, second, ok := strings.Cut(text, " "); ok {
		found = append(found, d.namePair(first, strings.TrimSpace(second), exact)...)
		found = append(found, d.namePair(strings.TrimSpace(second), first, exact)...)
	}
	return found
}

// namePair finds the entries with that beginning of the given name and that of the surname.
func (d *Directory) namePair(given, surname string, exact bool) []int32 {
	var found []int32
	for _, k := range d.given.prefix(given, exact) {
		s := fold(d.entries[k.place].Surname)
		if exact && s == surname || !exact && strings.HasPrefix(s, surname) {
			found = append(found, k.place)
		}
	}
	return found
}

// pick takes the first candidates in directory order.
func (d *Directory) pick(found []int32) resolution {
	slices.Sort(found)
	found = slices.Compact(found)
	r := resolution{truncated: len(found) > maxCandidates}
	for _, place := range found[:min(len(found), maxCandidates)] {
		r.entries = append(r.entries, d.entries[place])
	}
	return r
}

func places(keys []indexKey) []int32 {
	found := make([]int32, len(keys))
	for i, k := range keys {
		found[i] = k.place
	}
	return found
}

// group finds the one group that a mailbox of ExpandDL names, by address, alias or display name; more than one match is an
// ambiguous name. The members follow in the order of the group, those that are in the directory.
func (d *Directory) group(name string) (members []*entry, matches int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	text := fold(strings.TrimSpace(name))
	text = strings.TrimPrefix(text, "smtp:")
	found := append(places(d.proxies.prefix(text, true)), places(d.names.prefix(text, true))...)
	slices.Sort(found)
	found = slices.Compact(found)
	found = slices.DeleteFunc(found, func(p int32) bool { return d.entries[p].Kind != PublicDL })
	if len(found) != 1 {
		return nil, len(found)
	}
	for _, m := range d.entries[found[0]].Members {
		if place, ok := d.owners[fold(m)]; ok {
			members = append(members, d.entries[place])
		}
	}
	return members, 1
}

// PrefixCost says how many answers a client needs that finds everybody by asking for "smtp:" prefixes and splits a prefix
// by one more character when its answer was truncated.
type PrefixCost struct {
	// Truncated answers had to be split. Leaves were complete and found somebody: no such client needs fewer complete
	// answers. Empty ones were complete and found nobody.
	Truncated, Leaves, Empty int
}

// PrefixCost counts for a client that splits by these characters.
func (d *Directory) PrefixCost(alphabet string) PrefixCost {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var cost PrefixCost
	var split func(prefix string)
	split = func(prefix string) {
		for _, c := range alphabet {
			next := prefix + string(c)
			keys := d.proxies.prefix(next, false)
			switch {
			case len(keys) == 0:
				cost.Empty++
			case len(keys) <= maxCandidates || !d.pick(places(keys)).truncated:
				cost.Leaves++
			default:
				cost.Truncated++
				split(next)
			}
		}
	}
	split("")
	return cost
}
