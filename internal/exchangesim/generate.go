package exchangesim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Domains of the ordinary entries. Partner domains belong to contacts.
const (
	mainDomain  = "corp.example"
	salesDomain = "sales.corp.example"
	otherDomain = "corp.example.org"
)

var (
	offices        = []string{"Berlin 1", "Berlin 2", "Leeds", "Lyon", "Milano", "Madrid", "Kraków", "Praha", "Malmö", "Utrecht", "İzmir", "Home"}
	partnerDomains = []string{"partner.example", "supplier.example", "law.example.net", "agency.example.com"}
	mailboxNames   = []string{"info", "hr", "sales", "support", "invoices", "reception", "security", "press", "facility", "it", "jobs", "orders", "legal", "travel", "training", "room"}
	units          = []string{"berlin", "leeds", "lyon", "milano", "madrid", "krakow", "praha", "malmo", "utrecht", "izmir", "east", "west", "north", "south", "emea"}
	groupNames     = []string{"all", "team", "project", "board", "dl", "managers", "dev", "ops", "works-council", "quality"}
)

// generator makes the ordinary entries from a seed.
type generator struct {
	rand  *rand.Rand
	names *languages
	dir   *Directory
	// next is the number that the next namesake of an address gets.
	next map[string]int
	// used are the addresses given out, with the one that has to stay unknown.
	used map[string]bool
	// mailboxes are addresses made so far, for the members of groups.
	mailboxes []string
}

// populate fills the directory with the people at fixed addresses and count ordinary entries.
func (d *Directory) populate(count int, seed uint64) error {
	names, err := readNames(nameLists)
	if err != nil {
		return err
	}
	for _, f := range fixtures() {
		if _, err := d.append(newEntry(f.person, f.key)); err != nil {
			return err
		}
	}
	g := &generator{rand: rand.New(rand.NewPCG(seed, 0x6761_6c73)), names: names, dir: d, next: map[string]int{}, used: map[string]bool{Nobody: true}}
	for range count {
		if _, err := d.append(newEntry(g.entry(), -1)); err != nil {
			return err
		}
	}
	for place, e := range d.entries {
		for _, a := range e.addresses() {
			d.proxies.append(fold(a), int32(place))
		}
		for _, n := range e.searched() {
			d.names.append(fold(n), int32(place))
		}
		d.given.append(fold(e.GivenName), int32(place))
	}
	d.proxies.sort()
	d.names.sort()
	d.given.sort()
	return nil
}

// entry makes one ordinary entry: 90 % people, 3 % shared mailboxes, 4 % contacts, 3 % groups.
func (g *generator) entry() Person {
	switch x := g.rand.Float64(); {
	case x < 0.90:
		return g.person()
	case x < 0.93:
		return g.shared()
	case x < 0.97:
		return g.contact()
	default:
		return g.group()
	}
}

// name is a person's name with its spelling in addresses.
type name struct {
	given, surname, initial   string
	asciiGiven, asciiSurname  string
	asciiInitial, formerASCII string
}

func (g *generator) name() name {
	first := &g.names.all[g.names.share.index(g.rand)]
	last := first
	if g.rand.Float64() < 0.15 {
		last = &g.names.all[g.names.share.index(g.rand)]
	}
	n := name{given: first.first.draw(g.rand), surname: last.last.draw(g.rand)}
	n.asciiGiven, n.asciiSurname = first.ascii(n.given), last.ascii(n.surname)
	n.formerASCII = last.ascii(last.last.draw(g.rand))
	if g.rand.Float64() < 0.04 {
		second := last.last.draw(g.rand)
		n.surname, n.asciiSurname = n.surname+"-"+second, n.asciiSurname+"-"+last.ascii(second)
	}
	if g.rand.Float64() < 0.15 {
		n.initial = string(rune('A' + g.rand.IntN(26)))
		n.asciiInitial = strings.ToLower(n.initial)
	}
	return n
}

// person makes an employee with a mailbox.
func (g *generator) person() Person {
	n := g.name()
	p := Person{GivenName: n.given, Surname: n.surname, Photo: g.rand.Float64() < 0.6, Office: offices[g.rand.IntN(len(offices))]}
	p.DisplayName = n.given + " " + n.surname
	if n.initial != "" {
		p.DisplayName = n.given + " " + n.initial + ". " + n.surname
	}
	domain := mainDomain
	switch x := g.rand.Float64(); {
	case x < 0.10:
		domain = salesDomain
	case x < 0.20:
		domain = otherDomain
	}
	local := n.asciiGiven + "." + n.asciiSurname
	switch {
	case g.rand.Float64() < 0.12:
		local = n.asciiGiven[:1] + "." + n.asciiSurname
	case n.initial != "" && g.rand.Float64() < 0.5:
		local = n.asciiGiven + "." + n.asciiInitial + "." + n.asciiSurname
	}
	p.Primary = g.free(local, domain)
	p.Alias, _, _ = strings.Cut(p.Primary, "@")
	p.Proxies = g.proxies(n, p.Primary, domain)
	g.recipe(&p)
	g.mailboxes = append(g.mailboxes, p.Primary)
	return p
}

// proxies are the further addresses: a nickname for 40 %, a former surname for 6 %, the short domain for half of the
// people of a subdomain, an underscore form for 8 %. Only two of them are ever listed.
func (g *generator) proxies(n name, primary, domain string) []string {
	var list []string
	add := func(local, domain string) {
		a := g.free(local, domain)
		if a != primary {
			list = append(list, a)
		}
	}
	if domain == salesDomain && g.rand.Float64() < 0.5 {
		add(n.asciiGiven+"."+n.asciiSurname, mainDomain)
	}
	if g.rand.Float64() < 0.06 {
		add(n.asciiGiven+"."+n.formerASCII, domain)
	}
	if g.rand.Float64() < 0.08 {
		add(n.asciiGiven+"_"+n.asciiSurname, domain)
	}
	if g.rand.Float64() < 0.40 {
		add(n.asciiGiven[:1]+n.asciiSurname, mainDomain)
	}
	return list
}

// free makes the address, with a number behind the local part when somebody has it.
func (g *generator) free(local, domain string) string {
	base := local + "@" + domain
	for n := g.next[base]; ; n++ {
		a := base
		if n > 0 {
			a = local + strconv.Itoa(n+1) + "@" + domain
		}
		if _, taken := g.dir.owners[a]; !taken && !g.used[a] {
			g.next[base], g.used[a] = n+1, true
			return a
		}
	}
}

// recipe draws what a mailbox holds: 76 % usable, 12 % nothing, 4 % expired, 3 % renewed, 2 % EC, 1 % several values,
// 1 % signing-only, 1 % others.
func (g *generator) recipe(p *Person) {
	shares := []struct {
		upTo   float64
		recipe Recipe
	}{{0.76, Usable}, {0.88, None}, {0.92, Expired}, {0.95, Renewed}, {0.97, CurveP256}, {0.98, SeveralValues}, {0.99, SigningOnly},
		{0.993, Garbage}, {0.996, WeakKey}, {0.998, SomeoneElse}, {0.999, NotYetValid}, {1, UntrustedIssuer}}
	x := g.rand.Float64()
	for _, s := range shares {
		if x < s.upTo {
			p.Recipe = s.recipe
			break
		}
	}
	switch x := g.rand.Float64(); {
	case x < 0.50: // an authority wrote it
		p.Encoding, p.Property = DER, InExchange
	case x < 0.85: // Outlook published it
		p.Encoding, p.Property = SignedData, Both
	case x < 0.95:
		p.Encoding, p.Property = Settings, InSMIME
	default:
		p.Encoding, p.Property = DER, InSMIME
	}
}

// shared makes a mailbox that several people use.
func (g *generator) shared() Person {
	name, unit := mailboxNames[g.rand.IntN(len(mailboxNames))], units[g.rand.IntN(len(units))]
	p := Person{Primary: g.free(name+"-"+unit, mainDomain), DisplayName: title(name) + " " + title(unit)}
	p.Alias, _, _ = strings.Cut(p.Primary, "@")
	if g.rand.Float64() < 0.2 {
		p.Recipe = Usable
	}
	return p
}

// contact makes a person of another company.
func (g *generator) contact() Person {
	n := g.name()
	p := Person{GivenName: n.given, Surname: n.surname, DisplayName: n.given + " " + n.surname + " (external)", Kind: Contact}
	p.Primary = g.free(n.asciiGiven+"."+n.asciiSurname, partnerDomains[g.rand.IntN(len(partnerDomains))])
	if g.rand.Float64() < 0.4 {
		p.Recipe = Usable
	}
	return p
}

// group makes a distribution group of up to 30 people.
func (g *generator) group() Person {
	name, unit := groupNames[g.rand.IntN(len(groupNames))], units[g.rand.IntN(len(units))]
	p := Person{Primary: g.free(name+"-"+unit, mainDomain), DisplayName: fmt.Sprintf("%s %s", title(name), title(unit)), Kind: PublicDL}
	p.Alias, _, _ = strings.Cut(p.Primary, "@")
	if len(g.mailboxes) > 0 {
		for range 1 + g.rand.IntN(30) {
			p.Members = append(p.Members, g.mailboxes[g.rand.IntN(len(g.mailboxes))])
		}
	}
	return p
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
