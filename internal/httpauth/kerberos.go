package httpauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-krb5/krb5/config"
	"github.com/go-krb5/krb5/iana/nametype"
	"github.com/go-krb5/krb5/keytab"
	"github.com/go-krb5/krb5/messages"
	"github.com/go-krb5/krb5/types"
)

// maxKeytab bounds a keytab, in bytes.
const maxKeytab = 1 << 20

// KerberosOptions say where the credential of method Kerberos is. One of Keytab and CredentialCache is required.
type KerberosOptions struct {
	// Keytab is a file with the keys of the principal Options.Username (name@REALM, or name in the default realm of
	// krb5.conf). Nobody else may be able to read it. Tickets are fetched with it before they end.
	Keytab string
	// CredentialCache is a file that another program keeps fresh (kinit, k5start, SSSD): a path, FILE:path, or "default"
	// for what $KRB5CCNAME says, else /tmp/krb5cc_UID. It is read for each request. With a Username it must be that
	// principal's.
	CredentialCache string
	// Config is the krb5.conf; empty is $KRB5_CONFIG, else /etc/krb5.conf. It is read once.
	Config string
	// Service is the service principal name of Exchange; empty is HTTP/ and the host of the URL.
	Service string
}

func (o *KerberosOptions) check(username string) error {
	switch {
	case (o.Keytab == "") == (o.CredentialCache == ""):
		return errors.New("method \"kerberos\" needs either a keytab or a credential cache; set exchange.auth.keytab_file or exchange.auth.credential_cache")
	case o.Keytab != "" && username == "":
		return errors.New("the keytab may hold keys of several principals; set exchange.auth.username to name@REALM")
	case strings.ContainsAny(username, `\:`):
		return errors.New("exchange.auth.username is not a principal; write name@REALM")
	case o.Service != "" && (strings.Count(o.Service, "/") != 1 || strings.HasPrefix(o.Service, "/") || strings.HasSuffix(o.Service, "/")):
		return fmt.Errorf("the service principal %q is not of the form HTTP/HOST; check exchange.auth.service_principal", o.Service)
	}
	if o.CredentialCache != "" {
		if _, err := ccachePath(o.CredentialCache); err != nil {
			return err
		}
	}
	return nil
}

// kerberosMethod is SPNEGO with Kerberos (RFC 4559, RFC 4178). Its ticket is shared by all connections.
type kerberosMethod struct {
	options  KerberosOptions
	username string
	cfg      *config.Config
	kdc      *kdc
	spn      types.PrincipalName
	now      func() time.Time

	fetching chan struct{} // one slot

	mu     sync.Mutex
	held   *ticket
	source [sha256.Size]byte // of the file that the ticket came from
}

func newKerberos(o KerberosOptions, username string, base *url.URL, now func() time.Time) (*kerberosMethod, error) {
	cfg, err := loadKrb5Conf(o.Config)
	if err != nil {
		return nil, err
	}
	service := o.Service
	if service == "" {
		service = "HTTP/" + strings.ToLower(base.Hostname())
	}
	return &kerberosMethod{options: o, username: username, cfg: cfg, kdc: newKDC(cfg), spn: types.NewPrincipalName(nametype.KRB_NT_SRV_INST, service), now: now,
		fetching: make(chan struct{}, 1)}, nil
}

// read reads the keytab or the cache, so that a change counts at once.
func (m *kerberosMethod) read(context.Context) (proof, []byte, error) {
	path, limit, what := m.options.Keytab, int64(maxKeytab), "keytab"
	if path == "" {
		what, limit = "credential cache", maxCCache
		var err error
		if path, err = ccachePath(m.options.CredentialCache); err != nil {
			return nil, nil, err
		}
	}
	b, err := readPrivate(path, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("read the %s: %w", what, err)
	}
	return &kerberosProof{m, b}, append([]byte(m.username+"\x00"), b...), nil
}

// principal takes name@REALM apart.
func (m *kerberosMethod) principal(username string) (principal, error) {
	name, realm, ok := strings.Cut(username, "@")
	if !ok {
		realm = m.cfg.LibDefaults.DefaultRealm
	}
	if name == "" || realm == "" {
		return principal{}, fmt.Errorf("%q names no realm, and krb5.conf has no default_realm; set exchange.auth.username to name@REALM", username)
	}
	return principal{types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, name), realm}, nil
}

// ticketFor returns the ticket for the service; fresh means that it was fetched now. One request fetches, others wait.
func (m *kerberosMethod) ticketFor(ctx context.Context, l *lane, file []byte) (t *ticket, fresh bool, err error) {
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	source := sha256.Sum256(file)
	m.mu.Lock()
	t, from := m.held, m.source
	m.mu.Unlock()
	if t != nil && source == from && m.now().Before(t.renewAt()) {
		return t, false, nil
	}
	if m.options.Keytab != "" {
		t, err = m.fromKeytab(ctx, l, file)
	} else {
		t, err = m.fromCache(ctx, file)
	}
	if err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	m.held, m.source = t, source
	m.mu.Unlock()
	return t, true, nil
}

// renewAt is when a ticket is replaced: five minutes before its end, of a short one a sixth of its life.
func (t *ticket) renewAt() time.Time {
	return t.end.Add(-min(5*time.Minute, t.end.Sub(t.start)/6))
}

// forget drops a ticket that the server refused; the key of the service may have changed.
func (m *kerberosMethod) forget(t *ticket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == t {
		m.held = nil
	}
}

// fromKeytab signs in to the KDC, under the eyes of the guard: it counts failures towards a lock-out as well. Its yes does
// not undo a no of Exchange.
func (m *kerberosMethod) fromKeytab(ctx context.Context, l *lane, file []byte) (*ticket, error) {
	keys := keytab.New()
	if err := guarded(func() error { return keys.Unmarshal(file) }); err != nil {
		return nil, errors.New("the keytab is damaged; make it again")
	}
	who, err := m.principal(m.username)
	if err != nil {
		return nil, err
	}
	if err := l.guard.enter(ctx, l.credential); err != nil {
		return nil, err
	}
	tgt, err := m.kdc.login(ctx, who, keys)
	var no *kdcError
	if errors.As(err, &no) && no.Unauthorized() {
		l.guard.leave(l.credential, refused)
		return nil, err
	}
	l.guard.leave(l.credential, unanswered)
	if err != nil {
		return nil, err
	}
	return m.kdc.service(ctx, tgt, m.spn)
}

// fromCache gets the ticket of the service with the ticket-granting one of the cache.
func (m *kerberosMethod) fromCache(ctx context.Context, file []byte) (*ticket, error) {
	tgt, err := m.ticketGranting(file)
	if err != nil {
		return nil, err
	}
	return m.kdc.service(ctx, tgt, m.spn)
}

// ticketGranting finds the ticket-granting ticket of the principal in a credential cache.
func (m *kerberosMethod) ticketGranting(file []byte) (*ticket, error) {
	c, err := parseCCache(file)
	if err != nil {
		return nil, fmt.Errorf("read the credential cache: %w", err)
	}
	if m.username != "" {
		if who, err := m.principal(m.username); err != nil || !who.equal(c.client) {
			return nil, fmt.Errorf("the credential cache is that of %s, not of %s; check exchange.auth.username and exchange.auth.credential_cache", c.client, m.username)
		}
	}
	if len(c.client.name.NameString) == 0 {
		return nil, errCCache
	}
	tgt := c.find(principal{ticketGranting(c.client.realm), c.client.realm}, m.now())
	if tgt == nil {
		return nil, &staleCache{c.client.String()}
	}
	return tgt, nil
}

// find returns the ticket for a server that lives longest, nil when none lives.
func (c *ccache) find(server principal, now time.Time) *ticket {
	var best *ticket
	for _, e := range c.entries {
		var t messages.Ticket
		if !e.server.equal(server) || !now.Before(e.end) || best != nil && e.end.Before(best.end) {
			continue
		}
		if guarded(func() error { return t.Unmarshal(e.ticket) }) == nil {
			best = &ticket{client: c.client, ticket: t, key: e.key, start: e.start, end: e.end}
		}
	}
	return best
}

// staleCache is a credential cache that nobody renewed.
type staleCache struct{ client string }

func (s *staleCache) Error() string {
	return fmt.Sprintf("the credential cache of %s has no ticket-granting ticket that is still good", s.client)
}

// Unauthorized tells sources that the credential is the cause.
func (*staleCache) Unauthorized() bool { return true }

// Hint says what to do.
func (*staleCache) Hint() string {
	return "run kinit, or let a program renew it (k5start); a keytab needs neither"
}

// kerberosProof is what one request is signed with.
type kerberosProof struct {
	method *kerberosMethod
	file   []byte
}

// spnegoState is what a lane learns about its server.
type spnegoState struct {
	signedIn bool   // a token was accepted on the connection
	eachTime bool   // the server wants a token with each request
	endPoint []byte // of the connection
}

// do asks without a token first, because the connection may be signed in. From a server that wants one with each request
// it saves the question without.
func (p *kerberosProof) do(l *lane, req *http.Request) (*http.Response, error) {
	q, err := newQuestion(req)
	if err != nil {
		return nil, err
	}
	if l.spnego.eachTime {
		resp, err := p.present(l, q)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		l.spnego = spnegoState{}
		return resp, nil
	}
	resp, fresh, err := l.ask(q.plain())
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if _, ok := offered(resp, "Negotiate"); !ok {
		l.refuseUnseen()
		return resp, nil
	}
	l.spnego.eachTime = l.spnego.signedIn && !fresh
	l.spnego.endPoint = endPoint(resp.TLS)
	resp, err = p.present(l, q)
	l.spnego.signedIn = err == nil && resp.StatusCode != http.StatusUnauthorized
	return resp, err
}

// present sends the question with a token. A ticket from before that is refused is replaced, and so is a token that was
// bound to another certificate than that of the connection it went over; neither says anything about the credential.
func (p *kerberosProof) present(l *lane, q *question) (*http.Response, error) {
	for try := 0; ; try++ {
		t, fresh, err := p.method.ticketFor(q.req.Context(), l, p.file)
		if err != nil {
			return nil, err
		}
		bound := l.spnego.endPoint
		token, err := newSPNEGO(t, bound)
		if err != nil {
			return nil, fmt.Errorf("make a Kerberos token: %w", err)
		}
		again := false
		resp, err := l.show(q.signed("Negotiate", token.token), func(resp *http.Response, _ bool) outcome {
			l.spnego.endPoint = endPoint(resp.TLS)
			if again = try < 2 && (!fresh || !bytes.Equal(bound, l.spnego.endPoint)); again {
				return unanswered
			}
			return refused
		})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			return verified(resp, token)
		}
		p.method.forget(t)
		l.http.CloseIdleConnections() // some servers remember a handshake that failed
		if !again {
			return resp, nil
		}
	}
}

// verified returns the answer of a server that proved itself, or said nothing.
func verified(resp *http.Response, token *spnegoProof) (*http.Response, error) {
	answer, _ := offered(resp, "Negotiate")
	if err := token.verify(answer); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}
