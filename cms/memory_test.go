package cms

import (
	"bytes"
	"crypto/x509"
	"io"
	"runtime"
	"testing"
)

// heapGrowth runs f and returns by how much the heap was larger at its highest sampled point.
func heapGrowth(t *testing.T, sample func(check func()) error) uint64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	base, peak := m.HeapAlloc, uint64(0)
	err := sample(func() {
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > base {
			peak = max(peak, m.HeapAlloc-base)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// TestEncryptMemory: 25 MB add less than 1 MiB.
func TestEncryptMemory(t *testing.T) {
	cert := identity(t, "made", "keys", "rsa").Certificate
	const size = 25 << 20
	block := text(64 << 10)
	for _, sized := range []bool{false, true} {
		peak := heapGrowth(t, func(check func()) error {
			w, err := Encrypt(io.Discard, []*x509.Certificate{cert}, &EncryptOptions{SizeKnown: sized, Size: size})
			if err != nil {
				return err
			}
			for i := range size / len(block) {
				if _, err := w.Write(block); err != nil {
					return err
				}
				if i%40 == 0 {
					check()
				}
			}
			check()
			return w.Close()
		})
		t.Logf("size known %v: %d KiB", sized, peak>>10)
		if peak > 1<<20 {
			t.Errorf("size known %v: the heap grew by %d KiB", sized, peak>>10)
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
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := decryptAll(data, madeIdentities(t)[:0], nil)
		_, certErr := ParseCertificates(data)
		runtime.ReadMemStats(&after)
		if err == nil || certErr == nil {
			t.Errorf("%s: accepted", name)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d KiB were allocated", name, grown>>10)
		}
	}
}
