package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) keyringCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keyring",
		Short: "the file with the own keys: back up, change the passphrase",
		RunE:  needsCommand,
	}
	cmd.AddCommand(a.keyringBackup(), a.keyringPassphrase())
	return cmd
}

func (a *app) keyringBackup() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:         "backup FILE",
		Annotations: map[string]string{contentAt: "0", contentWanted: "yes"},
		Short:       "copy the keyring while the daemon runs",
		Long: "Writes a copy of the whole keyring to FILE: keys, installed certificates, decisions and preferences as they are at\n" +
			"this moment. Keys in it are sealed under the passphrase that the keyring has now; without that the copy opens nothing.\n" +
			"A FILE that is there already, which may be the last copy of a key, is replaced only with --force.\n\n" +
			"To restore it, stop the daemon and put the copy in place of keyring.db in keyring.dir\n" +
			"(~/.local/share/galsyncd/keyring.db), for the user alone (chmod 600).",
		Example: "  galsyncd keyring backup /media/stick/galsyncd-keyring",
		Args:    positional(1, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runBackup(cmd.Context(), args[0], force))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a FILE that is there")
	return cmd
}

func (a *app) runBackup(ctx context.Context, path string, force bool) error {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !force {
		return &exitError{status: exitUsage, err: fmt.Errorf("%s is there already, and may be the last copy of a key", path), hint: "name another file, or replace it with --force"}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	data, err := c.Backup(ctx)
	if err != nil {
		return err
	}
	return a.writeFile(path, data)
}

// writeFile writes a file for this user alone, as a whole or not at all; - is standard output.
func (a *app) writeFile(path string, data []byte) error {
	files := &outputs{}
	defer files.discard()
	w, err := a.output([]string{"", path}, files)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return writeError(path, err)
	}
	return files.keep()
}

func (a *app) keyringPassphrase() *cobra.Command {
	var oldFile, newFile string
	cmd := &cobra.Command{
		Use:   "passphrase",
		Short: "change the passphrase of the keyring",
		Long:  "Asks for the passphrase of the keyring and for a new one. Copies that were made before keep the old one.",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(a.runPassphrase(cmd.Context(), oldFile, newFile))
		},
	}
	cmd.Flags().StringVar(&oldFile, "passphrase-file", "", "read the passphrase from this `FILE` (mode 0600; first line; - is standard input)")
	cmd.Flags().StringVar(&newFile, "new-passphrase-file", "", "read the new passphrase from this `FILE`")
	return cmd
}

func (a *app) runPassphrase(ctx context.Context, oldFile, newFile string) error {
	if oldFile == "-" && newFile == "-" {
		return usageError(errors.New("only one of the two passphrases can come from standard input"))
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if _, err := ownKeyring(ctx, c, "change the passphrase"); err != nil {
		return err
	}
	old, err := a.passphrase(ctx, "passphrase of the keyring", oldFile, false)
	if err != nil {
		return err
	}
	next, err := a.passphrase(ctx, "new passphrase for the keyring", newFile, true)
	if err != nil {
		return err
	}
	status, err := c.ChangePassphrase(ctx, old, next)
	if err != nil {
		return err
	}
	return a.print(status, func(w io.Writer) { fmt.Fprintln(w, "the passphrase was changed") })
}
