package cms

import (
	"crypto/x509"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// An AEAD message of unknown size takes its own size of memory, not more, and gives it back.
func TestAEADMemory(t *testing.T) {
	cert := identity(t, "made", "keys", "rsa").Certificate
	const size = 64 << 20
	block := make([]byte, 1<<20)
	untouched, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(untouched)
	if n, err := resident(untouched); n > 0 || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must say which memory is in use: %d bytes of new memory, %v", n, err)
		}
		t.Skipf("this system does not say which memory is in use: %d bytes of new memory, %v", n, err)
	}
	released := false
	onHeap := allocated(func() {
		w, err := Encrypt(io.Discard, []*x509.Certificate{cert}, &EncryptOptions{Cipher: AES256GCM})
		if err != nil {
			t.Fatal(err)
		}
		buf := w.(*aeadWriter).buf
		room, free := buf.mapped, buf.free
		buf.free = func(b []byte) {
			// The tag and the page in which it is come on top.
			if n, err := resident(room); len(b) != len(room) || err != nil || n < size || n > size*11/10 {
				t.Errorf("%d bytes of memory for a message of %d, %v", n, size, err)
			}
			free(b)
			_, err := resident(room)
			released = errors.Is(err, syscall.ENOMEM)
		}
		if n, err := resident(room); len(room) != regionSize || n != 0 || err != nil {
			t.Fatalf("%d bytes of %d are in use before anything is written, %v", n, len(room), err)
		}
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if buf.mapped != nil || buf.data != nil {
			t.Error("the writer still has its memory")
		}
	})
	if !released {
		t.Error("the memory was not given back")
	}
	if onHeap > 1<<20 {
		t.Errorf("%d bytes were allocated on the heap", onHeap)
	}
}

// resident is how much of a mapping takes memory, in bytes; ENOMEM where there is no mapping any more.
func resident(room []byte) (n int, err error) {
	page := os.Getpagesize()
	pages := make([]byte, (len(room)+page-1)/page)
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)), uintptr(unsafe.Pointer(unsafe.SliceData(pages))))
	if errno != 0 {
		return 0, errno
	}
	for _, p := range pages {
		n += int(p&1) * page
	}
	return n, nil
}
