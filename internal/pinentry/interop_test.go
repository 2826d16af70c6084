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

// curses is a real pinentry and a terminal for it.
func curses(t *testing.T) (program string, master, tty *os.File) {
	t.Helper()
	program, err := exec.LookPath("pinentry-curses")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have pinentry-curses")
		}
		t.Skip("pinentry-curses is not installed")
	}
	master, name := terminal(t)
	tty, err = os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0) // else the master ends when the dialogue closes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	t.Setenv("TERM", "xterm")
	t.Setenv("DISPLAY", "")
	return program, master, tty
}

// atDialogue calls act whenever a dialogue is on the screen, for the first times.
func atDialogue(master *os.File, times int, act func()) {
	var screen bytes.Buffer
	b := make([]byte, 4096)
	for {
		n, err := master.Read(b)
		if err != nil {
			return
		}
		screen.Write(b[:n])
		if at := bytes.Index(screen.Bytes(), []byte("<OK>")); at >= 0 && times > 0 {
			screen.Next(at + 4)
			times--
			act()
		}
	}
}

// TestPinentryCurses types into the dialogue of a real pinentry, as soon as it is on the screen.
func TestPinentryCurses(t *testing.T) {
	program, master, tty := curses(t)
	go atDialogue(master, 2, func() { master.Write([]byte("open sésame\r")) })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	got, err := Ask(ctx, program, Prompt{Title: "galsyncd", Description: "galsyncd needs a passphrase.", Label: "Passphrase:", TTY: tty.Name()})
	if err != nil || got != "open sésame" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestInterruptedPinentryCurses: who gives up has a terminal again that shows what is typed.
func TestInterruptedPinentryCurses(t *testing.T) {
	program, master, tty := curses(t)
	before := localModes(t, tty)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	during := uint32(0)
	go atDialogue(master, 1, func() { during = localModes(t, tty); cancel() })
	if got, err := Ask(ctx, program, Prompt{Description: "galsyncd needs a passphrase.", Label: "Passphrase:", TTY: tty.Name()}); err == nil {
		t.Errorf("got %q", got)
	}
	if after := localModes(t, tty); during == before || after != before {
		t.Errorf("the modes of the terminal are %#o, were %#o, and %#o in the dialogue", after, before, during)
	}
}

// localModes are those of a terminal, such as ECHO (termios(3)).
func localModes(t *testing.T, tty *os.File) uint32 {
	var modes syscall.Termios
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&modes))); errno != 0 {
		t.Error(errno)
	}
	return modes.Lflag
}
