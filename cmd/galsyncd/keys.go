package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) identity() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "own keys: import and list",
		Long: "An identity is a private key with its certificate, kept in the keyring of the user's own daemon\n" +
			"(systemctl --user enable --now galsyncd). Private keys are encrypted under the keyring's passphrase.",
		Args: positional(0, 0, "nothing but options"),
		RunE: func(*cobra.Command, []string) error {
			return usageError(errors.New("identity needs a command: import or list"))
		},
	}
	cmd.AddCommand(a.identityImport(), a.identityList())
	return cmd
}

func (a *app) identityImport() *cobra.Command {
	var pfxFile, keyringFile string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "import the keys of a PFX file (.p12, .pfx), or of PEM",
		Long: "Imports every private key with its certificate; from PEM an unencrypted key and its certificates. The passphrases are asked for on the terminal, or read from files\n" +
			"(mode 0600; first line; - is standard input). The first import sets the keyring's passphrase.",
		Example: "  galsyncd identity import me.p12",
		Args:    positional(1, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runImport(cmd.Context(), args[0], pfxFile, keyringFile))
		},
	}
	cmd.Flags().StringVar(&pfxFile, "pfx-passphrase-file", "", "read the passphrase of the PFX file from this `FILE`")
	cmd.Flags().StringVar(&keyringFile, "passphrase-file", "", "read the passphrase of the keyring from this `FILE`")
	return cmd
}

func (a *app) runImport(ctx context.Context, path, pfxFile, keyringFile string) error {
	if pfxFile == "-" && keyringFile == "-" {
		return usageError(errors.New("only one of the two passphrases can come from standard input"))
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if status.Keyring == nil && status.Role == "user" {
		// The keyring cannot be used; its own refusal says why.
		if _, err := c.Identities(ctx); err != nil {
			return err
		}
	}
	if status.Keyring == nil {
		return &exitError{status: exitNotAllowed, err: fmt.Errorf("import an identity: the daemon that answers holds no private keys (%s role)", status.Role),
			hint: "start your own: systemctl --user enable --now galsyncd"}
	}
	pfx, err := readBounded(path, 1<<20)
	if err != nil {
		return fmt.Errorf("read the PFX file: %w", err)
	}
	request := client.ImportRequest{PFX: pfx}
	if !bytes.Contains(pfx, []byte("-----BEGIN ")) {
		if request.PFXPassphrase, err = a.passphrase("passphrase of "+path, pfxFile, false); err != nil {
			return err
		}
	}
	if !status.Keyring.Unlocked {
		prompt := "passphrase of the keyring"
		if !status.Keyring.Exists {
			prompt = "new passphrase for the keyring"
		}
		if request.KeyringPassphrase, err = a.passphrase(prompt, keyringFile, !status.Keyring.Exists); err != nil {
			return err
		}
	}
	imported, err := c.ImportIdentity(ctx, request)
	if err != nil {
		return err
	}
	return a.print(imported, func(w io.Writer) {
		fmt.Fprintf(w, "imported: %d new of %d\n", imported.Added, len(imported.Identities))
		printIdentities(w, imported.Identities)
	})
}

func (a *app) identityList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list own keys",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			list, err := c.Identities(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return failed(a.print(client.Identities{Identities: list}, func(w io.Writer) { printIdentities(w, list) }))
		},
	}
}

func printIdentities(w io.Writer, list []client.Identity) {
	for _, id := range list {
		c := id.Certificate
		fmt.Fprintf(w, "%s\n  %s, valid %s to %s\n  issued by: %s\n  sha256: %s\n", c.Subject, c.Key, day(c.NotBefore), day(c.NotAfter), c.Issuer, c.SHA256)
		if len(c.Addresses) > 0 {
			lines(w, "  address: ", c.Addresses)
		}
		if time.Now().After(c.NotAfter) {
			fmt.Fprintln(w, "  expired: it still opens old mail")
		}
	}
}

func (a *app) unlock() *cobra.Command {
	var period time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "open the keyring for a while",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			pass, err := a.passphrase("passphrase of the keyring", file, false)
			if err != nil {
				return failed(err)
			}
			k, err := c.Unlock(cmd.Context(), pass, period)
			if err != nil {
				return failed(err)
			}
			return failed(a.print(k, func(w io.Writer) { fmt.Fprintln(w, keyringText(*k)) }))
		},
	}
	cmd.Flags().DurationVar(&period, "for", 8*time.Hour, "keep it open for this `TIME`, 8h if not given, 24h at most")
	cmd.Flags().StringVar(&file, "passphrase-file", "", "read the passphrase from this `FILE` (mode 0600; first line; - is standard input)")
	return cmd
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
			return failed(a.print(k, func(w io.Writer) { fmt.Fprintln(w, keyringText(*k)) }))
		},
	}
}

const maxPassphrase = 1024

// passphrase reads one from the first line of a file, or asks on the terminal, twice when it is new.
func (a *app) passphrase(prompt, file string, isNew bool) (string, error) {
	if file != "" {
		return a.passphraseFrom(file)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", &exitError{status: exitUsage, err: fmt.Errorf("ask for the %s: no terminal", prompt), hint: "give a file with --passphrase-file (and --pfx-passphrase-file)"}
	}
	defer tty.Close()
	first, err := ask(tty, prompt+": ")
	if err != nil || !isNew {
		return first, err
	}
	again, err := ask(tty, "once more: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", &exitError{status: exitUsage, err: errors.New("the two passphrases differ")}
	}
	return first, nil
}

func ask(tty *os.File, prompt string) (string, error) {
	fmt.Fprint(tty, prompt)
	pass, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return "", fmt.Errorf("read a passphrase: %w", err)
	}
	return string(pass), nil
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
		return "", fmt.Errorf("read a passphrase: longer than %d bytes", maxPassphrase)
	}
	return string(line), nil
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
