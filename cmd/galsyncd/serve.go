package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/service"
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
	h := &house{cfg: cfg, log: log}
	defer h.close()
	if err := h.open(a.say); err != nil {
		return err
	}
	if err := h.build(ctx); err != nil {
		return err
	}
	mode := service.SystemMode
	if role == config.RoleUser {
		mode = service.UserMode
	}
	listener, err := door.listen(cfg.Socket.Path, mode)
	if err != nil {
		return listenFailure(err)
	}
	var background sync.WaitGroup
	stopped := make(chan error, 1)
	background.Go(func() { stopped <- h.server.Serve(listener) })
	h.work(ctx, &background, cmp.Or(a.fetchEvery, time.Minute))
	log.Info("serving", "role", cfg.Role, "socket", cfg.Socket.Path, "version", version)
	daemon.SdNotify(false, daemon.SdNotifyReady)

	// A second signal ends the process at once: the context no longer catches it.
	notice := daemon.SdNotifyStopping
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case <-changed:
		log.Info("starting again with the configuration as it is now")
		err, notice = errReload, daemon.SdNotifyReloading
	case err = <-stopped:
	case <-broken(ctx, h.store.Broken):
		err = &exitError{status: exitTryAgain, err: errors.New("the cache is damaged"), hint: "start again: the cache is set aside and fetched again"}
	}
	daemon.SdNotify(false, notice)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = errors.Join(err, h.server.Shutdown(patience))
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
