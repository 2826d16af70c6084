package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "say how the daemon is: source, last success, next run, counts, warnings",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return failed(a.print(s, func(w io.Writer) { printStatus(w, s) }))
		},
	}
}

func printStatus(w io.Writer, s *client.Status) {
	line := func(name, format string, args ...any) {
		printf(w, "%-13s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("daemon", "%s, %s role, process %d, up since %s", s.Version, s.Role, s.PID, clock(s.Started))
	src := s.Source
	if src.Protocol == "" {
		line("source", "none")
	} else {
		line("source", "%s %s", src.Protocol, src.URL)
	}
	if p := src.Policy; p != nil {
		line("policy", "%s", policyText(*p))
	}
	line("state", "%s", src.State)
	if src.LastSuccess.IsZero() {
		line("last success", "never")
	} else {
		line("last success", "%s (%s ago)", clock(src.LastSuccess), age(time.Since(src.LastSuccess)))
	}
	if src.LastWalk.Before(src.LastSuccess) {
		whole := "never"
		if !src.LastWalk.IsZero() {
			whole = clock(src.LastWalk)
		}
		line("whole book", "%s; the last sync asked for known addresses alone", whole)
	}
	if !src.LastAttempt.IsZero() && src.LastError != "" {
		line("last error", "%s: %s", clock(src.LastAttempt), src.LastError)
	}
	if src.LastErrorHint != "" {
		line("hint", "%s", src.LastErrorHint)
	}
	if stop := src.SignIn; stop != nil {
		since := ""
		if !stop.Since.IsZero() {
			since = "since " + clock(stop.Since) + " "
		}
		line("sign-in", "stopped %suntil %s: the credential was refused twice", since, clock(stop.Until))
		if stop.Hint != src.LastErrorHint {
			line("hint", "%s", stop.Hint)
		}
	}
	if !src.NextRun.IsZero() {
		line("next run", "%s", clock(src.NextRun))
	}
	if r := s.Running; r != nil {
		line("running", "%s", progressText(*r))
	}
	line("entries", "%d", s.Counts.Entries)
	for _, state := range slices.Sorted(maps.Keys(s.Counts.ByState)) {
		printf(w, "  %-18s %d\n", state, s.Counts.ByState[state])
	}
	if c := s.Contacts; c != nil {
		line("contacts", "%s", contactsText(*c))
	}
	if r := s.Revocation; r != nil {
		line("revocation", "%s", revocationSummary(r))
		for _, f := range r.Failures {
			line("not fetched", "%s (%s): %s", f.URL, clock(f.Tried), f.Error)
			if f.Hint != "" {
				line("hint", "%s", f.Hint)
			}
		}
	}
	if i := s.Issuers; i != nil {
		line("authorities", "%d fetched, %d to fetch, %d could not be fetched", i.Kept, i.Waiting, i.Failing)
		for _, f := range i.Failures {
			line("not fetched", "%s (%s): %s", f.URL, clock(f.Tried), f.Error)
			if f.Hint != "" {
				line("hint", "%s", f.Hint)
			}
		}
	}
	if k := s.Keyring; k != nil {
		requests := ""
		if k.Requests > 0 {
			requests = ", " + number(k.Requests, "request", "requests")
		}
		line("keyring", "%s, %s%s", keyringText(*k), number(k.Identities, "identity", "identities"), requests)
	}
	if s.FIPS != "" && s.FIPS != "off" {
		line("fips 140-3", "%s", s.FIPS)
	}
	for _, e := range s.Expiring {
		line("expires", "%s on %s", e.Address, day(e.NotAfter))
	}
	for _, text := range s.Warnings {
		line("warning", "%s", text)
	}
}

// policyText says what the server demands of this device: its settings about S/MIME, and what this machine was not said to
// meet.
func policyText(p client.DevicePolicy) string {
	parts := []string{"the server was told that it is " + p.Acknowledged}
	for _, name := range slices.Sorted(maps.Keys(p.SMIME)) {
		parts = append(parts, name+" = "+p.SMIME[name])
	}
	if len(p.Unmet) > 0 {
		parts = append(parts, "not met here: "+strings.Join(p.Unmet, ", "))
	}
	return strings.Join(parts, "; ")
}

// contactsText says how the personal contacts are.
func contactsText(c client.Contacts) string {
	text := fmt.Sprintf("%d, %d with certificates; %s", c.Count, c.Certified, c.State)
	if c.Unread > 0 {
		text += fmt.Sprintf(", %d not read", c.Unread)
	}
	if !c.LastSuccess.IsZero() {
		text += fmt.Sprintf(", last complete %s (%s ago)", clock(c.LastSuccess), age(time.Since(c.LastSuccess)))
	}
	return text
}

// revocationSummary says in one line how the revocation data is.
func revocationSummary(r *client.RevocationStatus) string {
	text := fmt.Sprintf("%s, %d of %d lists current with %d revoked certificates", r.Mode, r.CurrentLists, r.Lists, r.Revoked)
	if r.Answers > 0 {
		text += fmt.Sprintf(", %d of %d answers current", r.CurrentAnswers, r.Answers)
	}
	if !r.Oldest.IsZero() {
		text += fmt.Sprintf(", the oldest of %s, the first ends %s", clock(r.Oldest), clock(r.NextEnd))
	}
	if r.Required {
		text += "; unknown ones are refused"
	}
	return text
}

func keyringText(k client.KeyringStatus) string {
	switch {
	case !k.Exists:
		return "empty"
	case !k.Unlocked:
		return "locked"
	case k.Until.IsZero():
		return "unlocked"
	}
	return "unlocked until " + clock(k.Until)
}

// number is a count with its noun.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func progressText(r client.Run) string {
	text := r.Phase + ", " + number(r.Requests, "request", "requests")
	if r.Fraction != nil {
		text = fmt.Sprintf("%s, about %.0f %%", text, 100**r.Fraction)
	}
	if !r.EstimatedEnd.IsZero() {
		text += ", until about " + clock(r.EstimatedEnd)
	}
	return text
}

// clock shows a time in the zone of this machine.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// age shows how long ago something was, in the one unit that matters.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", max(0, int(d.Seconds())))
}
