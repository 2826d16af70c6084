package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

// Exit statuses, sysexits(3) where it has one.
const (
	exitNotFound   = 1
	exitUsage      = 64
	exitData       = 65
	exitRecipient  = 67
	exitNoService  = 69
	exitSoftware   = 70
	exitTryAgain   = 75
	exitLocked     = 76
	exitNotAllowed = 77
	exitConfig     = 78
)

// exitError is an error with its exit status. Without err nothing is printed: it was said already.
type exitError struct {
	status int
	err    error
	// hint says what to do, one thing on each line.
	hint string
	// usage: the command line was wrong, and the help of the command says more.
	usage bool
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error {
	return &exitError{status: exitUsage, err: err, usage: true}
}

// usageOf is an error of a command for report. What is not marked comes from the parsing of the command line.
func usageOf(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		// Cobra lists on lines of their own what may be meant.
		text, meant, _ := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
		if names := strings.Fields(meant); len(names) > 0 {
			text += "; did you mean " + strings.Join(names, " or ") + "?"
		}
		e = usageError(errors.New(text)).(*exitError)
	}
	if e.usage && e.hint == "" {
		e.hint = "see " + cmd.CommandPath() + " --help"
	}
	return e
}

// positional checks the number of arguments that are no options; what says which ones there may be.
func positional(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		if len(args) > most {
			return fmt.Errorf("%s takes %s; %q is too much", strings.TrimPrefix(cmd.CommandPath(), "galsyncd "), what, args[most])
		}
		return fmt.Errorf("%s needs %s", strings.TrimPrefix(cmd.CommandPath(), "galsyncd "), what)
	}
}

// needsCommand refuses what is no command of a group of them, with those that may be meant.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return usageError(fmt.Errorf("%s needs a command: %s", strings.TrimPrefix(cmd.CommandPath(), "galsyncd "), strings.Join(names, ", ")))
	}
	cmd.SuggestionsMinimumDistance = 2
	meant := ""
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		meant = "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return usageError(fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), meant))
}

// failed marks an error of a command at work. What is not marked comes from the parsing of the command line.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{status: statusOf(err), err: err, hint: hintOf(err)}
}

// report prints an error for people and returns the exit status.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		e = usageError(err).(*exitError)
	}
	if e.err == nil {
		return e.status
	}
	a.note(e)
	for line := range strings.Lines(e.err.Error()) {
		a.say("error: %s", strings.TrimSpace(line))
	}
	if refusal, ok := errors.AsType[*client.Error](e.err); ok {
		a.obstacles(refusal.Recipients)
	}
	for line := range strings.Lines(e.hint) {
		a.say("hint: %s", strings.TrimSpace(line))
	}
	return e.status
}

// obstacles prints the recipients that stand in the way.
func (a *app) obstacles(list []client.Obstacle) {
	for _, o := range list {
		a.say("  %s: %s", o.Address, o.State)
		for _, reason := range o.Reasons {
			a.say("    %s", reason)
		}
		for _, hint := range o.Hints {
			a.say("    hint: %s", hint)
		}
	}
}

// statuses of the refusals of the daemon.
var statuses = map[string]int{
	"bad-request": exitUsage, client.CodeBccNeedsMultipart: exitUsage, client.CodeSplitNeedsMultipart: exitUsage,
	client.CodeNoOwnCertificate: exitRecipient, client.CodeBadMessage: exitData, client.CodeBadIdentity: exitData,
	client.CodeBadCertificate: exitData, client.CodeCertificateRefused: exitData,
	client.CodeNoRecipients: exitData, client.CodeNotEncrypted: exitData, client.CodeDecryptFailed: exitData, client.CodeMessageTooLarge: exitData,
	"too-large": exitData, client.CodeRecipientUnknown: exitRecipient, client.CodeRecipientsUnusable: exitRecipient,
	client.CodeNoRecipientKey: exitNotFound, client.CodeNoSigningKey: exitNotFound, client.CodeNotFound: exitNotFound, client.CodeKeyringLocked: exitLocked,
	client.CodeWrongPassphrase: exitNotAllowed, client.CodeNotAllowed: exitNotAllowed, client.CodeSyncRunning: exitTryAgain,
	client.CodeBusy: exitTryAgain, client.CodeNotStored: exitTryAgain, "timeout": exitTryAgain, client.CodeCacheDamaged: exitTryAgain, client.CodeNotAvailable: exitNoService,
	client.CodeKeyringDamaged: exitNoService, client.CodeKeyringUnavailable: exitNoService, client.CodeAlreadyEncrypted: exitData,
}

func statusOf(err error) int {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		if status, ok := statuses[refusal.Code]; ok {
			return status
		}
		return exitSoftware
	}
	switch {
	case errors.Is(err, client.ErrNotRunning):
		return exitNoService
	case errors.Is(err, client.ErrInterrupted), errors.Is(err, io.ErrUnexpectedEOF):
		return exitTryAgain
	case errors.Is(err, client.ErrUntrustedServer), errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return exitNotAllowed
	case isAny(err, os.ErrNotExist, syscall.EISDIR, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL):
		return exitData
	case isAny(err, context.Canceled, syscall.ENOSPC, syscall.EDQUOT):
		return exitTryAgain
	}
	return exitSoftware
}

// isAny reports whether an error is one of several.
func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func hintOf(err error) string {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Hint
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
