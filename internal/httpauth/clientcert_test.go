package httpauth

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/internal/testca"
	"software.sslmate.com/src/go-pkcs12"
)

// TestClientCertificate signs in to a server that asks for a certificate, with any method, and renews it meanwhile.
func TestClientCertificate(t *testing.T) {
	serverCA, serverCert := authority(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	roots, clients := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(serverCA.Certificate)
	ca, err := testca.New("clients")
	if err != nil {
		t.Fatal(err)
	}
	clients.AddCert(ca.Certificate)
	leaf := func(name string) *testca.Leaf {
		l, err := ca.Leaf(testca.Options{CommonName: name, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2048, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}), &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients})

	dir := t.TempDir()
	one := leaf("one")
	keyPEM := pemKey(t, one.Key)
	certPEM := string(testca.CertificatePEM(one.Certificate))
	pfx, err := pkcs12.Modern.Encode(one.Key, one.Certificate, []*x509.Certificate{ca.Certificate}, "phrase")
	if err != nil {
		t.Fatal(err)
	}
	decode := func(b, passphrase []byte) (crypto.Signer, []*x509.Certificate, error) {
		key, cert, issuers, err := pkcs12.DecodeChain(b, string(passphrase))
		if err != nil {
			return nil, nil, err
		}
		return key.(crypto.Signer), append([]*x509.Certificate{cert}, issuers...), nil
	}
	both := put(t, filepath.Join(dir, "both.pem"), certPEM+keyPEM, 0o600)
	for name, c := range map[string]ClientCertificate{
		"one PEM file":  {File: both},
		"two PEM files": {File: put(t, filepath.Join(dir, "cert.pem"), certPEM, 0o644), KeyFile: put(t, filepath.Join(dir, "key.pem"), keyPEM, 0o600)},
		"PFX": {File: put(t, filepath.Join(dir, "x.pfx"), string(pfx), 0o600), DecodePFX: decode,
			Passphrase: func() ([]byte, error) { return []byte("phrase"), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			x := newClient(t, url, roots, func(o *Options) { o.Method, o.ClientCertificate = Basic, c })
			if status, body, err := x.ask(t, "q"); status != 200 || body != "one" || err != nil {
				t.Errorf("%d %q %v", status, body, err)
			}
			if name != "one PEM file" {
				return
			}
			two := leaf("two")
			put(t, both, string(testca.CertificatePEM(two.Certificate))+pemKey(t, two.Key), 0o600)
			x.CloseIdleConnections()
			if status, body, err := x.ask(t, "q"); status != 200 || body != "two" || err != nil {
				t.Errorf("renewed: %d %q %v", status, body, err)
			}
		})
	}
	if _, _, err := newClient(t, url, roots, func(o *Options) { o.Method = Basic }).ask(t, "q"); err == nil {
		t.Error("the server took a client without a certificate")
	}
}

func pemKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestClientCertificateErrors(t *testing.T) {
	ca, err := testca.New("clients")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{CommonName: "one"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.Leaf(testca.Options{CommonName: "two"})
	if err != nil {
		t.Fatal(err)
	}
	old, err := ca.Leaf(testca.Options{CommonName: "old", NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := string(testca.CertificatePEM(leaf.Certificate)), pemKey(t, leaf.Key)
	for name, tc := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"readable for all": {cert + key, 0o644, "chmod 600"},
		"no key":           {cert, 0o600, "with its key"},
		"another key":      {cert + pemKey(t, other.Key), 0o600, "belong together"},
		"ended":            {string(testca.CertificatePEM(old.Certificate)) + pemKey(t, old.Key), 0o600, "ended on"},
		"encrypted key":    {cert + "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600, "encrypted"},
		"PFX":              {"0...", 0o600, "PEM"},
		"empty":            {"", 0o600, "empty"},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		put(t, path, tc.content, tc.mode)
		_, err := New(Options{URL: "https://mail.example.com/", Method: Basic, Username: "u",
			Password: func() ([]byte, error) { return []byte("p"), nil }, ClientCertificate: ClientCertificate{File: path}})
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
