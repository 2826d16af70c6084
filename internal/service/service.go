// Package service is the local face of galsyncd: HTTP/1.1 (RFC 9112) over a Unix socket, with JSON for facts,
// message/rfc822 bodies for mail, streamed, and problem details (RFC 9457) for refusals.
//
// It decides who may ask for what (by the credentials of the peer, never by file modes alone), bounds every request in
// size, time and number, and turns requests into calls of the interfaces declared here. It knows no cache, no keyring
// and no cryptography.
//
// What it promises: a streamed answer that went wrong after its first byte ends without a proper end, so that no caller
// takes it for a shorter mail; a mail is never refused after half of it was answered when the refusal could be known
// before; neither mails nor addresses nor passphrases are logged; the OpenAPI file (openapi.json, served at
// /v1/openapi.json) lists every request, and tests hold it to the handlers.
package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Server answers requests. Set its fields before the first request and do not change them afterwards. Requests whose
// part (an interface field) is nil are answered with CodeNotAvailable.
type Server struct {
	// Role is for whom the daemon works; the zero value is RoleSystem.
	Role Role
	// Build is what GET /v1/version answers. An empty Go is filled in.
	Build Build
	// Admins are login names, numeric uids and "@group" names of those who may do what the access table gives to
	// administrators. The uid that runs the daemon is one always; nil means nobody else. Read in the system role only.
	Admins []string
	// Limits bound the requests; zero fields take their defaults.
	Limits Limits

	Status     StatusSource
	Syncer     Syncer
	Recipients Recipients
	Directory  Directory
	Encrypter  Encrypter
	// Online asks Exchange about unknown addresses; nil when that is not possible. OnlineOnMiss has every look-up do so,
	// not only those that wish it.
	Online       Online
	OnlineOnMiss bool
	Verifier     Verifier
	// Decrypter, Signer and Keyring are used in RoleUser only, whatever is set.
	Decrypter Decrypter
	Signer    Signer
	Keyring   Keyring
	Checker   Checker
	// Certificates are those that the owner, or in RoleSystem an administrator for everyone, installed.
	Certificates Certificates

	// Spool makes room for encrypted copies that have to wait for their turn; it never sees plaintext. Nil: memory, of
	// which one request gets at most 64 MiB.
	Spool func() (Spool, error)
	// Log takes one line for each request, without addresses or content. Nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock of logs and status; nil: time.Now.
	Now func() time.Time

	once  sync.Once
	state *state

	// Replaced in tests.
	credentials func(*net.UnixConn) (Peer, error)
	database    users
	ownUID      func() int
	patience    time.Duration
}

// Limits bound what callers can make the daemon do. Zero fields take the default named.
type Limits struct {
	// MaxMessage is the largest mail accepted to sign or encrypt, and the largest content of one to decrypt or verify,
	// which may itself have smime.MaxWrapped bytes; default 100,000,000.
	MaxMessage int64
	// PerUser is how many requests of one uid are worked on at once; default 8. More are refused with CodeBusy.
	PerUser int
	// Overall is the same for all uids together; default 64.
	Overall int
	// Stall is how long a body or an answer may stand still before the connection is cut; default one minute.
	Stall time.Duration
	// MaxSpool is how many bytes of encrypted copies one request may leave waiting; default 1 GiB.
	MaxSpool int64
}

// Fixed bounds.
const (
	maxHeader         = 128 << 10 // 1000 addresses of 100 characters
	maxJSON           = 2 << 20
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = time.Minute
	maxConnections    = 1024 // overall
	maxPeerConns      = 256  // of one uid
	maxMemorySpool    = 64 << 20
)

// Build says what program answers.
type Build struct {
	Version string `json:"version"`
	// Commit is empty when the build does not know it.
	Commit string `json:"commit,omitempty"`
	// Go is the version of the Go toolchain.
	Go string `json:"go"`
}

// Spool holds encrypted bytes: written once, then read. It is what cms.Spool is.
type Spool interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// state is what a Server sets up once.
type state struct {
	limits   Limits
	started  time.Time
	requests *gate
	conns    *gate
	online   budget
	failures budget
	lookups  chan struct{} // bounds concurrent questions to the user database
	listener atomic.Pointer[peerListener]
	waiting  atomic.Int64 // connections that have not asked for anything yet
	stopping chan struct{}
	stop     func()
	http     *http.Server
	routes   []route
}

// start sets up what the first use needs.
func (s *Server) start() *state {
	s.once.Do(func() {
		l := s.Limits
		l.MaxMessage = orDefault(l.MaxMessage, 100_000_000)
		l.PerUser = orDefault(l.PerUser, 8)
		l.Overall = orDefault(l.Overall, 64)
		l.Stall = orDefault(l.Stall, time.Minute)
		l.MaxSpool = orDefault(l.MaxSpool, 1<<30)
		if s.Spool == nil {
			l.MaxSpool = min(l.MaxSpool, maxMemorySpool)
		}
		stopping := make(chan struct{})
		s.state = &state{
			limits: l, started: s.now(), routes: routes(),
			requests: newGate(l.PerUser, l.Overall),
			conns:    newGate(maxPeerConns, maxConnections),
			online:   budget{most: maxOnlinePerHour, per: time.Hour, now: s.now},
			failures: budget{most: maxFailuresPerMinute, per: time.Minute, now: s.now},
			lookups:  make(chan struct{}, 4),
			stopping: stopping, stop: sync.OnceFunc(func() { close(stopping) }),
		}
		s.state.http = &http.Server{
			Handler:           s.Handler(),
			ReadHeaderTimeout: readHeaderTimeout,
			WriteTimeout:      l.Stall, // of a short answer; longer ones move it as they go
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ConnContext:       connContext,
			ConnState:         noteRequest,
			ErrorLog:          slog.NewLogLogger(s.log().Handler(), slog.LevelDebug),
		}
	})
	return s.state
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// Handler returns the handler of all requests. It refuses connections whose peer Serve did not identify.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// Serve answers on l, a listener of Unix sockets made by Listen or handed over by systemd, until Shutdown. It returns
// nil after Shutdown and the error of the listener otherwise.
func (s *Server) Serve(l net.Listener) error {
	state := s.start()
	peers := &peerListener{Listener: l, server: s, close: sync.OnceValue(l.Close)}
	state.listener.Store(peers)
	err := state.http.Serve(peers)
	select {
	case <-state.stopping:
		return nil
	default:
		return err
	}
}

// Shutdown closes the listener, ends the watching of runs, and waits for requests under way. When ctx ends first it cuts
// them and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	state := s.start()
	state.stop()
	if l := state.listener.Load(); l != nil {
		_ = l.Close()
		state.awaitRequests(ctx)
	}
	err := state.http.Shutdown(ctx)
	if err != nil {
		_ = state.http.Close()
	}
	return err
}

// awaitRequests gives connections that were accepted just now a moment to ask: http.Server.Shutdown cuts them.
func (s *state) awaitRequests(ctx context.Context) {
	const moment, look = 500 * time.Millisecond, 2 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for range moment / look {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.waiting.Load() == 0 {
			return
		}
	}
}

func (s *Server) role() Role {
	if s.Role == RoleUser {
		return RoleUser
	}
	return RoleSystem
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func (s *Server) uid() int {
	if s.ownUID == nil {
		return os.Geteuid()
	}
	return s.ownUID()
}

func (s *Server) users() users {
	if s.database == nil {
		return systemUsers{}
	}
	return s.database
}

func (s *Server) build() Build {
	b := s.Build
	if b.Go == "" {
		b.Go = runtime.Version()
	}
	return b
}
