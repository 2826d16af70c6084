package cms

import (
	"bytes"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestLinear: ten times the chunks take about ten times the work, not a hundred times. The work is the processor's time in
// this thread, in which the rest of a busy machine does not count.
func TestLinear(t *testing.T) {
	measure := func(n int) time.Duration {
		in := append(append([]byte{0x24, 0x80}, bytes.Repeat([]byte{4, 1, 'A'}, n)...), 0, 0)
		best := time.Hour
		for range 5 {
			begin := threadTime(t)
			o, err := newReader(bytes.NewReader(in), maxLength).octets(tagOctetString, int64(n), "test")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, o); err != nil {
				t.Fatal(err)
			}
			if _, err := newReader(bytes.NewReader(in), maxLength).element(4*n, "test"); err != nil {
				t.Fatal(err)
			}
			best = min(best, threadTime(t)-begin)
		}
		return best
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	small, large := measure(30000), measure(300000)
	t.Logf("30000 chunks %v, 300000 chunks %v", small, large)
	if large > 40*small {
		t.Errorf("30000 chunks take %v, ten times as many %v", small, large)
	}
}

// threadTime is the processor's time that this thread has used so far. Unlike getrusage(2) it is exact to the microsecond.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	const clock = 3 // CLOCK_THREAD_CPUTIME_ID
	var at syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&at)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return time.Duration(at.Nano())
}
