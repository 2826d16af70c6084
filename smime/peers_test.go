package smime

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// peer is a recipient whose key the peer programs have, in the files NAME.pem, NAME.key and NAME.p12 (password x).
type peer struct {
	dir      string
	ca       *testca.CA
	identity cms.Identity
}

func newPeer(t testing.TB) peer {
	t.Helper()
	interop.Need(t, "openssl")
	ca, err := testca.New("Peer Root")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{"peer@corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	p := peer{t.TempDir(), ca, cms.Identity{Certificate: leaf.Certificate, Key: leaf.Key}}
	key, err := leaf.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	p.file(t, "peer.key", key)
	p.file(t, "peer.pem", testca.CertificatePEM(leaf.Certificate))
	p.file(t, "ca.pem", testca.CertificatePEM(ca.Certificate))
	p.export(t)
	return p
}

// export writes peer.p12.
func (p peer) export(t testing.TB) {
	t.Helper()
	interop.Must(t, nil, nil, "openssl", "pkcs12", "-export", "-legacy", "-inkey", p.path("peer.key"), "-in", p.path("peer.pem"), "-certfile", p.path("ca.pem"),
		"-name", "peer", "-passout", "pass:x", "-out", p.path("peer.p12"))
}

// gpgsmImport gives the peer's key to gpgsm, whose PKCS #12 reader fails with one file in many and reads the next one.
func gpgsmImport(t testing.TB, p peer, env []string) {
	t.Helper()
	var talk []byte
	for range 5 {
		cmd := exec.CommandContext(t.Context(), "gpgsm", "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import", p.path("peer.p12"))
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdin = strings.NewReader("x\n")
		var err error
		if talk, err = cmd.CombinedOutput(); err == nil {
			return
		}
		p.export(t)
	}
	t.Fatalf("gpgsm does not import the key: %s", talk)
}

func (p peer) path(name string) string { return filepath.Join(p.dir, name) }

func (p peer) file(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(p.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p.path(name)
}

// mails are mails and the content that a reader must find in them.
var mails = []struct{ name, mail, inside string }{
	{"small", "From: a@corp.example\nTo: peer@corp.example\nSubject: s\n\nhello\n", "Content-Type: text/plain; charset=us-ascii\r\n\r\nhello\r\n"},
	{"empty", "To: peer@corp.example\n\n", "Content-Type: text/plain; charset=us-ascii\r\n\r\n"},
	{"multipart", "To: peer@corp.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"},
	{"large", "To: peer@corp.example\n\n" + strings.Repeat("a line of a larger mail\n", 20000), "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat("a line of a larger mail\r\n", 20000)},
}

func (p peer) encrypt(t testing.TB, mail string, opts EncryptOptions) []byte {
	t.Helper()
	opts.Recipients = people{"peer@corp.example": p.identity}
	text, _, _, err := encryptString(t, mail, opts)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text)
}

func TestOpenSSLReads(t *testing.T) {
	p := newPeer(t)
	for _, m := range mails {
		for _, opts := range []EncryptOptions{{}, {LF: true}, {Cipher: cms.AES128CBC}, {Cipher: cms.AES256GCM}} {
			in := p.file(t, "in.eml", p.encrypt(t, m.mail, opts))
			programs := []string{"cms", "smime"}
			if opts.Cipher == cms.AES256GCM {
				programs = programs[:1]
			}
			for _, program := range programs {
				got := interop.Must(t, nil, nil, "openssl", program, "-decrypt", "-binary", "-in", in, "-inkey", p.path("peer.key"), "-recip", p.path("peer.pem"))
				if string(got) != m.inside {
					t.Errorf("openssl %s, %s, %+v: got %q", program, m.name, opts, short(string(got)))
				}
			}
		}
	}
}

func TestOpenSSLWrites(t *testing.T) {
	p := newPeer(t)
	for _, m := range mails {
		if m.name == "empty" {
			continue
		}
		in := p.file(t, "inside", []byte(m.inside))
		for _, args := range [][]string{{"cms", "-aes-256-cbc"}, {"cms", "-aes-256-gcm"}, {"cms", "-aes-128-cbc", "-stream"}, {"smime", "-aes256"}} {
			mail := interop.Must(t, nil, nil, "openssl", append([]string{args[0], "-encrypt", "-binary", "-in", in, "-from", "a@corp.example", "-to", "peer@corp.example", "-subject", "s", args[1]}, append(args[2:], p.path("peer.pem"))...)...)
			got, _, err := decryptString(t, string(mail), []cms.Identity{p.identity})
			if err != nil || !strings.HasSuffix(got, "\r\nMIME-Version: 1.0\r\n"+m.inside) && !strings.HasSuffix(got, "\r\n"+m.inside) {
				t.Errorf("openssl %v, %s: %v, got %q", args, m.name, err, short(got))
			}
		}
	}
	signed := interop.Must(t, nil, []byte("Content-Type: text/plain\r\n\r\nx"), "openssl", "cms", "-sign", "-nodetach", "-signer", p.path("peer.pem"), "-inkey", p.path("peer.key"))
	if _, _, err := decryptString(t, string(signed), []cms.Identity{p.identity}); !errors.Is(err, ErrNotEncrypted) {
		t.Errorf("opaque signed mail: %v", err)
	}
}

// A mail that was signed first is encrypted as it is, and its signature still holds inside.
func TestSignThenEncrypt(t *testing.T) {
	p := newPeer(t)
	for _, form := range []string{"-nodetach", "-stream"} {
		signed := interop.Must(t, nil, []byte("Content-Type: text/plain\r\n\r\nsigned text\r\n"), "openssl", "cms", "-sign", form, "-signer", p.path("peer.pem"), "-inkey", p.path("peer.key"), "-to", "peer@corp.example")
		text := p.encrypt(t, string(signed), EncryptOptions{})
		plain, _, err := decryptString(t, string(text), []cms.Identity{p.identity})
		if err != nil {
			t.Fatal(err)
		}
		got := interop.Must(t, nil, []byte(plain), "openssl", "cms", "-verify", "-CAfile", p.path("ca.pem"), "-purpose", "any")
		if !strings.Contains(string(got), "signed text") {
			t.Errorf("%s: got %q", form, got)
		}
	}
}

// A mail that this package signs and encrypts in one go, read and verified by openssl.
func TestOpenSSLReadsSignedAndEncrypted(t *testing.T) {
	p := newPeer(t)
	for _, opaque := range []bool{false, true} {
		text := p.encrypt(t, "From: peer@corp.example\nTo: peer@corp.example\n\na signed text with grüße\n", EncryptOptions{Sign: &SignOptions{Signer: signer(p.identity), Opaque: opaque}})
		plain := interop.Must(t, nil, text, "openssl", "cms", "-decrypt", "-inkey", p.path("peer.key"), "-recip", p.path("peer.pem"))
		got := interop.Must(t, nil, plain, "openssl", "cms", "-verify", "-CAfile", p.path("ca.pem"))
		if !strings.Contains(string(got), "signed text with gr=C3=BC=C3=9Fe") {
			t.Errorf("opaque %v: got %q", opaque, got)
		}
	}
}

// der is the CMS message in an encrypted mail.
func der(t testing.TB, mail []byte) []byte {
	t.Helper()
	_, body, _ := bytes.Cut(mail, []byte("\r\n\r\n"))
	message, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// gpgsmHome is a folder for gpgsm in which the peer's authority is trusted, and the environment that names it.
func gpgsmHome(t testing.TB, p peer) []string {
	t.Helper()
	home := interop.SocketFolder(t) // of the agent
	env := []string{"GNUPGHOME=" + home}
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "all")
		cmd.Env = append(os.Environ(), env...)
		_ = cmd.Run()
	})
	sum := sha1.Sum(p.ca.Certificate.Raw)
	for name, text := range map[string]string{
		"gpg-agent.conf": "allow-loopback-pinentry\n",
		"gpgsm.conf":     "disable-crl-checks\ndisable-policy-checks\ndisable-dirmngr\nno-common-certs-import\n",
		"trustlist.txt":  hex.EncodeToString(sum[:]) + " S relax\n",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

func TestGpgsmReads(t *testing.T) {
	interop.Need(t, "gpgsm", "gpgconf")
	p := newPeer(t)
	env := gpgsmHome(t, p)
	options := []string{"--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"}
	gpgsmImport(t, p, env)
	for _, m := range mails {
		in := p.file(t, "in.der", der(t, p.encrypt(t, m.mail, EncryptOptions{})))
		if got := interop.Must(t, env, []byte("x\n"), "gpgsm", append(options, "--decrypt", in)...); string(got) != m.inside {
			t.Errorf("%s: got %q", m.name, short(string(got)))
		}
	}
}

func TestNSSReads(t *testing.T) {
	interop.Need(t, "certutil", "pk12util", "cmsutil")
	p := newPeer(t)
	db := "sql:" + p.dir
	interop.Must(t, nil, nil, "certutil", "-N", "-d", db, "--empty-password")
	interop.Must(t, nil, nil, "pk12util", "-i", p.path("peer.p12"), "-d", db, "-W", "x")
	for _, m := range mails {
		in := p.file(t, "in.der", der(t, p.encrypt(t, m.mail, EncryptOptions{})))
		if got := interop.Must(t, nil, nil, "cmsutil", "-D", "-d", db, "-i", in); string(got) != m.inside {
			t.Errorf("%s: got %q", m.name, short(string(got)))
		}
	}
}

// vectors is the folder of vectors whose licence keeps them out of the repository. The test is skipped without it.
func vectors(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("GALSYNCD_SMIME_VECTORS")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "smime-vectors")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("vectors %s are not here", filepath.Join(parts...))
	}
	return path
}

// TestThunderbird reads the mails that Thunderbird's own tests use, made by NSS.
func TestThunderbird(t *testing.T) {
	dir := vectors(t, "thunderbird")
	interop.Need(t, "openssl")
	var ids []cms.Identity
	for _, name := range []string{"Alice", "Bob", "Dave"} {
		text := interop.Must(t, nil, nil, "openssl", "pkcs12", "-legacy", "-in", filepath.Join(dir, name+".p12"), "-passin", "pass:nss", "-nodes", "-clcerts")
		ids = append(ids, cms.Identity{Certificate: parseCertificate(t, text), Key: parseKey(t, text)})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.env.eml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d mails, %v", len(files), err)
	}
	more, err := filepath.Glob(filepath.Join(dir, "alice.env.*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, more...) {
		mail, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		got := decryptAll(t, string(mail), DecryptOptions{Identities: ids, Verify: *thunderbirdOptions(t, dir)})
		if got.result.Protection != cms.Malleable || !strings.Contains(got.text, "\r\nContent-Type: ") || !strings.Contains(strings.ToLower(got.text), "to: bob@example.com\r\n") {
			t.Errorf("%s: %s, %q", name, got.result.Protection, short(got.text))
		}
		inside := Unsigned
		switch signedInside := strings.HasSuffix(name, ".env.eml") && strings.Contains(name, "sig."); {
		case signedInside && strings.Contains(name, "SHA1"):
			inside = Invalid
		case signedInside:
			inside = Valid
		}
		if v := got.result.Verification; v.Inside != inside {
			t.Errorf("%s: inside %s %q, want %s", name, v.Inside, v.Reasons, inside)
		}
	}
	t.Logf("%d mails", len(files)+len(more))
}
