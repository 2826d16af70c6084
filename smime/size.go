package smime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
)

// wrappingRoom is what signatures with their certificates, the keys of recipients and the headers around them may add, in bytes.
const wrappingRoom = 2 * maxSignature

// MaxWrapped is how many bytes a mail may have, as it arrives, whose content is limited to maxContent bytes: four times as
// many, and 16 MiB. Each base64 makes 78 bytes of 57, line ends included (1.37 times). What is not 7-bit text may be
// base64 inside already, and a mail may be signed, encrypted, and signed once more (RFC 2634): 1.37 to the fourth power is
// 3.51, and the rest is for LF that becomes CRLF.
func MaxWrapped(maxContent int64) int64 { return 4*maxContent + wrappingRoom }

// contentSize counts the bytes of a mail as its reader sees them: in every part without its transfer encoding, and one for
// a line end, be it LF or CRLF, so that a mail counts no more after it was signed or encrypted than before. The headers and
// delimiters of parts do not count. What is damaged counts as it stands.
type contentSize struct{ size, limit int64 }

// checkContent returns cms.ErrTooLarge when the content of e, which can be read again, is beyond limit.
func checkContent(e *entity, limit int64) error {
	body, err := e.buffered()
	if err != nil {
		return err
	}
	return (&contentSize{limit: limit}).entity(e.header, body, 0)
}

// checkBare does so for content that is no MIME entity.
func checkBare(r io.Reader, limit int64) error { return (&contentSize{limit: limit}).count(r) }

func (c *contentSize) entity(h header, body *bufio.Reader, depth int) error {
	kind, params, err := h.mediaType()
	if err != nil || depth > maxDepth {
		return c.count(body)
	}
	if strings.HasPrefix(kind, "multipart/") {
		parts, err := newSplitter(body, params["boundary"])
		if err != nil {
			return c.count(body)
		}
		return c.multipart(parts, body, depth)
	}
	switch encoding, err := h.transferEncoding(); {
	case err == nil && encoding == "base64":
		return c.decoded(newBase64Reader(body), body)
	case err == nil && encoding == "quoted-printable":
		return c.decoded(quotedprintable.NewReader(body), body)
	case kind == "message/rfc822":
		inner, err := readHeader(body)
		if err == nil {
			return c.entity(inner, body, depth+1)
		}
	}
	return c.count(body)
}

// multipart counts the preamble, the parts and what follows them.
func (c *contentSize) multipart(parts *splitter, body *bufio.Reader, depth int) error {
	if err := c.count(parts); err != nil {
		return err
	}
	for {
		more, err := parts.next()
		if errors.Is(err, ErrStructure) || err == nil && !more {
			return c.count(body)
		}
		if err != nil {
			return err
		}
		part := bufio.NewReaderSize(parts, blockSize)
		h, err := readHeader(part)
		if err == nil {
			err = c.entity(h, part, depth+1)
		} else if errors.Is(err, ErrHeader) {
			err = c.count(part)
		}
		if err != nil {
			return err
		}
	}
}

// decoded counts what r makes of body, and of a damaged body the rest as it stands.
func (c *contentSize) decoded(r io.Reader, body io.Reader) error {
	if err := c.count(r); errors.Is(err, cms.ErrTooLarge) {
		return err
	}
	return c.count(body)
}

func (c *contentSize) count(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{r}, make([]byte, blockSize))
	return err
}

// Write counts every byte but CR. A CR without LF is rare enough to be let off.
func (c *contentSize) Write(p []byte) (int, error) {
	if c.size += int64(len(p) - bytes.Count(p, []byte{'\r'})); c.size > c.limit {
		return 0, fmt.Errorf("%w: %d bytes", cms.ErrTooLarge, c.limit)
	}
	return len(p), nil
}
