package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/recipients"
)

// waitingRecipients answers when it is let.
type waitingRecipients struct {
	arrived chan struct{}
	answer  chan struct{}
}

func (w *waitingRecipients) Lookup(ctx context.Context, _ []string) (recipients.Result, error) {
	w.arrived <- struct{}{}
	select {
	case <-w.answer:
		return recipients.Result{State: recipients.Encrypted}, nil
	case <-ctx.Done():
		return recipients.Result{}, ctx.Err()
	}
}

const lookup = "/v1/recipients?address=bob@example.com"

// TestConcurrency: each uid has its share, and all together have theirs.
func TestConcurrency(t *testing.T) {
	waiting := &waitingRecipients{arrived: make(chan struct{}), answer: make(chan struct{})}
	h := serve(t, &Server{Recipients: waiting, Limits: Limits{PerUser: 2, Overall: 3}})
	var group sync.WaitGroup
	occupy := func(uid uint32) {
		h.uid.Store(uid)
		group.Go(func() {
			if r := h.do(t, "GET", lookup, nil); r.status != 200 {
				t.Errorf("status %d", r.status)
			}
		})
		<-waiting.arrived
	}
	refused := func(uid uint32) {
		h.uid.Store(uid)
		r := h.do(t, "GET", lookup, nil)
		if p := r.problem(t); p.Code != CodeBusy || r.status != 429 || r.header.Get("Retry-After") == "" {
			t.Errorf("%+v", p)
		}
	}
	occupy(strangerUID)
	occupy(strangerUID)
	refused(strangerUID)
	occupy(adminUID)
	refused(adminUID)
	refused(0)
	close(waiting.answer)
	group.Wait()
	go func() { <-waiting.arrived }()
	if r := h.do(t, "GET", lookup, nil); r.status != 200 {
		t.Errorf("afterwards: status %d", r.status)
	}
}

// TestConnections: one uid cannot take all connections.
func TestConnections(t *testing.T) {
	h := serve(t, &Server{})
	h.uid.Store(strangerUID)
	for range maxPeerConns {
		conn, err := net.Dial("unix", h.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := h.client.Get("http://localhost/v1/version"); err == nil {
		t.Error("one more was answered")
	}
	h.uid.Store(adminUID)
	if r := h.do(t, "GET", "/v1/version", nil); r.status != 200 {
		t.Errorf("another uid: status %d", r.status)
	}
}

func TestConcurrentRequests(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Limits: Limits{PerUser: 100, Overall: 100}})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if r := h.do(t, "POST", "/v1/encrypt", strings.NewReader(strings.Repeat("a", 200_000))); r.err != nil || len(r.body) != 200_000 {
					t.Errorf("encrypt: %d, %v", len(r.body), r.err)
				}
				for _, url := range []string{lookup, "/v1/status", "/v1/entries?query=bo", "/v1/sync", "/v1/identities"} {
					if r := h.do(t, "GET", url, nil); r.err != nil || r.status != 200 {
						t.Errorf("%s: %d %v", url, r.status, r.err)
					}
				}
			}
		})
	}
	group.Wait()
}

// TestWatchEndsWithDaemon: a watch must not hold up the end, and must not look finished.
func TestWatchEndsWithDaemon(t *testing.T) {
	syncer := &fakeSyncer{watch: func(ctx context.Context, progress func(Progress) error) (Report, error) {
		if err := progress(Progress{Run: Run{Started: testTime}}); err != nil {
			return Report{}, err
		}
		<-ctx.Done()
		return Report{}, ctx.Err()
	}}
	h := serve(t, &Server{Syncer: syncer})
	answer, err := h.client.Get("http://localhost/v1/sync")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, `"event":"progress"`) {
		t.Fatalf("%q, %v", line, err)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(lines); err == nil {
		t.Errorf("looks finished: %q", rest)
	}
}

func TestWatchEndsWithCaller(t *testing.T) {
	ended := make(chan struct{})
	syncer := &fakeSyncer{watch: func(ctx context.Context, progress func(Progress) error) (Report, error) {
		defer close(ended)
		_ = progress(Progress{})
		<-ctx.Done()
		return Report{}, ctx.Err()
	}}
	h := serve(t, &Server{Syncer: syncer})
	answer, err := h.client.Get("http://localhost/v1/sync")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	<-ended
}

func TestSyncRequests(t *testing.T) {
	syncer := &fakeSyncer{never: true}
	h := serve(t, &Server{Syncer: syncer})
	if p := h.do(t, "GET", "/v1/sync", nil).problem(t); p.Code != CodeNotFound || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	if r := h.do(t, "POST", "/v1/sync", nil); r.status != 202 || syncer.full {
		t.Errorf("status %d, full %v", r.status, syncer.full)
	}
	if r := h.do(t, "POST", "/v1/sync?full=1", nil); r.status != 202 || !syncer.full {
		t.Errorf("status %d, full %v", r.status, syncer.full)
	}
	syncer.running = true
	if p := h.do(t, "POST", "/v1/sync", nil).problem(t); p.Code != CodeSyncRunning || p.Status != 409 {
		t.Errorf("%+v", p)
	}
}

// TestShutdownWaits: a request under way gets its answer.
func TestShutdownWaits(t *testing.T) {
	waiting := &waitingRecipients{arrived: make(chan struct{}), answer: make(chan struct{})}
	h := serve(t, &Server{Recipients: waiting})
	got := make(chan result)
	go func() { got <- h.do(t, "GET", lookup, nil) }()
	<-waiting.arrived
	down := make(chan error)
	go func() { down <- h.Shutdown(context.Background()) }()
	for { // until the listener is closed
		conn, err := net.Dial("unix", h.path)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(waiting.answer)
	if r := <-got; r.status != 200 || r.err != nil {
		t.Errorf("status %d, %v", r.status, r.err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(h.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestShutdownInterrupts: the second signal does not wait.
func TestShutdownInterrupts(t *testing.T) {
	waiting := &waitingRecipients{arrived: make(chan struct{}), answer: make(chan struct{})}
	h := serve(t, &Server{Recipients: waiting})
	failed := make(chan error)
	go func() {
		_, err := h.client.Get("http://localhost" + lookup)
		failed <- err
	}()
	<-waiting.arrived
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-failed; err == nil {
		t.Error("got an answer")
	}
}

// TestPlainHandler: without Serve nobody is identified, so nobody is answered.
func TestPlainHandler(t *testing.T) {
	s := &Server{}
	l, err := net.Listen("unix", filepath.Join(interop.SocketFolder(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.Addr().String())
	}}}
	answer, err := client.Get("http://localhost/v1/version")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 403 {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestListen(t *testing.T) {
	dir := interop.SocketFolder(t)
	path := filepath.Join(dir, "sub", "galsyncd.sock")
	l, err := Listen(path, SystemMode)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o666 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Listen(path, SystemMode); !errors.Is(err, ErrInUse) {
		t.Errorf("second: %v", err)
	}
	// A daemon that was killed leaves its socket.
	l.UnixListener.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path, UserMode)
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// The end of the first daemon must not take the socket of the second away.
	_ = l.Close()
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("after the first closed: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := interop.SocketFolder(t)
	file, link, open := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o600), os.Symlink(file, link), os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	sticky := filepath.Join(dir, "sticky")
	if err := errors.Join(os.Mkdir(sticky, 0o700), os.Chmod(sticky, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		file, link, fifo, dir, filepath.Join(open, "s"), filepath.Join(sticky, "s"), filepath.Join(dir, "a", "b", "s"),
		filepath.Join(file, "s"), "relative.sock", filepath.Join(dir, strings.Repeat("x", 108)), "",
	} {
		if l, err := Listen(path, UserMode); err == nil {
			_ = l.Close()
			t.Errorf("listens on %s", path)
		} else if !strings.Contains(err.Error(), "listen on ") {
			t.Errorf("%v", err)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file is gone: %q, %v", data, err)
	}
}

// TestSocketNeverWider: not even for a moment has the user's socket other permissions, whatever the umask.
func TestSocketNeverWider(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(interop.SocketFolder(t), "s")
	l, err := bind(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
