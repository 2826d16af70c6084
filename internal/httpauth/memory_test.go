package httpauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// refusing is a server that counts the passwords it is shown, and takes "right".
func refusing(shown *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Add(1)
		if _, p, _ := r.BasicAuth(); p != "right" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

// TestRestartsDoNotLockAnAccount starts a new client for each question.
func TestRestartsDoNotLockAnAccount(t *testing.T) {
	var shown atomic.Int64
	url, pool := start(t, refusing(&shown))
	file := filepath.Join(t.TempDir(), "refusals")
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	ask := func(password string) (int, error) {
		x := newClient(t, url, pool, func(o *Options) {
			o.Method, o.LockoutFile, o.Now = Basic, file, func() time.Time { return now }
		})
		x.password.Store(password)
		status, _, err := x.ask(t, "q")
		return status, err
	}
	for i := range 10 {
		status, err := ask(secret)
		if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("start %d: %d %v", i, status, err)
		}
	}
	if shown.Load() != 2 {
		t.Errorf("the password was shown %d times in ten starts, want 2", shown.Load())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 || bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte("svc-galsync")) {
		t.Errorf("%v %s", info.Mode(), b)
	}
	now = now.Add(6*time.Hour + time.Second)
	for i := range 3 {
		if status, err := ask(secret); i == 0 && status != 401 || i > 0 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("after the wait, start %d: %d %v", i, status, err)
		}
	}
	if status, err := ask("right"); status != 200 || err != nil {
		t.Errorf("a new password: %d %v", status, err)
	}
	if status, err := ask("right"); status != 200 || err != nil {
		t.Errorf("again: %d %v", status, err)
	}
}

func TestReadLockout(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	s.refuse.Store(true)
	file := filepath.Join(t.TempDir(), "refusals")
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	ask := func() {
		x := newClient(t, url, pool, func(o *Options) { o.LockoutFile, o.Now = file, func() time.Time { return now } })
		_, _, _ = x.ask(t, "q")
	}
	if _, stopped := ReadLockout(file, now); stopped {
		t.Error("stopped before anything was tried")
	}
	ask()
	if _, stopped := ReadLockout(file, now); stopped {
		t.Error("stopped after one refusal")
	}
	now = now.Add(time.Minute)
	ask()
	began := now
	now = now.Add(time.Hour)
	ask()
	l, stopped := ReadLockout(file, now)
	if !stopped || !l.Since.Equal(began) || !l.Until.Equal(began.Add(defaultCooling)) || !strings.Contains(l.Hint(), "new secret") {
		t.Errorf("stopped %t: %+v", stopped, l)
	}
	if _, stopped := ReadLockout(file, l.Until); stopped {
		t.Error("stopped after the cool-down")
	}
	if l, stopped := ReadLockout(file, now.AddDate(-50, 0, 0)); !stopped || l.Until.Year() > 1977 {
		t.Errorf("after the clock was set back: %+v", l)
	}
}

func TestMemoryIsForgottenAfterSuccess(t *testing.T) {
	s := &ntlmServer{t: t, user: "svc-galsync", offers: []string{"NTLM"}}
	url, pool := start(t, s)
	file := filepath.Join(t.TempDir(), "refusals")
	for range 3 {
		s.refuse.Store(true)
		x := newClient(t, url, pool, func(o *Options) { o.LockoutFile = file })
		if status, _, err := x.ask(t, "q"); status != 401 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
		s.refuse.Store(false)
		x = newClient(t, url, pool, func(o *Options) { o.LockoutFile = file })
		if status, _, err := x.ask(t, "q"); status != 200 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after success: %v", err)
		}
	}
}

func TestMemoryFiles(t *testing.T) {
	dir := t.TempDir()
	now := func() time.Time { return time.Unix(1e9, 0) }
	valid := func(change func(*memory)) string {
		m := memory{Salt: "AAAAAAAAAAAAAAAAAAAAAA==", Credential: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Refusals: 2, Until: now().Add(time.Minute)}
		change(&m)
		b, _ := json.Marshal(m)
		return string(b)
	}
	for name, tc := range map[string]struct {
		content  string
		refusals int
		until    time.Duration
	}{
		"valid":             {valid(func(*memory) {}), 2, time.Minute},
		"a clock was wrong": {valid(func(m *memory) { m.Until = now().AddDate(50, 0, 0) }), 2, time.Hour},
		"damaged":           {"{", 0, 0},
		"empty object":      {"{}", 0, 0},
		"too many":          {valid(func(m *memory) { m.Refusals = 1000 }), 0, 0},
		"short salt":        {valid(func(m *memory) { m.Salt = "AAAA" }), 0, 0},
	} {
		g := newGuard(time.Hour, now)
		if err := g.remember(put(t, filepath.Join(dir, "file"), tc.content, 0o600)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if g.refusals != tc.refusals || tc.refusals > 0 && g.until.Sub(now()) != tc.until {
			t.Errorf("%s: %d refusals until %v", name, g.refusals, g.until)
		}
	}
	put(t, filepath.Join(dir, "open"), "{}", 0o644)
	if err := os.Chmod(filepath.Join(dir, "open"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "open"), filepath.Join(dir, "none", "file"), dir} {
		if err := newGuard(time.Hour, now).remember(path); err == nil || strings.Contains(err.Error(), "{}") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","credential":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","refusals":2,"until":"2026-11-21T02:30:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newGuard(time.Hour, func() time.Time { return time.Unix(1e9, 0) })
		g.restore(b)
		if g.refusals < 0 || g.refusals > maxRefusals || g.until.Sub(g.now()) > time.Hour {
			t.Fatalf("%d refusals until %v", g.refusals, g.until)
		}
	})
}

func BenchmarkSlowFingerprint(b *testing.B) {
	for b.Loop() {
		_ = slowFingerprint([]byte(secret), make([]byte, 16))
	}
}

// TestLockedOut: a count of another program is respected without being touched, for its own credential and server only, and
// clients of several servers that share a scope count together.
func TestLockedOut(t *testing.T) {
	var shown atomic.Int64
	url, pool := start(t, refusing(&shown))
	other, otherPool := start(t, refusing(&shown))
	file := filepath.Join(t.TempDir(), "refusals")
	now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	options := func(url, password, scope string) Options {
		return Options{URL: url, Method: Basic, Username: "svc", Password: func() ([]byte, error) { return []byte(password), nil },
			LockoutFile: file, LockoutScope: scope, Now: func() time.Time { return now }}
	}
	locked := func(url, password, scope string) bool {
		t.Helper()
		before, _ := os.ReadFile(file)
		err := LockedOut(t.Context(), options(url, password, scope))
		if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
			t.Error("to look has changed the file")
		}
		if err != nil && !errors.Is(err, ErrLockedOut) {
			t.Error(err)
		}
		return err != nil
	}
	if locked(url, "wrong", "all") {
		t.Error("locked out without a file")
	}
	for i, at := range []string{url, other, url} {
		o := options(at, "wrong", "all")
		o.Roots = pool
		if at == other {
			o.Roots = otherPool
		}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Get(at)
		if err == nil {
			resp.Body.Close()
		}
		if i < 2 && err != nil || i == 2 && !errors.Is(err, ErrLockedOut) {
			t.Errorf("server %d: %v", i, err)
		}
	}
	for _, tc := range []struct {
		name, url, password, scope string
		want                       bool
	}{
		{"the same", url, "wrong", "all", true}, {"another server of the scope", other, "wrong", "all", true},
		{"another secret", url, "right", "all", false}, {"another scope", url, "wrong", "", false},
	} {
		if got := locked(tc.url, tc.password, tc.scope); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	if now = now.Add(6*time.Hour + time.Second); locked(url, "wrong", "all") {
		t.Error("locked out for ever")
	}
	if shown.Load() != 2 {
		t.Errorf("the password was shown %d times", shown.Load())
	}
}

// TestProcessesCountTogether: a process beside the daemon, such as galsyncd probe, counts the refusals that the other one met
// since it began, whichever of the two wrote them down.
func TestProcessesCountTogether(t *testing.T) {
	for _, order := range []string{"abab", "aabb", "baab", "abba", "bbaa"} {
		var shown atomic.Int64
		url, pool := start(t, refusing(&shown))
		file := filepath.Join(t.TempDir(), "refusals")
		now := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
		ask := map[rune]func(password string) int{}
		for _, name := range "ab" {
			x := newClient(t, url, pool, func(o *Options) {
				o.Method, o.LockoutFile, o.Now = Basic, file, func() time.Time { return now }
			})
			ask[name] = func(password string) int {
				x.password.Store(password)
				status, _, err := x.ask(t, "q")
				if errors.Is(err, ErrLockedOut) {
					return -1
				}
				return status
			}
		}
		for i, name := range order {
			if got := ask[name](secret); (i < 2) != (got == 401) || i >= 2 && got != -1 {
				t.Errorf("%s, question %d: %d", order, i, got)
			}
		}
		now = now.Add(6*time.Hour + time.Second) // one more try is for both together
		if first, second := ask['a'](secret), ask['b'](secret); first != 401 || second != -1 {
			t.Errorf("%s, after the wait: %d, %d", order, first, second)
		}
		if shown.Load() != 3 {
			t.Errorf("%s: the password was shown %d times", order, shown.Load())
		}
		if first, second := ask['a']("right"), ask['b']("right"); first != 200 || second != 200 {
			t.Errorf("%s, another password: %d, %d", order, first, second)
		}
		for i, want := range []int{401, 401, -1} { // the other's success with another secret forgives nothing
			if got, other := ask['a'](secret), ask['b']("right"); got != want || other != 200 {
				t.Errorf("%s, beside a process with another password, question %d: %d, %d", order, i, got, other)
			}
		}
	}
}
