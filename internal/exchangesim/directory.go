package exchangesim

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// ErrNotFound reports an address that no entry of the directory has.
var ErrNotFound = errors.New("no such entry in the directory")

// Directory is the address book of the stand-in. It may be changed while the server answers.
type Directory struct {
	keys *keyPool
	// hidden is the share of entries whose certificates are not shown, as float64 bits.
	hidden atomic.Uint64

	mu      sync.RWMutex
	entries []*entry // in directory order; nil where one was removed
	count   int
	owners  map[string]int32 // folded address → place in entries
	proxies index            // all addresses
	names   index            // what ANR compares when the text has no "smtp:"
	given   index            // given names alone, for "given surname"
}

// entry is a person as stored; it never changes, a changed person is another entry.
type entry struct {
	Person
	// certified is the address that the certificate names: the primary address when the entry was made.
	certified string
	// key is the index of the person's own RSA key; negative for everybody who shares.
	key   int
	cache *atomic.Pointer[certificates]
}

func newEntry(p Person, key int) *entry {
	if p.Kind == "" {
		p.Kind = Mailbox
	}
	return &entry{Person: p, certified: p.Primary, key: key, cache: new(atomic.Pointer[certificates])}
}

// with makes a changed copy without cached values.
func (e *entry) with(change func(*Person)) *entry {
	next := *e
	next.cache = new(atomic.Pointer[certificates])
	change(&next.Person)
	return &next
}

// number is a stable number for choices that depend on the entry.
func (e *entry) number() int {
	return int(hash(fold(e.certified)) & 0x7fffffff)
}

// fold is how the directory compares texts: without regard to case and accents.
func fold(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return mailaddr.Fold(s)
		}
	}
	return strings.ToLower(s)
}

// Len is the number of entries.
func (d *Directory) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.count
}

// People returns a copy of all entries in directory order. Their slices must not be modified.
func (d *Directory) People() []Person {
	d.mu.RLock()
	defer d.mu.RUnlock()
	people := make([]Person, 0, d.count)
	for _, e := range d.entries {
		if e != nil {
			people = append(people, e.Person)
		}
	}
	return people
}

// Lookup returns the entry that has the address, primary or not, in any case.
func (d *Directory) Lookup(address string) (Person, bool) {
	e, ok := d.lookup(address)
	if !ok {
		return Person{}, false
	}
	return e.Person, true
}

func (d *Directory) lookup(address string) (*entry, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	place, ok := d.owners[fold(address)]
	if !ok {
		return nil, false
	}
	return d.entries[place], true
}

// Add puts a person at the end of the directory. It is an error when one of the addresses is taken.
func (d *Directory) Add(p Person) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.insert(newEntry(p, -1))
}

// Remove takes the entry that has the address out of the directory; an ErrNotFound when there is none.
func (d *Directory) Remove(address string) error {
	return d.change(address, func(e *entry) (*entry, error) { return nil, nil })
}

// ReplaceCertificates gives the entry other values in its two properties; nil, nil gives back those of its Recipe, and an
// empty slice is a property without values.
func (d *Directory) ReplaceCertificates(address string, smime, exchange [][]byte) error {
	return d.change(address, func(e *entry) (*entry, error) {
		return e.with(func(p *Person) { p.SMIME, p.Exchange = smime, exchange }), nil
	})
}

// SetRecipe gives the entry the certificates of another recipe.
func (d *Directory) SetRecipe(address string, recipe Recipe) error {
	return d.change(address, func(e *entry) (*entry, error) {
		return e.with(func(p *Person) { p.Recipe, p.SMIME, p.Exchange = recipe, nil, nil }), nil
	})
}

// RenamePrimary makes another address the primary one; the old one stays as the first of the others. The certificate goes
// on naming the old address.
func (d *Directory) RenamePrimary(old, primary string) error {
	return d.change(old, func(e *entry) (*entry, error) {
		if owner, taken := d.owners[fold(primary)]; taken && d.entries[owner] != e {
			return nil, fmt.Errorf("rename %s: %s is the address of somebody else", old, primary)
		}
		next := e.with(func(p *Person) {
			rest := slices.DeleteFunc(slices.Clone(p.Proxies), func(a string) bool { return fold(a) == fold(primary) })
			p.Proxies = append([]string{p.Primary}, rest...)
			p.Primary = primary
		})
		next.cache = e.cache
		return next, nil
	})
}

// HideCertificates stops showing the certificates of that share of the entries, 0 to 1; always the same ones.
func (d *Directory) HideCertificates(share float64) {
	d.hidden.Store(math.Float64bits(share))
}

// change replaces the entry that has the address by what edit returns; nil removes it. It keeps its place.
func (d *Directory) change(address string, edit func(*entry) (*entry, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	place, ok := d.owners[fold(address)]
	if !ok {
		return fmt.Errorf("%w: %s", ErrNotFound, address)
	}
	e := d.entries[place]
	next, err := edit(e)
	if err != nil {
		return err
	}
	d.unindex(e, place)
	d.entries[place] = next
	if next == nil {
		d.count--
		return nil
	}
	d.index(next, place)
	return nil
}

// insert appends an entry and indexes it. The caller holds the lock.
func (d *Directory) insert(e *entry) error {
	place, err := d.append(e)
	if err != nil {
		return err
	}
	d.index(e, place)
	return nil
}

// append gives an entry its place and its addresses, without the search indexes.
func (d *Directory) append(e *entry) (int32, error) {
	for _, a := range e.addresses() {
		if _, taken := d.owners[fold(a)]; taken {
			return 0, fmt.Errorf("add %s: address %s is taken", e.Primary, a)
		}
	}
	place := int32(len(d.entries))
	d.entries = append(d.entries, e)
	d.count++
	for _, a := range e.addresses() {
		d.owners[fold(a)] = place
	}
	return place, nil
}

func (d *Directory) index(e *entry, place int32) {
	for _, a := range e.addresses() {
		d.owners[fold(a)] = place
		d.proxies.add(fold(a), place)
	}
	for _, n := range e.searched() {
		d.names.add(fold(n), place)
	}
	d.given.add(fold(e.GivenName), place)
}

func (d *Directory) unindex(e *entry, place int32) {
	for _, a := range e.addresses() {
		delete(d.owners, fold(a))
		d.proxies.remove(fold(a), place)
	}
	for _, n := range e.searched() {
		d.names.remove(fold(n), place)
	}
	d.given.remove(fold(e.GivenName), place)
}

// addresses are all addresses of the entry, the primary one first.
func (e *entry) addresses() []string {
	return append([]string{e.Primary}, e.Proxies...)
}

// searched are the texts that ANR compares (facts: given name, surname, display name, alias, office, primary address).
func (e *entry) searched() []string {
	texts := []string{e.GivenName, e.Surname, e.DisplayName, e.Alias, e.Office, e.Primary}
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// certificates returns the values that the directory shows for an entry.
func (d *Directory) certificates(e *entry) (*certificates, error) {
	share := math.Float64frombits(d.hidden.Load())
	if share > 0 && float64(hash("hide "+fold(e.certified))>>11)/(1<<53) < share {
		return &certificates{}, nil
	}
	return d.allCertificates(e)
}

// allCertificates makes the values on first use and keeps them.
func (d *Directory) allCertificates(e *entry) (*certificates, error) {
	if c := e.cache.Load(); c != nil {
		return c, nil
	}
	c, err := d.keys.certificates(e)
	if err != nil {
		return nil, err
	}
	e.cache.CompareAndSwap(nil, c)
	return e.cache.Load(), nil
}

// identity returns the certificate of an entry with its key.
func (d *Directory) identity(address string) (*x509.Certificate, crypto.Signer, error) {
	e, ok := d.lookup(address)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, address)
	}
	c, err := d.allCertificates(e)
	if err != nil {
		return nil, nil, err
	}
	if c.own == nil {
		return nil, nil, fmt.Errorf("%s has no certificate of the directory's making", address)
	}
	cert, err := x509.ParseCertificate(c.own)
	return cert, c.key, err
}
