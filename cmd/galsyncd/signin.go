package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/keyring"
)

// newHTTP makes the client for Exchange; refusals is the file that remembers refused credentials, empty for memory.
func newHTTP(cfg *config.Config, refusals string) (*http.Client, error) {
	opts, err := httpOptions(cfg)
	if err != nil {
		return nil, err
	}
	if opts.Method != httpauth.None {
		opts.LockoutFile = refusals
	}
	return httpauth.New(opts)
}

// httpOptions are what the configuration says about the server and the sign-in. Secrets are read now, so that a missing
// file is an error of the start, and again for each use, so that a change counts.
func httpOptions(cfg *config.Config) (httpauth.Options, error) {
	x := cfg.Exchange
	opts := httpauth.Options{URL: x.URL, CAFile: x.CAFile, CAOnly: x.CAOnly, Method: httpauth.Method(x.Auth.Method), Username: x.Auth.Username}
	var err error
	switch opts.Method {
	case httpauth.NTLM, httpauth.Basic:
		if x.Auth.PasswordFile != "" {
			opts.Password, err = secret(cfg, "exchange.auth.password_file", x.Auth.PasswordFile)
		}
	case httpauth.Kerberos:
		opts.Kerberos = httpauth.KerberosOptions{Keytab: x.Auth.KeytabFile, CredentialCache: x.Auth.CredentialCache, Config: x.Auth.Krb5Config, Service: x.Auth.ServicePrincipal}
	case httpauth.OAuth2:
		opts.OAuth, err = oauthOptions(cfg)
	}
	if x.ClientCertFile != "" {
		opts.ClientCertificate = httpauth.ClientCertificate{File: x.ClientCertFile, KeyFile: x.ClientKeyFile, DecodePFX: keyring.DecodePFX}
		if x.ClientCertPassphraseFile != "" {
			passphrase, failure := secret(cfg, "exchange.client_cert_passphrase_file", x.ClientCertPassphraseFile)
			opts.ClientCertificate.Passphrase, err = passphrase, errors.Join(err, failure)
		}
	}
	return opts, err
}

func oauthOptions(cfg *config.Config) (httpauth.OAuthOptions, error) {
	a := cfg.Exchange.Auth
	o := httpauth.OAuthOptions{TokenURL: a.TokenURL, DeviceURL: a.DeviceURL, ClientID: a.ClientID, Scopes: a.Scopes,
		RefreshTokenFile: a.TokenFile, AccessTokenFile: a.AccessTokenFile, AccessTokenCommand: a.AccessTokenCommand}
	if a.Tenant != "" {
		o.TokenURL, o.DeviceURL = httpauth.EntraEndpoints(a.Tenant)
	}
	var err error
	if a.ClientSecretFile != "" {
		o.ClientSecret, err = secret(cfg, "exchange.auth.client_secret_file", a.ClientSecretFile)
	}
	if o.RefreshTokenFile == "" && o.ClientSecret == nil && o.AccessTokenFile == "" && len(o.AccessTokenCommand) == 0 {
		o.RefreshTokenFile = filepath.Join(cfg.Cache.Dir, "exchange-sign-in")
	}
	return o, err
}

// secret returns what reads the secret that a key names anew each time.
func secret(cfg *config.Config, key, name string) (func() ([]byte, error), error) {
	read := func() ([]byte, error) {
		text, err := cfg.Secret(name)
		if err != nil {
			return nil, cfg.Problem(key, "%v", err)
		}
		return []byte(text), nil
	}
	_, err := read()
	return read, err
}

func (a *app) auth() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "sign in at the authorization server",
		RunE:  needsCommand,
	}
	cmd.AddCommand(a.authLogin())
	return cmd
}

func (a *app) authLogin() *cobra.Command {
	var user bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "sign in once for method oauth2, with a code on another device",
		Long: "Shows an address and a code for the browser of any device, waits until somebody has signed in there, and keeps the\n" +
			"refresh token in exchange.auth.token_file, readable for this user alone. Run it as the user of the daemon.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(a.runLogin(cmd.Context(), user)) },
	}
	cmd.Flags().BoolVar(&user, "user", false, "with the user's configuration")
	return cmd
}

func (a *app) runLogin(ctx context.Context, user bool) error {
	cfg, err := a.load(a.role(user))
	if err != nil {
		return err
	}
	if cfg.Exchange.Auth.Method != "oauth2" {
		return &exitError{status: exitConfig, err: errors.New("sign in: exchange.auth.method is not \"oauth2\""), hint: "the other methods need no sign-in by hand"}
	}
	opts, err := httpOptions(cfg)
	if err != nil {
		return &exitError{status: exitConfig, err: err}
	}
	err = httpauth.DeviceLogin(ctx, opts, func(p httpauth.DevicePrompt) {
		a.say("open %s and enter the code %s", p.Address, p.Code)
		a.say("hint: the code is good until %s", clock(p.Expires))
	})
	if err != nil {
		return &exitError{status: exitNoService, err: err, hint: hintOf(err)}
	}
	a.say("signed in")
	return nil
}
