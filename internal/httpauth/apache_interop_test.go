//go:build interop

package httpauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// apache is Apache httpd with mod_auth_gssapi in front of a server that echoes questions.
type apache struct {
	url      string
	pool     *x509.CertPool
	dir      string
	requests atomic.Int64 // that were let through
	user     atomic.Value // of the last one
}

const apacheModules = "/usr/lib/apache2/modules"

// newApache starts it with directives for its one location, in which FOLDER is its folder. Environment and files are for the mechanism; files are
// readable for it alone.
func newApache(t *testing.T, directives string, environment []string, files map[string][]byte) *apache {
	t.Helper()
	return newApacheAs(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}, directives, environment, files)
}

// newApacheAs is newApache with another TLS certificate. Every one of them offers HTTP/2 as well.
func newApacheAs(t *testing.T, leaf testca.Options, directives string, environment []string, files map[string][]byte) *apache {
	t.Helper()
	need(t, "apache2-bin", "/usr/sbin/apache2")
	need(t, "libapache2-mod-auth-gssapi", apacheModules+"/mod_auth_gssapi.so")
	x := &apache{dir: peerFolder(t)}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.requests.Add(1)
		x.user.Store(r.Header.Get("X-User"))
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("echo "), body...))
	}))
	t.Cleanup(backend.Close)
	ca, cert := authority(t, leaf)
	x.pool = x509.NewCertPool()
	x.pool.AddCert(ca.Certificate)
	write(t, x.dir, "tls.pem", string(tlsPEM(t, cert)))
	for name, content := range files {
		write(t, x.dir, name, string(content))
	}
	port := freePort(t)
	x.url = "https://localhost:" + port
	conf := write(t, x.dir, "httpd.conf", apacheConfig(x.dir, port, backend.URL, strings.ReplaceAll(directives, "FOLDER", x.dir)))
	cmd := exec.Command("/usr/sbin/apache2", "-d", x.dir, "-f", conf, "-DFOREGROUND")
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = os.Stderr
	startPeer(t, cmd, x.dir)
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(x.dir, "error.log")); err == nil && t.Failed() {
			t.Logf("error.log:\n%s", log)
		}
	})
	listening(t, port)
	return x
}

func apacheConfig(dir, port, backend, directives string) string {
	var b strings.Builder
	for _, m := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "socache_shmcb", "ssl", "headers", "proxy", "proxy_http", "auth_gssapi", "auth_basic", "authn_file", "alias", "http2"} {
		fmt.Fprintf(&b, "LoadModule %s_module %s/mod_%s.so\n", m, apacheModules, m)
	}
	fmt.Fprintf(&b, `ServerName localhost
Listen 127.0.0.1:%s
PidFile %s/httpd.pid
DefaultRuntimeDir %[2]s
ErrorLog %[2]s/error.log
LogFormat "%%s %%H" status
CustomLog %[2]s/access.log status
LogLevel info auth_gssapi:debug
StartServers 1
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile %[2]s/tls.pem
KeepAlive On
MaxKeepAliveRequests 0
ProxyPass / %s/
<Location "/">
  AuthType GSSAPI
  AuthName test
  Require valid-user
  RequestHeader set X-User "expr=%%{REMOTE_USER}"
%s
</Location>
`, port, dir, backend, directives)
	return b.String()
}

// seen counts the requests that came, let through or not.
func (x *apache) seen(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(x.dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// waitSeen waits until so many requests are in the log, which Apache writes after its answer, and returns it.
func (x *apache) waitSeen(t *testing.T, n int) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); x.seen(t) < n && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	b, _ := os.ReadFile(filepath.Join(x.dir, "access.log"))
	return string(b)
}

// peerFolder is a folder for a server that may run as another user.
func peerFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "httpauth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startPeer starts a server that owns its folder, not as root, and ends it with the test.
func startPeer(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	const nobody = 65534
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

func tlsPEM(t *testing.T, cert tls.Certificate) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return b.Bytes()
}

// TestInteropNTLMApache signs in over TLS to mod_auth_gssapi with gss-ntlmssp, which checks proof and MIC; this module
// does not look at channel bindings.
func TestInteropNTLMApache(t *testing.T) {
	needNTLMPlugin(t)
	x := newApacheNTLM(t)
	c := newClient(t, x.url, x.pool, func(o *Options) { o.MaxConns = 1 })
	c.password.Store("wrong")
	for i := range 5 {
		status, _, err := c.ask(t, "q")
		if i < 2 && (status != 401 || err != nil) || i >= 2 && !errors.Is(err, ErrLockedOut) {
			t.Fatalf("wrong password, try %d: %d %v", i, status, err)
		}
	}
	if log := x.waitSeen(t, 6); strings.Count(log, "\n") != 6 {
		t.Errorf("two handshakes of three requests, and no more:\n%s", log)
	}
	c.password.Store(testPassword)
	for i := range 5 {
		q := fmt.Sprintf("<q>%d</q>", i)
		if status, body, err := c.ask(t, q); status != 200 || body != "echo "+q || err != nil {
			t.Fatalf("question %d: %d %q %v", i, status, body, err)
		}
	}
	if user, _ := x.user.Load().(string); !strings.Contains(user, testUser) {
		t.Errorf("signed in as %q", user)
	}
	if n := x.requests.Load(); n != 5 {
		t.Errorf("%d requests were let through, want 5", n)
	}
}

func newApacheNTLM(t *testing.T) *apache {
	t.Helper()
	users := put(t, filepath.Join(peerFolder(t), "users"), "CORP:"+testUser+":"+testPassword+"\n", 0o644)
	if err := os.Chmod(filepath.Dir(users), 0o755); err != nil {
		t.Fatal(err)
	}
	return newApache(t, "GssapiAllowedMech ntlmssp\nGssapiConnectionBound On", []string{"NTLM_USER_FILE=" + users}, nil)
}
