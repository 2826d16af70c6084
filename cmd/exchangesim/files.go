package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// password reads the password file, or makes one when there is none yet.
func (s *settings) password(temporary string) error {
	if s.options.Auth == exchangesim.AuthNone {
		return nil
	}
	if s.passwordFile == "" {
		s.passwordFile = filepath.Join(temporary, "password")
	}
	data, err := os.ReadFile(s.passwordFile)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + "\n")
		err = os.WriteFile(s.passwordFile, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	s.options.Password = strings.TrimRight(string(data), "\r\n")
	if s.options.Password == "" {
		return fmt.Errorf("password file %s is empty", s.passwordFile)
	}
	return nil
}

// writeFiles writes the authorities and the identities.
func (s *settings) writeFiles(server *exchangesim.Server, temporary string) error {
	if s.caFile == "" {
		s.caFile = filepath.Join(temporary, "tls-ca.pem")
	}
	if err := replaceFile(s.caFile, testca.CertificatePEM(server.TLSCA()), 0o644); err != nil {
		return fmt.Errorf("write the tls authority: %w", err)
	}
	if s.smimeCAFile != "" {
		if err := replaceFile(s.smimeCAFile, testca.CertificatePEM(server.SMIMECA()), 0o644); err != nil {
			return fmt.Errorf("write the s/mime authority: %w", err)
		}
	}
	if s.identities == "" {
		return nil
	}
	if err := os.MkdirAll(s.identities, 0o700); err != nil {
		return fmt.Errorf("make the folder for identities: %w", err)
	}
	for name, address := range exchangesim.Identities() {
		if err := writeIdentity(server, filepath.Join(s.identities, name), address); err != nil {
			return fmt.Errorf("write the identity of %s: %w", address, err)
		}
	}
	return nil
}

func writeIdentity(server *exchangesim.Server, base, address string) error {
	cert, key, err := server.Identity(address)
	if err != nil {
		return err
	}
	keyPEM, err := (&testca.Leaf{Certificate: cert, Key: key}).KeyPEM()
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(base+".crt", testca.CertificatePEM(cert), 0o644), replaceFile(base+".key", keyPEM, 0o600))
}

// replaceFile writes a file so that a reader sees all of it or nothing.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".exchangesim-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
