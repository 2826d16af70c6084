package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// secureDirectory makes the directory of the file, or checks that an existing one is the user's alone. Certificates for
// everyone are no secret: for these it is enough that nobody else can write there.
func (k *Keyring) secureDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !k.certificatesOnly {
		return private(dir, info, "700")
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() && stat.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: others can write to %s", ErrExposed, dir)
	}
	return nil
}

// private refuses what belongs to another user or can be reached by others.
func private(path string, info fs.FileInfo, mode string) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to another user", ErrExposed, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %#o; run chmod %s on it after finding out who had access", ErrExposed, path, perm, mode)
	}
	return nil
}

// openChecked opens the file, takes the lock that bbolt takes, and verifies the file under it, all before bbolt maps it.
func openChecked(path string, timeout time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = func() error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%w: not a regular file", ErrDamaged)
		}
		if err := private(path, info, "600"); err != nil {
			return err
		}
		if err := lockFile(f, timeout); err != nil {
			return err
		}
		return verifyPages(f)
	}()
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockFile takes the exclusive flock(2), waiting for at most timeout.
func lockFile(f *os.File, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return ErrInUse
		}
		time.Sleep(min(left, 50*time.Millisecond))
	}
}

// create makes an empty keyring under another name and links it into place, so that a crash leaves no half-made keyring
// and two processes do not make one over the other.
func create(path, kind string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".keyring-*.new") // mode 0600
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer os.Remove(f.Name())
	f.Close()
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	err = errors.Join(db.Update(func(tx *bbolt.Tx) error { return initialise(tx, kind) }), db.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create: %w", err)
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fault is a panic of bbolt, or a fault on the memory it maps (a file cut short by somebody else, a failing disk). It is
// ErrDamaged. bbolt may hold its own locks afterwards, so that its database must not be touched again, not even closed.
type fault struct{ cause any }

func (f *fault) Error() string { return fmt.Sprintf("%v: %v", ErrDamaged, f.cause) }

func (f *fault) Unwrap() error { return ErrDamaged }

func isFault(err error) bool {
	_, ok := errors.AsType[*fault](err)
	return ok
}

// guard runs what calls bbolt and turns a panic or memory fault into a *fault.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &fault{p}
		}
	}()
	return f()
}
