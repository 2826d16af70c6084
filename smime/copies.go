package smime

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
)

// gate holds back what is written until it is opened, so that everything that can be refused is refused before the first
// byte leaves.
type gate struct {
	w    io.Writer // nil while closed
	held bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	if g.w == nil {
		return g.held.Write(p)
	}
	return g.w.Write(p)
}

func (g *gate) open(w io.Writer, first []byte) error {
	g.w = w
	if _, err := w.Write(append(first, g.held.Bytes()...)); err != nil {
		return err
	}
	g.held = bytes.Buffer{}
	return nil
}

// encryptedCopy is one outgoing mail: content → CMS → base64 → gate → output.
type encryptedCopy struct {
	cms  io.WriteCloser
	text *base64Writer
	gate *gate
	// whole reports that it needs the whole content at once, later that it gets it when the others are complete.
	whole, later bool
}

func newCopy(m Choice, opts *EncryptOptions) (*encryptedCopy, error) {
	g := &gate{}
	text := newBase64Writer(g, opts.ending())
	w, err := cms.Encrypt(text, m.certificates(), &cms.EncryptOptions{Cipher: m.Cipher})
	if err != nil {
		return nil, err
	}
	return &encryptedCopy{cms: w, text: text, gate: g}, nil
}

func (c *encryptedCopy) close() error {
	if err := c.cms.Close(); err != nil {
		return err
	}
	return c.text.Close()
}

// copies take the same content, each encrypted with a key of its own.
type copies struct {
	ctx  context.Context
	list []*encryptedCopy
	// content is kept for the copies that get it later; nil when there are none.
	content *memory
}

// add adds a copy. An AEAD cipher needs all of the content before it can begin: when several copies have one, all but the
// first get the content one after the other at the end, so that there are never more than two of it in memory.
func (c *copies) add(one *encryptedCopy, cipher cms.Cipher) {
	if one.later = cipher.AEAD() && c.aead(); one.later && c.content == nil {
		c.content = &memory{limit: math.MaxInt64}
	}
	one.whole = cipher.AEAD()
	c.list = append(c.list, one)
}

func (c *copies) aead() bool {
	return slices.ContainsFunc(c.list, func(one *encryptedCopy) bool { return one.whole })
}

// makeCopies prepares all copies, asks for all outputs, and then writes the outer headers.
func makeCopies(ctx context.Context, out Outputs, messages []Choice, h header, opts *EncryptOptions) (*copies, error) {
	all := &copies{ctx: ctx}
	for _, m := range messages {
		c, err := newCopy(m, opts)
		if err != nil {
			return nil, fmt.Errorf("encrypt the copy for %s: %w", m.name(), m.named(err))
		}
		all.add(c, m.Cipher)
	}
	outputs, err := out.open(messages)
	if err != nil {
		return nil, err
	}
	for i, c := range all.list {
		if err := c.gate.open(outputs[i], opts.lines(outerHeader(h, messages[i].Cipher))); err != nil {
			return nil, fmt.Errorf("write mail: %w", err)
		}
	}
	return all, nil
}

// open asks for the places of all copies, in their order.
func (o Outputs) open(messages []Choice) (all []io.Writer, err error) {
	for i := range messages {
		m := &messages[i]
		var w io.Writer
		switch {
		case m.Blind:
			w, err = o.Blind(m)
		case o.Main == nil:
			err = errors.New("no output given for it")
		default:
			w, err = o.Main(m)
		}
		if err != nil {
			return nil, fmt.Errorf("open the copy for %s: %w", m.name(), err)
		}
		all = append(all, w)
	}
	return all, nil
}

// name says whose copy this is.
func (c *Choice) name() string {
	if c.Blind {
		return string(c.Recipients[0])
	}
	return "To and Cc"
}

// named says whose certificate could not be used, when it was one's.
func (c *Choice) named(err error) error {
	var one *cms.RecipientError
	if errors.As(err, &one) && one.Index < len(c.keys) {
		return fmt.Errorf("certificate of %s: %w", c.keys[one.Index].who, one.Err)
	}
	return err
}

// Write hands content to every copy that does not get it later.
func (c *copies) Write(p []byte) (int, error) {
	if c.content != nil {
		if _, err := c.content.Write(p); err != nil {
			return 0, fmt.Errorf("write mail: %w", err)
		}
	}
	for _, one := range c.list {
		if one.later {
			continue
		}
		if _, err := one.cms.Write(p); err != nil {
			return 0, fmt.Errorf("write mail: %w", err)
		}
	}
	return len(p), nil
}

// fill writes the inner entity: its header, and the body in canonical form.
func (c *copies) fill(ctx context.Context, inner []byte, body io.Reader, encoding string) error {
	if _, err := c.Write(inner); err != nil {
		return err
	}
	text := newCRLFWriter(c)
	text.verbatim = encoding == "binary"
	if err := pump(ctx, text, body); err != nil {
		return err
	}
	if err := text.Flush(); err != nil {
		return err
	}
	return c.close()
}

// fillSigned writes the inner entity signed.
func (c *copies) fillSigned(s *signing, h header, body *bufio.Reader) error {
	out := bufio.NewWriterSize(c, blockSize)
	if err := errors.Join(s.entity(out, h, body), out.Flush()); err != nil {
		return fmt.Errorf("sign mail: %w", err)
	}
	return c.close()
}

func (c *copies) close() error {
	defer c.content.wipe()
	for _, one := range c.list {
		if one.later {
			if _, err := io.Copy(one.cms, &contextReader{c.ctx, &memoryReader{blocks: c.content.blocks}}); err != nil {
				return fmt.Errorf("write mail: %w", err)
			}
		}
		if err := one.close(); err != nil {
			return fmt.Errorf("write mail: %w", err)
		}
	}
	return nil
}

// pump copies until the end of r or of ctx.
func pump(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, blockSize)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
	}
}

// innerHeader are the Content- fields with the empty line after them.
func innerHeader(h header) []byte {
	return append(h.contentOrText().append(nil), "\r\n"...)
}

// outerHeader is the mail's header with the fields of the encrypted part (RFC 8551 section 3.2).
func outerHeader(h header, c cms.Cipher) []byte {
	kept := h.without("MIME-Version", "Bcc", "Resent-Bcc")
	kind := "enveloped-data"
	if c.Protection() == cms.Authenticated {
		kind = "authEnveloped-data"
	}
	return fmt.Appendf(kept.append(nil), "MIME-Version: 1.0\r\n"+
		"Content-Type: application/pkcs7-mime; smime-type=%s; name=\"smime.p7m\"\r\n"+
		"Content-Transfer-Encoding: base64\r\n"+
		"Content-Disposition: attachment; filename=\"smime.p7m\"\r\n"+
		"Content-Description: S/MIME encrypted message\r\n\r\n", kind)
}

func (o *EncryptOptions) ending() string {
	if o.LF {
		return "\n"
	}
	return "\r\n"
}

// lines gives text with CRLF the line ends that the caller wants.
func (o *EncryptOptions) lines(b []byte) []byte {
	if !o.LF {
		return b
	}
	return []byte(strings.ReplaceAll(string(b), "\r\n", "\n"))
}
