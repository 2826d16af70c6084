package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

const request = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"><s:Body><m:ResolveNames ReturnFullContactData="false"><m:UnresolvedEntry>` + exchangesim.Alice + `</m:UnresolvedEntry></m:ResolveNames></s:Body></s:Envelope>`

// start runs the program until the test ends and returns the address that it prints.
func start(t *testing.T, args ...string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, printed := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, args, printed, t.Output())
		printed.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no address was printed: %v", err)
	}
	return strings.TrimSpace(line), func() int { cancel(); return <-status }
}

func TestRun(t *testing.T) {
	folder := t.TempDir()
	file := func(name string) string { return filepath.Join(folder, name) }
	url, stop := start(t, "-entries", "10", "-auth", "basic", "-user", `CORP\me`, "-password-file", file("password"), "-ca", file("ca.pem"),
		"-smime-ca", file("smime.pem"), "-identities", file("people"), "-ready-file", file("ready"))
	password := read(t, file("password"))
	if len(password) < 20 {
		t.Errorf("password of %d characters", len(password))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, file("ca.pem")))) {
		t.Fatal("no authority")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	for given, want := range map[string]int{password: 200, "wrong": 401} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/xml")
		r.SetBasicAuth(`CORP\me`, given)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("status %d, want %d", answer.StatusCode, want)
		}
	}
	if _, err := tls.LoadX509KeyPair(file("people/alice.crt"), file("people/alice.key")); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]os.FileMode{"password": 0o600, "people/alice.key": 0o600, "ca.pem": 0o644} {
		info, err := os.Stat(file(name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if status := stop(); status != exitOK {
		t.Errorf("status %d", status)
	}
	if got := read(t, file("ready")); got != url {
		t.Errorf("the ready file says %q, the program %q", got, url)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func TestRunEndsByItself(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	began := time.Now()
	if status := run(t.Context(), []string{"-entries", "0", "-for", "20ms", "-fault", "hang"}, io.Discard, t.Output()); status != exitOK {
		t.Errorf("status %d", status)
	}
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("ended after %v", took)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunUsesTheGivenPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("mine\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &settings{passwordFile: file, options: exchangesim.Options{Auth: exchangesim.AuthNTLM}}
	if err := s.password(t.TempDir()); err != nil || s.options.Password != "mine" {
		t.Errorf("password %q, %v", s.options.Password, err)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want int
	}{
		"all addresses":       {[]string{"-listen", "0.0.0.0:0"}, exitUsage},
		"unknown method":      {[]string{"-auth", "kerberos"}, exitUsage},
		"plain password":      {[]string{"-plain"}, exitUsage},
		"unknown fault":       {[]string{"-fault", "nonsense"}, exitUsage},
		"unknown option":      {[]string{"-password", "secret"}, exitUsage},
		"argument":            {[]string{"serve"}, exitUsage},
		"unwritable file":     {[]string{"-auth", "none", "-ca", "/nonexistent/ca.pem"}, exitUnavailable},
		"address with a zone": {[]string{"-auth", "none", "-listen", "[::1%nowhere]:0"}, exitUsage},
	} {
		args := append([]string{"-entries", "0", "-for", "10s"}, tt.args...)
		if got := run(t.Context(), args, io.Discard, t.Output()); got != tt.want {
			t.Errorf("%s: status %d, want %d", name, got, tt.want)
		}
	}
}
