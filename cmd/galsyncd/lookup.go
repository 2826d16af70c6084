package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) lookup() *cobra.Command {
	var opts client.LookupOptions
	cmd := &cobra.Command{
		Use:   "lookup ADDRESS...",
		Short: "say whether mail to the addresses can be encrypted, and with which certificates",
		Long: "Prints the state of each address and the certificate that would be used. The exit status is 0 when mail to all\n" +
			"of them can be encrypted, and 67 when one cannot be encrypted to. An ADDRESS may have a display name, and be a list as\n" +
			"in the header of a mail.",
		Example: "  galsyncd lookup bob@corp.example\n  galsyncd --json lookup --explain 'Bob <bob@corp.example>'",
		Args:    positional(1, 1000, "at least one ADDRESS, and at most 1000"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			result, err := c.Recipients(cmd.Context(), bareAddresses(args), opts)
			if err != nil {
				return failed(err)
			}
			if err := a.print(result, func(w io.Writer) { printResult(w, result) }); err != nil {
				return failed(err)
			}
			if len(result.Blocking) > 0 {
				return &exitError{status: exitRecipient}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opts.Online, "online", false, "ask Exchange about addresses that nothing is known about")
	cmd.Flags().BoolVar(&opts.Explain, "explain", false, "list every certificate that was considered, and why it was or was not chosen")
	cmd.Flags().StringVar(&opts.From, "from", "", "say too whether mail from this `ADDRESS` is encrypted by default: see galsyncd preferences")
	return cmd
}

func printResult(w io.Writer, r *client.Result) {
	for _, answer := range r.Recipients {
		printAnswer(w, answer)
	}
	if r.EncryptByDefault != nil {
		printf(w, "encrypt by default: %s\n", map[bool]string{true: "yes", false: "no"}[*r.EncryptByDefault])
	}
	if len(r.Blocking) == 0 {
		fmt.Fprintln(w, "can be encrypted: mail to all of these")
		return
	}
	printf(w, "unable to encrypt: %s\n", strings.Join(r.Blocking, ", "))
}

func printAnswer(w io.Writer, r client.Answer) {
	printf(w, "%s: %s\n", r.Address, r.State)
	if c := r.Certificate; c != nil {
		printf(w, "  certificate: %s (%s), %s, valid until %s\n", c.Subject, r.Source, c.Key, day(c.NotAfter))
		printf(w, "  issued by: %s\n  sha256: %s\n", c.Issuer, c.SHA256)
	}
	if r.State != "encryptable" || len(r.Members) > 0 {
		lines(w, "  ", r.Reasons)
	}
	for _, m := range r.Members {
		printMember(w, m, "  ")
	}
	lines(w, "  warning: ", r.Warnings)
	lines(w, "  hint: ", r.Hints)
	for i, c := range r.Explain {
		printCandidate(w, "  ", i+1, c)
	}
}

// printMember shows a member of a group, and whom it holds when it is a group itself.
func printMember(w io.Writer, m client.Answer, indent string) {
	printf(w, "%smember %s: %s\n", indent, m.Address, m.State)
	for i, c := range m.Explain {
		printCandidate(w, indent+"  ", i+1, c)
	}
	if len(m.Explain) > 0 || !explained(m) {
		return
	}
	for _, inner := range m.Members {
		printMember(w, inner, indent+"  ")
	}
}

// explained reports whether an answer says anywhere which certificates were considered.
func explained(a client.Answer) bool {
	return len(a.Explain) > 0 || slices.ContainsFunc(a.Members, explained)
}

func printCandidate(w io.Writer, indent string, n int, c client.Candidate) {
	what := "a value that holds no certificate"
	if c.Certificate != nil {
		what = fmt.Sprintf("%s, %s, %s to %s", c.Certificate.Subject, c.Certificate.Key, day(c.Certificate.NotBefore), day(c.Certificate.NotAfter))
	}
	mark := c.State
	if c.Chosen {
		mark = "chosen"
	}
	printf(w, "%s%d. %s: %s (%s)\n", indent, n, mark, what, strings.TrimSpace(c.Source+" "+c.Property))
	if c.Certificate != nil {
		printf(w, "%s   sha256: %s\n", indent, c.Certificate.SHA256)
	}
	lines(w, indent+"   ", c.Reasons)
	if text := revocationText(c.Revocation); text != "" {
		printf(w, "%s   %s\n", indent, text)
	}
}

// revocationText says what is known about a revocation, but for those that are among the reasons.
func revocationText(r *client.Revocation) string {
	switch {
	case r == nil || r.Status == "revoked":
		return ""
	case r.Status == "good" && r.Until.IsZero():
		return "revocation: not revoked"
	case r.Status == "good":
		return "revocation: not revoked, known until " + clock(r.Until)
	}
	return "revocation: " + r.Reason
}

func lines(w io.Writer, prefix string, list []string) {
	for _, s := range list {
		printf(w, "%s\n", prefix+s)
	}
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

func (a *app) search() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "search TEXT",
		Short: "complete names and addresses, offline",
		Long: "Lists entries in which every word of TEXT begins a word of the name, the alias or the address. Case and accents\n" +
			"do not matter. TEXT has two characters at least. The exit status is 1 when there is no such entry.",
		Example: "  galsyncd search 'ann mul'",
		Args:    positional(1, 1000, "a TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if text := strings.Join(args, " "); utf8.RuneCountInString(text) < 2 {
				return usageError(fmt.Errorf("search for %q: at least 2 characters are needed", text))
			}
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			found, err := c.Entries(cmd.Context(), strings.Join(args, " "), limit)
			if err != nil {
				return failed(err)
			}
			if err := a.print(found, func(w io.Writer) { printEntries(w, found) }); err != nil {
				return failed(err)
			}
			if len(found.Entries) == 0 {
				return &exitError{status: exitNotFound}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "at most `N` entries, 50 at most")
	return cmd
}

func printEntries(w io.Writer, found *client.Entries) {
	for _, e := range found.Entries {
		name := e.DisplayName
		if name == "" {
			name = e.Primary
		}
		note := ""
		switch {
		case e.Kind == "group":
			note = "  (group)"
		case e.Certificates == 0:
			note = "  (no certificate)"
		}
		printf(w, "%s <%s>%s\n", name, e.Primary, note)
	}
	if found.More {
		fmt.Fprintln(w, "...")
	}
}
