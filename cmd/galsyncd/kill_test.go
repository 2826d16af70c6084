package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// TestKilledAtAnyMoment kills syncs at random moments, over both protocols. Whatever the moment: the cache opens and is in
// order, nothing that was in it is gone, and the next sync goes on. Program and stand-in are built without the race detector,
// under which the hundred syncs would take a quarter of an hour.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	k := newKillTest(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, stage := range []struct {
		protocol       string
		entries, kills int
	}{{"ews", 2000, 100}, {"eas", 400, 25}} {
		if testing.Short() {
			stage.kills = 15
		}
		k.protocol, k.entries = stage.protocol, stage.entries
		k.empty()
		k.serve()
		k.killSyncs(stage.kills, random)
		k.sync()
		k.look()
		for _, person := range k.people {
			if _, ok := k.held[person]; !ok {
				t.Errorf("%s: the cache lacks %s at the end", stage.protocol, person)
			}
		}
	}
}

// killSyncs kills so many syncs, and looks at the cache after each. One that comes to its end first makes room for the next:
// an address book that has grown, and an empty cache, in turns.
func (k *killTest) killSyncs(kills int, random *rand.Rand) {
	started := time.Now()
	k.sync()
	whole := time.Since(started)
	k.empty()
	most := min(whole, 300*time.Millisecond)
	killed, finished := 0, 0
	for killed < kills {
		if k.syncKilledAfter(time.Millisecond + time.Duration(random.Int64N(int64(most)))) {
			killed++
		} else if finished++; finished%2 == 1 {
			k.entries += 100
			k.serve()
		} else {
			k.empty()
		}
		k.look()
	}
	k.Logf("%s: a whole sync takes %v; %d kills within %v each, %d syncs came to their end first", k.protocol, whole.Round(time.Millisecond), killed, most, finished)
}

// killTest is a cache in dir and a stand-in that fills it.
type killTest struct {
	*testing.T
	dir, program, sim string
	protocol          string
	entries           int
	exchange          *exec.Cmd
	people            []string
	held              map[string]int // primary address → number of certificates
}

// newKillTest builds the programs.
func newKillTest(t *testing.T) *killTest {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir, ".", "../exchangesim")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	k := &killTest{T: t, dir: dir, program: filepath.Join(dir, "galsyncd"), sim: filepath.Join(dir, "exchangesim"), held: map[string]int{}}
	t.Cleanup(k.stop)
	return k
}

// serve starts the stand-in, anew when it runs, and writes the configuration.
func (k *killTest) serve() {
	k.stop()
	ready := filepath.Join(k.dir, "ready")
	os.Remove(ready)
	k.exchange = exec.Command(k.sim, "-auth", "none", "-plain", "-policy", "-entries", fmt.Sprint(k.entries), "-ready-file", ready)
	if err := k.exchange.Start(); err != nil {
		k.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	url, err := os.ReadFile(ready)
	for ; err != nil; url, err = os.ReadFile(ready) {
		if time.Now().After(deadline) {
			k.Fatal("the stand-in does not start")
		}
		time.Sleep(time.Millisecond)
	}
	place := strings.TrimSpace(string(url))
	if k.protocol == "eas" {
		place = strings.TrimSuffix(place, exchangesim.Path) + exchangesim.ActiveSyncPath
	}
	config := fmt.Sprintf("exchange.protocol = %q\nexchange.url = %q\nexchange.auth.method = \"none\"\nsync.requests_per_second = 1000\ncache.dir = %q\ntrust.anchors = []\nsocket.path = \"/nonexistent/galsyncd.sock\"\n",
		k.protocol, place, filepath.Join(k.dir, "cache"))
	if err := os.WriteFile(filepath.Join(k.dir, "config.toml"), []byte(config), 0o600); err != nil {
		k.Fatal(err)
	}
	server, err := exchangesim.New(exchangesim.Options{Entries: k.entries, Seed: 1})
	if err != nil {
		k.Fatal(err)
	}
	k.people = nil
	for _, p := range server.Directory().People() {
		k.people = append(k.people, strings.ToLower(p.Primary))
	}
}

func (k *killTest) stop() {
	if k.exchange != nil {
		k.exchange.Process.Signal(syscall.SIGTERM)
		k.exchange.Wait()
	}
}

// empty throws the cache away.
func (k *killTest) empty() {
	if err := os.RemoveAll(filepath.Join(k.dir, "cache")); err != nil {
		k.Fatal(err)
	}
	clear(k.held)
}

func (k *killTest) galsyncd(args ...string) *exec.Cmd {
	return exec.Command(k.program, append([]string{"--config", filepath.Join(k.dir, "config.toml")}, args...)...)
}

// sync runs one to its end.
func (k *killTest) sync() {
	k.Helper()
	if out, err := k.galsyncd("sync", "--once").CombinedOutput(); err != nil {
		k.Fatalf("sync: %v\n%s", err, out)
	}
}

// syncKilledAfter reports false when the sync came to its end first.
func (k *killTest) syncKilledAfter(d time.Duration) (killed bool) {
	k.Helper()
	cmd := k.galsyncd("sync", "--once")
	var talk strings.Builder
	cmd.Stderr = &talk
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	timer := time.AfterFunc(d, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return false
	case failed && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	k.Fatalf("sync after earlier kills: %v\n%s", err, talk.String())
	return false
}

// look has the program check the cache, and compares what is in it with what was in it before.
func (k *killTest) look() {
	k.Helper()
	if out, err := k.galsyncd("check").CombinedOutput(); err != nil {
		k.Fatalf("check: %v\n%s", err, out)
	}
	c, err := cache.Open(filepath.Join(k.dir, "cache"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		k.Fatal(err)
	}
	defer c.Close()
	now := map[string]int{}
	err = c.View(func(tx directory.Tx) error {
		primaries, err := tx.Primaries("")
		for _, p := range primaries {
			entry, failure := tx.Entry(p)
			now[string(p)] = len(entry.Certificates)
			err = errors.Join(err, failure)
		}
		return err
	})
	if err != nil {
		k.Fatal(err)
	}
	for person, certificates := range k.held {
		if n, ok := now[person]; !ok || n < certificates {
			k.Fatalf("%s had %d certificates before the kill and has %d now, in the cache: %v", person, certificates, n, ok)
		}
	}
	k.held = now
}
