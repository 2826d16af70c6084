package cms

import (
	"bytes"
	"crypto/x509"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestRegion(t *testing.T) {
	for _, size := range []int64{-1, 0, 10, copyBuffer, 3 * copyBuffer} {
		r := newRegion(size)
		var want []byte
		for i := range 10 {
			p := bytes.Repeat([]byte{byte(i)}, copyBuffer)
			r.append(p)
			want = append(want, p...)
		}
		if !bytes.Equal(r.data, want) {
			t.Errorf("%d: other content", size)
		}
		r.release()
		r.release()
	}
	runtime.KeepAlive(newRegion(-1)) // dropped: the collector gives it back
	runtime.GC()
}

// An AEAD message of unknown size takes its own size of memory, not more, and gives it back.
func TestAEADMemory(t *testing.T) {
	resident := func() int64 {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI must have /proc: %v", err)
			}
			t.Skipf("no /proc here: %v", err)
		}
		_, rest, _ := strings.Cut(string(status), "RssAnon:")
		n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n << 10
	}
	cert := identity(t, "made", "keys", "rsa").Certificate
	const size = 64 << 20
	block := make([]byte, 1<<20)
	before := resident()
	most := before
	w, err := Encrypt(writerFunc(func(p []byte) (int, error) { most = max(most, resident()); return len(p), nil }), []*x509.Certificate{cert}, &EncryptOptions{Cipher: AES256GCM})
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
	if added := most - before; added > size*11/10 {
		t.Errorf("%d bytes for a message of %d", added, size)
	}
	if left := resident() - before; left > size/4 {
		t.Errorf("%d bytes were not given back", left)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
