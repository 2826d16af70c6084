package httpauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Bounds of OAuth.
const (
	maxToken       = 64 << 10 // bytes of a token
	oauthTimeout   = 30 * time.Second
	commandTimeout = 30 * time.Second
	// unknownLife is how long a token is used that does not say how long it lives.
	unknownLife = 5 * time.Minute
)

// OAuthOptions say where the tokens of method OAuth2 come from. Exactly one of RefreshTokenFile, ClientSecret,
// AccessTokenFile and AccessTokenCommand is set.
type OAuthOptions struct {
	// TokenURL and DeviceURL are the endpoints of the authorization server (RFC 6749 section 3.2, RFC 8628 section 3.1);
	// https only. EntraEndpoints knows those of a tenant.
	TokenURL, DeviceURL string
	// ClientID is the identifier of the registered application.
	ClientID string
	// Scopes are what is asked for, for example https://outlook.office365.com/EWS.AccessAsUser.All and offline_access.
	Scopes []string

	// RefreshTokenFile is where DeviceLogin keeps the refresh token; its folder must be writable, because the token is
	// replaced when it was used once.
	RefreshTokenFile string
	// ClientSecret is that of the application itself (RFC 6749 section 4.4).
	ClientSecret func() ([]byte, error)
	// AccessTokenFile holds a bearer token that another program keeps fresh. It is read for each request.
	AccessTokenFile string
	// AccessTokenCommand prints a bearer token: an absolute path and arguments, run without a shell. It is run again after
	// five minutes, and when its token is refused.
	AccessTokenCommand []string

	// Roots takes the place of the system's roots and of Options.CAFile for the authorization server.
	Roots *x509.CertPool
}

// EntraEndpoints are the endpoints of a tenant of Microsoft Entra ID, by its name or identifier.
func EntraEndpoints(tenant string) (tokenURL, deviceURL string) {
	base := "https://login.microsoftonline.com/" + url.PathEscape(tenant) + "/oauth2/v2.0/"
	return base + "token", base + "devicecode"
}

func (o *OAuthOptions) check() error {
	sources := 0
	for _, set := range []bool{o.RefreshTokenFile != "", o.ClientSecret != nil, o.AccessTokenFile != "", len(o.AccessTokenCommand) > 0} {
		if set {
			sources++
		}
	}
	switch {
	case sources != 1:
		return errors.New("method \"oauth2\" needs exactly one source of tokens; set one of token_file, client_secret_file, access_token_file and access_token_command in exchange.auth")
	case len(o.AccessTokenCommand) > 0 && !filepath.IsAbs(o.AccessTokenCommand[0]):
		return errors.New("exchange.auth.access_token_command does not begin with an absolute path")
	case o.AccessTokenFile != "" || len(o.AccessTokenCommand) > 0:
		return nil
	case o.ClientID == "":
		return errors.New("there is no client identifier; set exchange.auth.client_id")
	}
	return checkEndpoint("token_url", o.TokenURL)
}

func checkEndpoint(key, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("exchange.auth.%s is not of the form https://HOST/PATH", key)
	}
	return nil
}

// client is the http.Client for the authorization server: verified TLS, no redirects. A proxy of the environment is used:
// such servers are out on the Internet, and TLS goes through it end to end.
func (o *OAuthOptions) client(roots *x509.CertPool) *http.Client {
	t := newTransport(&url.URL{Scheme: "https"}, roots)
	t.Proxy = http.ProxyFromEnvironment
	return &http.Client{
		Transport: t, Timeout: oauthTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// config never tries two ways to show a secret: a refused one would be shown twice, and a single-use token be gone.
func (o *OAuthOptions) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, Scopes: o.Scopes,
		Endpoint: oauth2.Endpoint{TokenURL: o.TokenURL, DeviceAuthURL: o.DeviceURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// bearer is an access token and when it is replaced.
type bearer struct {
	token   string
	renewAt time.Time
}

// oauthMethod sends a bearer token with each request (RFC 6750).
type oauthMethod struct {
	options OAuthOptions
	http    *http.Client
	now     func() time.Time

	fetching chan struct{} // one slot

	mu   sync.Mutex
	held *bearer
	from string // the secret that it was fetched with
}

func newOAuth(o OAuthOptions, roots *x509.CertPool, now func() time.Time) *oauthMethod {
	if o.Roots != nil {
		roots = o.Roots
	}
	return &oauthMethod{options: o, http: o.client(roots), now: now, fetching: make(chan struct{}, 1)}
}

// read returns what stands for the sign-in. It does not change when a token is renewed, so that fresh tokens that are
// refused add up.
func (m *oauthMethod) read(context.Context) (proof, []byte, error) {
	o := &m.options
	var secret []byte
	var err error
	switch {
	case o.RefreshTokenFile != "":
		var s *savedSignIn
		if s, err = loadSignIn(o.RefreshTokenFile, o); err == nil {
			secret = []byte(s.ID)
		}
	case o.ClientSecret != nil:
		if secret, err = o.ClientSecret(); err != nil {
			err = fmt.Errorf("read the client secret: %w", err)
		} else if len(secret) == 0 {
			err = errors.New("the client secret is empty; check exchange.auth.client_secret_file")
		}
	case o.AccessTokenFile != "":
		if secret, err = readPrivate(o.AccessTokenFile, maxToken); err != nil {
			err = fmt.Errorf("read the access token: %w", err)
		}
	default:
		secret = []byte(strings.Join(o.AccessTokenCommand, "\x00"))
	}
	if err != nil {
		return nil, nil, err
	}
	return &oauthProof{m, secret}, append([]byte(o.ClientID+"\x00"), secret...), nil
}

// oauthProof is what one request is signed with.
type oauthProof struct {
	method *oauthMethod
	secret []byte
}

// do sends a request with a token. A token from before that is refused is replaced once; it may have been revoked, or the
// clocks differ.
func (p *oauthProof) do(l *lane, req *http.Request) (*http.Response, error) {
	q, err := newQuestion(req)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		b, fresh, err := p.method.token(req.Context(), l, p.secret)
		if err != nil {
			return nil, err
		}
		last := fresh || try == 2 // other requests may have fetched meanwhile
		signed := q.plain()
		signed.Header.Set("Authorization", "Bearer "+b.token)
		resp, err := l.show(signed, func(*http.Response, bool) outcome {
			if last {
				return refused
			}
			return unanswered
		})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			return resp, nil
		}
		p.method.forget(b)
		if last {
			return resp, nil
		}
		_ = resp.Body.Close()
	}
}

// token returns an access token; fresh means that it was fetched now. One request fetches, others wait.
func (m *oauthMethod) token(ctx context.Context, l *lane, secret []byte) (b *bearer, fresh bool, err error) {
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	m.mu.Lock()
	b, from := m.held, m.from
	m.mu.Unlock()
	if b != nil && from == string(secret) && m.now().Before(b.renewAt) {
		return b, false, nil
	}
	if b, err = m.fetch(ctx, l, secret); err != nil {
		return nil, false, err
	}
	if !bearerSyntax.MatchString(b.token) {
		return nil, false, errors.New("the access token is empty, or has characters that no bearer token has")
	}
	m.mu.Lock()
	m.held, m.from = b, string(secret)
	m.mu.Unlock()
	return b, true, nil
}

// bearerSyntax is b64token of RFC 6750 section 2.1.
var bearerSyntax = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

func (m *oauthMethod) forget(b *bearer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == b {
		m.held = nil
	}
}

// fetch gets a token from its source. The word of an authorization server that the credential is bad counts like a 401 of
// Exchange; its yes does not undo one.
func (m *oauthMethod) fetch(ctx context.Context, l *lane, secret []byte) (*bearer, error) {
	o := &m.options
	switch {
	case o.AccessTokenFile != "":
		return &bearer{string(bytes.TrimSpace(secret)), m.now().Add(unknownLife)}, nil
	case len(o.AccessTokenCommand) > 0:
		return m.run(ctx)
	}
	if err := l.guard.enter(ctx, l.credential); err != nil {
		return nil, err
	}
	b, err := m.grant(ctx, secret)
	var no *oauthError
	if errors.As(err, &no) && no.Unauthorized() {
		l.guard.leave(l.credential, refused)
		return nil, err
	}
	l.guard.leave(l.credential, unanswered)
	return b, err
}

func (m *oauthMethod) grant(ctx context.Context, secret []byte) (*bearer, error) {
	o := &m.options
	ctx = context.WithValue(ctx, oauth2.HTTPClient, m.http)
	if o.RefreshTokenFile != "" {
		return m.refresh(ctx)
	}
	c := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: string(secret), TokenURL: o.TokenURL, Scopes: o.Scopes, AuthStyle: oauth2.AuthStyleInParams}
	t, err := c.Token(ctx)
	if err != nil {
		return nil, newOAuthError("sign in to "+o.TokenURL, err)
	}
	return m.newBearer(t), nil
}

// newBearer replaces a token a minute before its end, one of a short life earlier.
func (m *oauthMethod) newBearer(t *oauth2.Token) *bearer {
	life := time.Duration(t.ExpiresIn) * time.Second
	if t.ExpiresIn <= 0 || t.ExpiresIn > 30*24*3600 {
		life = unknownLife
	}
	return &bearer{t.AccessToken, m.now().Add(life - min(time.Minute, life/6))}
}

// run runs the command. What it says on standard error may hold secrets and is dropped.
func (m *oauthMethod) run(ctx context.Context) (*bearer, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	args := m.options.AccessTokenCommand
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := &bounded{limit: maxToken, full: cancel}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s, which prints the access token: %w", args[0], cmp.Or(context.Cause(ctx), err))
	}
	return &bearer{strings.TrimSpace(string(out.kept)), m.now().Add(unknownLife)}, nil
}

// bounded keeps what is written to it, up to a limit; then it calls full. It has no ReadFrom, which would go around that.
type bounded struct {
	kept  []byte
	limit int
	full  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > b.limit {
		b.full()
		return 0, errors.New("the output is too long for a token")
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// oauthError is the word of an authorization server, or trouble on the way to it, without anything that may be secret in
// it. It does not unwrap: a refused connection beneath it would be taken for one of Exchange.
type oauthError struct {
	what, code string
	cause      error // nil when the server answered
}

var (
	oauthCode = regexp.MustCompile(`^[a-z_]{1,40}$`)
	entraCode = regexp.MustCompile(`\bAADSTS[0-9]{1,10}\b`)
)

// newOAuthError keeps of an answer its code, and Entra's own, which administrators look up.
func newOAuthError(what string, err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			return &oauthError{what: what, cause: wrapped.Err}
		}
		return &oauthError{what: what, code: "no usable answer"}
	}
	e := &oauthError{what: what, code: "no usable answer"}
	if answer.Response != nil {
		e.code = fmt.Sprintf("http status %d", answer.Response.StatusCode)
	}
	if oauthCode.MatchString(answer.ErrorCode) {
		e.code = answer.ErrorCode
	}
	if entra := entraCode.FindString(answer.ErrorDescription); entra != "" {
		e.code += " " + entra
	}
	return e
}

func (e *oauthError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.what, e.cause)
	}
	return fmt.Sprintf("%s: the authorization server says %s", e.what, e.code)
}

// Temporary tells sources that it may pass.
func (e *oauthError) Temporary() bool { return !e.Unauthorized() }

// Unauthorized tells sources that the credential is the cause (RFC 6749 section 5.2).
func (e *oauthError) Unauthorized() bool {
	code, _, _ := strings.Cut(e.code, " ")
	switch code {
	case "invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "access_denied", "interaction_required":
		return true
	}
	return false
}

// Hint says what to do.
func (e *oauthError) Hint() string {
	switch code, _, _ := strings.Cut(e.code, " "); code {
	case "invalid_grant", "interaction_required":
		return "sign in again: galsyncd auth login"
	case "invalid_client", "unauthorized_client":
		return "check exchange.auth.client_id and the client secret, and that the application may use this grant"
	case "invalid_scope":
		return "check exchange.auth.scopes"
	}
	return "check exchange.auth.token_url, and that this machine reaches it"
}
