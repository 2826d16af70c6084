package keyring

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// TestNSS reads PFX files as Firefox and Thunderbird write them (BER), with new and old algorithms, and has NSS read ours.
func TestNSS(t *testing.T) {
	interop.Need(t, "certutil", "pk12util")
	db := "sql:" + t.TempDir()
	interop.Must(t, nil, nil, "certutil", "-N", "-d", db, "--empty-password")
	interop.Must(t, nil, nil, "pk12util", "-i", "testdata/made/rsa.modern.p12", "-d", db, "-W", "test")
	k, _ := newKeyring(t)
	unlock(t, k)
	var info Info
	for name, args := range map[string][]string{
		"as it likes": nil,
		"AES-256":     {"-c", "AES-256-CBC", "-C", "AES-256-CBC"},
		"3DES":        {"-c", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC", "-C", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC"},
	} {
		path := filepath.Join(t.TempDir(), "nss.p12")
		interop.Must(t, nil, nil, "pk12util", append([]string{"-o", path, "-n", "rsa", "-d", db, "-W", "päss word"}, args...)...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		infos, err := k.Import(data, "päss word")
		if err != nil || len(infos) != 1 {
			t.Errorf("%s: %d, %v", name, len(infos), err)
			continue
		}
		info = infos[0]
	}
	pfx, err := k.Export(t.Context(), info.Fingerprint, "a päss of ours", secret)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ours.p12")
	overwrite(t, path, pfx)
	fresh := "sql:" + t.TempDir()
	interop.Must(t, nil, nil, "certutil", "-N", "-d", fresh, "--empty-password")
	interop.Must(t, nil, nil, "pk12util", "-i", path, "-d", fresh, "-W", "a päss of ours")
}
