package httpauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-krb5/krb5/keytab"
)

// Check opens and reads everything that the options name, without asking any server and without running any program, and
// returns all that is wrong: what New would refuse, and what would go wrong with the first request.
func Check(o Options) []error {
	var errs []error
	base, err := o.check()
	if err != nil {
		errs = append(errs, err)
	}
	return append(errs, o.checkFiles(base)...)
}

// CheckFiles is Check for options that are not right yet, or name no server: it looks at the files alone.
func CheckFiles(o Options) []error {
	o.CAOnly = o.CAOnly && o.CAFile != ""
	return o.checkFiles(&url.URL{})
}

// checkFiles opens what the options name; base is nil when the URL cannot be used.
func (o *Options) checkFiles(base *url.URL) (errs []error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := o.roots(); err != nil {
		note(fmt.Errorf("prepare the roots: %w", err))
	}
	if c := &o.ClientCertificate; c.File != "" {
		note(c.check(o.Now()))
	}
	switch {
	case (o.Method == NTLM || o.Method == Basic) && o.Password != nil:
		_, _, err := account{o.Username, o.Password}.read()
		note(err)
	case o.Method == Kerberos && base != nil && o.Kerberos.check(o.Username) == nil:
		note(o.checkKerberos(base))
	case o.Method == OAuth2 && o.OAuth.check() == nil:
		note(o.checkOAuth())
	}
	return errs
}

// check is load for a certificate that is to be used from now on.
func (c *ClientCertificate) check(now time.Time) error {
	cert, err := c.load(now)
	if err == nil && now.Before(cert.Leaf.NotBefore) {
		err = fmt.Errorf("the client certificate %s is valid only from %s on; check the clock, or put another one there", c.File, cert.Leaf.NotBefore.Format(time.DateOnly))
	}
	return err
}

// checkKerberos reads the keytab or the credential cache, and looks for the principal in it.
func (o *Options) checkKerberos(base *url.URL) error {
	m, err := newKerberos(o.Kerberos, o.Username, base, o.Now)
	if err != nil {
		return err
	}
	p, _, err := m.read(context.Background())
	if err != nil {
		return err
	}
	file := p.(*kerberosProof).file
	if o.Kerberos.Keytab != "" {
		return m.checkKeytab(file)
	}
	_, err = m.ticketGranting(file)
	return err
}

// checkKeytab looks for the keys of the principal.
func (m *kerberosMethod) checkKeytab(file []byte) error {
	keys := keytab.New()
	if err := guarded(func() error { return keys.Unmarshal(file) }); err != nil {
		return fmt.Errorf("the keytab %s is damaged; make it again", m.options.Keytab)
	}
	who, err := m.principal(m.username)
	if err != nil {
		return err
	}
	var others []string
	for _, e := range keys.Entries {
		name := e.Principal.String()
		if name == who.String() {
			return nil
		}
		if len(others) < 5 && !strings.Contains(strings.Join(others, " "), name) {
			others = append(others, name)
		}
	}
	return fmt.Errorf("the keytab %s has no key of %s, but of: %s; check exchange.auth.username, or make the keytab again", m.options.Keytab, who, strings.Join(others, ", "))
}

// checkOAuth reads the source of tokens.
func (o *Options) checkOAuth() error {
	m := newOAuth(o.OAuth, nil, o.Now)
	p, _, err := m.read(context.Background())
	if err != nil {
		return err
	}
	a := &o.OAuth
	switch {
	case a.AccessTokenFile != "" && !bearerSyntax.MatchString(strings.TrimSpace(string(p.(*oauthProof).secret))):
		return fmt.Errorf("the access token in %s is empty, or has characters that no bearer token has", a.AccessTokenFile)
	case len(a.AccessTokenCommand) > 0:
		info, err := os.Stat(a.AccessTokenCommand[0])
		if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0) {
			err = errors.New("it is not a program")
		}
		if err != nil {
			return fmt.Errorf("look at exchange.auth.access_token_command: %w", err)
		}
	}
	return nil
}
