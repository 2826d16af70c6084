package probe

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/ews"
)

// sample is what the run knows of the directory. None of it leaves the run.
type sample struct {
	letter  string // one or more, whose answer was the fullest
	entries []ews.Resolution
	full    []ews.Resolution // of the same letter, with everything that they have
	group   string
	address string // of a person, listed
}

// beginnings are what is asked for to meet people, by length: longer ones only where shorter ones are refused.
var beginnings = [][]string{{"a", "s", "m", "e", "j", "t"}, {"ma", "an", "st"}, {"mar", "ann", "ste"}}

// letters looks for a beginning that more addresses have than one answer holds.
func (r *run) letters(ctx context.Context) error {
	truncatedAt, shortest := "", ""
	for i, list := range beginnings {
		for _, text := range list {
			resp, result, err := r.resolve(ctx, fmt.Sprintf("smtp:<%d letters>", i+1), ews.ResolveNamesRequest{UnresolvedEntry: "smtp:" + text, SearchScope: ews.ActiveDirectory})
			if err != nil {
				return err
			}
			if accepted(result) != "accepted" {
				break
			}
			shortest = cmp.Or(shortest, fmt.Sprintf("%d letters", i+1))
			if len(resp.Resolutions) > len(r.sample.entries) {
				r.sample.letter, r.sample.entries = text, resp.Resolutions
			}
			r.look(resp.Resolutions)
			if resp.Truncated {
				truncatedAt = fmt.Sprintf("%d entries", len(resp.Resolutions))
				break
			}
		}
		if shortest != "" {
			break
		}
	}
	r.behaves("the shortest beginning that is searched for", cmp.Or(shortest, fmt.Sprintf("more than %d letters", len(beginnings))))
	r.behaves("answers are truncated at", cmp.Or(truncatedAt, "no answer was truncated"))
	return nil
}

// look remembers a group and an address to ask for.
func (r *run) look(list []ews.Resolution) {
	for _, res := range list {
		box := res.Mailbox
		address := strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(box.EmailAddress, "SMTP:"), "smtp:"))
		local, _, ok := strings.Cut(address, "@")
		if !ok || box.RoutingType != "" && !strings.EqualFold(box.RoutingType, "SMTP") {
			continue
		}
		if box.MailboxType == "PublicDL" && r.sample.group == "" {
			r.sample.group = address
		}
		if r.sample.address == "" && box.MailboxType == "Mailbox" && len(local) >= 5 && isPlain(local) {
			r.sample.address = address
		}
	}
}

func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.') })
}

// shapes asks for the same letter with more and with all properties.
func (r *run) shapes(ctx context.Context) error {
	if r.sample.letter == "" {
		r.notAsked("what an entry has", "nobody was found")
		return nil
	}
	q := ews.ResolveNamesRequest{UnresolvedEntry: "smtp:" + r.sample.letter, SearchScope: ews.ActiveDirectory, ReturnFullContactData: true, ContactDataShape: ews.Default}
	if _, _, err := r.resolve(ctx, "smtp:<same letters>, Default", q); err != nil {
		return err
	}
	q.ContactDataShape = ews.AllProperties
	resp, _, err := r.resolve(ctx, "smtp:<same letters>, AllProperties", q)
	if err != nil {
		return err
	}
	r.sample.full = resp.Resolutions
	r.look(resp.Resolutions)
	r.behaves("the same question finds the same entries again", yes(slices.Equal(keys(resp.Resolutions), keys(r.sample.entries))))
	r.count(resp.Resolutions)
	return nil
}

// keys are what tells entries apart, in the order of the answer.
func keys(list []ews.Resolution) []string {
	var all []string
	for _, res := range list {
		all = append(all, strings.ToLower(res.Mailbox.EmailAddress))
	}
	return all
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// searches finds out what "smtp:", "=" and a bare address match.
func (r *run) searches(ctx context.Context) error {
	a := r.sample.address
	if a == "" {
		r.notAsked("how addresses are searched", "no plain address was found to ask for")
		return nil
	}
	local, domain, _ := strings.Cut(a, "@")
	short := local[:len(local)-1]
	for _, q := range []struct {
		what, shown, entry string
		found              func(hit bool, n int) string
	}{
		{"the beginning of an address finds it", "smtp:<the beginning of an address>", "smtp:" + short, hit},
		{"a whole address finds it", "smtp:<a whole address>", "smtp:" + a, hit},
		{"= finds a whole address", "=smtp:<a whole address>", "=smtp:" + a, hit},
		{"= finds the beginning of an address", "=smtp:<the beginning of an address>", "=smtp:" + short, hit},
		{"the middle of an address finds it", "smtp:<the middle of an address>", "smtp:" + local[1:] + "@" + domain, hit},
		{"an address without smtp: finds it", "<a whole address>", a, hit},
		{"an address in upper case finds it", "SMTP:<A WHOLE ADDRESS>", "SMTP:" + strings.ToUpper(a), hit},
		{"an unknown address finds", "smtp:<an unknown address>", "smtp:" + strings.ToLower(rand.Text()) + "@" + domain, number},
		{"smtp: alone finds", "smtp:", "smtp:", number},
	} {
		resp, result, err := r.resolve(ctx, q.shown, ews.ResolveNamesRequest{UnresolvedEntry: q.entry, SearchScope: ews.ActiveDirectory})
		if accepted(result) == "accepted" {
			result = q.found(slices.Contains(keys(resp.Resolutions), a), len(resp.Resolutions))
			if resp.Truncated {
				result += ", truncated"
			}
		}
		if result != "" {
			r.behaves(q.what, result)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hit(found bool, n int) string { return fmt.Sprintf("%s (%d entries)", yes(found), n) }

func number(_ bool, n int) string { return fmt.Sprintf("%d entries", n) }

// refusals asks for what has no name: which codes come, and which of them are searched for after all.
func (r *run) refusals(ctx context.Context) error {
	for _, entry := range []string{"-", ",", "smtp:-", "smtp:,", "smtp:'", "smtp:*"} {
		_, result, err := r.resolve(ctx, entry, ews.ResolveNamesRequest{UnresolvedEntry: entry, SearchScope: ews.ActiveDirectory})
		if result != "" {
			r.behaves(fmt.Sprintf("a search for %q is", entry), accepted(result))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// groups expands one group, if one was met, and one that does not exist.
func (r *run) groups(ctx context.Context) error {
	domain := "invalid"
	if _, d, ok := strings.Cut(r.sample.address, "@"); ok {
		domain = d
	}
	unknown := strings.ToLower(rand.Text()) + "@" + domain
	for _, q := range []struct{ what, address string }{{"a group", r.sample.group}, {"an unknown group", unknown}} {
		if q.address == "" {
			r.notAsked("the members of a group", "no group was met")
			continue
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
		r.seen = ews.Observation{}
		resp, err := r.client.ExpandDL(ctx, q.address)
		result, err := r.record(ctx, "ExpandDL of "+q.what, len(resp.Members), resp.Truncated, resp.ResponseCode, err)
		if accepted(result) == "accepted" {
			result = fmt.Sprintf("%s, %d members", result, len(resp.Members))
			if resp.Truncated {
				result += ", truncated"
			}
		}
		r.behaves("ExpandDL of "+q.what+" answers", result)
		if err != nil {
			return err
		}
	}
	return nil
}

// contacts asks whether the account's own contacts may be listed, and in which forms a few of them keep certificates.
func (r *run) contacts(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	r.seen = ews.Observation{}
	list, err := r.client.ListContacts(ctx, 0)
	result, err := r.record(ctx, "FindItem in contacts", list.Items, list.Next > 0, ews.CodeNoError, err)
	if result == ews.CodeNoError {
		result = fmt.Sprintf("yes (%d items)", list.Items)
	}
	r.behaves("personal contacts can be listed", result)
	if err != nil || len(list.Refs) == 0 {
		return err
	}
	return r.someContacts(ctx, list.Refs[:min(len(list.Refs), directory.MaxContactBatch)])
}

func (r *run) someContacts(ctx context.Context, refs []directory.ContactRef) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	var ids []string
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	r.seen = ews.Observation{}
	answers, err := r.client.GetContacts(ctx, ids)
	result, err := r.record(ctx, "GetItem of some contacts", len(answers), false, ews.CodeNoError, err)
	if err != nil || result != ews.CodeNoError {
		return err
	}
	unreadable, with := 0, 0
	var values []directory.Value
	for _, a := range answers {
		unreadable += one(a.Fault != "")
		with += one(len(a.Record.Values) > 0)
		values = append(values, a.Record.Values...)
	}
	r.behaves("personal contacts with certificates", fmt.Sprintf("%d of %d, %d not readable", with, len(answers), unreadable))
	r.shapesOf("contacts: ", values)
	return nil
}
