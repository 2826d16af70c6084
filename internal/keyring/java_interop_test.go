//go:build interop

package keyring

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

// TestInteropJava reads PFX files as Java's keytool writes them.
func TestInteropJava(t *testing.T) {
	interop.Need(t, "keytool")
	path := filepath.Join(t.TempDir(), "java.p12")
	interop.Must(t, nil, nil, "keytool", "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=Alice", "-ext", "SAN=email:alice@example.com", "-alias", "alice",
		"-storetype", "PKCS12", "-keystore", path, "-storepass", "secret-of-java")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := parsePFX(data, "secret-of-java"); err != nil || len(list) != 1 {
		t.Errorf("%d, %v", len(list), err)
	}
}
