package directory

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// partition is what the walk learned about the shape of an address book: the prefixes that are too full for one answer.
// Every one-character extension of such a prefix (and of the empty prefix) that is not itself in the partition is a
// leaf: one request answers it. Together the leaves cover every address there can be.
type partition struct {
	// split holds, per prefix, the number of the run that split it. Until that run has finished all leaves below must be
	// asked; later, empty ones are asked in turns.
	split map[string]int
	// extra are the characters above ASCII seen in local parts of this address book.
	extra string
	dirty map[string]bool // prefixes, and extraKey, whose stored form is not current
}

// Keys of the partition among the store's state.
const (
	splitKey = "walk/split/"
	extraKey = "walk/extra"
)

func loadPartition(tx Tx) (*partition, error) {
	p := &partition{split: map[string]int{}, dirty: map[string]bool{}}
	err := tx.States(splitKey, func(key string, value []byte) error {
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return fmt.Errorf("read learned partition: %w", err)
		}
		p.split[strings.TrimPrefix(key, splitKey)] = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	extra, err := tx.State(extraKey)
	p.extra = string(extra)
	return p, err
}

// save writes what changed since the last save.
func (p *partition) save(tx Tx) error {
	for prefix := range p.dirty {
		key, value := splitKey+prefix, []byte(nil)
		if n, ok := p.split[prefix]; ok {
			value = strconv.AppendInt(nil, int64(n), 10)
		}
		if prefix == extraKey {
			key, value = extraKey, []byte(p.extra)
		}
		if err := tx.SetState(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (p *partition) add(prefix string, run int) {
	p.split[prefix] = run
	p.dirty[prefix] = true
}

// addresses are the split prefixes that are whole addresses. No leaf covers these themselves.
func (p *partition) addresses() map[Address]bool {
	all := map[Address]bool{}
	for prefix := range p.split {
		if a, err := ParseAddress(prefix); err == nil && string(a) == prefix {
			all[a] = true
		}
	}
	return all
}

// merge forgets that prefix, and everything below it, was split.
func (p *partition) merge(prefix string) {
	if _, ok := p.split[prefix]; !ok {
		return
	}
	for s := range p.split {
		if strings.HasPrefix(s, prefix) {
			delete(p.split, s)
			p.dirty[s] = true
		}
	}
}

// maxExtra bounds the characters above ASCII that are learned; each costs one request below every split prefix.
const maxExtra = 256

// learn notes characters above ASCII in the local parts of addresses.
func (p *partition) learn(addresses []Address) {
	for _, a := range addresses {
		local, _, _ := strings.Cut(string(a), "@")
		for _, r := range local {
			if r >= utf8.RuneSelf && !strings.ContainsRune(p.extra, r) && utf8.RuneCountInString(p.extra) < maxExtra {
				p.extra += string(r)
				p.dirty[extraKey] = true
			}
		}
	}
}

// Characters of addresses. Exchange has no quoted local parts; what is left is RFC 5321 atext and the dot. Upper case is
// not there because matching ignores case.
const (
	letters    = "abcdefghijklmnopqrstuvwxyz0123456789"
	localOther = "!#$%&'*+-/=?^_`{|}~"
	domainChar = letters + "-._"
)

// extensions returns the one-character extensions of prefix, in byte order, that can begin an address.
func (p *partition) extensions(prefix string) []string {
	chars := letters + localOther + p.extra
	switch local, domain, inDomain := strings.Cut(prefix, "@"); {
	case inDomain && (domain == "" || strings.HasSuffix(domain, ".")):
		chars = letters + "_"
	case inDomain:
		chars = domainChar
	case local != "" && !strings.HasSuffix(local, "."):
		chars += ".@"
	}
	out := make([]string, 0, len(chars))
	for _, r := range chars {
		out = append(out, prefix+string(r))
	}
	slices.Sort(out)
	return out
}

// rare reports that a prefix ends in a character that addresses hardly ever have.
func rare(prefix string) bool {
	return strings.ContainsAny(prefix[len(prefix)-1:], "!#$%*/=?^`{|}~")
}

// turn reports whether an empty leaf is due in this run: each is, once in period runs.
func turn(leaf string, run, period int) bool {
	h := fnv.New32a()
	h.Write([]byte(leaf))
	return period <= 1 || int(h.Sum32()%uint32(period)) == run%period
}

// done reports whether the walk, which goes through the leaves in byte order, is past prefix and all below it.
func done(prefix, cursor string) bool {
	return prefix <= cursor && !strings.HasPrefix(cursor, prefix) || prefix == cursor
}
