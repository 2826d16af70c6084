package smime

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
)

// DecryptOptions say with which keys and within which bounds.
type DecryptOptions struct {
	// Identities are the keys to try.
	Identities []cms.Identity
	// Spool makes the place for the ciphertext; nil: memory. Plaintext never gets there.
	Spool func() (cms.Spool, error)
	// MaxContent is the limit of what the mail holds for its reader, without transfer encodings, in bytes; 0 means
	// cms.DefaultMaxContent. The mail as it arrives, and each of its layers, may have MaxWrapped of it.
	MaxContent int64
	// AllowTripleDES accepts mail encrypted with Triple-DES.
	AllowTripleDES bool
	// LF writes lines that end in LF in place of CRLF, unless the content is binary.
	LF bool
	// Verify says how the signatures inside and around the encrypted part are judged. Its MaxContent is that of
	// decryption when it is zero.
	Verify VerifyOptions
	// Unwrap takes the signatures inside off too, for programs that cannot read application/pkcs7-mime. Else what was
	// encrypted is written as it was.
	Unwrap bool
}

func (o *DecryptOptions) maxContent() int64 {
	if o.MaxContent <= 0 {
		return cms.DefaultMaxContent
	}
	return o.MaxContent
}

// Decrypted says how a mail was protected.
type Decrypted struct {
	// Protection is what the cipher promises: cms.Malleable content may have been changed on the way by anybody.
	Protection cms.Protection
	Cipher     cms.Cipher
	// Identity is the index of the identity that the mail was encrypted to.
	Identity int
	// Verification is what the signatures inside and around the encrypted part say. Malleable content with a Valid
	// signature inside is unchanged; a signature around it only says who sent the ciphertext on.
	Verification *Verification
}

// Decrypt reads a mail from r and writes it decrypted to what begin returns: its outer fields but Content-*, then the
// Content-* fields and the body of what was inside. Only when the whole message was read and checked, with the signatures
// inside and around, is begin called, once.
//
// A mail counts as encrypted when its Content-Type is application/pkcs7-mime (or x-pkcs7-mime), or
// application/octet-stream with a name that ends in .p7m, and its CMS content type is an encrypted one; what smime-type
// says does not matter (RFC 8551 section 3.2.2). The encrypted part may be signed as a whole (triple wrapping, RFC 2634) or
// compressed; it is then what is decrypted, and its signature is reported and gone. One mail is decrypted once: an encrypted
// part inside stays. Otherwise the error wraps ErrNotEncrypted. Other errors are ErrHeader, ErrEncoding, those of
// cms.Decrypt (cms.ErrDecrypt, cms.ErrNoRecipient, cms.ErrSyntax, cms.ErrUnsupported, cms.ErrTooLarge), and those of the
// reader and the writer. A bad signature is no error: see Decrypted.Verification.
//
// Header fields that are protected inside (RFC 9788, or the message/rfc822 of RFC 8551 section 3.1) take the place of those
// outside.
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
	verify := opts.Verify
	if verify.MaxContent <= 0 {
		verify.MaxContent = opts.MaxContent
	}
	w := newWalker(ctx, h, &verify)
	w.decrypt = opts
	result, err := w.open(h, in)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	out, err := begin(*result)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	mail := &plainMail{ctx: ctx, w: out, lf: opts.LF, outer: result.Verification.Headers.merge(h), entity: w.output(opts, result), content: w.plain}
	if err := errors.Join(mail.write(), w.close()); err != nil {
		return nil, err
	}
	return result, nil
}

// open unwraps, decrypts and judges a mail.
func (w *walker) open(h header, in *bufio.Reader) (*Decrypted, error) {
	if err := w.entity(stream(h, in)); err != nil {
		return nil, err
	}
	if w.plain == nil {
		if w.hint == "" {
			w.hint = "it is signed, not encrypted"
		}
		return nil, fmt.Errorf("%w: %s", ErrNotEncrypted, w.hint)
	}
	result := w.result
	v, err := w.verification(h)
	if err != nil {
		return nil, err
	}
	v.Inside = Unsigned
	after := slices.IndexFunc(v.Layers, func(l Layer) bool { return l.Cipher != "" }) + 1
	if l := decisive(v.Layers[after:]); l != nil {
		v.Inside = l.Verdict
		if v.Headers.fromDiffers(h) != "" {
			v.Inside = worse(v.Inside, OtherAddress)
		}
	}
	if v.Inside == Unsigned && v.Verdict != Unsigned {
		v.Warnings = append(v.Warnings, "only the encrypted form of the mail is signed: the signer need not have known what is inside")
	}
	result.Verification = v
	return &result, nil
}

// output is the entity to be written; nil when the content is none.
func (w *walker) output(opts *DecryptOptions, result *Decrypted) *entity {
	e := w.inside
	if w.bare {
		return nil
	}
	if opts.Unwrap && w.payload != nil {
		e = w.payload
	}
	if headers := result.Verification.Headers; headers != nil && headers.mail != nil && e == w.payload {
		e = headers.mail
	}
	return e
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
	case isPKCS7(kind), kind == "multipart/signed", kind == "application/octet-stream" && namesP7M(h, params):
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
