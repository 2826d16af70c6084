package smime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
)

const (
	// maxLayers is how often a mail may be wrapped. Three is what RFC 2634 describes.
	maxLayers = 8
	// maxSignature is the largest detached signature, with all its certificates, in bytes.
	maxSignature = 8 << 20
)

// walker unwraps a mail: it verifies, decrypts (once, and only with keys) and decompresses one layer after the other.
type walker struct {
	ctx     context.Context
	judging judging
	decrypt *DecryptOptions // nil: without keys
	// What was found:
	layers []Layer
	plain  *cms.Decrypted // nil unless decrypted
	result Decrypted
	// inside is the entity that was encrypted; nil unless decrypted. bare reports that the encrypted content is none.
	inside *entity
	bare   bool
	// payload is the innermost entity, and size how many bytes it can have at most: those of the layer around it.
	payload *entity
	size    int64
	// hint is why the payload was not unwrapped further, a sentence; "" when it is not wrapped.
	hint string
}

func (w *walker) close() error {
	if w.plain == nil {
		return nil
	}
	return w.plain.Close()
}

// entity unwraps e as far as possible, and refuses content beyond the limit. The error is one of a reader, of a limit or, before anything was decrypted, one of
// cms.Decrypt. What is wrong with a signature stands in its layer.
func (w *walker) entity(e *entity) error {
	if err := w.unwrap(e); err != nil {
		return err
	}
	limit := w.judging.opts.maxContent()
	switch {
	case w.size <= limit: // transfer encodings make content no shorter
		return nil
	case w.bare:
		w.plain.Rewind()
		return checkBare(&contextReader{w.ctx, w.plain}, limit)
	case len(w.layers) == 0 || w.payload == nil || !w.payload.again:
		return nil // nothing was unwrapped, or nothing is held
	}
	return checkContent(w.payload, limit)
}

func (w *walker) unwrap(e *entity) error {
	for e != nil {
		w.payload = e
		if len(w.layers) == maxLayers {
			w.hint = fmt.Sprintf("it is wrapped more than %d times", maxLayers)
			return nil
		}
		next, err := w.layer(e)
		if err != nil {
			return err
		}
		e = next
	}
	return nil
}

// layer opens one layer, or returns nil.
func (w *walker) layer(e *entity) (*entity, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	kind, params, err := e.header.mediaType()
	if err != nil {
		return nil, w.damaged(err)
	}
	switch {
	case kind == "multipart/signed":
		return w.multipartSigned(e, params)
	case isPKCS7(kind), kind == "application/octet-stream" && namesP7M(e.header, params):
		return w.message(e)
	}
	return nil, nil
}

// damaged is an error about what stands in a mail. Inside of a layer it is no error: the layer was read, and no answer may
// tell what an altered ciphertext decrypts to.
func (w *walker) damaged(err error) error {
	if len(w.layers) > 0 {
		w.hint = err.Error()
		return nil
	}
	return err
}

// message opens an application/pkcs7-mime part.
func (w *walker) message(e *entity) (*entity, error) {
	body, err := e.buffered()
	if err != nil {
		return nil, err
	}
	message, err := encoded(e.header, body)
	if err != nil {
		return nil, w.damaged(err)
	}
	switch kind := contentType(message); {
	case kind.Equal(oidSignedData):
		return w.opaque(message)
	case kind.Equal(oidCompressedData):
		return w.compressed(message)
	case notEncrypted[kind.String()] != "":
		w.hint = notEncrypted[kind.String()]
		return nil, nil
	case !kind.Equal(oidEnvelopedData) && !kind.Equal(oidAuthEnvelopedData) && (w.decrypt == nil || w.plain != nil):
		return nil, w.broken(cms.ErrNotSignedData)
	}
	return w.encrypted(message)
}

// compressed decompresses a layer (RFC 3274, RFC 8551 section 3.6).
func (w *walker) compressed(message io.Reader) (*entity, error) {
	if !w.judging.another() {
		w.hint = tooManyMessages
		return nil, nil
	}
	content := &memory{limit: w.judging.opts.maxContent()}
	if err := cms.Decompress(message, content, content.limit); err != nil {
		if errors.Is(err, cms.ErrSyntax) || errors.Is(err, cms.ErrUnsupported) || errors.Is(err, ErrEncoding) || errors.Is(err, cms.ErrTooLarge) {
			w.hint = err.Error()
			return nil, nil
		}
		return nil, fmt.Errorf("read compressed mail: %w", err)
	}
	w.layers, w.size = append(w.layers, Layer{Kind: CompressedLayer}), content.size
	e, err := parse(content.open)
	if _, ok := isEntity(e, err); !ok {
		w.hint = "what is compressed is no MIME entity"
		return nil, nil
	}
	return e, nil
}

var (
	oidSignedData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidEnvelopedData     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidAuthEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
	oidCompressedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 9}
)

// contentType is the CMS content type as far as it can be seen, to say what a message is; nil when it cannot. Everything
// else about the message is for package cms to judge.
func contentType(message *bufio.Reader) asn1.ObjectIdentifier {
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
		if _, err := asn1.Unmarshal(head[skip:], &oid); err != nil {
			return nil
		}
	}
	return oid
}

// encrypted decrypts, once per mail: a mail must not make a key work more than once.
func (w *walker) encrypted(message io.Reader) (*entity, error) {
	if w.decrypt == nil || w.plain != nil {
		w.layers = append(w.layers, Layer{Kind: EncryptedLayer})
		w.hint = "it is encrypted, and what is inside is not known here"
		return nil, nil
	}
	o := w.decrypt
	plain, err := cms.Decrypt(message, o.Identities, &cms.DecryptOptions{Spool: o.Spool, MaxContent: MaxWrapped(o.maxContent()), AllowTripleDES: o.AllowTripleDES})
	if err != nil {
		return nil, fmt.Errorf("decrypt mail: %w", err)
	}
	w.plain, w.size = plain, plain.Size()
	w.result = Decrypted{Protection: plain.Protection, Cipher: plain.Cipher, Identity: plain.Identity}
	w.layers = append(w.layers, Layer{Kind: EncryptedLayer, Protection: plain.Protection.String(), Cipher: plain.Cipher.String()})
	e, err := parse(func() (io.Reader, error) {
		plain.Rewind()
		return &contextReader{w.ctx, plain}, nil
	})
	if err != nil && !errors.Is(err, ErrHeader) {
		return nil, fmt.Errorf("read decrypted mail: %w", err)
	}
	if _, ok := isEntity(e, err); !ok {
		w.bare, w.payload = true, nil
		return nil, nil
	}
	w.inside = e
	return e, nil
}

// isEntity decides whether content whose header was read, or could not be because of err, is a MIME entity, and returns its
// transfer encoding. Fields that say nothing about content are no sign of one: a text may begin with "Note: ...".
func isEntity(e *entity, err error) (encoding string, ok bool) {
	if err != nil || len(e.header) > 0 && len(e.header.content()) == 0 {
		return "", false
	}
	encoding, err = e.header.transferEncoding()
	return encoding, err == nil
}

// tooManyMessages is why a part is not examined.
var tooManyMessages = fmt.Sprintf("the mail holds more than %d signed or compressed parts, one in another or beside it", maxMessages)

// opaque verifies a signature around its content (RFC 8551 section 3.5.2).
func (w *walker) opaque(message io.Reader) (*entity, error) {
	if !w.judging.another() {
		w.hint = tooManyMessages
		return nil, nil
	}
	content := &memory{limit: MaxWrapped(w.judging.opts.maxContent())}
	signed, err := cms.Verify(message, &cms.VerifyOptions{
		Output: content, MaxContent: content.limit, Certificates: w.judging.opts.Certificates, AllowSHA1: w.judging.opts.ReportSHA1,
	})
	if err != nil {
		return nil, w.broken(err)
	}
	w.layers, w.size = append(w.layers, w.judging.layer(signed)), content.size
	e, err := parse(content.open)
	if _, ok := isEntity(e, err); !ok {
		w.hint = "what is signed is no MIME entity"
		return nil, nil
	}
	return e, nil
}

// broken turns a fault that anybody can see in a signed message into a layer, and keeps other errors.
func (w *walker) broken(err error) error {
	for _, known := range []error{cms.ErrSyntax, cms.ErrUnsupported, cms.ErrNotSignedData, cms.ErrNoContent, ErrEncoding, ErrStructure, ErrHeader} {
		if errors.Is(err, known) {
			w.layers = append(w.layers, Layer{Kind: SignedLayer, Verdict: Invalid, Reasons: []string{err.Error()}})
			return nil
		}
	}
	return fmt.Errorf("verify mail: %w", err)
}

// multipartSigned verifies a signature beside its content (RFC 8551 section 3.5.3).
func (w *walker) multipartSigned(e *entity, params map[string]string) (*entity, error) {
	switch protocol := strings.ToLower(params["protocol"]); protocol {
	case "application/pkcs7-signature", "application/x-pkcs7-signature":
	case "":
		return nil, w.broken(fmt.Errorf("%w: a multipart/signed that does not name its protocol, or names two", ErrStructure))
	default:
		w.hint = fmt.Sprintf("it is signed with another protocol, %.80s", protocol)
		return nil, nil
	}
	if !w.judging.another() {
		w.hint = tooManyMessages
		return nil, nil
	}
	if err := e.keep(MaxWrapped(w.judging.opts.maxContent())); err != nil {
		return nil, err
	}
	two := &signedParts{body: e, boundary: params["boundary"]}
	if err := two.check(e.header); err != nil {
		return nil, w.broken(err)
	}
	signed, err := two.verify(w.judging.opts)
	if err != nil {
		return nil, w.broken(err)
	}
	w.layers, w.size = append(w.layers, w.judging.layer(signed)), signed.Size
	inner, err := parse(two.content)
	if errors.Is(err, ErrHeader) {
		w.hint = "what is signed is no MIME entity"
		return nil, nil
	}
	return inner, err
}

// signedParts are the two parts of a multipart/signed.
type signedParts struct {
	body      *entity
	boundary  string
	signature bytes.Buffer // DER
	// bareLF and crlf report which line ends the content has.
	ends lineEnds
}

// check reads the multipart once: there must be a content, a signature, the delimiter after it, and nothing that another
// program could take for something else.
func (s *signedParts) check(h header) error {
	encoding, err := h.transferEncoding()
	switch {
	case err != nil:
		return err
	case encoding != "7bit" && encoding != "8bit" && encoding != "binary":
		return fmt.Errorf("%w: a multipart/signed in %.40q", ErrStructure, encoding)
	case strings.Contains(strings.ToLower(h.values("Content-Type")[0]), "boundary*"):
		return fmt.Errorf("%w: an encoded boundary, which some programs cannot read", ErrStructure)
	}
	parts, err := s.open()
	if err != nil {
		return err
	}
	if more, err := parts.next(); err != nil || !more {
		return orStructure(err, "a multipart/signed without parts")
	}
	if _, err := io.Copy(&s.ends, parts); err != nil {
		return err
	}
	if more, err := parts.next(); err != nil || !more {
		return orStructure(err, "a multipart/signed without a signature")
	}
	if err := s.readSignature(parts); err != nil {
		return err
	}
	switch more, err := parts.next(); {
	case err != nil:
		return err
	case more:
		return fmt.Errorf("%w: a multipart/signed with more than two parts", ErrStructure)
	case !parts.closed():
		return fmt.Errorf("%w: a multipart/signed without an end", ErrStructure)
	case parts.ambiguous:
		return fmt.Errorf("%w: lines that begin like the delimiter of the parts, so that programs differ about what is signed", ErrStructure)
	}
	return nil
}

func orStructure(err error, what string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrStructure, what)
}

func (s *signedParts) open() (*splitter, error) {
	body, err := s.body.buffered()
	if err != nil {
		return nil, err
	}
	return newSplitter(body, s.boundary)
}

// readSignature reads the second part.
func (s *signedParts) readSignature(part io.Reader) error {
	in := bufio.NewReaderSize(part, blockSize)
	h, err := readHeader(in)
	if err != nil {
		return err
	}
	kind, _, err := h.mediaType()
	if err != nil {
		return err
	}
	if kind != "application/pkcs7-signature" && kind != "application/x-pkcs7-signature" {
		return fmt.Errorf("%w: the second part of a multipart/signed is %.80s and no signature", ErrStructure, kind)
	}
	der, err := encoded(h, in)
	if err != nil {
		return err
	}
	n, err := s.signature.ReadFrom(io.LimitReader(der, maxSignature+1))
	if n > maxSignature {
		return fmt.Errorf("%w: a signature of more than %d bytes", ErrStructure, maxSignature)
	}
	return err
}

// content is the first part as it was received.
func (s *signedParts) content() (io.Reader, error) {
	parts, err := s.open()
	if err != nil {
		return nil, err
	}
	if more, err := parts.next(); err != nil || !more {
		return nil, orStructure(err, "a multipart/signed without parts")
	}
	return parts, nil
}

// verify checks the signature over the content as it was received and, where lines end in LF alone, also in canonical form
// (RFC 8551 section 3.1.1): files and pipes on Unix lose the CR. Both forms are the same text.
func (s *signedParts) verify(opts *VerifyOptions) (*cms.Signed, error) {
	forms := []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }}
	if s.ends.bareLF {
		forms = append(forms, func(r io.Reader) io.Reader { return &crlfReader{r: r} })
	}
	for i, form := range forms {
		content, err := s.content()
		if err != nil {
			return nil, err
		}
		signed, err := cms.Verify(bytes.NewReader(s.signature.Bytes()), &cms.VerifyOptions{
			Content: form(content), MaxContent: 2 * MaxWrapped(opts.maxContent()), Certificates: opts.Certificates, AllowSHA1: opts.ReportSHA1,
		})
		if err != nil || i == len(forms)-1 || !changed(signed) {
			return signed, err
		}
	}
	return nil, nil // not reached: the last form returns
}

// changed reports whether a signer's digest does not fit the content.
func changed(signed *cms.Signed) bool {
	for _, s := range signed.Signers {
		if errors.Is(s.Err, cms.ErrContentChanged) {
			return true
		}
	}
	return false
}

// lineEnds looks for lines that end in LF alone.
type lineEnds struct{ bareLF, cr bool }

func (l *lineEnds) Write(p []byte) (int, error) {
	for i := 0; !l.bareLF; {
		at := bytes.IndexByte(p[i:], '\n')
		if at < 0 {
			break
		}
		i += at
		if i == 0 && !l.cr || i > 0 && p[i-1] != '\r' {
			l.bareLF = true
		}
		i++
	}
	if len(p) > 0 {
		l.cr = p[len(p)-1] == '\r'
	}
	return len(p), nil
}

// crlfReader reads r with every LF that has no CR before it turned into CRLF.
type crlfReader struct {
	r   io.Reader
	out bytes.Buffer
	w   *crlfWriter
	buf []byte
	err error
}

func (c *crlfReader) Read(p []byte) (int, error) {
	if c.w == nil {
		c.w, c.buf = newCRLFWriter(&c.out), make([]byte, blockSize)
	}
	for c.out.Len() == 0 && c.err == nil {
		n, err := c.r.Read(c.buf)
		_, writeErr := c.w.Write(c.buf[:n])
		c.err = errors.Join(writeErr, c.w.Flush())
		if c.err == nil {
			c.err = err
		}
	}
	if c.out.Len() > 0 {
		return c.out.Read(p)
	}
	return 0, c.err
}
