package smime

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// signedMails are mails for peers to verify.
func signedMails() map[string]string {
	return map[string]string{
		"small":     "From: peer@corp.example\nTo: x@corp.example\n\nhello\n",
		"empty":     "From: peer@corp.example\n\n",
		"no end":    "From: peer@corp.example\n\nhello",
		"multipart": strings.Replace(awkward, "alice@", "peer@", 1),
		"large":     "From: peer@corp.example\n\n" + strings.Repeat("a line of a larger mail with grüße\n", 20000),
	}
}

func TestOpenSSLVerifies(t *testing.T) {
	p := newPeer(t)
	for name, mail := range signedMails() {
		for _, opts := range []SignOptions{{}, {Opaque: true}, {LF: true, Time: time.Now()}, {Opaque: true, LF: true}, {PSS: true}} {
			opts.Signer = signer(p.identity)
			in := p.file(t, "in.eml", []byte(signString(t, mail, opts)))
			for _, program := range []string{"cms", "smime"} {
				if program == "smime" && opts.PSS {
					continue
				}
				got := interop.Must(t, nil, nil, "openssl", program, "-verify", "-in", in, "-CAfile", p.path("ca.pem"), "-purpose", "smimesign")
				if !bytes.HasPrefix(got, []byte("Content-Type: ")) {
					t.Errorf("openssl %s, %s, %+v: got %q", program, name, opts, short(string(got)))
				}
			}
		}
	}
}

func TestGpgsmVerifies(t *testing.T) {
	interop.Need(t, "gpgsm", "gpgconf")
	p := newPeer(t)
	env := gpgsmHome(t, p)
	gpgsmImport(t, p, env)
	for _, mail := range signedMails() {
		signed := signString(t, mail, SignOptions{Signer: signer(p.identity), Opaque: true, Time: time.Now()})
		in := p.file(t, "in.der", der(t, []byte(signed)))
		interop.Must(t, env, nil, "gpgsm", "--batch", "--status-fd", "2", "--verify", in)

		content, signature := detached(t, signString(t, mail, SignOptions{Signer: signer(p.identity), Time: time.Now()}))
		interop.Must(t, env, nil, "gpgsm", "--batch", "--verify", p.file(t, "in.p7s", signature), p.file(t, "in.txt", content))
	}
}

func TestNSSVerifies(t *testing.T) {
	interop.Need(t, "certutil", "pk12util", "cmsutil")
	p := newPeer(t)
	db := "sql:" + p.dir
	interop.Must(t, nil, nil, "certutil", "-N", "-d", db, "--empty-password")
	interop.Must(t, nil, nil, "certutil", "-A", "-d", db, "-n", "ca", "-t", "C,C,", "-i", p.path("ca.pem"))
	for name, mail := range signedMails() {
		signed := signString(t, mail, SignOptions{Signer: signer(p.identity), Opaque: true, Time: time.Now()})
		got := interop.Must(t, nil, nil, "cmsutil", "-D", "-d", db, "-h", "0", "-u", "4", "-i", p.file(t, "in.der", der(t, []byte(signed))))
		if !bytes.Contains(got, []byte("status=GoodSignature")) {
			t.Errorf("%s, opaque: %q", name, short(string(got)))
		}
		content, signature := detached(t, signString(t, mail, SignOptions{Signer: signer(p.identity), Time: time.Now()}))
		got = interop.Must(t, nil, nil, "cmsutil", "-D", "-d", db, "-h", "0", "-u", "4", "-c", p.file(t, "in.txt", content), "-i", p.file(t, "in.p7s", signature))
		if !bytes.Contains(got, []byte("status=GoodSignature")) {
			t.Errorf("%s, detached: %q", name, short(string(got)))
		}
	}
}

// detached takes a multipart/signed mail apart, in another way than the code it tests.
func detached(t testing.TB, mail string) (content, signature []byte) {
	t.Helper()
	start := strings.Index(mail, "\r\n--signed-") + 2
	line := mail[start : start+strings.Index(mail[start:], "\r\n")]
	parts := strings.Split(mail[start:], line)
	if len(parts) != 4 {
		t.Fatalf("%d parts", len(parts))
	}
	content = []byte(strings.TrimSuffix(strings.TrimPrefix(parts[1], "\r\n"), "\r\n"))
	return content, der(t, []byte(parts[2]))
}

// peerContents are what peers sign.
func peerContents() map[string]string {
	return map[string]string{
		"small":  "Content-Type: text/plain\r\n\r\nhello\r\n",
		"no end": "Content-Type: text/plain\r\n\r\nhello",
		"large":  "Content-Type: text/plain\r\n\r\n" + strings.Repeat("a line of a larger mail\r\n", 20000),
	}
}

func (p peer) verify(t testing.TB, name, mail string) {
	t.Helper()
	opts := &VerifyOptions{Policy: trusting(p.ca.Certificate)}
	if got := verifyString(t, mail, opts); got.Verdict != Valid {
		t.Errorf("%s: %s %q", name, got.Verdict, got.Reasons)
	}
	if got := verifyString(t, strings.Replace(mail, "hello", "hallo", 1), opts); strings.Contains(mail, "hello") && got.Verdict != Invalid {
		t.Errorf("%s, changed: %s %q", name, got.Verdict, got.Reasons)
	}
}

func TestOpenSSLSigns(t *testing.T) {
	p := newPeer(t)
	for name, content := range peerContents() {
		in := p.file(t, "in", []byte(content))
		for _, args := range [][]string{{"cms"}, {"cms", "-nodetach"}, {"cms", "-nodetach", "-stream"}, {"cms", "-keyopt", "rsa_padding_mode:pss"}, {"cms", "-md", "sha512"}, {"smime"}, {"smime", "-nodetach"}, {"cms", "-binary"}} {
			mail := interop.Must(t, nil, nil, "openssl", append([]string{args[0], "-sign", "-in", in, "-from", "peer@corp.example", "-signer", p.path("peer.pem"), "-inkey", p.path("peer.key")}, args[1:]...)...)
			p.verify(t, strings.Join(args, " ")+" "+name, string(mail))
		}
	}
}

func TestGpgsmSigns(t *testing.T) {
	interop.Need(t, "gpgsm", "gpgconf")
	p := newPeer(t)
	env := gpgsmHome(t, p)
	options := []string{"--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0"}
	gpgsmImport(t, p, env)
	for name, content := range peerContents() {
		in := p.file(t, "in", []byte(content))
		opaque := interop.Must(t, env, []byte("x\n"), "gpgsm", append(options, "--sign", in)...)
		p.verify(t, "opaque "+name, opaqueMail("peer@corp.example", opaque))
		apart := interop.Must(t, env, []byte("x\n"), "gpgsm", append(options, "--detach-sign", in)...)
		p.verify(t, "detached "+name, detachedMail("peer@corp.example", content, apart))
	}
}

func TestNSSSigns(t *testing.T) {
	interop.Need(t, "certutil", "pk12util", "cmsutil")
	p := newPeer(t)
	db := "sql:" + p.dir
	interop.Must(t, nil, nil, "certutil", "-N", "-d", db, "--empty-password")
	interop.Must(t, nil, nil, "pk12util", "-i", p.path("peer.p12"), "-d", db, "-W", "x")
	interop.Must(t, nil, nil, "certutil", "-M", "-d", db, "-n", "Peer Root - galsyncd test", "-t", "C,C,")
	for name, content := range peerContents() {
		in := p.file(t, "in", []byte(content))
		opaque := interop.Must(t, nil, nil, "cmsutil", "-S", "-d", db, "-N", "peer", "-G", "-H", "SHA256", "-i", in)
		p.verify(t, "opaque "+name, opaqueMail("peer@corp.example", opaque))
		apart := interop.Must(t, nil, nil, "cmsutil", "-S", "-T", "-d", db, "-N", "peer", "-G", "-H", "SHA256", "-i", in)
		p.verify(t, "detached "+name, detachedMail("peer@corp.example", content, apart))
	}
}
