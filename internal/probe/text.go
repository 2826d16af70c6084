package probe

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// finish completes the report when everything was asked.
func (r *run) finish() {
	r.report.Headers = slices.Sorted(maps.Keys(r.headers))
	var took []int64
	busy := 0
	for _, a := range r.report.Answers {
		took = append(took, a.Millis)
		if a.Outcome == "ErrorServerBusy" || a.Outcome == "http status 503" || a.Outcome == "http status 429" || a.Outcome == "ErrorExceededConnectionCount" {
			busy++
		}
	}
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	r.behaves("answers take", fmt.Sprintf("%d ms in the median, %d ms at most", took[len(took)/2], took[len(took)-1]))
	limits := "no answer said so"
	if busy > 0 {
		limits = fmt.Sprintf("%d answers said so, and asked for %d s", busy, int(r.seen.BackOff.Seconds()))
	}
	r.behaves("the server limits this account", limits)
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) {
	fmt.Fprintf(w, "probe by %s, %d requests\n\n", r.Program, r.Requests)
	r.connectionText(w)
	fmt.Fprintf(w, "\nsearches\n")
	facts(w, r.Behaviour)
	if r.Entries.Count > 0 {
		r.entriesText(w)
	}
	fmt.Fprintf(w, "\nanswers\n")
	for _, a := range r.Answers {
		cut := ""
		if a.Truncated {
			cut = ", truncated"
		}
		fmt.Fprintf(w, "  %-38s %s: %d entries%s, %d bytes, %d ms\n", a.Question, a.Outcome, a.Entries, cut, a.Bytes, a.Millis)
	}
	if len(r.NotAsked) > 0 {
		fmt.Fprintf(w, "\nnot asked\n")
		facts(w, r.NotAsked)
	}
}

func (r *Report) connectionText(w io.Writer) {
	fmt.Fprintf(w, "server\n")
	fmt.Fprintf(w, "  version: %s\n", cmp.Or(strings.TrimSpace(r.Version+" "+r.Schema), "not told"))
	fmt.Fprintf(w, "  software: %s\n", cmp.Or(r.Software, "not told"))
	fmt.Fprintf(w, "  header fields: %s\n", strings.Join(r.Headers, " "))
	fmt.Fprintf(w, "  offers: %s\n", cmp.Or(strings.Join(r.Offers, ", "), "none"))
	t := r.TLS
	if t.Version == "" {
		fmt.Fprintf(w, "  tls: %s\n", t.Problem)
	} else {
		fmt.Fprintf(w, "  tls: %s, %s, certificate verified: %s\n", t.Version, t.Cipher, yes(t.Verified))
		fmt.Fprintf(w, "  certificate: %s, signed with %s, %d in the chain, %d days left\n", t.Key, t.Signature, t.Chain, t.DaysLeft)
		fmt.Fprintf(w, "  http/2 offered: %s\n", yes(t.HTTP2))
	}
	facts(w, r.Versions)
}

func (r *Report) entriesText(w io.Writer) {
	e := r.Entries
	fmt.Fprintf(w, "\nentries of one answer: %d\n", e.Count)
	for _, c := range []struct {
		what   string
		counts map[string]int
	}{{"kind", e.Kinds}, {"routing", e.Routing}, {"contact source", e.Sources}, {"prefix of listed addresses", e.Prefixes}} {
		fmt.Fprintf(w, "  %s: %s\n", c.what, counted(c.counts))
	}
	listed := map[string]int{}
	for n, count := range e.ListedAddresses {
		listed[fmt.Sprintf("%d addresses", n)] = count
	}
	fmt.Fprintf(w, "  entries that list: %s\n", counted(listed))
	fmt.Fprintf(w, "  without contact data: %d; found by an address that is not listed: %d\n", e.WithoutContact, e.FoundUnlisted)
	fmt.Fprintf(w, "  with UserSMIMECertificate: %d, with MSExchangeCertificate: %d, with both: %d, most values: %d, issuers: %d\n",
		e.WithSMIME, e.WithExchange, e.WithBoth, e.MostValues, e.Issuers)
	for _, v := range r.Values {
		fmt.Fprintf(w, "  %s: %d of %d to %d bytes: %s\n", v.Property, v.Count, v.Shortest, v.Longest, v.Form)
	}
}

func counted(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", cmp.Or(name, "missing"), counts[name]))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func facts(w io.Writer, list []Fact) {
	for _, f := range list {
		fmt.Fprintf(w, "  %s: %s\n", f.What, f.Found)
	}
}
