package ews

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
)

// resolver answers the prefix search with one body and the exact one with another, or with nobody when it is asked for less
// than the whole address and knows "=".
func resolver(t *testing.T, prefix, exact []byte, knows bool) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		switch text := string(question); {
		case strings.Contains(text, ">=smtp:bob@corp.exampl<") && knows:
			_, _ = w.Write(message("Error", CodeNoResults, ""))
		case strings.Contains(text, ">=smtp:"):
			_, _ = w.Write(exact)
		default:
			_, _ = w.Write(prefix)
		}
	}))
	t.Cleanup(s.Close)
	return &Client{URL: s.URL}
}

func people(last bool, addresses ...string) []byte {
	set := fmt.Sprintf(`<m:ResolutionSet IncludesLastItemInRange="%t">`, last)
	for _, a := range addresses {
		set += `<t:Resolution><t:Mailbox><t:EmailAddress>` + a + `</t:EmailAddress></t:Mailbox></t:Resolution>`
	}
	return message("Success", CodeNoError, set+`</m:ResolutionSet>`)
}

// TestResolve asks for bob@corp.example of servers that answer in every way.
func TestResolve(t *testing.T) {
	nobody := message("Error", CodeNoResults, "")
	for name, tc := range map[string]struct {
		prefix, exact []byte
		want          directory.Address // empty: nobody
		unlisted      bool
		fails         bool
		ignorant      bool // the server takes "=" for a beginning
	}{
		"listed":                     {prefix: people(true, "bob@corp.example", "bob@corp.example.org"), want: "bob@corp.example"},
		"an alias":                   {prefix: people(true, "robert@corp.example"), exact: people(true, "robert@corp.example"), want: "robert@corp.example", unlisted: true},
		"nobody":                     {prefix: nobody},
		"somebody else's address":    {prefix: people(true, "bob@corp.example.org"), exact: nobody},
		"the server knows no =":      {prefix: people(true, "bob@corp.example.org"), exact: people(true, "bob@corp.example.org"), ignorant: true},
		"nor lists all":              {prefix: people(true, "robert@corp.example"), exact: people(true, "robert@corp.example"), ignorant: true},
		"an alias, among others":     {prefix: people(true, "bob@corp.example.org", "robert@corp.example"), exact: people(true, "robert@corp.example"), want: "robert@corp.example", unlisted: true},
		"cut off before the address": {prefix: people(false, "bob@corp.example.org"), exact: people(true, "robert@corp.example"), want: "robert@corp.example", unlisted: true},
		"cut off with nobody in it":  {prefix: people(false), exact: people(true, "robert@corp.example"), want: "robert@corp.example", unlisted: true},
		"cut off twice":              {prefix: people(false), exact: people(false, "robert@corp.example"), fails: true},
		"cut off, and knows no =":    {prefix: people(false, "bob@corp.example.org"), exact: people(true, "bob@corp.example.org"), fails: true, ignorant: true},
		"cut off, and = finds none":  {prefix: people(false, "bob@corp.example.org"), exact: nobody, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := resolver(t, tc.prefix, tc.exact, !tc.ignorant).Resolve(t.Context(), "bob@corp.example")
			var got directory.Address
			if len(r.Records) > 0 {
				got = r.Records[0].Primary
			}
			if tc.fails != errors.Is(err, directory.ErrUnreadable) || !tc.fails && err != nil || got != tc.want || len(r.Records) > 1 || len(r.Records) > 0 && r.Unlisted != tc.unlisted {
				t.Errorf("%+v, %v; want %q", r, err, tc.want)
			}
		})
	}
}

// TestUnknownCodeIsAboutOneQuestion keeps an answer that nobody understands from ending a run for ever at the same place.
func TestUnknownCodeIsAboutOneQuestion(t *testing.T) {
	c := replay(t, http.StatusOK, message("Error", "ErrorSomethingNew", ""))
	if _, err := c.Search(t.Context(), "a", true); !errors.Is(err, directory.ErrUnreadable) {
		t.Errorf("%v does not wrap ErrUnreadable", err)
	}
	c = replay(t, http.StatusOK, message("Error", CodeAccessDenied, ""))
	if _, err := c.Search(t.Context(), "a", true); errors.Is(err, directory.ErrUnreadable) {
		t.Errorf("%v wraps ErrUnreadable", err)
	}
}
