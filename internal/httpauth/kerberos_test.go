package httpauth

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-krb5/krb5/config"
	"github.com/go-krb5/krb5/iana/errorcode"
	"github.com/go-krb5/krb5/iana/etypeID"
	"github.com/go-krb5/krb5/keytab"
	"github.com/go-krb5/krb5/messages"
)

// put writes a file with this mode, whatever the umask.
func put(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKrb5Conf(t *testing.T) {
	dir := t.TempDir()
	snippets := filepath.Join(dir, "conf.d")
	if err := os.Mkdir(snippets, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(snippets, "one"), "[realms]\nONE.EXAMPLE = {\n kdc = kdc1.one.example\n}\n", 0o600)
	put(t, filepath.Join(snippets, "two.conf"), "[realms]\n TWO.EXAMPLE = {\n kdc = kdc.two.example:1088\n}\n[domain_realm]\n .two.example = TWO.EXAMPLE\n", 0o600)
	put(t, filepath.Join(snippets, "not-read.rpmnew"), "[libdefaults]\ndefault_realm = WRONG\n", 0o600)
	put(t, filepath.Join(snippets, ".hidden.conf"), "[libdefaults]\ndefault_realm = WRONG\n", 0o600)
	main := put(t, filepath.Join(dir, "krb5.conf"), "# comment\nincludedir "+snippets+"\nincludedir "+dir+"/none\n[logging]\n default = FILE:/x\n[libdefaults]\n default_realm = ONE.EXAMPLE\n[realms]\nTHREE.EXAMPLE = {\n kdc = kdc.three.example\n}\n", 0o600)
	first := put(t, filepath.Join(dir, "first"), "[libdefaults]\n dns_lookup_kdc = false\n default_realm = FIRST.EXAMPLE\n", 0o600)

	cfg, err := loadKrb5Conf(main)
	if err != nil {
		t.Fatal(err)
	}
	k := newKDC(cfg)
	for realm, want := range map[string]string{"ONE.EXAMPLE": "kdc1.one.example:88", "TWO.EXAMPLE": "kdc.two.example:1088", "THREE.EXAMPLE": "kdc.three.example:88"} {
		if got, err := k.addresses(t.Context(), realm); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v %v, want %s", realm, got, err, want)
		}
	}
	if cfg.LibDefaults.DefaultRealm != "ONE.EXAMPLE" || !cfg.LibDefaults.DNSLookupKDC || cfg.ResolveRealm("mail.two.example") != "TWO.EXAMPLE" {
		t.Errorf("%+v", cfg.LibDefaults)
	}
	for _, e := range k.cfg.LibDefaults.DefaultTktEnctypeIDs {
		if e == etypeID.RC4_HMAC || e == etypeID.DES3_CBC_SHA1_KD {
			t.Errorf("encryption type %d is asked for", e)
		}
	}
	t.Setenv("KRB5_CONFIG", first+":"+main)
	if cfg, err = loadKrb5Conf(""); err != nil || cfg.LibDefaults.DefaultRealm != "FIRST.EXAMPLE" || cfg.LibDefaults.DNSLookupKDC {
		t.Errorf("two files: %v %+v", err, cfg)
	}
	if _, err := newKDC(cfg).addresses(t.Context(), "NOWHERE.EXAMPLE"); err == nil || !strings.Contains(err.Error(), "DNS") {
		t.Errorf("a realm that is not listed: %v", err)
	}
	for name, content := range map[string]string{
		"includes itself": "include " + dir + "/bad\n",
		"no such include": "include " + dir + "/none\n",
		"not a krb5.conf": "[libdefaults]\nticket_lifetime = soon\n",
		"too long":        strings.Repeat("#", maxKrb5Conf+1),
	} {
		if _, err := loadKrb5Conf(put(t, filepath.Join(dir, "bad"), content, 0o600)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := loadKrb5Conf(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

// ccacheBytes is a credential cache of version 4 with one entry for a server.
func ccacheBytes(server string, end time.Time) []byte {
	data := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	name := func(b []byte, parts ...string) []byte {
		b = binary.BigEndian.AppendUint32(b, 1)
		b = binary.BigEndian.AppendUint32(b, uint32(len(parts)))
		b = data(b, "TEST.EXAMPLE")
		for _, p := range parts {
			b = data(b, p)
		}
		return b
	}
	b := []byte{5, 4, 0, 12, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	b = name(b, "u")
	b = name(name(b, "u"), strings.Split(server, "/")...)
	b = data(append(b, 0, 18), strings.Repeat("k", 32))
	for _, at := range []time.Time{time.Unix(1, 0), time.Unix(2, 0), end, {}} {
		b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	}
	b = append(b, 0, 0, 0, 0, 0)                   // no session key, flags
	b = append(b, 0, 0, 0, 1, 0, 2)                // one address
	b = data(b, "addr")                            //
	b = append(b, 0, 0, 0, 0)                      // no authorization data
	return data(data(b, "not a ticket"), "second") // tickets
}

func TestCCache(t *testing.T) {
	end := time.Unix(2e9, 0)
	c, err := parseCCache(ccacheBytes("krbtgt/TEST.EXAMPLE", end))
	if err != nil {
		t.Fatal(err)
	}
	if c.client.String() != "u@TEST.EXAMPLE" || len(c.entries) != 1 {
		t.Fatalf("%+v", c)
	}
	e := c.entries[0]
	if e.server.String() != "krbtgt/TEST.EXAMPLE@TEST.EXAMPLE" || !e.end.Equal(end) || e.key.KeyType != 18 || len(e.key.KeyValue) != 32 || string(e.ticket) != "not a ticket" {
		t.Errorf("%+v", e)
	}
	if c.find(e.server, time.Unix(1e9, 0)) != nil {
		t.Error("bytes that are no ticket were taken for one")
	}
	for i := range ccacheBytes("x", end) {
		if c, err := parseCCache(ccacheBytes("x", end)[:i]); err == nil && len(c.entries) != 0 {
			t.Errorf("cut off at %d: accepted", i)
		}
	}
	for name, want := range map[string]string{"/a/b": "/a/b", "FILE:/a/b": "/a/b", "KCM:": "", "DIR:/a": "", "relative": ""} {
		if got, err := ccachePath(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	t.Setenv("KRB5CCNAME", "FILE:/x/y")
	if got, err := ccachePath("default"); got != "/x/y" || err != nil {
		t.Errorf("default: %q %v", got, err)
	}
}

func FuzzCCache(f *testing.F) {
	f.Add(ccacheBytes("krbtgt/TEST.EXAMPLE", time.Unix(2e9, 0)))
	f.Add([]byte{5, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCCache(b)
		if err != nil {
			return
		}
		for _, e := range c.entries {
			_ = c.find(e.server, time.Unix(0, 0))
		}
	})
}

func FuzzKeytab(f *testing.F) {
	k := keytab.New()
	if err := k.AddEntry("u", "TEST.EXAMPLE", "password", time.Unix(1e9, 0), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		f.Fatal(err)
	}
	b, err := k.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = guarded(func() error { return keytab.New().Unmarshal(b) })
	})
}

func FuzzSPNEGOAnswer(f *testing.F) {
	f.Add([]byte{0xa1, 0x07, 0x30, 0x05, 0xa0, 0x03, 0x0a, 0x01, 0x00})
	f.Add([]byte{0x60, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &spnegoProof{}
		p.key.KeyType, p.key.KeyValue = etypeID.AES256_CTS_HMAC_SHA1_96, make([]byte, 32)
		_ = p.verify(b)
	})
}

// fakeKDC answers every question with these bytes and returns its address.
func fakeKDC(t testing.TB, answer []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var head [4]byte
				if _, err := io.ReadFull(conn, head[:]); err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:])))
				_, _ = conn.Write(answer)
			}()
		}
	}()
	return l.Addr().String()
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func kdcAt(addresses ...string) *kdc {
	cfg := config.New()
	cfg.Realms = []config.Realm{{Realm: "TEST.EXAMPLE", KDC: addresses}}
	return newKDC(cfg)
}

func testKeytab(t testing.TB) *keytab.Keytab {
	k := keytab.New()
	if err := k.AddEntry("u", "TEST.EXAMPLE", "password", time.Unix(1e9, 0), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestHostileKDC holds that a KDC, which anybody on the way can play, costs bounded memory and an error.
func TestHostileKDC(t *testing.T) {
	who := principal{ticketGranting("x"), "TEST.EXAMPLE"}
	who.name.NameString = []string{"u"}
	for name, answer := range map[string][]byte{
		"nothing":           nil,
		"announces 4 GiB":   {0xff, 0xff, 0xff, 0xff},
		"less than it says": append([]byte{0, 0, 0, 9}, 1),
		"empty":             framed(nil),
		"garbage":           framed([]byte("garbage")),
	} {
		_, err := kdcAt(fakeKDC(t, answer)).login(t.Context(), who, testKeytab(t))
		var no interface{ Unauthorized() bool }
		if err == nil || errors.As(err, &no) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := kdcAt("127.0.0.1:1").login(t.Context(), who, testKeytab(t))
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		t.Errorf("nobody listens: %v", err)
	}
	who.name.NameString = []string{"somebody-else"}
	if _, err := kdcAt("127.0.0.1:1").login(t.Context(), who, testKeytab(t)); err == nil || !strings.Contains(err.Error(), "klist") {
		t.Errorf("a principal that the keytab does not hold: %v", err)
	}
}

// FuzzKDCAnswer feeds answers to the sign-in and to the request for a service ticket.
func FuzzKDCAnswer(f *testing.F) {
	who := principal{ticketGranting("x"), "TEST.EXAMPLE"}
	who.name.NameString = []string{"u"}
	keys := testKeytab(f)
	e := messages.NewKRBError(who.name, who.realm, errorcode.KDC_ERR_PREAUTH_REQUIRED, "")
	e.EData = []byte{0x30, 0x0f, 0x30, 0x0d, 0xa1, 0x03, 0x02, 0x01, 0x13, 0xa2, 0x06, 0x04, 0x04, 0x30, 0x02, 0x30, 0x00}
	b, err := e.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x6b, 0x03, 0x30, 0x01, 0x00})
	f.Add([]byte{0x6d, 0x03, 0x30, 0x01, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		k := kdcAt("kdc")
		k.send = func(context.Context, string, []byte) ([]byte, error) { return b, nil }
		if _, err := k.login(t.Context(), who, keys); err == nil {
			t.Fatal("signed in without a key")
		}
		tgt := &ticket{client: who}
		tgt.ticket.SName, tgt.key.KeyType, tgt.key.KeyValue = ticketGranting(who.realm), etypeID.AES256_CTS_HMAC_SHA1_96, make([]byte, 32)
		if _, err := k.service(t.Context(), tgt, who.name); err == nil {
			t.Fatal("a ticket without a key")
		}
	})
}

func TestReadPrivate(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "secret"), "x", 0o600)
	if b, err := readPrivate(path, 10); err != nil || string(b) != "x" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := readPrivate(put(t, filepath.Join(dir, "long"), "0123456789x", 0o600), 10); err == nil {
		t.Error("too long: accepted")
	}
	if _, err := readPrivate(put(t, filepath.Join(dir, "empty"), "", 0o600), 10); err == nil {
		t.Error("empty: accepted")
	}
	if _, err := readPrivate(dir, 10); err == nil {
		t.Error("a folder: accepted")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readPrivate(path, 10); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable for the group: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := readPrivate(path, 10); err != nil {
		t.Errorf("in $CREDENTIALS_DIRECTORY: %v", err)
	}
}

func TestKerberosOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		username string
		o        KerberosOptions
		want     string
	}{
		"keytab":             {"u@R", KerberosOptions{Keytab: "/k"}, ""},
		"cache":              {"", KerberosOptions{CredentialCache: "default"}, ""},
		"neither":            {"u@R", KerberosOptions{}, "keytab_file"},
		"both":               {"u@R", KerberosOptions{Keytab: "/k", CredentialCache: "/c"}, "either"},
		"keytab of whom":     {"", KerberosOptions{Keytab: "/k"}, "username"},
		"Windows name":       {`CORP\u`, KerberosOptions{Keytab: "/k"}, "name@REALM"},
		"kernel's keyring":   {"", KerberosOptions{CredentialCache: "KEYRING:persistent:0"}, "not a file"},
		"service":            {"u@R", KerberosOptions{Keytab: "/k", Service: "HTTP/x.example"}, ""},
		"service of no host": {"u@R", KerberosOptions{Keytab: "/k", Service: "HTTP/"}, "HTTP/HOST"},
	} {
		o := Options{URL: "https://mail.example.com/", Method: Kerberos, Username: tc.username, Kerberos: tc.o}
		_, err := New(o)
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
