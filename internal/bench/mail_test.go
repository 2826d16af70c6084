package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// contender does the work once, from a file to a file.
type contender struct {
	name string
	work func(b *testing.B) usage
}

// compete has the contenders take turns, and reports wall and processor time of each.
func compete(b *testing.B, contenders []contender) {
	wall, cpu := make([]samples, len(contenders)), make([]samples, len(contenders))
	for b.Loop() {
		for i, c := range contenders {
			u := c.work(b)
			wall[i], cpu[i] = append(wall[i], u.wall), append(cpu[i], u.cpu)
		}
	}
	for i, c := range contenders {
		report(b, milliseconds(wall[i].at(0.5)), c.name, "ms")
		report(b, milliseconds(cpu[i].mean()), c.name+", processor time", "ms")
	}
	// The first is ours, over the socket. Each round has its own ratio, because the machine's pace changes between rounds.
	for i, c := range contenders[1:] {
		if strings.HasPrefix(c.name, "openssl") {
			var ratios []float64
			for round := range wall[0] {
				ratios = append(ratios, float64(wall[0][round])/float64(wall[i+1][round]))
			}
			report(b, middle(ratios), "over the socket, to "+c.name, "times")
		}
	}
}

// measured is compete, with the memory that the daemon needs for it: what one mail over the socket adds, and the peak of
// all, with what Go's collector had not yet taken away of earlier ones.
func (d *daemon) measured(b *testing.B, contenders []contender) {
	d.settle(b)
	idle := field(d.pid, "status", "RssAnon:")
	memory := watch(d.pid)
	var added []float64
	first := contenders[0].work
	contenders[0].work = func(b *testing.B) usage {
		before, one := field(d.pid, "status", "RssAnon:"), watch(d.pid)
		u := first(b)
		peak, _ := one.stop()
		added = append(added, float64(peak-before)/mib)
		return u
	}
	compete(b, contenders)
	peak, _ := memory.stop()
	report(b, float64(idle)/mib, "RssAnon of the daemon before", "MiB")
	report(b, float64(peak)/mib, "RssAnon of the daemon at its peak", "MiB")
	report(b, middle(added), "RssAnon added by one mail", "MiB")
	report(b, slices.Max(added), "RssAnon added by one mail, at most", "MiB")
}

// mean is for times that are counted in large ticks.
func (s samples) mean() time.Duration {
	var sum time.Duration
	for _, d := range s {
		sum += d
	}
	return sum / time.Duration(max(len(s), 1))
}

// program is a contender that runs a program.
func program(name string, env []string, command ...string) contender {
	return contender{name, func(b *testing.B) usage { return run(b, env, command[0], command[1:]...) }}
}

// redirected is a contender that is given its files by a shell, and so does not wait until they are on the disk.
func redirected(name, in, out string, command ...string) contender {
	return program(name, nil, append([]string{"sh", "-c", `in=$1 out=$2; shift 2; exec "$@" <"$in" >"$out"`, "sh", in, out}, command...)...)
}

// overSocket is a contender that asks a daemon, from this process.
func overSocket(d *daemon, in, out string, ask func(b *testing.B, in *os.File, out io.Writer) error) contender {
	return contender{"galsyncd over the socket", func(b *testing.B) usage {
		from, err := os.Open(in)
		check(b, err)
		defer from.Close()
		used, began := processorTime(d.pid), time.Now()
		to, err := os.Create(out)
		check(b, err)
		check(b, ask(b, from, to))
		check(b, to.Close())
		return usage{wall: time.Since(began), cpu: processorTime(d.pid) - used}
	}}
}

// writeMail makes a mail with an attachment of size bytes in base64 and returns its path.
func writeMail(b *testing.B, dir string, size int, to []string) string {
	b.Helper()
	var mail bytes.Buffer
	fmt.Fprintf(&mail, "From: Sender <sender@corp.example>\r\nTo: %s\r\nSubject: measured\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n", strings.Join(to, ",\r\n "))
	raw := make([]byte, 57)
	for mail.Len() < size {
		rand.Read(raw)
		mail.WriteString(base64.StdEncoding.EncodeToString(raw))
		mail.WriteString("\r\n")
	}
	path := filepath.Join(dir, "mail.eml")
	check(b, os.WriteFile(path, mail.Bytes(), 0o600))
	return path
}

// writeCertificates writes the certificates of people and returns the paths.
func (s *site) writeCertificates(b *testing.B, dir string, to []string) []string {
	b.Helper()
	var paths []string
	for i, address := range to {
		cert, _, err := s.exchange.Identity(address)
		check(b, err)
		path := filepath.Join(dir, fmt.Sprintf("%d.pem", i))
		check(b, os.WriteFile(path, testca.CertificatePEM(cert), 0o600))
		paths = append(paths, path)
	}
	return paths
}

// BenchmarkEncrypt encrypts from a file to a file.
func BenchmarkEncrypt(b *testing.B) {
	for _, c := range []struct {
		name             string
		size, recipients int
		cipher           string
	}{
		{"25 MB to 1 person", 25_000_000, 1, "aes-256-cbc"}, {"25 MB to 10 people", 25_000_000, 10, "aes-256-cbc"},
		{"25 MB to 100 people", 25_000_000, 100, "aes-256-cbc"}, {"10 KB to 100 people", 10_000, 100, "aes-256-cbc"},
		{"25 MB to 10 people, GCM", 25_000_000, 10, "aes-256-gcm"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := sharedSite()
			check(b, err)
			galsyncd, err := galsyncd()
			check(b, err)
			dir, d, to := b.TempDir(), s.serveWith(b, c.cipher), s.usable(c.recipients)
			in, out := writeMail(b, dir, c.size, to), func(name string) string { return filepath.Join(dir, name) }
			contenders := []contender{
				overSocket(d, in, out("socket"), func(b *testing.B, in *os.File, out io.Writer) error {
					info, err := in.Stat()
					check(b, err)
					_, err = d.client.Encrypt(b.Context(), in, out, client.EncryptOptions{Size: info.Size()})
					return err
				}),
				program("galsyncd encrypt IN OUT", nil, galsyncd, "--socket", d.socket, "encrypt", in, out("command")),
				redirected("galsyncd encrypt <IN >OUT", in, out("redirected"), galsyncd, "--socket", d.socket, "encrypt"),
			}
			certs := s.writeCertificates(b, dir, to)
			if openssl, err := exec.LookPath("openssl"); err == nil {
				args := func(more ...string) []string {
					return append(append([]string{openssl, "cms", "-encrypt", "-binary", "-" + c.cipher, "-in", in}, more...), certs...)
				}
				contenders = append(contenders, program("openssl cms S/MIME", nil, args("-outform", "SMIME", "-out", out("smime"))...),
					program("openssl cms DER -stream", nil, args("-outform", "DER", "-stream", "-out", out("der"))...))
			}
			if gpgsm, env := s.gpgsm(b, certs); gpgsm != "" && c.cipher == "aes-256-cbc" {
				args := []string{gpgsm, "--batch", "--quiet", "--yes", "--armor", "--output", out("gpgsm")}
				for _, address := range to {
					cert, _, err := s.exchange.Identity(address)
					check(b, err)
					args = append(args, "-r", fingerprint(cert))
				}
				contenders = append(contenders, program("gpgsm", env, append(args, "--encrypt", in)...))
			}
			d.measured(b, contenders)
		})
	}
}

// gpgsm makes a home for it that knows the certificates; the path is empty when it is not installed.
func (s *site) gpgsm(b *testing.B, certs []string) (path string, env []string) {
	b.Helper()
	path, err := exec.LookPath("gpgsm")
	if err != nil {
		return "", nil
	}
	home, err := os.MkdirTemp("", "gpgsm") // short enough for the sockets of its agent
	check(b, err)
	env = []string{"GNUPGHOME=" + home}
	b.Cleanup(func() {
		end := exec.Command("gpgconf", "--kill", "all")
		end.Env = append(os.Environ(), env...)
		end.Run()
		os.RemoveAll(home)
	})
	check(b, os.WriteFile(filepath.Join(home, "gpgsm.conf"), []byte("disable-crl-checks\ndisable-policy-checks\ndisable-dirmngr\nno-common-certs-import\n"), 0o600))
	check(b, os.WriteFile(filepath.Join(home, "trustlist.txt"), []byte(fingerprint(s.exchange.SMIMECA())+" S relax\n"), 0o600))
	// Its output goes to no pipe of ours: the agent that it starts would hold that open.
	load := exec.Command(path, append([]string{"--batch", "--import", filepath.Join(s.dir, "anchors.pem")}, certs...)...)
	load.Env = append(os.Environ(), env...)
	check(b, load.Run())
	return path, env
}

// BenchmarkDecrypt decrypts 25 MB from a file to a file with the only key there is.
func BenchmarkDecrypt(b *testing.B) {
	b.Run("25 MB", func(b *testing.B) {
		s, err := sharedSite()
		check(b, err)
		galsyncd, err := galsyncd()
		check(b, err)
		dir := b.TempDir()
		out := func(name string) string { return filepath.Join(dir, name) }
		plain, in := writeMail(b, dir, 25_000_000, []string{exchangesim.Alice}), out("encrypted.eml")
		run(b, nil, galsyncd, "--socket", s.serve(b).socket, "encrypt", plain, in)
		cert, key, err := s.exchange.Identity(exchangesim.Alice)
		check(b, err)
		d := s.serveUser(b, &testca.Leaf{Certificate: cert, Key: key})
		contenders := []contender{
			overSocket(d, in, out("socket"), func(b *testing.B, in *os.File, out io.Writer) error {
				_, err := d.client.Decrypt(b.Context(), in, out, client.DecryptOptions{})
				return err
			}),
			program("galsyncd decrypt IN OUT", nil, galsyncd, "--socket", d.socket, "decrypt", in, out("command")),
			redirected("galsyncd decrypt <IN >OUT", in, out("redirected"), galsyncd, "--socket", d.socket, "decrypt"),
		}
		if openssl, err := exec.LookPath("openssl"); err == nil {
			keyPEM, err := (&testca.Leaf{Key: key}).KeyPEM()
			check(b, err)
			check(b, os.WriteFile(out("key.pem"), keyPEM, 0o600))
			cert := s.writeCertificates(b, dir, []string{exchangesim.Alice})[0]
			contenders = append(contenders, program("openssl cms", nil, openssl, "cms", "-decrypt", "-binary", "-in", in, "-recip", cert, "-inkey", out("key.pem"), "-out", out("openssl")))
		}
		d.measured(b, contenders)
	})
}

// BenchmarkVerify verifies a signed mail of 25 MB, detached and opaque, whose signer and chain the daemon has seen before.
func BenchmarkVerify(b *testing.B) {
	for _, opaque := range []bool{false, true} {
		name := map[bool]string{false: "25 MB", true: "25 MB, opaque"}[opaque]
		b.Run(name, func(b *testing.B) {
			openssl, err := exec.LookPath("openssl")
			if err != nil {
				b.Skip("openssl is not installed")
			}
			s, err := sharedSite()
			check(b, err)
			galsyncd, err := galsyncd()
			check(b, err)
			dir := b.TempDir()
			file := func(name string) string { return filepath.Join(dir, name) }
			plain, in := writeMail(b, dir, 25_000_000, []string{exchangesim.Bob}), file("signed.eml")
			_, key, err := s.exchange.Identity(exchangesim.Alice)
			check(b, err)
			keyPEM, err := (&testca.Leaf{Key: key}).KeyPEM()
			check(b, err)
			check(b, os.WriteFile(file("key.pem"), keyPEM, 0o600))
			signer := s.writeCertificates(b, dir, []string{exchangesim.Alice})[0]
			check(b, os.WriteFile(file("ca.pem"), testca.CertificatePEM(s.exchange.SMIMECA()), 0o600))
			sign := []string{"cms", "-sign", "-in", plain, "-signer", signer, "-inkey", file("key.pem"), "-from", exchangesim.Alice, "-out", in}
			if opaque {
				sign = append(sign, "-nodetach")
			}
			run(b, nil, openssl, sign...)
			d := s.serve(b)
			d.measured(b, []contender{
				overSocket(d, in, file("findings"), func(b *testing.B, in *os.File, _ io.Writer) error {
					v, err := d.client.Verify(b.Context(), in, client.VerifyOptions{})
					if err == nil && v.Verdict != "valid" {
						err = fmt.Errorf("the verdict is %s: %q", v.Verdict, v.Reasons)
					}
					return err
				}),
				program("galsyncd verify", nil, galsyncd, "--socket", d.socket, "verify", in),
				program("openssl cms -verify", nil, openssl, "cms", "-verify", "-in", in, "-CAfile", file("ca.pem"), "-purpose", "any", "-out", file("openssl")),
			})
		})
	}
}

// serveUser runs a user's galsyncd with one key, unlocked.
func (s *site) serveUser(b *testing.B, id *testca.Leaf) *daemon {
	b.Helper()
	dir := b.TempDir()
	sockets, err := socketFolder()
	check(b, err)
	config, socket := filepath.Join(dir, "config.toml"), filepath.Join(sockets, "s")
	check(b, os.WriteFile(config, fmt.Appendf(nil, "[cache]\ndir = %q\n[keyring]\ndir = %q\n[socket]\npath = %q\n",
		filepath.Join(dir, "cache"), filepath.Join(dir, "keyring"), socket), 0o600))
	d := start(b, socket, "--config", config, "serve", "--user")
	pfx, err := pkcs12.Modern.Encode(id.Key, id.Certificate, nil, "transport")
	check(b, err)
	_, err = d.client.ImportIdentity(b.Context(), client.ImportRequest{PFX: pfx, PFXPassphrase: "transport", KeyringPassphrase: "a keyring"})
	check(b, err)
	_, err = d.client.Unlock(b.Context(), "a keyring", time.Hour)
	check(b, err)
	return d
}
