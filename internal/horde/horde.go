// Package horde runs a Horde groupware server (Debian's php-horde-activesync) for the interop tests: an Exchange
// ActiveSync server that is not ours, whose address book is an LDAP directory in slapd. Both listen on loopback, keep
// everything in a temporary folder, and end with the test.
package horde

import (
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// site holds the configuration of both programs; FOLDER, LDAPPORT and the like stand for what only a run knows.
//
//go:embed site
var site embed.FS

// What Debian installs.
const (
	hordeTree = "/usr/share/horde"
	hordeConf = "/etc/horde"
	migrate   = "/usr/bin/horde-db-migrate"
	slapd     = "/usr/sbin/slapd"
	slapadd   = "/usr/sbin/slapadd"
)

// User and Password sign in to a Server, by Basic.
const (
	User     = "svc-galsync"
	Password = "open sesame"
)

// Person is an entry of the directory.
type Person struct {
	// Name is the common name, Alias the uid; both are unique.
	Name, Alias string
	Address     string
	// PEM is the certificate; empty when there is none.
	PEM []byte
}

// Server is a running Horde.
type Server struct {
	// URL is that of ActiveSync: http on loopback.
	URL string

	t         *testing.T
	dir       string
	ldapPort  string
	directory *exec.Cmd
}

// Options vary Start.
type Options struct {
	// Provision demands that devices fetch and acknowledge a policy first (MS-ASPROV section 3.1.5.1).
	Provision bool
}

// Start runs a server with people in its directory. A missing program skips the test by name; with CI=true it fails.
func Start(t *testing.T, people []Person, o Options) *Server {
	t.Helper()
	need(t, "php-horde-activesync", "/usr/share/php/Horde/ActiveSync.php", "php")
	need(t, "php-horde-turba", hordeTree+"/turba/lib/Driver/Ldap.php", migrate)
	need(t, "slapd", slapd, slapadd)
	s := &Server{t: t, dir: t.TempDir(), ldapPort: freePort(t)}
	s.install(o)
	s.fill(people)
	s.StartDirectory()
	port := freePort(t)
	s.URL = "http://127.0.0.1:" + port + "/Microsoft-Server-ActiveSync"
	s.run("migrate the database", "php", "tree/bin/horde-db-migrate")
	s.serve(port, "php", "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log="+s.path("php.log"), "-S", "127.0.0.1:"+port, "-t", "tree", "router.php")
	t.Cleanup(func() {
		if t.Failed() {
			s.logs()
		}
	})
	return s
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// install makes a tree of Horde with a configuration of its own: PHP finds the one beside the files that it runs.
func (s *Server) install(o Options) {
	for _, part := range []string{"lib", "rpc", "rpc.php", "services", "templates", "content"} {
		s.copy(hordeTree+"/"+part, "tree/"+part)
	}
	for _, part := range []string{"lib", "migration", "templates", "addressbooks"} {
		s.copy(hordeTree+"/turba/"+part, "tree/turba/"+part)
	}
	s.copy(migrate, "tree/bin/horde-db-migrate")
	s.copy(hordeConf+"/horde", "tree/config")
	s.copy(hordeConf+"/turba", "tree/turba/config")
	for _, empty := range []string{"ldap", "tmp", "tree/js", "tree/static", "tree/themes", "tree/locale", "tree/turba/locale", "tree/turba/themes"} {
		s.check(os.MkdirAll(s.path(empty), 0o700))
	}
	set := strings.NewReplacer("FOLDER", s.dir, "LDAPPORT", s.ldapPort, "PASSWORD", Password, "USER", User, "PROVISION", strconv.FormatBool(o.Provision))
	s.check(fs.WalkDir(site, "site", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(site, name)
		if err != nil {
			return err
		}
		return os.WriteFile(s.path(strings.TrimPrefix(name, "site/")), []byte(set.Replace(string(text))), 0o600)
	}))
}

// copy copies files of the package, with what symbolic links lead to.
func (s *Server) copy(from, to string) {
	s.check(os.MkdirAll(filepath.Dir(s.path(to)), 0o700))
	s.run("copy "+from, "cp", "-rL", "--no-preserve=all", from, to)
}

// fill writes the directory's people.
func (s *Server) fill(people []Person) {
	var ldif strings.Builder
	ldif.WriteString("dn: dc=corp,dc=example\nobjectClass: dcObject\nobjectClass: organization\ndc: corp\no: Corp\n")
	for _, p := range people {
		fmt.Fprintf(&ldif, "\ndn: cn=%s,dc=corp,dc=example\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\ncn: %[1]s\nsn: %[1]s\nuid: %s\nmail: %s\n", p.Name, p.Alias, p.Address)
		if len(p.PEM) > 0 {
			fmt.Fprintf(&ldif, "certificatePem:: %s\n", base64.StdEncoding.EncodeToString(p.PEM))
		}
	}
	s.check(os.WriteFile(s.path("people.ldif"), []byte(ldif.String()), 0o600))
	s.run("fill the directory", slapadd, "-f", "slapd.conf", "-l", "people.ldif")
}

// StartDirectory starts slapd, and StopDirectory ends it: Horde then answers 200 with a page for people.
func (s *Server) StartDirectory() {
	s.t.Helper()
	s.directory = s.serve(s.ldapPort, slapd, "-d", "0", "-f", "slapd.conf", "-h", "ldap://127.0.0.1:"+s.ldapPort)
}

// StopDirectory ends slapd.
func (s *Server) StopDirectory() {
	s.t.Helper()
	s.check(s.directory.Process.Signal(os.Interrupt))
	_ = s.directory.Wait()
}

// run runs a program to its end.
func (s *Server) run(what, name string, args ...string) {
	s.t.Helper()
	cmd := s.command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	return cmd
}

// serve starts a program that listens on a port of loopback, and ends it with the test.
func (s *Server) serve(port, name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := s.command(name, args...)
	s.check(cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			return cmd
		}
		if time.Now().After(deadline) {
			s.logs()
			s.t.Fatalf("%s does not listen: %v", name, err)
		}
	}
}

// logs shows what the server wrote last.
func (s *Server) logs() {
	for _, name := range []string{"horde.log", "php.log", "activesync.log"} {
		text, _ := os.ReadFile(s.path(name))
		s.t.Logf("%s: …%s", name, text[max(0, len(text)-2000):])
	}
}

func (s *Server) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// need skips the test, or fails it with CI=true, when a file or program is not there.
func need(t *testing.T, debianPackage string, files ...string) {
	t.Helper()
	for _, f := range files {
		_, err := os.Stat(f)
		if _, look := exec.LookPath(f); err == nil || look == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not there (Debian package %s)", f, debianPackage)
		}
		t.Skipf("%s is not there (Debian package %s)", f, debianPackage)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := interop.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
