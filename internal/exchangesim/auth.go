package exchangesim

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"sync"
)

// authenticator decides who may ask.
type authenticator struct {
	method Auth
	user   string
	pass   string
	ntlm   *ntlmServer
}

func newAuthenticator(o Options, leaf *x509.Certificate) *authenticator {
	a := &authenticator{method: o.Auth, user: o.User, pass: o.Password}
	if o.Auth == AuthNTLM {
		a.ntlm = newNTLMServer(o, leaf)
	}
	return a
}

// connection is what the server remembers about one connection: NTLM authenticates connections, not requests.
type connection struct {
	mu sync.Mutex
	// negotiate and challenge are the first two messages of a handshake under way.
	negotiate, challenge []byte
	authenticated        bool
}

type connectionKey struct{}

func withConnection(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// allow reports whether the request is authenticated; when it is not, the answer is written.
func (a *authenticator) allow(w http.ResponseWriter, r *http.Request) bool {
	switch a.method {
	case AuthBasic:
		user, pass, ok := r.BasicAuth()
		if ok && sameUser(user, a.user) && subtle.ConstantTimeCompare([]byte(pass), []byte(a.pass)) == 1 {
			return true
		}
	case AuthNTLM:
		return a.allowNTLM(w, r)
	default:
		return true
	}
	a.refuse(w, r)
	return false
}

// refuse answers 401 with the offers of this server and forgets what the connection had proven.
func (a *authenticator) refuse(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		c.mu.Lock()
		c.negotiate, c.challenge, c.authenticated = nil, nil, false
		c.mu.Unlock()
	}
	switch a.method {
	case AuthNTLM:
		w.Header().Add("WWW-Authenticate", "Negotiate")
		w.Header().Add("WWW-Authenticate", "NTLM")
	default:
		w.Header().Add("WWW-Authenticate", `Basic realm="exchangesim"`)
	}
	http.Error(w, "401 - Unauthorized: Access is denied due to invalid credentials.", http.StatusUnauthorized)
}

// allowNTLM runs the handshake of one connection (MS-NTHT section 3.2).
func (a *authenticator) allowNTLM(w http.ResponseWriter, r *http.Request) bool {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok || r.ProtoMajor != 1 {
		a.refuse(w, r)
		return false
	}
	scheme, token, found := ntlmToken(r.Header.Get("Authorization"))
	if !found {
		c.mu.Lock()
		authenticated := c.authenticated
		c.mu.Unlock()
		if !authenticated || r.Header.Get("Authorization") != "" {
			a.refuse(w, r)
			return false
		}
		return true
	}
	switch messageType(token) {
	case ntlmNegotiate:
		if answer := a.ntlm.challenge(c, token); answer != nil {
			w.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(answer))
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
	case ntlmAuthenticate:
		if a.ntlm.authenticate(c, token) {
			return true
		}
	}
	a.refuse(w, r)
	return false
}

// ntlmToken reads an Authorization header that carries an NTLM message, bare or under the name Negotiate.
func ntlmToken(header string) (scheme string, token []byte, ok bool) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "NTLM") && !strings.EqualFold(scheme, "Negotiate") || len(text) > 16<<10 {
		return "", nil, false
	}
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	return scheme, token, err == nil
}

// sameUser compares a user name as sent with `DOMAIN\name`: the domain may be missing, or the name be
// name@domain in the DNS form of the domain.
func sameUser(sent, want string) bool {
	domain, name, ok := strings.Cut(want, `\`)
	if !ok {
		return strings.EqualFold(sent, want)
	}
	sentDomain, sentName, ok := strings.Cut(sent, `\`)
	if !ok {
		sentDomain, sentName = "", sent
	}
	if sentDomain == "" {
		return strings.EqualFold(sentName, name) || strings.EqualFold(sentName, name+"@"+dnsDomain(domain))
	}
	return strings.EqualFold(sentName, name) && (strings.EqualFold(sentDomain, domain) || strings.EqualFold(sentDomain, dnsDomain(domain)))
}

// dnsDomain is the DNS name of a NetBIOS domain of the stand-in.
func dnsDomain(netbios string) string { return strings.ToLower(netbios) + ".example" }
