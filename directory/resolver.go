package directory

import (
	"context"
	"time"
)

// A Resolver is a Source that can be asked for one address.
type Resolver interface {
	Source
	// Resolve returns the entries that the address belongs to, with certificates: none, one, or several when the address
	// book contradicts itself. The contract about errors is that of Source.Search.
	Resolve(ctx context.Context, address Address) (Resolution, error)
}

// A BatchResolver is a Resolver that can be asked for many addresses at once.
type BatchResolver interface {
	Resolver
	// BatchSize is how many at most.
	BatchSize() int
	// ResolveBatch returns one result for each address, in their order, and how many requests they took. The error concerns
	// all of them; the contract about it is that of Source.Search.
	ResolveBatch(ctx context.Context, addresses []Address) (results []Resolved, requests int, err error)
}

// Resolved is what a server said to one address of a batch.
type Resolved struct {
	Resolution
	// Err says why there is no usable answer about this address alone; nil when there is one.
	Err error
}

// Resolution is what a server said to one address.
type Resolution struct {
	Records []Record
	// Contact is what the server has when it says that the address is one of the account's own contacts, which is never
	// an entry of the address book: its only address is the one asked for, and it has no Values when the server has no valid
	// certificate of it. Records is empty then. Nil otherwise, and for a source that is no ContactTeller.
	Contact *Record
	// Unlisted reports that the server found Records by the address but does not list it among theirs.
	Unlisted bool
}

// An Expander is a Source that knows who is in a distribution group.
type Expander interface {
	Source
	// Expand returns the direct members of a group. The contract about errors is that of Source.Search.
	Expand(ctx context.Context, group Address) (Members, error)
}

// Members are the direct members of a group.
type Members struct {
	Members []Member `json:"members"`
	// Truncated reports that the server did not list all of them. A message to the group must then not be encrypted: not
	// everybody could read it.
	Truncated bool `json:"truncated,omitempty"`
	// Unknown reports that the server says that it knows no such group.
	Unknown bool `json:"unknown,omitempty"`
	// Fetched is when the server said so; set by Sync.
	Fetched time.Time `json:"fetched,omitzero"`
}

// Member is one member of a group.
type Member struct {
	// Address is empty for a member without a mail address.
	Address Address `json:"address"`
	Name    string  `json:"name,omitempty"`
	// Kind is KindGroup for a group in a group.
	Kind Kind `json:"kind"`
}
