package recipients

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// maxText is the longest recipient, display name included, that is looked at, in bytes.
const maxText = 1000

// Lookup answers for a message to addresses, each bare or with a display name ("Bob <bob@corp.example>"). A text that is
// no address gets an answer with state unknown; the error concerns the question as a whole: ErrNoAddresses,
// ErrTooManyAddresses, or that of the Directory.
func (b *Book) Lookup(ctx context.Context, addresses []string) (Result, error) {
	switch {
	case len(addresses) == 0:
		return Result{}, ErrNoAddresses
	case len(addresses) > MaxAddresses:
		return Result{}, ErrTooManyAddresses
	}
	fresh, err := b.Directory.Freshness(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("read the state of the address book: %w", err)
	}
	q := question{book: b, now: b.now(), fresh: fresh}
	result := Result{State: Encrypted, Blocking: []string{}, Recipients: make([]Answer, 0, len(addresses))}
	for _, text := range addresses {
		answer, err := q.answer(ctx, text)
		if err != nil {
			return Result{}, err
		}
		if answer.State != trust.Encryptable {
			result.State = UnableToEncrypt
			result.Blocking = append(result.Blocking, answer.Address)
		}
		result.Recipients = append(result.Recipients, answer)
	}
	return result, nil
}

func (b *Book) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// noPolicy trusts nothing.
var noPolicy = &trust.Policy{}

func (b *Book) policy() *trust.Policy {
	if b.Policy == nil {
		return noPolicy
	}
	return b.Policy
}

// question is one call of Lookup: all its answers are given at one time.
type question struct {
	book  *Book
	now   time.Time
	fresh Freshness
	// members counts those of all groups so far.
	members int
}

func (q *question) answer(ctx context.Context, text string) (Answer, error) {
	address, err := parse(text)
	if err != nil {
		return Answer{Address: text, State: trust.Unknown, Reasons: []string{err.Error()}, Hints: []string{"correct the address"}}, nil
	}
	answer, err := q.about(ctx, address, nil)
	if err != nil {
		return Answer{}, err
	}
	if text != answer.Address {
		answer.Asked = text
	}
	return answer, nil
}

// about answers for an address, inside is the chain of groups that led to it.
func (q *question) about(ctx context.Context, address mailaddr.Address, inside []mailaddr.Address) (Answer, error) {
	found, err := q.book.Directory.Lookup(ctx, address)
	if err != nil {
		return Answer{}, fmt.Errorf("look up %s: %w", address, err)
	}
	claims := rightful(address, found.Sightings)
	var answer Answer
	switch {
	case len(claims) == 1 && isGroup(claims[0]) && lists(claims[0].Entry, address):
		answer, err = q.group(ctx, claims[0], inside)
	case slices.ContainsFunc(claims, isGroup):
		answer = contested(claims)
	default:
		answer = q.judge(address, claims, found.Offers)
	}
	answer.Address = string(address)
	return answer, err
}

func isGroup(s directory.Sighting) bool { return s.Entry.Kind == directory.KindGroup }

// parse reads an address, bare or with a display name.
func parse(text string) (mailaddr.Address, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("%w: longer than %d bytes", mailaddr.ErrInvalid, maxText)
	}
	address, err := mailaddr.Parse(text)
	if err == nil {
		return address, nil
	}
	if full, mailErr := mail.ParseAddress(text); mailErr == nil {
		return mailaddr.Parse(full.Address)
	}
	return "", err
}
