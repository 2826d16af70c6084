package smime

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/galsyncd/galsyncd/cms"
)

// source opens bytes for reading from their beginning. Unless it says otherwise it can be opened again, but only one
// reader of it may be in use.
type source func() (io.Reader, error)

// memory holds bytes that have to be read more than once. Growing it never copies.
type memory struct {
	blocks      [][]byte // of memoryBlock bytes, all full but the last
	size, limit int64
}

const memoryBlock = 64 << 10

// Write stores p. Beyond the limit it is cms.ErrTooLarge.
func (m *memory) Write(p []byte) (int, error) {
	if m.size += int64(len(p)); m.size > m.limit {
		return 0, cms.ErrTooLarge
	}
	for rest := p; len(rest) > 0; {
		last := len(m.blocks) - 1
		if last < 0 || len(m.blocks[last]) == memoryBlock {
			m.blocks = append(m.blocks, make([]byte, 0, memoryBlock))
			continue
		}
		b := m.blocks[last]
		n := copy(b[len(b):memoryBlock], rest)
		m.blocks[last], rest = b[:len(b)+n], rest[n:]
	}
	return len(p), nil
}

func (m *memory) open() (io.Reader, error) { return &memoryReader{blocks: m.blocks}, nil }

// wipe forgets what was stored; m may be nil.
func (m *memory) wipe() {
	if m == nil {
		return
	}
	for _, b := range m.blocks {
		clear(b)
	}
	m.blocks = nil
}

type memoryReader struct {
	blocks [][]byte
	offset int // in the first block
}

func (m *memoryReader) Read(p []byte) (int, error) {
	if len(m.blocks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.blocks[0][m.offset:])
	if m.offset += n; m.offset == len(m.blocks[0]) {
		m.blocks, m.offset = m.blocks[1:], 0
	}
	return n, nil
}

// entity is a MIME entity.
type entity struct {
	header header
	// body is a source that can be opened again only when again is true.
	body  source
	again bool
}

// parse reads an entity's header.
func parse(src source) (*entity, error) {
	open := func() (*bufio.Reader, header, error) {
		r, err := src()
		if err != nil {
			return nil, nil, err
		}
		in := bufio.NewReaderSize(r, blockSize)
		h, err := readHeader(in)
		return in, h, err
	}
	_, h, err := open()
	if err != nil {
		return nil, err
	}
	return &entity{header: h, again: true, body: func() (io.Reader, error) {
		in, _, err := open()
		return in, err
	}}, nil
}

// keep makes the body of e readable more than once.
func (e *entity) keep(limit int64) error {
	if e.again {
		return nil
	}
	r, err := e.body()
	if err != nil {
		return err
	}
	m := &memory{limit: limit}
	if _, err := io.CopyBuffer(struct{ io.Writer }{m}, struct{ io.Reader }{r}, make([]byte, blockSize)); err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	e.body, e.again = m.open, true
	return nil
}

// stream is the entity whose header was read from in already; its body can be read once.
func stream(h header, in *bufio.Reader) *entity {
	used := false
	return &entity{header: h, body: func() (io.Reader, error) {
		if used {
			return nil, errors.New("read mail: its body is read a second time")
		}
		used = true
		return in, nil
	}}
}

// buffered opens the body.
func (e *entity) buffered() (*bufio.Reader, error) {
	r, err := e.body()
	if err != nil {
		return nil, err
	}
	if b, ok := r.(*bufio.Reader); ok {
		return b, nil
	}
	return bufio.NewReaderSize(r, blockSize), nil
}
