package ews

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// oldServer knows the versions up to one, and notes what it was asked in.
func oldServer(t *testing.T, newest string) (*Client, *[]string) {
	t.Helper()
	var asked []string
	asks := regexp.MustCompile(`Version="(\w+)"`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		version := asks.FindStringSubmatch(string(body))[1]
		asked = append(asked, version)
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		code := "ErrorNameResolutionNoResults"
		if version > newest {
			code = "ErrorInvalidServerVersion"
		}
		fmt.Fprintf(w, `<s:Envelope xmlns:s="%s"><s:Body><m:ResolveNamesResponse xmlns:m="%s"><m:ResponseMessages>`+
			`<m:ResolveNamesResponseMessage ResponseClass="Error"><m:ResponseCode>%s</m:ResponseCode></m:ResolveNamesResponseMessage>`+
			`</m:ResponseMessages></m:ResolveNamesResponse></s:Body></s:Envelope>`, nsSOAP, nsMessages, code)
	}))
	t.Cleanup(server.Close)
	return &Client{URL: server.URL}, &asked
}

func TestVersionFallsBack(t *testing.T) {
	client, asked := oldServer(t, "Exchange2010_SP2")
	for range 2 {
		if _, err := client.Search(t.Context(), "a", true); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"Exchange2013_SP1", "Exchange2013", "Exchange2010_SP2", "Exchange2010_SP2"}; !slices.Equal(*asked, want) {
		t.Errorf("asked in %q, want %q", *asked, want)
	}
}

func TestVersionNeverHidesCertificates(t *testing.T) {
	client, asked := oldServer(t, "Exchange2010_SP1")
	_, err := client.Search(t.Context(), "a", true)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != "ErrorInvalidServerVersion" || !strings.Contains(e.Hint(), "2010 SP2") {
		t.Errorf("error %v", err)
	}
	if len(*asked) != 3 {
		t.Errorf("asked in %q", *asked)
	}
}

func TestNamedVersionStays(t *testing.T) {
	client, asked := oldServer(t, "Exchange2010_SP2")
	client.Version = "Exchange2016"
	if _, err := client.Search(t.Context(), "a", true); err == nil || len(*asked) != 1 {
		t.Errorf("error %v, asked in %q", err, *asked)
	}
}
