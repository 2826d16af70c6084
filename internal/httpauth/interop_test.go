//go:build interop

package httpauth

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// need skips the test when a peer is not installed; with CI=true it fails.
func need(t *testing.T, debianPackage string, files ...string) {
	t.Helper()
	for _, f := range files {
		if _, err := exec.LookPath(f); err == nil {
			continue
		}
		if found, _ := filepath.Glob(f); len(found) > 0 {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not there (Debian package %s)", f, debianPackage)
		}
		t.Skipf("%s is not there (Debian package %s)", f, debianPackage)
	}
}

// Where Debian keeps what is not a program in the path.
const (
	python     = "/usr/bin/python3"
	ntlmPlugin = "/usr/lib/*/gssntlmssp/gssntlmssp.so"
	pyGSSAPI   = "/usr/lib/python3/dist-packages/gssapi/__init__.py"
)

func needPythonGSSAPI(t *testing.T) { need(t, "python3-gssapi", python, pyGSSAPI) }
func needNTLMPlugin(t *testing.T)   { need(t, "gss-ntlmssp", ntlmPlugin) }

// Mechanisms (MS-NLMP section 3.1.1.1, RFC 4178).
const (
	mechNTLM   = "1.3.6.1.4.1.311.2.2.10"
	mechSPNEGO = "1.3.6.1.5.5.2"
)

// channelBound is GSS_C_CHANNEL_BOUND_FLAG (draft-ietf-kitten-channel-bound-flag): both sides gave a binding, and it is
// the same.
const channelBound = 2048

// acceptor is testdata/acceptor.py: a GSS-API server that is not ours.
type acceptor struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// acceptance is what the acceptor says to one token.
type acceptance struct {
	Token     []byte `json:"token"`
	Complete  bool   `json:"complete"`
	Initiator string `json:"initiator"`
	Flags     int    `json:"flags"`
	Error     string `json:"error"`
}

// newAcceptor starts the script; it ends with the test.
func newAcceptor(t *testing.T, environment ...string) *acceptor {
	t.Helper()
	needPythonGSSAPI(t)
	cmd := exec.CommandContext(t.Context(), python, "testdata/acceptor.py")
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	a := &acceptor{t: t, in: in, out: bufio.NewScanner(out)}
	a.out.Buffer(nil, 1<<20)
	if !a.out.Scan() {
		t.Fatal("the acceptor did not start")
	}
	return a
}

// accept gives the acceptor a token. The first token of a sign-in says what the channel binding must be; nil is none.
func (a *acceptor) accept(mech string, token, binding []byte, first bool) acceptance {
	a.t.Helper()
	var b any
	if binding != nil {
		b = base64.StdEncoding.EncodeToString(binding)
	}
	line, err := json.Marshal(map[string]any{"mech": mech, "token": token, "binding": b, "new": first})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.in.Write(append(line, '\n')); err != nil {
		a.t.Fatal(err)
	}
	if !a.out.Scan() {
		a.t.Fatal("the acceptor is gone")
	}
	var got acceptance
	if err := json.Unmarshal(a.out.Bytes(), &got); err != nil {
		a.t.Fatalf("%s: %v", a.out.Bytes(), err)
	}
	return got
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := interop.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// listening waits until something answers on a port of loopback.
func listening(t *testing.T, port string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing listens on port %s: %v", port, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// write puts a file into a folder.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func nowUTC() time.Time { return time.Now().UTC() }
