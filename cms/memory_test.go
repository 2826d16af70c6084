package cms

import (
	"bytes"
	"crypto/x509"
	"io"
	"runtime"
	"testing"
)

// allocated is how much f takes of the heap, in bytes, given back or not: no collector has a say in it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestEncryptMemory: 25 MB take less than 1 MiB, given back or not.
func TestEncryptMemory(t *testing.T) {
	cert := identity(t, "made", "keys", "rsa").Certificate
	const size = 25 << 20
	block := text(64 << 10)
	for _, sized := range []bool{false, true} {
		taken := allocated(func() {
			w, err := Encrypt(io.Discard, []*x509.Certificate{cert}, &EncryptOptions{SizeKnown: sized, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			for range size / len(block) {
				if _, err := w.Write(block); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("size known %v: %d KiB", sized, taken>>10)
		if taken > 1<<20 {
			t.Errorf("size known %v: %d KiB were allocated", sized, taken>>10)
		}
	}
}

// TestHostileMemory: inputs that promise or nest much are refused early and cost little.
func TestHostileMemory(t *testing.T) {
	inputs := map[string][]byte{
		"nested":        bytes.Repeat([]byte{0x30, 0x80}, 2<<20),
		"nested set":    bytes.Repeat([]byte{0x31, 0x80}, 2<<20),
		"huge length":   {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x06, 0x09},
		"huge length 8": {0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"length of 127": append([]byte{0x30, 0xff}, bytes.Repeat([]byte{1}, 127)...),
		"zeros":         make([]byte, 4<<20),
		"nested octets": append([]byte{0x30, 0x80, 6, 9, 42, 134, 72, 134, 247, 13, 1, 7, 3, 0xa0, 0x80}, bytes.Repeat([]byte{0x24, 0x80}, 2<<20)...),
		"nested recipient": append([]byte{0x30, 0x80, 6, 9, 42, 134, 72, 134, 247, 13, 1, 7, 3, 0xa0, 0x80, 0x30, 0x80, 2, 1, 0, 0x31, 0x80},
			bytes.Repeat([]byte{0x30, 0x80}, 2<<20)...),
	}
	for name, data := range inputs {
		var err, certErr error
		ids := madeIdentities(t)[:0]
		grown := allocated(func() {
			_, _, err = decryptAll(data, ids, nil)
			_, certErr = ParseCertificates(data)
		})
		if err == nil || certErr == nil {
			t.Errorf("%s: accepted", name)
		}
		if grown > 1<<20 {
			t.Errorf("%s: %d KiB were allocated", name, grown>>10)
		}
	}
}
