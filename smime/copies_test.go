package smime

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// liveHeap is what is in use of Go's heap, in bytes, without what the collector has yet to find.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first one has finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// contentMeter counts the content that several writers hold until they are closed. Theirs is not on Go's heap, and that it
// is as large as what they were given, and goes with Close, is tested in package cms.
type contentMeter struct{ held, mostHeld, mostHeap int64 }

type meteredWriter struct {
	io.WriteCloser
	meter   *contentMeter
	written int64
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	w.written += int64(len(p))
	w.meter.held += int64(len(p))
	return w.WriteCloser.Write(p)
}

func (w *meteredWriter) Close() error {
	w.meter.mostHeld = max(w.meter.mostHeld, w.meter.held)
	w.meter.mostHeap = max(w.meter.mostHeap, liveHeap())
	defer func() { w.meter.held -= w.written }()
	return w.WriteCloser.Close()
}

// TestCopiesShareMemory: a cipher that needs all of the content at once does not need it once for each Bcc recipient, and
// every copy holds all of it.
func TestCopiesShareMemory(t *testing.T) {
	const size, count = 8 << 20, 12
	id := crowd()[alice]
	everybody := people{}
	var bcc []string
	for i := range count {
		a := fmt.Sprintf("bcc%d@corp.example", i)
		everybody[mailaddr.Address(a)] = id
		bcc = append(bcc, a)
	}
	opts := &EncryptOptions{Recipients: everybody, Cipher: cms.AES256GCM}
	mail := "Bcc: " + strings.Join(bcc, ",\r\n ") + "\r\n\r\n"
	line := strings.Repeat("x", 62) + "\r\n"

	copies := map[string]*bytes.Buffer{}
	sent, err := Encrypt(t.Context(), strings.NewReader(mail+strings.Repeat(line, 3000)), Outputs{Blind: func(m *Choice) (io.Writer, error) {
		copies[m.name()] = &bytes.Buffer{}
		return copies[m.name()], nil
	}}, opts)
	if err != nil || len(copies) != count {
		t.Fatalf("%d copies, %v", len(copies), err)
	}
	for _, name := range []string{bcc[0], bcc[1], bcc[count-1]} {
		if text, _, err := decryptString(t, copies[name].String(), []cms.Identity{id}); err != nil || strings.Count(text, line) != 3000 {
			t.Errorf("the copy for %s: %d bytes, %v", name, len(text), err)
		}
	}

	clear(copies)
	all, err := makeCopies(t.Context(), Outputs{Blind: func(*Choice) (io.Writer, error) { return io.Discard, nil }}, sent.Messages, header{}, opts)
	if err != nil || len(all.list) != count {
		t.Fatalf("%v, %v", all, err)
	}
	meter := &contentMeter{}
	for _, one := range all.list {
		one.cms = &meteredWriter{WriteCloser: one.cms, meter: meter}
	}
	before := liveHeap()
	if err := all.fill(t.Context(), []byte("\r\n"), &lineSource{size}, "7bit"); err != nil {
		t.Fatal(err)
	}
	if meter.held != 0 || meter.mostHeld < size || meter.mostHeld > size+size/8 {
		t.Errorf("the writers of %d copies of %d bytes hold %d, in the end %d", count, size, meter.mostHeld, meter.held)
	}
	if grown := meter.mostHeap - before; grown > 4*size { // one of it; more where the writer must be on the heap too
		t.Errorf("%d copies of %d bytes take %d on the heap", count, size, grown)
	}
}
