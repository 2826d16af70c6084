package smime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"mime"
	"path"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
)

// DecryptOptions say with which keys and within which bounds.
type DecryptOptions struct {
	// Identities are the keys to try.
	Identities []cms.Identity
	// Spool makes the place for the ciphertext; nil: memory. Plaintext never gets there.
	Spool func() (cms.Spool, error)
	// MaxContent is the limit of the encrypted content in bytes; 0 means cms.DefaultMaxContent.
	MaxContent int64
	// AllowTripleDES accepts mail encrypted with Triple-DES.
	AllowTripleDES bool
	// LF writes lines that end in LF in place of CRLF, unless the content is binary.
	LF bool
}

// Decrypted says how a mail was protected.
type Decrypted struct {
	// Protection is what the cipher promises: cms.Malleable content may have been changed on the way by anybody.
	Protection cms.Protection
	Cipher     cms.Cipher
	// Identity is the index of the identity that the mail was encrypted to.
	Identity int
}

// Decrypt reads a mail from r and writes it decrypted to what begin returns: its outer fields but Content-*, then the
// Content-* fields and the body of what was inside. Only when the whole message was read and checked is begin called, once.
//
// A mail counts as encrypted when its Content-Type is application/pkcs7-mime (or x-pkcs7-mime), or
// application/octet-stream with a name that ends in .p7m, and its CMS content type is an encrypted one; what smime-type
// says does not matter (RFC 8551 section 3.2.2). Otherwise the error wraps ErrNotEncrypted. Other errors are ErrHeader,
// ErrEncoding, those of cms.Decrypt (cms.ErrDecrypt, cms.ErrNoRecipient, cms.ErrSyntax, cms.ErrUnsupported,
// cms.ErrTooLarge), and those of the reader and the writer.
//
// Content that is no MIME entity is not an error, so that what somebody made of a damaged message tells nobody more than
// cms.Decrypt does. It is written as text/plain when it is UTF-8 text, else as base64 of application/octet-stream.
func Decrypt(ctx context.Context, r io.Reader, begin func(Decrypted) (io.Writer, error), opts *DecryptOptions) (*Decrypted, error) {
	in := bufio.NewReaderSize(&contextReader{ctx, r}, blockSize)
	h, err := readMailHeader(in)
	if err != nil {
		return nil, err
	}
	if err := checkEncrypted(h); err != nil {
		return nil, err
	}
	message, err := encoded(h, in)
	if err != nil {
		return nil, err
	}
	if err := checkContentType(message); err != nil {
		return nil, err
	}
	plain, err := cms.Decrypt(message, opts.Identities, &cms.DecryptOptions{Spool: opts.Spool, MaxContent: opts.MaxContent, AllowTripleDES: opts.AllowTripleDES})
	if err != nil {
		return nil, fmt.Errorf("decrypt mail: %w", err)
	}
	result := &Decrypted{Protection: plain.Protection, Cipher: plain.Cipher, Identity: plain.Identity}
	w, err := begin(*result)
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	out := &plainMail{w: w, lf: opts.LF, outer: h, content: plain, ctx: ctx}
	if err := errors.Join(out.write(), plain.Close()); err != nil {
		return nil, err
	}
	return result, nil
}

// Into returns a function for Decrypt that always gives w.
func Into(w io.Writer) func(Decrypted) (io.Writer, error) {
	return func(Decrypted) (io.Writer, error) { return w, nil }
}

// contextReader ends reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func isPKCS7(kind string) bool {
	return kind == "application/pkcs7-mime" || kind == "application/x-pkcs7-mime"
}

// checkEncrypted looks at what the header says.
func checkEncrypted(h header) error {
	kind, params, err := h.mediaType()
	switch {
	case err != nil:
		return err
	case isPKCS7(kind), kind == "application/octet-stream" && namesP7M(h, params):
		return nil
	case strings.HasPrefix(kind, "multipart/"):
		return fmt.Errorf("%w: it is %s, and only a mail that is encrypted as a whole is decrypted", ErrNotEncrypted, kind)
	}
	return fmt.Errorf("%w: it is %s", ErrNotEncrypted, kind)
}

// namesP7M reports whether the part has a file name that ends in .p7m (RFC 8551 section 3.2.1).
func namesP7M(h header, params map[string]string) bool {
	names := []string{params["name"]}
	for _, v := range h.values("Content-Disposition") {
		if _, params, err := mime.ParseMediaType(v); err == nil {
			names = append(names, params["filename"])
		}
	}
	for _, n := range names {
		if strings.EqualFold(path.Ext(n), ".p7m") {
			return true
		}
	}
	return false
}

// encoded undoes the transfer encoding. A mail that calls itself 7bit holds base64 or, against the rules, bare bytes.
func encoded(h header, body *bufio.Reader) (*bufio.Reader, error) {
	encoding, err := h.transferEncoding()
	if err != nil {
		return nil, err
	}
	switch encoding {
	case "base64":
		return bufio.NewReaderSize(newBase64Reader(body), blockSize), nil
	case "binary", "8bit":
		return body, nil
	case "7bit":
		if first, _ := body.Peek(1); bytes.Equal(first, []byte{0x30}) { // SEQUENCE; base64 of one begins with M
			return body, nil
		}
		return bufio.NewReaderSize(newBase64Reader(body), blockSize), nil
	}
	return nil, fmt.Errorf("%w: an encrypted mail in %q", ErrEncoding, encoding)
}

// notEncrypted are CMS content types that are not encrypted (RFC 5652, RFC 3274).
var notEncrypted = map[string]string{
	"1.2.840.113549.1.7.2":      "it is signed, not encrypted",
	"1.2.840.113549.1.7.5":      "it holds a digest",
	"1.2.840.113549.1.9.16.1.9": "it is compressed, not encrypted",
	"1.2.840.113549.1.7.1":      "it holds bare data",
	"1.2.840.113549.1.9.16.1.2": "it is authenticated, not encrypted",
}

// checkContentType looks at the CMS content type, as far as it can be seen, to say what a message is that is not encrypted.
// Everything else about the message is for package cms to judge.
func checkContentType(message *bufio.Reader) error {
	head, _ := message.Peek(32)
	if len(head) < 2 || head[0] != 0x30 {
		return nil
	}
	skip := 2
	if head[1] > 0x80 {
		skip += int(head[1] & 0x7f)
	}
	var oid asn1.ObjectIdentifier
	if skip < len(head) {
		if _, err := asn1.Unmarshal(head[skip:], &oid); err == nil && notEncrypted[oid.String()] != "" {
			return fmt.Errorf("%w: %s", ErrNotEncrypted, notEncrypted[oid.String()])
		}
	}
	return nil
}
