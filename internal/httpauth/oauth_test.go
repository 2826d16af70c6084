package httpauth

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const tokenLife = 20 * time.Second

// authServer is an authorization server whose refresh tokens are good for one use, and the resource server that takes its
// access tokens. Both live by the clock of the test.
type authServer struct {
	t   *testing.T
	now func() time.Time

	mu      sync.Mutex
	serial  int
	refresh string               // the one that is good
	access  map[string]time.Time // when each ends
	pending int                  // polls of the device before somebody signs in
	refuse  bool                 // the resource server takes no token
	answer  string               // instead of an answer, when not empty
	grants  map[string]int       // requests per grant type
	shown   int                  // tokens shown to the resource server
}

func (s *authServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/device":
		s.reply(w, 200, map[string]any{"device_code": "device-secret", "user_code": "ABCD-EFGH", "verification_uri": "https://login.example.com/device", "expires_in": 900, "interval": 1})
	case "/token":
		s.token(w, r)
	default:
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != "" {
			s.shown++
		}
		if ends, ok := s.access[token]; !ok || s.refuse || !s.now().Before(ends) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="x", authorization_uri="https://login.example.com"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("hello"))
	}
}

func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	kind := r.PostFormValue("grant_type")
	s.grants[kind]++
	no := func(code string) {
		s.reply(w, 400, map[string]any{"error": code, "error_description": "AADSTS50076: for " + r.PostFormValue("refresh_token") + r.PostFormValue("client_secret")})
	}
	switch {
	case s.answer != "":
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte(s.answer + r.PostForm.Encode()))
	case r.Header.Get("Authorization") != "":
		s.t.Error("the secret came in a second place")
	case r.PostFormValue("client_id") != "client":
		no("invalid_client")
	case kind == "client_credentials" && r.PostFormValue("client_secret") != secret:
		no("invalid_client")
	case kind == "refresh_token" && r.PostFormValue("refresh_token") != s.refresh:
		s.refresh = "" // as real ones do: a token used twice ends the sign-in
		no("invalid_grant")
	case strings.HasSuffix(kind, "device_code") && s.pending > 0:
		s.pending--
		no("authorization_pending")
	default:
		s.serial++
		access := fmt.Sprintf("access-%d", s.serial)
		s.access[access] = s.now().Add(tokenLife)
		out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(tokenLife / time.Second)}
		if kind != "client_credentials" {
			s.refresh = fmt.Sprintf("refresh-%d", s.serial)
			out["refresh_token"] = s.refresh
		}
		s.reply(w, 200, out)
	}
}

func (s *authServer) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *authServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// oauthTest is a client of an authServer.
type oauthTest struct {
	*exchangeTest
	server *authServer
	file   string
	roots  *x509.CertPool
}

func newOAuthTest(t *testing.T, change func(*OAuthOptions)) *oauthTest {
	t.Helper()
	s := &authServer{t: t, access: map[string]time.Time{}, grants: map[string]int{}}
	address, pool := start(t, s)
	x := &oauthTest{server: s, file: filepath.Join(t.TempDir(), "sign-in"), roots: pool}
	x.exchangeTest = newClient(t, address, pool, func(o *Options) {
		o.Method, o.Username, o.Password, o.OAuth = OAuth2, "", nil, x.options(address)
		if change != nil {
			change(&o.OAuth)
		}
	})
	s.now = x.clock
	return x
}

func (x *oauthTest) options(address string) OAuthOptions {
	return OAuthOptions{TokenURL: address + "/token", DeviceURL: address + "/device", ClientID: "client", Scopes: []string{"ews", "offline_access"}, RefreshTokenFile: x.file}
}

func (x *oauthTest) clock() time.Time { return x.now.Load().(time.Time) }

func (x *oauthTest) pass(d time.Duration) { x.now.Store(x.clock().Add(d)) }

// login signs in as a person would.
func (x *oauthTest) login(t *testing.T) {
	t.Helper()
	var prompt DevicePrompt
	err := DeviceLogin(t.Context(), Options{URL: x.url, Roots: x.roots, Method: OAuth2, OAuth: x.options(x.url)}, func(p DevicePrompt) { prompt = p })
	if err != nil {
		t.Fatal(err)
	}
	if prompt.Code != "ABCD-EFGH" || prompt.Address != "https://login.example.com/device" || prompt.Expires.IsZero() {
		t.Errorf("%+v", prompt)
	}
}

func (x *oauthTest) wantHello(t *testing.T) {
	t.Helper()
	if status, body, err := x.ask(t, "q"); status != 200 || body != "hello" || err != nil {
		t.Fatalf("%d %q %v", status, body, err)
	}
}

// TestRefreshTokens asks for an hour with tokens that live 20 seconds and refresh tokens that are good once.
func TestRefreshTokens(t *testing.T) {
	x := newOAuthTest(t, nil)
	var u interface{ Unauthorized() bool }
	if _, _, err := x.ask(t, "q"); !errors.As(err, &u) || !strings.Contains(err.Error(), "signed in") {
		t.Fatalf("before the sign-in: %v", err)
	}
	x.server.pending = 1
	x.login(t)
	if info, err := os.Stat(x.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	for range 360 {
		x.wantHello(t)
		x.pass(10 * time.Second)
	}
	if n := x.server.grants["refresh_token"]; n != 180 {
		t.Errorf("%d renewals in an hour of tokens that live 20 seconds, want 180", n)
	}
	if n := x.server.shown; n != 360 {
		t.Errorf("%d requests for 360 questions", n)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(x.file), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

// TestRefreshTokenOfTwoProcesses lets two clients share one sign-in; each token is used once.
func TestRefreshTokenOfTwoProcesses(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	other := newClient(t, x.url, x.roots, func(o *Options) {
		o.Method, o.Username, o.Password, o.OAuth, o.Now = OAuth2, "", nil, x.options(x.url), x.clock
	})
	for range 10 {
		var wg sync.WaitGroup
		for range 4 {
			for _, c := range []*exchangeTest{x.exchangeTest, other} {
				wg.Go(func() {
					if status, _, err := c.ask(t, "q"); status != 200 || err != nil {
						t.Errorf("%d %v", status, err)
					}
				})
			}
		}
		wg.Wait()
		x.pass(time.Minute)
	}
	if n := x.server.grants["refresh_token"]; n != 20 {
		t.Errorf("%d renewals, want one a round for each of two clients", n)
	}
}

// TestSignInBehindALink: a symbolic link to the file stays one, and what it leads to is what is renewed.
func TestSignInBehindALink(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	moved := filepath.Join(t.TempDir(), "token")
	if err := errors.Join(os.Rename(x.file, moved), os.Symlink(moved, x.file)); err != nil {
		t.Fatal(err)
	}
	direct := newClient(t, x.url, x.roots, func(o *Options) {
		o.Method, o.Username, o.Password, o.OAuth, o.Now = OAuth2, "", nil, x.options(x.url), x.clock
		o.OAuth.RefreshTokenFile = moved
	})
	for range 3 {
		x.wantHello(t)
		if status, _, err := direct.ask(t, "q"); status != 200 || err != nil {
			t.Fatalf("by its own name: %d %v", status, err)
		}
		x.pass(time.Minute)
	}
	if to, err := os.Readlink(x.file); to != moved || err != nil {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	x.login(t)
	if to, err := os.Readlink(x.file); to != moved || err != nil {
		t.Errorf("after a new sign-in the link leads to %q, %v", to, err)
	}
}

func TestRefreshTokenThatEnded(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	x.wantHello(t)
	x.server.set(func() { x.server.refresh = "revoked" })
	x.pass(time.Minute)
	for i := range 4 {
		_, _, err := x.ask(t, "q")
		var h interface{ Hint() string }
		if !errors.As(err, &h) || errors.Is(err, ErrLockedOut) != (i >= 2) || i < 2 && !strings.Contains(h.Hint(), "auth login") {
			t.Errorf("try %d: %v", i, err)
		}
		for _, s := range []string{"refresh-", "access-"} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("the error has a token in it: %v", err)
			}
		}
		if i == 0 && !strings.Contains(err.Error(), "invalid_grant AADSTS50076") {
			t.Errorf("the error does not say why: %v", err)
		}
	}
	if n := x.server.grants["refresh_token"]; n != 3 {
		t.Errorf("%d renewals were asked for, want 3: one, and two that were refused", n)
	}
	x.login(t) // a new sign-in is tried at once
	x.wantHello(t)
}

// TestFreshTokenThatIsRefused stops like a refused password, and counts each try once.
func TestFreshTokenThatIsRefused(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	x.wantHello(t)
	x.server.set(func() { x.server.refuse = true })
	for i := range 4 {
		status, _, err := x.ask(t, "q")
		if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("try %d: %d %v", i, status, err)
		}
	}
	if x.server.shown != 1+3 { // the old token once, two fresh ones
		t.Errorf("%d tokens were shown", x.server.shown)
	}
}

// TestRevokedToken replaces a token that was revoked before its end, without a count.
func TestRevokedToken(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	for range 5 {
		x.wantHello(t)
		x.server.set(func() { clear(x.server.access) })
	}
}

func TestClientCredentials(t *testing.T) {
	password := "wrong"
	x := newOAuthTest(t, func(o *OAuthOptions) {
		o.RefreshTokenFile = ""
		o.ClientSecret = func() ([]byte, error) { return []byte(password), nil }
	})
	for i := range 3 {
		if _, _, err := x.ask(t, "q"); err == nil || errors.Is(err, ErrLockedOut) != (i >= 2) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("try %d: %v", i, err)
		}
	}
	if n := x.server.grants["client_credentials"]; n != 2 {
		t.Errorf("the secret was shown %d times", n)
	}
	password = secret
	for range 4 {
		x.wantHello(t)
		x.pass(15 * time.Second)
	}
	x.server.set(func() { x.server.answer = "<html>" })
	x.pass(time.Hour)
	var temporary interface{ Temporary() bool }
	for range 4 {
		if _, _, err := x.ask(t, "q"); !errors.As(err, &temporary) || !temporary.Temporary() || strings.Contains(err.Error(), secret) {
			t.Errorf("a server in trouble: %v", err)
		}
	}
}

func TestTokenFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "token"), "access-of-mine\n", 0o600)
	script := put(t, filepath.Join(dir, "print"), "#!/bin/sh\necho secret >&2\ncat "+file+"\n", 0o700)
	for name, change := range map[string]func(*OAuthOptions){
		"file":    func(o *OAuthOptions) { *o = OAuthOptions{AccessTokenFile: file} },
		"command": func(o *OAuthOptions) { *o = OAuthOptions{AccessTokenCommand: []string{script}} },
	} {
		t.Run(name, func(t *testing.T) {
			put(t, file, "access-of-mine\n", 0o600)
			x := newOAuthTest(t, change)
			x.server.access["access-of-mine"] = x.clock().Add(time.Hour)
			x.wantHello(t)
			x.server.set(func() {
				clear(x.server.access)
				x.server.access["next"] = x.clock().Add(time.Hour)
			})
			put(t, file, "next\n", 0o600)
			x.wantHello(t)
			put(t, file, "not a token\n", 0o600)
			x.pass(time.Hour)
			if _, _, err := x.ask(t, "q"); err == nil || strings.Contains(err.Error(), "not a") {
				t.Errorf("%v", err)
			}
			if name == "command" {
				put(t, file, "exit 3", 0o600)
				put(t, script, "#!/bin/sh\nexit 3\n", 0o700)
				if _, _, err := x.ask(t, "q"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
					t.Errorf("%v", err)
				}
				put(t, script, "#!/bin/sh\nyes\n", 0o700)
				if _, _, err := x.ask(t, "q"); err == nil {
					t.Error("an endless token was accepted")
				}
			}
		})
	}
}

func TestSignInFile(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.login(t)
	o := x.options(x.url)
	for name, change := range map[string]func(){
		"another server":      func() { o.TokenURL = "https://evil.example.com/token" },
		"another application": func() { o.ClientID = "other" },
	} {
		o = x.options(x.url)
		change()
		if _, err := loadSignIn(x.file, &o); err == nil || !strings.Contains(err.Error(), "another") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Chmod(x.file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.ask(t, "q"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable for everybody: %v", err)
	}
}

func FuzzSignInFile(f *testing.F) {
	f.Add([]byte(`{"id":"a","token_url":"https://x/","client_id":"c","refresh_token":"r"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := loadSignIn(path, &OAuthOptions{TokenURL: "https://x/", ClientID: "c"}); err == nil && s.RefreshToken == "" {
			t.Fatal("no token")
		}
	})
}

func TestDeviceLoginGivenUp(t *testing.T) {
	x := newOAuthTest(t, nil)
	x.server.pending = 1000
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{URL: x.url, Roots: x.roots, Method: OAuth2, OAuth: x.options(x.url)}
	if err := DeviceLogin(ctx, o, func(DevicePrompt) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	o.OAuth.RefreshTokenFile = "/nowhere/sign-in"
	if err := DeviceLogin(t.Context(), o, func(DevicePrompt) { t.Error("a person was asked in vain") }); err == nil {
		t.Error("a file that cannot be written was accepted")
	}
	if printable("\x1b[2J") || !printable("ABCD-EFGH") {
		t.Error("printable")
	}
}

func TestOAuthOptions(t *testing.T) {
	token, device := EntraEndpoints("example.com")
	if token != "https://login.microsoftonline.com/example.com/oauth2/v2.0/token" || device != "https://login.microsoftonline.com/example.com/oauth2/v2.0/devicecode" {
		t.Error(token, device)
	}
	const exchange = "https://mail.example.com/EWS/Exchange.asmx"
	for name, tc := range map[string]struct {
		url  string
		o    OAuthOptions
		want string
	}{
		"refresh token":      {exchange, OAuthOptions{TokenURL: token, ClientID: "c", RefreshTokenFile: "/f"}, ""},
		"token file":         {exchange, OAuthOptions{AccessTokenFile: "/f"}, ""},
		"no source":          {exchange, OAuthOptions{TokenURL: token, ClientID: "c"}, "exactly one"},
		"two sources":        {exchange, OAuthOptions{TokenURL: token, ClientID: "c", RefreshTokenFile: "/f", AccessTokenFile: "/g"}, "exactly one"},
		"no client":          {exchange, OAuthOptions{TokenURL: token, RefreshTokenFile: "/f"}, "client_id"},
		"plain token server": {exchange, OAuthOptions{TokenURL: "http://127.0.0.1/token", ClientID: "c", RefreshTokenFile: "/f"}, "token_url"},
		"relative command":   {exchange, OAuthOptions{AccessTokenCommand: []string{"oama"}}, "absolute"},
		"plain http":         {"http://127.0.0.1/", OAuthOptions{AccessTokenFile: "/f"}, "needs https"},
	} {
		_, err := New(Options{URL: tc.url, Method: OAuth2, OAuth: tc.o})
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
