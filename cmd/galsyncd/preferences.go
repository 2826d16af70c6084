package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) preferences() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "preferences [ADDRESS]",
		Short: "what is done with mails from an address: sign, encrypt, to oneself, which identity",
		Long: "Shows what is done with mails from ADDRESS, or all entries without one. With --set it changes the entry of ADDRESS,\n" +
			"or the default that counts for all addresses. What an entry does not say the default says; what neither says is no.\n" +
			"The keys are:\n\n" +
			"  sign             yes or no: sign every mail that is encrypted\n" +
			"  encrypt          yes or no: whether a mail program shall encrypt unless told otherwise\n" +
			"  to-self          yes or no: encrypt to the sender too, so that he can read what he sent\n" +
			"  protect-headers  yes or no: hide the subject (RFC 9788)\n" +
			"  identity         the SHA-256 fingerprint of the identity to sign with, or the beginning of it\n\n" +
			"The value default takes a key out of the entry. The options of encrypt and sign count before all of it.",
		Example: "  galsyncd preferences --set sign=yes --set to-self=yes\n  galsyncd preferences alice@corp.example --set sign=no",
		Args:    positional(0, 1, "one ADDRESS at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			address := ""
			if len(args) > 0 {
				address = args[0]
			}
			return failed(a.runPreferences(cmd.Context(), address, set))
		},
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "change the entry: `KEY=VALUE` (may be repeated)")
	return cmd
}

func (a *app) runPreferences(ctx context.Context, address string, set []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.Preferences(ctx, address)
	if err != nil {
		return err
	}
	if len(set) > 0 {
		var own client.Preferences
		for _, p := range list.Preferences {
			if p.Address == list.Effective.Address {
				own = p.Preferences
			}
		}
		for _, assignment := range set {
			if err := a.setPreference(ctx, c, &own, assignment); err != nil {
				return err
			}
		}
		if list, err = c.SetPreferences(ctx, address, own); err != nil {
			return err
		}
	}
	return a.print(list, func(w io.Writer) {
		if address != "" {
			printPreferences(w, list.Effective.Address, list.Effective.Preferences)
			return
		}
		for _, p := range list.Preferences {
			printPreferences(w, p.Address, p.Preferences)
		}
		if len(list.Preferences) == 0 {
			a.say("hint: there is none yet, so everything is no: see galsyncd preferences --help")
		}
	})
}

// preferenceKeys are the keys of preferences that are yes or no, with where they live.
func preferenceKeys(p *client.Preferences) []struct {
	name   string
	target **bool
} {
	return []struct {
		name   string
		target **bool
	}{{"sign", &p.Sign}, {"encrypt", &p.Encrypt}, {"to-self", &p.ToSelf}, {"protect-headers", &p.ProtectHeaders}}
}

func (a *app) setPreference(ctx context.Context, c *client.Client, p *client.Preferences, assignment string) error {
	name, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return usageError(fmt.Errorf("--set takes KEY=VALUE, and %q has no =", assignment))
	}
	if name == "identity" {
		if value == "default" {
			p.Identity = ""
			return nil
		}
		id, err := findIdentity(ctx, c, value)
		if err != nil {
			return err
		}
		p.Identity = id.Certificate.SHA256
		return nil
	}
	keys := preferenceKeys(p)
	i := slices.IndexFunc(keys, func(k struct {
		name   string
		target **bool
	}) bool {
		return k.name == name
	})
	if i < 0 {
		return usageError(fmt.Errorf("there is no preference %q: they are sign, encrypt, to-self, protect-headers and identity", name))
	}
	yes := value == "yes" || value == "true" || value == "on"
	switch {
	case value == "default":
		*keys[i].target = nil
	case yes || value == "no" || value == "false" || value == "off":
		*keys[i].target = &yes
	default:
		return usageError(fmt.Errorf("%s is yes, no or default, not %q", name, value))
	}
	return nil
}

func printPreferences(w io.Writer, address string, p client.Preferences) {
	if address == "" {
		address = "default"
	}
	var words []string
	for _, k := range preferenceKeys(&p) {
		if *k.target != nil {
			words = append(words, k.name+"="+map[bool]string{true: "yes", false: "no"}[**k.target])
		}
	}
	if p.Identity != "" {
		words = append(words, "identity="+p.Identity)
	}
	if len(words) == 0 {
		words = append(words, "nothing is set")
	}
	printf(w, "%s: %s\n", address, strings.Join(words, " "))
}

// findIdentity returns the identity whose fingerprint begins so.
func findIdentity(ctx context.Context, c *client.Client, prefix string) (*client.Identity, error) {
	list, err := c.Identities(ctx)
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(strings.ReplaceAll(prefix, ":", ""))
	if len(wanted) < 4 {
		return nil, usageError(errors.New("give at least the first four digits of the fingerprint"))
	}
	var found []*client.Identity
	for i := range list.Identities {
		if strings.HasPrefix(list.Identities[i].Certificate.SHA256, wanted) {
			found = append(found, &list.Identities[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, &exitError{status: exitNotFound, err: fmt.Errorf("no identity has a fingerprint that begins with %q", prefix), hint: "galsyncd identity list"}
	case 1:
		return found[0], nil
	}
	return nil, usageError(fmt.Errorf("%d identities have fingerprints that begin with %q: give more of it", len(found), prefix))
}

// identityNamed makes the whole fingerprint of the beginning of one; empty stays empty. Where the keys cannot be listed it
// stays as it is too: the daemon's refusal of the work itself says why.
func identityNamed(ctx context.Context, c *client.Client, prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	id, err := findIdentity(ctx, c, prefix)
	if _, ok := errors.AsType[*client.Error](err); ok {
		return prefix, nil
	}
	if err != nil {
		return "", err
	}
	return id.Certificate.SHA256, nil
}
