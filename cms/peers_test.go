package cms

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// run executes a peer program with input and returns what it prints.
func run(t testing.TB, env []string, input []byte, program string, args ...string) ([]byte, error) {
	t.Helper()
	out, talk, err := interop.Run(t, env, input, program, args...)
	if err != nil {
		t.Logf("%s %s: %v\n%s", program, strings.Join(args, " "), err, talk)
	}
	return out, err
}

func keyFile(name string) string { return filepath.Join("testdata", "made", "keys", name) }

// writeFile puts data into the test's own folder and returns the path.
func writeFile(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peerContents are texts whose lengths lie at the borders of blocks and chunks.
func peerContents() map[string][]byte {
	return map[string][]byte{
		"empty": {},
		"text":  []byte("Content-Type: text/plain\r\n\r\nOne text for many readers.\r\n"),
		"chunk": bytes.Repeat([]byte("0123456789abcdef"), writeChunk/16),
		"large": bytes.Repeat([]byte("a line of a larger message\r\n"), 10000),
	}
}

// pkcs12 makes a PFX of a made key that gpgsm and NSS can import, with the password "x".
func pkcs12(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name+".p12")
	interop.Must(t, nil, nil, "openssl", "pkcs12", "-export", "-legacy", "-inkey", keyFile(name+".key"), "-in", keyFile(name+".pem"),
		"-certfile", keyFile("ca.pem"), "-name", name, "-passout", "pass:x", "-out", path)
	return path
}

func TestOpenSSLReads(t *testing.T) {
	t.Parallel()
	interop.Need(t, "openssl")
	dir := t.TempDir()
	type variant struct {
		name string
		opts EncryptOptions
	}
	variants := []variant{
		{"cbc256", EncryptOptions{}}, {"cbc192", EncryptOptions{Cipher: AES192CBC}}, {"cbc128", EncryptOptions{Cipher: AES128CBC}},
		{"gcm256", EncryptOptions{Cipher: AES256GCM}}, {"gcm192", EncryptOptions{Cipher: AES192GCM}}, {"gcm128", EncryptOptions{Cipher: AES128GCM}},
		{"oaep256", EncryptOptions{OAEP: 5}}, {"oaep1", EncryptOptions{OAEP: 3, Cipher: AES128GCM}},
		{"oaep384", EncryptOptions{OAEP: 6}}, {"oaep512", EncryptOptions{OAEP: 7}}, {"oaep224", EncryptOptions{OAEP: 4}},
	}
	for _, key := range []string{"rsa", "p256", "p384", "p521"} {
		cert := identity(t, "made", "keys", key).Certificate
		for _, v := range variants {
			if v.opts.OAEP != 0 && key != "rsa" {
				continue
			}
			for name, content := range peerContents() {
				for _, sized := range []bool{false, true} {
					opts := v.opts
					opts.SizeKnown, opts.Size = sized, int64(len(content))
					data := encryptAll(t, content, []*x509.Certificate{cert}, &opts)
					got, err := run(t, nil, nil, "openssl", "cms", "-decrypt", "-binary", "-inform", "DER",
						"-in", writeFile(t, dir, "msg", data), "-inkey", keyFile(key+".key"), "-recip", keyFile(key+".pem"))
					if err != nil || !bytes.Equal(got, content) {
						t.Errorf("%s %s %s, size known %v: %d bytes, %v", key, v.name, name, sized, len(got), err)
					}
				}
			}
		}
	}
}

func TestOpenSSLReadsMixedRecipients(t *testing.T) {
	t.Parallel()
	interop.Need(t, "openssl")
	names := []string{"rsa", "p256", "rsa2", "p521"}
	var certs []*x509.Certificate
	for _, n := range names {
		certs = append(certs, identity(t, "made", "keys", n).Certificate)
	}
	content := peerContents()["text"]
	path := writeFile(t, t.TempDir(), "msg", encryptAll(t, content, certs, nil))
	for _, n := range names {
		got, err := run(t, nil, nil, "openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", path,
			"-inkey", keyFile(n+".key"), "-recip", keyFile(n+".pem"))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %q, %v", n, got, err)
		}
	}
}

func TestOpenSSLWrites(t *testing.T) {
	t.Parallel()
	interop.Need(t, "openssl")
	dir := t.TempDir()
	variants := [][]string{
		{"-aes-128-cbc"}, {"-aes-192-cbc"}, {"-aes-256-cbc"}, {"-aes-128-gcm"}, {"-aes-192-gcm"}, {"-aes-256-gcm"},
		{"-aes-256-cbc", "-stream"}, {"-aes-256-gcm", "-stream"}, {"-aes-256-cbc", "-keyid"}, {"-des3"},
	}
	for _, key := range []string{"rsa", "p256", "p384", "p521"} {
		id := identity(t, "made", "keys", key)
		for _, v := range variants {
			if v[0] == "-des3" && key != "rsa" {
				continue // OpenSSL then wraps the key with Triple-DES too, which is not accepted
			}
			for name, content := range peerContents() {
				if name == "empty" && slices.Equal(v, []string{"-aes-256-gcm", "-stream"}) {
					continue // OpenSSL 3.0 cannot write that
				}
				in, out := writeFile(t, dir, "in", content), filepath.Join(dir, "out")
				args := append([]string{"cms", "-encrypt", "-binary", "-outform", "DER", "-in", in, "-out", out}, v...)
				interop.Must(t, nil, nil, "openssl", append(args, keyFile(key+".pem"))...)
				data, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := decryptAll(data, []Identity{id}, &DecryptOptions{AllowTripleDES: true})
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s %v %s: %d bytes, %v", key, v, name, len(got), err)
				}
			}
		}
	}
}

// gpgsm makes a home of its own with one key and ends its agent afterwards.
func gpgsm(t testing.TB) (env []string, options []string) {
	t.Helper()
	interop.Need(t, "openssl", "gpgsm", "gpgconf")
	home := interop.SocketFolder(t) // of the agent
	env = []string{"GNUPGHOME=" + home}
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "all")
		cmd.Env = append(os.Environ(), env...)
		_ = cmd.Run()
	})
	ca := identityCertificate(t, "ca")
	writeFile(t, home, "gpg-agent.conf", []byte("allow-loopback-pinentry\n"))
	writeFile(t, home, "gpgsm.conf", []byte("disable-crl-checks\ndisable-policy-checks\ndisable-dirmngr\nno-common-certs-import\n"))
	sum := sha1.Sum(ca.Raw)
	writeFile(t, home, "trustlist.txt", []byte(hex.EncodeToString(sum[:])+" S relax\n"))
	options = []string{"--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"}
	interop.Must(t, env, []byte("x\n"), "gpgsm", append(options, "--import", pkcs12(t, home, "rsa"))...)
	return env, options
}

func identityCertificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	return parseCertificate(t, load(t, "made", "keys", name+".pem"))
}

func TestGpgsm(t *testing.T) {
	t.Parallel()
	env, options := gpgsm(t)
	dir := t.TempDir()
	id := identity(t, "made", "keys", "rsa")
	for name, content := range peerContents() {
		if name == "empty" || name == "chunk" {
			continue // each run waits for the agent
		}
		for _, opts := range []EncryptOptions{{}, {SizeKnown: true, Size: int64(len(content)), Cipher: AES128CBC}} {
			path := writeFile(t, dir, "msg", encryptAll(t, content, []*x509.Certificate{id.Certificate}, &opts))
			got, err := run(t, env, []byte("x\n"), "gpgsm", append(options, "--decrypt", path)...)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("gpgsm reads %s %+v: %d bytes, %v", name, opts, len(got), err)
			}
		}
		path := writeFile(t, dir, "text", content)
		data := interop.Must(t, env, nil, "gpgsm", "--batch", "-r", "rsa@alpha.example", "--encrypt", path)
		got, _, err := decryptAll(messageBytes(t, data), []Identity{id}, nil)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("gpgsm writes %s: %d bytes, %v", name, len(got), err)
		}
	}
}

// nss makes a certificate database with one key in dir.
func nss(t testing.TB, dir, key string) {
	t.Helper()
	interop.Need(t, "openssl", "certutil", "pk12util", "cmsutil")
	interop.Must(t, nil, nil, "certutil", "-N", "-d", "sql:"+dir, "--empty-password")
	interop.Must(t, nil, nil, "pk12util", "-i", pkcs12(t, dir, key), "-d", "sql:"+dir, "-W", "x")
	interop.Must(t, nil, nil, "certutil", "-M", "-n", "Root alpha - galsyncd vectors", "-t", "TC,C,C", "-d", "sql:"+dir)
}

func TestNSS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nss(t, dir, "rsa")
	id := identity(t, "made", "keys", "rsa")
	for name, content := range peerContents() {
		for _, opts := range []EncryptOptions{{}, {SizeKnown: true, Size: int64(len(content))}, {Cipher: AES128CBC}} {
			path := writeFile(t, dir, "msg", encryptAll(t, content, []*x509.Certificate{id.Certificate}, &opts))
			got, err := run(t, nil, nil, "cmsutil", "-D", "-d", "sql:"+dir, "-i", path)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("NSS reads %s %+v: %d bytes, %v", name, opts, len(got), err)
			}
		}
		if len(content) == 0 {
			continue // cmsutil refuses an empty file
		}
		in, out := writeFile(t, dir, "text", content), filepath.Join(dir, "out")
		interop.Must(t, nil, nil, "cmsutil", "-E", "-d", "sql:"+dir, "-r", "rsa", "-i", in, "-o", out)
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := decryptAll(data, []Identity{id}, nil)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("NSS writes %s: %d bytes, %v", name, len(got), err)
		}
	}
}
