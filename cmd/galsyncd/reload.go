package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/service"
)

// errReload ends a daemon that is to start again.
var errReload = errors.New("the configuration has changed")

// serveAndReload runs the daemon, and again with the configuration as it is then, whenever a SIGHUP finds that in order.
func (a *app) serveAndReload(ctx context.Context, user bool) error {
	role := config.RoleSystem
	if user {
		role = config.RoleUser
	}
	signal.Reset(syscall.SIGHUP) // other commands end with it
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var door socket
	defer door.close()
	for {
		err := a.serveOnce(ctx, role, &door, hangup)
		if !errors.Is(err, errReload) {
			return err
		}
	}
}

// socket is the daemon's. It stays open while the daemon starts again, so that nobody finds it gone.
type socket struct{ open *service.Listener }

// listen opens the socket, unless it is open already.
func (s *socket) listen(path string, mode fs.FileMode) (net.Listener, error) {
	if s.open != nil && s.open.Is(path, mode) {
		return s.open.ForOne(), nil
	}
	s.close()
	l, err := service.Listen(path, mode)
	if err != nil {
		return nil, err
	}
	s.open = l
	return l.ForOne(), nil
}

func (s *socket) close() {
	if s.open != nil {
		_ = s.open.Close()
	}
	s.open = nil
}

func (a *app) serveOnce(ctx context.Context, role config.Role, door *socket, hangup <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changed := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			if err := a.inOrder(role); err != nil {
				a.logger(slog.LevelInfo).Error("going on with the configuration as it was: the new one is not in order", "error", err)
				continue
			}
			close(changed)
			return
		}
	}()
	return a.runServe(ctx, role, door, changed)
}

// inOrder says what is wrong with the configuration and the files that it names.
func (a *app) inOrder(role config.Role) error {
	cfg, err := a.load(role)
	if err != nil {
		return err
	}
	return errors.Join(filesOf(cfg, nil)...)
}
