package smime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/galsyncd/galsyncd/cms"
)

// plainMail puts the header of an encrypted mail and its decrypted content together.
type plainMail struct {
	ctx   context.Context
	w     io.Writer
	lf    bool
	outer header
	// entity is what was decrypted; nil when it is no MIME entity, and then content is all of it.
	entity  *entity
	content *cms.Decrypted
}

func (m *plainMail) write() error {
	if m.entity == nil {
		return m.writeBare()
	}
	encoding, err := m.entity.header.transferEncoding()
	if err != nil {
		encoding = ""
	}
	return m.writeMail(innerHeader(m.entity.header), encoding == "binary", func(w io.Writer) error {
		body, err := m.entity.body()
		if err != nil {
			return err
		}
		return pump(m.ctx, w, body)
	})
}

// writeMail writes the outer fields, the header of the content, and the body.
func (m *plainMail) writeMail(inner []byte, binary bool, body func(io.Writer) error) error {
	outer := m.outer.without()
	if !outer.has("MIME-Version") {
		outer = append(outer, field{"MIME-Version", []byte("MIME-Version: 1.0\r\n")})
	}
	buffered := bufio.NewWriterSize(m.w, blockSize)
	lines := &lfWriter{w: buffered}
	var text, content io.Writer = buffered, buffered
	if m.lf {
		text = lines
		if !binary {
			content = lines
		}
	}
	if _, err := text.Write(append(outer.append(nil), inner...)); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	if err := body(content); err != nil {
		return err
	}
	if err := errors.Join(lines.Flush(), buffered.Flush()); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	return nil
}

// writeBare writes content that is no MIME entity.
func (m *plainMail) writeBare() error {
	m.content.Rewind()
	isText, err := utf8Text(&contextReader{m.ctx, m.content})
	if err != nil {
		return fmt.Errorf("read decrypted mail: %w", err)
	}
	m.content.Rewind()
	if isText {
		return m.writeMail([]byte("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"), false, func(w io.Writer) error {
			return pump(m.ctx, w, m.content)
		})
	}
	return m.writeMail([]byte("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"), false, func(w io.Writer) error {
		text := newBase64Writer(w, "\r\n")
		if err := pump(m.ctx, text, m.content); err != nil {
			return err
		}
		return text.Close()
	})
}

// utf8Text reports whether all of r is UTF-8 without control characters that no text has.
func utf8Text(r io.Reader) (bool, error) {
	in := bufio.NewReaderSize(r, blockSize)
	for {
		c, size, err := in.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		case c == utf8.RuneError && size == 1, c < ' ' && !strings.ContainsRune("\t\r\n\f", c):
			return false, nil
		}
	}
}
