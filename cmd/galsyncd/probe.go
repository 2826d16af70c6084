package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/ews"
	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/probe"
)

func (a *app) probe() *cobra.Command {
	var user bool
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "ask the configured Exchange what it really returns, for a bug report",
		Long: fmt.Sprintf("Asks the configured server at most %d questions, at the pace of sync.requests_per_second, and prints what its\n"+
			"answers look like. It only reads, with the credential and the lock-out rules of every other request, and needs\n"+
			"no daemon. The questions are:\n\n"+
			"  a TLS handshake that offers HTTP/2; one request without a credential; a search in three versions of EWS;\n"+
			"  the entries whose addresses begin with a letter, up to six letters, one of them with all properties;\n"+
			"  a whole address, its beginning, its middle, in upper case, with = and without smtp:, and an unknown one;\n"+
			"  smtp: alone, and six names that no entry has (\"-\" and the like);\n"+
			"  the members of one group and of an unknown one; the list of personal contacts, and 50 of them.\n\n"+
			"With ActiveSync it is the handshake, the request without a credential, and OPTIONS: more would make a device.\n\n"+
			"The report has numbers, response codes and forms. Names, addresses, hosts and certificates are not in it. It says\n"+
			"what could not be found out.\n\n"+
			"The exit status is 0 when the server answered, 69 when there was no usable answer, 77 when the credential was\n"+
			"refused; the report is printed all the same.", probe.MaxRequests),
		Args: positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(a.runProbe(cmd.Context(), user)) },
	}
	cmd.Flags().BoolVar(&user, "user", false, "with the user's configuration")
	return cmd
}

func (a *app) runProbe(ctx context.Context, user bool) error {
	cfg, err := a.load(a.role(user))
	if err != nil {
		return err
	}
	x := cfg.Exchange
	if x.URL == "" {
		return &exitError{status: exitConfig, err: errors.New("probe: no Exchange server is configured"), hint: a.sourceHint(cfg, "probe")}
	}
	refusals := probeRefusals(cfg)
	client, err := newHTTP(cfg, refusals)
	if err != nil {
		return &exitError{status: exitConfig, err: err, hint: hintOf(err)}
	}
	defer client.CloseIdleConnections()
	defer giveBack(refusals)
	p := &probe.Probe{URL: x.URL, Program: "galsyncd " + version, UserAgent: x.UserAgent, Interval: time.Duration(float64(time.Second) / cfg.Sync.RequestsPerSecond)}
	p.NewClient = func(version string, observe func(ews.Observation)) *ews.Client {
		return &ews.Client{URL: x.URL, HTTP: client, UserAgent: x.UserAgent, Mailbox: x.Mailbox, Version: version, Observe: observe}
	}
	if x.Protocol == "eas" {
		p.ActiveSync = client
	}
	if err := probeTLS(p, cfg); err != nil {
		return &exitError{status: exitConfig, err: err, hint: hintOf(err)}
	}
	report, err := p.Run(ctx)
	if printed := a.print(report, report.Text); printed != nil {
		return printed
	}
	switch {
	case errors.Is(err, probe.ErrRefused):
		return &exitError{status: exitNotAllowed, err: fmt.Errorf("probe %s: %w", hostOf(x.URL), err), hint: "check exchange.auth; galsyncd status tells when it is tried again"}
	case errors.Is(err, probe.ErrUnreachable):
		return &exitError{status: exitNoService, err: fmt.Errorf("probe %s: %w", hostOf(x.URL), err), hint: "the report says what was not asked, and why"}
	}
	return err
}

func hostOf(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Host
	}
	return "the server"
}

// probeTLS adds what looks at the connection, which plain http does not have.
func probeTLS(p *probe.Probe, cfg *config.Config) error {
	opts, err := httpOptions(cfg)
	if err != nil {
		return err
	}
	if u, err := url.Parse(opts.URL); err != nil || u.Scheme != "https" {
		return nil
	}
	anonymous, err := httpauth.NewAnonymous(opts)
	if err != nil {
		return err
	}
	p.Anonymous = &http.Client{Transport: anonymous.Transport, CheckRedirect: anonymous.CheckRedirect}
	p.Handshake = func(ctx context.Context) (tls.ConnectionState, error) { return httpauth.Handshake(ctx, opts) }
	return nil
}

// probeRefusals is the daemon's memory of refused credentials; empty where there is no cache yet.
func probeRefusals(cfg *config.Config) string {
	if info, err := os.Stat(cfg.Cache.Dir); err != nil || !info.IsDir() {
		return ""
	}
	return refusalsFile(cfg)
}

// giveBack hands a file that root wrote to the owner of its folder, who is the user of the daemon and could not read it
// otherwise.
func giveBack(path string) {
	if path == "" || os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = os.Lchown(path, int(owner.Uid), int(owner.Gid)) // as a rule it is not there
	}
}
