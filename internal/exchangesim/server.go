package exchangesim

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// Auth is how clients have to authenticate.
type Auth string

// Authentication methods.
const (
	AuthNone  Auth = "none"
	AuthBasic Auth = "basic"
	AuthNTLM  Auth = "ntlm"
)

// Path is where the stand-in answers, in any case.
const Path = "/EWS/Exchange.asmx"

// Options of a stand-in. The zero value has only the people at fixed addresses, no authentication, and TLS on a free port
// of 127.0.0.1.
type Options struct {
	// Entries is the number of ordinary entries, on top of those at fixed addresses; Seed picks them. The same two
	// numbers always make the same directory with the same certificates.
	Entries int
	Seed    uint64
	// Contacts is the number of personal contacts in the mailbox of the account.
	Contacts int
	// Auth is AuthNone when empty.
	Auth Auth
	// User is `DOMAIN\name`; Password must not be empty unless Auth is AuthNone.
	User, Password string
	// RequireChannelBinding refuses NTLM without channel binding, as Extended Protection "Require" does. A wrong binding
	// is always refused.
	RequireChannelBinding bool
	// Latency is waited before every authenticated answer.
	Latency time.Duration
	// Listen is a loopback address with port; "127.0.0.1:0" when empty.
	Listen string
	// Plain serves http without TLS; only with AuthNone.
	Plain bool
	// UserAgent, when set, is the only one that is admitted, as with an EwsAllowList; others get the status 403.
	UserAgent string
	// Names are further DNS names in the TLS certificate, besides localhost.
	Names []string
	// HTTP2 offers HTTP/2 as well, over which NTLM never succeeds. Without it only HTTP/1.1 is spoken.
	HTTP2 bool
	// ActiveSync varies the ActiveSync half.
	ActiveSync ActiveSyncOptions
	// ErrorLog takes complaints of the HTTP server about clients; nil drops them.
	ErrorLog *log.Logger
}

// Requests are counters since the start.
type Requests struct {
	// HTTP counts all requests, those of a handshake included; Unauthorized the answers with status 401.
	HTTP, Unauthorized int64
	// ResolveNames and ExpandDL count requests that passed authentication and the schema; Full those ResolveNames that
	// asked for AllProperties; Faults the answers spoilt on command.
	ResolveNames, ExpandDL, Full, Faults int64
	// FindItem and GetItem count the requests about contacts.
	FindItem, GetItem int64
	// BytesSent counts bodies as sent, compressed ones in their compressed size.
	BytesSent int64
}

// Server is a running stand-in. All methods may be used at the same time.
type Server struct {
	options  Options
	keys     *keyPool
	dir      *Directory
	contacts *ContactFolder
	ca       *testca.CA
	leaf     *testca.Leaf
	auth     *authenticator
	faults   faultList
	discover autodiscoverState
	devices  deviceList
	listener net.Listener
	http     *http.Server
	// stop ends answers that never end by themselves.
	stop     context.Context
	stopNow  context.CancelFunc
	served   chan error
	closing  sync.Once
	counters struct{ http, unauthorized, resolve, expand, find, get, full, faults, bytes atomic.Int64 }
}

// ErrOptions is wrapped by the error of New when its Options do not make sense.
var ErrOptions = errors.New("invalid options")

// New makes a stand-in with its directory and a TLS authority of its own. It does not listen yet.
func New(o Options) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Auth == "" {
		o.Auth = AuthNone
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	keys, err := loadKeys()
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, keys: keys, dir: newDirectory(keys), served: make(chan error, 1)}
	if err := s.dir.populate(o.Entries, o.Seed); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	s.contacts = &ContactFolder{dir: s.dir}
	s.contacts.populate(o.Contacts)
	if err := s.certify(); err != nil {
		return nil, fmt.Errorf("make the TLS certificate: %w", err)
	}
	s.auth = newAuthenticator(o, s.leaf.Certificate)
	s.stop, s.stopNow = context.WithCancel(context.Background())
	return s, nil
}

func newDirectory(keys *keyPool) *Directory {
	return &Directory{keys: keys, owners: map[string]int32{}}
}

func (o *Options) check() error {
	switch o.Auth {
	case AuthNone, AuthBasic, AuthNTLM:
	default:
		return fmt.Errorf("authentication %q is not one of ntlm, basic, none", o.Auth)
	}
	if o.Auth != AuthNone && (o.User == "" || o.Password == "") {
		return fmt.Errorf("authentication %q needs a user and a password", o.Auth)
	}
	if o.Plain && o.Auth != AuthNone {
		return errors.New("plain http is served without authentication only: use none")
	}
	if o.Entries < 0 || o.Entries > 10_000_000 {
		return fmt.Errorf("%d entries: the number must be between 0 and 10000000", o.Entries)
	}
	if o.Contacts < 0 || o.Contacts > 100_000 {
		return fmt.Errorf("%d contacts: the number must be between 0 and 100000", o.Contacts)
	}
	return loopback(o.Listen)
}

// loopback refuses addresses that other machines could reach.
func loopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", listen, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen address %q is not a loopback address: the stand-in's keys are public, it serves this machine only", listen)
}

// certify makes the authority and the server certificate of this start.
func (s *Server) certify() error {
	ca, err := testca.New("exchangesim TLS CA")
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	s.ca = ca
	s.leaf, err = ca.Leaf(testca.Options{CommonName: "localhost", Key: key, DNSNames: append([]string{"localhost"}, s.options.Names...),
		IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, KeyUsage: x509.KeyUsageDigitalSignature})
	return err
}

// Start listens and serves in the background until Close.
func (s *Server) Start() error {
	listener, err := net.Listen("tcp", s.options.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.options.Listen, err)
	}
	s.listener = listener
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(s.options.HTTP2)
	errorLog := s.options.ErrorLog
	if errorLog == nil {
		errorLog = log.New(io.Discard, "", 0)
	}
	s.http = &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ConnContext:       withConnection,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errorLog,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{
			Certificate: [][]byte{s.leaf.Certificate.Raw}, PrivateKey: s.leaf.Key}}},
	}
	go func() {
		if s.options.Plain {
			s.served <- s.http.Serve(listener)
		} else {
			s.served <- s.http.ServeTLS(listener, "", "")
		}
	}()
	return nil
}

// Close ends all answers, closes all connections and waits until the server has stopped. It may be called twice.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		s.stopNow()
		if s.http == nil {
			return
		}
		err = s.http.Close()
		if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	})
	return err
}

// URL is where a started server answers, for example https://127.0.0.1:34567/EWS/Exchange.asmx.
func (s *Server) URL() string {
	scheme := "https"
	if s.options.Plain {
		scheme = "http"
	}
	return scheme + "://" + s.listener.Addr().String() + Path
}

// TLSCA is the authority of the server's TLS certificate; another one after every start.
func (s *Server) TLSCA() *x509.Certificate { return s.ca.Certificate }

// SMIMECA is the authority of the certificates in the directory; always the same, its key is public.
func (s *Server) SMIMECA() *x509.Certificate { return s.keys.smime.Certificate }

// Directory is the address book; it may be changed while the server runs.
func (s *Server) Directory() *Directory { return s.dir }

// Contacts is the account's folder of personal contacts; it may be changed while the server runs.
func (s *Server) Contacts() *ContactFolder { return s.contacts }

// Identity returns the certificate that the entry with the address owns, also when the directory shows another one or
// none, and its private key (an *rsa.PrivateKey or *ecdsa.PrivateKey). For SeveralValues it is the last one, for Renewed
// the current one, for SomeoneElse that of Alice.
func (s *Server) Identity(address string) (*x509.Certificate, crypto.Signer, error) {
	return s.dir.identity(address)
}

// Requests returns the counters.
func (s *Server) Requests() Requests {
	c := &s.counters
	return Requests{HTTP: c.http.Load(), Unauthorized: c.unauthorized.Load(), ResolveNames: c.resolve.Load(), ExpandDL: c.expand.Load(),
		FindItem: c.find.Load(), GetItem: c.get.Load(), Full: c.full.Load(), Faults: c.faults.Load(), BytesSent: c.bytes.Load()}
}
