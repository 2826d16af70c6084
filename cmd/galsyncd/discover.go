package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/internal/autodiscover"
	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// discoverFlags are the options of discover.
type discoverFlags struct {
	protocol, caFile string
	allow            []string
	user             bool
}

func (a *app) discover() *cobra.Command {
	var f discoverFlags
	cmd := &cobra.Command{
		Use:   "discover ADDRESS",
		Short: "find the address of Exchange's service, and print the lines for the configuration",
		Long: "Asks the servers of the mailbox's domain with Autodiscover: the JSON service, which needs no sign-in, then XML,\n" +
			"SOAP and the SRV record. Needs no daemon and no configuration; when one has [exchange.auth], its credential is\n" +
			"shown to servers that ask for one, until the first refusal. After refusals in two runs it is left alone for six\n" +
			"hours, and so is one that sync had refused: a new secret is tried at once. That is remembered in the folder cache.dir,\n" +
			"if there is one and it can be written, else in $XDG_STATE_HOME/galsyncd (~/.local/state/galsyncd).\n\n" +
			"Everything goes over https with a verified certificate, and nothing leaves the domain of the address and the\n" +
			"hosts of --allow, whatever a server redirects to. For Exchange Online: --allow outlook.office365.com.\n\n" +
			"What was tried is told on standard error. The exit status is 0 when the service was found, 1 when no server\n" +
			"named one, 69 when none could be reached, 77 when the credential was refused.",
		Args: positional(1, 1, "one mail address"),
		RunE: func(cmd *cobra.Command, args []string) error { return failed(a.runDiscover(cmd.Context(), args[0], f)) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.protocol, "protocol", "ews", "`NAME` of the service: ews or eas")
	flags.StringSliceVar(&f.allow, "allow", nil, "also ask this `HOST` outside of the domain; .DOMAIN lets redirects go there and below")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM `FILE` of further roots for the servers' certificates")
	flags.BoolVar(&f.user, "user", false, "with the user's configuration")
	return cmd
}

func (a *app) runDiscover(ctx context.Context, text string, f discoverFlags) error {
	address, err := mailaddr.Parse(text)
	if err != nil {
		return usageError(err)
	}
	protocol := autodiscover.Protocol(f.protocol)
	if protocol != autodiscover.EWS && protocol != autodiscover.EAS {
		return usageError(fmt.Errorf("--protocol %q is neither \"ews\" nor \"eas\"", f.protocol))
	}
	for _, host := range f.allow {
		if !autodiscover.ValidAllow(host) {
			return usageError(fmt.Errorf("--allow %q is not the name of a host", host))
		}
	}
	cfg, err := a.loadIncomplete(f.user)
	if err != nil {
		return err
	}
	c := &autodiscover.Client{Address: address, Protocol: protocol, Allow: f.allow, Resolver: a.network.resolver, UserAgent: cfg.Exchange.UserAgent}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if err := a.discoverClients(ctx, c, cfg, f); err != nil {
		return &exitError{status: exitConfig, err: err, hint: hintOf(err)}
	}
	defer c.Anonymous.CloseIdleConnections()
	r, err := c.Discover(ctx)
	if file, unknown := discoverRefusals(cfg); unknown == nil {
		giveBack(file)
	}
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("find the %s service of %s: %w", f.protocol, address, ctx.Err())
	}
	if err != nil {
		return err
	}
	return a.concludeDiscover(r, f)
}

// loadIncomplete reads a configuration that need not name a server yet. Without a file the defaults hold, unless one was
// named.
func (a *app) loadIncomplete(user bool) (*config.Config, error) {
	role := a.role(user)
	path := a.configPath(role)
	c, err := config.LoadIncomplete(path, role, checks()...)
	if errors.Is(err, config.ErrNotFound) && a.config == "" {
		return config.Default(role), nil
	}
	if err != nil {
		return nil, &exitError{status: exitConfig, err: err, hint: configHint(err, path)}
	}
	return c, nil
}

// discoverClients makes the clients that ask, without a credential and with one where there is one.
func (a *app) discoverClients(ctx context.Context, c *autodiscover.Client, cfg *config.Config, f discoverFlags) error {
	x := cfg.Exchange
	plain := httpauth.Options{CAFile: x.CAFile, CAOnly: x.CAOnly, Dial: a.network.dial}
	if f.caFile != "" {
		plain.CAFile = f.caFile
	}
	var err error
	if c.Anonymous, err = httpauth.NewAnonymous(plain); err != nil || !hasCredential(cfg) {
		return err
	}
	// The secrets are read when a server asks for them; most need none.
	c.SignIn = func(base string) (*http.Client, error) {
		o, err := httpOptions(cfg)
		if err != nil {
			return nil, err
		}
		// One that sync leaves alone is not shown here either.
		if o.LockoutFile = refusalsFile(cfg); x.URL != "" {
			if err := httpauth.LockedOut(ctx, o); err != nil {
				return nil, err
			}
		}
		// The count is not that of sync: a host of Autodiscover that refuses a good credential must not keep the daemon
		// from Exchange.
		if o.LockoutFile, err = discoverRefusals(cfg); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(o.LockoutFile), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder that remembers refused credentials: %w", err)
		}
		o.LockoutScope = "discover"
		o.URL, o.CAFile, o.Dial = base, plain.CAFile, plain.Dial
		if base != "https://"+hostOf(x.URL) {
			o.Kerberos.Service = "" // the configured one is that of exchange.url
		}
		if err := httpauth.LockedOut(ctx, o); err != nil {
			return nil, err
		}
		return httpauth.New(o)
	}
	return nil
}

// discoverRefusals is the file that remembers refused credentials from one search to the next.
func discoverRefusals(cfg *config.Config) (string, error) {
	const name = "discover-refusals"
	if info, err := os.Stat(cfg.Cache.Dir); err == nil && info.IsDir() && syscall.Access(cfg.Cache.Dir, 2) == nil {
		return filepath.Join(cfg.Cache.Dir, name), nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification has relative ones ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find a folder that remembers refused credentials: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "galsyncd", name), nil
}

// hasCredential reports whether [exchange.auth] says how to sign in.
func hasCredential(cfg *config.Config) bool {
	switch auth := cfg.Exchange.Auth; auth.Method {
	case "ntlm", "basic":
		return auth.Username != "" && auth.PasswordFile != ""
	case "kerberos":
		return auth.KeytabFile != "" || auth.CredentialCache != ""
	case "oauth2":
		return auth.ClientID != "" || auth.AccessTokenFile != "" || len(auth.AccessTokenCommand) > 0
	}
	return false
}

// discovery is the document of --json.
type discovery struct {
	Protocol string `json:"protocol"`
	*autodiscover.Result
	// Configuration are the lines to paste; empty when nothing was found.
	Configuration string `json:"configuration"`
}

func (a *app) concludeDiscover(r *autodiscover.Result, f discoverFlags) error {
	d := discovery{Protocol: f.protocol, Result: r}
	if r.URL != "" {
		d.Configuration = exchangeLines(f, r.URL)
	}
	if !a.json {
		for _, t := range r.Attempts {
			a.say("  %s %s: %s", t.Way, t.URL, t.Outcome)
		}
	}
	if err := a.print(d, func(w io.Writer) { printDiscovery(w, &d) }); err != nil {
		return err
	}
	const tried = "find the %s service of %s: %s"
	u, _ := url.Parse(r.URL) // Discover gives what can be parsed
	switch {
	case r.URL != "" && r.Outside:
		a.say("warning: %s is outside of the domain of %s; a server of that domain named it, check that it is yours", u.Hostname(), r.Address)
		return nil
	case r.URL != "":
		return nil
	case r.Refused:
		return &exitError{status: exitNotAllowed, err: fmt.Errorf(tried, f.protocol, r.Address, "the credential was refused"), hint: "check [exchange.auth]; nothing more was tried with it, so that the account is not locked"}
	case !r.Answered:
		return &exitError{status: exitNoService, err: fmt.Errorf(tried, f.protocol, r.Address, "no server could be reached"), hint: "check the network and the address; --allow HOST asks a server by name"}
	}
	return &exitError{status: exitNotFound, err: fmt.Errorf(tried, f.protocol, r.Address, "no server named it"),
		hint: "ask the administrator of Exchange for the address, and write it into exchange.url; --allow HOST asks a server by name"}
}

// exchangeLines are the lines for the configuration.
func exchangeLines(f discoverFlags, found string) string {
	lines := "[exchange]\nprotocol = " + strconv.Quote(f.protocol) + "\nurl = " + strconv.Quote(found) + "\n"
	if f.caFile != "" {
		if full, err := filepath.Abs(f.caFile); err == nil {
			lines += "ca_file = " + strconv.Quote(full) + "\n"
		}
	}
	return lines
}

func printDiscovery(w io.Writer, d *discovery) {
	if d.URL == "" {
		return
	}
	last := d.Attempts[len(d.Attempts)-1]
	fmt.Fprintf(w, "# named by %s\n%s", cmp.Or(last.URL, string(last.Way)), d.Configuration)
	for _, other := range d.Others {
		fmt.Fprintf(w, "# also named: %s\n", other)
	}
}
