package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSecret is the largest secret read, in bytes.
const maxSecret = 4 << 10

// Secret reads a secret, such as the password of exchange.auth.password_file, without its final newline. A relative name
// is looked for in $CREDENTIALS_DIRECTORY (systemd.exec(5), "Credentials"), then beside the configuration file. Outside of
// that directory the file must not be accessible to group or others. The error never holds the secret.
func (c *Config) Secret(name string) (string, error) {
	if name == "" {
		return "", errors.New("read secret: no file is named")
	}
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(credentials) {
		credentials = ""
	}
	candidates, err := c.secretPaths(name, credentials)
	if err != nil {
		return "", err
	}
	for _, path := range candidates {
		secret, err := readSecret(path, credentials != "" && within(path, filepath.Clean(credentials)))
		if !errors.Is(err, fs.ErrNotExist) {
			return secret, err
		}
	}
	return "", fmt.Errorf("read secret: there is no file %s", strings.Join(candidates, " and no "))
}

// secretPaths lists where a name may be, best first.
func (c *Config) secretPaths(name, credentials string) ([]string, error) {
	name, err := newEnvironment().tilde(name)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if filepath.IsAbs(name) {
		return []string{filepath.Clean(name)}, nil
	}
	var paths []string
	if credentials != "" && filepath.IsLocal(name) {
		paths = append(paths, filepath.Join(credentials, name))
	}
	if dir := c.Dir(); dir != "" {
		paths = append(paths, filepath.Join(dir, name))
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read secret %s: the name is relative, and there is neither a configuration file nor $CREDENTIALS_DIRECTORY to count from", name)
	}
	return paths, nil
}

// readSecret opens first and judges what it opened, so that nobody can swap the file in between.
func readSecret(path string, credential bool) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("read secret %s: not a regular file", path)
	case info.Mode().Perm()&0o077 != 0 && !credential:
		return "", fmt.Errorf("read secret %s: mode %#o lets group or others at it; run chmod 600 on it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	case len(data) > maxSecret:
		return "", fmt.Errorf("read secret %s: the file is larger than %d bytes", path, maxSecret)
	}
	secret := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(secret) == 0:
		return "", fmt.Errorf("read secret %s: the file is empty", path)
	case bytes.ContainsAny(secret, "\x00\r\n"):
		return "", fmt.Errorf("read secret %s: the file has more than one line or a zero byte", path)
	}
	return string(secret), nil
}
