package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) unlock() *cobra.Command {
	var period time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "open the keyring for a while",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(a.runUnlock(cmd.Context(), file, period))
		},
	}
	cmd.Flags().DurationVar(&period, "for", 0, "keep it open for this `TIME`, 24h at most; if not given, for keyring.unlock_for of the configuration (8h)")
	cmd.Flags().StringVar(&file, "passphrase-file", "", "read the passphrase from this `FILE` (mode 0600; first line; - is standard input)")
	return cmd
}

func (a *app) runUnlock(ctx context.Context, file string, period time.Duration) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	pass := "" // where there is nothing to open nobody is asked; the daemon says what is missing
	if k := status.Keyring; k != nil && k.Exists || file != "" {
		if pass, err = a.passphrase(ctx, "passphrase of the keyring", file, false); err != nil {
			return err
		}
	}
	k, err := c.Unlock(ctx, pass, period)
	if err != nil {
		return err
	}
	return a.print(k, func(w io.Writer) { fmt.Fprintln(w, keyringText(*k)) })
}

func (a *app) lock() *cobra.Command {
	return &cobra.Command{
		Use:   "lock",
		Short: "forget the keyring's passphrase",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			k, err := c.Lock(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return failed(a.print(k, func(w io.Writer) {
				if !k.Exists {
					fmt.Fprintln(w, "the keyring is empty: there is nothing to lock")
					return
				}
				fmt.Fprintln(w, keyringText(*k))
			}))
		},
	}
}

// readBounded reads a file that must not be larger than limit.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &exitError{status: exitData, err: fmt.Errorf("%s is larger than %d bytes", path, limit)}
	}
	return b, err
}
