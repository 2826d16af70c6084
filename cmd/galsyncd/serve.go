package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/config"
	rooms "github.com/galsyncd/galsyncd/internal/daemon"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/schedule"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

func (a *app) serve() *cobra.Command {
	var user bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the daemon",
		Long: "Runs the daemon until it is told to stop: the schedule and the socket. In the system role (without --user) it\n" +
			"serves look-ups and encryption to every local user and holds no private key. With --user it serves one user,\n" +
			"with that user's keyring.\n\n" +
			"After SIGHUP it starts again with the configuration as it is then, if that is in order; if not, it says why and goes\n" +
			"on as before. Requests wait meanwhile. A keyring that was open is locked then.",
		Args: positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(a.serveAndReload(cmd.Context(), user)) },
	}
	cmd.Flags().BoolVar(&user, "user", false, "the user's own daemon, with the user's keys")
	cmd.Flags().BoolVarP(&a.verbose, "verbose", "v", false, "log every request")
	return cmd
}

// runServe opens, builds, listens, waits and shuts down, in this order. It ends with errReload when changed, for which it waits
// too, was closed; the socket then stays open.
func (a *app) runServe(ctx context.Context, role config.Role, door *socket, changed <-chan struct{}) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cfg, err := a.load(role)
	if err != nil {
		return err
	}
	log := a.logger(slog.LevelInfo)
	if err := protectMemory(); err != nil {
		return err
	}

	// Open.
	policy, err := newPolicy(cfg)
	if err != nil {
		return err
	}
	copy, notes, err := openCache(cfg, a.say)
	if err != nil {
		return err
	}
	defer copy.Close()
	revoked, err := newRevocation(cfg, policy, copy, log)
	if err != nil {
		return err
	}
	issuers, err := newIssuers(cfg, policy, copy, log)
	if err != nil {
		return err
	}
	source, err := newSource(cfg, log)
	if err != nil {
		return err
	}
	// A keyring that cannot be used must not stop the public half.
	keys, keysErr := openKeyring(cfg)
	if keysErr == nil {
		defer keys.Close()
	} else if role == config.RoleSystem { // a user's keyring speaks for itself in the status
		notes = append(notes, fmt.Sprintf("certificates that were installed for everyone cannot be used: %v", keysErr))
	}

	// Build.
	shelf := &installed.Shelf{Store: keys, Policy: policy, Now: time.Now}
	extra := extraSources(shelf, role)
	own := rooms.Directory{Cache: copy}
	hasUpstream := upstreamSocket(cfg) != ""
	if cfg.Sync.Contacts && (source != nil || !hasUpstream) { // whoever has the address book
		own.Contacts = &rooms.Contacts{Cache: copy}
	}
	if !hasUpstream {
		own.Extra = extra
	}
	var dir service.Directory = own
	book := &recipients.Book{Directory: own, Policy: policy, Now: time.Now, WarnAfter: cfg.Cache.WarnAfter, RefuseAfter: cfg.Cache.RefuseAfter}
	runs := &rooms.Runs{Sync: newSync(cfg, source, copy, log), Log: log}
	status := &rooms.Status{Cache: copy, Book: book, Runs: runs, Contacts: runs.Sync.Contacts, URL: cfg.Exchange.URL, WarnAfter: cfg.Cache.WarnAfter, Notes: notes, Now: time.Now, Log: log}
	if source != nil {
		status.SignIn = func() (httpauth.Lockout, bool) { return httpauth.ReadLockout(refusalsFile(cfg), time.Now()) }
		status.Protocol, status.Policy = source.Name(), devicePolicy(source)
	}
	if up := upstreamSocket(cfg); up != "" {
		upstream := &rooms.Upstream{Client: &client.Client{Socket: up}, Own: own, Extra: extra,
			AcceptInstalled: cfg.Upstream.Installed == "accept", Syncs: source != nil, Optional: cfg.Upstream.Socket == "" && !exists(systemConfig)}
		dir, book.Directory = upstream, upstream
		status.Protocol, status.URL, status.Upstream = "upstream", up, upstream.Client
	}
	runs.After = func(directory.Report) { status.Recount(ctx) }
	if revoked != nil || issuers != nil {
		status.Revocations = &rooms.Revocations{Service: revoked, Issuers: issuers, Cache: copy, Book: book, Mode: cfg.Trust.Revocation, Required: cfg.Trust.RevocationRequired, Log: log}
		if keysErr == nil {
			status.Revocations.Keyring = keys
		}
		runs.After = func(directory.Report) {
			status.Revocations.Refresh(ctx)
			status.Recount(ctx)
		}
	}
	if runs.Loop, err = newLoop(cfg, runs, own, source != nil); err != nil {
		return err
	}
	history, _, _, err := copy.History(ctx)
	if err != nil {
		return err
	}
	runs.Restore(history)
	algorithms := &smime.AlgorithmPolicy{Cipher: smime.CipherPolicy(cfg.Encryption.Cipher), Split: cfg.Encryption.Mixed == "split"}
	encrypter := rooms.Encrypter{Book: book, Algorithms: algorithms}
	online := newOnline(cfg, runs, own, log)
	if upstreamSocket(cfg) != "" {
		online = nil // its answers would be kept where nobody looks
	}
	spool := rooms.Spool(cfg.Cache.Dir)
	verifier := rooms.Verifier{Policy: policy, Now: time.Now, MaxContent: cfg.Limits.MaxMessage, Directory: book.Directory}
	var certificates service.Certificates = rooms.NoCertificates{Err: keysErr}
	if keysErr == nil {
		installer := &installed.Installer{Shelf: shelf, Book: book, ForEveryone: role == config.RoleSystem}
		verifier.Installer = installer
		installer.Verify = verifier.Findings // with what was installed
		certificates = rooms.Certificates{Installer: installer, Directory: dir, Revocations: status.Revocations}
	}
	if keysErr == nil && role == config.RoleUser {
		encrypter.Signer = &rooms.Signer{Keys: newKeys(cfg, keys, policy, log), Now: time.Now}
		verifier.Capabilities = &rooms.Capabilities{Keyring: keys, Directory: dir, Log: log}
		algorithms.Capabilities = verifier.Capabilities.Of
	}
	server := &service.Server{
		Role: service.RoleSystem, Build: service.Build{Version: version}, Admins: cfg.Socket.Admins,
		Limits: service.Limits{MaxMessage: cfg.Limits.MaxMessage, PerUser: cfg.Limits.ConcurrentPerUser},
		Status: status, Syncer: runs, Recipients: book, Directory: dir, Encrypter: encrypter,
		Checker:  rooms.Checker{Cache: copy, Name: preciousName(role), Keyring: keys, KeyringErr: keysErr, KeyringPath: keyringPath(cfg)},
		Verifier: verifier, Certificates: certificates,
		Spool: func() (service.Spool, error) { return spool() },
		Log:   log,
	}
	switch {
	case online != nil:
		server.Online, server.OnlineOnMiss = online, cfg.Sync.OnlineOnMiss
	case status.Upstream != nil:
		server.Online, server.OnlineOnMiss = rooms.UpstreamOnline{Client: status.Upstream}, cfg.Sync.OnlineOnMiss
	}
	mode := service.SystemMode
	if role == config.RoleUser {
		server.Role, mode = service.RoleUser, service.UserMode
		encrypter.NoKeyring = keysErr
		server.Encrypter = encrypter
		if keysErr != nil {
			server.Recipients = rooms.WithoutKeyring{Recipients: book}
		}
		none := rooms.NoKeyring{Err: keysErr}
		server.Keyring, server.Decrypter, server.Signer = none, none, none
		if keysErr == nil {
			server.Keyring = rooms.Keyring{Keys: encrypter.Signer.Keys}
			decrypter := rooms.Decrypter{Keys: encrypter.Signer.Keys, Spool: spool, MaxContent: cfg.Limits.MaxMessage, Verifier: verifier}
			verifier.Installer.Decrypt = decrypter.Decrypted
			server.Decrypter = decrypter
			server.Signer = *encrypter.Signer
		}
	}

	// Listen.
	listener, err := door.listen(cfg.Socket.Path, mode)
	if err != nil {
		return listenFailure(err)
	}
	status.Recount(ctx) // also so that the chains of the first look-ups are known
	stopped := make(chan error, 1)
	var background sync.WaitGroup
	background.Go(func() { stopped <- server.Serve(listener) })
	background.Go(func() { runs.Loop.Serve(ctx) })
	if encrypter.Signer != nil {
		background.Go(func() { encrypter.Signer.Keys.Probe(ctx) })
	}
	if status.Revocations != nil {
		background.Go(func() { status.Revocations.Judge(ctx, false) }) // the entries are counted at the start
	}
	if revoked != nil {
		background.Go(func() { revoked.Serve(ctx, cmp.Or(a.fetchEvery, time.Minute)) })
	}
	if issuers != nil {
		background.Go(func() {
			issuers.Serve(ctx, cmp.Or(a.fetchEvery, time.Minute), func() {
				status.Revocations.Judge(ctx, true)
				status.Recount(ctx)
			})
		})
	}
	log.Info("serving", "role", cfg.Role, "socket", cfg.Socket.Path, "version", version)
	daemon.SdNotify(false, daemon.SdNotifyReady)

	// Wait, and shut down. A second signal ends the process at once: the context no longer catches it.
	notice := daemon.SdNotifyStopping
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case <-changed:
		log.Info("starting again with the configuration as it is now")
		err, notice = errReload, daemon.SdNotifyReloading
	case err = <-stopped:
	case <-broken(ctx, copy.Broken):
		err = &exitError{status: exitTryAgain, err: errors.New("the cache is damaged"), hint: "start again: the cache is set aside and fetched again"}
	}
	daemon.SdNotify(false, notice)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(patience))
	stop()
	background.Wait()
	return err
}

// listenFailure gives an error of the socket its exit status.
func listenFailure(err error) error {
	switch {
	case errors.Is(err, service.ErrInUse):
		return &exitError{status: exitTryAgain, err: err, hint: "one daemon is enough; galsyncd status asks it how it is"}
	case errors.Is(err, os.ErrPermission):
		return &exitError{status: exitNotAllowed, err: err, hint: "set socket.path to a path in a folder of this user"}
	}
	return &exitError{status: exitConfig, err: err, hint: hintOf(err)}
}

// broken closes its channel when the cache is found to be damaged at work.
func broken(ctx context.Context, damaged func() bool) <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if damaged() {
					close(ch)
					return
				}
			}
		}
	}()
	return ch
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

// protectMemory keeps keys and mail out of core dumps and away from debuggers of the same user (prctl(2)
// PR_SET_DUMPABLE).
func protectMemory() error {
	const prSetDumpable = 4
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return fmt.Errorf("protect the memory of the process: %w", errno)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	return nil
}
