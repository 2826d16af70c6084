package interop

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// jars are where Debian's libbcmail-java and what it depends on put them.
var jars = []string{"/usr/share/java/bcprov.jar", "/usr/share/java/bcutil.jar", "/usr/share/java/bcpkix.jar", "/usr/share/java/bcmail.jar",
	"/usr/share/java/javax.mail.jar", "/usr/share/java/javax.activation.jar"}

// Java is a Java program that answers questions: a line each way, the fields of a question between tabs. An answer is "ok" or
// something else, a tab, and a result or reason.
type Java struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// BouncyCastle compiles sources that use BouncyCastle and starts class; it ends with the test.
func BouncyCastle(t testing.TB, class string, sources ...string) *Java {
	t.Helper()
	Need(t, append([]string{"javac", "java"}, jars...)...)
	classes, path := t.TempDir(), strings.Join(jars, ":")
	Must(t, nil, nil, "javac", append([]string{"-cp", path, "-d", classes}, sources...)...)
	cmd := exec.CommandContext(t.Context(), "java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", path+":"+classes, class)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var talk bytes.Buffer
	cmd.Stderr = &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		if talk.Len() > 0 {
			t.Logf("%s says: %s", class, talk.Bytes())
		}
	})
	return &Java{in: in, out: bufio.NewReader(out)}
}

// Ask puts one question and returns the result; the error is the reason of a refusal.
func (j *Java) Ask(fields ...string) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := io.WriteString(j.in, strings.Join(fields, "\t")+"\n"); err != nil {
		return "", err
	}
	line, err := j.out.ReadString('\n')
	if err != nil {
		return "", err
	}
	outcome, result, _ := strings.Cut(strings.TrimSpace(line), "\t")
	if outcome != "ok" {
		return "", errors.New(result)
	}
	return result, nil
}
