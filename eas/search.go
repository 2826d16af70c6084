package eas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Bounds of one search.
const (
	pageSize = 100 // the most that Exchange takes for the GAL (MS-ASCMD section 2.2.3.142.2)
	maxPages = 10
)

// Status numbers of a store in a Search (MS-ASCMD section 2.2.3.177.13).
const (
	storeServerError      = 3
	storeNotFound         = 6
	storeConnectionFailed = 7
	storeTooComplex       = 8
	storeTimedOut         = 10
	storeEndOfRange       = 12
)

// person is one result of a search: names, no certificates.
type person struct {
	address                                directory.Address
	displayName, givenName, surname, alias string
}

// found is what a search gave, over all its pages.
type found struct {
	people    []person
	unusable  int // results without a mail address
	truncated bool
}

// paging is what a server taught about the sizes of its answers.
type paging struct {
	mu sync.Mutex
	// whole is the largest first page after which nothing followed: first pages with fewer results are whole. The sizes of
	// later pages teach nothing: a server may give fewer results at a time than it was asked for.
	whole int
	// single reports that the server shows the first page only.
	single bool
	// most is how many addresses it resolves in one request; 0 is maxBatch.
	most int
}

func (p *paging) batch() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most == 0 {
		return maxBatch
	}
	return p.most
}

func (p *paging) shrink(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most == 0 || most < p.most {
		p.most = max(1, most)
	}
}

// last reports that after a page nothing follows, by what it says and by what was learned. A page is believed to be whole
// when it has clearly less than was asked for (some servers give one less), its total says nothing else, and a page at
// least as large turned out to be whole before.
func (p *paging) last(n, total int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return n == 0 || n < pageSize-1 && total <= n && n < p.whole
}

func (p *paging) learnWhole(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = max(p.whole, n)
}

func (p *paging) isSingle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.single
}

func (p *paging) learnSingle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.single = true
}

// search asks for everybody who begins with text, page by page: the next page begins after what came, not after what was
// asked for.
func (c *call) search(text string) (found, error) {
	var f found
	seen := map[directory.Address]bool{}
	for received, pages := 0, 0; ; pages++ {
		if pages == maxPages {
			f.truncated = true
			return f, nil
		}
		store, status, err := c.page(text, received)
		switch {
		case err != nil:
			return f, err
		case status == storeEndOfRange && received > 0:
			f.truncated = f.truncated || received >= pageSize-1
			if pages == 1 {
				c.session.paging.learnSingle()
				if !f.truncated {
					c.session.paging.learnWhole(received)
				}
			}
			return f, nil
		case status == storeTooComplex && len(text) < 3:
			f.truncated, f.unusable = true, 1 // a longer text may do
			return f, nil
		case status == storeNotFound:
			return f, nil
		case status != statusOK:
			return f, c.storeError(status)
		}
		n := f.add(store, seen)
		total := number(store.TextAt(wbxml.SearchTotal))
		if n == 0 {
			if pages == 1 {
				c.session.paging.learnWhole(received)
			}
			return f, nil
		}
		received += n
		if c.session.paging.last(received, total) {
			return f, nil
		}
		f.truncated = false
		if c.session.paging.isSingle() {
			f.truncated = received >= pageSize-1 || total > received
			return f, nil
		}
		f.truncated = total > received // should the next page be refused
	}
}

// add takes the results of a page and returns how many there were. Those that came before count for nothing: a server that
// repeats itself has no more.
func (f *found) add(store *wbxml.Element, seen map[directory.Address]bool) (n int) {
	for r := range store.All(wbxml.SearchResult) {
		p := r.Child(wbxml.SearchProperties)
		if p == nil {
			continue // Exchange says "nobody" with one empty result
		}
		address, err := parseAddress(p.TextAt(wbxml.GALEmailAddress))
		if err != nil {
			f.unusable++
			n++
			continue
		}
		if seen[address] {
			continue
		}
		seen[address] = true
		n++
		f.people = append(f.people, person{address, p.TextAt(wbxml.GALDisplayName), p.TextAt(wbxml.GALFirstName), p.TextAt(wbxml.GALLastName), p.TextAt(wbxml.GALAlias)})
	}
	return n
}

// page asks for one page and returns its store with its status.
func (c *call) page(text string, from int) (*wbxml.Element, int, error) {
	root, err := c.do(cmdSearch, wbxml.New(wbxml.Search, wbxml.New(wbxml.SearchStore,
		wbxml.NewText(wbxml.SearchName, "GAL"),
		wbxml.NewText(wbxml.SearchQuery, text),
		wbxml.New(wbxml.SearchOptions, wbxml.NewText(wbxml.SearchRange, fmt.Sprintf("%d-%d", from, from+pageSize-1))))))
	if err != nil {
		return nil, 0, err
	}
	if status := number(root.TextAt(wbxml.SearchStatus)); status != statusOK {
		return nil, 0, c.storeError(status)
	}
	store := root.At(wbxml.SearchResponse, wbxml.SearchStore)
	if store == nil {
		return nil, 0, c.malformed(cmdSearch, fmt.Errorf("the answer has no result of the search"))
	}
	status := number(store.TextAt(wbxml.SearchStatus))
	if status > 100 {
		return nil, 0, c.codeError(cmdSearch, status)
	}
	return store, status, nil
}

// storeError is the error of a search that the server did not carry out.
func (c *call) storeError(status int) error {
	e := &Error{Status: status, reason: "the server does not search its directory (status " + strconv.Itoa(status) + ")", hint: hintStatus}
	switch status {
	case storeServerError, storeConnectionFailed, storeTimedOut:
		e.reason, e.Temporary = "the server cannot search its directory now (status "+strconv.Itoa(status)+")", true
		e.hint = ""
	case 2, storeTooComplex:
		e.reason = "the server does not search for this text (status " + strconv.Itoa(status) + ")"
		e.causes = []error{directory.ErrInvalidName}
	case 5, 13, 14:
		e.hint = "let the account read the address book, or set sync.full_gal = false"
	}
	return c.fail(cmdSearch, e)
}

// record is a person as package directory has one, without certificates.
func (p *person) record() directory.Record {
	return directory.Record{Primary: p.address, Addresses: []directory.Address{p.address}, DisplayName: p.displayName,
		GivenName: p.givenName, Surname: p.surname, Alias: p.alias, Partial: true}
}

// below keeps the people whose addresses begin with prefix: a search matches names as well.
func (f *found) below(prefix string) (people []person, others int) {
	people = slices.DeleteFunc(slices.Clone(f.people), func(p person) bool { return !strings.HasPrefix(string(p.address), prefix) })
	return people, len(f.people) - len(people) + f.unusable
}
