package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// messageKind is one row of docs/interop.md.
type messageKind struct {
	section, name string
	// keys are made keys: the recipients, of which the first one reads, or the signer.
	keys []string
	// cipher, oaep and ber are of encrypted messages. ber means indefinite lengths.
	cipher Cipher
	oaep   bool
	ber    bool
	// algorithm is that of the signature; empty for encrypted messages.
	algorithm SignatureAlgorithm
	detached  bool
}

func (k messageKind) signed() bool { return k.algorithm != "" }

func (k messageKind) title() string { return k.section + ": " + k.name }

const (
	sectionEnveloped     = "EnvelopedData"
	sectionAuthEnveloped = "AuthEnvelopedData"
	sectionSigned        = "SignedData"
)

func messageKinds() []messageKind {
	kinds := []messageKind{
		{section: sectionEnveloped, name: "RSA PKCS #1 v1.5, AES-256-CBC, BER", keys: []string{"rsa"}, ber: true},
		{section: sectionEnveloped, name: "RSA PKCS #1 v1.5, AES-256-CBC, DER", keys: []string{"rsa"}},
		{section: sectionEnveloped, name: "RSA PKCS #1 v1.5, AES-128-CBC, BER", keys: []string{"rsa"}, cipher: AES128CBC, ber: true},
		{section: sectionEnveloped, name: "RSA PKCS #1 v1.5, two recipients, AES-256-CBC, BER", keys: []string{"rsa", "rsa2"}, ber: true},
		{section: sectionEnveloped, name: "RSAES-OAEP SHA-256, AES-256-CBC, BER", keys: []string{"rsa"}, oaep: true, ber: true},
		{section: sectionEnveloped, name: "RSA PKCS #1 v1.5 beside ECDH P-256, read with the RSA key, AES-256-CBC, BER", keys: []string{"rsa", "p256"}, ber: true},
	}
	curves := []struct{ key, name string }{{"p256", "ECDH P-256"}, {"p384", "ECDH P-384"}, {"p521", "ECDH P-521"}, {"x25519", "X25519 (RFC 8418)"}}
	for _, c := range curves {
		kinds = append(kinds, messageKind{section: sectionEnveloped, name: c.name + ", AES-256-CBC, BER", keys: []string{c.key}, ber: true})
	}
	kinds = append(kinds,
		messageKind{section: sectionAuthEnveloped, name: "RSA PKCS #1 v1.5, AES-256-GCM", keys: []string{"rsa"}, cipher: AES256GCM},
		messageKind{section: sectionAuthEnveloped, name: "RSA PKCS #1 v1.5, AES-128-GCM", keys: []string{"rsa"}, cipher: AES128GCM},
		messageKind{section: sectionAuthEnveloped, name: "RSAES-OAEP SHA-256, AES-256-GCM", keys: []string{"rsa"}, cipher: AES256GCM, oaep: true},
	)
	for _, c := range curves {
		kinds = append(kinds, messageKind{section: sectionAuthEnveloped, name: c.name + ", AES-256-GCM", keys: []string{c.key}, cipher: AES256GCM})
	}
	kinds = append(kinds, messageKind{section: sectionAuthEnveloped, name: "RSA PKCS #1 v1.5, ChaCha20-Poly1305", keys: []string{"rsa"}, cipher: ChaCha20Poly1305})
	for _, detached := range []bool{false, true} {
		form := ", attached"
		if detached {
			form = ", detached"
		}
		for _, s := range []struct {
			key, name string
			algorithm SignatureAlgorithm
		}{
			{"rsa", "RSA PKCS #1 v1.5 SHA-256", RSAPKCS1v15}, {"rsa", "RSASSA-PSS SHA-256", RSAPSS}, {"p256", "ECDSA P-256", ECDSA},
			{"p384", "ECDSA P-384", ECDSA}, {"p521", "ECDSA P-521", ECDSA}, {"ed25519", "Ed25519", Ed25519},
		} {
			kinds = append(kinds, messageKind{section: sectionSigned, name: s.name + form, keys: []string{s.key}, algorithm: s.algorithm, detached: detached})
		}
	}
	return kinds
}

// make is our message of the kind.
func (k messageKind) make(t testing.TB, content []byte) []byte {
	t.Helper()
	message, err := k.seal(t, content)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// seal is make for a mode in which it may be refused.
func (k messageKind) seal(t testing.TB, content []byte) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	w, err := k.writer(t, &out, len(content))
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

func (k messageKind) writer(t testing.TB, out io.Writer, size int) (io.WriteCloser, error) {
	t.Helper()
	if k.signed() {
		key := signingKey(t, k.keys[0])
		key.PSS = k.algorithm == RSAPSS
		key.SigningTime = inTime
		return Sign(out, []SigningKey{key}, &SignOptions{Detached: k.detached})
	}
	opts := &EncryptOptions{Cipher: k.cipher, SizeKnown: !k.ber, Size: int64(size)}
	if k.oaep {
		opts.OAEP = crypto.SHA256
	}
	var certs []*x509.Certificate
	for _, name := range k.keys {
		certs = append(certs, identityCertificate(t, name))
	}
	return Encrypt(out, certs, opts)
}

// check reads the peer's message of the kind and demands that it is what the row says. A message of another form than the row's is
// a cannotError.
func (k messageKind) check(t testing.TB, message, content []byte) error {
	t.Helper()
	if k.signed() {
		return k.checkSigned(message, content)
	}
	if ber := len(message) > 1 && message[1] == 0x80; !k.cipher.AEAD() && ber != k.ber {
		return cannotError("writes the other form only")
	}
	got, d, err := decryptAll(message, []Identity{identity(t, "made", "keys", k.keys[0])}, nil)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(got, content):
		return errors.New("content differs")
	case d.Cipher != k.cipher:
		return cannotError(fmt.Sprintf("chooses %v by itself", d.Cipher))
	}
	return nil
}

func (k messageKind) checkSigned(message, content []byte) error {
	var out bytes.Buffer
	opts := &VerifyOptions{Output: &out}
	if k.detached {
		opts = &VerifyOptions{Content: bytes.NewReader(content)}
	}
	s, err := Verify(bytes.NewReader(message), opts)
	switch {
	case err != nil:
		return err
	case len(s.Signers) != 1 || s.Detached != k.detached:
		return fmt.Errorf("%d signers, detached %v", len(s.Signers), s.Detached)
	case s.Signers[0].Err != nil:
		return s.Signers[0].Err
	case s.Signers[0].Algorithm != k.algorithm:
		return fmt.Errorf("signature is %s", s.Signers[0].Algorithm)
	case !k.detached && !bytes.Equal(out.Bytes(), content):
		return errors.New("content differs")
	}
	return nil
}

// cannotError is the reason why a peer has no way to do something.
type cannotError string

func (e cannotError) Error() string { return string(e) }

// peerProgram is a program that we did not write.
type peerProgram struct {
	name, version string
	// read opens or verifies our message; content is for detached signatures.
	read func(k messageKind, message, content []byte) ([]byte, error)
	// write makes a message of the kind.
	write func(k messageKind, content []byte) ([]byte, error)
}

// What a cell of the matrix says.
const (
	cellOK      = "ok"
	cellRefused = "refused"
	cellCannot  = "cannot"
)

// cell is what came out of one kind in one direction.
type cell struct{ outcome, reason string }

func newCell(err error) cell {
	if cannot := cannotError(""); errors.As(err, &cannot) {
		return cell{cellCannot, string(cannot)}
	}
	if err != nil {
		return cell{cellRefused, err.Error()}
	}
	return cell{outcome: cellOK}
}

// reads says whether the peer reads what we write.
func (p *peerProgram) reads(t testing.TB, k messageKind, content []byte) cell {
	t.Helper()
	got, err := p.read(k, k.make(t, content), content)
	if err == nil && !k.detached && !bytes.Equal(got, content) {
		err = errors.New("the content that it reads differs")
	}
	return newCell(err)
}

// writes says whether we read what the peer writes. That a peer's message is not accepted by us is an error of the test.
func (p *peerProgram) writes(t testing.TB, k messageKind, content []byte) cell {
	t.Helper()
	message, err := p.write(k, content)
	if err == nil {
		err = k.check(t, message, content)
		if cannot := cannotError(""); err != nil && !errors.As(err, &cannot) {
			t.Errorf("%s wrote %s, and it is refused here: %v", p.name, k.title(), err)
		}
	}
	return newCell(err)
}

// interopContent fills several chunks and ends inside of a block.
var interopContent = bytes.Repeat([]byte("one line of a message for other programs\r\n"), 2000)

// smallPeers are the programs that every test run has; heavyPeers depends on the build tag interop.
var smallPeers = map[string]func(testing.TB) *peerProgram{"OpenSSL": opensslPeer, "gpgsm": gpgsmPeer, "NSS cmsutil": nssPeer}

// TestInteropMatrix: what docs/interop.md calls ok still is, with every peer at hand.
func TestInteropMatrix(t *testing.T) {
	doc := readMatrix(t, interopDocument)
	for _, peers := range []map[string]func(testing.TB) *peerProgram{smallPeers, heavyPeers} {
		for name, open := range peers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := open(t)
				count := 0
				for _, k := range messageKinds() {
					directions := map[string]func(testing.TB, messageKind, []byte) cell{"to " + name: p.reads, "from " + name: p.writes}
					for column, try := range directions {
						documented, ok := doc[k.title()][column]
						if !ok {
							t.Errorf("%s has no cell for %s, %s; make interop-doc writes it", interopDocument, k.title(), column)
						}
						if documented != cellOK {
							continue
						}
						count++
						if got := try(t, k, interopContent); got.outcome != cellOK {
							t.Errorf("%s, %s: %s (%s)", k.title(), column, got.outcome, got.reason)
						}
					}
				}
				t.Logf("%s %s: %d cells hold", p.name, p.version, count)
			})
		}
	}
}

// ask runs a peer program; the error is the line of its talk that says why, without what changes from run to run.
func ask(t testing.TB, reason func(string) string, env []string, input []byte, program string, args ...string) ([]byte, error) {
	t.Helper()
	out, talk, err := interop.Run(t, env, input, program, args...)
	if err == nil {
		return out, nil
	}
	if text := reason(string(talk)); text != "" {
		return nil, errors.New(text)
	}
	return nil, fmt.Errorf("ends with %w", err)
}

// lastLine is the last line of a peer's talk with the prefix, without it.
func lastLine(talk, prefix string) string {
	found := ""
	for line := range strings.Lines(talk) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok && rest != "" {
			found = rest
		}
	}
	return found
}

// debianVersion is the upstream part of an installed package's version, "unknown" without dpkg.
func debianVersion(t testing.TB, pkg string) string {
	t.Helper()
	out, _, err := interop.Run(t, nil, nil, "dpkg-query", "-W", "-f", "${Version}", pkg)
	if err != nil {
		return "of unknown version"
	}
	v := string(out)
	if _, after, ok := strings.Cut(v, ":"); ok {
		v = after
	}
	v, _, _ = strings.Cut(v, "-")
	return v
}

func opensslPeer(t testing.TB) *peerProgram {
	t.Helper()
	interop.Need(t, "openssl")
	dir := t.TempDir()
	// 40E78E9BC97F0000:error:170000C2:CMS routines:function:reason:file:line:data
	reason := func(talk string) string {
		for line := range strings.Lines(talk) {
			if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 5 && f[1] == "error" {
				return f[3] + ": " + f[5]
			}
		}
		return ""
	}
	openssl := func(args ...string) ([]byte, error) { return ask(t, reason, nil, nil, "openssl", args...) }
	p := &peerProgram{name: "OpenSSL", version: strings.Fields(string(interop.Must(t, nil, nil, "openssl", "version")))[1]}
	p.read = func(k messageKind, message, content []byte) ([]byte, error) {
		msg := writeFile(t, dir, "msg", message)
		if !k.signed() {
			return openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-in", msg, "-inkey", keyFile(k.keys[0]+".key"), "-recip", keyFile(k.keys[0]+".pem"))
		}
		args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", msg, "-CAfile", keyFile("ca.pem")}
		if k.detached {
			args = append(args, "-content", writeFile(t, dir, "content", content))
		}
		return openssl(args...)
	}
	p.write = func(k messageKind, content []byte) ([]byte, error) {
		return openssl(append(opensslArguments(k), "-binary", "-outform", "DER", "-in", writeFile(t, dir, "in", content))...)
	}
	return p
}

func opensslArguments(k messageKind) []string {
	if k.signed() {
		args := []string{"cms", "-sign", "-signer", keyFile(k.keys[0] + ".pem"), "-inkey", keyFile(k.keys[0] + ".key")}
		if k.algorithm == RSAPSS {
			args = append(args, "-keyopt", "rsa_padding_mode:pss")
		}
		if !k.detached {
			args = append(args, "-nodetach")
		}
		return args
	}
	args := []string{"cms", "-encrypt", "-" + strings.ToLower(k.cipher.String())}
	if k.ber {
		args = append(args, "-stream")
	}
	for _, name := range k.keys {
		args = append(args, "-recip", keyFile(name+".pem"))
		if k.oaep {
			args = append(args, "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256")
		}
		if strings.HasPrefix(name, "p") {
			args = append(args, "-keyopt", "ecdh_kdf_md:sha256")
		}
	}
	return args
}

func gpgsmPeer(t testing.TB) *peerProgram {
	t.Helper()
	env, options := gpgsm(t)
	dir := t.TempDir()
	complaint := regexp.MustCompile(`(?i)error|can't|failed|unsupported|invalid|wrong|fault|unknown`)
	reason := func(talk string) string {
		var lines []string
		for line := range strings.Lines(talk) {
			if complaint.MatchString(line) {
				lines = append(lines, line)
			}
		}
		return lastLine(strings.Join(lines, ""), "gpgsm: ")
	}
	ask := func(args ...string) ([]byte, error) {
		return ask(t, reason, env, []byte("x\n"), "gpgsm", append(options, args...)...)
	}
	for _, name := range []string{"rsa2", "p256", "p384", "p521", "ed25519", "x25519"} {
		if _, err := ask("--import", keyFile(name+".pem")); err != nil {
			t.Logf("gpgsm cannot import the certificate %s: %v", name, err)
		}
	}
	secret := map[string]error{"rsa": nil}
	hasKey := func(name string) error {
		if _, tried := secret[name]; !tried {
			if _, err := ask("--import", pkcs12(t, dir, name)); err != nil {
				secret[name] = fmt.Errorf("import of the private key: %w", err)
			}
		}
		return secret[name]
	}
	p := &peerProgram{name: "gpgsm", version: lastField(string(interop.Must(t, env, nil, "gpgsm", "--version"))) + " with libksba " + debianVersion(t, "libksba8")}
	p.read = func(k messageKind, message, content []byte) ([]byte, error) {
		msg, out := writeFile(t, dir, "msg", message), filepath.Join(dir, "out")
		switch {
		case k.detached:
			return ask("--verify", msg, writeFile(t, dir, "content", content))
		case k.signed():
			if _, err := ask("--yes", "--output", out, "--verify", msg); err != nil {
				return nil, err
			}
			return os.ReadFile(out)
		}
		if err := hasKey(k.keys[0]); err != nil {
			return nil, err
		}
		return ask("--decrypt", msg)
	}
	p.write = func(k messageKind, content []byte) ([]byte, error) {
		in, out := writeFile(t, dir, "in", content), filepath.Join(dir, "out")
		args := []string{"--yes", "--output", out}
		switch {
		case k.algorithm == RSAPSS || k.oaep || k.cipher.AEAD():
			return nil, cannotError("has no option for it")
		case k.signed():
			if err := hasKey(k.keys[0]); err != nil {
				return nil, err
			}
			args = append(args, "-u", k.keys[0]+"@alpha.example", "--sign")
			if k.detached {
				args[len(args)-1] = "--detach-sign"
			}
		default:
			for _, name := range k.keys {
				args = append(args, "-r", name+"@alpha.example")
			}
			args = append(args, "--cipher-algo", map[Cipher]string{AES128CBC: "AES", AES256CBC: "AES256"}[k.cipher], "--encrypt")
		}
		if _, err := ask(append(args, in)...); err != nil {
			return nil, err
		}
		return os.ReadFile(out)
	}
	return p
}

// lastField is the last word of the first line.
func lastField(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	return fields[len(fields)-1]
}

func nssPeer(t testing.TB) *peerProgram {
	t.Helper()
	dir := t.TempDir()
	nss(t, dir, "rsa")
	db := "sql:" + dir
	reason := func(talk string) string { return lastLine(talk, "cmsutil: ") }
	secret := map[string]error{"rsa": nil}
	hasKey := func(name string) error {
		if _, tried := secret[name]; !tried {
			_, err := ask(t, func(talk string) string { return lastLine(talk, "pk12util: ") }, nil, nil,
				"pk12util", "-i", pkcs12(t, dir, name), "-d", db, "-W", "x")
			if err != nil {
				err = fmt.Errorf("import of the private key: %w", err)
			}
			secret[name] = err
		}
		return secret[name]
	}
	p := &peerProgram{name: "NSS cmsutil", version: debianVersion(t, "libnss3-tools")}
	p.read = func(k messageKind, message, content []byte) ([]byte, error) {
		if !k.signed() {
			if err := hasKey(k.keys[0]); err != nil {
				return nil, err
			}
		}
		args := []string{"-D", "-d", db, "-i", writeFile(t, dir, "msg", message)}
		if k.detached {
			args = append(args, "-c", writeFile(t, dir, "content", content))
		}
		return ask(t, reason, nil, nil, "cmsutil", args...)
	}
	p.write = func(k messageKind, content []byte) ([]byte, error) {
		if k.algorithm == RSAPSS || k.oaep || k.cipher.AEAD() {
			return nil, cannotError("has no option for it")
		}
		out := filepath.Join(dir, "out")
		args := []string{"-E", "-d", db}
		if k.signed() {
			args = []string{"-S", "-d", db, "-G", "-P", "-N", k.keys[0]}
			if k.detached {
				args = append(args, "-T")
			}
		}
		for _, name := range k.keys {
			if err := hasKey(name); err != nil {
				return nil, err
			}
			if !k.signed() {
				args = append(args, "-r", name)
			}
		}
		if _, err := ask(t, reason, nil, nil, "cmsutil", append(args, "-i", writeFile(t, dir, "in", content), "-o", out)...); err != nil {
			return nil, err
		}
		return os.ReadFile(out)
	}
	return p
}
