// Package interop runs programs that we did not write, for interop tests.
package interop

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Need skips the test when one of these is not there: programs, or files, which may be patterns. With CI=true that is a failure.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if found, _ := filepath.Glob(name); strings.Contains(name, "/") && len(found) > 0 {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("the peer %s is missing", name)
		}
		t.Skipf("the peer %s is not installed", name)
	}
}

// maxRun is how long a program may take: enough for a slow machine, as only one that hangs takes long.
const maxRun = 10 * time.Minute

// Run runs a program with more environment and input, and returns what it prints on its two outputs.
func Run(t testing.TB, env []string, input []byte, program string, args ...string) (out, talk []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxRun)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stderr.Bytes(), err
}

// Must is Run for programs that have to succeed.
func Must(t testing.TB, env []string, input []byte, program string, args ...string) []byte {
	t.Helper()
	out, talk, err := Run(t, env, input, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, talk)
	}
	return out
}

// SocketFolder is a folder for Unix sockets, whose path has 107 bytes at most (unix(7)), which the test's own may exceed.
func SocketFolder(t testing.TB) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "galsyncd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FreePort is a port of loopback that was free a moment ago. It is below those that the system gives out by itself, one of
// which anybody may be given in the meantime.
func FreePort() (string, error) {
	var problem error
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			return port, l.Close()
		}
		problem = err
	}
	return "", problem
}
