package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/aia"
	"github.com/galsyncd/galsyncd/internal/config"
	rooms "github.com/galsyncd/galsyncd/internal/daemon"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/schedule"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// house is what a daemon is made of, for one configuration.
type house struct {
	cfg *config.Config
	log *slog.Logger

	// Opened.
	policy  *trust.Policy
	store   *cache.Cache
	notes   []string
	revoked *revocation.Service // nil when nobody is to be asked
	issuers *aia.Service        // nil when nobody is to be asked
	source  directory.Source    // nil without an Exchange server
	keys    *keyring.Keyring    // nil when keysErr says why
	keysErr error

	// Built of these.
	shelf     *installed.Shelf
	own       rooms.Directory   // the local copy
	dir       service.Directory // where look-ups go: own, or the system's daemon
	book      *recipients.Book
	runs      *rooms.Runs
	status    *rooms.Status
	encrypter rooms.Encrypter
	verifier  rooms.Verifier
	server    *service.Server
}

// open opens the files. What is open when it fails, close closes.
func (h *house) open(say func(string, ...any)) (err error) {
	cfg := h.cfg
	if h.policy, err = newPolicy(cfg); err != nil {
		return err
	}
	if h.store, h.notes, err = openCache(cfg, say); err != nil {
		return err
	}
	if h.revoked, err = newRevocation(cfg, h.policy, h.store, h.log); err != nil {
		return err
	}
	if h.issuers, err = newIssuers(cfg, h.policy, h.store, h.log); err != nil {
		return err
	}
	if h.source, err = newSource(cfg, h.log); err != nil {
		return err
	}
	// A keyring that cannot be used must not stop the public half. A user's speaks for itself in the status.
	if h.keys, h.keysErr = openKeyring(cfg); h.keysErr != nil && cfg.Role == config.RoleSystem {
		h.notes = append(h.notes, fmt.Sprintf("certificates that were installed for everyone cannot be used: %v", h.keysErr))
	}
	return nil
}

func (h *house) close() {
	if h.keys != nil && h.keysErr == nil {
		_ = h.keys.Close()
	}
	if h.store != nil {
		_ = h.store.Close()
	}
}

// build makes the rooms, those first that others need.
func (h *house) build(ctx context.Context) error {
	h.buildDirectory()
	if err := h.buildRuns(ctx); err != nil {
		return err
	}
	h.buildMail()
	h.buildServer()
	return nil
}

// buildDirectory makes the sources of look-ups.
func (h *house) buildDirectory() {
	cfg := h.cfg
	h.shelf = &installed.Shelf{Store: h.keys, Policy: h.policy, Now: time.Now}
	extra := extraSources(h.shelf, cfg.Role)
	h.own = rooms.Directory{Cache: h.store}
	up := upstreamSocket(cfg)
	if cfg.Sync.Contacts && (h.source != nil || up == "") { // whoever has the address book
		h.own.Contacts = &rooms.Contacts{Cache: h.store}
	}
	h.book = &recipients.Book{Policy: h.policy, Now: time.Now, WarnAfter: cfg.Cache.WarnAfter, RefuseAfter: cfg.Cache.RefuseAfter}
	if up == "" {
		h.own.Extra = extra
		h.dir, h.book.Directory = h.own, h.own
		return
	}
	upstream := &rooms.Upstream{Client: &client.Client{Socket: up}, Own: h.own, Extra: extra,
		AcceptInstalled: cfg.Upstream.Installed == "accept", Syncs: h.source != nil, Optional: cfg.Upstream.Socket == "" && !exists(systemConfig)}
	h.dir, h.book.Directory = upstream, upstream
}

// buildRuns makes the syncs, their schedule and the status.
func (h *house) buildRuns(ctx context.Context) (err error) {
	cfg := h.cfg
	h.runs = &rooms.Runs{Sync: newSync(cfg, h.source, h.store, h.log), Log: h.log}
	h.status = &rooms.Status{Cache: h.store, Book: h.book, Runs: h.runs, Contacts: h.runs.Sync.Contacts, URL: cfg.Exchange.URL,
		WarnAfter: cfg.Cache.WarnAfter, Notes: h.notes, Now: time.Now, Log: h.log}
	if h.source != nil {
		h.status.SignIn = func() (httpauth.Lockout, bool) { return httpauth.ReadLockout(refusalsFile(cfg), time.Now()) }
		h.status.Protocol, h.status.Policy = h.source.Name(), devicePolicy(h.source)
	}
	if up, ok := h.dir.(*rooms.Upstream); ok {
		h.status.Protocol, h.status.URL, h.status.Upstream = "upstream", up.Client.Socket, up.Client
	}
	h.runs.After = func(directory.Report) { h.status.Recount(ctx) }
	if h.revoked != nil || h.issuers != nil {
		h.status.Revocations = &rooms.Revocations{Service: h.revoked, Issuers: h.issuers, Cache: h.store, Book: h.book,
			Mode: cfg.Trust.Revocation, Required: cfg.Trust.RevocationRequired, Log: h.log}
		if h.keysErr == nil {
			h.status.Revocations.Keyring = h.keys
		}
		h.runs.After = func(directory.Report) {
			h.status.Revocations.Refresh(ctx)
			h.status.Recount(ctx)
		}
	}
	if h.runs.Loop, err = newLoop(cfg, h.runs, h.own, h.source != nil); err != nil {
		return err
	}
	history, _, _, err := h.store.History(ctx)
	if err != nil {
		return err
	}
	h.runs.Restore(history)
	return nil
}

// buildMail makes what works on mail.
func (h *house) buildMail() {
	cfg := h.cfg
	algorithms := &smime.AlgorithmPolicy{Cipher: smime.CipherPolicy(cfg.Encryption.Cipher), Split: cfg.Encryption.Mixed == "split"}
	h.encrypter = rooms.Encrypter{Book: h.book, Algorithms: algorithms}
	h.verifier = rooms.Verifier{Policy: h.policy, Now: time.Now, MaxContent: cfg.Limits.MaxMessage, Directory: h.book.Directory}
	if h.keysErr != nil {
		return
	}
	h.verifier.Installer = &installed.Installer{Shelf: h.shelf, Book: h.book, ForEveryone: cfg.Role == config.RoleSystem}
	h.verifier.Installer.Verify = h.verifier.Findings // with what was installed
	if cfg.Role == config.RoleUser {
		h.encrypter.Signer = &rooms.Signer{Keys: newKeys(cfg, h.keys, h.policy, h.log), Now: time.Now}
		h.verifier.Capabilities = &rooms.Capabilities{Keyring: h.keys, Directory: h.dir, Log: h.log}
		algorithms.Capabilities = h.verifier.Capabilities.Of
	}
}

// buildServer makes the service.
func (h *house) buildServer() {
	cfg := h.cfg
	spool := rooms.Spool(cfg.Cache.Dir)
	var certificates service.Certificates = rooms.NoCertificates{Err: h.keysErr}
	if h.keysErr == nil {
		certificates = rooms.Certificates{Installer: h.verifier.Installer, Directory: h.dir, Revocations: h.status.Revocations}
	}
	h.server = &service.Server{
		Role: service.RoleSystem, Build: service.Build{Version: version}, Admins: cfg.Socket.Admins,
		Limits: service.Limits{MaxMessage: cfg.Limits.MaxMessage, PerUser: cfg.Limits.ConcurrentPerUser},
		Status: h.status, Syncer: h.runs, Recipients: h.book, Directory: h.dir, Encrypter: h.encrypter,
		Checker:  rooms.Checker{Cache: h.store, Name: preciousName(cfg.Role), Keyring: h.keys, KeyringErr: h.keysErr, KeyringPath: keyringPath(cfg)},
		Verifier: h.verifier, Certificates: certificates,
		Spool: func() (service.Spool, error) { return spool() },
		Log:   h.log,
	}
	switch online := newOnline(cfg, h.runs, h.own, h.log); {
	case h.status.Upstream != nil: // what an own account answers would be kept where nobody looks
		h.server.Online, h.server.OnlineOnMiss = rooms.UpstreamOnline{Client: h.status.Upstream}, cfg.Sync.OnlineOnMiss
	case online != nil:
		h.server.Online, h.server.OnlineOnMiss = online, cfg.Sync.OnlineOnMiss
	}
	if cfg.Role == config.RoleUser {
		h.addKeys(spool)
	}
}

// addKeys adds what a user's daemon does with the user's keys.
func (h *house) addKeys(spool func() (cms.Spool, error)) {
	h.server.Role = service.RoleUser
	if h.keysErr != nil {
		none := rooms.NoKeyring{Err: h.keysErr}
		h.encrypter.NoKeyring = h.keysErr
		h.server.Encrypter, h.server.Recipients = h.encrypter, rooms.WithoutKeyring{Recipients: h.book}
		h.server.Keyring, h.server.Decrypter, h.server.Signer = none, none, none
		return
	}
	keys := h.encrypter.Signer.Keys
	decrypter := rooms.Decrypter{Keys: keys, Spool: spool, MaxContent: h.cfg.Limits.MaxMessage, Verifier: h.verifier}
	h.verifier.Installer.Decrypt = decrypter.Decrypted
	h.server.Keyring, h.server.Decrypter, h.server.Signer = rooms.Keyring{Keys: keys}, decrypter, *h.encrypter.Signer
}

// work does until the end of ctx what nobody asks for: counting, the schedule, and fetching every so often what chains and
// revocation need.
func (h *house) work(ctx context.Context, background *sync.WaitGroup, every time.Duration) {
	h.status.Recount(ctx) // also so that the chains of the first look-ups are known
	background.Go(func() { h.runs.Loop.Serve(ctx) })
	if h.encrypter.Signer != nil {
		background.Go(func() { h.encrypter.Signer.Keys.Probe(ctx) })
	}
	if h.status.Revocations != nil {
		background.Go(func() { h.status.Revocations.Judge(ctx, false) }) // the entries are counted at the start
	}
	if h.revoked != nil {
		background.Go(func() { h.revoked.Serve(ctx, every) })
	}
	if h.issuers != nil {
		background.Go(func() {
			h.issuers.Serve(ctx, every, func() {
				h.status.Revocations.Judge(ctx, true)
				h.status.Recount(ctx)
			})
		})
	}
}

func newLoop(cfg *config.Config, runs *rooms.Runs, dir rooms.Directory, hasSource bool) (*schedule.Loop, error) {
	loop := &schedule.Loop{Run: runs.Run, Jitter: cfg.Sync.Jitter, Seed: machineID(), LastSuccess: func() time.Time {
		t, _ := dir.LastSuccess(context.Background()) // zero on an error: a run is then due
		return t
	}}
	if !hasSource {
		return loop, nil
	}
	spec, err := schedule.Parse(cfg.Sync.Schedule)
	if err != nil {
		return nil, &exitError{status: exitConfig, err: cfg.Problem("sync.schedule", "%v", err)}
	}
	loop.Spec = spec
	return loop, nil
}

// machineID makes the jitter of this machine its own and stable.
func machineID() string {
	b, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		host, _ := os.Hostname()
		return host
	}
	return strings.TrimSpace(string(b))
}

// newOnline makes look-ups that ask Exchange; nil without one.
func newOnline(cfg *config.Config, runs *rooms.Runs, own rooms.Directory, log *slog.Logger) *rooms.Online {
	if runs.Sync.Source == nil {
		return nil
	}
	return &rooms.Online{Sync: &runs.Sync, Known: own.Cache, Timeout: cfg.Sync.OnlineTimeout, Log: log}
}

// upstreamSocket is where a user's daemon takes its data from: what is configured, or without an Exchange server of its
// own the system's daemon. Empty for others.
func upstreamSocket(cfg *config.Config) string {
	if cfg.Role != config.RoleUser || cfg.Exchange.URL != "" && cfg.Upstream.Socket == "" {
		return ""
	}
	return cmp.Or(cfg.Upstream.Socket, client.SystemSocket)
}

// keyringPath is the precious file: the keyring of a user, or in the system role what was installed for everyone.
func keyringPath(cfg *config.Config) string {
	if cfg.Role == config.RoleUser {
		return filepath.Join(cfg.Keyring.Dir, keyring.FileName)
	}
	return filepath.Join(cfg.Cache.Dir, keyring.InstalledFileName)
}

func preciousName(role config.Role) string {
	if role == config.RoleUser {
		return "keyring"
	}
	return "installed"
}

// openKeyring opens it; the system's has no room for keys.
func openKeyring(cfg *config.Config) (*keyring.Keyring, error) {
	return keyring.Open(keyringPath(cfg), &keyring.Options{CertificatesOnly: cfg.Role != config.RoleUser})
}

// extraSources are those beside the address book; a store that could not be opened is none.
func extraSources(shelf *installed.Shelf, role config.Role) []recipients.Extra {
	switch {
	case shelf.Store == nil:
		return nil
	case role == config.RoleUser:
		return []recipients.Extra{shelf, &rooms.Own{Keyring: shelf.Store}}
	}
	return []recipients.Extra{shelf}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// newKeys says how long the user's keyring stays open, and where its passphrase is.
func newKeys(cfg *config.Config, keys *keyring.Keyring, policy *trust.Policy, log *slog.Logger) *rooms.Keys {
	k := &rooms.Keys{Keyring: keys, Now: time.Now, UnlockFor: cfg.Keyring.UnlockFor, Policy: policy, Log: log}
	if name := cfg.Keyring.PassphraseFile; name != "" {
		k.Passphrase = func() (string, error) { return cfg.Secret(name) }
	}
	return k
}
