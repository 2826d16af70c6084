// Package certfile reads the certificates out of the files in which people get them: PEM (RFC 7468), DER, PKCS #7 (.p7b,
// .p7c, .p7s; RFC 5652), and vCards (2.1, RFC 2426, RFC 6350).
//
// It promises to do a bounded amount of work for any input, to read certificates and nothing else (private keys are left
// alone), and to verify nothing: what a file says is a claim.
package certfile

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/galsyncd/galsyncd/cms"
)

// Bounds of a file.
const (
	// MaxSize is the largest file that is read, in bytes.
	MaxSize = 4 << 20
	// MaxCertificates is how many certificates of one file are taken.
	MaxCertificates = 64
	// MaxCertificate is the largest certificate that is taken, in bytes of DER.
	MaxCertificate = 64 << 10
	// maxBlocks is how many PEM blocks of one file are looked at.
	maxBlocks = 256
)

// Errors of Parse.
var (
	// ErrTooLarge reports more than MaxSize bytes, MaxCertificates certificates, or MaxCertificate bytes of one.
	ErrTooLarge = errors.New("too large for a file with certificates")
	// ErrNoCertificate reports a file of a known format that holds no certificate.
	ErrNoCertificate = errors.New("it holds no certificate that can be read")
	// ErrUnknownFormat reports something else altogether.
	ErrUnknownFormat = errors.New("it is neither PEM, DER, PKCS #7 nor a vCard")
)

// Format is what kind of file it is.
type Format string

// Formats. None is what this package does not read, a mail for example.
const (
	None  Format = ""
	PEM   Format = "pem"
	DER   Format = "der"
	PKCS7 Format = "pkcs7"
	VCard Format = "vcard"
)

// File is what a file holds.
type File struct {
	Format Format
	// Certificates are those that can be parsed, in the order of the file, each once; at least one.
	Certificates []*x509.Certificate
	// Unreadable counts what should be certificates and cannot be parsed.
	Unreadable int
	// Preferred is the element of Certificates that the signed attributes of a PKCS #7 message name for encryption to its
	// signer (RFC 8551 section 2.5.3); nil if none does.
	Preferred *x509.Certificate
	// Capabilities are those that the same attributes name; nil if none are.
	Capabilities cms.Capabilities
	// Addresses are the mail addresses of vCards, as they are written there.
	Addresses []string
	// PrivateKey reports that the file also holds a private key, which was not read.
	PrivateKey bool

	fault error // of the first PKCS #7 message that could not be read
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	beginPEM      = []byte("-----BEGIN ")
	beginVCard    = []byte("BEGIN:VCARD")
)

// Detect tells the format from the beginning of a file, 512 bytes or all of it. A mail is None.
func Detect(head []byte) Format {
	if len(head) > 1 && head[0] == 0x30 && head[1] >= 0x80 { // no certificate is shorter than 128 bytes
		return DER
	}
	text := bytes.TrimLeftFunc(bytes.TrimPrefix(head, byteOrderMark), unicode.IsSpace)
	switch {
	case len(text) >= len(beginVCard) && bytes.EqualFold(text[:len(beginVCard)], beginVCard):
		return VCard
	case bytes.HasPrefix(text, beginPEM), bytes.Contains(text, []byte("\n-----BEGIN ")) && !looksLikeHeader(text):
		return PEM
	case bytes.HasPrefix(text, []byte("MI")) && isBase64(text):
		return DER
	}
	return None
}

// looksLikeHeader reports whether text begins like a mail: with a field name and a colon. PEM files may have explanatory
// text before the first block (RFC 7468 section 2), such as the listing that openssl writes.
func looksLikeHeader(text []byte) bool {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	name, _, found := bytes.Cut(line, []byte(":"))
	if bytes.HasPrefix(line, []byte("From ")) {
		return true
	}
	return found && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) &&
		!bytes.Equal(name, []byte("Certificate")) // openssl x509 -text
}

func isBase64(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/=\r\n \t", r))
	})
}

// Parse reads a file. Its errors wrap ErrTooLarge, ErrNoCertificate or ErrUnknownFormat.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxSize)
	}
	f := &File{Format: Detect(data[:min(len(data), 512)])}
	var err error
	switch f.Format {
	case PEM:
		err = f.readPEM(data)
	case VCard:
		err = f.readVCard(bytes.TrimPrefix(data, byteOrderMark))
	case DER:
		if data[0] != 0x30 {
			data = decodeBase64(data)
		}
		err = f.readDER(data)
	default:
		return nil, ErrUnknownFormat
	}
	switch {
	case err != nil:
		return nil, err
	case len(f.Certificates) == 0 && f.fault != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoCertificate, f.fault)
	case len(f.Certificates) == 0:
		return nil, ErrNoCertificate
	}
	return f, nil
}

// readPEM takes certificates and PKCS #7 messages out of the blocks.
func (f *File) readPEM(data []byte) error {
	for range maxBlocks {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil
		}
		var err error
		switch {
		case block.Type == "CERTIFICATE", block.Type == "X509 CERTIFICATE":
			err = f.add(block.Bytes)
		case block.Type == "TRUSTED CERTIFICATE": // openssl: a certificate, then what it is trusted for
			err = f.add(firstElement(block.Bytes))
		case block.Type == "PKCS7", block.Type == "PKCS #7 SIGNED DATA", block.Type == "CMS":
			err = f.readMessage(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			f.PrivateKey = true
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d PEM blocks", ErrTooLarge, maxBlocks)
}

// readDER reads one certificate, several in a row, or a PKCS #7 message.
func (f *File) readDER(data []byte) error {
	set, err := cms.ParseCertificates(data)
	if !errors.Is(err, cms.ErrNotSignedData) {
		f.Format = PKCS7
		return f.take(set, err)
	}
	for len(data) > 0 {
		first := firstElement(data)
		if len(first) == 0 {
			return nil // what follows the certificates is no certificate
		}
		if err := f.add(first); err != nil {
			return err
		}
		data = data[len(first):]
	}
	return nil
}

func (f *File) readMessage(data []byte) error {
	return f.take(cms.ParseCertificates(data))
}

// take adds what a PKCS #7 message holds.
func (f *File) take(set *cms.CertificateSet, err error) error {
	if err != nil {
		f.Unreadable++
		f.fault = cmp.Or(f.fault, err)
		return nil
	}
	for _, der := range set.Certificates {
		if err := f.add(der); err != nil {
			return err
		}
	}
	if f.Preferred == nil && set.Preferred != nil {
		f.Preferred = f.find(set.Preferred)
	}
	if f.Capabilities == nil {
		f.Capabilities = set.Capabilities
	}
	return nil
}

// add adds a certificate unless it is there already.
func (f *File) add(der []byte) error {
	if f.find(der) != nil {
		return nil
	}
	if len(der) > MaxCertificate {
		return fmt.Errorf("%w: a certificate of more than %d bytes", ErrTooLarge, MaxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.Unreadable++
		return nil
	}
	if len(f.Certificates) == MaxCertificates {
		return fmt.Errorf("%w: more than %d certificates", ErrTooLarge, MaxCertificates)
	}
	f.Certificates = append(f.Certificates, cert)
	return nil
}

func (f *File) find(der []byte) *x509.Certificate {
	for _, c := range f.Certificates {
		if bytes.Equal(c.Raw, der) {
			return c
		}
	}
	return nil
}

// firstElement is the DER element that data begins with; nil when there is none.
func firstElement(data []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(data, &v); err != nil {
		return nil
	}
	return v.FullBytes
}

// decodeBase64 decodes what it can: white space is ignored, what follows a fault is left out.
func decodeBase64(text []byte) []byte {
	clean := bytes.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	clean = bytes.TrimRight(clean, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}
