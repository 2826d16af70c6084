package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Modes of the socket file. The file mode only keeps strangers out of a user's socket; who may ask for what is decided
// by the credentials of the peer.
const (
	SystemMode fs.FileMode = 0o666
	UserMode   fs.FileMode = 0o600
)

// ErrInUse reports that another daemon answers on the socket.
var ErrInUse = errors.New("another daemon answers on this socket")

// maxPath is the longest path of a socket in bytes: sun_path without its final NUL (unix(7)).
const maxPath = 107

// Listen opens the Unix socket at path with these permissions.
//
// A socket that nobody answers on is replaced; one that answers is ErrInUse; anything else at path is left alone and is
// an error. The folder is made when only it is missing, and must belong to this user or root and not be writable for
// everybody. The socket is bound under another name and then renamed, so that at path there is always either the old
// socket or one that listens with its final mode.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	l, err := listen(path, mode.Perm())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, mode fs.FileMode) (*Listener, error) {
	if !filepath.IsAbs(path) || len(path) > maxPath {
		return nil, fmt.Errorf("a socket needs an absolute path of at most %d bytes", maxPath)
	}
	dir := filepath.Dir(path)
	if err := checkFolder(dir, mode); err != nil {
		return nil, err
	}
	if err := checkVacant(path); err != nil {
		return nil, err
	}
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails
	temporary := filepath.Join(dir, "."+hex.EncodeToString(suffix[:]))
	l, err := bind(temporary, mode)
	if err != nil {
		return nil, err
	}
	if err := publish(temporary, path, mode); err != nil {
		_ = l.Close()
		_ = os.Remove(temporary)
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, path: path, mode: mode, file: info}, nil
}

// checkFolder makes dir when it is missing, and refuses one in which others could swap the socket.
func checkFolder(dir string, mode fs.FileMode) error {
	create := fs.FileMode(0o700)
	if mode&0o006 != 0 {
		create = 0o755
	}
	if err := os.Mkdir(dir, create); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("everybody may write to %s; choose a folder of its own for the socket", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d; choose a folder that belongs to this user or root", dir, stat.Uid)
	}
	return nil
}

// checkVacant returns nil when there is nothing at path, or a socket that nobody answers on.
func checkVacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is not a socket; move it away or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		_ = conn.Close()
		return ErrInUse
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrInUse // alive, only too busy to accept
	}
	return fmt.Errorf("see whether another daemon answers: %w", err)
}

// bind listens at path with no more permissions than mode. Linux takes the mode of the new file from the socket itself
// (less the umask), so nothing is open for a moment and the umask of the process stays as it is.
func bind(path string, mode fs.FileMode) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmod error
		err := raw.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), uint32(mode)) })
		return errors.Join(err, chmod)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	ul := l.(*net.UnixListener) // what "unix" gives
	ul.SetUnlinkOnClose(false)
	return ul, nil
}

// publish gives the bound socket the permissions that the umask took, and its name.
func publish(temporary, path string, mode fs.FileMode) error {
	if err := os.Chmod(temporary, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Listener is a socket that listens. Closing it removes the socket, unless another has taken its place.
type Listener struct {
	*net.UnixListener
	path string
	mode fs.FileMode
	file fs.FileInfo
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	if l.stands() {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// stands reports whether the socket at the path is this one.
func (l *Listener) stands() bool {
	info, err := os.Lstat(l.path)
	return err == nil && os.SameFile(info, l.file)
}

// Is reports whether l is what Listen would open: at this path, with these permissions, and still there.
func (l *Listener) Is(path string, mode fs.FileMode) bool {
	return l.path == path && l.mode == mode.Perm() && l.stands()
}

// ForOne is l for one server of several that follow one another. Closing it leaves the socket as it is: who connects then
// waits for the next server.
func (l *Listener) ForOne() net.Listener {
	_ = l.SetDeadline(time.Time{})
	return oneServer{l}
}

type oneServer struct{ *Listener }

func (o oneServer) Close() error { return o.SetDeadline(time.Unix(1, 0)) }
