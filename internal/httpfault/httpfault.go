// Package httpfault says in words what went wrong with an HTTP exchange, below the protocol that it carried: names,
// connections, TLS, and the header fields that tell a client what to do. The clients of Exchange share it, so that one
// trouble has one name.
package httpfault

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// maxBackOff is the longest Retry-After that is believed.
const maxBackOff = 24 * time.Hour

// RetryAfter reads Retry-After (RFC 9110 section 10.2.3): seconds, or a date. It is zero when the server did not say, and
// a day at most. Nil for now is time.Now.
func RetryAfter(resp *http.Response, now func() time.Time) time.Duration {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(max(0, min(n, int64(maxBackOff/time.Second)))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if now == nil {
		now = time.Now
	}
	return max(0, min(at.Sub(now()), maxBackOff))
}

// Offers names the authentication schemes of a 401.
func Offers(h http.Header) string {
	var schemes []string
	for _, v := range h.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(v), " ")
		if scheme = Clean(strings.TrimSuffix(scheme, ","), 20); scheme != "" && !slices.Contains(schemes, scheme) && len(schemes) < 8 {
			schemes = append(schemes, scheme)
		}
	}
	return cmp.Or(strings.Join(schemes, ", "), "no way to sign in")
}

// Location is the target of a redirect without what may be secret in it.
func Location(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return Clean(u.String(), 200)
}

// IsBroken reports an error of the connection, not of what came over it.
func IsBroken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// HintFront is for answers that are not what Exchange sent.
const HintFront = "look for a proxy, load balancer or filter in front of Exchange that changes or cuts answers"

// Explain says in words what went wrong below HTTP, what to do, and whether it may pass.
func Explain(err error) (reason, hint string, temporary bool) {
	if reason, hint = explainTLS(err); reason != "" {
		return reason, hint, false
	}
	var dns *net.DNSError
	var network net.Error
	const reach = "check exchange.url, the network, and any firewall between here and there"
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %q was not found", Clean(dns.Name, 100)), "check exchange.url and the name servers of this machine", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused; nothing listens there", reach, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the server from here", reach, true
	case errors.As(err, &network) && network.Timeout():
		return "the server did not answer in time", reach, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke before the answer was complete", HintFront, true
	case errors.As(err, &network):
		return Clean(err.Error(), 200), reach, true
	}
	var passes interface{ Temporary() bool }
	return Clean(err.Error(), 200), "", errors.As(err, &passes) && passes.Temporary()
}

// explainTLS says what is wrong with the server's certificate or its TLS; empty when that is not it.
func explainTLS(err error) (reason, hint string) {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		remote    *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "the server's certificate comes from an authority that is not trusted here",
			"save that authority's root certificate as PEM and name the file in exchange.ca_file"
	case errors.As(err, &host):
		return "the server's certificate is for another host: " + Clean(host.Error(), 200),
			"write a name that is in the certificate into exchange.url, or have a certificate with this name installed on the server"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the server's certificate %q is valid only from %s to %s", Clean(invalid.Cert.Subject.String(), 80),
				invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly)),
			"have the certificate renewed on the server, and check the clock of this machine"
	case errors.As(err, &verify):
		return "the server's certificate was refused: " + Clean(verify.Err.Error(), 200),
			"have a certificate for this host name from a trusted authority installed on the server; exchange.ca_file adds an authority"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "the server does not speak TLS on this port", "check host and port of exchange.url"
	case errors.As(err, &remote) && remote.Op == "remote error": // so crypto/tls marks an alert of the other side
		return "the server ended the TLS handshake: " + Clean(remote.Err.Error(), 100), "the server must offer TLS 1.2 or newer"
	}
	return "", ""
}

// Clean makes text of a server fit for one line: no control characters, at most limit characters.
func Clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}

// IsLoopback reports a host, without port, that never leaves this machine.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
