package ews

import (
	"context"
	"errors"
	"slices"

	"github.com/galsyncd/galsyncd/directory"
)

var _ directory.Resolver = (*Client)(nil)

// Resolve implements directory.Resolver. A prefix search for the whole address finds every entry that has it, and others
// whose addresses go on after it. An entry that does not list the address, because Exchange lists three at most, is asked
// for once more with "=", Active Directory's exact match: what that finds, has it.
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
	if len(r.Records) > 0 || len(answer.Records) == 0 {
		return r, nil
	}
	exact, err := c.search(ctx, "=smtp:"+string(address), true)
	if err == nil && exact.Truncated {
		err = errors.New("the server found more entries for one address than it lists")
	}
	if err != nil {
		return directory.Resolution{}, err
	}
	return directory.Resolution{Records: exact.Records, Unlisted: true}, nil
}
