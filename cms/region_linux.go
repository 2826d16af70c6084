package cms

import "syscall"

// reserve makes room for n bytes outside of Go's heap: only what is written to takes memory, and release gives it back at
// once, with the content in it. Nil when the system has no room.
func reserve(n int64) (room []byte, release func([]byte)) {
	room, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, nil
	}
	// It cannot fail for what Mmap returned; there would be nothing to do about it.
	return room, func(b []byte) { _ = syscall.Munmap(b) }
}
