package main

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestInterrupted has Ctrl-C end a question, although nobody presses Enter.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	cancel()
	if _, err := interruptible(ctx, func() ([]byte, error) { return io.ReadAll(r) }); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted question ends with %v", err)
	}
	if got, err := interruptible(t.Context(), func() (string, error) { return "an answer", io.ErrUnexpectedEOF }); got != "an answer" || err != io.ErrUnexpectedEOF {
		t.Errorf("an answered question is %q, %v", got, err)
	}
}

func TestFileHint(t *testing.T) {
	for prompt, want := range map[string]string{
		"passphrase of the keyring":       "give a file with --passphrase-file",
		"new passphrase for the keyring":  "give a file with --passphrase-file",
		"passphrase of me.p12":            "give a file with --pfx-passphrase-file",
		"new passphrase for the PFX file": "give a file with --pfx-passphrase-file",
	} {
		if got := fileHint(prompt); got != want {
			t.Errorf("%q: %q, want %q", prompt, got, want)
		}
	}
}
