// Package cms reads and writes Cryptographic Message Syntax messages (RFC 5652) as streams: EnvelopedData,
// AuthEnvelopedData (RFC 5083) and SignedData. It is the layer below S/MIME and knows nothing of mail.
//
// Writing never holds the content, with one exception: the AEAD ciphers need the whole content before the tag, so an
// AuthEnvelopedData is built in one buffer. Reading accepts BER and DER, definite and indefinite lengths and content cut
// into nested chunks, in linear time, and bounds everything else in size, depth and count.
//
// # What it promises
//
//   - [Decrypt] hands out no byte of plaintext before the padding or the tag was checked to the end. CBC ciphertext is
//     kept in a [Spool] and read twice; AEAD ciphertext is decrypted in place in one bounded buffer. Plaintext is never
//     written anywhere but to the caller.
//   - Every failure that depends on a secret is the one error [ErrDecrypt], reached by the same steps: after a failed RSA
//     decryption the work goes on with a substitute key (RFC 3218 section 2.3.2). Faults that anybody can see without a
//     key are [ErrSyntax] or [ErrUnsupported].
//   - The result says what protects it: [Malleable] for CBC, which lets an attacker change the text, [Authenticated] for
//     AuthEnvelopedData.
//   - A certificate is found by its identifier, a signature is judged by the key that verifies it. No chain is built and
//     no address compared here: whom a certificate belongs to and who vouches for it is the caller's to decide.
//
// # Algorithms
//
// Key transport: RSA PKCS #1 v1.5 (RFC 3370) and RSAES-OAEP (RFC 3560). Key agreement: ephemeral-static ECDH with P-256,
// P-384 and P-521 (RFC 5753) and X25519 (RFC 8418; no second program was at hand to test X25519 with). Content:
// AES-CBC (RFC 3565), AES-GCM (RFC 5084), ChaCha20-Poly1305 (RFC 8103), Triple-DES only to read and only when asked for.
// Signatures: RSA PKCS #1 v1.5, RSASSA-PSS (RFC 4056), ECDSA (RFC 5753) and Ed25519 (RFC 8419) with SHA-2; SHA-1 only to read and
// only when asked for. Content keys come from crypto/rand; private keys are used through [crypto.Decrypter] and [KeyAgreement], so
// that a smart card can hold them.
package cms
