package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// load reads a file of testdata, whose parts are joined to a path.
func load(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// shared reads a file of the vectors outside of the repository, whose licence keeps them out of it. The test is skipped
// where they are not.
func shared(t testing.TB, parts ...string) []byte {
	t.Helper()
	root := os.Getenv("GALSYNCD_SMIME_VECTORS")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "smime-vectors")
	}
	data, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
	if os.IsNotExist(err) {
		t.Skipf("vectors %s are not here", filepath.Join(parts...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseCertificate(t testing.TB, pemBytes []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pemBytes)
	if block == nil {
		t.Fatal("no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func parseKey(t testing.TB, pemBytes []byte) crypto.PrivateKey {
	t.Helper()
	var block *pem.Block
	for rest := pemBytes; ; {
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatal("no private key")
		} else if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			break
		}
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// identity loads NAME.pem and NAME.key of a folder of testdata.
func identity(t testing.TB, folder ...string) Identity {
	t.Helper()
	last := len(folder) - 1
	at := func(suffix string) []byte {
		return load(t, append(append([]string{}, folder[:last]...), folder[last]+suffix)...)
	}
	return Identity{Certificate: parseCertificate(t, at(".pem")), Key: parseKey(t, at(".key"))}
}

// message returns the DER or BER in a file: bare, in PEM, or as the base64 body of a mail.
func messageBytes(t testing.TB, data []byte) []byte {
	t.Helper()
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes
	}
	if len(data) == 0 || data[0] == tagSequence || data[0] == tagOctetString|constructed {
		return data
	}
	_, body, ok := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n\n")
	if !ok {
		t.Fatal("no body")
	}
	body, _, _ = strings.Cut(body, "\n--")
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// decryptAll decrypts and reads everything.
func decryptAll(data []byte, identities []Identity, opts *DecryptOptions) ([]byte, *Decrypted, error) {
	d, err := Decrypt(bytes.NewReader(data), identities, opts)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(d)
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return text, d, err
}

func encryptAll(t testing.TB, content []byte, recipients []*x509.Certificate, opts *EncryptOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Encrypt(&out, recipients, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
