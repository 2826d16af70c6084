package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Variables of the environment.
const (
	binVar     = "GALSYNCD_BENCH_BIN"  // folder with the built programs; made when it is empty
	bigVar     = "BIG"                 // 1: also long walks, of up to 100,000 people
	latencyVar = "LATENCY"             // of the server of the long walks
	bareVar    = "GALSYNCD_BENCH_BARE" // folder of the bare server, which this process then is
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(bareVar); dir != "" {
		if err := serveBare(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bare server:", err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	for _, clean := range slices.Backward(cleanups) {
		clean()
	}
	os.Exit(status)
}

// cleanups undo what all benchmarks share.
var cleanups []func()

// scratch makes a folder that lasts until the end of the process.
func scratch() (string, error) { return folderIn("") }

// socketFolder is the same where a daemon accepts to put its socket: not in a folder that everybody can write to.
func socketFolder() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		var err error
		if base, err = os.UserHomeDir(); err != nil {
			return "", err
		}
	}
	return folderIn(base)
}

func folderIn(base string) (string, error) {
	dir, err := os.MkdirTemp(base, "galsyncd-bench-")
	if err == nil {
		cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	}
	return dir, err
}

// galsyncd is the path of the program.
var galsyncd = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv(binVar); bin != "" {
		return filepath.Join(bin, "galsyncd"), nil
	}
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "galsyncd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/galsyncd/galsyncd/cmd/galsyncd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build galsyncd: %w\n%s", err, out)
	}
	return path, nil
})

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// samples are the measurements of one thing, one for each round.
type samples []time.Duration

// at returns the value below which that share of the samples lies; 0.5 is the median.
func (s samples) at(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// middle returns the median.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

const mib = 1 << 20

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// report shows value under a name, which scripts/bench makes a row of its table. The time per round says nothing and is left
// out.
func report(b *testing.B, value float64, name, unit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(value, strings.ReplaceAll(name, " ", "_")+"-"+unit)
}
