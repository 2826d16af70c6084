package cms

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// madeIdentities are the keys of testdata/made in a fixed order.
func madeIdentities(t testing.TB) []Identity {
	var ids []Identity
	for _, name := range []string{"rsa", "rsa2", "p256", "p384", "p521"} {
		ids = append(ids, identity(t, "made", "keys", name))
	}
	return ids
}

// withEOL makes the line ends of two texts comparable: OpenSSL writes CRLF into what it encrypts.
func withEOL(b []byte) string { return strings.ReplaceAll(string(b), "\r\n", "\n") }

// TestDecryptMade reads every message of testdata/made/enc with every key that it is for.
func TestDecryptMade(t *testing.T) {
	want := withEOL(load(t, "made", "msg"))
	ids := madeIdentities(t)
	names := []string{"rsa", "rsa2", "p256", "p384", "p521"}
	entries, err := os.ReadDir(filepath.Join("testdata", "made", "enc"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 54 {
		t.Fatalf("%d messages instead of 54", len(entries))
	}
	for _, e := range entries {
		data := messageBytes(t, load(t, "made", "enc", e.Name()))
		readable := 0
		for i, name := range names {
			if !strings.Contains(recipientsOf(e.Name()), " "+name+" ") {
				continue
			}
			readable++
			text, d, err := decryptAll(data, ids[i:i+1], &DecryptOptions{AllowTripleDES: true})
			if err != nil {
				t.Errorf("%s with %s: %v", e.Name(), name, err)
				continue
			}
			if withEOL(text) != want {
				t.Errorf("%s with %s: wrong text %q", e.Name(), name, text)
			}
			authenticated := strings.Contains(e.Name(), "gcm") || strings.Contains(e.Name(), "authenv")
			if (d.Protection == Authenticated) != authenticated {
				t.Errorf("%s: protection %v", e.Name(), d.Protection)
			}
		}
		if readable == 0 {
			t.Errorf("%s: no recipient known", e.Name())
		}
		if _, _, err := decryptAll(data, nil, nil); !errors.Is(err, ErrNoRecipient) {
			t.Errorf("%s without identities: %v", e.Name(), err)
		}
	}
}

// recipientsOf reads the recipients out of a file name, as words with a space before and after.
func recipientsOf(name string) string {
	switch {
	case strings.Contains(name, "rsa+rsa2"):
		return " rsa rsa2 "
	case strings.Contains(name, "mixed"):
		return " rsa p256 rsa2 "
	}
	for _, k := range []string{"p256", "p384", "p521"} {
		if strings.Contains(name, k) {
			return " " + k + " "
		}
	}
	return " rsa "
}

func TestTripleDESOnlyByOption(t *testing.T) {
	data := load(t, "made", "enc", "openssl.rsa.3des-cbc.der")
	if _, _, err := decryptAll(data, madeIdentities(t), nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("without the option: %v", err)
	}
}

// TestNegative runs the encryption half of MANIFEST.tsv.
func TestNegative(t *testing.T) {
	want := withEOL(load(t, "made", "msg"))
	ids := madeIdentities(t)
	tests := map[string]struct {
		err   error // nil: text decides
		text  bool  // decrypts to the message itself
		other bool  // decrypts to another text
	}{
		"cbc-ok.der":                 {text: true},
		"cbc-pad-00.der":             {err: ErrDecrypt},
		"cbc-short-block.der":        {err: ErrSyntax},
		"cbc-iv8.der":                {err: ErrSyntax},
		"cbc-cek0.der":               {err: ErrDecrypt},
		"rsa-short.der":              {err: ErrDecrypt},
		"rsa-ge-modulus.der":         {err: ErrDecrypt},
		"dup-recipient.der":          {text: true},
		"zero-recipients.der":        {err: ErrSyntax},
		"cons-content.der":           {text: true},
		"truncated.der":              {err: ErrSyntax},
		"efail-gadget.der":           {other: true},
		"gcm-default-icv.der":        {text: true},
		"gcm-ct-flip.der":            {err: ErrDecrypt},
		"gcm-tag0.der":               {err: ErrSyntax}, // announces 16,
		"gcm-nonce0.der":             {err: ErrUnsupported},
		"gcm-authattrs-stripped.der": {err: ErrDecrypt},
		"gcm-to-cbc-downgrade.der":   {err: ErrDecrypt}, // its last block has no padding
		"ber-huge-len.der":           {err: ErrTooLarge},
		"empty.der":                  {err: ErrSyntax},
	}
	seen := 0
	for line := range strings.Lines(string(load(t, "made", "neg", "MANIFEST.tsv"))) {
		file, _, _ := strings.Cut(line, "\t")
		test, ok := tests[file]
		if !ok {
			continue // signatures, mails, and what is built below
		}
		seen++
		text, d, err := decryptAll(load(t, "made", "neg", file), ids, nil)
		if test.err != nil {
			if !errors.Is(err, test.err) {
				t.Errorf("%s: %v instead of %v", file, err, test.err)
			}
			continue
		}
		switch {
		case err != nil:
			t.Errorf("%s: %v", file, err)
		case (withEOL(text) == want) != test.text:
			t.Errorf("%s: text %q", file, text)
		case test.other && d.Protection != Malleable:
			t.Errorf("%s: altered text is called %v", file, d.Protection)
		}
	}
	if seen != len(tests) {
		t.Errorf("%d of %d files are in the manifest", seen, len(tests))
	}
}

// TestChunks is made/neg/ber-chunks.der and a valid message in the same form.
func TestChunks(t *testing.T) {
	const chunks = 60000
	bare := append([]byte{0x24, 0x80}, bytes.Repeat([]byte{4, 1, 'A'}, chunks)...)
	bare = append(bare, 0, 0)
	ids := madeIdentities(t)
	var err error
	refusing := allocated(func() { _, _, err = decryptAll(bare, ids, nil) })
	if !errors.Is(err, ErrSyntax) {
		t.Errorf("bare octet string: %v", err)
	}
	reading := allocated(func() {
		o, err := newReader(bytes.NewReader(bare), maxLength).octets(tagOctetString, chunks, "test")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, o); n != chunks || err != nil {
			t.Errorf("read %d bytes: %v", n, err)
		}
	})
	// Whoever joins such chunks one by one takes gigabytes. That it takes no more time than their number is TestLinear.
	t.Logf("%d bytes to refuse, %d to read", refusing, reading)
	if refusing > 1<<20 || reading > 1<<20 {
		t.Errorf("%d and %d bytes were allocated", refusing, reading)
	}
}

func TestInterop(t *testing.T) {
	want := withEOL(load(t, "interop", "msg"))
	var ids []Identity
	for _, name := range []string{"rsa", "p256", "p384", "p521"} {
		ids = append(ids, identity(t, "interop", name))
	}
	files, err := filepath.Glob(filepath.Join("testdata", "interop", "*.der"))
	if err != nil || len(files) != 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	faulty := map[string]error{
		"moz.rsa.gcm.der": ErrUnsupported, // GCM in EnvelopedData
		"ss.oaep.cbc.der": ErrDecrypt,     // declares MGF1 with SHA-1, uses SHA-256
	}
	for _, path := range files {
		name := filepath.Base(path)
		text, _, err := decryptAll(load(t, "interop", name), ids, nil)
		if wantErr := faulty[name]; wantErr != nil {
			if !errors.Is(err, wantErr) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || withEOL(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestForeignRecipients: kinds of recipients without a certificate are skipped, not refused.
func TestForeignRecipients(t *testing.T) {
	for _, name := range []string{"enveloped_data_kekri.bin", "enveloped_data_pwri.bin", "enveloped_data_ktri.bin"} {
		if _, _, err := decryptAll(load(t, "rustcrypto", name), madeIdentities(t), nil); !errors.Is(err, ErrNoRecipient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := decryptAll(messageBytes(t, load(t, "pyca", "enveloped-aes-256-cbc.pem")), madeIdentities(t), nil); !errors.Is(err, ErrNoRecipient) {
		t.Errorf("pyca: %v", err)
	}
	for _, name := range []string{"encrypted_data.bin", "digested_data.bin", "cms_der.bin"} {
		if _, _, err := decryptAll(load(t, "rustcrypto", name), madeIdentities(t), nil); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKMS reads what AWS KMS answers: BER, OAEP, recipient by subject key identifier. The private key is not public, so
// all that shows is that another one does not fit.
func TestKMS(t *testing.T) {
	key := madeIdentities(t)[0].Key.(*rsa.PrivateKey)
	for _, name := range []string{"kms_ciphertext_for_recipient_1.ber", "kms_ciphertext_for_recipient_2.ber"} {
		data := load(t, "rustcrypto", name)
		i := bytes.Index(data, []byte{0x80, 0x20}) // [0] SubjectKeyIdentifier of 32 bytes
		id := Identity{Key: key, Certificate: &x509.Certificate{PublicKey: &key.PublicKey, SubjectKeyId: data[i+2 : i+34]}}
		if _, _, err := decryptAll(data, []Identity{id}, nil); !errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
		id.Certificate.SubjectKeyId = []byte("another")
		if _, _, err := decryptAll(data, []Identity{id}, nil); !errors.Is(err, ErrNoRecipient) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAuthenticatedAttributes is OpenSSL's message for a shared key, which Decrypt has no identity for: the inner steps are
// run with the key.
func TestAuthenticatedAttributes(t *testing.T) {
	kek := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	data := messageBytes(t, load(t, "openssl", "authenveloped_attrs.pem"))
	text, err := decryptWithKEK(data, kek)
	if err != nil || string(text) != "Hello AuthEnvelopedData world\n" && string(text) != "Hello AuthEnvelopedData world" {
		t.Errorf("%q, %v", text, err)
	}
	altered := bytes.Replace(data, []byte("hello"), []byte("hullo"), 1)
	if _, err := decryptWithKEK(altered, kek); !errors.Is(err, ErrDecrypt) {
		t.Errorf("altered attributes: %v", err)
	}
}

// sharedKey is the KEKRecipientInfo of that message.
type sharedKey struct{ kek []byte }

func (s sharedKey) identity() int { return 0 }
func (s sharedKey) contentKey(int) ([]byte, bool) {
	wrapped, _ := hex.DecodeString("927A55F399AE6682D948F9308B92E5D59D47C3301E653855")
	key, err := unwrapKey(s.kek, wrapped)
	return key, err == nil
}

func decryptWithKEK(data, kek []byte) ([]byte, error) {
	m := newMessage(bytes.NewReader(data), nil, &DecryptOptions{})
	m.keys = []encryptedKey{sharedKey{kek}}
	d, err := m.decrypt()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(d)
}
