package keyring

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
	"software.sslmate.com/src/go-pkcs12"
)

// vectorFile reads a PFX file: binary, PEM or bare base64.
func vectorFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes
	}
	if data[0] == 'M' {
		if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), "")); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func TestPublishedPFXFiles(t *testing.T) {
	shared := os.Getenv("GALSYNCD_SMIME_VECTORS")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared", "smime-vectors")
	}
	for _, tt := range []struct {
		pattern, passphrase string
		identities          int
	}{
		{"testdata/made/*.p12", "test", 1},
		{"testdata/mimekit/*.pfx", "no.secret", 1},
		{"testdata/rfc9216/alice.p12.pem", "alice", 2},
		{"testdata/rfc9216/carlos.p12.pem", "carlos", 2},
		{"testdata/rfc9579/rfc9579-a[1-3].txt", "1234", 1},
		{filepath.Join(shared, "thunderbird", "*.p12"), "nss", 1},
		{filepath.Join(shared, "thunderbird-interop", "*.p12"), "nss", 1},
	} {
		files, err := filepath.Glob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Logf("%s are not here", tt.pattern)
		}
		for _, file := range files {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
				data := vectorFile(t, file)
				list, err := parsePFX(data, tt.passphrase)
				if err != nil {
					t.Fatal(err)
				}
				if len(list) != tt.identities {
					t.Errorf("%d identities instead of %d", len(list), tt.identities)
				}
				for _, id := range list {
					if !certifies(id.Certificate, id.Key.(interface{ Public() crypto.PublicKey }).Public()) {
						t.Errorf("%v: the key does not match", id.Certificate.Subject)
					}
				}
				for _, wrong := range []string{"", tt.passphrase + "x"} {
					if _, err := parsePFX(data, wrong); !errors.Is(err, ErrPFXPassphrase) {
						t.Errorf("passphrase %q: %v", wrong, err)
					}
				}
				// A byte changed anywhere inside of what the MAC covers is noticed.
				changed := bytes.Clone(data)
				changed[len(changed)/2] ^= 1
				if _, err := parsePFX(changed, tt.passphrase); err == nil {
					t.Error("a changed file was imported")
				}
			})
		}
	}
}

func TestInvalidPBMAC1(t *testing.T) {
	for _, name := range []string{"a4", "a5", "a6"} {
		if _, err := parsePFX(vectorFile(t, "testdata/rfc9579/rfc9579-"+name+".txt"), "1234"); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// person makes a key with its certificate and the certificate of its issuer.
func person(t testing.TB, name string) (*testca.Leaf, *testca.CA) {
	t.Helper()
	ca, err := testca.New("Test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{name + "@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	return leaf, ca
}

func encodePFX(t testing.TB, encoder *pkcs12.Encoder, passphrase string) []byte {
	t.Helper()
	leaf, ca := person(t, "alice")
	pfx, err := encoder.Encode(leaf.Key, leaf.Certificate, []*x509.Certificate{ca.Certificate}, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return pfx
}

func TestEncodings(t *testing.T) {
	for name, encoder := range map[string]*pkcs12.Encoder{
		"RC2": pkcs12.LegacyRC2, "3DES": pkcs12.LegacyDES, "PBES2": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026,
	} {
		for _, passphrase := range []string{"secret", "", "pässword €"} {
			list, err := parsePFX(encodePFX(t, encoder, passphrase), passphrase)
			if err != nil || len(list) != 1 || len(list[0].Chain) != 1 {
				t.Errorf("%s with %q: %d identities, %v", name, passphrase, len(list), err)
			}
		}
	}
	bare := encodePFX(t, pkcs12.Passwordless, "")
	if list, err := parsePFX(bare, ""); err != nil || len(list) != 1 {
		t.Errorf("without a passphrase: %v", err)
	}
	if _, err := parsePFX(bare, "secret"); err == nil || !strings.Contains(err.Error(), "no MAC") {
		t.Errorf("a passphrase for a file without a MAC: %v", err)
	}
}

// TestIterationsAreCountedFirst holds that every place with an iteration count is seen, and that too much is refused.
func TestIterationsAreCountedFirst(t *testing.T) {
	pfx := encodePFX(t, pkcs12.Modern2026.WithIterations(3000), "secret")
	legacy := encodePFX(t, pkcs12.LegacyDES.WithIterations(3000), "secret")
	count, err := asn1.Marshal(3000)
	if err != nil {
		t.Fatal(err)
	}
	huge := []byte{2, 2, 0x7F, 0xFF}
	if bytes.Count(pfx, count) != 3 || bytes.Count(legacy, count) != 3 {
		t.Fatalf("the files have %d and %d iteration counts", bytes.Count(pfx, count), bytes.Count(legacy, count))
	}
	for _, file := range [][]byte{pfx, legacy} {
		for i := range 3 {
			changed := bytes.Clone(file)
			at := 0
			for range i + 1 {
				at += bytes.Index(changed[at:], count) + 1
			}
			copy(changed[at-1:], huge)
			f, err := walkPFX(changed)
			if err != nil {
				t.Fatal(err)
			}
			most := f.macWork
			for _, key := range f.keys {
				most = max(most, key.work)
			}
			for _, safe := range f.safes {
				most = max(most, safe.work)
			}
			if most < 32767 {
				t.Errorf("count %d was not seen: the most is %d", i, most)
			}
		}
	}
	slow := encodePFX(t, pkcs12.Modern2023.WithIterations(70000), "secret")
	slow = bytes.ReplaceAll(slow, []byte{2, 3, 0x01, 0x11, 0x70}, []byte{2, 3, 0x7F, 0xFF, 0xFF})
	if _, err := parsePFX(slow, "secret"); err == nil || !strings.Contains(err.Error(), "above 2000000") {
		t.Errorf("8 million iterations: %v", err)
	}
	for n, want := range map[int64]bool{1: true, maxIterations: true, maxIterations + 1: false, 1 << 62: false, 0: false, -5: false} {
		if _, err := iterations(big.NewInt(n), nil); (err == nil) != want {
			t.Errorf("%d iterations: %v", n, err)
		}
	}
	if _, err := iterations(new(big.Int).Lsh(big.NewInt(1), 4000), nil); err == nil {
		t.Error("a count of 4000 bits was accepted")
	}
	f := &pfxFile{keys: []pfxKey{{work: maxIterations}}, macWork: maxIterations,
		safes: []pfxSafe{{work: maxIterations}, {work: maxIterations}, {work: maxIterations}}}
	if err := f.checkWork(); err == nil {
		t.Error("the sum of iterations is not bounded")
	}
}

// TestKeyBagsInEncryptedSafesAreNotOpened hides a key bag, whose iterations nobody can count from outside.
func TestKeyBagsInEncryptedSafesAreNotOpened(t *testing.T) {
	leaf, _ := person(t, "alice")
	pfx, err := pkcs12.Modern2023.Encode(leaf.Key, leaf.Certificate, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	f, err := walkPFX(pfx)
	if err != nil {
		t.Fatal(err)
	}
	f.safes = []pfxSafe{{info: encryptedSafe(t, f.keys[0].bag, "secret"), work: 1}}
	f.certs = [][]byte{certificateBag(leaf.Certificate)}
	if _, _, err := f.decrypt("secret"); err == nil || !strings.Contains(err.Error(), "exactly one key bag") {
		t.Errorf("a key bag inside of an encrypted safe: %v", err)
	}
	f.keys = nil
	if err := f.checkWork(); err == nil {
		t.Error("a file whose only key is hidden was accepted")
	}
}

func TestSeveralSafesAndKeys(t *testing.T) {
	alice, ca := person(t, "alice")
	bob, _ := person(t, "bob")
	one, err := pkcs12.Modern2023.Encode(alice.Key, alice.Certificate, []*x509.Certificate{ca.Certificate}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	two, err := pkcs12.LegacyRC2.Encode(bob.Key, bob.Certificate, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	f, err := walkPFX(one)
	if err != nil {
		t.Fatal(err)
	}
	g, err := walkPFX(two)
	if err != nil {
		t.Fatal(err)
	}
	f.keys, f.safes = append(f.keys, g.keys...), append(f.safes, g.safes...)
	if err := f.checkWork(); err != nil {
		t.Fatal(err)
	}
	keys, certs, err := f.decrypt("secret")
	if err != nil {
		t.Fatal(err)
	}
	list, err := match(keys, certs)
	if err != nil || len(list) != 2 || len(list[0].Chain) != 1 || !list[1].Certificate.Equal(bob.Certificate) {
		t.Errorf("got %d identities, %v", len(list), err)
	}
}

func TestImportRefusals(t *testing.T) {
	leaf, _ := person(t, "alice")
	other, _ := person(t, "bob")
	mismatch, err := pkcs12.Modern2023.Encode(leaf.Key, other.Certificate, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsePFX(mismatch, "secret"); !errors.Is(err, ErrKeyMismatch) {
		t.Errorf("a key with another certificate: %v", err)
	}
	trust, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{leaf.Certificate}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	good := encodePFX(t, pkcs12.Modern2023, "secret")
	for name, tt := range map[string]struct {
		data       []byte
		passphrase string
		want       string
	}{
		"empty":           {nil, "", "not a PFX file"},
		"text":            {[]byte("hello"), "", "not a PFX file"},
		"certificate":     {leaf.Certificate.Raw, "", "not a PFX file"},
		"cut short":       {good[:len(good)-1], "secret", "not a PFX file"},
		"with a tail":     {append(bytes.Clone(good), 0), "secret", "bytes follow its end"},
		"too large":       {make([]byte, maxImport+1), "", "larger than"},
		"trust store":     {trust, "secret", "no private key"},
		"long passphrase": {good, strings.Repeat("x", 2000), "longer than"},
		"emoji":           {good, "😀", "beyond U+FFFF"},
	} {
		if _, err := parsePFX(tt.data, tt.passphrase); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestImportPEM(t *testing.T) {
	leaf, ca := person(t, "alice")
	key, err := leaf.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	cert, issuer := testca.CertificatePEM(leaf.Certificate), testca.CertificatePEM(ca.Certificate)
	for name, tt := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"key first":        {[][]byte{key, cert, issuer}, ""},
		"key last":         {[][]byte{[]byte("text\n"), issuer, cert, key}, ""},
		"key twice":        {[][]byte{key, key, cert}, "belongs to none"},
		"no key":           {[][]byte{cert}, "holds no private key"},
		"no certificate":   {[][]byte{key, issuer}, "belongs to none"},
		"broken":           {[][]byte{cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})}, "cannot be read"},
		"huge key":         {[][]byte{cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, maxKey+1)})}, "larger than"},
		"encrypted":        {[][]byte{cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})}, "not well-formed"},
		"encrypted, huge":  {[][]byte{cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: make([]byte, 1<<20)})}, "larger than"},
		"of another kind":  {[][]byte{cert, pem.EncodeToMemory(&pem.Block{Type: "DSA PRIVATE KEY", Bytes: []byte{1}})}, "not supported"},
		"many keys":        {append(slicesRepeat(key, maxKeys+1), cert), "more than"},
		"too large a file": {[][]byte{make([]byte, maxImport+1)}, "larger than"},
	} {
		list, err := parsePEM(bytes.Join(tt.parts, nil), "")
		if tt.want == "" && (err != nil || len(list) != 1 || len(list[0].Chain) != 1) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %d identities, %v; want %q", name, len(list), err, tt.want)
		}
	}
}

// TestImportEncryptedPEM reads keys as openssl encrypts them.
func TestImportEncryptedPEM(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have openssl")
		}
		t.Skip("openssl is not installed")
	}
	leaf, _ := person(t, "alice")
	key, err := leaf.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"}} {
		cmd := exec.Command("openssl", append([]string{"pkcs8", "-topk8", "-passout", "pass:s\u00e4cret"}, how...)...)
		cmd.Stdin = bytes.NewReader(key)
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, testca.CertificatePEM(leaf.Certificate)...)
		list, err := parsePEM(text, "s\u00e4cret")
		if err != nil || len(list) != 1 {
			t.Errorf("%v: %d, %v", how, len(list), err)
		}
		if _, err := parsePEM(text, "wrong"); !errors.Is(err, ErrPFXPassphrase) {
			t.Errorf("%v, a wrong passphrase: %v", how, err)
		}
	}
}

func slicesRepeat(b []byte, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = b
	}
	return list
}

func TestBER(t *testing.T) {
	for _, tt := range []struct{ ber, der string }{
		{"\x30\x80\x02\x01\x05\x00\x00", "\x30\x03\x02\x01\x05"},
		{"\x30\x81\x03\x02\x01\x05", "\x30\x03\x02\x01\x05"},
		{"\x24\x80\x04\x01a\x24\x80\x04\x02bc\x00\x00\x00\x00", "\x04\x03abc"},
		{"\xa0\x80\x04\x01a\x04\x01b\x00\x00", "\xa0\x06\x04\x01a\x04\x01b"},
		{"\x30\x00", "\x30\x00"},
		{"\x04\x84\x00\x00\x00\x01a", "\x04\x01a"},
	} {
		if der, err := toDER([]byte(tt.ber)); err != nil || string(der) != tt.der {
			t.Errorf("%x: got %x, %v; want %x", tt.ber, der, err, tt.der)
		}
	}
	for _, ber := range []string{
		"", "\x30", "\x30\x80", "\x30\x80\x00", "\x04\x80\x00\x00", "\x30\x01", "\x30\x02\x04\x05", "\x30\x85\x00\x00\x00\x00\x01\x00",
		"\x30\x84\xff\xff\xff\xff", "\x24\x03\x02\x01\x05", "\x30\x00\x30\x00", "\x1f\x85\x01\x00", strings.Repeat("\x30\x80", 100),
	} {
		if der, err := toDER([]byte(ber)); err == nil {
			t.Errorf("%x was read as %x", ber, der)
		}
	}
	begin := time.Now()
	if _, err := toDER(bytes.Repeat([]byte{0x30, 0}, maxImport/2)); err == nil {
		t.Error("half a million elements were read")
	}
	deep := strings.Repeat("\x30\x80", 30) + "\x04\x83\x08\x00\x00" + strings.Repeat("x", 1<<19) + strings.Repeat("\x00\x00", 30)
	if _, err := toDER([]byte(deep)); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("bounded input took %v", took)
	}
}

// encryptedSafe makes an EncryptedData of one bag with a PBES2 of one iteration.
func encryptedSafe(t testing.TB, bag []byte, passphrase string) []byte {
	t.Helper()
	a := assembly{}
	safe := a.marshal([]asn1.RawValue{{FullBytes: bag}})
	algorithm, ciphertext := pbes2(t, safe, passphrase)
	content := encryptedContentInfo{Type: oidData, Algorithm: algorithm,
		Content: asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: ciphertext}}
	info := a.marshal(contentInfo{Type: oidEncryptedData, Content: explicit(a.marshal(encryptedData{Content: content}))})
	if a.err != nil {
		t.Fatal(a.err)
	}
	return info
}

// FuzzPFX holds that no file makes the import panic, hang or run more key derivations than are allowed.
func FuzzPFX(f *testing.F) {
	files, err := filepath.Glob("testdata/m*/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() < 8<<10 {
			f.Add(vectorFile(f, file))
		}
	}
	f.Add(encodePFX(f, pkcs12.Passwordless, ""))
	f.Add(encodePFX(f, pkcs12.Modern2026, "test"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := walkPFX(data)
		if err != nil || file.checkWork() != nil {
			return
		}
		work := file.macWork
		for _, key := range file.keys {
			work += key.work
		}
		if work > 50_000 {
			return // allowed, but too slow for a fuzzer
		}
		for _, passphrase := range []string{"test", ""} {
			_, _ = parsePFX(data, passphrase)
		}
		// Without the MAC, which a fuzzer cannot forge, the rest is reached.
		if keys, certs, err := file.decrypt("test"); err == nil {
			_, _ = match(keys, certs)
		}
	})
}

// FuzzBER holds that what is converted is well-formed DER of bounded size, and that DER stays as it is.
func FuzzBER(f *testing.F) {
	f.Add([]byte("\x30\x80\x24\x80\x04\x01a\x04\x02bc\x00\x00\x00\x00"))
	f.Add([]byte("\x30\x81\x03\x02\x01\x05"))
	f.Add([]byte("\xa0\x80\x1f\x05\x01a\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		der, err := toDER(data)
		if err != nil {
			return
		}
		if len(der) > 2*len(data)+16 {
			t.Fatalf("%d bytes became %d", len(data), len(der))
		}
		again, err := toDER(der)
		if err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x\nbecame %x\nthen   %x, %v", data, der, again, err)
		}
	})
}

// FuzzPEM holds that no text makes the import panic.
func FuzzPEM(f *testing.F) {
	leaf, ca := person(f, "alice")
	key, err := leaf.KeyPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join([][]byte{testca.CertificatePEM(ca.Certificate), key, testca.CertificatePEM(leaf.Certificate)}, nil))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parsePEM(data, "") })
}

func pbes2(t testing.TB, plaintext []byte, passphrase string) (pkix.AlgorithmIdentifier, []byte) {
	t.Helper()
	a := assembly{}
	salt, iv := []byte("saltsalt"), make([]byte, 16)
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: asn1.RawValue{FullBytes: a.marshal(pbes2Params{
		KDF: pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: a.marshal(pbkdf2Param{
			Salt: salt, Iterations: big.NewInt(1), PRF: pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256},
		})}},
		Scheme: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42},
			Parameters: asn1.RawValue{FullBytes: a.marshal(iv)}},
	})}}
	if a.err != nil {
		t.Fatal(a.err)
	}
	return algorithm, encryptCBC(t, plaintext, passphrase, salt, iv)
}
