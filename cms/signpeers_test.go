package cms

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
)

func TestOpenSSLVerifies(t *testing.T) {
	t.Parallel()
	interop.Need(t, "openssl")
	dir := t.TempDir()
	for name, key := range signVariants(t) {
		if name == "ed25519" {
			continue // OpenSSL 3.0 has no Ed25519 in CMS
		}
		key.SigningTime = inTime
		for size, content := range peerContents() {
			for _, detached := range []bool{false, true} {
				sig := writeFile(t, dir, "sig", signAll(t, content, []SigningKey{key}, &SignOptions{Detached: detached}))
				args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", sig, "-CAfile", keyFile("ca.pem")}
				if detached {
					args = append(args, "-content", writeFile(t, dir, "content", content))
				}
				got, err := run(t, nil, nil, "openssl", args...)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, %s, detached %v: %d bytes, %v", name, size, detached, len(got), err)
				}
			}
		}
	}
	several := signAll(t, []byte("text"), []SigningKey{signingKey(t, "rsa"), signingKey(t, "p256"), signingKey(t, "p521")}, nil)
	if got, err := run(t, nil, several, "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", keyFile("ca.pem")); err != nil || string(got) != "text" {
		t.Errorf("several signers: %q, %v", got, err)
	}
}

func TestOpenSSLSigns(t *testing.T) {
	t.Parallel()
	interop.Need(t, "openssl")
	dir := t.TempDir()
	for size, content := range peerContents() {
		in := writeFile(t, dir, "in", content)
		for _, args := range [][]string{
			{"-signer", keyFile("rsa.pem"), "-inkey", keyFile("rsa.key")},
			{"-signer", keyFile("rsa.pem"), "-inkey", keyFile("rsa.key"), "-keyid", "-md", "sha512"},
			{"-signer", keyFile("rsa.pem"), "-inkey", keyFile("rsa.key"), "-keyopt", "rsa_padding_mode:pss"},
			{"-signer", keyFile("rsa.pem"), "-inkey", keyFile("rsa.key"), "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:11", "-md", "sha384"},
			{"-signer", keyFile("p256.pem"), "-inkey", keyFile("p256.key"), "-md", "sha512"},
			{"-signer", keyFile("p521.pem"), "-inkey", keyFile("p521.key"), "-signer", keyFile("rsa2.pem"), "-inkey", keyFile("rsa2.key")},
		} {
			for _, form := range [][]string{{"-nodetach"}, {"-nodetach", "-stream"}, {}} {
				if len(form) == 2 && (size == "empty" || strings.Contains(strings.Join(args, " "), "pss")) {
					continue // OpenSSL 3.0 cannot write that as a stream
				}
				all := append([]string{"cms", "-sign", "-binary", "-outform", "DER", "-in", in}, append(form, args...)...)
				data := interop.Must(t, nil, nil, "openssl", all...)
				var out bytes.Buffer
				opts := &VerifyOptions{Output: &out}
				if len(form) == 0 {
					opts = &VerifyOptions{Content: bytes.NewReader(content)}
				}
				s, err := Verify(bytes.NewReader(data), opts)
				if err != nil || len(s.Signers) != strings.Count(strings.Join(args, " "), "-signer") {
					t.Errorf("%s %v %v: %+v, %v", size, form, args, s, err)
					continue
				}
				for _, signer := range s.Signers {
					if signer.Err != nil || time.Since(signer.SigningTime).Abs() > time.Hour {
						t.Errorf("%s %v %v: %+v", size, form, args, signer)
					}
				}
				if opts.Output != nil && !bytes.Equal(out.Bytes(), content) {
					t.Errorf("%s %v %v: content differs", size, form, args)
				}
			}
		}
	}
}

func TestGpgsmSignatures(t *testing.T) {
	t.Parallel()
	env, options := gpgsm(t)
	dir := t.TempDir()
	content := peerContents()["large"]
	in := writeFile(t, dir, "in", content)
	for name, key := range signVariants(t) {
		if !strings.HasPrefix(name, "rsa ") {
			continue // the home has the RSA key's chain; PSS and curves are not in this version's signatures
		}
		key.SigningTime = time.Now()
		sig := writeFile(t, dir, "sig", signAll(t, content, []SigningKey{key}, &SignOptions{Detached: true}))
		if _, err := run(t, env, nil, "gpgsm", "--batch", "--verify", sig, in); err != nil {
			t.Errorf("%s, detached: %v", name, err)
		}
		out := filepath.Join(dir, "out")
		sig = writeFile(t, dir, "sig", signAll(t, content, []SigningKey{key}, nil))
		if _, err := run(t, env, nil, "gpgsm", "--batch", "--yes", "--output", out, "--verify", sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, detached := range []string{"--detach-sign", "--sign"} {
		data := interop.Must(t, env, []byte("x\n"), "gpgsm", append(options, "-u", "rsa@alpha.example", detached, in)...)
		opts := &VerifyOptions{}
		if detached == "--detach-sign" {
			opts.Content = bytes.NewReader(content)
		}
		s, err := Verify(bytes.NewReader(messageBytes(t, data)), opts)
		if err != nil || len(s.Signers) != 1 || s.Signers[0].Err != nil {
			t.Errorf("gpgsm %s: %+v, %v", detached, s, err)
		}
	}
}

func TestNSSSignatures(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"rsa", "p256", "p384"} {
		dir := t.TempDir()
		nss(t, dir, key)
		content := peerContents()["large"]
		in := writeFile(t, dir, "in", content)
		signer := signingKey(t, key)
		signer.SigningTime = time.Now()
		sig := writeFile(t, dir, "sig", signAll(t, content, []SigningKey{signer}, nil))
		got, err := run(t, nil, nil, "cmsutil", "-D", "-d", "sql:"+dir, "-i", sig)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: NSS reads %d bytes, %v", key, len(got), err)
		}
		sig = writeFile(t, dir, "sig", signAll(t, content, []SigningKey{signer}, &SignOptions{Detached: true}))
		if _, err := run(t, nil, nil, "cmsutil", "-D", "-d", "sql:"+dir, "-i", sig, "-c", in); err != nil {
			t.Errorf("%s, detached: %v", key, err)
		}
		for _, detached := range []bool{false, true} {
			out := filepath.Join(dir, "out")
			args := []string{"-S", "-d", "sql:" + dir, "-N", key, "-i", in, "-o", out, "-G", "-P"}
			opts := &VerifyOptions{}
			if detached {
				args = append(args, "-T")
				opts.Content = bytes.NewReader(content)
			}
			interop.Must(t, nil, nil, "cmsutil", args...)
			data, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Verify(bytes.NewReader(data), opts)
			if err != nil || len(s.Signers) != 1 || s.Signers[0].Err != nil {
				t.Errorf("%s, NSS signs, detached %v: %+v, %v", key, detached, s, err)
			}
		}
	}
}
