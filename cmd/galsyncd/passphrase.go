package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"

	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/pinentry"
)

const maxPassphrase = 1024

// passphrase reads one from the first line of a file, or asks with pinentry or on the terminal, twice when it is new.
func (a *app) passphrase(ctx context.Context, prompt, file string, isNew bool) (string, error) {
	if file != "" {
		return a.passphraseFrom(file)
	}
	tty, ttyErr := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if ttyErr == nil {
		defer tty.Close()
	}
	if program := a.pinentry(ttyErr == nil); program != "" {
		return askPinentry(ctx, program, prompt, isNew, ttyErr == nil)
	}
	if ttyErr != nil {
		return "", &exitError{status: exitUsage, err: fmt.Errorf("ask for the %s: no terminal", prompt), hint: fileHint(prompt)}
	}
	first, err := ask(ctx, tty, prompt)
	if err != nil || !isNew {
		return first, err
	}
	again, err := ask(ctx, tty, "once more")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", &exitError{status: exitUsage, err: errors.New("the two passphrases differ")}
	}
	return first, nil
}

// fileHint names the option that takes what is asked for from a file.
func fileHint(prompt string) string {
	switch {
	case strings.HasSuffix(prompt, "PFX file"), strings.HasPrefix(prompt, "passphrase of ") && !strings.HasSuffix(prompt, "the keyring"):
		return "give a file with --pfx-passphrase-file"
	}
	return "give a file with --passphrase-file"
}

// pinentry is the program that asks for passphrases here; empty for the terminal. Without a display and a terminal nobody
// could answer it.
func (a *app) pinentry(terminal bool) string {
	program := "auto"
	if c, err := a.load(config.RoleUser); err == nil { // a broken configuration is the daemon's to complain about
		program = c.Keyring.Pinentry
	}
	display := os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
	switch {
	case program == "none" || !display && !terminal:
		return ""
	case program != "auto":
		return program
	case display:
		path, _ := exec.LookPath("pinentry")
		return path
	}
	return ""
}

func askPinentry(ctx context.Context, program, prompt string, isNew, terminal bool) (string, error) {
	p := pinentry.Prompt{Title: "galsyncd", Description: "galsyncd needs the " + prompt + ".", Label: "Passphrase:"}
	if isNew {
		p.Repeat = "Once more:"
	}
	if terminal {
		p.TTY = "/dev/tty"
	}
	passphrase, err := pinentry.Ask(ctx, program, p)
	switch {
	case errors.Is(err, pinentry.ErrCancelled), ctx.Err() != nil:
		return "", &exitError{status: exitNotFound, err: fmt.Errorf("ask for the %s: %w", prompt, pinentry.ErrCancelled)}
	case err != nil:
		return "", &exitError{status: exitConfig, err: fmt.Errorf("ask for the %s: %w", prompt, err), hint: `set keyring.pinentry to another program, or to "none"; or give a file with --passphrase-file`}
	}
	return passphrase, nil
}

// ask reads a line from the terminal without showing it.
func ask(ctx context.Context, tty *os.File, prompt string) (string, error) {
	fmt.Fprint(tty, prompt+": ")
	if state, err := term.GetState(int(tty.Fd())); err == nil {
		defer term.Restore(int(tty.Fd()), state) // the reader is left behind when the command is interrupted
	}
	pass, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(int(tty.Fd())) })
	fmt.Fprintln(tty)
	switch {
	case errors.Is(err, context.Canceled):
		return "", &exitError{status: exitNotFound, err: fmt.Errorf("ask for the %s: %w", prompt, pinentry.ErrCancelled)}
	case err != nil:
		return "", fmt.Errorf("read a passphrase: %w", err)
	}
	return string(pass), nil
}

// interruptible is what read returns, or the error of the context when that ends first: a read from a terminal goes on
// after a signal.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := read()
		done <- answer{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
}

func (a *app) passphraseFrom(file string) (string, error) {
	var r io.Reader = a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read a passphrase: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			return "", &exitError{status: exitNotAllowed, err: errors.Join(err, fmt.Errorf("read a passphrase: others can read %s", file)), hint: "chmod 600 " + file}
		}
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxPassphrase+2))
	if err != nil {
		return "", fmt.Errorf("read a passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > maxPassphrase {
		return "", &exitError{status: exitData, err: fmt.Errorf("read a passphrase: longer than %d bytes", maxPassphrase)}
	}
	return string(line), nil
}

// confirm shows on the terminal what is about to happen and asks whether it shall; yes answers without asking. It returns
// an error for no, and without a terminal.
func (a *app) confirm(ctx context.Context, yes bool, consequence string, show func(io.Writer)) error {
	if yes {
		return nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return &exitError{status: exitUsage, err: errors.New("ask for a confirmation: no terminal"), hint: "say --yes"}
	}
	defer tty.Close()
	show(plain{tty})
	fmt.Fprintf(tty, "%s. Go on? [y/N] ", consequence)
	line, err := interruptible(ctx, func() (string, error) { return bufio.NewReader(io.LimitReader(tty, 100)).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(tty)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return &exitError{status: exitNotFound, err: errors.New("nothing was changed")}
}

// terminal says whether standard output is one.
func (a *app) terminal() bool {
	f, ok := a.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
