package smime

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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
}

func newCopy(certs []*x509.Certificate, opts *EncryptOptions) (*encryptedCopy, error) {
	g := &gate{}
	text := newBase64Writer(g, opts.ending())
	w, err := cms.Encrypt(text, certs, &cms.EncryptOptions{Cipher: opts.Cipher})
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
type copies []*encryptedCopy

// makeCopies prepares all copies, asks for all outputs, and then writes the outer headers.
func makeCopies(out Outputs, who *receivers, certs [][]*x509.Certificate, h header, opts *EncryptOptions) (copies, error) {
	var all copies
	main, blind := certs[:len(who.main)], certs[len(who.main):]
	if len(main) > 0 {
		if out.Main == nil {
			return nil, errors.New("encrypt the main copy: no output given for it")
		}
		together, owners := flatten(main)
		c, err := newCopy(together, opts)
		if err != nil {
			return nil, fmt.Errorf("encrypt the main copy: %w", named(err, who, owners))
		}
		all = append(all, c)
	}
	for i := range blind {
		c, err := newCopy(blind[i], opts)
		if err != nil {
			return nil, fmt.Errorf("encrypt the copy for %s: %w", who.blind[i], err)
		}
		all = append(all, c)
	}
	outputs, err := out.open(who)
	if err != nil {
		return nil, err
	}
	outer := opts.lines(outerHeader(h, opts.Cipher))
	for i, c := range all {
		if err := c.gate.open(outputs[i], bytes.Clone(outer)); err != nil {
			return nil, fmt.Errorf("write mail: %w", err)
		}
	}
	return all, nil
}

// open asks for the places of all copies, in their order.
func (o Outputs) open(who *receivers) (all []io.Writer, err error) {
	if len(who.main) > 0 {
		w, err := o.Main(who.main)
		if err != nil {
			return nil, fmt.Errorf("open the main copy: %w", err)
		}
		all = append(all, w)
	}
	for _, a := range who.blind {
		w, err := o.Blind(a)
		if err != nil {
			return nil, fmt.Errorf("open the copy for %s: %w", a, err)
		}
		all = append(all, w)
	}
	return all, nil
}

// flatten puts the certificates of several recipients into one list, each once, and says whose each is.
func flatten(lists [][]*x509.Certificate) (all []*x509.Certificate, owners []int) {
	have := map[string]bool{}
	for i, list := range lists {
		for _, cert := range list {
			if raw := string(cert.Raw); !have[raw] {
				have[raw] = true
				all, owners = append(all, cert), append(owners, i)
			}
		}
	}
	return all, owners
}

// named says whose certificate could not be used, when it was one's.
func named(err error, who *receivers, owners []int) error {
	var one *cms.RecipientError
	if errors.As(err, &one) && one.Index < len(owners) {
		return fmt.Errorf("certificate of %s: %w", who.main[owners[one.Index]], one.Err)
	}
	return err
}

// Write hands content to every copy.
func (c copies) Write(p []byte) (int, error) {
	for _, one := range c {
		if _, err := one.cms.Write(p); err != nil {
			return 0, fmt.Errorf("write mail: %w", err)
		}
	}
	return len(p), nil
}

// fill writes the inner entity: its header, and the body in canonical form.
func (c copies) fill(ctx context.Context, inner []byte, body io.Reader, encoding string) error {
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
func (c copies) fillSigned(s *signing, h header, body *bufio.Reader) error {
	out := bufio.NewWriterSize(c, blockSize)
	if err := errors.Join(s.entity(out, h, body), out.Flush()); err != nil {
		return fmt.Errorf("sign mail: %w", err)
	}
	return c.close()
}

func (c copies) close() error {
	for _, one := range c {
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
