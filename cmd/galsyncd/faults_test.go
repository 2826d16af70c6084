package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// TestNoUsableAnswer spoils the answers in every way that the stand-in knows. Whichever it is: the sync ends with a
// message that can be read aloud and the right exit status, and what is in the cache stays as it was, to the last
// certificate. All at the same time, because most of it is waiting between tries.
func TestNoUsableAnswer(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	spoilt(t, full, "", 0)
	before := holdings(t, full)
	if len(before) == 0 {
		t.Fatal("the cache is empty")
	}
	statuses := map[exchangesim.FaultKind]int{
		exchangesim.FaultUnauthorized: exitNotAllowed,
		exchangesim.FaultNoResults:    exitNotFound, exchangesim.FaultNoCertificates: exitNotFound, // the guard
	}
	var all sync.WaitGroup
	for _, kind := range exchangesim.FaultKinds() {
		dir := t.TempDir()
		copyFile(t, filepath.Join(full, "cache.db"), filepath.Join(dir, "cache.db"))
		status, known := statuses[kind]
		if !known {
			status = exitNoService
		}
		all.Go(func() { spoilt(t, dir, kind, status) })
		t.Cleanup(func() {
			if after := holdings(t, dir); !maps.Equal(after, before) {
				t.Errorf("%s changed what the cache holds: %d entries before, %d after", kind, len(before), len(after))
			}
		})
	}
	all.Wait()
}

// spoilt runs a sync against a stand-in with the fault. One that would take minutes of waiting is interrupted.
func spoilt(t *testing.T, dir string, kind exchangesim.FaultKind, status int) {
	server, err := exchangesim.New(exchangesim.Options{Plain: true})
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	if kind != "" {
		server.Fault(exchangesim.Fault{Kind: kind, RetryAfter: time.Second, Interval: time.Second})
	}
	config := filepath.Join(dir, "config.toml")
	text := "exchange.url = " + strconv.Quote(server.URL()) + "\nexchange.auth.method = \"none\"\nsync.requests_per_second = 1000\ncache.dir = " + strconv.Quote(dir) +
		"\ntrust.anchors = []\nsocket.path = \"/nonexistent/galsyncd.sock\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command("galsyncd", "--config", config, "sync", "--once")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	if kind == exchangesim.FaultHang || kind == exchangesim.FaultDrip {
		status = exitTryAgain
		for deadline := time.Now().Add(patience); server.Requests().Faults == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Signal(os.Interrupt)
	}
	ended := time.AfterFunc(2*patience, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	defer ended.Stop()
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); ok {
		got = exit.ExitCode()
	}
	if got != status {
		t.Errorf("%s: exit status %d, not %d:\n%s%s", kind, got, status, out.String(), talk.String())
	}
	for _, complaint := range readAloud(talk.String(), got) {
		t.Errorf("%s: %s", kind, complaint)
	}
	t.Logf("%s:\n%s", kind, talk.String())
}

// holdings is what a cache holds: of each entry its certificates, and whether it has begun to age.
func holdings(t *testing.T, dir string) map[string]string {
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	held := map[string]string{}
	err = c.View(func(tx directory.Tx) error {
		primaries, err := tx.Primaries("")
		for _, p := range primaries {
			entry, failure := tx.Entry(p)
			err = errors.Join(err, failure)
			text := entry.Missing.String()
			for _, c := range entry.Certificates {
				text += string(c.Raw)
			}
			held[string(p)] = text
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func copyFile(t *testing.T, from, to string) {
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
