package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// EncryptOptions are wishes for the encryption of a mail; the zero value has none.
type EncryptOptions struct {
	// To are the recipients, instead of those in the To, Cc and Bcc headers; Bcc headers are dropped then.
	To []string
	// Size is the length of the message in bytes, when it is known; 0: unknown. With it a mail beyond the limit is
	// refused before it is sent.
	Size int64
	// Sign signs the mail before it is encrypted; only the user's own daemon can. Nil, here and below, leaves it to the
	// preferences for the From address, and is no without any. Identity is the SHA-256 fingerprint of the certificate to sign
	// with, in hex, which means to sign unless Sign says no; empty: the one for the From address.
	Sign     *bool
	Identity string
	// ProtectHeaders puts the header inside and hides the subject outside (RFC 9788): programs that do not know this show
	// "[...]" as the subject.
	ProtectHeaders *bool
	// ToSelf lets the sender read the mail too, with the own key for the From address; only the user's own daemon can.
	ToSelf *bool
	// Explain asks for the look-up that chose the certificates; see EncryptCopies.
	Explain bool
}

// DecryptOptions are wishes for a decryption; the zero value has none.
type DecryptOptions struct {
	// Unwrap takes the signatures inside off too, for programs that cannot read application/pkcs7-mime.
	Unwrap bool
	// TripleDES accepts mails that are encrypted with Triple-DES.
	TripleDES bool
}

// VerifyOptions are wishes for a verification; the zero value has none.
type VerifyOptions struct {
	// SHA1 examines signatures with SHA-1 further; the best that is said about them is "untrusted".
	SHA1 bool
}

// SignOptions are wishes for a signature; the zero value has none.
type SignOptions struct {
	// Identity is as in EncryptOptions.
	Identity string
	// Opaque wraps the mail, so that only S/MIME programs can show it.
	Opaque bool
	// Size is as in EncryptOptions.
	Size int64
}

// Copy is one encrypted copy of a mail.
type Copy struct {
	// Recipients are the envelope recipients of this copy.
	Recipients []string
	// Blind marks the copy of a Bcc recipient.
	Blind bool
	// Choice says how the copy is encrypted; nil when the daemon did not say.
	Choice *Choice
	// Message is the encrypted mail; valid until the function that was given it returns.
	Message io.Reader
}

// Decrypted says how a mail was protected.
type Decrypted struct {
	// Protection is "malleable" or "authenticated".
	Protection string `json:"protection"`
	// Cipher is the content-encryption algorithm, for example "AES-256-CBC".
	Cipher string `json:"cipher"`
	// Verification is what is known about signatures; nil when the findings were too long to be sent along: then Verdict
	// is all there is.
	Verification *Verification `json:"verification,omitempty"`
	Verdict      string        `json:"verdict"`
}

// Encrypt reads a mail (message/rfc822) and writes it encrypted to all of its recipients, and returns how. An *Error with
// CodeRecipientUnknown or CodeRecipientsUnusable names those that cannot be encrypted to; a mail with Bcc recipients is
// CodeBccNeedsMultipart, one that becomes two by the daemon's policy CodeSplitNeedsMultipart: use EncryptCopies. The Choice
// is nil when the daemon did not say.
//
// Nothing is written when the daemon refuses. After any other error what was written is not a mail and must be thrown
// away. Message may still be read for a moment after an error.
func (c *Client) Encrypt(ctx context.Context, message io.Reader, w io.Writer, options EncryptOptions) (*Choice, error) {
	mail := &source{r: message, size: options.Size}
	defer mail.stop()
	answer, err := c.postMail(ctx, "/v1/encrypt", "message/rfc822", mail, options.query())
	if err == nil {
		err = copyMail(w, answer)
	}
	if err = mail.verdict(ctx, err); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return headerJSON[Choice](answer.Header.Get("Galsyncd-Choice")), nil
}

// EncryptCopies is Encrypt for mails that may become several: each calls for the copy of the To and Cc recipients first (for
// one for each kind of key, when that is the daemon's policy), then for that of each Bcc recipient. Only when EncryptCopies
// returns nil are the copies complete. An error of each ends it and is returned. With Explain the Result is the look-up that
// chose the certificates; else it is nil.
func (c *Client) EncryptCopies(ctx context.Context, message io.Reader, options EncryptOptions, each func(Copy) error) (*Result, error) {
	mail := &source{r: message, size: options.Size}
	defer mail.stop()
	var explanation *Result
	answer, err := c.postMail(ctx, "/v1/encrypt", "multipart/mixed", mail, options.query())
	if err == nil {
		explanation, err = readAnswer(answer, each)
	}
	if err == nil && options.Explain && explanation == nil {
		err = fmt.Errorf("%w: it explains nothing", ErrAnswer)
	}
	if err = mail.verdict(ctx, err); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return explanation, nil
}

// Decrypt reads an encrypted mail and writes its plaintext. The daemon sends the first byte only after it checked the
// whole mail; still, after an error what was written must be thrown away.
func (c *Client) Decrypt(ctx context.Context, message io.Reader, w io.Writer, options DecryptOptions) (*Decrypted, error) {
	mail := &source{r: message}
	defer mail.stop()
	query := url.Values{}
	if options.Unwrap {
		query.Set("unwrap", "1")
	}
	if options.TripleDES {
		query.Set("3des", "1")
	}
	answer, err := c.postMail(ctx, "/v1/decrypt", "message/rfc822", mail, query)
	if err == nil {
		err = copyMail(w, answer)
	}
	if err = mail.verdict(ctx, err); err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return &Decrypted{
		Protection: answer.Header.Get("Galsyncd-Protection"), Cipher: answer.Header.Get("Galsyncd-Cipher"),
		Verdict: answer.Header.Get("Galsyncd-Verdict"), Verification: headerJSON[Verification](answer.Header.Get("Galsyncd-Findings")),
	}, nil
}

// headerJSON reads a value of a header field; nil when there is none. A folded value has spaces.
func headerJSON[T any](text string) *T {
	js, err := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(text, " ", ""))
	v := new(T)
	if err != nil || text == "" || json.Unmarshal(js, v) != nil {
		return nil
	}
	return v
}

// Sign reads a mail and writes it signed, and returns what to warn about. Nothing is written when the daemon refuses; after
// any other error what was written must be thrown away.
func (c *Client) Sign(ctx context.Context, message io.Reader, w io.Writer, options SignOptions) (warnings []string, err error) {
	mail := &source{r: message, size: options.Size}
	defer mail.stop()
	query := url.Values{}
	if options.Identity != "" {
		query.Set("identity", options.Identity)
	}
	if options.Opaque {
		query.Set("opaque", "1")
	}
	answer, err := c.postMail(ctx, "/v1/sign", "message/rfc822", mail, query)
	if err == nil {
		err = copyMail(w, answer)
	}
	if err = mail.verdict(ctx, err); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if list := headerJSON[[]string](answer.Header.Get("Galsyncd-Warnings")); list != nil {
		warnings = *list
	}
	return warnings, nil
}

// Verify reads a mail and says what is known about its signatures. An error means that it could not be looked at, not
// that a signature is bad.
func (c *Client) Verify(ctx context.Context, message io.Reader, options VerifyOptions) (*Verification, error) {
	mail := &source{r: message}
	defer mail.stop()
	v, err := ask[Verification](ctx, c, request{
		method: http.MethodPost, path: "/v1/verify", query: options.query(), kind: "message/rfc822", body: mail, size: mail.size, stream: true,
	})
	if err = mail.verdict(ctx, err); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return v, nil
}

// Unwrap is Verify that also writes the mail without its signatures, when it is signed as a whole and was not changed since:
// written reports whether that was so. It says nothing about who signed; the Verification does. When the findings are too
// long to be sent along, it has the verdict alone.
func (c *Client) Unwrap(ctx context.Context, message io.Reader, w io.Writer, options VerifyOptions) (v *Verification, written bool, err error) {
	mail := &source{r: message}
	defer mail.stop()
	answer, err := c.postMail(ctx, "/v1/verify", "message/rfc822, application/json;q=0.5", mail, options.query())
	if err == nil {
		v, written, err = readUnwrapped(w, answer)
	}
	if err = mail.verdict(ctx, err); err != nil {
		return nil, false, fmt.Errorf("verify: %w", err)
	}
	return v, written, nil
}

func readUnwrapped(w io.Writer, answer *http.Response) (v *Verification, written bool, err error) {
	if expectType(answer, "message/rfc822") == nil {
		if v = headerJSON[Verification](answer.Header.Get("Galsyncd-Findings")); v == nil {
			v = &Verification{Verdict: answer.Header.Get("Galsyncd-Verdict")}
		}
		return v, true, copyMail(w, answer)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := expectType(answer, "application/json"); err != nil {
		return nil, false, err
	}
	data, err := readAll(answer.Body, maxAnswer)
	if err != nil {
		return nil, false, err
	}
	v = &Verification{}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return v, false, nil
}

func (o VerifyOptions) query() url.Values {
	query := url.Values{}
	if o.SHA1 {
		query.Set("sha1", "1")
	}
	return query
}

func (o EncryptOptions) query() url.Values {
	query := url.Values{}
	if len(o.To) > 0 {
		query["to"] = o.To
	}
	for name, choice := range map[string]*bool{"sign": o.Sign, "protect-headers": o.ProtectHeaders, "to-self": o.ToSelf} {
		if choice != nil {
			query.Set(name, map[bool]string{true: "1", false: "0"}[*choice])
		}
	}
	if o.Identity != "" {
		query.Set("identity", o.Identity)
	}
	if o.Explain {
		query.Set("explain", "1")
	}
	return query
}

func (c *Client) postMail(ctx context.Context, path, accept string, mail *source, query url.Values) (*http.Response, error) {
	return c.do(ctx, request{
		method: http.MethodPost, path: path, query: query, accept: accept,
		kind: "message/rfc822", body: mail, size: mail.size, stream: true,
	})
}

// copyMail copies an answer that is a mail, to its proper end.
func copyMail(w io.Writer, answer *http.Response) error {
	defer func() { _ = answer.Body.Close() }()
	if err := expectType(answer, "message/rfc822"); err != nil {
		return err
	}
	_, err := io.Copy(w, answer.Body)
	return err
}

func readAnswer(answer *http.Response, each func(Copy) error) (*Result, error) {
	defer func() { _ = answer.Body.Close() }()
	kind, params, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, fmt.Errorf("%w: it is not multipart/mixed", ErrAnswer)
	}
	return readCopies(answer.Body, params["boundary"], each)
}

// readCopies reads a multipart body (RFC 2046 section 5.1) to its proper end: the copies and what may follow them.
func readCopies(r io.Reader, boundary string, each func(Copy) error) (explanation *Result, err error) {
	parts := multipart.NewReader(r, boundary)
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF && n > 0 {
			// The end of the multipart is not the end of the answer, which alone proves that the daemon had no second
			// thoughts.
			_, err = io.Copy(io.Discard, io.LimitReader(r, maxProblem))
			return explanation, err
		}
		if err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); n > 0 && err == nil && kind == "application/json" {
			explanation = &Result{}
			err = json.NewDecoder(io.LimitReader(part, maxAnswer)).Decode(explanation)
			if err != nil {
				return nil, fmt.Errorf("%w: the explanation is not JSON", ErrAnswer)
			}
			continue
		}
		if err := readCopy(part, each); err != nil {
			return nil, err
		}
	}
}

func readCopy(part *multipart.Part, each func(Copy) error) error {
	if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != "message/rfc822" {
		return fmt.Errorf("%w: a copy is not message/rfc822", ErrAnswer)
	}
	var recipients []string
	for address := range strings.SplitSeq(part.Header.Get("Galsyncd-Recipients"), ",") {
		if address = strings.TrimSpace(address); address != "" {
			recipients = append(recipients, address)
		}
	}
	if len(recipients) == 0 {
		return fmt.Errorf("%w: a copy is for nobody", ErrAnswer)
	}
	made := Copy{
		Recipients: recipients, Blind: part.Header.Get("Galsyncd-Blind") == "1", Message: part,
		Choice: headerJSON[Choice](part.Header.Get("Galsyncd-Choice")),
	}
	if err := each(made); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, part)
	return err
}

// source is the body of a request. It remembers why it ended, because the transport tells only that something did.
type source struct {
	r    io.Reader
	size int64 // as promised; 0: unknown

	mu      sync.Mutex
	n       int64
	ended   bool
	stopped bool
	err     error
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		return 0, io.ErrClosedPipe
	}
	n, err := s.r.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += int64(n)
	switch {
	case err == io.EOF:
		s.ended = true
	case err != nil:
		s.err = fmt.Errorf("read mail: %w", err)
	}
	return n, err
}

// stop makes that nothing more is read from r, except by a Read that waits already.
func (s *source) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// verdict says how it really went: an error of the mail itself comes first, and an answer that came before the whole
// mail was sent cannot be its encryption.
func (s *source) verdict(ctx context.Context, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && !s.ended && (s.size <= 0 || s.n < s.size):
		return fmt.Errorf("%w: it came before the whole mail was sent", ErrAnswer)
	}
	return err
}
