package keyring

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// peer skips when a program that we did not write is not there; CI must have it.
func peer(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI must have %s", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

func runPeer(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// TestNSS reads PFX files as Firefox and Thunderbird write them (BER), with new and old algorithms, and has NSS read ours.
func TestNSS(t *testing.T) {
	peer(t, "certutil", "pk12util")
	db := "sql:" + t.TempDir()
	runPeer(t, "certutil", "-N", "-d", db, "--empty-password")
	runPeer(t, "pk12util", "-i", "testdata/made/rsa.modern.p12", "-d", db, "-W", "test")
	k, _ := newKeyring(t)
	unlock(t, k)
	var info Info
	for name, args := range map[string][]string{
		"as it likes": nil,
		"AES-256":     {"-c", "AES-256-CBC", "-C", "AES-256-CBC"},
		"3DES":        {"-c", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC", "-C", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC"},
	} {
		path := filepath.Join(t.TempDir(), "nss.p12")
		runPeer(t, "pk12util", append([]string{"-o", path, "-n", "rsa", "-d", db, "-W", "päss word"}, args...)...)
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
	runPeer(t, "certutil", "-N", "-d", fresh, "--empty-password")
	runPeer(t, "pk12util", "-i", path, "-d", fresh, "-W", "a päss of ours")
}
