package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"testing"

	"github.com/galsyncd/galsyncd/internal/testca"
)

const benchSize = 25 << 20

// benchRecipients makes n certificates with the same RSA key: making keys is not what is measured.
func benchRecipients(b *testing.B, n int) []Identity {
	b.Helper()
	key := identity(b, "made", "keys", "rsa").Key.(crypto.Signer)
	ca, err := testca.New("Benchmark Root")
	if err != nil {
		b.Fatal(err)
	}
	var ids []Identity
	for i := range n {
		leaf, err := ca.Leaf(testca.Options{Addresses: []string{fmt.Sprintf("p%d@example.org", i)}, Key: key})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, Identity{Certificate: leaf.Certificate, Key: key})
	}
	return ids
}

func certificatesOf(ids []Identity) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, id := range ids {
		certs = append(certs, id.Certificate)
	}
	return certs
}

func BenchmarkEncrypt(b *testing.B) {
	all := certificatesOf(benchRecipients(b, 100))
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		for _, size := range []int{10_000, benchSize} {
			content := text(size)
			for _, n := range []int{1, 10, 100} {
				b.Run(fmt.Sprintf("%v/%dKB/%d", c, size/1000, n), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						w, err := Encrypt(io.Discard, all[:n], &EncryptOptions{Cipher: c, SizeKnown: true, Size: int64(size)})
						if err != nil {
							b.Fatal(err)
						}
						if _, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(content)}); err != nil {
							b.Fatal(err)
						}
						if err := w.Close(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	ids := benchRecipients(b, 1)
	content := text(benchSize)
	for _, c := range []Cipher{AES256CBC, AES256GCM, ChaCha20Poly1305} {
		for _, sized := range []bool{true, false} {
			var out bytes.Buffer
			w, err := Encrypt(&out, certificatesOf(ids), &EncryptOptions{Cipher: c, SizeKnown: sized, Size: benchSize})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%v/sized=%v", c, sized), func(b *testing.B) {
				b.SetBytes(benchSize)
				b.ReportAllocs()
				for b.Loop() {
					d, err := Decrypt(bytes.NewReader(out.Bytes()), ids, nil)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := d.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
					if err := d.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSign(b *testing.B) {
	content := text(benchSize)
	for _, detached := range []bool{false, true} {
		b.Run(fmt.Sprintf("detached=%v", detached), func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				w, err := Sign(io.Discard, []SigningKey{signingKey(b, "rsa")}, &SignOptions{Detached: detached})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(content); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	data := signAll(b, text(benchSize), []SigningKey{signingKey(b, "rsa")}, nil)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		s, err := Verify(bytes.NewReader(data), &VerifyOptions{Output: io.Discard})
		if err != nil || s.Signers[0].Err != nil {
			b.Fatal(s, err)
		}
	}
}

// BenchmarkParseCertificates reads a value as a directory has it.
func BenchmarkParseCertificates(b *testing.B) {
	data := load(b, "made", "sig", "rsa.sha256.opaque.der")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCertificates(data); err != nil {
			b.Fatal(err)
		}
	}
}
