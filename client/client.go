// Package client talks to the galsyncd daemon over its Unix socket: which certificates people have, whether a mail can
// be encrypted to all of its recipients, and the encryption and decryption itself.
//
// It speaks HTTP/1.1 with JSON, mail bodies and problem details (RFC 9457), as the OpenAPI document describes that the
// daemon serves at /v1/openapi.json. Before it sends a byte it makes sure who owns the other end of the socket; answers
// are bounded, and an answer that was cut short is always an error, never a shorter mail.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// SystemSocket is the socket of the system's daemon.
const SystemSocket = "/run/galsyncd/galsyncd.sock"

// systemUser is the user that the system's daemon runs as.
const systemUser = "galsyncd"

// Bounds of answers.
const (
	maxAnswer  = 16 << 20 // JSON
	maxProblem = 1 << 20
	maxLine    = 1 << 20 // of a watched run
	maxHeader  = 256 << 10
)

var (
	// ErrNotRunning is wrapped by errors that mean that no daemon answers on the socket. They have a method Hint() string
	// that says how to start one.
	ErrNotRunning = errors.New("galsyncd is not running")
	// ErrUntrustedServer is wrapped by errors that mean that the socket belongs to somebody who has no business to run a
	// galsyncd for this user. Nothing was sent.
	ErrUntrustedServer = errors.New("the socket belongs to a stranger")
	// ErrInterrupted is wrapped by errors that mean that the daemon ended the connection before it answered: it was stopped, or
	// this user has too many connections. The request may have been worked on.
	ErrInterrupted = errors.New("galsyncd ended the connection")
	// ErrAnswer is wrapped by errors that mean that the daemon's answer is not what this version expects, or too large.
	ErrAnswer = errors.New("unexpected answer of galsyncd")
)

// Client asks the daemon. The zero value asks the one that DefaultSocket finds. Its fields must not change after the
// first use; it may be used from any number of goroutines.
type Client struct {
	// Socket is the path of the socket; empty: DefaultSocket at the first use.
	Socket string

	once   sync.Once
	socket string
	facts  *http.Transport // keeps connections
	mail   *http.Transport // a fresh connection each: a streamed body cannot be sent again when an old one turns out dead

	// Replaced in tests.
	peerUID   func(*net.UnixConn) (uint32, error)
	daemonUID func() (uint32, bool)
}

// DefaultSocket is the value of GALSYNCD_SOCKET, else the user's socket when a daemon answers there, else SystemSocket.
func DefaultSocket() string {
	if path := os.Getenv("GALSYNCD_SOCKET"); path != "" {
		return path
	}
	if path := UserSocket(); path != "" {
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = conn.Close()
			return path
		}
	}
	return SystemSocket
}

// UserSocket is the socket of the user's own daemon, whether it runs or not; empty without an absolute XDG_RUNTIME_DIR.
func UserSocket() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, "galsyncd", "galsyncd.sock")
}

func (c *Client) start() {
	c.once.Do(func() {
		if c.socket = c.Socket; c.socket == "" {
			c.socket = DefaultSocket()
		}
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
		c.facts = &http.Transport{
			DialContext: dial, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, // less than the daemon's
		}
		c.mail = &http.Transport{
			DialContext: dial, DisableCompression: true, MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true,
		}
	})
}

// Close closes idle connections. The client can be used again afterwards.
func (c *Client) Close() {
	c.start()
	c.facts.CloseIdleConnections()
	c.mail.CloseIdleConnections()
}

// dial connects and makes sure who is at the other end.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, c.dialError(err)
	}
	if err := c.authenticate(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// connectError is why there is no connection to a daemon that this user trusts.
type connectError struct {
	text, hint string
	causes     []error
}

func (e *connectError) Error() string   { return e.text }
func (e *connectError) Unwrap() []error { return e.causes }

// Hint says what to do.
func (e *connectError) Hint() string { return e.hint }

func (c *Client) dialError(err error) error {
	e := &connectError{causes: []error{err}}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the path, which is said already
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		e.text = fmt.Sprintf("connect to %s: %v (%v)", c.socket, ErrNotRunning, err)
		e.hint = "start it: systemctl --user start galsyncd, or sudo systemctl start galsyncd"
		e.causes = append(e.causes, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		e.text = fmt.Sprintf("connect to %s: %v", c.socket, err)
		e.hint = "this socket is another user's; name another with --socket or GALSYNCD_SOCKET"
	default:
		e.text = fmt.Sprintf("connect to %s: %v", c.socket, err)
	}
	return e
}

// authenticate accepts a server that is run by this user, by root or by the user of the system's daemon.
func (c *Client) authenticate(conn net.Conn) error {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("connect to %s: %w: it is no Unix socket", c.socket, ErrUntrustedServer)
	}
	peer, daemon := c.peerUID, c.daemonUID
	if peer == nil {
		peer = serverUID
	}
	if daemon == nil {
		daemon = systemUID
	}
	uid, err := peer(uc)
	if err != nil {
		return fmt.Errorf("connect to %s: %w: its owner cannot be told: %w", c.socket, ErrUntrustedServer, err)
	}
	if uid == 0 || int64(uid) == int64(os.Geteuid()) {
		return nil
	}
	if want, ok := daemon(); ok && uid == want {
		return nil
	}
	return fmt.Errorf("connect to %s: %w: uid %d runs the server, which is neither this user nor root nor %q; nothing was sent",
		c.socket, ErrUntrustedServer, uid, systemUser)
}

// serverUID asks the kernel who listens (SO_PEERCRED, unix(7)).
func serverUID(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		cred, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, failure); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

func systemUID() (uint32, bool) {
	u, err := user.Lookup(systemUser)
	if err != nil {
		return 0, false
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(uid), err == nil
}

// request is one question.
type request struct {
	method, path string
	query        url.Values
	accept       string
	// kind and body, of size bytes (-1: unknown); body is nil for none.
	kind   string
	body   io.Reader
	size   int64
	stream bool // a mail body
}

// do returns an answer with status 2xx; its body must be closed.
func (c *Client) do(ctx context.Context, q request) (*http.Response, error) {
	c.start()
	u := url.URL{Scheme: "http", Host: "galsyncd", Path: q.path, RawQuery: q.query.Encode()}
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), q.body)
	if err != nil {
		return nil, err
	}
	if q.body != nil {
		r.Header.Set("Content-Type", q.kind)
		if q.stream {
			r.ContentLength = q.size
		}
	}
	r.Header.Set("Accept", q.accept)
	transport := c.facts
	if q.stream {
		transport = c.mail
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	if answer.StatusCode/100 != 2 {
		defer func() { _ = answer.Body.Close() }()
		return nil, readProblem(answer)
	}
	return answer, nil
}

// transportError explains connections that ended without an answer.
func (c *Client) transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if connect, ok := errors.AsType[*connectError](err); ok {
		return connect
	}
	if errors.Is(err, ErrUntrustedServer) {
		return err
	}
	for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, cut) {
			return &connectError{text: fmt.Sprintf("ask galsyncd at %s: it ended the connection", c.socket), causes: []error{err, ErrInterrupted},
				hint: "try again: it was stopped, or it has too many connections of this user"}
		}
	}
	return fmt.Errorf("ask galsyncd at %s: %w", c.socket, err)
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrAnswer, limit)
	}
	return data, nil
}

func expectType(answer *http.Response, want string) error {
	kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || !strings.EqualFold(kind, want) {
		return fmt.Errorf("%w: it is %q, not %s", ErrAnswer, answer.Header.Get("Content-Type"), want)
	}
	return nil
}
