package revocation_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/revocation"
)

// TestDestinations: addresses that are not of the open Internet, in every disguise, are refused unless they are named.
func TestDestinations(t *testing.T) {
	inside := []string{"127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "[fe80::1]", "[fd00::1]", "224.0.0.1", "0.0.0.0",
		"[::]", "100.64.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "localhost", "255.255.255.255", "198.18.0.1", "192.0.0.1"}
	client, err := revocation.NewClient(revocation.ClientOptions{Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range inside {
		err := client.Reach(t.Context(), "http://"+host+":1/ca.crl")
		if err == nil || !strings.Contains(err.Error(), "address") || strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", host, err)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for allow, reached := range map[string]bool{"127.0.0.1": true, "127.0.0.0/8": true, "10.0.0.0/8": false, "localhost": false, "::ffff:127.0.0.1": true} {
		client, err := revocation.NewClient(revocation.ClientOptions{Allow: []string{allow}, Agent: "test"})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Reach(t.Context(), server.URL)
		if got := err != nil && strings.Contains(err.Error(), "404"); got != reached {
			t.Errorf("with %q allowed: %v", allow, err)
		}
	}
	byName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for allow, reached := range map[string]bool{"localhost": true, "LOCALHOST.": true, "host": false} {
		client, _ := revocation.NewClient(revocation.ClientOptions{Allow: []string{allow}, Agent: "test"})
		err := client.Reach(t.Context(), byName)
		if got := err != nil && strings.Contains(err.Error(), "404"); got != reached {
			t.Errorf("with %q allowed: %v", allow, err)
		}
	}
	for _, bad := range []string{"", "http://x", "a b", "10.0.0.0/33", "host:80"} {
		if _, err := revocation.NewClient(revocation.ClientOptions{Allow: []string{bad}, Agent: "test"}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
