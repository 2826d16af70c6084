package exchangesim

import (
	"fmt"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// search answers a Search in the store "GAL" (MS-ASCMD sections 2.2.1.16 and 2.2.3.142): at most maxCandidates results of
// those whose names or addresses begin with the query.
func (s *Server) search(c *command) *wbxml.Element {
	store := c.root.Child(wbxml.SearchStore)
	answer := func(status string, rest ...*wbxml.Element) *wbxml.Element {
		return wbxml.New(wbxml.Search, wbxml.NewText(wbxml.SearchStatus, "1"),
			wbxml.New(wbxml.SearchResponse, wbxml.New(wbxml.SearchStore, append([]*wbxml.Element{wbxml.NewText(wbxml.SearchStatus, status)}, rest...)...)))
	}
	query := store.TextAt(wbxml.SearchQuery)
	if store.TextAt(wbxml.SearchName) != "GAL" || query == "" {
		return answer("2")
	}
	first, last := 0, maxCandidates-1
	if text := store.TextAt(wbxml.SearchOptions, wbxml.SearchRange); text != "" {
		if n, _ := fmt.Sscanf(text, "%d-%d", &first, &last); n != 2 || first < 0 || last < first {
			return answer("2")
		}
	}
	if last >= maxCandidates {
		return answer("12")
	}
	found := s.dir.anr(query)
	total := len(found)
	found = found[min(first, total):min(last+1, total)]
	if s.options.ActiveSync.ShortPages && first+len(found) < total && len(found) > 1 {
		found = found[:len(found)-1]
	}
	if len(found) == 0 {
		return answer("1", wbxml.New(wbxml.SearchResult))
	}
	var rest []*wbxml.Element
	for _, e := range found {
		rest = append(rest, wbxml.New(wbxml.SearchResult, wbxml.New(wbxml.SearchProperties, galProperties(e)...)))
	}
	rest = append(rest, wbxml.NewText(wbxml.SearchRange, fmt.Sprintf("%d-%d", first, first+len(found)-1)), wbxml.NewText(wbxml.SearchTotal, fmt.Sprint(total)))
	return answer("1", rest...)
}

func galProperties(e *entry) (list []*wbxml.Element) {
	for _, p := range []struct {
		tag  wbxml.Tag
		text string
	}{{wbxml.GALDisplayName, e.DisplayName}, {wbxml.GALOffice, e.Office}, {wbxml.GALAlias, e.Alias}, {wbxml.GALFirstName, e.GivenName},
		{wbxml.GALLastName, e.Surname}, {wbxml.GALEmailAddress, e.Primary}} {
		if p.text != "" {
			list = append(list, wbxml.NewText(p.tag, p.text))
		}
	}
	return list
}
