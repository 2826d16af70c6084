//go:build interop

package smime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/interop"
)

// bouncyCastle puts questions to testdata/bc/Mail.java, which ends with the test.
func bouncyCastle(t testing.TB) func(fields ...string) error {
	t.Helper()
	b := interop.BouncyCastle(t, "Mail", filepath.Join("..", "cms", "testdata", "bc", "Peer.java"), filepath.Join("testdata", "bc", "Mail.java"))
	return func(fields ...string) error {
		_, err := b.Ask(fields...)
		return err
	}
}

// read is a file of the peer's folder.
func (p peer) read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestInteropBouncyCastleDecrypts(t *testing.T) {
	p, ask := newPeer(t), bouncyCastle(t)
	for _, m := range mails {
		for _, opts := range []EncryptOptions{{}, {LF: true}, {Cipher: cms.AES128CBC}, {Cipher: cms.AES256GCM}} {
			in := p.file(t, "in.eml", p.encrypt(t, m.mail, opts))
			if err := ask("decrypt", p.path("peer.pem"), p.path("peer.key"), in, p.path("out")); err != nil {
				t.Errorf("%s, %+v: %v", m.name, opts, err)
			} else if got := p.read(t, "out"); got != m.inside {
				t.Errorf("%s, %+v: got %q", m.name, opts, short(got))
			}
		}
	}
}

func TestInteropBouncyCastleEncrypts(t *testing.T) {
	p, ask := newPeer(t), bouncyCastle(t)
	for _, m := range mails {
		in := p.file(t, "in", []byte(m.inside))
		if err := ask("encrypt", "peer@corp.example", p.path("peer.pem"), in, p.path("out.eml")); err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		// JavaMail adds a field to the part's header.
		header, body, _ := strings.Cut(m.inside, "\r\n\r\n")
		got, result, err := decryptString(t, p.read(t, "out.eml"), []cms.Identity{p.identity})
		if gotHeader, gotBody, _ := strings.Cut(got, "\r\n\r\n"); err != nil || gotBody != body || !strings.Contains(gotHeader, header) {
			t.Errorf("%s: %+v, %v, got %q", m.name, result, err, short(got))
		}
	}
}

func TestInteropBouncyCastleVerifies(t *testing.T) {
	p, ask := newPeer(t), bouncyCastle(t)
	for name, mail := range signedMails() {
		for _, opts := range []SignOptions{{}, {Opaque: true}, {LF: true, Time: time.Now()}, {Opaque: true, LF: true}, {PSS: true}} {
			opts.Signer = signer(p.identity)
			signed := signString(t, mail, opts)
			if err := ask("verify", p.path("ca.pem"), p.file(t, "in.eml", []byte(signed)), p.path("out")); err != nil {
				t.Errorf("%s, %+v: %v", name, opts, err)
			}
			if changed := strings.Replace(signed, "hello", "hallo", 1); changed != signed {
				if err := ask("verify", p.path("ca.pem"), p.file(t, "in.eml", []byte(changed)), p.path("out")); err == nil {
					t.Errorf("%s, %+v: BouncyCastle accepts a changed mail", name, opts)
				}
			}
		}
	}
}

func TestInteropBouncyCastleSigns(t *testing.T) {
	p, ask := newPeer(t), bouncyCastle(t)
	for name, content := range peerContents() {
		in := p.file(t, "in", []byte(content))
		for _, algorithm := range []string{"SHA256withRSA", "SHA512withRSA", "SHA256withRSAandMGF1"} {
			for _, form := range []string{"detached", "attached"} {
				title := name + ", " + algorithm + ", " + form
				if err := ask("sign", algorithm, form, "peer@corp.example", p.path("peer.pem"), p.path("peer.key"), in, p.path("out.eml")); err != nil {
					t.Errorf("%s: %v", title, err)
					continue
				}
				p.verify(t, title, p.read(t, "out.eml"))
			}
		}
	}
}
