package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) identity() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "own keys: request, import, list, use, export, remove",
		Long: "An identity is a private key with its certificate, kept in the keyring of the user's own daemon\n" +
			"(systemctl --user enable --now galsyncd). Private keys are encrypted under the keyring's passphrase. Fingerprints may\n" +
			"be cut short: their first digits, four at least, are enough where these say which one is meant.",
		RunE: needsCommand,
	}
	cmd.AddCommand(a.identityImport(), a.identityList(), a.identityRequest(), a.identityUse(), a.identityExport(), a.identityRemove())
	return cmd
}

func (a *app) identityImport() *cobra.Command {
	var pfxFile, keyringFile string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "import keys (.p12, .pfx, PEM), or the certificate that was issued for a request",
		Long: "Imports every private key with its certificate: from PFX, or from PEM with a key and its certificates.\n" +
			"A file of certificates alone (.pem, .cer, .p7b) is joined with the keys that wait for them (identity request), or\n" +
			"renews the certificate of a key that is there. The passphrases are asked for, or read from files (mode 0600; first\n" +
			"line; - is standard input). The first import sets the keyring's passphrase, 8 bytes at least; when\n" +
			"the keyring is unlocked, it is not asked for again.",
		Example: "  galsyncd identity import me.p12\n  galsyncd identity import issued.pem",
		Args:    positional(1, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runImport(cmd.Context(), args[0], pfxFile, keyringFile))
		},
	}
	cmd.Flags().StringVar(&pfxFile, "pfx-passphrase-file", "", "read the passphrase of the imported file from this `FILE`")
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
	keyring, err := ownKeyring(ctx, c, "import an identity")
	if err != nil {
		return err
	}
	file, err := readBounded(path, 1<<20)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	sealed, err := importable(path, file)
	if err != nil {
		return err
	}
	request := client.ImportRequest{PFX: file}
	if sealed {
		if request.PFXPassphrase, err = a.passphrase(ctx, "passphrase of "+path, pfxFile, false); err != nil {
			return err
		}
	}
	if request.KeyringPassphrase, err = a.keyringPassphraseFor(ctx, keyring, keyringFile); err != nil {
		return err
	}
	imported, err := c.ImportIdentity(ctx, request)
	if err != nil {
		return err
	}
	return a.print(imported, func(w io.Writer) {
		printf(w, "imported: %d new of %d\n", imported.Added, len(imported.Identities))
		printIdentities(w, imported.Identities)
	})
}

// ownKeyring returns how the keyring is, or why this daemon has none.
func ownKeyring(ctx context.Context, c *client.Client, attempt string) (*client.KeyringStatus, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.Keyring != nil {
		return status.Keyring, nil
	}
	if status.Role == "user" {
		// The keyring cannot be used; its own refusal says why.
		if _, err := c.Identities(ctx); err != nil {
			return nil, err
		}
	}
	return nil, &exitError{status: exitNotAllowed, err: fmt.Errorf("%s: the daemon that answers holds no private keys (%s role)", attempt, status.Role),
		hint: "start your own: systemctl --user enable --now galsyncd"}
}

// keyringPassphraseFor asks for the passphrase of a keyring that is locked or new; "" when it is not needed. A file that is
// given is read always: what is in it must be right.
func (a *app) keyringPassphraseFor(ctx context.Context, k *client.KeyringStatus, file string) (string, error) {
	if k.Unlocked && file == "" {
		return "", nil
	}
	prompt := "passphrase of the keyring"
	if !k.Exists {
		prompt = "new passphrase for the keyring"
	}
	return a.passphrase(ctx, prompt, file, !k.Exists)
}

func (a *app) identityList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list own keys, which address each signs for, and requests that wait",
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
			return failed(a.print(list, func(w io.Writer) {
				printIdentities(w, list.Identities)
				printRequests(w, list.Requests)
				if len(list.Identities)+len(list.Requests) == 0 {
					a.say("hint: there is none yet: galsyncd identity import FILE, or galsyncd identity request ADDRESS")
				}
			}))
		},
	}
}

func printIdentities(w io.Writer, list []client.Identity) {
	for _, id := range list {
		c := id.Certificate
		printf(w, "%s\n  %s, valid %s to %s\n  issued by: %s\n  sha256: %s\n", c.Subject, c.Key, day(c.NotBefore), day(c.NotAfter), c.Issuer, c.SHA256)
		lines(w, "  address: ", c.Addresses)
		lines(w, "  ✓ signs for: ", id.SignsFor)
		for _, a := range id.ChosenFor {
			if a == "" {
				fmt.Fprintln(w, "  chosen for: every address without a choice of its own")
			} else {
				printf(w, "  chosen for: %s\n", a)
			}
		}
		switch left := time.Until(c.NotAfter); {
		case left <= 0:
			fmt.Fprintln(w, "  expired: it still opens old mail")
		case left < 30*24*time.Hour:
			printf(w, "  expires in %d days: galsyncd identity request\n", int(left.Hours()/24))
		}
	}
}

func printRequests(w io.Writer, list []client.IdentityRequest) {
	for _, r := range list {
		printf(w, "request of %s: %s\n  for: %s\n  waits for its certificate: galsyncd identity import FILE\n  id: %s\n", clock(r.Created), r.Key, strings.Join(r.Addresses, ", "), r.ID)
	}
}

func (a *app) identityRequest() *cobra.Command {
	var o client.NewKeyRequest
	var out, keyringFile string
	cmd := &cobra.Command{
		Use:   "request ADDRESS...",
		Short: "make a new key, and the certificate request for it",
		Long: "Makes a key, keeps it in the keyring, and writes the certificate request (PKCS #10, PEM) for the certification\n" +
			"authority. The certificate that comes back is imported with identity import; until then the key waits, and identity\n" +
			"list shows it.",
		Example: "  galsyncd identity request --name \"Alice Adams\" --out alice.csr alice@corp.example",
		Args:    positional(1, 100, "an ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Addresses = args
			return failed(a.runRequest(cmd.Context(), o, out, keyringFile))
		},
	}
	cmd.Flags().StringVar(&o.Name, "name", "", "the common `NAME` to ask for; the first address if not given")
	cmd.Flags().StringVar(&o.Key, "key", "rsa-3072", "the `KIND` of key: rsa-3072, which every mail program can use, rsa-4096, p-256 or p-384")
	cmd.Flags().StringVar(&out, "out", "-", "write the request to this `FILE`; - is standard output")
	cmd.Flags().StringVar(&keyringFile, "passphrase-file", "", "read the passphrase of the keyring from this `FILE`")
	return cmd
}

func (a *app) runRequest(ctx context.Context, o client.NewKeyRequest, out, keyringFile string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	keyring, err := ownKeyring(ctx, c, "request a certificate")
	if err != nil {
		return err
	}
	if o.KeyringPassphrase, err = a.keyringPassphraseFor(ctx, keyring, keyringFile); err != nil {
		return err
	}
	r, err := c.RequestIdentity(ctx, o)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: r.CSR})
	if out != "-" {
		if err := a.writeFile(out, text); err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { printRequests(w, []client.IdentityRequest{*r}) })
	}
	return a.print(r, func(w io.Writer) { w.Write(text) })
}

func (a *app) identityUse() *cobra.Command {
	var addresses []string
	cmd := &cobra.Command{
		Use:   "use FINGERPRINT",
		Short: "choose which key signs for which address",
		Long: "Has mails from ADDRESS signed with this identity; without --for, mails from every address without a choice of its own\n" +
			"whose certificate does not name another identity's address. To take a choice back:\n" +
			"galsyncd preferences ADDRESS --set identity=default.",
		Args: positional(1, 1, "one FINGERPRINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runUse(cmd.Context(), args[0], addresses))
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "for", nil, "for mails from this `ADDRESS` (may be repeated)")
	return cmd
}

func (a *app) runUse(ctx context.Context, fingerprint string, addresses []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := findIdentity(ctx, c, fingerprint)
	if err != nil {
		return err
	}
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	for _, address := range addresses {
		list, err := c.Preferences(ctx, address)
		if err != nil {
			return err
		}
		var own client.Preferences
		for _, p := range list.Preferences {
			if p.Address == list.Effective.Address {
				own = p.Preferences
			}
		}
		own.Identity = id.Certificate.SHA256
		if _, err := c.SetPreferences(ctx, address, own); err != nil {
			return err
		}
	}
	if id, err = findIdentity(ctx, c, id.Certificate.SHA256); err != nil {
		return err
	}
	return a.print(id, func(w io.Writer) { printIdentities(w, []client.Identity{*id}) })
}

func (a *app) identityExport() *cobra.Command {
	var public bool
	var pfxFile, keyringFile string
	cmd := &cobra.Command{
		Use:         "export FINGERPRINT [FILE]",
		Annotations: map[string]string{contentAt: "1"},
		Short:       "write an own key as a PFX file, or with --public its certificate to hand to others",
		Long: "Writes the key with its certificate and chain as a PFX file under a passphrase of its own (8 bytes at least), for\n" +
			"another mail program or another machine; without FILE it goes to standard output. The passphrase of the keyring is\n" +
			"asked for always.\n\n" +
			"With --public it writes the certificate and its chain, which anybody may have: as PKCS #7 (.p7c, the default), PEM when\n" +
			"FILE ends in .pem or there is none, or the certificate alone when it ends in .der, .cer or .crt.",
		Example: "  galsyncd identity export 1f2e me.p12\n  galsyncd identity export --public 1f2e me.p7c",
		Args:    positional(1, 2, "one FINGERPRINT and one FILE at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runExport(cmd.Context(), args, public, pfxFile, keyringFile))
		},
	}
	cmd.Flags().BoolVar(&public, "public", false, "the certificate, without the key")
	cmd.Flags().StringVar(&pfxFile, "pfx-passphrase-file", "", "read the new passphrase of the PFX file from this `FILE`")
	cmd.Flags().StringVar(&keyringFile, "passphrase-file", "", "read the passphrase of the keyring from this `FILE`")
	return cmd
}

func (a *app) runExport(ctx context.Context, args []string, public bool, pfxFile, keyringFile string) error {
	if pfxFile == "-" && keyringFile == "-" {
		return usageError(errors.New("only one of the two passphrases can come from standard input"))
	}
	out := "-"
	if len(args) > 1 {
		out = args[1]
	}
	if !public && out == "-" && a.terminal() {
		return usageError(errors.New("a private key is not written to the terminal: name a FILE"))
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := findIdentity(ctx, c, args[0])
	if err != nil {
		return err
	}
	if public {
		data, err := c.PublicIdentity(ctx, id.Certificate.SHA256, publicForm(out))
		if err != nil {
			return err
		}
		return a.writeFile(out, data)
	}
	var request client.ExportRequest
	if request.KeyringPassphrase, err = a.passphrase(ctx, "passphrase of the keyring", keyringFile, false); err != nil {
		return err
	}
	if request.PFXPassphrase, err = a.passphrase(ctx, "new passphrase for the PFX file", pfxFile, true); err != nil {
		return err
	}
	pfx, err := c.ExportIdentity(ctx, id.Certificate.SHA256, request)
	if err != nil {
		return err
	}
	return a.writeFile(out, pfx)
}

// publicForm is the form that the name of a file asks for.
func publicForm(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".der", ".cer", ".crt":
		return client.FormDER
	case ".pem", "":
		return client.FormPEM
	}
	return client.FormPKCS7
}

func (a *app) identityRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove FINGERPRINT",
		Short: "delete an own key, or a request that waits",
		Long: "Deletes a private key with its certificate, for ever: mails that were encrypted to it can then be read only where\n" +
			"there is another copy of the key. Expired ones are worth keeping for that reason. A request that waits for its\n" +
			"certificate is removed by its id.",
		Args: positional(1, 1, "one FINGERPRINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runRemoveIdentity(cmd.Context(), args[0], yes))
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) runRemoveIdentity(ctx context.Context, fingerprint string, yes bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.Identities(ctx)
	if err != nil {
		return err
	}
	wanted := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
	for _, r := range list.Requests {
		if len(wanted) >= 4 && strings.HasPrefix(r.ID, wanted) {
			question := "a certificate that comes for this request will have no key"
			if err := a.confirm(ctx, yes, question, func(w io.Writer) { printRequests(w, []client.IdentityRequest{r}) }); err != nil {
				return err
			}
			return c.RemoveRequest(ctx, r.ID)
		}
	}
	id, err := findIdentity(ctx, c, fingerprint)
	if err != nil {
		return err
	}
	question := "mails that were encrypted to this key can no longer be read here"
	if err := a.confirm(ctx, yes, question, func(w io.Writer) { printIdentities(w, []client.Identity{*id}) }); err != nil {
		return err
	}
	gone, err := c.RemoveIdentity(ctx, id.Certificate.SHA256)
	if err != nil {
		return err
	}
	return a.print(gone, func(w io.Writer) {
		printf(w, "removed: %s, sha256 %s\n", gone.Certificate.Subject, gone.Certificate.SHA256)
	})
}
