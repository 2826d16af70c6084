package httpauth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// readPrivate reads a file that holds a secret, within bounds. It must be a regular file that belongs to this user or to
// root and that nobody else can read; in $CREDENTIALS_DIRECTORY systemd sees to that (systemd.exec(5), "Credentials"). It
// is opened first and judged then, so that nobody can swap it in between. The error never holds what is in it.
func readPrivate(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case inCredentials(path):
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("mode %#o of %s lets group or others at it; run chmod 600 on it", info.Mode().Perm(), path)
	case known && owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to user %d; it must belong to the user of this program, or to root", path, owner.Uid)
	}
	return readAll(f, limit)
}

// readBounded reads a file that is no secret.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s is longer than %d bytes", f.Name(), limit)
	case len(b) == 0:
		return nil, fmt.Errorf("%s is empty", f.Name())
	}
	return b, nil
}

func inCredentials(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return filepath.IsAbs(dir) && strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+string(filepath.Separator))
}

// errDamaged reports bytes that a library gave up on.
var errDamaged = errors.New("it is damaged")

// guarded runs a decoder of a library that may panic on bytes from outside, and makes an error of that.
func guarded(decode func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errDamaged
		}
	}()
	return decode()
}
