package revocation_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

// pki is an authority that openssl keeps, with a web server for its CRL and its OCSP answers.
type pki struct {
	*testing.T
	dir    string
	server *httptest.Server
	crl    string // file that is served
	// signer makes the OCSP answers: the base name of its certificate and key.
	signer  string
	service *revocation.Service
}

func newPKI(t *testing.T, ocsp bool) *pki {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have openssl")
		}
		t.Skip("openssl is not installed")
	}
	p := &pki{T: t, dir: t.TempDir(), crl: "ca.crl", signer: "ca"}
	p.server = httptest.NewServer(http.HandlerFunc(p.handle))
	t.Cleanup(p.server.Close)
	p.write("index.txt", "")
	p.write("crlnumber", "1000\n")
	p.write("ca.cnf", fmt.Sprintf(`[req]
distinguished_name = dn
prompt = no
[dn]
CN = openssl CA
[v3_ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[person]
basicConstraints = CA:FALSE
subjectAltName = email:alice@corp.example
authorityKeyIdentifier = keyid
crlDistributionPoints = crldp
authorityInfoAccess = OCSP;URI:%[1]s/ocsp
[crldp]
fullname = URI:ldap:///CN=CA?certificateRevocationList,URI:%[1]s/ca.crl
[responder]
basicConstraints = CA:FALSE
extendedKeyUsage = OCSPSigning
noCheck = ignored
[impostor]
basicConstraints = CA:FALSE
extendedKeyUsage = emailProtection
[ca]
default_ca = default
[default]
dir = %[2]s
database = $dir/index.txt
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
serial = $dir/serial
crlnumber = $dir/crlnumber
default_md = sha256
default_days = 100
default_crl_days = 7
policy = any
crl_extensions = crl_ext
unique_subject = no
[any]
commonName = supplied
[crl_ext]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical,@scope
[scope]
fullname = URI:%[1]s/ca.crl
onlyuser = TRUE
`, p.server.URL, p.dir))
	p.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "1000", "-config", "ca.cnf", "-extensions", "v3_ca")
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	client, err := revocation.NewClient(revocation.ClientOptions{Allow: []string{"127.0.0.1"}, Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p.service = &revocation.Service{Store: c, OCSP: ocsp, Client: client}
	return p
}

func (p *pki) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

func (p *pki) openssl(args ...string) {
	p.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// issue has a certificate issued to a name.
func (p *pki) issue(name, extensions string) *x509.Certificate {
	p.Helper()
	p.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name+".key", "-out", name+".csr", "-subj", "/CN="+name, "-config", "ca.cnf")
	p.openssl("ca", "-batch", "-config", "ca.cnf", "-create_serial", "-in", name+".csr", "-out", name+".pem", "-extensions", extensions, "-notext")
	return p.read(name + ".pem")
}

func (p *pki) read(name string) *x509.Certificate {
	p.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		p.Fatal(err)
	}
	return cert
}

// publish makes a CRL.
func (p *pki) publish(options ...string) {
	p.Helper()
	p.openssl(append([]string{"ca", "-config", "ca.cnf", "-gencrl", "-out", "ca.crl.pem"}, options...)...)
	p.openssl("crl", "-in", "ca.crl.pem", "-outform", "DER", "-out", "ca.crl")
}

func (p *pki) handle(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ca.crl" && p.crl != "" {
		b, err := os.ReadFile(filepath.Join(p.dir, p.crl))
		if err != nil {
			p.Error(err)
		}
		rw.Write(b)
		return
	}
	if r.URL.Path != "/ocsp" || p.signer == "" {
		http.NotFound(rw, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	p.write("request.der", string(body))
	cmd := exec.Command("openssl", "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", p.signer+".pem", "-rkey", p.signer+".key",
		"-reqin", "request.der", "-respout", "answer.der", "-ndays", "1")
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Errorf("openssl ocsp: %v\n%s", err, out)
	}
	answer, err := os.ReadFile(filepath.Join(p.dir, "answer.der"))
	if err != nil {
		p.Error(err)
	}
	rw.Write(answer)
}

// expect fetches everything, and wants this answer.
func (p *pki) expect(cert *x509.Certificate, status trust.RevocationStatus, reason string) {
	p.Helper()
	ca := p.read("ca.pem")
	p.service.Revocation(cert, ca, time.Now())
	if _, err := p.service.Run(p.Context(), true); err != nil {
		p.Fatal(err)
	}
	if r := p.service.Revocation(cert, ca, time.Now()); r.Status != status || !strings.Contains(r.Reason, reason) {
		p.Errorf("%s: %s (%s), want %s (%s)", cert.Subject, r.Status, r.Reason, status, reason)
	}
}

// TestOpenSSLLists reads the CRLs of openssl ca, with a scope and with an LDAP place beside the web's.
func TestOpenSSLLists(t *testing.T) {
	p := newPKI(t, false)
	alice, bob := p.issue("alice", "person"), p.issue("bob", "person")
	p.publish()
	p.expect(alice, trust.StatusGood, "")
	p.openssl("ca", "-config", "ca.cnf", "-revoke", "alice.pem", "-crl_reason", "keyCompromise")
	p.publish()
	p.expect(alice, trust.StatusRevoked, "key compromise")
	p.expect(bob, trust.StatusGood, "")

	// openssl agrees.
	check := exec.Command("openssl", "verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "ca.crl.pem", "alice.pem")
	check.Dir = p.dir
	if out, err := check.CombinedOutput(); err == nil || !strings.Contains(string(out), "revoked") {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}

	// An older one is not taken; in a new place it would be named as ended.
	p.publish("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z")
	p.expect(alice, trust.StatusRevoked, "key compromise")
	p.expect(bob, trust.StatusGood, "")

	// Of another key with the same name.
	other := newPKI(t, false)
	other.publish()
	foreign, err := os.ReadFile(filepath.Join(other.dir, "ca.crl"))
	if err != nil {
		t.Fatal(err)
	}
	p.write("ca.crl", string(foreign))
	p.expect(alice, trust.StatusRevoked, "key compromise")
	fresh := p.issue("carol", "person")
	p.expect(fresh, trust.StatusGood, "")
	sum, err := p.service.Summary()
	if err != nil || sum.Failing != 1 || !strings.Contains(sum.Troubles[0].Error, "its signature is not of the key") {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestOpenSSLEnded(t *testing.T) {
	p := newPKI(t, false)
	alice, bob := p.issue("alice", "person"), p.issue("bob", "person")
	p.openssl("ca", "-config", "ca.cnf", "-revoke", "alice.pem", "-crl_hold", "holdInstructionReject")
	p.publish("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z")
	p.expect(bob, trust.StatusUnknown, "held until 2020-01-02 00:00 UTC")
	p.expect(alice, trust.StatusRevoked, "on hold")
}

// TestOpenSSLAnswers reads the OCSP answers of openssl, by the authority itself, by whom it entitled, and by others.
func TestOpenSSLAnswers(t *testing.T) {
	p := newPKI(t, true)
	p.crl = ""
	alice := p.issue("alice", "person")
	p.issue("responder", "responder")
	p.issue("impostor", "impostor")
	for _, tc := range []struct {
		signer string
		status trust.RevocationStatus
		reason string
	}{
		{"", trust.StatusUnknown, "404"},
		{"impostor", trust.StatusUnknown, "is not for OCSP answers"},
		{"responder", trust.StatusGood, ""},
		{"ca", trust.StatusGood, ""},
	} {
		p.signer = tc.signer
		p.expect(alice, tc.status, tc.reason)
	}
	p.openssl("ca", "-config", "ca.cnf", "-revoke", "alice.pem", "-crl_reason", "superseded")
	p.signer = "impostor"
	p.expect(alice, trust.StatusGood, "")
	p.signer = "responder"
	p.expect(alice, trust.StatusRevoked, "superseded")
}
