package ews

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/galsyncd/galsyncd/directory"
)

var _ directory.Resolver = (*Client)(nil)

// Resolve implements directory.Resolver. A prefix search for the whole address finds every entry that has it, and others
// whose addresses go on after it. An entry that does not list the address, because Exchange lists three at most, is asked
// for once more with "=", Active Directory's exact match: what that finds, has it, once the server has shown that it knows
// "=" (exactly). Where the prefix search was cut off, nobody has it only then (nobody).
func (c *Client) Resolve(ctx context.Context, address directory.Address) (directory.Resolution, error) {
	answer, err := c.Search(ctx, string(address), true)
	if err != nil {
		return directory.Resolution{}, err
	}
	var r directory.Resolution
	for _, rec := range answer.Records {
		if slices.Contains(rec.Addresses, address) {
			r.Records = append(r.Records, rec)
		}
	}
	if len(r.Records) > 0 || len(answer.Records) == 0 && !answer.Truncated {
		return r, nil
	}
	exact, err := c.search(ctx, "=smtp:"+string(address), true)
	if err == nil && exact.Truncated {
		err = errCrowd
	}
	if err != nil {
		return directory.Resolution{}, err
	}
	if len(exact.Records) > 0 {
		known, err := c.exactly(ctx, address, exact.Records)
		if err != nil {
			return directory.Resolution{}, err
		}
		if known {
			return directory.Resolution{Records: exact.Records, Unlisted: true}, nil
		}
	}
	if answer.Truncated {
		return directory.Resolution{}, c.nobody(ctx, answer.Records)
	}
	return directory.Resolution{}, nil
}

var errCrowd = refusedf("the server found more entries for one address than it lists") // who has it may be among the others

// nobody is nil when it means something that "=" found nobody: the server shows with somebody that it does list that it
// knows "=".
func (c *Client) nobody(ctx context.Context, listed []directory.Record) error {
	if c.exact.Load() {
		return nil
	}
	if len(listed) == 0 {
		return errCrowd
	}
	address := listed[0].Primary
	found, err := c.search(ctx, "=smtp:"+string(address), false)
	if err != nil {
		return err
	}
	if found.Truncated || !slices.ContainsFunc(found.Records, func(rec directory.Record) bool { return rec.Primary == address }) {
		return errCrowd
	}
	known, err := c.exactly(ctx, address, found.Records)
	if err == nil && !known {
		err = errCrowd
	}
	return err
}

// exactly reports whether the server matches what begins with "=" exactly, which no document of Microsoft promises for Exchange
// Web Services. One that took it for a beginning would give the alias bob@corp.example to whom bob@corp.example.org
// belongs. The proof is that it does not find the same entries by the address without its last character; it is asked for
// until it succeeds once.
func (c *Client) exactly(ctx context.Context, address directory.Address, found []directory.Record) (bool, error) {
	if c.exact.Load() {
		return true, nil
	}
	_, last := utf8.DecodeLastRuneInString(string(address))
	shorter, err := c.search(ctx, "=smtp:"+string(address[:len(address)-last]), false)
	if err != nil {
		return false, err
	}
	again := func(rec directory.Record) bool {
		return slices.ContainsFunc(found, func(f directory.Record) bool { return f.Primary == rec.Primary })
	}
	if shorter.Truncated || slices.ContainsFunc(shorter.Records, again) {
		if c.Logger != nil {
			c.Logger.WarnContext(ctx, "the server takes = for the beginning of an address: aliases that it does not list cannot be proven")
		}
		return false, nil
	}
	c.exact.Store(true)
	return true, nil
}
