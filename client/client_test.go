package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/service/apitest"
)

// document reads the OpenAPI file of the service.
func document(t testing.TB) *apitest.Document {
	t.Helper()
	data, err := os.ReadFile("../internal/service/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := apitest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestTypes holds every wire type to its schema: no member is missing, none is invented.
func TestTypes(t *testing.T) {
	doc := document(t)
	for name, typ := range map[string]reflect.Type{
		"Problem": reflect.TypeFor[Error](), "Version": reflect.TypeFor[Version](), "Status": reflect.TypeFor[Status](),
		"Accepted": reflect.TypeFor[Accepted](), "Progress": reflect.TypeFor[Progress](), "Report": reflect.TypeFor[Report](),
		"Result": reflect.TypeFor[Result](), "CertificateDetails": reflect.TypeFor[CertificateDetails](),
		"Candidates": reflect.TypeFor[Candidates](), "Entries": reflect.TypeFor[Entries](), "Fingerprints": reflect.TypeFor[Fingerprints](),
		"InstallReport": reflect.TypeFor[InstallReport](), "InstalledCertificates": reflect.TypeFor[InstalledCertificates](), "Install": reflect.TypeFor[Install](),
		"Choice": reflect.TypeFor[Choice](), "Identities": reflect.TypeFor[Identities](), "ImportRequest": reflect.TypeFor[ImportRequest](),
		"Identity": reflect.TypeFor[Identity](), "IdentityRequest": reflect.TypeFor[IdentityRequest](), "NewKeyRequest": reflect.TypeFor[NewKeyRequest](),
		"ExportRequest": reflect.TypeFor[ExportRequest](), "PassphraseRequest": reflect.TypeFor[passphraseRequest](),
		"Preferences": reflect.TypeFor[Preferences](), "PreferenceList": reflect.TypeFor[PreferenceList](),
		"Imported": reflect.TypeFor[Imported](), "UnlockRequest": reflect.TypeFor[unlockRequest](),
		"KeyringStatus": reflect.TypeFor[KeyringStatus](), "CheckReport": reflect.TypeFor[CheckReport](),
	} {
		for _, fault := range doc.Matches(apitest.Schema{"$ref": "#/components/schemas/" + name}, typ) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

func socketPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(interop.SocketFolder(t), "s")
}

// fakeDaemon answers on a socket and returns a client of it.
func fakeDaemon(t testing.TB, handler http.HandlerFunc) *Client {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	c := &Client{Socket: path}
	t.Cleanup(c.Close)
	return c
}

// TestUntrustedServer: not one byte goes to a server that somebody else runs.
func TestUntrustedServer(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan int)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := io.Copy(io.Discard, conn)
			_ = conn.Close()
			received <- int(n)
		}
	}()
	own := uint32(os.Geteuid())
	for _, uid := range []uint32{own + 1, own + 12345, 1<<32 - 1} {
		for _, daemon := range []func() (uint32, bool){func() (uint32, bool) { return own + 777, true }, func() (uint32, bool) { return uid, false }} {
			c := &Client{Socket: path, peerUID: func(*net.UnixConn) (uint32, error) { return uid, nil }, daemonUID: daemon}
			for name, ask := range map[string]func() error{
				"status": func() error { _, err := c.Status(t.Context()); return err },
				"encrypt": func() error {
					_, err := c.Encrypt(t.Context(), strings.NewReader("secret"), io.Discard, EncryptOptions{})
					return err
				},
				"unlock": func() error { _, err := c.Unlock(t.Context(), "secret", 0); return err },
			} {
				if err := ask(); !errors.Is(err, ErrUntrustedServer) {
					t.Errorf("%s: %v", name, err)
				}
				if n := <-received; n != 0 {
					t.Errorf("%s sent %d bytes", name, n)
				}
			}
		}
	}
	c := &Client{Socket: path, peerUID: func(*net.UnixConn) (uint32, error) { return 0, errors.New("no") }}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUntrustedServer) {
		t.Errorf("unknown peer: %v", err)
	}
	<-received
}

func TestTrustedServers(t *testing.T) {
	daemon := fakeDaemon(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"version":"1","go":"go"}`)
	})
	own := uint32(os.Geteuid())
	for _, uid := range []uint32{0, own, own + 777} {
		c := &Client{Socket: daemon.Socket, peerUID: func(*net.UnixConn) (uint32, error) { return uid, nil },
			daemonUID: func() (uint32, bool) { return own + 777, true }}
		if _, err := c.Version(t.Context()); err != nil {
			t.Errorf("uid %d: %v", uid, err)
		}
		c.Close()
	}
	if _, err := daemon.Version(t.Context()); err != nil { // what the kernel says
		t.Error(err)
	}
}

func TestNotRunning(t *testing.T) {
	path := socketPath(t)
	c := &Client{Socket: path}
	_, err := c.Status(t.Context())
	hint, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !errors.Is(err, ErrNotRunning) || !errors.Is(err, fs.ErrNotExist) || !ok || !strings.Contains(hint.Hint(), "systemctl") {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := c.Encrypt(t.Context(), strings.NewReader("x"), io.Discard, EncryptOptions{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
}

func TestDefaultSocket(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	t.Setenv("GALSYNCD_SOCKET", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if got := DefaultSocket(); got != SystemSocket {
		t.Errorf("nobody answers: %s", got)
	}
	path := filepath.Join(dir, "galsyncd", "galsyncd.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := DefaultSocket(); got != path {
		t.Errorf("the user's answers: %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	if got := DefaultSocket(); got != SystemSocket {
		t.Errorf("relative: %s", got)
	}
	t.Setenv("GALSYNCD_SOCKET", "/x/y")
	if got := DefaultSocket(); got != "/x/y" {
		t.Errorf("environment: %s", got)
	}
}

func TestProblems(t *testing.T) {
	for _, test := range []struct {
		status           int
		kind, body, want string
		code             string
	}{
		{422, "application/problem+json", `{"code":"recipients-unusable","detail":"carol is expired","hint":"ask","status":200,"recipients":[{"address":"c@x","state":"expired"}]}`, "carol is expired", CodeRecipientsUnusable},
		{403, "application/problem+json; charset=utf-8", `{"code":"not-allowed","title":"This caller may not do this"}`, "this caller may not do this", CodeNotAllowed},
		{500, "application/problem+json", `{"code":`, "galsyncd answered with status 500", ""},
		{404, "text/plain", "nope", "galsyncd answered with status 404", ""},
		{302, "text/html", "", "galsyncd answered with status 302", ""},
		{500, "application/problem+json", `{"code":"internal","detail":"` + strings.Repeat("x", maxProblem) + `"}`, "galsyncd answered with status 500", ""},
	} {
		c := fakeDaemon(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			w.Header().Set("Location", "http://elsewhere/")
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		_, err := c.Status(t.Context())
		var problem *Error
		if !errors.As(err, &problem) || problem.Code != test.code || problem.Status != test.status || problem.Error() != test.want {
			t.Errorf("%d %.60s: %#v", test.status, test.body, err)
		}
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"html": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"not json": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, "{")
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range maxAnswer/1024 + 2 {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 1024))
			}
		},
	} {
		c := fakeDaemon(t, handler)
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.WatchSync(t.Context(), nil); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: watch: %v", name, err)
		}
		if _, err := c.Encrypt(t.Context(), strings.NewReader("x"), io.Discard, EncryptOptions{}); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: encrypt: %v", name, err)
		}
	}
}

// TestCutAnswers: an answer without its end is an error, wherever it was cut.
func TestCutAnswers(t *testing.T) {
	cut := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	two := "--b\r\nContent-Type: message/rfc822\r\nGalsyncd-Recipients: a@x,\r\n b@x\r\n\r\nHELLO\r\n--b\r\nContent-Type: message/rfc822\r\nGalsyncd-Recipients: c@x\r\n\r\nhello\r\n--b--\r\n"
	for n := range len(two) + 1 {
		c := fakeDaemon(t, cut("multipart/mixed; boundary=b", two[:n]))
		_, err := c.EncryptCopies(t.Context(), strings.NewReader("x"), EncryptOptions{}, func(m Copy) error {
			_, err := io.Copy(io.Discard, m.Message)
			return err
		})
		if err == nil || n == len(two) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: %v", n, len(two), err)
		}
	}
	c := fakeDaemon(t, cut("message/rfc822", "HELLO"))
	if _, err := c.Encrypt(t.Context(), strings.NewReader("hello"), io.Discard, EncryptOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("encrypt: %v", err)
	}
	if _, err := c.Decrypt(t.Context(), strings.NewReader("hello"), io.Discard, DecryptOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("decrypt: %v", err)
	}
	c = fakeDaemon(t, cut("application/x-ndjson", `{"event":"progress"}`+"\n"))
	if _, err := c.WatchSync(t.Context(), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("watch: %v", err)
	}
	c = fakeDaemon(t, cut("application/json", `{"version":"1"}`))
	if _, err := c.Version(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("version: %v", err)
	}
}

// TestInterrupted: a daemon that ends the connection, and one that does not read so long a request.
func TestInterrupted(t *testing.T) {
	c := fakeDaemon(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := c.Version(t.Context())
	hint, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !errors.Is(err, ErrInterrupted) || !ok || hint.Hint() == "" || strings.Contains(err.Error(), "EOF") {
		t.Errorf("ended: %v", err)
	}
	c = fakeDaemon(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge) })
	if refusal, ok := errors.AsType[*Error](second(c.Version(t.Context()))); !ok || refusal.Code != "too-large" || refusal.Hint == "" {
		t.Errorf("too long: %+v", refusal)
	}
}

func second[T any](_ T, err error) error { return err }

// TestAnswerBeforeMail: an answer that does not wait for the mail is not its encryption.
func TestAnswerBeforeMail(t *testing.T) {
	c := fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "message/rfc822")
		_, _ = io.WriteString(w, "HEL")
	})
	mail, _ := io.Pipe() // never comes
	if _, err := c.Encrypt(t.Context(), mail, io.Discard, EncryptOptions{}); err == nil {
		t.Error("accepted")
	}
}

var errMail = errors.New("the disk is gone")

// TestBrokenMail: the error of the mail itself is the one that is reported.
func TestBrokenMail(t *testing.T) {
	var complete atomic.Bool
	c := fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			complete.Store(true)
		}
	})
	mail := io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), errorReader{})
	if _, err := c.Encrypt(t.Context(), mail, io.Discard, EncryptOptions{}); !errors.Is(err, errMail) {
		t.Errorf("%v", err)
	}
	if complete.Load() {
		t.Error("the daemon took half a mail for a whole one")
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errMail }

func TestContext(t *testing.T) {
	arrived := make(chan struct{}, 10)
	c := fakeDaemon(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	for name, ask := range map[string]func(context.Context) error{
		"status": func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"watch":  func(ctx context.Context) error { _, err := c.WatchSync(ctx, nil); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if err := ask(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzProblem: whatever a server sends as a problem, there is an error with the status.
func FuzzProblem(f *testing.F) {
	f.Add([]byte(`{"code":"busy","status":1,"recipients":[{"reasons":null}]}`), "application/problem+json")
	f.Add([]byte(`{"title":""}`), "text/html")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		answer := &http.Response{StatusCode: 429, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
		var e *Error
		if err := readProblem(answer); !errors.As(err, &e) || e.Status != 429 || err.Error() == "" {
			t.Errorf("%#v", e)
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("{\"event\":\"progress\",\"fraction\":0.5}\n{\"event\":\"report\",\"outcome\":\"complete\"}\n"))
	f.Add([]byte("\n{}\n{\"event\":7}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := readEvents(bytes.NewReader(data), func(Progress) {})
		if (report == nil) == (err == nil) {
			t.Errorf("%v, %v", report, err)
		}
	})
}

// FuzzCopies: a multipart that was not ended is never taken for a complete one.
func FuzzCopies(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Type: message/rfc822\r\nGalsyncd-Recipients: a@x,\r\n b@x\r\n\r\nHELLO\r\n--b--\r\n"))
	f.Add([]byte("--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n--b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		_, err := readCopies(bytes.NewReader(data), "b", func(m Copy) error {
			n++
			if len(m.Recipients) == 0 {
				t.Error("a copy for nobody")
			}
			_, err := io.Copy(io.Discard, m.Message)
			return err
		})
		if err == nil && (n == 0 || !bytes.Contains(data, []byte("--b--"))) {
			t.Errorf("%d copies of %q", n, data)
		}
	})
}
