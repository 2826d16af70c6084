package httpauth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestCheck finds what is wrong with files before any server is asked, and all of it.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		return put(t, filepath.Join(dir, name), content, mode)
	}
	ca, err := testca.New("clients")
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(o testca.Options) (cert, key string) {
		l, err := ca.Leaf(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(testca.CertificatePEM(l.Certificate)), pemKey(t, l.Key)
	}
	cert, key := leaf(testca.Options{CommonName: "one"})
	_, otherKey := leaf(testca.Options{CommonName: "two"})
	soon, soonKey := leaf(testca.Options{CommonName: "soon", NotBefore: time.Now().AddDate(0, 1, 0), NotAfter: time.Now().AddDate(1, 0, 0)})
	keys, err := testKeytab(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	keytab, conf := file("keytab", string(keys), 0o600), file("krb5.conf", "[libdefaults]\n default_realm = TEST.EXAMPLE\n", 0o644)
	kerberos := func(change func(*Options)) Options {
		o := Options{Method: Kerberos, Username: "u@TEST.EXAMPLE", Kerberos: KerberosOptions{Keytab: keytab, Config: conf}}
		change(&o)
		return o
	}
	basic := func(change func(*Options)) Options {
		o := Options{Method: Basic, Username: "u", Password: func() ([]byte, error) { return []byte("right"), nil }}
		change(&o)
		return o
	}
	oauth := func(a OAuthOptions) Options { return Options{Method: OAuth2, OAuth: a} }
	for name, tc := range map[string]struct {
		o    Options
		want []string
	}{
		"basic":       {basic(func(*Options) {}), nil},
		"no password": {basic(func(o *Options) { o.Password = func() ([]byte, error) { return nil, errors.New("no such file") } }), []string{"no such file"}},
		"no roots":    {basic(func(o *Options) { o.CAFile = filepath.Join(dir, "none.pem") }), []string{"none.pem"}},
		"certificate": {basic(func(o *Options) { o.ClientCertificate.File = file("ok.pem", cert+key, 0o600) }), nil},
		"another key": {basic(func(o *Options) {
			o.ClientCertificate = ClientCertificate{File: file("c.pem", cert, 0o644), KeyFile: file("k.pem", otherKey, 0o600)}
		}), []string{"belong together"}},
		"from tomorrow": {basic(func(o *Options) { o.ClientCertificate.File = file("soon.pem", soon+soonKey, 0o600) }), []string{"valid only from"}},
		"all at once": {basic(func(o *Options) {
			o.CAFile, o.Password, o.ClientCertificate.File = filepath.Join(dir, "none.pem"), func() ([]byte, error) { return nil, errors.New("no such file") }, filepath.Join(dir, "no-certificate")
		}), []string{"none.pem", "no-certificate", "no such file"}},

		"keytab":            {kerberos(func(*Options) {}), nil},
		"default realm":     {kerberos(func(o *Options) { o.Username = "u" }), nil},
		"another principal": {kerberos(func(o *Options) { o.Username = "svc@TEST.EXAMPLE" }), []string{"no key of svc@TEST.EXAMPLE, but of: u@TEST.EXAMPLE"}},
		"another realm":     {kerberos(func(o *Options) { o.Username = "u@OTHER.EXAMPLE" }), []string{"no key of u@OTHER.EXAMPLE"}},
		"damaged keytab":    {kerberos(func(o *Options) { o.Kerberos.Keytab = file("damaged", string(keys[:20]), 0o600) }), []string{"damaged"}},
		"open keytab":       {kerberos(func(o *Options) { o.Kerberos.Keytab = file("open", string(keys), 0o644) }), []string{"chmod 600"}},
		"no keytab":         {kerberos(func(o *Options) { o.Kerberos.Keytab = filepath.Join(dir, "gone") }), []string{"gone"}},
		"no krb5.conf":      {kerberos(func(o *Options) { o.Kerberos.Config = filepath.Join(dir, "gone.conf") }), []string{"gone.conf"}},
		"stale cache": {kerberos(func(o *Options) {
			o.Kerberos.Keytab, o.Kerberos.CredentialCache = "", file("stale", string(ccacheBytes("krbtgt/TEST.EXAMPLE", time.Unix(1e9, 0))), 0o600)
		}), []string{"no ticket-granting ticket that is still good"}},
		"somebody's cache": {kerberos(func(o *Options) {
			o.Username, o.Kerberos.Keytab, o.Kerberos.CredentialCache = "v@TEST.EXAMPLE", "", file("theirs", string(ccacheBytes("krbtgt/TEST.EXAMPLE", time.Unix(1e9, 0))), 0o600)
		}), []string{"is that of u@TEST.EXAMPLE"}},
		"no cache": {kerberos(func(o *Options) {
			o.Kerberos.Keytab, o.Kerberos.CredentialCache = "", file("bad", "not a cache", 0o600)
		}), []string{"credential cache"}},

		"token":         {oauth(OAuthOptions{AccessTokenFile: file("token", "abc.def\n", 0o600)}), nil},
		"bad token":     {oauth(OAuthOptions{AccessTokenFile: file("bad-token", "<html>", 0o600)}), []string{"no bearer token"}},
		"no program":    {oauth(OAuthOptions{AccessTokenCommand: []string{filepath.Join(dir, "none")}}), []string{"access_token_command"}},
		"not signed in": {oauth(OAuthOptions{TokenURL: "https://login.example.com/t", ClientID: "x", RefreshTokenFile: filepath.Join(dir, "sign-in")}), []string{"nobody has signed in yet"}},
	} {
		tc.o.URL = "https://mail.example.com/EWS/Exchange.asmx"
		errs := Check(tc.o)
		text := fmt.Sprint(errs)
		if len(errs) != len(tc.want) || strings.Contains(text, "right") || strings.Contains(text, "PRIVATE") {
			t.Errorf("%s: %q, want %q", name, errs, tc.want)
		}
		for _, want := range tc.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q lacks %q", name, errs, want)
			}
		}
	}
}
