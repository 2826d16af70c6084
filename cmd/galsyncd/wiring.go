package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/eas"
	"github.com/galsyncd/galsyncd/ews"
	"github.com/galsyncd/galsyncd/internal/aia"
	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/trust"
)

// logger writes what happens from a level on to standard error. Under systemd the journal has the time already.
func (a *app) logger(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if a.verbose {
		opts.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		}
	}
	return slog.New(slog.NewTextHandler(a.err, opts))
}

// newSource makes the source that the configuration names; nil without an error when it names none.
func newSource(cfg *config.Config, log *slog.Logger) (directory.Source, error) {
	return makeSource(cfg, log, refusalsFile(cfg))
}

// deviceFile holds the ActiveSync device identifier. It is no part of the cache, which may be fetched again at any time.
func deviceFile(cfg *config.Config) string { return filepath.Join(cfg.Cache.Dir, "exchange-device") }

// refusalsFile remembers refused credentials.
func refusalsFile(cfg *config.Config) string {
	return filepath.Join(cfg.Cache.Dir, "exchange-refusals")
}

// makeSource is newSource with the file that remembers refused credentials; without one, no file is made at all.
func makeSource(cfg *config.Config, log *slog.Logger, refusals string) (directory.Source, error) {
	x := cfg.Exchange
	if x.URL == "" {
		return nil, nil
	}
	client, err := newHTTP(cfg, refusals)
	if err != nil {
		return nil, &exitError{status: exitConfig, err: err, hint: hintOf(err)}
	}
	if x.Protocol == "eas" {
		c, err := newEAS(cfg, log, client, refusals)
		if err != nil {
			return nil, &exitError{status: exitConfig, err: err, hint: hintOf(err)}
		}
		return c, nil
	}
	return &ews.Client{URL: x.URL, HTTP: client, UserAgent: x.UserAgent, Mailbox: x.Mailbox, Logger: log}, nil
}

// newEAS makes the ActiveSync client.
func newEAS(cfg *config.Config, log *slog.Logger, client *http.Client, refusals string) (*eas.Client, error) {
	x := cfg.Exchange
	c := &eas.Client{URL: x.URL, HTTP: client, UserAgent: x.UserAgent, Username: x.Auth.Username, PlainQuery: x.EAS.Query == "plain",
		AcceptContacts: x.EAS.AcceptContacts, CheckRevocation: x.EAS.CheckRevocation, PolicyMet: x.EAS.PolicyMet, Logger: log}
	if x.EAS.Version != "auto" {
		c.Version = x.EAS.Version
	}
	c.Follow = func(url string) (*http.Client, error) {
		opts, err := httpOptions(cfg)
		if err != nil {
			return nil, err
		}
		if opts.URL = url; opts.Method != httpauth.None && refusals != "" {
			opts.LockoutFile = refusals + "-elsewhere"
		}
		return httpauth.New(opts)
	}
	if refusals == "" {
		return c, nil
	}
	var err error
	c.DeviceID, err = eas.DeviceID(deviceFile(cfg))
	return c, err
}

// devicePolicy tells what the server demands of this device; nil with a protocol that has no policies.
func devicePolicy(source directory.Source) func() *service.DevicePolicy {
	c, ok := source.(*eas.Client)
	if !ok {
		return nil
	}
	named := func(settings []eas.Setting) map[string]string {
		m := map[string]string{}
		for _, s := range settings {
			m[s.Name] = s.Value
		}
		return m
	}
	return func() *service.DevicePolicy {
		p := c.Policy()
		if p == nil {
			return nil
		}
		return &service.DevicePolicy{SMIME: named(p.SMIME), Demands: named(p.Demands), Unmet: append([]string{}, p.Unmet...),
			Acknowledged: p.Acknowledged, Fetched: p.Fetched}
	}
}

// openCache opens the cache. One that is damaged or of another schema is set aside, and said so: it is a copy.
func openCache(cfg *config.Config, say func(string, ...any)) (c *cache.Cache, notes []string, err error) {
	dir := cfg.Cache.Dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, nil, &exitError{status: exitNotAllowed, err: fmt.Errorf("make the cache folder: %w", err), hint: "set cache.dir to a folder of this user"}
	}
	c, err = cache.Open(dir)
	switch {
	case err == nil:
		return c, nil, nil
	case errors.Is(err, cache.ErrInUse):
		return nil, nil, &exitError{status: exitTryAgain, err: err, hint: "galsyncd status says what runs; galsyncd sync has a running daemon fetch"}
	case !errors.Is(err, cache.ErrDamaged) && !errors.Is(err, cache.ErrNewerSchema) && !errors.Is(err, cache.ErrOlderSchema):
		return nil, nil, &exitError{status: cacheStatus(err), err: err, hint: "cache.dir must be a folder of this user's own, with room on the disk"}
	}
	aside, asideErr := cache.SetAside(dir)
	if asideErr != nil {
		return nil, nil, errors.Join(err, asideErr)
	}
	note := fmt.Sprintf("%s; it was set aside as %s, and the address book is fetched again", strings.TrimPrefix(err.Error(), "open "), aside)
	say("warning: %s", note)
	c, err = cache.Open(dir)
	return c, []string{note}, err
}

// cacheStatus is the exit status for a cache that could not be opened, whatever is in it.
func cacheStatus(err error) int {
	if status := statusOf(err); status != exitSoftware {
		return status
	}
	return exitConfig
}

func newSync(cfg *config.Config, source directory.Source, store directory.Store, log *slog.Logger) directory.Sync {
	s := directory.Sync{Source: source, Store: store, Pace: directory.NewPace(cfg.Sync.RequestsPerSecond), KnownOnly: !cfg.Sync.FullGAL,
		MaxRequests: cfg.Sync.MaxRequests, MaxDuration: cfg.Sync.MaxDuration, Logger: log}
	if c, ok := source.(*eas.Client); ok {
		c.Memory = directory.SourceMemory{Store: store, Name: c.Name()}
		c.Contacts = cfg.Sync.Contacts && !c.AcceptContacts
		s.Contacts = c.Contacts
	}
	if _, able := source.(directory.ContactSource); able {
		s.Contacts = cfg.Sync.Contacts
	}
	s.MaxRemovals = max(cfg.Sync.MaxRemovals, 1e-9) // 0 % is less than anything; zero would be the default
	if u, err := url.Parse(cfg.Exchange.URL); err == nil {
		s.Server = strings.ToLower(u.Host)
	}
	for _, text := range cfg.Sync.Addresses {
		if a, err := directory.ParseAddress(text); err == nil { // config has checked them
			s.Addresses = append(s.Addresses, a)
		}
	}
	return s
}

// newPolicy reads the trust anchors.
func newPolicy(cfg *config.Config) (*trust.Policy, error) {
	anchors, n, err := cfg.Anchors()
	if err != nil {
		return nil, &exitError{status: exitConfig, err: err}
	}
	return &trust.Policy{Anchors: anchors, AnchorCount: n, AcceptDirectory: cfg.Trust.GAL == "accept"}, nil
}

// authorities makes the client that asks the servers of authorities.
func authorities(cfg *config.Config) (*revocation.Client, error) {
	t := cfg.Trust
	c, err := revocation.NewClient(revocation.ClientOptions{Allow: t.RevocationAllow, Proxy: t.Proxy, MaxSize: t.RevocationMaxSize, Agent: "galsyncd"})
	if err != nil {
		return nil, &exitError{status: exitConfig, err: cfg.Problem("trust.revocation_allow", "%v", err)}
	}
	return c, nil
}

// newIssuers makes what fetches certificates of authorities and ties it to the policy; nil when it is switched off.
func newIssuers(cfg *config.Config, policy *trust.Policy, store revocation.Store, log *slog.Logger) (*aia.Service, error) {
	if !cfg.Trust.AIA {
		return nil, nil
	}
	c, err := authorities(cfg)
	if err != nil {
		return nil, err
	}
	s := &aia.Service{Store: store, Client: c, Anchored: policy.Anchored, Log: log}
	s.Restore()
	policy.Issuers = s
	return s, nil
}

// newRevocation makes what knows about revocations and ties it to the policy; nil when it is switched off.
func newRevocation(cfg *config.Config, policy *trust.Policy, store revocation.Store, log *slog.Logger) (*revocation.Service, error) {
	if cfg.Trust.Revocation == "off" {
		return nil, nil
	}
	c, err := authorities(cfg)
	if err != nil {
		return nil, err
	}
	s := &revocation.Service{Store: store, OCSP: cfg.Trust.Revocation == "ocsp", Client: c, Log: log}
	policy.Revocations, policy.RevocationRequired = s, cfg.Trust.RevocationRequired
	return s, nil
}
