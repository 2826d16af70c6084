package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/config"
	rooms "github.com/galsyncd/galsyncd/internal/daemon"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/recipients"
)

func (a *app) sync() *cobra.Command {
	var full, wait, noWait, once, user bool
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "fetch the address book now",
		Long: "Asks the daemon for a sync and shows its progress until it ends; interrupting this command does not stop the\n" +
			"sync. With --once one sync runs in this process, without a daemon, which must not be running.\n\n" +
			"The exit status is 0 when the address book was read (parts that the server would not list are named), 1 when so\n" +
			"much was missing that nothing was removed, 69 when there was no usable answer, 75 when a sync is running already\n" +
			"or the budget of one sync or the disk is used up (the next one goes on), 77 when the credential was refused.",
		Args: positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case once && (wait || noWait):
				return usageError(errors.New("--once does not go with --wait or --no-wait"))
			case user && !once:
				return usageError(errors.New("--user goes with --once"))
			case once:
				return failed(a.syncOnce(cmd.Context(), user, full))
			}
			return failed(a.syncNow(cmd.Context(), full, wait, noWait))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&full, "full", false, "ask for every part of the address book, also those known to be empty")
	flags.BoolVar(&wait, "wait", false, "when a sync is running already, wait for that one")
	flags.BoolVar(&noWait, "no-wait", false, "do not wait for the end")
	flags.BoolVar(&once, "once", false, "run one sync in this process, without a daemon")
	flags.BoolVar(&user, "user", false, "with --once: with the user's configuration")
	return cmd
}

func (a *app) syncNow(ctx context.Context, full, wait, noWait bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	_, err = c.Sync(ctx, full)
	refusal, refused := errors.AsType[*client.Error](err)
	if err != nil && !(wait && refused && refusal.Code == client.CodeSyncRunning) {
		return err
	}
	if noWait {
		a.say("sync started")
		return nil
	}
	show := a.progress()
	report, err := c.WatchSync(ctx, func(p client.Progress) { show.step(p.Run) })
	show.end()
	if err != nil {
		return err
	}
	return a.concludeSync(report)
}

// concludeSync prints a report and makes the exit status.
func (a *app) concludeSync(r *client.Report) error {
	if err := a.print(r, func(w io.Writer) { printReport(w, r) }); err != nil {
		return err
	}
	switch r.Outcome {
	case "complete", "incomplete":
		return nil
	case "guarded":
		return &exitError{status: exitNotFound, err: errors.New(r.Error), hint: r.Hint}
	case "paused":
		return &exitError{status: exitTryAgain, err: errors.New(r.Error), hint: r.Hint}
	}
	if r.Code == codeNotStored {
		return &exitError{status: exitTryAgain, err: errors.New(r.Error), hint: r.Hint}
	}
	for status, code := range failureCodes {
		if code == r.Code {
			return &exitError{status: status, err: errors.New(r.Error), hint: r.Hint}
		}
	}
	return &exitError{status: exitNoService, err: errors.New(r.Error), hint: r.Hint}
}

func printReport(w io.Writer, r *client.Report) {
	cost := fmt.Sprintf("%s, %s", number(r.Requests, "request", "requests"), seconds(r.Duration))
	if p := r.Whole; p != nil {
		cost = fmt.Sprintf("%s; with those before it since %s: %d runs, %d requests, %s", cost, clock(p.Started), p.Runs, p.Requests, seconds(p.Duration))
	}
	printf(w, "sync %s: %d entries, %d added, %d changed, %d missing, %d removed (%s)\n",
		r.Outcome, r.Entries, r.Added, r.Changed, r.Missing, r.Removed, cost)
	if c := r.Contacts; c != nil {
		printf(w, "contacts %s: %d contacts, %d added, %d changed, %d removed\n", c.State, c.Count, c.Added, c.Changed, c.Removed)
		if c.Unread > 0 {
			printf(w, "  not read: %d contacts\n", c.Unread)
		}
		if c.Error != "" {
			printf(w, "  %s\n", c.Error)
		}
		if c.Hint != "" {
			printf(w, "  %s\n", c.Hint)
		}
	}
	if r.Undetermined > 0 {
		printf(w, "  no usable answer about %d addresses: what is known of them stays and grows old\n", r.Undetermined)
	}
	const most = 10
	for i, g := range r.Gaps {
		if i == most {
			printf(w, "  and %d more\n", len(r.Gaps)-most)
			break
		}
		printf(w, "  not read in full: addresses that begin with %q: %s\n", g.Prefix, g.Reason)
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond)
}

// syncOnce runs one sync in this process.
func (a *app) syncOnce(ctx context.Context, user, full bool) error {
	cfg, err := a.load(a.role(user))
	if err != nil {
		return err
	}
	copy, _, err := openCache(cfg, a.say)
	if err != nil {
		return err
	}
	defer copy.Close()
	source, err := newSource(cfg, a.logger(slog.LevelError))
	if err != nil {
		return err
	}
	if source == nil {
		return &exitError{status: exitConfig, err: errors.New("sync: no Exchange server is configured"), hint: a.sourceHint(cfg, "sync --once")}
	}
	show := a.progress()
	s := newSync(cfg, source, copy, a.logger(slog.LevelError))
	s.Progress = func(p directory.Progress) {
		show.step(client.Run{Started: p.Started, Phase: p.Phase, Requests: p.Requests, Entries: p.Entries, Fraction: &p.Fraction, EstimatedEnd: p.End})
	}
	started := time.Now()
	report, err := s.Run(ctx, full)
	show.end()
	if ctx.Err() == nil {
		if err := a.refreshRevocation(ctx, cfg, copy); err != nil {
			return err
		}
	}
	r := clientReport(report, started)
	if err == nil {
		return a.concludeSync(r)
	}
	status := syncStatus(err)
	r.Outcome, r.Code, r.Error, r.Hint = "failed", failureCodes[status], err.Error(), hintOf(err)
	switch {
	case errors.Is(err, directory.ErrBudget):
		r.Outcome, r.Code = string(directory.Paused), ""
	case rooms.NoRoom(err):
		status, r.Code, r.Hint = exitTryAgain, codeNotStored, rooms.HintNoRoom
	case status == exitTryAgain:
		r.Error, r.Hint = directory.StoppedText, directory.StoppedHint
	}
	if err := a.print(r, func(w io.Writer) { printReport(w, r) }); err != nil {
		return err
	}
	return &exitError{status: status, err: errors.New(r.Error), hint: r.Hint}
}

// refreshRevocation fetches the revocation data of all that the cache holds, and the certificates of authorities that it lacks.
func (a *app) refreshRevocation(ctx context.Context, cfg *config.Config, copy *cache.Cache) error {
	policy, err := newPolicy(cfg)
	if err != nil {
		return err
	}
	log := a.logger(slog.LevelError)
	revoked, err := newRevocation(cfg, policy, copy, log)
	if err != nil {
		return err
	}
	issuers, err := newIssuers(cfg, policy, copy, log)
	if err != nil || revoked == nil && issuers == nil {
		return err
	}
	own := rooms.Directory{Cache: copy, Contacts: &rooms.Contacts{Cache: copy}}
	book := &recipients.Book{Directory: own, Policy: policy, RefuseAfter: cfg.Cache.RefuseAfter}
	(&rooms.Revocations{Service: revoked, Issuers: issuers, Cache: copy, Book: book, Log: log}).Refresh(ctx)
	return nil
}

// failureCodes are the codes of reports of failed runs.
var failureCodes = map[int]string{exitNotAllowed: "credential-refused", exitTryAgain: "stopped", exitNoService: "no-usable-answer"}

// codeNotStored is that of a run for which there was no room on the disk: to try again helps when there is.
const codeNotStored = "not-stored"

func clientReport(r directory.Report, started time.Time) *client.Report {
	out := &client.Report{Event: "report", Started: started, Outcome: string(r.Outcome), Added: r.Added, Changed: r.Changed, Removed: r.Removed,
		Missing: r.Missing, Entries: r.Entries, Requests: r.PartRequests, Duration: time.Since(started).Seconds(), Gaps: []client.Gap{},
		Undetermined: r.UndeterminedCount,
		Contacts:     (*client.Contacts)(rooms.ContactsReport(r.Contacts))}
	if r.Parts > 1 {
		out.Whole = &client.Whole{Started: r.Started, Runs: r.Parts, Requests: r.Requests, Duration: r.Elapsed.Seconds()}
	}
	for _, g := range r.Unanswered() {
		out.Gaps = append(out.Gaps, client.Gap{Prefix: g, Reason: r.GapReason(g)})
	}
	if r.Outcome == directory.Guarded {
		out.Error, out.Hint = r.GuardText(), directory.GuardHint
	}
	return out
}

// syncStatus is the exit status for a sync that failed.
func syncStatus(err error) int {
	if errors.Is(err, directory.ErrUnauthorized) || errors.Is(err, httpauth.ErrLockedOut) {
		return exitNotAllowed
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return statusOf(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, directory.ErrBudget) {
		return exitTryAgain
	}
	return exitNoService
}

// progressShow shows the progress of a run: a bar on a terminal, a line now and then elsewhere.
type progressShow struct {
	app  *app
	bar  *progressbar.ProgressBar
	last time.Time
}

func (a *app) progress() *progressShow {
	p := &progressShow{app: a, last: time.Now()}
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(1000, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription("reading the address book"),
			progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return p
}

const lineEvery = 10 * time.Second

func (p *progressShow) step(r client.Run) {
	if p.bar != nil {
		p.bar.Describe(progressText(r))
		if r.Fraction != nil {
			p.bar.Set(int(*r.Fraction * 1000))
		}
		return
	}
	if time.Since(p.last) >= lineEvery {
		p.last = time.Now()
		p.app.say("%s", progressText(r))
	}
}

func (p *progressShow) end() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
