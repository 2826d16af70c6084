package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/galsyncd/galsyncd/internal/testca"
)

var writtenCiphers = []Cipher{AES256CBC, AES192CBC, AES128CBC, AES256GCM, AES192GCM, AES128GCM, ChaCha20Poly1305}

// x25519Identity is the made certificate for X25519 with its key.
func x25519Identity(t testing.TB) Identity {
	t.Helper()
	id := identity(t, "made", "keys", "x25519")
	if key, ok := publicKey(id.Certificate).(*ecdh.PublicKey); !ok || key.Curve() != ecdh.X25519() {
		t.Fatalf("key is a %T", publicKey(id.Certificate))
	}
	return id
}

func text(n int) []byte {
	b := make([]byte, n)
	r := mathrand.New(mathrand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sizes are around the borders of blocks, chunks, buffers and length forms, and some between.
func sizes() []int {
	var s []int
	for _, border := range []int{0, 16, 32, 112, 128, 256, 4096, writeChunk, copyBuffer, spoolBlock + 16, 2 * writeChunk, 100000} {
		for d := -2; d <= 2; d++ {
			if n := border + d; n >= 0 && n <= 100000 {
				s = append(s, n)
			}
		}
	}
	r := mathrand.New(mathrand.NewPCG(7, 7))
	for range 40 {
		s = append(s, r.IntN(100001))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func TestRoundTripSizes(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	for _, c := range writtenCiphers {
		for _, n := range sizes() {
			content := text(n)
			for _, sized := range []bool{false, true} {
				data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c, Size: int64(n), SizeKnown: sized})
				got, d, err := decryptAll(data, []Identity{id}, nil)
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%v, %d bytes, size known %v: %v", c, n, sized, err)
				}
				if d.Cipher != c || d.Size() != int64(n) || d.Protection != c.Protection() || !d.ContentType.Equal(oidData) {
					t.Fatalf("%v, %d bytes: %+v", c, n, d)
				}
				if der, err := toDER(data); (sized || c.AEAD()) && (err != nil || !bytes.Equal(der, data)) {
					t.Fatalf("%v, %d bytes: not DER (%v)", c, n, err)
				}
			}
		}
	}
}

func TestRoundTripKeys(t *testing.T) {
	ids := append(madeIdentities(t), x25519Identity(t))
	content := text(5000)
	for _, c := range writtenCiphers {
		for _, oaep := range append([]crypto.Hash{0}, oaepHashes...) {
			var certs []*x509.Certificate
			for _, id := range ids {
				certs = append(certs, id.Certificate)
			}
			data := encryptAll(t, content, certs, &EncryptOptions{Cipher: c, OAEP: oaep})
			for i, id := range ids {
				got, d, err := decryptAll(data, []Identity{id}, nil)
				if err != nil || !bytes.Equal(got, content) || d.Identity != 0 {
					t.Errorf("%v, OAEP %v, key %d: %v", c, oaep, i, err)
				}
			}
			if _, d, err := decryptAll(data, ids, nil); err != nil || d.Identity < 0 || d.Identity >= len(ids) {
				t.Errorf("%v with all keys: %v", c, err)
			}
		}
	}
}

// TestOpaqueKeys uses keys as a smart card would offer them.
func TestOpaqueKeys(t *testing.T) {
	content := text(100)
	for _, name := range []string{"rsa", "p256", "p384", "p521"} {
		id := identity(t, "made", "keys", name)
		for _, oaep := range []crypto.Hash{0, crypto.SHA256} {
			data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{OAEP: oaep})
			card := Identity{Certificate: id.Certificate}
			switch key := id.Key.(type) {
			case *rsa.PrivateKey:
				card.Key = struct{ crypto.Decrypter }{key}
			case *ecdsa.PrivateKey:
				k, err := key.ECDH()
				if err != nil {
					t.Fatal(err)
				}
				card.Key = struct{ KeyAgreement }{trimming{k}}
			}
			if got, _, err := decryptAll(data, []Identity{card}, nil); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, OAEP %v: %v", name, oaep, err)
			}
			damaged := bytes.Clone(data)
			damaged[bytes.Index(data, encodeAlgorithm(oidRSA, asn1Null))+200] ^= 1
			if name == "rsa" && oaep == 0 {
				if got, _, err := decryptAll(damaged, []Identity{card}, nil); err == nil && bytes.Equal(got, content) {
					t.Error("damaged key block is accepted")
				}
			}
		}
	}
}

// trimming is a card that strips leading zeros from the shared secret.
type trimming struct{ KeyAgreement }

func (k trimming) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	secret, err := k.KeyAgreement.ECDH(remote)
	return bytes.TrimLeft(secret, "\x00"), err
}

// TestLeadingZeros makes messages until a shared secret begins with a zero byte, which happens once in 256.
func TestLeadingZeros(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	zeros := 0
	for range 3000 {
		remote, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := key.ECDH(remote.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		got, _ := trimming{key}.ECDH(remote.PublicKey())
		if len(got) < len(want) {
			zeros++
		}
		if !bytes.Equal(leftPad(got, 32), want) {
			t.Fatalf("%x instead of %x", leftPad(got, 32), want)
		}
	}
	if zeros == 0 {
		t.Error("no secret with a leading zero was tried")
	}
}

func TestCompressedPoints(t *testing.T) {
	for _, c := range curves[:3] {
		key, err := ecdsa.GenerateKey(c.elliptic(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := key.PublicKey.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.publicKey(elliptic.MarshalCompressed(c.elliptic(), key.X, key.Y))
		if err != nil || !got.Equal(want) {
			t.Errorf("%v: %v", c.ecdh, err)
		}
		if _, err := c.publicKey(append([]byte{2}, bytes.Repeat([]byte{0xff}, c.size)...)); err == nil {
			t.Errorf("%v: a point beyond the field is accepted", c.ecdh)
		}
	}
}

func TestWriteInPieces(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	content := text(3*writeChunk + 77)
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		for _, piece := range []int{1, 15, 16, 17, 1000, writeChunk - 1, writeChunk, writeChunk + 1, len(content)} {
			var out bytes.Buffer
			w, err := Encrypt(&out, []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c})
			if err != nil {
				t.Fatal(err)
			}
			for part := range slices.Chunk(content, piece) {
				if n, err := w.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, _, err := decryptAll(out.Bytes(), []Identity{id}, nil); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%v in pieces of %d: %v", c, piece, err)
			}
		}
	}
}

func TestRewindAndPartialReads(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	content := text(200001)
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c})
		d, err := Decrypt(bytes.NewReader(data), []Identity{id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := make([]byte, 70000)
		if _, err := io.ReadFull(d, start); err != nil || !bytes.Equal(start, content[:70000]) {
			t.Errorf("%v: first part: %v", c, err)
		}
		var rest bytes.Buffer
		if n, err := d.WriteTo(&rest); n != 130001 || err != nil || !bytes.Equal(rest.Bytes(), content[70000:]) {
			t.Errorf("%v: rest: %d, %v", c, n, err)
		}
		if n, err := d.Read(start); n != 0 || err != io.EOF {
			t.Errorf("%v: at the end: %d, %v", c, n, err)
		}
		d.Rewind()
		if again, err := io.ReadAll(d); err != nil || !bytes.Equal(again, content) {
			t.Errorf("%v: second time: %v", c, err)
		}
		d.Rewind()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := d.Read(start); err == nil || err == io.EOF {
			t.Errorf("%v: reading after Close: %v", c, err)
		}
	}
}

func TestAnnouncedSize(t *testing.T) {
	cert := identity(t, "made", "keys", "p256").Certificate
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		opts := &EncryptOptions{Cipher: c, Size: 10, SizeKnown: true}
		w, err := Encrypt(io.Discard, []*x509.Certificate{cert}, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 11)); err == nil {
			t.Errorf("%v: more than announced is accepted", c)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%v: Close hides the failure", c)
		}
		w, _ = Encrypt(io.Discard, []*x509.Certificate{cert}, opts)
		_, _ = w.Write(make([]byte, 9))
		if err := w.Close(); err == nil {
			t.Errorf("%v: less than announced is accepted", c)
		}
		if _, err := w.Write(nil); err == nil {
			t.Errorf("%v: writing after Close is accepted", c)
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	var out bytes.Buffer
	rsaCert := identity(t, "made", "keys", "rsa").Certificate
	signing := identityCertificate(t, "ed25519")
	if _, err := Encrypt(&out, nil, nil); !errors.Is(err, ErrNoRecipients) {
		t.Errorf("no recipients: %v", err)
	}
	var re *RecipientError
	if _, err := Encrypt(&out, []*x509.Certificate{rsaCert, signing}, nil); !errors.As(err, &re) || re.Index != 1 {
		t.Errorf("signing key: %v", err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Encrypt(&out, []*x509.Certificate{{PublicKey: &p224.PublicKey}}, nil); !errors.As(err, &re) {
		t.Errorf("P-224: %v", err)
	}
	for _, opts := range []EncryptOptions{{Cipher: DESEDE3CBC}, {Cipher: 99}, {Cipher: -1}, {Size: -1, SizeKnown: true}, {OAEP: crypto.MD5}} {
		if _, err := Encrypt(&out, []*x509.Certificate{rsaCert}, &opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
	if out.Len() != 0 {
		t.Errorf("%d bytes were written", out.Len())
	}
}

// TestRecipientIdentifier: the issuer is copied byte by byte, a certificate given twice counts once.
func TestRecipientIdentifier(t *testing.T) {
	cert := identity(t, "made", "keys", "rsa").Certificate
	data := encryptAll(t, nil, []*x509.Certificate{cert, cert}, nil)
	if n := bytes.Count(data, issuerAndSerial(cert)); n != 1 {
		t.Errorf("the recipient is named %d times", n)
	}
	if !bytes.Contains(data, encodeAlgorithm(oidRSA, asn1Null)) {
		t.Error("rsaEncryption without NULL")
	}
}

// TestReencodedIssuer finds a recipient whose issuer was encoded with other string types.
func TestReencodedIssuer(t *testing.T) {
	ca, err := testca.New("Re-encoded Root")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{"a@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Certificate: leaf.Certificate, Key: leaf.Key}
	content := text(50)
	data := encryptAll(t, content, []*x509.Certificate{leaf.Certificate}, nil)
	other := bytes.Replace(data, []byte("\x13\x0fRe-encoded Root"), []byte("\x0c\x0fRE-encoded Root"), 1)
	if bytes.Equal(other, data) {
		t.Fatal("issuer not found in the message")
	}
	if got, _, err := decryptAll(other, []Identity{id}, nil); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%v", err)
	}
	other = bytes.Replace(data, []byte("Re-encoded Root"), []byte("Xe-encoded Root"), 1)
	if _, _, err := decryptAll(other, []Identity{id}, nil); !errors.Is(err, ErrNoRecipient) {
		t.Errorf("another issuer: %v", err)
	}
}

func TestDecryptLimits(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		for _, sized := range []bool{false, true} {
			data := encryptAll(t, make([]byte, 1<<20), []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c, SizeKnown: sized, Size: 1 << 20})
			if _, _, err := decryptAll(data, []Identity{id}, &DecryptOptions{MaxContent: 1<<20 - 1}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v, size known %v: %v", c, sized, err)
			}
			if _, _, err := decryptAll(append(data, 0), []Identity{id}, nil); !errors.Is(err, ErrSyntax) {
				t.Errorf("%v: trailing byte: %v", c, err)
			}
			broken := errors.New("broken line")
			_, err := Decrypt(io.MultiReader(bytes.NewReader(data[:5000]), errReader{broken}), []Identity{id}, nil)
			if !errors.Is(err, broken) || errors.Is(err, ErrSyntax) {
				t.Errorf("%v: error of the reader: %v", c, err)
			}
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestTamper: no single changed bit of an authenticated message yields a text other than the message's.
func TestTamper(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	content := text(40)
	for _, c := range []Cipher{AES256GCM, ChaCha20Poly1305} {
		data := encryptAll(t, content, []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c})
		for i := range data {
			for bit := range 8 {
				other := bytes.Clone(data)
				other[i] ^= 1 << bit
				if got, _, err := decryptAll(other, []Identity{id}, nil); err == nil && !bytes.Equal(got, content) {
					t.Fatalf("%v, byte %d bit %d: decrypts to %q", c, i, bit, got)
				}
			}
		}
	}
}

// TestOneError: failures that depend on secrets cannot be told apart.
func TestOneError(t *testing.T) {
	ids := madeIdentities(t)
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		for i, id := range ids {
			data := encryptAll(t, text(100), []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c})
			wrong := Identity{Certificate: id.Certificate, Key: ids[(i+1)%2].Key}
			if i >= 2 {
				key, err := ecdsa.GenerateKey(id.Certificate.PublicKey.(*ecdsa.PublicKey).Curve, rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				wrong.Key = key
			}
			_, _, err := decryptAll(data, []Identity{wrong}, nil)
			if c.AEAD() && err != ErrDecrypt {
				t.Errorf("%v, wrong key %d: %v", c, i, err)
			}
			if err != nil && err != ErrDecrypt {
				t.Errorf("%v, wrong key %d: %v", c, i, err)
			}
		}
	}
}

// TestSubstituteKey: the key that stands in after a bad RSA block is the same for the same block, another for another.
func TestSubstituteKey(t *testing.T) {
	key := identity(t, "made", "keys", "rsa").Key.(*rsa.PrivateKey)
	bad := transportedKey{key: key, pub: &key.PublicKey, encrypted: bytes.Repeat([]byte{1}, 256)}
	first, fits := bad.contentKey(32)
	again, _ := bad.contentKey(32)
	if !fits || !bytes.Equal(first, again) {
		t.Error("the same block gives different keys, or the failure shows")
	}
	bad.encrypted = bytes.Repeat([]byte{2}, 256)
	if other, _ := bad.contentKey(32); bytes.Equal(first, other) {
		t.Error("different blocks give the same key")
	}
}

func ExampleCipher() {
	var c Cipher
	fmt.Println(c, c.Protection(), c.KeySize())
	fmt.Println(AES256GCM, AES256GCM.Protection())
	// Output:
	// AES-256-CBC malleable 32
	// AES-256-GCM authenticated
}
