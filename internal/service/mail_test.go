package service

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/smime"
)

func TestEncrypt(t *testing.T) {
	h := serve(t, &Server{})
	big := strings.Repeat("lorem ipsum ", 300_000)
	for _, mail := range []string{"subject: x\n\nhello", big} {
		r := h.do(t, "POST", "/v1/encrypt", strings.NewReader(mail), "Accept", "*/*")
		if r.err != nil || r.status != 200 || string(r.body) != strings.ToUpper(mail) || r.header.Get("Content-Type") != "message/rfc822" {
			t.Errorf("%d bytes: status %d, %d bytes, %v", len(mail), r.status, len(r.body), r.err)
		}
		r = h.do(t, "POST", "/v1/encrypt", io.MultiReader(strings.NewReader(mail))) // chunked
		if r.err != nil || string(r.body) != strings.ToUpper(mail) {
			t.Errorf("chunked: status %d, %v", r.status, r.err)
		}
	}
}

func TestEncryptCopies(t *testing.T) {
	var open atomic.Int64
	for name, spool := range map[string]func() (Spool, error){"memory": nil, "file": fileSpool(t, &open)} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, &Server{Spool: spool})
			mail := "bcc: Erin@example.com FRED@example.com\n\n" + strings.Repeat("Lorem Ipsum ", 200_000)
			r := h.do(t, "POST", "/v1/encrypt", strings.NewReader(mail), "Accept", "multipart/mixed")
			if r.err != nil || r.status != 200 {
				t.Fatalf("status %d, %v: %.200s", r.status, r.err, r.body)
			}
			kind, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
			if err != nil || kind != "multipart/mixed" {
				t.Fatalf("%s, %v", kind, err)
			}
			parts := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
			for i, want := range []string{"bob@example.com, dora@example.com", "Erin@example.com", "FRED@example.com"} {
				part, err := parts.NextRawPart()
				if err != nil {
					t.Fatal(err)
				}
				if got := part.Header.Get("Galsyncd-Recipients"); got != want {
					t.Errorf("copy %d is for %q", i, got)
				}
				body, err := io.ReadAll(part)
				if err != nil || len(body) != len(mail) || (i == 0) != (string(body) == strings.ToUpper(mail)) {
					t.Errorf("copy %d: %d bytes, %v", i, len(body), err)
				}
			}
			if _, err := parts.NextRawPart(); err != io.EOF {
				t.Errorf("end: %v", err)
			}
			p := h.do(t, "POST", "/v1/encrypt", strings.NewReader(mail)).problem(t)
			if p.Code != CodeBccNeedsMultipart || p.Hint == "" {
				t.Errorf("%+v", p)
			}
			r = h.do(t, "POST", "/v1/encrypt?to=zoe@example.com", strings.NewReader(mail), "Accept", "multipart/mixed;q=0.5, message/rfc822;q=0.1")
			if !bytes.Contains(r.body, []byte("Galsyncd-Recipients: zoe@example.com\r\n")) {
				t.Errorf("to: %.300s", r.body)
			}
		})
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d spools are still open", n)
	}
}

// TestEncryptChoice: every answer says how it is encrypted; who asks for it gets the look-up too.
func TestEncryptChoice(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser})
	check := func(header func(string) string) {
		t.Helper()
		js, err := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(header("Galsyncd-Choice"), " ", ""))
		var c Choice
		if err != nil || json.Unmarshal(js, &c) != nil || c.Cipher != header("Galsyncd-Cipher") || c.Cipher != "AES-256-CBC" || !c.ToSelf || len(c.Reasons) != 1 {
			t.Errorf("%q: %+v, %v", header("Galsyncd-Choice"), c, err)
		}
	}
	check(h.do(t, "POST", "/v1/encrypt?to-self=1", strings.NewReader("x")).header.Get)
	r := h.do(t, "POST", "/v1/encrypt?to-self=1&explain=1", strings.NewReader("mixed"), "Accept", "multipart/mixed")
	_, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(r.body) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	parts := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for i := range 3 {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			check(part.Header.Get)
		case 2:
			var result recipients.Result
			if err := json.NewDecoder(part).Decode(&result); err != nil || part.Header.Get("Content-Type") != "application/json" || len(result.Recipients[0].Explain) != 1 {
				t.Errorf("%+v, %v", result, err)
			}
		}
	}
	if p := h.do(t, "POST", "/v1/encrypt", strings.NewReader("mixed")).problem(t); p.Code != CodeSplitNeedsMultipart || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	if p := h.do(t, "POST", "/v1/encrypt?explain=1", strings.NewReader("x")).problem(t); p.Code != CodeNotAcceptable || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	system := serve(t, &Server{})
	if p := system.do(t, "POST", "/v1/encrypt?to-self=1", strings.NewReader("x")).problem(t); p.Code != CodeNotAllowed {
		t.Errorf("%+v", p)
	}
}

// fileSpool makes spools in unlinked files and counts those that are open.
func fileSpool(t testing.TB, open *atomic.Int64) func() (Spool, error) {
	dir := t.TempDir()
	return func() (Spool, error) {
		f, err := os.CreateTemp(dir, "spool")
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &countedFile{f, open}, os.Remove(f.Name())
	}
}

type countedFile struct {
	*os.File
	open *atomic.Int64
}

func (c *countedFile) Close() error {
	c.open.Add(-1)
	return c.File.Close()
}

// TestEncryptGoesWrong: a refusal that comes in time is a problem; one that comes too late cuts the answer.
func TestEncryptGoesWrong(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		name, mail string
		code       Code // "" when the answer must be cut
	}{
		{"unknown recipient", "unknown " + big, CodeRecipientUnknown},
		{"late, small", "late", CodeInternal},
		{"late, large", "late " + big, ""},
		{"panic, small", "panic", CodeInternal},
		{"panic, large", "panic " + big, ""},
		{"body not read", "lazy " + big, CodeInternal},
		{"copy not closed, small", "unclosed", CodeInternal},
		{"copy not closed, large", "unclosed " + big, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := serve(t, &Server{})
			r := h.do(t, "POST", "/v1/encrypt", strings.NewReader(test.mail))
			if test.code == "" {
				if r.err == nil {
					t.Errorf("looks complete: status %d, %d bytes", r.status, len(r.body))
				}
			} else if p := r.problem(t); p.Code != test.code {
				t.Errorf("%+v", p)
			}
			if log := h.log.String(); strings.Contains(log, "panic\":\"secret") || strings.Contains(log, "xxxx") {
				t.Errorf("log: %.2000s", log)
			}
			if r := h.do(t, "POST", "/v1/encrypt", strings.NewReader("again")); string(r.body) != "AGAIN" {
				t.Errorf("afterwards: %d %s", r.status, r.body)
			}
		})
	}
}

// TestSimpleCaller sends a large mail to its end before it reads a byte of the answer.
func TestSimpleCaller(t *testing.T) {
	var open atomic.Int64
	h := serve(t, &Server{Spool: fileSpool(t, &open), patience: time.Millisecond, Limits: Limits{Stall: 20 * time.Second}})
	mail := strings.Repeat("abcdefg ", 2<<20) // 16 MiB
	conn, err := net.Dial("unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/encrypt HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(mail))
	if _, err := io.WriteString(conn, mail); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != strings.ToUpper(mail) {
		t.Errorf("status %d, %d bytes, %v", answer.StatusCode, len(body), err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d spools are still open", n)
	}
}

// fullSpool is a place on a full disk.
type fullSpool struct{ memorySpool }

func (fullSpool) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/var/cache/secret", Err: syscall.ENOSPC}
}

// TestFullDisk: where encrypted copies wait there is no room. Nothing of the answer went out yet.
func TestFullDisk(t *testing.T) {
	for name, spool := range map[string]func() (Spool, error){
		"write": func() (Spool, error) { return &fullSpool{}, nil },
		"make": func() (Spool, error) {
			return nil, fmt.Errorf("make a place for the ciphertext: %w", &os.PathError{Op: "open", Path: "/var/cache/secret", Err: syscall.EDQUOT})
		},
	} {
		h := serve(t, &Server{Spool: spool, Limits: Limits{Stall: 20 * time.Second}})
		r := h.do(t, "POST", "/v1/encrypt", strings.NewReader("bcc: erin@example.com\nshort"), "Accept", "multipart/mixed")
		if p := r.problem(t); p.Code != CodeNotStored || p.Status != 507 || p.Hint == "" || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestSpoolLimit: a caller that leaves too much waiting is cut.
func TestSpoolLimit(t *testing.T) {
	h := serve(t, &Server{Limits: Limits{MaxSpool: 1 << 20}})
	mail := "bcc: erin@example.com\n" + strings.Repeat("x", 3<<20)
	r := h.do(t, "POST", "/v1/encrypt", strings.NewReader(mail), "Accept", "multipart/mixed")
	if r.err == nil && r.status == 200 {
		t.Errorf("%d bytes", len(r.body))
	}
}

// TestStreaming: memory does not grow with the mail.
func TestStreaming(t *testing.T) {
	const size = 64 << 20
	var open atomic.Int64
	h := serve(t, &Server{Spool: fileSpool(t, &open)})
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://localhost/v1/encrypt", io.LimitReader(endless{}, size))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	before, peak := liveHeap(), uint64(0)
	buf, n := make([]byte, 256<<10), 0
	for next := 0; ; {
		k, err := answer.Body.Read(buf)
		if n += k; n >= next {
			next += 4 << 20
			peak = max(peak, liveHeap())
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != size || peak > before+8<<20 {
		t.Errorf("%d bytes of mail, up to %d bytes of memory above the %d before", n, int64(peak-before), before)
	}
}

// liveHeap is what is in use of Go's heap, in bytes, without what the collector has yet to find.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one has finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'e'
	}
	return len(p), nil
}

// TestStalledBody: a body that stands still is cut, and says so when it still can.
func TestStalledBody(t *testing.T) {
	// The answer is cut too when it takes so long to write, which a busy machine must not do.
	h := serve(t, &Server{Role: RoleUser, Limits: Limits{Stall: time.Second}})
	var all sync.WaitGroup
	for _, path := range []string{"/v1/encrypt", "/v1/decrypt", "/v1/unlock", "/v1/sync"} {
		all.Go(func() {
			conn, err := net.Dial("unix", h.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nsome", path)
			answer, err := io.ReadAll(conn) // ends when the connection is cut
			if err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			if !bytes.Contains(answer, []byte(" 408 ")) {
				t.Errorf("%s: %.200s", path, answer)
			}
		})
	}
	all.Wait()
}

// TestSlowReader: a caller that takes nothing is cut, and the request ends.
func TestSlowReader(t *testing.T) {
	h := serve(t, &Server{Limits: Limits{Stall: 50 * time.Millisecond}})
	conn, err := net.Dial("unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/encrypt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	for err == nil { // until the server gives up
		_, err = fmt.Fprintf(conn, "8000\r\n%s\r\n", strings.Repeat("x", 0x8000))
	}
}

// TestCutBody: a mail that the caller did not finish is never encrypted.
func TestCutBody(t *testing.T) {
	h := serve(t, &Server{})
	for _, rest := range []string{"5\r\nhello\r\n", "5\r\nhel", "zz\r\n"} {
		conn, err := net.Dial("unix", h.path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /v1/encrypt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%s", rest)
		_ = conn.(*net.UnixConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if !bytes.Contains(answer, []byte(" 400 ")) {
			t.Errorf("%q: %.300s", rest, answer)
		}
	}
}

// TestOversize: without a Content-Length the limit shows only on the way.
func TestOversize(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Limits: Limits{MaxMessage: 1000}})
	for path, most := range map[string]int{"/v1/encrypt": 1000, "/v1/decrypt": int(smime.MaxWrapped(1000))} {
		for size, want := range map[int]Code{most: "", most + 1: CodeMessageTooLarge, most + 300_000: CodeMessageTooLarge} {
			r := h.do(t, "POST", path, io.MultiReader(strings.NewReader(strings.Repeat("y", size))))
			if want == "" {
				if r.status != 200 {
					t.Errorf("%s %d: %s", path, size, r.body)
				}
			} else if p := r.problem(t); p.Code != want || p.Hint == "" {
				t.Errorf("%s %d: %+v", path, size, p)
			}
		}
	}
}

func TestDecrypt(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser})
	r := h.do(t, "POST", "/v1/decrypt", strings.NewReader("plainHello"))
	if string(r.body) != "Hello" || r.header.Get("Galsyncd-Protection") != "malleable" || r.header.Get("Galsyncd-Cipher") != "aes-256-cbc" {
		t.Errorf("%v %s", r.header, r.body)
	}
	r = h.do(t, "POST", "/v1/decrypt", strings.NewReader("empty"))
	if r.status != 200 || len(r.body) != 0 || r.header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("empty: %+v", r)
	}
	for mail, want := range map[string]Code{"wrong": CodeDecryptFailed, "never": CodeInternal, "early" + strings.Repeat("x", 9000): CodeInternal} {
		if p := h.do(t, "POST", "/v1/decrypt", strings.NewReader(mail)).problem(t); p.Code != want {
			t.Errorf("%s: %+v", mail[:5], p)
		}
	}
	if r := h.do(t, "POST", "/v1/decrypt", strings.NewReader("late!"+strings.Repeat("x", 9000))); r.err == nil {
		t.Errorf("looks complete: %d bytes", len(r.body))
	}
}

// TestCurl: a client that we did not write.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	h := serve(t, &Server{Role: RoleUser})
	mail := filepath.Join(t.TempDir(), "mail")
	text := "bcc: erin@example.com\n" + strings.Repeat("lorem ipsum ", 1<<20)
	if err := os.WriteFile(mail, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		out, err := exec.Command(curl, append([]string{"-sS", "--noproxy", "*", "--unix-socket", h.path}, args...)...).Output()
		return string(out), err
	}
	if out, err := run("http://localhost/v1/recipients?address=bob@example.com"); err != nil || !strings.Contains(out, `"state":"encrypted"`) {
		t.Errorf("%s, %v", out, err)
	}
	if out, err := run("--data-binary", "@"+mail, "http://localhost/v1/encrypt?to=bob@example.com"); err != nil || out != strings.ToUpper(text) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if out, err := run("-T", mail, "-X", "POST", "-H", "Accept: multipart/mixed", "http://localhost/v1/encrypt"); err != nil || !strings.Contains(out, "Galsyncd-Recipients: erin@example.com") {
		t.Errorf("%.200s, %v", out, err)
	}
	if out, err := run("--data-binary", "@"+mail, "-w", "%{http_code}", "http://localhost/v1/encrypt"); err != nil || !strings.HasSuffix(out, "422") {
		t.Errorf("%.300s, %v", out, err)
	}
	if _, err := run("--data-binary", "late "+text, "http://localhost/v1/encrypt"); err == nil {
		t.Error("curl takes a cut answer for a complete one")
	}
	if out, err := run("http://localhost/v1/sync"); err != nil || strings.Count(out, "\n") != 4 {
		t.Errorf("%s, %v", out, err)
	}
}
