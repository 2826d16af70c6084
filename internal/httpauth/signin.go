package httpauth

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/oauth2"
)

// savedSignIn is the file of a device sign-in.
type savedSignIn struct {
	// ID stands for the sign-in as long as it is renewed; a new one gets another.
	ID           string `json:"id"`
	TokenURL     string `json:"token_url"`
	ClientID     string `json:"client_id"`
	RefreshToken string `json:"refresh_token"`
}

// errSignIn reports that nobody signed in yet, or not for these settings.
type errSignIn struct{ reason string }

func (e *errSignIn) Error() string { return e.reason }

// Unauthorized tells sources that the credential is the cause.
func (*errSignIn) Unauthorized() bool { return true }

// Hint says what to do.
func (*errSignIn) Hint() string { return "run galsyncd auth login as the user of the daemon" }

// loadSignIn reads the file. A refresh token is never shown to another server, or for another application, than the one
// it came from.
func loadSignIn(path string, o *OAuthOptions) (*savedSignIn, error) {
	b, err := readPrivate(path, maxToken)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &errSignIn{fmt.Sprintf("nobody has signed in yet: there is no %s", path)}
	}
	if err != nil {
		return nil, fmt.Errorf("read the saved sign-in: %w", err)
	}
	var s savedSignIn
	if json.Unmarshal(b, &s) != nil || s.ID == "" || s.RefreshToken == "" {
		return nil, &errSignIn{fmt.Sprintf("the saved sign-in %s is damaged", path)}
	}
	if s.TokenURL != o.TokenURL || s.ClientID != o.ClientID {
		return nil, &errSignIn{fmt.Sprintf("the saved sign-in %s is for another server or application", path)}
	}
	return &s, nil
}

func (s *savedSignIn) save(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("save the sign-in: %w", err)
	}
	return nil
}

// replaceFile writes a file that only this user can read, so that there is either the old one or the new one, whatever
// happens.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// behindLinks is the file that a name leads to: a link to it would be replaced instead of it.
func behindLinks(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// lockFile keeps other processes away from a file that is read, used and replaced.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process to let go of %s: %w", path, ctx.Err())
		}
	}
}

// refresh trades the refresh token for an access token (RFC 6749 section 6). The one that comes back is kept before the
// access token is used: the old one may be good for one use only.
func (m *oauthMethod) refresh(ctx context.Context) (*bearer, error) {
	path := behindLinks(m.options.RefreshTokenFile)
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("use the saved sign-in: %w", err)
	}
	defer unlock()
	s, err := loadSignIn(path, &m.options) // again: another process may have used it
	if err != nil {
		return nil, err
	}
	if err := writable(path); err != nil {
		return nil, fmt.Errorf("use the saved sign-in: the refresh token is good for one use, and the next one could not be kept: %w", err)
	}
	// Once it is sent, the old token may be gone: the answer is waited for even when nobody wants it any more. The time limit
	// of the http.Client holds.
	t, err := m.options.config().TokenSource(context.WithoutCancel(ctx), &oauth2.Token{RefreshToken: s.RefreshToken}).Token()
	if err != nil {
		return nil, newOAuthError("renew the sign-in at "+m.options.TokenURL, err)
	}
	if t.RefreshToken != s.RefreshToken {
		s.RefreshToken = t.RefreshToken
		if err := s.save(path); err != nil {
			return nil, err
		}
	}
	return m.newBearer(t), nil
}

// writable finds out whether the file can be replaced.
func writable(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// DevicePrompt is what a person must do to sign in: open the address in a browser, on any machine, and enter the code.
type DevicePrompt struct {
	Address string
	// AddressWithCode needs no typing; empty when the server has none.
	AddressWithCode string
	Code            string
	Expires         time.Time
}

// Bounds of a device sign-in.
const (
	maxDeviceWait     = 30 * time.Minute
	maxDeviceInterval = 60 // seconds
)

// DeviceLogin signs a person in with the device authorization grant (RFC 8628) and keeps the refresh token in
// o.OAuth.RefreshTokenFile. It calls show once, then waits until the person is done, the code ends, or ctx does.
func DeviceLogin(ctx context.Context, o Options, show func(DevicePrompt)) error {
	roots, err := o.checkDeviceLogin()
	if err != nil {
		return fmt.Errorf("prepare the sign-in: %w", err)
	}
	a := &o.OAuth
	path := behindLinks(a.RefreshTokenFile)
	if err := writable(path); err != nil {
		return fmt.Errorf("prepare the sign-in: the token could not be kept: %w", err)
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.client(roots))
	config := a.config()
	device, err := config.DeviceAuth(ctx)
	if err != nil {
		return newOAuthError("ask "+a.DeviceURL+" for a code", err)
	}
	latest := time.Now().Add(maxDeviceWait)
	if device.Expiry.IsZero() || device.Expiry.After(latest) {
		device.Expiry = latest
	}
	device.Interval = max(0, min(device.Interval, maxDeviceInterval))
	if !printable(device.VerificationURI, device.VerificationURIComplete, device.UserCode) || checkEndpoint("device_url", device.VerificationURI) != nil {
		return errors.New("the server's address for the sign-in is not of the form https://HOST/PATH, or its code cannot be shown")
	}
	show(DevicePrompt{Address: device.VerificationURI, AddressWithCode: device.VerificationURIComplete, Code: device.UserCode, Expires: device.Expiry})
	t, err := config.DeviceAccessToken(ctx, device)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the code ended before anybody signed in with it")
	case err != nil:
		return newOAuthError("wait for the sign-in at "+a.TokenURL, err)
	case t.RefreshToken == "":
		return errors.New("the server gave no refresh token; add offline_access to exchange.auth.scopes")
	}
	unlock, err := lockFile(ctx, path)
	if err != nil {
		return fmt.Errorf("save the sign-in: %w", err)
	}
	defer unlock()
	s := &savedSignIn{ID: rand.Text(), TokenURL: a.TokenURL, ClientID: a.ClientID, RefreshToken: t.RefreshToken}
	return s.save(path)
}

// printable reports whether strings of a server can be shown on a terminal.
func printable(list ...string) bool {
	for _, s := range list {
		if len(s) > 512 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			return false
		}
	}
	return true
}

func (o *Options) checkDeviceLogin() (*x509.CertPool, error) {
	if o.Method != OAuth2 || o.OAuth.RefreshTokenFile == "" {
		return nil, errors.New("a person signs in with method \"oauth2\" and a token_file; set them in exchange.auth")
	}
	if _, err := o.check(); err != nil {
		return nil, err
	}
	if err := checkEndpoint("device_url", o.OAuth.DeviceURL); err != nil {
		return nil, err
	}
	return o.oauthRoots()
}
