package cms

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
)

// failingSpool fails at a chosen step.
type failingSpool struct {
	memorySpool
	write, read, close error
	closed             bool
}

func (s *failingSpool) Write(p []byte) (int, error) {
	if s.write != nil {
		return 0, s.write
	}
	return s.memorySpool.Write(p)
}

func (s *failingSpool) ReadAt(p []byte, off int64) (int, error) {
	if s.read != nil {
		return 0, s.read
	}
	return s.memorySpool.ReadAt(p, off)
}

func (s *failingSpool) Close() error {
	s.closed = true
	return s.close
}

func TestSpoolErrors(t *testing.T) {
	id := identity(t, "made", "keys", "p256")
	data := encryptAll(t, text(100000), []*x509.Certificate{id.Certificate}, nil)
	full := errors.New("disk is full")
	for name, spool := range map[string]*failingSpool{"write": {write: full}, "read": {read: full}} {
		_, err := Decrypt(bytes.NewReader(data), []Identity{id}, &DecryptOptions{Spool: func() (Spool, error) { return spool, nil }})
		if !errors.Is(err, full) || errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: %v", name, err)
		}
		if !spool.closed {
			t.Errorf("%s: the spool stays open", name)
		}
	}
	if _, err := Decrypt(bytes.NewReader(data), []Identity{id}, &DecryptOptions{Spool: func() (Spool, error) { return nil, full }}); !errors.Is(err, full) {
		t.Errorf("open: %v", err)
	}
	spool := &failingSpool{close: full}
	d, err := Decrypt(bytes.NewReader(data), []Identity{id}, &DecryptOptions{Spool: func() (Spool, error) { return spool, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); !errors.Is(err, full) || d.Close() != nil {
		t.Errorf("close: %v", err)
	}
	spool = &failingSpool{}
	bad := bytes.Clone(data[:len(data)-20])
	if _, err := Decrypt(bytes.NewReader(bad), []Identity{id}, &DecryptOptions{Spool: func() (Spool, error) { return spool, nil }}); !errors.Is(err, ErrSyntax) || !spool.closed {
		t.Errorf("truncated: %v, closed %v", err, spool.closed)
	}
}

// onlyCiphertext fails the test when plaintext reaches the spool.
type onlyCiphertext struct {
	memorySpool
	t *testing.T
}

func (s *onlyCiphertext) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("secret secret")) {
		s.t.Error("plaintext in the spool")
	}
	return s.memorySpool.Write(p)
}

func TestSpoolHoldsNoPlaintext(t *testing.T) {
	id := identity(t, "made", "keys", "rsa")
	data := encryptAll(t, []byte(strings.Repeat("secret ", 30000)), []*x509.Certificate{id.Certificate}, nil)
	opts := &DecryptOptions{Spool: func() (Spool, error) { return &onlyCiphertext{t: t}, nil }}
	if got, _, err := decryptAll(data, []Identity{id}, opts); err != nil || !bytes.HasPrefix(got, []byte("secret secret")) {
		t.Error(err)
	}
}
