package httpauth

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestAnonymous: the client without a credential speaks verified https, shows nothing, and goes nowhere by itself.
func TestAnonymous(t *testing.T) {
	ca, cert := authority(t, testca.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	server := httptest.NewUnstartedServer(http.RedirectHandler("https://127.0.0.1:1/", http.StatusFound))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	for _, tc := range []struct {
		name, url, authorization, want string
		roots                          *x509.CertPool
	}{
		{"redirect", server.URL, "", "", pool},
		{"unknown authority", server.URL, "", "unknown authority", x509.NewCertPool()},
		{"plain", plain.URL, "", "speaks https only", pool},
		{"a user in the address", strings.Replace(server.URL, "//", "//u:p@", 1), "", "shows no credential", pool},
		{"a credential", server.URL, "Basic dTpw", "shows no credential", pool},
	} {
		client, err := NewAnonymous(Options{Roots: tc.roots})
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.authorization != "" {
			req.Header.Set("Authorization", tc.authorization)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if tc.want == "" && (err != nil || resp.StatusCode != http.StatusFound) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v %v", tc.name, resp, err)
		}
	}
	if _, err := NewAnonymous(Options{CAFile: "missing.pem"}); err == nil {
		t.Error("a missing file of roots was not noticed")
	}
}
