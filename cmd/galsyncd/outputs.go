package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// outputs are files that appear under their names together, when all of them are complete, or not at all. Until then they have
// no name, so that nothing of a mail is left of a process that is killed; where the file system cannot do that, a hidden one.
type outputs struct {
	files   []*outputFile
	devices []*os.File
}

type outputFile struct {
	*os.File
	name string
	// hidden is the name it has until it is kept; empty for none.
	hidden string
}

// create begins a file for this user alone. An existing file stays as it is until keep; the target of a link is meant,
// and what is no regular file, such as a device, is written to as it is.
func (o *outputs) create(name string) (io.Writer, error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return o.open(name)
	}
	dir, base := filepath.Split(name)
	return o.createIn(dir, base)
}

// createIn is create for a name that must not lead out of dir.
func (o *outputs) createIn(dir, base string) (io.Writer, error) {
	name := filepath.Join(dir, base)
	if dir == "" {
		dir = "."
	}
	if strings.ContainsAny(base, "/\x00") || base == "" || base == "." || base == ".." {
		return nil, &exitError{status: exitData, err: fmt.Errorf("write %q into %s: not a file name", base, dir)}
	}
	// What the name will not be given in the end is refused now.
	switch info, err := os.Lstat(name); {
	case err == nil && info.IsDir():
		return nil, writeError(name, syscall.EISDIR)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, writeError(name, err)
	}
	f, err := nameless(dir, name)
	hidden := ""
	if err != nil {
		if f, err = os.CreateTemp(dir, ".galsyncd-*"); err != nil {
			return nil, writeError(name, err)
		}
		hidden = f.Name()
	}
	o.files = append(o.files, &outputFile{f, name, hidden})
	return f, nil
}

// nameless makes a file without a name for this user alone (open(2), O_TMPFILE). Its errors speak of the name it is to have.
func nameless(dir, name string) (*os.File, error) {
	const tmpfile = 0x400000 | syscall.O_DIRECTORY
	if _, err := os.Stat("/proc/self/fd"); err != nil { // what gives it a name
		return nil, err
	}
	fd, err := syscall.Open(dir, syscall.O_RDWR|syscall.O_CLOEXEC|tmpfile, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// show gives a file without a name a hidden one (linkat(2): no call gives it that of a file that is there).
func (f *outputFile) show() error {
	const followLink, here = 0x400, -100 // AT_SYMLINK_FOLLOW, AT_FDCWD
	if f.hidden != "" {
		return nil
	}
	hidden := filepath.Join(filepath.Dir(f.name), ".galsyncd-"+rand.Text())
	from, err := syscall.BytePtrFromString(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(hidden)
	if err != nil {
		return err
	}
	dir := here
	_, _, errno := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(dir), uintptr(unsafe.Pointer(from)), uintptr(dir), uintptr(unsafe.Pointer(to)), followLink, 0)
	if errno != 0 {
		return errno
	}
	f.hidden = hidden
	return nil
}

// forget removes a file that is not kept.
func (f *outputFile) forget() {
	f.Close()
	if f.hidden != "" {
		os.Remove(f.hidden)
	}
}

// open opens a device, a pipe or the like.
func (o *outputs) open(name string) (io.Writer, error) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, writeError(name, err)
	}
	o.devices = append(o.devices, f)
	return f, nil
}

// writeError names the file that the user named rather than the temporary one.
func writeError(name string, err error) error {
	switch e := err.(type) {
	case *os.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}

// keep gives all files their names.
func (o *outputs) keep() error {
	for _, f := range o.files {
		if err := f.Sync(); err != nil {
			return writeError(f.name, err)
		}
		if err := cmp.Or(f.show(), f.Close()); err != nil {
			return writeError(f.name, err)
		}
	}
	for _, f := range o.devices {
		if err := f.Close(); err != nil {
			return writeError(f.Name(), err)
		}
	}
	o.devices = nil
	for i, f := range o.files {
		if err := os.Rename(f.hidden, f.name); err != nil {
			o.files = o.files[i:]
			return writeError(f.name, err)
		}
	}
	o.files = nil
	return nil
}

// drop removes one output that turned out to have no content.
func (o *outputs) drop(w io.Writer) {
	o.files = slices.DeleteFunc(o.files, func(f *outputFile) bool {
		if io.Writer(f) != w && io.Writer(f.File) != w {
			return false
		}
		f.forget()
		return true
	})
}

// discard removes what was not kept.
func (o *outputs) discard() {
	for _, f := range o.files {
		f.forget()
	}
	for _, f := range o.devices {
		f.Close()
	}
}
