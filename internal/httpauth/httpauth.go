// Package httpauth makes the http.Client for one Exchange server: who the server must prove to be (TLS), how this program
// proves who it is (NTLM, Kerberos, OAuth 2, Basic), and how much either side may ask of the other. Sources of directory
// data get the client and know no password.
//
// What it promises: certificates are always verified, and nothing turns that off; plain http goes to loopback addresses
// only; Basic and bearer tokens go over verified TLS only, and never because a server asks for them; redirects are not
// followed; the client speaks to its one server only; no proxy is used, whatever the environment says, because a proxy on
// the way would see who is asked for, and NTLM belongs to one connection end to end; HTTP/2 is off for the same reason; a
// refused credential is tried twice and then left alone, so that a daemon does not lock an account. No error and no log
// holds a credential.
//
// NTLM is version 2 of MS-NLMP, with the channel binding of the TLS connection (RFC 5929) and a MIC, so that servers with
// Extended Protection take it. Its three messages are made here: github.com/Azure/go-ntlmssp, which the first version
// used, writes no binding, leaves no room for a MIC, sends every question three times and hides why a handshake broke. It
// stays as the second opinion in the tests, where both must make the same proof.
//
// Kerberos is SPNEGO (RFC 4559, RFC 4178) with the same binding in the checksum of the authenticator (RFC 4121 section
// 4.1.1) and with mutual authentication, put together from the messages of github.com/go-krb5/krb5.
package httpauth

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Method is how the client proves who it is.
type Method string

// Methods. None is accepted for loopback addresses only.
const (
	NTLM     Method = "ntlm"
	Kerberos Method = "kerberos"
	OAuth2   Method = "oauth2"
	Basic    Method = "basic"
	None     Method = "none"
)

// Bounds of a connection.
const (
	dialTimeout    = 10 * time.Second
	tlsTimeout     = 10 * time.Second
	headerTimeout  = 60 * time.Second
	idleTimeout    = 90 * time.Second
	maxHeader      = 64 << 10 // bytes of an answer's header
	maxCAFile      = 4 << 20  // bytes
	maxUsername    = 1024     // bytes
	maxConns       = 8
	defaultConns   = 2
	defaultCooling = 6 * time.Hour
)

// Options say which server and which credential.
type Options struct {
	// URL of the service; the client refuses requests to another scheme, host or port.
	URL string
	// CAFile is a PEM file with roots beside the system's; with CAOnly they are the only ones.
	CAFile string
	CAOnly bool
	// Roots takes the place of the system's roots; nil is the system's.
	Roots *x509.CertPool
	// Method is required.
	Method Method
	// Username is DOMAIN\user, user@domain or user; without a colon.
	Username string
	// Password is called for each request, so that a changed password counts at once.
	Password func() ([]byte, error)
	// ClientCertificate is shown in TLS to a server that asks for one.
	ClientCertificate ClientCertificate
	// Kerberos and OAuth are for the methods of these names.
	Kerberos KerberosOptions
	OAuth    OAuthOptions
	// Dial takes the place of the network's own dialer for https; nil is that one. The server's certificate is verified all
	// the same.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxConns is how many connections are open at the same time, 1 to 8; zero is 2.
	MaxConns int
	// CoolDown is how long a credential that was refused twice is not tried again; zero is 6 hours.
	CoolDown time.Duration
	// LockoutFile remembers refusals from one process to the next, so that restarts do not lock an account; empty is no
	// memory. It is made and removed as needed, with mode 0600; its folder must be writable. It holds no secret.
	LockoutFile string
	// LockoutScope is what refusals are counted for together; empty is the server of URL. Clients of several servers that
	// share a file need the same one.
	LockoutScope string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// New returns a client for the server of o.URL. Its answers are those of the server, 401 among them; a request whose
// credential was refused twice before returns an error that wraps ErrLockedOut.
func New(o Options) (*http.Client, error) {
	t, err := o.transport()
	if err != nil {
		return nil, fmt.Errorf("prepare the sign-in to Exchange: %w", err)
	}
	base := t.base
	roots, err := o.roots()
	if err != nil {
		return nil, fmt.Errorf("prepare the roots for %s: %w", base.Host, err)
	}
	if o.ClientCertificate.File != "" {
		if _, err := o.ClientCertificate.load(o.Now()); err != nil {
			return nil, fmt.Errorf("prepare the sign-in to Exchange: %w", err)
		}
	}
	if o.LockoutFile != "" {
		if err := t.guard.remember(o.LockoutFile); err != nil {
			return nil, fmt.Errorf("prepare the sign-in to Exchange: %w", err)
		}
	}
	t.lanes = newLanes(cmp.Or(o.MaxConns, defaultConns), func() *lane {
		h := newTransport(base, roots)
		o.dial(h, base)
		h.TLSClientConfig.GetClientCertificate = o.ClientCertificate.forServer(o.Now)
		return &lane{http: h, guard: t.guard}
	})
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// transport makes the part of a client that chooses the credential; it has no connections yet.
func (o *Options) transport() (*transport, error) {
	base, err := o.check()
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m, err := o.newMethod(base)
	return &transport{base: base, kind: string(o.Method), scope: cmp.Or(o.LockoutScope, base.Host), method: m,
		guard: newGuard(cmp.Or(o.CoolDown, defaultCooling), o.Now)}, err
}

func (o *Options) newMethod(base *url.URL) (method, error) {
	who := account{o.Username, o.Password}
	switch o.Method {
	case NTLM:
		return ntlmMethod{account: who, target: "HTTP/" + base.Hostname(), now: o.Now}, nil
	case Kerberos:
		return newKerberos(o.Kerberos, o.Username, base, o.Now)
	case OAuth2:
		roots, err := o.oauthRoots()
		return newOAuth(o.OAuth, roots, o.Now), err
	case Basic:
		return basicMethod{who}, nil
	default:
		return noMethod{}, nil
	}
}

// check reports options that would send a secret where it does not belong, or that make no sense.
func (o *Options) check() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return nil, errors.New("the URL is not of the form https://HOST/PATH; check exchange.url")
	}
	local := isLoopback(u.Hostname())
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("scheme %q of the URL is not https; check exchange.url", u.Scheme)
	case u.Scheme == "http" && !local:
		return nil, fmt.Errorf("plain http to %s would show everything to everybody; use https in exchange.url (plain http is for loopback addresses)", u.Host)
	case o.Method == Basic && u.Scheme != "https":
		return nil, errors.New("method \"basic\" sends the password itself and needs https; change exchange.url or exchange.auth.method")
	case o.Method == OAuth2 && u.Scheme != "https":
		return nil, errors.New("method \"oauth2\" sends the token itself and needs https; change exchange.url or exchange.auth.method")
	case o.Method == None && !local:
		return nil, fmt.Errorf("method \"none\" is for loopback addresses, and %s is none; set exchange.auth.method", u.Host)
	case !slices.Contains([]Method{NTLM, Kerberos, OAuth2, Basic, None}, o.Method):
		return nil, fmt.Errorf("method %q is not \"ntlm\", \"kerberos\", \"oauth2\", \"basic\" or \"none\"; set exchange.auth.method", o.Method)
	case o.ClientCertificate.File == "" && o.ClientCertificate.KeyFile != "":
		return nil, errors.New("there is a key without a client certificate; set exchange.client_cert_file")
	case o.ClientCertificate.File != "" && u.Scheme != "https":
		return nil, errors.New("a client certificate needs https; change exchange.url")
	case o.MaxConns < 0 || o.MaxConns > maxConns:
		return nil, fmt.Errorf("%d connections are not between 1 and %d", o.MaxConns, maxConns)
	case o.CoolDown < 0:
		return nil, errors.New("the cool-down is negative")
	}
	return u, o.checkCredential()
}

// checkCredential reports what is missing for the method.
func (o *Options) checkCredential() error {
	switch o.Method {
	case None:
		return nil
	case Kerberos:
		return o.Kerberos.check(o.Username)
	case OAuth2:
		return o.OAuth.check()
	}
	switch {
	case o.Username == "" || len(o.Username) > maxUsername || strings.ContainsRune(o.Username, ':') || strings.ContainsFunc(o.Username, unicode.IsControl):
		return errors.New("the username is empty, too long, or has a colon or a control character; check exchange.auth.username")
	case o.Password == nil:
		return errors.New("there is no password; set exchange.auth.password_file")
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// roots returns the pool that the server's certificate is verified with; nil is the system's.
func (o *Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		if o.CAOnly {
			return nil, errors.New("only the roots of a file are to be used, and no file is named; set exchange.ca_file")
		}
		return o.Roots, nil
	}
	pool := x509.NewCertPool()
	switch {
	case o.CAOnly:
	case o.Roots != nil:
		pool = o.Roots.Clone()
	default:
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("read the system's roots: %w", err)
		}
		pool = system
	}
	if err := addFile(pool, o.CAFile); err != nil {
		return nil, fmt.Errorf("read exchange.ca_file %s: %w", o.CAFile, err)
	}
	return pool, nil
}

// oauthRoots returns the pool for the authorization server, which is another one: the roots of the system count even when
// only those of the file count for Exchange.
func (o *Options) oauthRoots() (*x509.CertPool, error) {
	both := *o
	both.CAOnly = false
	return both.roots()
}

// addFile adds every certificate of a PEM file. A file without one, or with something else in it, is an error.
func addFile(pool *x509.CertPool, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	rest, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return err
	}
	if len(rest) > maxCAFile {
		return fmt.Errorf("it is longer than %d bytes", maxCAFile)
	}
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if n == 0 {
				return errors.New("there is no PEM certificate in it")
			}
			return nil
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("there is a %q in it; only certificates belong there", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
	}
}

// newTransport makes a transport of one connection.
func newTransport(base *url.URL, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	if base.Scheme == "http" {
		dialer.Control = loopbackOnly
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        1,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		Protocols:              &protocols,
	}
}

// loopbackOnly refuses a connection for plain http that leaves this machine, whatever "localhost" resolves to.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	if ap, err := netip.ParseAddrPort(address); err != nil || !ap.Addr().IsLoopback() {
		return fmt.Errorf("plain http to %s would leave this machine", address)
	}
	return nil
}
