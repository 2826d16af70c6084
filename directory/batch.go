package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// refreshBatches asks for known addresses, many in one request. Each batch is stored in one transaction, so that a server
// that dies in the middle costs the batch it died in: the next run goes on with the addresses that wait.
func (r *run) refreshBatches(ctx context.Context, source BatchResolver, due []known) error {
	asked := 0
	for batch := range slices.Chunk(due, source.BatchSize()) {
		if r.phase == PhaseKnown {
			r.fraction = float64(asked) / float64(len(due))
		}
		asked += len(batch)
		if err := r.refreshBatch(ctx, source, batch, maxTries); err != nil {
			return fmt.Errorf("ask for %d addresses from %s on: %w", len(batch), batch[0].address, err)
		}
	}
	return nil
}

// refreshBatch asks for one batch. When the trouble may be with one address of it alone, halves are asked, each once, so that
// one that the server cannot answer does not keep the others waiting for ever.
func (r *run) refreshBatch(ctx context.Context, source BatchResolver, batch []known, tries int) error {
	results, err := r.askBatch(ctx, source, addressesOf(batch), tries)
	switch {
	case err == nil:
		return r.settleBatch(batch, results)
	case len(batch) == 1:
		return r.stumble(ctx, string(batch[0].address), err)
	case ctx.Err() != nil || !isolated(err):
		return err
	}
	r.sync.log().Warn("a batch is asked for in halves", "addresses", len(batch), "error", err)
	half := len(batch) / 2
	if err := r.refreshBatch(ctx, source, batch[:half], 1); err != nil {
		return err
	}
	return r.refreshBatch(ctx, source, batch[half:], 1)
}

// settleBatch stores what was said about the addresses of a batch, in one transaction.
func (r *run) settleBatch(batch []known, results []Resolved) error {
	err := r.sync.Store.Update(func(tx Tx) error {
		for i, k := range batch {
			if err := r.settleOne(tx, k, results[i]); err != nil {
				return fmt.Errorf("store %s: %w", k.address, err)
			}
		}
		return r.state.save(tx)
	})
	return errors.Join(err, r.tooSilent())
}

// isContact is why an answer says nothing about an entry of the address book.
const isContact = "the server names one of the account's own contacts for it, and no entry of its directory"

// unsaid reports that a result says nothing about an address, or nothing of use about an entry that has it, and notes it.
func (r *run) unsaid(tx Tx, address Address, result Resolved) (bool, error) {
	if result.Err != nil {
		return true, r.undetermined(tx, address, result.Err.Error())
	}
	r.silence = 0
	if result.Contact == nil {
		return false, nil
	}
	owners, err := tx.Owners(address)
	if err != nil || len(owners) == 0 {
		return false, err
	}
	return true, r.undetermined(tx, address, isContact)
}

func addressesOf(batch []known) []Address {
	addresses := make([]Address, len(batch))
	for i, k := range batch {
		addresses[i] = k.address
	}
	return addresses
}

// askBatch puts one batch to the source, again if its error may pass.
func (r *run) askBatch(ctx context.Context, source BatchResolver, addresses []Address, tries int) ([]Resolved, error) {
	var results []Resolved
	var requests int
	err := r.retry(ctx, tries, func() (err error) {
		results, requests, err = source.ResolveBatch(ctx, addresses)
		return err
	})
	if err == nil && len(results) != len(addresses) {
		err = fmt.Errorf("%w: %d results for %d addresses", ErrUnreadable, len(results), len(addresses))
	}
	if err != nil {
		return nil, err
	}
	if err := r.steady(); err != nil {
		return nil, err
	}
	var records []Record
	for _, result := range results {
		records = append(records, result.Records...)
	}
	r.note(string(addresses[0]), records)
	return results, r.extra(ctx, requests-1)
}

// confirm asks once more, exactly, for each entry that a walk did not find, where this costs little: a search goes by what
// the server indexes, an exact question by what it has. Who is found is not lost, and neither is who is not answered for.
func (r *run) confirm(ctx context.Context) error {
	source, ok := r.sync.Source.(BatchResolver)
	if !ok || r.sync.KnownOnly {
		return nil
	}
	var lost []Address
	err := r.sync.Store.View(func(tx Tx) error {
		return tx.Losses(-1, func(l Loss) error {
			if l.Entry == nil {
				lost = append(lost, l.Primary)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("list what was not found: %w", err)
	}
	for batch := range slices.Chunk(lost, source.BatchSize()) {
		results, err := r.askBatch(ctx, source, batch, maxTries)
		if err != nil && ctx.Err() == nil && isolated(err) {
			results, err = unanswered(batch, err), nil
		}
		if err != nil {
			return fmt.Errorf("ask once more for %d addresses from %s on: %w", len(batch), batch[0], err)
		}
		for i, result := range results {
			if err := r.confirmOne(batch[i], result); err != nil {
				return err
			}
		}
	}
	return nil
}

// unanswered are the results of a batch that has none: everybody in it stays.
func unanswered(batch []Address, err error) []Resolved {
	results := make([]Resolved, len(batch))
	for i := range results {
		results[i].Err = err
	}
	return results
}

func (r *run) confirmOne(address Address, result Resolved) error {
	at := slices.IndexFunc(result.Records, func(rec Record) bool { return rec.Primary == address })
	if at < 0 && result.Err == nil && result.Contact == nil {
		r.silence = 0
		return nil
	}
	err := r.sync.Store.Update(func(tx Tx) error {
		unsaid, err := r.unsaid(tx, address, result)
		if err != nil || at < 0 && !unsaid {
			return err
		}
		err = errors.Join(tx.DeleteLoss(address), r.state.save(tx))
		if at >= 0 {
			err = errors.Join(err, r.take(tx, result.Records[at], address, false, r.sync.now()))
		}
		return err
	})
	return errors.Join(err, r.tooSilent())
}
