package eas

import (
	"context"
	"fmt"

	"github.com/galsyncd/galsyncd/directory"
)

var _ directory.ContactTeller = (*Client)(nil)

// Name is "eas".
func (c *Client) Name() string { return "eas" }

// Search implements directory.Source: a search of the address book, and ResolveRecipients for the certificates of those
// whose address begins with prefix. Somebody about whose certificates the server gave no usable answer is Undetermined.
func (c *Client) Search(ctx context.Context, prefix string, certificates bool) (directory.Answer, error) {
	k := c.call(ctx)
	f, err := k.search(prefix)
	if err != nil {
		return directory.Answer{}, err
	}
	people, others := f.below(prefix)
	answer := directory.Answer{Truncated: f.truncated, Others: others, Requests: k.requests}
	addresses := make([]directory.Address, 0, len(people))
	for i := range people {
		answer.Records = append(answer.Records, people[i].record())
		addresses = append(addresses, people[i].address)
	}
	if !certificates || len(people) == 0 {
		return answer, nil
	}
	outcomes, requests, err := c.resolveAll(ctx, addresses)
	if err != nil {
		return directory.Answer{}, err
	}
	answer.Requests += requests
	for i, o := range outcomes {
		rec := &answer.Records[i]
		switch {
		case o.Err != nil:
			rec.Undetermined = o.Err.Error()
		case o.Recipient == nil:
			rec.Undetermined = "the server lists the address, and does not resolve it"
		case o.Recipient.Contact:
			rec.Undetermined = errContact.Error()
		case o.Recipient.Address != rec.Primary:
			rec.Undetermined = "the server resolves the address to another one, " + string(o.Recipient.Address)
		default:
			rec.Values, rec.Disputed, rec.Kind = o.Recipient.Values, o.Recipient.Disputed, o.Recipient.kind()
		}
	}
	return answer, nil
}

// kind says what little the protocol tells: lists, and the rest.
func (r *Recipient) kind() directory.Kind {
	if r.List {
		return directory.KindGroup
	}
	return ""
}

// Resolve implements directory.Resolver with a batch of one.
func (c *Client) Resolve(ctx context.Context, address directory.Address) (directory.Resolution, error) {
	results, _, err := c.ResolveBatch(ctx, []directory.Address{address})
	if err != nil {
		return directory.Resolution{}, err
	}
	return results[0].Resolution, results[0].Err
}

// BatchSize is 100, what ResolveRecipients takes.
func (c *Client) BatchSize() int { return maxBatch }

// TellsContacts implements directory.ContactTeller.
func (c *Client) TellsContacts() bool { return c.Contacts && !c.AcceptContacts }

// ResolveBatch implements directory.BatchResolver.
//
// The server resolves what an address begins as well as further addresses of a mailbox, and does not say which of the two it
// did. So an entry with another primary address than the one asked for proves nothing about the asked one: it is returned
// under its own address alone, never as Unlisted. Its certificates may still claim the asked address, which needs a trusted
// chain (directory.Entry.Claimed).
func (c *Client) ResolveBatch(ctx context.Context, addresses []directory.Address) ([]directory.Resolved, int, error) {
	outcomes, requests, err := c.resolveAll(ctx, addresses)
	if err != nil {
		return nil, requests, err
	}
	results := make([]directory.Resolved, len(outcomes))
	for i, o := range outcomes {
		results[i].Err = o.Err
		if o.Recipient != nil {
			results[i] = o.Recipient.resolved(addresses[i])
		}
	}
	return results, requests, nil
}

// resolved is what a recipient says about the address that was asked for.
func (r *Recipient) resolved(asked directory.Address) (result directory.Resolved) {
	rec := directory.Record{Primary: r.Address, Addresses: []directory.Address{r.Address},
		DisplayName: r.DisplayName, Kind: r.kind(), Values: r.Values, Disputed: r.Disputed, Partial: true}
	switch {
	case !r.Contact:
		result.Records = []directory.Record{rec}
	case r.List:
		result.Err = fmt.Errorf("%w: the address is that of one of the account's own distribution lists", ErrNoAnswer)
	case r.Address != asked:
		result.Err = fmt.Errorf("%w: it names one of the account's own contacts that has another address", ErrNoAnswer)
	default:
		result.Contact = &rec
	}
	return result
}
