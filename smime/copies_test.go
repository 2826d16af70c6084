package smime

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// anonymous is the memory of this process that is not that of a file, in bytes; 0 where the system does not say.
func anonymous() (n int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	_, _ = fmt.Sscanf(rest, "%d", &n)
	return n << 10
}

// atLast notes the memory in use when the first byte after the header is written: then all of the content is known.
type atLast struct {
	writes int
	peak   *int64
}

func (a *atLast) Write(p []byte) (int, error) {
	if a.writes++; a.writes == 2 {
		*a.peak = max(*a.peak, anonymous())
	}
	return len(p), nil
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
	header := "Bcc: " + strings.Join(bcc, ",\r\n ") + "\r\n\r\n"
	line := strings.Repeat("x", 62) + "\r\n"

	copies := map[string]*bytes.Buffer{}
	_, err := Encrypt(t.Context(), strings.NewReader(header+strings.Repeat(line, 3000)), Outputs{Blind: func(m *Choice) (io.Writer, error) {
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

	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from Linux")
	}
	clear(copies)
	runtime.GC()
	before, peak := anonymous(), int64(0)
	_, err = Encrypt(t.Context(), strings.NewReader(header+strings.Repeat(line, size/len(line))), Outputs{Blind: func(*Choice) (io.Writer, error) {
		return &atLast{peak: &peak}, nil
	}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	if grown := peak - before; grown > 6*size {
		t.Errorf("%d copies of %d MiB take %d MiB", count, size>>20, grown>>20)
	}
}
