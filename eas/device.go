package eas

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DeviceID returns the device identifier that the file at path holds: 32 hexadecimal digits. When there is no file it makes
// a random one and the file, with mode 0600. The file is never changed afterwards: each new identifier would be one more
// device at the server, which allows a mailbox only so many. Two processes that begin at the same time get the same.
func DeviceID(path string) (string, error) {
	id, err := readDevice(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if err := makeDevice(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the device identifier %s: %w", path, err)
	}
	return readDevice(path)
}

func readDevice(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the device identifier: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return "", fmt.Errorf("read the device identifier: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if _, err := hex.DecodeString(id); err != nil || len(id) != 32 {
		return "", fmt.Errorf("read the device identifier: %s does not hold 32 hexadecimal digits; write back the identifier that the server knows (Get-MobileDevice), or remove the file to become a new device", path)
	}
	return id, nil
}

// makeDevice writes the whole file under another name and links it, so that nobody ever reads a part, and the first wins.
func makeDevice(path string) error {
	var b [16]byte
	rand.Read(b[:])
	f, err := os.CreateTemp(filepath.Dir(path), ".device-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(b[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
