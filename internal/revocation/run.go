package revocation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/galsyncd/galsyncd/trust"
)

// Bounds of one run.
const (
	runTime = 10 * time.Minute
	// listWorkers fetch CRLs at a time: each can need several times the size of its CRL in memory.
	listWorkers = 2
	askWorkers  = 4
	// asksPerSecond bounds the OCSP requests.
	asksPerSecond = 20
)

// Report is what a run did.
type Report struct {
	// Fetched counts answers that were stored, Unchanged those that are as before, Failed what could not be fetched.
	Fetched, Unchanged, Failed int
}

// Run fetches what is due, or, with all, everything that is asked for. What fails is noted and tried again later; the
// error is only about the store. Two runs do not overlap: the second waits.
func (s *Service) Run(ctx context.Context, all bool) (Report, error) {
	s.running.Lock()
	defer s.running.Unlock()
	err := s.restore()
	if errors.Is(err, errRecord) {
		s.log().Warn("stored revocation data cannot be read; it is fetched again", "error", err)
		err = s.forgetAll()
	}
	if err != nil {
		return Report{}, fmt.Errorf("read what is stored about revocation: %w", err)
	}
	pending := s.pending(s.now(), all)
	if len(pending) == 0 {
		return Report{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	run := &run{service: s, ctx: ctx}
	var lists, questions []target
	for _, t := range pending {
		if t.responders == nil {
			lists = append(lists, t)
		} else {
			questions = append(questions, t)
		}
	}
	run.each(lists, listWorkers, 0, run.list)
	run.each(questions, askWorkers, time.Second/asksPerSecond, run.question)
	if run.err == nil {
		// What nobody asked about for so long is in no answer that is still remembered.
		run.note(s.Store.UpdateRevocations(func(tx Tx) error { return s.forget(tx, s.now()) }))
	}
	s.log().Info("revocation data", "fetched", run.report.Fetched, "unchanged", run.report.Unchanged, "failed", run.report.Failed)
	if run.err != nil {
		return run.report, fmt.Errorf("store revocation data: %w", run.err)
	}
	return run.report, nil
}

// Soon has Serve look now for what is due, because somebody is likely to wait for it.
func (s *Service) Soon() {
	select {
	case s.wake() <- struct{}{}:
	default: // it is about to look
	}
}

// wake is the channel of Soon.
func (s *Service) wake() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.woken == nil {
		s.woken = make(chan struct{}, 1)
	}
	return s.woken
}

// Serve runs whenever something is due, until ctx ends. It looks so often, and after Soon.
func (s *Service) Serve(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake():
		}
		if _, err := s.Run(ctx, false); err != nil {
			s.log().Warn("revocation data is not current", "error", err)
		}
	}
}

// update writes, and lets earlier answers no longer hold.
func (s *Service) update(f func(Tx) error) error {
	err := s.Store.UpdateRevocations(f)
	s.generation.Add(1)
	return err
}

// run is one run at work.
type run struct {
	service *Service
	ctx     context.Context

	mu     sync.Mutex
	report Report
	err    error
}

func (r *run) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// each works on targets with some workers, no faster than one in pause, until the store fails or the time is over.
func (r *run) each(targets []target, workers int, pause time.Duration, work func(target) error) {
	queue := make(chan target)
	var group sync.WaitGroup
	for range min(workers, len(targets)) {
		group.Go(func() {
			for t := range queue {
				r.note(work(t))
			}
		})
	}
	defer group.Wait()
	defer close(queue)
	for _, t := range targets {
		r.mu.Lock()
		stop := r.err != nil
		r.mu.Unlock()
		if stop {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case queue <- t:
		}
		if pause > 0 && len(targets) > askWorkers {
			wait(r.ctx, pause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// outcome counts.
func (r *run) outcome(t target, what string, unchanged bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.report.Failed++
		r.service.log().Warn("revocation data could not be fetched", "what", what, "error", err)
	case unchanged:
		r.report.Unchanged++
	default:
		r.report.Fetched++
	}
}

// list fetches one CRL. The error is about the store.
func (r *run) list(t target) error {
	s := r.service
	at := storeKey(keyList, t.id[:])
	var old *listRecord
	err := s.Store.ViewRevocations(func(tx Tx) (err error) {
		old, err = load[listRecord](tx, at)
		return err
	})
	if err != nil {
		return err
	}
	if old == nil {
		old = &listRecord{URL: t.url, Authority: t.authority, Issuer: clip(t.issuer.Subject.String())}
	}
	record, entries, problem := r.fetchList(t, *old)
	if problem != nil && r.ctx.Err() != nil {
		return nil // told to stop: that is not the server's failure
	}
	now := s.now()
	if problem != nil {
		record.failed(problem, now)
	} else {
		record.succeeded(now)
	}
	record.Asked = t.asked
	write := s.update
	if problem == nil && entries == nil && old.Failures == 0 {
		write = s.Store.UpdateRevocations // no answer changes
	}
	err = write(func(tx Tx) error {
		if entries != nil {
			if err := putEntries(tx, t.id, *entries); err != nil {
				return err
			}
		}
		if err := tx.Put(storeKey(keyAuthority, t.authority[:]), t.issuer.Raw); err != nil {
			return err
		}
		return save(tx, at, record)
	})
	s.settle(t.id, record.due(), now)
	r.outcome(t, t.url, problem == nil && entries == nil, problem)
	return err
}

// fetchList fetches a CRL and makes the record of it; record is what is known. The entries are nil when nothing changed.
// There can be a CRL and an error: one that has ended is better than one that has ended before it.
func (r *run) fetchList(t target, record listRecord) (listRecord, *[]revoked, error) {
	s := r.service
	etag, modified := record.ETag, record.Modified
	if record.List != nil && ended(record.List.Next, s.now()) != nil {
		etag, modified = "", "" // a server that says that nothing changed would not help
	}
	f, err := s.Client.list(r.ctx, t.url, etag, modified)
	if err != nil {
		return record, nil, err
	}
	now := s.now()
	sum := key(sha256.Sum256(f.body))
	if record.List != nil && (f.unchanged || record.List.Sum == sum) {
		return record, nil, ended(record.List.Next, now)
	}
	c, err := parseCRL(f.body, t.issuer, now)
	if err != nil {
		return record, nil, err
	}
	if err := newer(c, record.List, now); err != nil {
		return record, nil, err
	}
	record.ETag, record.Modified = f.etag, f.modified
	record.List = &listFacts{This: c.this, Next: c.next, Entries: len(c.revoked), Scope: c.scope, Sum: sum}
	if c.number != nil {
		record.List.Number = c.number.Bytes()
	}
	return record, &c.revoked, ended(c.next, now)
}

func ended(next, now time.Time) error {
	if next.Add(skew).Before(now) {
		return fmt.Errorf("the server's newest one held until %s", moment(next))
	}
	return nil
}

// newer refuses a CRL that is older than the one that is kept, while that one holds: somebody may want a revocation to be
// forgotten.
func newer(c *crl, kept *listFacts, now time.Time) error {
	if kept == nil || !holds(kept.This, kept.Next, now) {
		return nil
	}
	number := new(big.Int).SetBytes(kept.Number)
	switch {
	case c.this.Before(kept.This):
		return refuse("it is of %s, older than the one that is kept", moment(c.this))
	case c.next.Add(skew).Before(now):
		return ended(c.next, now)
	case c.number != nil && len(kept.Number) > 0 && c.number.Cmp(number) < 0:
		return refuse("its number is lower than that of the one that is kept")
	}
	return nil
}

// question asks for one OCSP answer. The error is about the store.
func (r *run) question(t target) error {
	s := r.service
	at := storeKey(keyAnswer, t.id[:])
	q := inquiry{serial: t.number(), issuer: t.issuer}
	answer, url, problem := s.Client.inquire(r.ctx, t.responders, q, s.now)
	if problem != nil && r.ctx.Err() != nil {
		return nil
	}
	if problem == nil {
		problem = r.checkResponder(answer, t)
	}
	now, unchanged := s.now(), false
	var due time.Time
	err := s.update(func(tx Tx) error {
		record, err := load[answerRecord](tx, at)
		if err != nil {
			return err
		}
		if record == nil {
			record = &answerRecord{URL: t.responders[0], Issuer: clip(t.issuer.Subject.String())}
		}
		if problem == nil && answer.ThisUpdate.Before(record.This) && holds(record.This, record.Next, now) {
			problem = refuseOCSP("it is of %s, older than the one that is kept", moment(answer.ThisUpdate))
		}
		if problem == nil {
			unchanged = record.take(answer, url)
			record.succeeded(now)
		} else {
			record.failed(problem, now)
		}
		record.Asked, due = t.asked, record.dueAfter(record.Next)
		return save(tx, at, record)
	})
	s.settle(t.id, due, now)
	r.outcome(t, t.responders[0], unchanged, problem)
	return err
}

// take keeps what an answer says, and reports whether that was known.
func (a *answerRecord) take(r *ocsp.Response, url string) (known bool) {
	known = a.This.Equal(r.ThisUpdate) && a.Status != ""
	a.URL, a.This, a.Next, a.Status, a.Since, a.Reason = url, r.ThisUpdate, r.NextUpdate, string(trust.StatusGood), time.Time{}, 0
	if r.Status == ocsp.Revoked {
		a.Status, a.Since, a.Reason = string(trust.StatusRevoked), r.RevokedAt, byte(min(max(r.RevocationReason, 0), 255))
	}
	return known
}

// checkResponder refuses the answer of a responder whose own certificate is known to be revoked.
func (r *run) checkResponder(answer *ocsp.Response, t target) error {
	c := answer.Certificate
	if c == nil || bytes.Equal(c.Raw, t.issuer.Raw) || unchecked(c) {
		return nil
	}
	if known := r.service.Revocation(c, t.issuer, r.service.now()); known.Status == trust.StatusRevoked {
		return refuseOCSP("the certificate of its responder was revoked on %s", known.Since.Format(time.DateOnly))
	}
	return nil
}
