package keyring

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// crashFile names the keyring to the child process of TestKill.
const crashFile = "KEYRING_TEST_CRASH_FILE"

// TestMain is the child of TestKill when crashFile is set: it imports until it is killed, and says after each import what
// is in.
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
	var texts [][]byte // twenty new identities, then these again and again
	for i := 0; ; i++ {
		if i < 20 {
			text, err := makePEM(ca, fmt.Sprintf("person%d@example.com", i))
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		infos, err := k.ImportPEM(texts[i%20])
		if err != nil {
			return err
		}
		fmt.Println(hex.EncodeToString(infos[0].Fingerprint[:]))
	}
}

// TestKill kills a process that imports, at random times from its first start on, and holds that the keyring opens and
// that nothing it has reported is gone.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", FileName)
	reported := map[string]bool{}
	// A machine that is too slow to import anything in so short a life gets more rounds, and longer ones.
	for round := 0; round < 30 || len(reported) < 30 && round < 90; round++ {
		life := 120 * time.Millisecond
		if round >= 30 {
			life = time.Second
		}
		for fingerprint := range killed(t, path, time.Duration(rand.Int64N(int64(life)))) {
			reported[fingerprint] = true
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
		identities, err := k.Identities()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		there := map[string]bool{}
		for _, id := range identities {
			there[hex.EncodeToString(id.Fingerprint[:])] = true
		}
		for fingerprint := range reported {
			if !there[fingerprint] {
				t.Fatalf("round %d: %s is gone", round, fingerprint)
			}
		}
		k.Close()
	}
	if len(reported) < 30 {
		t.Errorf("only %d imports in all: the processes were killed too early to tell anything", len(reported))
	}
	t.Logf("%d imports were reported and are all there", len(reported))
}

// killed runs a child, kills it after a time, and returns what it reported.
func killed(t *testing.T, path string, after time.Duration) map[string]bool {
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
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	reported := map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if len(line) == 64 {
			reported[line] = true
		} else if len(line) > 64 || line[0] == 'f' {
			t.Errorf("the child says: %s", line)
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended by itself: %v", err)
	}
	return reported
}
