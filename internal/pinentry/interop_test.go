package pinentry

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// terminal opens a pseudo-terminal and returns its master and the name of the other end (pts(4)).
func terminal(t *testing.T) (*os.File, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must have pseudo-terminals: %v", err)
		}
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	var number, unlock int32
	for _, call := range []struct {
		request uintptr
		value   *int32
	}{{syscall.TIOCSPTLCK, &unlock}, {syscall.TIOCGPTN, &number}} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), call.request, uintptr(unsafe.Pointer(call.value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	return master, fmt.Sprintf("/dev/pts/%d", number)
}

// TestPinentryCurses types into the dialogue of a real pinentry, as soon as it is on the screen.
func TestPinentryCurses(t *testing.T) {
	program, err := exec.LookPath("pinentry-curses")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have pinentry-curses")
		}
		t.Skip("pinentry-curses is not installed")
	}
	master, tty := terminal(t)
	keep, err := os.OpenFile(tty, os.O_RDWR|syscall.O_NOCTTY, 0) // else the master ends when the dialogue closes
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("DISPLAY", "")
	typist := func() {
		var screen bytes.Buffer
		b := make([]byte, 4096)
		for asked := 0; ; {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			screen.Write(b[:n])
			if at := bytes.Index(screen.Bytes(), []byte("<OK>")); at >= 0 && asked < 2 {
				screen.Next(at + 4)
				asked++
				master.Write([]byte("open sésame\r"))
			}
		}
	}
	go typist()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	got, err := Ask(ctx, program, Prompt{Title: "galsyncd", Description: "galsyncd needs a passphrase.", Label: "Passphrase:", TTY: tty})
	if err != nil || got != "open sésame" {
		t.Errorf("got %q, %v", got, err)
	}
}
