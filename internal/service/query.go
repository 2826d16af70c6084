package service

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what a query may ask for.
const (
	maxAddresses  = 1000 // of one look-up or mail
	maxCandidates = 50   // addresses of one request for raw candidates
	maxEntries    = 50
	minQuery      = 2 // characters
	maxValue      = 1000
)

// query reads the parameters of r. It refuses names that the request does not know, so that no wish is silently ignored,
// and values that are not text or absurdly long.
func query(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, NewProblem(CodeBadRequest, "the query of the URL is malformed", "encode values as in a web form: + as %2B, & as %26")
	}
	for name, list := range values {
		if !slices.Contains(names, name) {
			return nil, NewProblem(CodeBadRequest, "this request has no parameter "+strconv.Quote(truncate(name)),
				"it takes: "+strings.Join(names, ", "))
		}
		for _, v := range list {
			if len(v) > maxValue || !utf8.ValidString(v) {
				return nil, NewProblem(CodeBadRequest, "a value of "+name+" is not UTF-8 or longer than "+strconv.Itoa(maxValue)+" bytes", "")
			}
		}
	}
	return values, nil
}

func truncate(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// one returns the only value of a parameter, "" when it is absent.
func one(values url.Values, name string) (string, error) {
	switch list := values[name]; len(list) {
	case 0:
		return "", nil
	case 1:
		return list[0], nil
	}
	return "", NewProblem(CodeBadRequest, "the parameter "+name+" may be given once", "")
}

// flag returns the value of a parameter that is 1 or 0; absent is 0.
func flag(values url.Values, name string) (bool, error) {
	v, err := one(values, name)
	if err != nil {
		return false, err
	}
	switch v {
	case "1", "true":
		return true, nil
	case "", "0", "false":
		return false, nil
	}
	return false, NewProblem(CodeBadRequest, "the parameter "+name+" is 1 or 0", "")
}

// choice is flag for a parameter whose absence leaves the choice to the preferences: nil.
func choice(values url.Values, name string) (*bool, error) {
	if !values.Has(name) {
		return nil, nil
	}
	v, err := flag(values, name)
	return &v, err
}

// wished reports a choice that is yes.
func wished(choice *bool) bool { return choice != nil && *choice }

// addresses returns between one and limit values of a parameter, without those that are repeated.
func addresses(values url.Values, name string, limit int) ([]string, error) {
	var list []string
	seen := make(map[string]bool)
	for _, v := range values[name] {
		if !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	if len(list) == 0 || slices.Contains(list, "") {
		return nil, NewProblem(CodeBadRequest, "the parameter "+name+" is missing or empty", "give "+name+"=ADDRESS, once for each address")
	}
	if len(list) > limit {
		return nil, NewProblem(CodeBadRequest, "more than "+strconv.Itoa(limit)+" addresses in one request", "ask in several requests")
	}
	return list, nil
}

// accepted returns the first of offers that the Accept header of r prefers (RFC 9110 section 12.5.1), the first offer
// when there is no such header, and "" when none is accepted. Offers named in full win over wildcards.
func accepted(r *http.Request, offers ...string) string {
	ranges := acceptRanges(r)
	if len(ranges) == 0 {
		return offers[0]
	}
	best, bestQ := "", 0.0
	for _, offer := range offers {
		if q := quality(ranges, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}

type acceptRange struct {
	media string
	q     float64
}

// acceptRanges returns at most 32 ranges.
func acceptRanges(r *http.Request) []acceptRange {
	var ranges []acceptRange
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || len(ranges) == 32 {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		ranges = append(ranges, acceptRange{media, q})
	}
	return ranges
}

// quality returns how much an offer is wanted. A hair less for wildcards makes a full name win a draw.
func quality(ranges []acceptRange, offer string) float64 {
	major, _, _ := strings.Cut(offer, "/")
	best, rank := 0.0, 0
	for _, a := range ranges {
		switch {
		case a.media == offer && rank < 3:
			best, rank = a.q, 3
		case a.media == major+"/*" && rank < 2:
			best, rank = a.q*0.9999, 2
		case a.media == "*/*" && rank < 1:
			best, rank = a.q*0.9998, 1
		}
	}
	return best
}
