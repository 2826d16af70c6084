package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Online asks Exchange about addresses that the local copy does not know, so that a look-up can answer better. Nobody
// waits for it longer than Timeout, and while Exchange does not answer nobody waits at all. It implements service.Online.
type Online struct {
	// Sync puts the questions and stores the answers.
	Sync *directory.Sync
	// Known is the local copy of the address book.
	Known interface {
		Lookup(ctx context.Context, address mailaddr.Address) ([]directory.Sighting, error)
	}
	// Timeout bounds all questions of one look-up together.
	Timeout time.Duration
	Log     *slog.Logger

	mu    sync.Mutex
	until time.Time // no questions before: the last one had no answer
}

// Bounds of asking.
const (
	maxOnline    = 20          // addresses of one look-up
	rememberNone = time.Hour   // the server said that there is nobody
	afterFailure = time.Minute // the server did not answer
)

// Ask implements service.Online.
func (o *Online) Ask(caller context.Context, addresses []string, most int) (asked int, unasked []string, err error) {
	ctx, cancel := context.WithTimeout(caller, o.Timeout)
	defer cancel()
	for _, text := range addresses {
		address, parseErr := mailaddr.Parse(text)
		if parseErr != nil || !o.worthwhile(ctx, address) {
			continue
		}
		if asked >= min(most, maxOnline) {
			unasked = append(unasked, string(address))
			continue
		}
		asked++
		if _, failure := o.Sync.Ask(ctx, address); failure != nil {
			o.Log.Debug("an online look-up had no answer", "error", failure)
			if err = failure; !concernsOne(failure) {
				if !errors.Is(failure, directory.ErrNoRoom) && caller.Err() == nil { // who hung up says nothing about the server
					o.pause()
				}
				return asked, unasked, err
			}
		}
	}
	if o.paused() && asked == 0 {
		return 0, unasked, errPaused
	}
	return asked, unasked, err
}

// concernsOne reports an error that is about the address asked for; the server answers others.
func concernsOne(err error) bool {
	return errors.Is(err, directory.ErrInvalidName) || errors.Is(err, directory.ErrUnreadable)
}

// errPaused: the last question had no answer, less than afterFailure ago.
var errPaused = errors.New("it did not answer a moment ago")

func (o *Online) paused() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now().Before(o.until)
}

// worthwhile reports that nothing is known about an address, that nobody asked lately, and that the server answers.
func (o *Online) worthwhile(ctx context.Context, address mailaddr.Address) bool {
	if o.paused() || ctx.Err() != nil {
		return false
	}
	if found, err := o.Known.Lookup(ctx, address); err != nil || len(found) > 0 {
		return false
	}
	var last directory.Question
	err := o.Sync.Store.View(func(tx directory.Tx) (err error) {
		last, err = directory.LastQuestion(tx, address)
		return err
	})
	since := o.now().Sub(last.Asked)
	return err == nil && (since > rememberNone || since < 0) // a clock may have been ahead
}

func (o *Online) pause() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = o.now().Add(afterFailure)
}

func (o *Online) now() time.Time {
	if o.Sync.Now != nil {
		return o.Sync.Now()
	}
	return time.Now()
}
