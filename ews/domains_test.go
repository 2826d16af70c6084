package ews

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
)

// TestManyDomains: an address book of many domains, in which beginnings of addresses that look like addresses themselves
// ("info@a") are too full for one answer, is read to its end, by a server that knows "=" and by one that does not.
func TestManyDomains(t *testing.T) {
	for _, knows := range []bool{true, false} {
		var all []string
		for i := range 101 * 4 {
			all = append(all, fmt.Sprintf("info@%c%d.example", 'a'+i%4, i))
		}
		c, err := cache.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := directory.Sync{Source: &Client{URL: bookServer(t, all, knows)}, Store: c}
		for range 2 {
			report, err := s.Run(t.Context(), false)
			if err != nil || report.Outcome != directory.Complete || report.Entries != len(all) {
				t.Errorf("knows = %v: %d of %d, %s, gaps %v, %v", knows, report.Entries, len(all), report.Outcome, report.Gaps, err)
			}
		}
	}
}

// bookServer answers like Exchange: at most a hundred of those whose address begins with what is asked for, or with "=" in
// front is it.
func bookServer(t *testing.T, all []string, knows bool) string {
	t.Helper()
	entry := regexp.MustCompile(`UnresolvedEntry>(=?)smtp:([^<]*)<`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		m := entry.FindSubmatch(question)
		if m == nil {
			t.Errorf("not a question: %s", question)
			return
		}
		exact, text := len(m[1]) > 0 && knows, string(m[2])
		var found []string
		for _, a := range all {
			if a == text || !exact && strings.HasPrefix(a, text) {
				found = append(found, a)
			}
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		if len(found) == 0 {
			_, _ = w.Write(message("Error", CodeNoResults, ""))
			return
		}
		_, _ = w.Write(people(len(found) <= 100, found[:min(len(found), 100)]...))
	}))
	t.Cleanup(s.Close)
	return s.URL
}
