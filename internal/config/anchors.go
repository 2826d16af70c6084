package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// maxAnchorFile is the largest file of certificates read, in bytes.
	maxAnchorFile = 4 << 20
	// maxAnchorFiles is how many files the patterns of trust.anchors may match.
	maxAnchorFiles = 1000
)

// Anchors reads the root certificates of trust.anchors and says how many there are; with 0 nothing is trusted. A pattern
// that matches no file counts for nothing, a plain name without a file and a file without a certificate are errors, all of
// them reported together.
func (c *Config) Anchors() (*x509.CertPool, int, error) {
	pool, count, files := x509.NewCertPool(), 0, []string{}
	for _, name := range c.Trust.Anchors {
		if name == "system" {
			system, err := x509.SystemCertPool()
			if err != nil {
				return nil, 0, c.Problem("trust.anchors", "read the roots of the system: %v", err)
			}
			pool = system
			//lint:ignore SA1019 the count is of the roots that Go loaded from files, which is what this returns on Linux
			count = len(system.Subjects())
			continue
		}
		matches, err := c.anchorFiles(name)
		if err != nil {
			return nil, 0, c.Problem("trust.anchors", "%v", err)
		}
		files = append(files, matches...)
	}
	if len(files) > maxAnchorFiles {
		return nil, 0, c.Problem("trust.anchors", "%d files match; the limit is %d", len(files), maxAnchorFiles)
	}
	var problems Problems
	for _, file := range files {
		certs, err := readCertificates(file)
		if err != nil {
			problems = append(problems, c.Problem("trust.anchors", "%v", err))
		}
		for _, cert := range certs {
			pool.AddCert(cert)
		}
		count += len(certs)
	}
	if err := problems.err(); err != nil {
		return nil, 0, err
	}
	return pool, count, nil
}

// anchorFiles returns the files of one entry of trust.anchors.
func (c *Config) anchorFiles(name string) ([]string, error) {
	path, err := newEnvironment().file(name, c.Dir())
	if err != nil {
		return nil, err
	}
	if !strings.ContainsAny(path, `*?[\`) {
		return []string{path}, nil
	}
	return filepath.Glob(path)
}

// Roots returns the roots for the certificate of the Exchange server: those of exchange.ca_file, together with the
// system's unless exchange.ca_only. It is nil, which crypto/tls takes for the system's, when no file is named.
func (c *Config) Roots() (*x509.CertPool, error) {
	if c.Exchange.CAFile == "" {
		return nil, nil
	}
	certs, err := readCertificates(c.Exchange.CAFile)
	if err != nil {
		return nil, c.Problem("exchange.ca_file", "%v", err)
	}
	pool := x509.NewCertPool()
	if !c.Exchange.CAOnly {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, c.Problem("exchange.ca_file", "read the roots of the system: %v", err)
		}
	}
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool, nil
}

// readCertificates reads every certificate of a PEM file, or the one of a DER file.
func readCertificates(path string) ([]*x509.Certificate, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read certificates %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAnchorFile+1))
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	if len(data) > maxAnchorFile {
		return nil, fmt.Errorf("read certificates %s: the file is larger than %s", path, formatSize(maxAnchorFile))
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("read certificates %s: %w", path, err)
	}
	return certs, nil
}

func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		cert, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, errors.New("no certificate in it, neither PEM nor DER")
		}
		return []*x509.Certificate{cert}, nil
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return certs, nil
}
