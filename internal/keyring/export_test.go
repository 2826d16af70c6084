package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestExport(t *testing.T) {
	k, _ := newKeyring(t)
	unlock(t, k)
	infos, err := k.ImportPEM(pemOf(t, newCA(t), "alice@example.com"), "")
	if err != nil {
		t.Fatal(err)
	}
	print := infos[0].Fingerprint
	const filePass = "a päss of the file"
	if _, err := k.Export(t.Context(), print, "short", secret); !errors.Is(err, ErrShortPassphrase) {
		t.Errorf("a short passphrase: %v", err)
	}
	if _, err := k.Export(t.Context(), [32]byte{}, filePass, secret); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("no identity: %v", err)
	}
	k.Lock()
	pfx, err := k.Export(t.Context(), print, filePass, secret)
	if err != nil {
		t.Fatal(err)
	}
	if unlocked, _ := k.Unlocked(); unlocked {
		t.Error("an export leaves the keyring open")
	}
	if _, err := k.Export(t.Context(), print, filePass, []byte("wrong")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("a wrong passphrase of the keyring: %v", err)
	}
	other, _ := newKeyring(t)
	unlock(t, other)
	if _, err := other.Import(pfx, "not this one"); !errors.Is(err, ErrPFXPassphrase) {
		t.Errorf("a wrong passphrase of the file: %v", err)
	}
	got, err := other.Import(pfx, filePass)
	if err != nil || len(got) != 1 || got[0].Fingerprint != print || len(got[0].Chain) != 1 {
		t.Errorf("import elsewhere: %+v, %v", got, err)
	}
}

func TestBackup(t *testing.T) {
	k, _ := newKeyring(t)
	unlock(t, k)
	ca := newCA(t)
	if _, err := k.ImportPEM(pemOf(t, ca, "alice@example.com"), ""); err != nil {
		t.Fatal(err)
	}
	data, err := k.Backup()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.ImportPEM(pemOf(t, ca, "bob@example.com"), ""); err != nil {
		t.Fatal(err)
	}
	again, err := k.Backup()
	if err != nil || bytes.Equal(data, again) {
		t.Errorf("the second copy: %v", err)
	}
	path := filepath.Join(t.TempDir(), "elsewhere", FileName)
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	restored := reopen(t, path)
	unlock(t, restored)
	if list, err := restored.Identities(); err != nil || len(list) != 1 {
		t.Errorf("restored: %d, %v", len(list), err)
	}
	if err := restored.Check(); err != nil {
		t.Error(err)
	}
}
