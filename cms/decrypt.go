package cms

import (
	"encoding/asn1"
	"errors"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// DefaultMaxContent is the limit of content in bytes when the caller sets none: 128 MiB.
const DefaultMaxContent = 128 << 20

// Limits of one envelope.
const (
	maxRecipients = 10000
	maxKeys       = 16 // encrypted keys for the given identities: each costs a private key operation
)

// DecryptOptions bound and place the work. Nil and the zero value mean memory, DefaultMaxContent, and no Triple-DES.
type DecryptOptions struct {
	// Spool makes the place for CBC ciphertext; nil: memory. AEAD ciphertext always stays in memory.
	Spool func() (Spool, error)
	// MaxContent is the limit of encrypted content in bytes; 0 means DefaultMaxContent.
	MaxContent int64
	// AllowTripleDES accepts DES-EDE3-CBC, which old mail uses.
	AllowTripleDES bool
}

func (o *DecryptOptions) maxContent() int64 {
	if o.MaxContent <= 0 {
		return DefaultMaxContent
	}
	return o.MaxContent
}

func (o *DecryptOptions) spool() (Spool, error) {
	if o.Spool == nil {
		return &memorySpool{}, nil
	}
	return o.Spool()
}

// Decrypt reads an EnvelopedData or AuthEnvelopedData from r, to the end of r, and decrypts it with the first identity
// that fits. It returns only after the padding (RFC 5652 section 6.3) or the tag (RFC 5083) was checked to the end.
//
// [ErrNoRecipient], [ErrSyntax], [ErrUnsupported] and [ErrTooLarge] say what anybody can see in the message; [ErrDecrypt]
// is every other failure. Errors of r and of the spool are returned wrapped.
//
// The caller must close the result.
func Decrypt(r io.Reader, identities []Identity, opts *DecryptOptions) (*Decrypted, error) {
	if opts == nil {
		opts = &DecryptOptions{}
	}
	return newMessage(r, identities, opts).decrypt()
}

// message is an envelope while it is read.
type message struct {
	*reader
	identities  []Identity
	opts        *DecryptOptions
	auth        bool // AuthEnvelopedData
	keys        []encryptedKey
	contentType asn1.ObjectIdentifier
	cipher      Cipher
	iv          []byte // or nonce
	tagSize     int
}

func newMessage(r io.Reader, identities []Identity, opts *DecryptOptions) *message {
	// Content in chunks of one byte takes three times its size.
	return &message{reader: newReader(r, 4*opts.maxContent()+readOverhead), identities: identities, opts: opts}
}

func (m *message) decrypt() (*Decrypted, error) {
	if err := m.readHeader(); err != nil {
		return nil, err
	}
	content, err := m.octets(tagContext0, m.opts.maxContent(), "encrypted content")
	if err != nil {
		return nil, err
	}
	if m.cipher.AEAD() {
		return m.decryptAEAD(content)
	}
	return m.decryptCBC(content)
}

// readHeader reads everything before the encrypted content.
func (m *message) readHeader() error {
	oid, err := m.readContentInfo()
	if err != nil {
		return err
	}
	switch {
	case oid.Equal(oidAuthEnvelopedData):
		m.auth = true
	case !oid.Equal(oidEnvelopedData):
		return unsupported("content type %v is not an encrypted message", oid)
	}
	if err := m.enter(tagSequence, "EnvelopedData"); err != nil {
		return err
	}
	if err := m.version(); err != nil {
		return err
	}
	if hasOriginator, err := m.next(tagContext0 | constructed); err != nil {
		return err
	} else if hasOriginator {
		if err := m.skip(); err != nil {
			return err
		}
	}
	if err := m.readRecipients(); err != nil {
		return err
	}
	return m.readContentAlgorithm()
}

// readContentInfo opens ContentInfo and its [0] content and returns the type (RFC 5652 section 3).
func (b *reader) readContentInfo() (asn1.ObjectIdentifier, error) {
	if err := b.enter(tagSequence, "ContentInfo"); err != nil {
		return nil, err
	}
	oid, err := b.oid("content type")
	if err != nil {
		return nil, err
	}
	return oid, b.enter(tagContext0|constructed, "content")
}

func (b *reader) oid(what string) (asn1.ObjectIdentifier, error) {
	der, err := b.element(maxSmall, what)
	if err != nil {
		return nil, err
	}
	var oid asn1.ObjectIdentifier
	if s := cryptobyte.String(der); !s.ReadASN1ObjectIdentifier(&oid) {
		return nil, syntaxError("%s is not an object identifier", what)
	}
	return oid, nil
}

// readRecipients keeps the keys that the identities may be able to use. Without one, the reason is reported here, before
// the content is read.
func (m *message) readRecipients() error {
	if err := m.enter(tagSet, "RecipientInfos"); err != nil {
		return err
	}
	var reason error
	for count := 0; ; count++ {
		_, ok, err := m.peek()
		if err != nil {
			return err
		}
		if !ok && count == 0 {
			return syntaxError("message has no recipients")
		}
		if !ok {
			break
		}
		if count == maxRecipients {
			return syntaxError("more than %d recipients", maxRecipients)
		}
		info, err := m.element(maxElement, "RecipientInfo")
		if err != nil {
			return err
		}
		keys, err := readRecipientInfo(info, m.identities)
		if err != nil && errors.Is(err, ErrUnsupported) {
			reason = err
		}
		if m.keys = append(m.keys, keys...); len(m.keys) > maxKeys {
			return syntaxError("more than %d keys for the same recipients", maxKeys)
		}
	}
	if len(m.keys) == 0 {
		return firstError(reason, ErrNoRecipient)
	}
	return m.leave("RecipientInfos")
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	return errs[i]
}

// readContentAlgorithm opens EncryptedContentInfo and stops before the content (RFC 5652 section 6.1).
func (m *message) readContentAlgorithm() error {
	if err := m.enter(tagSequence, "EncryptedContentInfo"); err != nil {
		return err
	}
	var err error
	if m.contentType, err = m.oid("type of the encrypted content"); err != nil {
		return err
	}
	der, err := m.element(4096, "content encryption algorithm")
	if err != nil {
		return err
	}
	s := cryptobyte.String(der)
	alg, err := readAlgorithm(&s)
	if err != nil {
		return err
	}
	c, ok := cipherByOID(alg.oid)
	switch {
	case !ok:
		return unsupported("content encryption algorithm %v", alg.oid)
	case c == DESEDE3CBC && !m.opts.AllowTripleDES:
		return unsupported("content is encrypted with %v, which is too weak", c)
	case c.AEAD() != m.auth:
		// EnvelopedData has no place for a tag, AuthEnvelopedData needs one (RFC 5084 section 1).
		return unsupported("%v in the wrong kind of envelope", c)
	}
	if err := requireAllowed(c.approved(), c.String()); err != nil {
		return err
	}
	m.cipher = c
	if err := m.readParameters(alg.parameters); err != nil {
		return err
	}
	if _, ok, err := m.peek(); err != nil {
		return err
	} else if !ok {
		return unsupported("encrypted content is not in the message")
	}
	return nil
}

// readParameters reads IV or nonce and tag size.
func (m *message) readParameters(s cryptobyte.String) error {
	var iv, seq cryptobyte.String
	if !m.cipher.AEAD() || m.cipher == ChaCha20Poly1305 {
		want := cipherKinds[m.cipher].blockSize
		if m.cipher == ChaCha20Poly1305 {
			want, m.tagSize = gcmNonceSize, maxTagSize // RFC 8103 section 4
		}
		if !s.ReadASN1(&iv, cryptobyte_asn1.OCTET_STRING) || !s.Empty() || len(iv) != want {
			return syntaxError("initialization vector of %v", m.cipher)
		}
		m.iv = iv
		return nil
	}
	m.tagSize = defaultTagSize
	if !s.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1(&iv, cryptobyte_asn1.OCTET_STRING) ||
		(!seq.Empty() && !seq.ReadASN1Integer(&m.tagSize)) || !seq.Empty() {
		return syntaxError("parameters of %v", m.cipher)
	}
	m.iv = iv
	switch {
	case len(iv) == 0 || len(iv) > maxNonceSize:
		return unsupported("nonce of %d bytes", len(iv))
	case m.tagSize < minTagSize || m.tagSize > maxTagSize:
		return unsupported("tag of %d bytes", m.tagSize)
	case len(iv) != gcmNonceSize && m.tagSize != maxTagSize:
		return unsupported("nonce of %d bytes together with a tag of %d", len(iv), m.tagSize)
	}
	return nil
}

// finish reads what follows EncryptedContentInfo, to the end of the input. last reads what stands inside the envelope.
func (m *message) finish(last func() error) error {
	if err := m.leave("EncryptedContentInfo"); err != nil {
		return err
	}
	if err := last(); err != nil {
		return err
	}
	for _, what := range []string{"EnvelopedData", "content", "ContentInfo"} {
		if err := m.leave(what); err != nil {
			return err
		}
	}
	return m.end()
}

// optional skips the next element if it is the one named by tag.
func (b *reader) optional(tag byte) error {
	ok, err := b.next(tag)
	if err != nil || !ok {
		return err
	}
	return b.skip()
}
