package keyring

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// crashFile names the keyring to the child process of TestKill.
const crashFile = "KEYRING_TEST_CRASH_FILE"

// TestMain is the child of TestKill when crashFile is set: it changes the keyring until it is killed, and says after each
// change what is in.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		fmt.Println("failed:", importForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func importForever(path string) error {
	k, err := Open(path, cheap())
	if err != nil {
		return err
	}
	if has, err := k.HasPassphrase(); err != nil {
		return err
	} else if !has {
		if err := k.SetPassphrase(secret); err != nil {
			return err
		}
	}
	if err := k.Unlock(context.Background(), secret, time.Hour); err != nil {
		return err
	}
	ca, err := testca.New("Test CA")
	if err != nil {
		return err
	}
	guest, err := makePEM(ca, "guest@example.com")
	if err != nil {
		return err
	}
	var texts [][]byte // twenty new identities, then these again and again
	for i := 0; ; i++ {
		if i < 20 {
			text, err := makePEM(ca, fmt.Sprintf("person%d@example.com", i))
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		infos, err := k.ImportPEM(texts[i%20], "")
		if err != nil {
			return err
		}
		fmt.Println("identity " + hex.EncodeToString(infos[0].Fingerprint[:]))
		if err := decideThings(k, infos[0], i%20); err != nil {
			return err
		}
		if err := comeAndGo(k, guest); err != nil {
			return err
		}
	}
}

// decideThings makes every other kind of change, and says what must be there from then on.
func decideThings(k *Keyring, id Info, i int) error {
	a := mailaddr.Address(fmt.Sprintf("friend%d@example.org", i))
	in := Installation{Certificate: id.Certificate, Chain: id.Chain, Addresses: []mailaddr.Address{a}, How: HowFile}
	if _, err := k.Install(in); err != nil {
		return err
	}
	fmt.Println("installed " + hex.EncodeToString(id.Fingerprint[:]))
	if err := k.SetPreferences(a, Preferences{Identity: id.Fingerprint}); err != nil {
		return err
	}
	fmt.Println("preference " + a)
	if err := k.Choose(a, id.Fingerprint); err != nil {
		return err
	}
	fmt.Println("choice " + a)
	_, learned := k.Learn(Capabilities{Certificate: id.Fingerprint, Raw: []byte{0x30, 0}, Signed: time.Now()}, false)
	_, trusted := k.TrustIssuer(id.Chain[0], "")
	_, untrusted := k.UntrustIssuer(sha256.Sum256(id.Chain[0].Raw))
	if err := errors.Join(learned, trusted, untrusted); err != nil {
		return err
	}
	// What comes and goes.
	r, err := k.NewRequest(RequestOptions{Addresses: []mailaddr.Address{"new@example.com"}, Key: KeyP256})
	if err != nil {
		return err
	}
	_, err = k.RemoveRequest(r.ID)
	if err == nil && i%5 == 4 {
		err = k.ChangePassphrase(context.Background(), secret, secret)
	}
	return err
}

// comeAndGo imports and installs what is removed again. Both are there already when an earlier child was killed between.
func comeAndGo(k *Keyring, guest []byte) error {
	infos, err := k.ImportPEM(guest, "")
	if err != nil {
		return err
	}
	in := Installation{Certificate: infos[0].Certificate, Addresses: []mailaddr.Address{"guest@example.com"}, How: HowFile}
	if _, err := k.Install(in); err != nil {
		return err
	}
	_, uninstalled := k.Uninstall(infos[0].Fingerprint)
	_, removed := k.RemoveIdentity(infos[0].Fingerprint)
	return errors.Join(uninstalled, removed)
}

// contentsOf lists what is in a keyring, in the words of its child.
func contentsOf(t *testing.T, k *Keyring) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	identities, err := k.Identities()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range identities {
		there["identity "+hex.EncodeToString(id.Fingerprint[:])] = true
	}
	installed, err := k.Installed()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range installed {
		there["installed "+hex.EncodeToString(c.Fingerprint[:])] = true
	}
	preferences, err := k.Preferences()
	if err != nil {
		t.Fatal(err)
	}
	for a := range preferences {
		there["preference "+string(a)] = true
	}
	choices, err := k.Choices()
	if err != nil {
		t.Fatal(err)
	}
	for a := range choices {
		there["choice "+string(a)] = true
	}
	return there
}

// TestKill kills a process that makes every kind of change, at random moments, and holds that the keyring opens and that
// nothing it has reported is gone. The moments are counted from the process's start in some rounds, and in the others from
// when it has reported so much, so that it gets somewhere on every machine.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", FileName)
	reported := map[string]bool{}
	for round := range 40 {
		reports, life := 0, 120*time.Millisecond
		if round%4 > 0 {
			reports, life = round%24, 10*time.Millisecond
		}
		for what := range killed(t, path, reports, time.Duration(rand.Int64N(int64(life)))) {
			reported[what] = true
		}
		k, err := Open(path, cheap())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := k.Check(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if has, err := k.HasPassphrase(); err != nil || !has {
			if len(reported) > 0 {
				t.Fatalf("round %d: the passphrase is gone: %v", round, err)
			}
			k.Close()
			continue
		}
		unlock(t, k)
		there := contentsOf(t, k)
		for what := range reported {
			if !there[what] {
				t.Fatalf("round %d: %s is gone", round, what)
			}
		}
		k.Close()
	}
	if len(reported) < 20 {
		t.Errorf("only %d changes in all", len(reported))
	}
	t.Logf("%d changes were reported and are all there", len(reported))
}

// killed runs a child, kills it a time after it has made so many reports, and returns what it reported.
func killed(t *testing.T, path string, reports int, after time.Duration) map[string]bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { time.AfterFunc(after, func() { cmd.Process.Kill() }) }
	if reports == 0 {
		kill()
	}
	reported := map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if reports--; reports == 0 {
			kill()
		}
		switch what, _, _ := strings.Cut(line, " "); what {
		case "failed:":
			t.Errorf("the child says: %s", line)
		case "identity", "installed":
			if len(line) == len(what)+1+64 { // else cut by the kill
				reported[line] = true
			}
		case "preference", "choice":
			if strings.HasSuffix(line, ".org") {
				reported[line] = true
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended by itself: %v", err)
	}
	return reported
}

// TestKillDuringMigration kills a process that opens a file of schema 1, at random times, and holds that its identities
// are there afterwards, with the copy when the file was changed.
func TestKillDuringMigration(t *testing.T) {
	path, before := schema1(t)
	for round := range 15 {
		if err := errors.Join(os.WriteFile(path, before, 0o600), os.RemoveAll(path+".schema-1")); err != nil {
			t.Fatal(err)
		}
		killed(t, path, round%2, time.Duration(rand.Int64N(int64(60*time.Millisecond))))
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(path + ".schema-1"); !bytes.Equal(before, after) && (err != nil || !bytes.Equal(kept, before)) {
			t.Fatalf("round %d: the file was changed and there is no copy of it: %v", round, err)
		}
		k, err := Open(path, cheap())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		unlock(t, k)
		if list, err := k.Identities(); err != nil || len(list) < 2 {
			t.Fatalf("round %d: %d identities, %v", round, len(list), err)
		}
		k.Close()
	}
}
