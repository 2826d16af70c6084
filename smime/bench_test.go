package smime

import (
	"bytes"
	"io"
	"testing"
)

// Sizes are of the mail. Compare with "openssl cms -sign", "-verify" and "-decrypt" in the same run.
func BenchmarkSign(b *testing.B) {
	for name, opaque := range map[string]bool{"detached": false, "opaque": true} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(25_000_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Sign(b.Context(), largeMail(25_000_000), io.Discard, &SignOptions{Signer: signer(crowd()[alice]), Opaque: opaque}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, opaque := range map[string]bool{"detached": false, "opaque": true} {
		b.Run(name, func(b *testing.B) {
			var mail bytes.Buffer
			if _, err := Sign(b.Context(), largeMail(25_000_000), &mail, &SignOptions{Signer: signer(crowd()[alice]), Opaque: opaque}); err != nil {
				b.Fatal(err)
			}
			opts := crowdOptions()
			b.SetBytes(25_000_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(b.Context(), bytes.NewReader(mail.Bytes()), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecryptSigned(b *testing.B) {
	for name, opaque := range map[string]bool{"detached": false, "opaque": true} {
		b.Run(name, func(b *testing.B) {
			var mail bytes.Buffer
			o := &EncryptOptions{Recipients: crowd(), Sign: &SignOptions{Signer: signer(crowd()[alice]), Opaque: opaque}}
			if _, err := Encrypt(b.Context(), largeMail(25_000_000), Outputs{Main: To(&mail)}, o); err != nil {
				b.Fatal(err)
			}
			opts := &DecryptOptions{Identities: crowd().identities(alice), Verify: *crowdOptions()}
			b.SetBytes(25_000_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decrypt(b.Context(), bytes.NewReader(mail.Bytes()), Into(io.Discard), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
