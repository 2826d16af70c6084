package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/directory"
	rooms "github.com/galsyncd/galsyncd/internal/daemon"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/recipients"
)

// words are what a sync, and status after it, must say about a fault, and what they must advise.
type words struct{ says, advises string }

// door is one way into Exchange, and what is said about trouble on it.
type door struct {
	protocol string
	settings string // of the run that the fault strikes
	kinds    []exchangesim.FaultKind
	words    map[exchangesim.FaultKind]words
	statuses map[exchangesim.FaultKind]int // other than exitNoService
	location string                        // of FaultMoved
}

var faultWords = map[exchangesim.FaultKind]words{
	exchangesim.FaultUnauthorized:     {"refused the credential|stopped after two refusals", "exchange.auth"},
	exchangesim.FaultUnavailable:      {`http status 503\); it asks to be left alone for 10m0s`, "event log"},
	exchangesim.FaultRetryDate:        {`http status 503\); it asks to be left alone for (10m[01]|9m5.)s`, "event log"},
	exchangesim.FaultHTML:             {"HTML page", "exchange.url"},
	exchangesim.FaultEmpty:            {"answer is empty", "proxy"},
	exchangesim.FaultHang:             {"stopped", "goes on from there"},
	exchangesim.FaultDrip:             {"stopped", "goes on from there"},
	exchangesim.FaultReset:            {"connection broke", "load balancer"},
	exchangesim.FaultTruncate:         {"cut off", "load balancer"},
	exchangesim.FaultEndless:          {"more than 1000 entries", "exchange.url"},
	exchangesim.FaultBusy:             {"ErrorServerBusy.*left alone for 10m0s", "sync.requests_per_second"},
	exchangesim.FaultBusyMessage:      {"ErrorServerBusy.*left alone for 10m0s", "sync.requests_per_second"},
	exchangesim.FaultBusyInner:        {"ErrorServerBusy.*left alone for 10m0s", "sync.requests_per_second"},
	exchangesim.FaultConnections:      {"too many connections .*ErrorExceededConnectionCount", "fewer programs"},
	exchangesim.FaultTransient:        {"ErrorInternalServerTransientError", "asks again by itself"},
	exchangesim.FaultTimeout:          {"ErrorTimeoutExpired", "asks again by itself"},
	exchangesim.FaultObjects:          {"ErrorTooManyObjectsOpened", "fewer programs"},
	exchangesim.FaultADUnavailable:    {"cannot reach Active Directory .*ErrorADUnavailable", "domain controllers"},
	exchangesim.FaultADOperation:      {"Active Directory .*ErrorADOperation", "domain controllers"},
	exchangesim.FaultNoMailbox:        {"account has no mailbox.*ErrorNameResolutionNoMailbox", "give the account a mailbox"},
	exchangesim.FaultAccessDenied:     {"may not do this .*ErrorAccessDenied", "EwsEnabled"},
	exchangesim.FaultSchema:           {"not valid .*ErrorSchemaValidation", "report this"},
	exchangesim.FaultSchemaVersion:    {"ErrorIncorrectSchemaVersion", "report this"},
	exchangesim.FaultInvalidVersion:   {"any version of EWS that has certificates .*ErrorInvalidServerVersion", "Exchange 2010 SP2"},
	exchangesim.FaultNoResults:        {"would have lost 28 of 28 entries", "sync.max_removals"},
	exchangesim.FaultNoCertificates:   {"last usable certificate of [0-9]+", "sync.max_removals"},
	exchangesim.FaultWithoutMoreToSay: {"without a ResolutionSet", "asks again by itself"},
}

// longSilence is asked for by the faults that can ask for one; no run waits so long.
const longSilence = 10 * time.Minute

// TestNoUsableAnswer spoils the answers in every way that the stand-in knows. Whichever it is: the sync ends with a
// message that can be read aloud and says what to do, the right exit status, and what is in the cache stays as it was, to
// the last certificate; status then shows the same words. All at the same time, because most of it is waiting between tries.
func TestNoUsableAnswer(t *testing.T) {
	t.Parallel()
	door{protocol: "ews", kinds: exchangesim.FaultKinds(), words: faultWords, statuses: map[exchangesim.FaultKind]int{
		exchangesim.FaultUnauthorized: exitNotAllowed,
		exchangesim.FaultNoResults:    exitNotFound, exchangesim.FaultNoCertificates: exitNotFound, // the guard
	}}.spoil(t)
}

func (d door) spoil(t *testing.T) {
	full := t.TempDir()
	filling := d
	filling.settings = ""
	filling.spoilt(t, full, "", 0)
	before := holdings(t, full)
	if len(before) == 0 {
		t.Fatal("the cache is empty")
	}
	var all sync.WaitGroup
	for _, kind := range d.kinds {
		dir := t.TempDir()
		copyFile(t, filepath.Join(full, "cache.db"), filepath.Join(dir, "cache.db"))
		status, known := d.statuses[kind]
		if !known {
			status = exitNoService
		}
		all.Go(func() { d.spoilt(t, dir, kind, status) })
		t.Cleanup(func() {
			if after := holdings(t, dir); !maps.Equal(after, before) {
				t.Errorf("%s changed what the cache holds: %d entries before, %d after", kind, len(before), len(after))
			}
			if shown := remembered(t, dir, d.protocol); status != 0 && !d.words[kind].in(shown) {
				t.Errorf("%s: status would show %q, not %+v", kind, shown, d.words[kind])
			}
		})
	}
	all.Wait()
}

// spoilt runs a sync against a stand-in with the fault. One that would take minutes of waiting is interrupted.
func (d door) spoilt(t *testing.T, dir string, kind exchangesim.FaultKind, status int) {
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
		server.Fault(exchangesim.Fault{Kind: kind, RetryAfter: longSilence, Interval: time.Second, Location: d.location})
	}
	config := filepath.Join(dir, "config.toml")
	url := server.URL()
	if d.protocol == "eas" {
		url = server.ActiveSyncURL()
	}
	text := "exchange.protocol = " + strconv.Quote(d.protocol) + "\nexchange.url = " + strconv.Quote(url) + "\nexchange.auth.method = \"none\"\nsync.requests_per_second = 1000\ncache.dir = " + strconv.Quote(dir) +
		"\ntrust.anchors = []\nsocket.path = \"/nonexistent/galsyncd.sock\"\n" + d.settings
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
	if w, ok := d.words[kind]; kind != "" && status == 0 {
		if !regexp.MustCompile("not read in full: .*(" + w.says + ")").MatchString(out.String()) {
			t.Errorf("%s: it lacks the words %+v:\n%s", kind, w, out.String())
		}
	} else if kind != "" && (!ok || !w.in(talk.String())) {
		t.Errorf("%s: it lacks the words %+v:\n%s", kind, w, talk.String())
	}
	t.Logf("%s:\n%s", kind, talk.String())
}

// in reports that a text has an error and a hint with these words.
func (w words) in(text string) bool {
	return regexp.MustCompile("(?m)^error: .*("+w.says+")").MatchString(text) && regexp.MustCompile("(?m)^hint: .*"+w.advises).MatchString(text)
}

// remembered is what status shows about the last run, in the form of messages.
func remembered(t *testing.T, dir, protocol string) string {
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status := rooms.Status{Cache: c, Book: &recipients.Book{Directory: rooms.Directory{Cache: c}}, Runs: &rooms.Runs{}, Protocol: protocol, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	s, err := status.Status(context.Background()) // called when the test is over
	if err != nil {
		t.Fatal(err)
	}
	text := "error: " + s.Source.LastError + "\nhint: " + s.Source.LastErrorHint + "\n"
	for _, w := range s.Warnings {
		if error, hint, ok := strings.Cut(w, ": "); ok {
			text += "error: " + error + "\nhint: " + hint + "\n"
		}
	}
	return text
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
