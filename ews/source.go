package ews

import (
	"context"
	"strings"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

var _ directory.Source = (*Client)(nil)

// Name is "ews".
func (c *Client) Name() string { return "ews" }

// Search implements directory.Source with one ResolveNames request in the scope ActiveDirectory. Entries of a mailbox
// (personal contacts) and entries without any SMTP address are left out of the answer; the logger is told how many.
func (c *Client) Search(ctx context.Context, prefix string, certificates bool) (directory.Answer, error) {
	if prefix == "" {
		return c.search(ctx, "", certificates)
	}
	return c.search(ctx, "smtp:"+prefix, certificates)
}

func (c *Client) search(ctx context.Context, name string, certificates bool) (directory.Answer, error) {
	req := ResolveNamesRequest{UnresolvedEntry: name, SearchScope: ActiveDirectory}
	if certificates {
		req.ReturnFullContactData, req.ContactDataShape = true, AllProperties
	}
	resp, err := c.ResolveNames(ctx, req)
	if err != nil {
		return directory.Answer{}, err
	}
	answer := directory.Answer{Truncated: resp.Truncated, Others: len(resp.Resolutions)}
	for _, res := range resp.Resolutions {
		if rec, ok := res.record(); ok {
			answer.Records = append(answer.Records, rec)
			answer.Others--
		}
	}
	if answer.Others > 0 && c.Logger != nil {
		c.Logger.DebugContext(ctx, "entries left out of an answer", "operation", "ResolveNames", "count", answer.Others,
			"reason", "no SMTP address, or not from the directory")
	}
	return answer, nil
}

// record is the entry as package directory has it; false when it is not from the directory or has no SMTP address.
func (res *Resolution) record() (directory.Record, bool) {
	if !res.fromDirectory() {
		return directory.Record{}, false
	}
	rec := directory.Record{DisplayName: res.Mailbox.Name, Kind: kindOf(res.Mailbox.MailboxType)}
	if c := res.Contact; c != nil {
		if c.DisplayName != "" {
			rec.DisplayName = c.DisplayName
		}
		rec.GivenName, rec.Surname, rec.Alias, rec.Values = c.GivenName, c.Surname, c.Alias, c.Values
	}
	rec.Primary, rec.Addresses = res.addresses()
	return rec, rec.Primary != ""
}

// fromDirectory tells GAL entries from personal contacts: by ContactSource, else by the ItemId that only an item of a
// mailbox has.
func (res *Resolution) fromDirectory() bool {
	if res.Contact != nil && res.Contact.ContactSource != "" {
		return res.Contact.ContactSource == "ActiveDirectory"
	}
	return !res.Mailbox.InStore
}

// addresses returns the primary address ("SMTP:" in upper case, else that of the mailbox, else the first listed) and all
// addresses, the primary one first. The primary is empty when there is none.
func (res *Resolution) addresses() (primary directory.Address, all []directory.Address) {
	var marked, mailbox directory.Address
	var listed []directory.Address
	if res.Mailbox.RoutingType == "" || strings.EqualFold(res.Mailbox.RoutingType, "SMTP") {
		mailbox, _ = parseProxy(res.Mailbox.EmailAddress)
	}
	if res.Contact != nil {
		for _, s := range res.Contact.EmailAddresses {
			a, main := parseProxy(s)
			if main && marked == "" {
				marked = a
			}
			listed = append(listed, a)
		}
	}
	for _, a := range append([]directory.Address{marked, mailbox}, listed...) {
		if a != "" && primary == "" {
			primary = a
		}
		all = appendNew(all, a)
	}
	return primary, all
}

func appendNew(all []directory.Address, a directory.Address) []directory.Address {
	if a == "" {
		return all
	}
	for _, b := range all {
		if a == b {
			return all
		}
	}
	return append(all, a)
}

// parseProxy reads a proxy address: "SMTP:" marks the primary one, "smtp:" another, no prefix one that is not marked.
// Other prefixes (X500:, SIP:, EUM:) and what is not a mail address give an empty one.
func parseProxy(s string) (a directory.Address, main bool) {
	if kind, rest, ok := strings.Cut(s, ":"); ok {
		if !strings.EqualFold(kind, "smtp") {
			return "", false
		}
		s, main = rest, kind == "SMTP"
	}
	a, err := mailaddr.Parse(s)
	if err != nil {
		return "", false
	}
	return a, main
}

func kindOf(mailboxType string) directory.Kind {
	switch mailboxType {
	case "Mailbox":
		return directory.KindMailbox
	case "Contact":
		return directory.KindContact
	case "PublicDL", "PrivateDL", "GroupMailbox":
		return directory.KindGroup
	}
	return directory.KindOther
}
