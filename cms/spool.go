package cms

import "io"

// Spool holds the ciphertext of one message between the two passes of decryption. What is written is ciphertext only, so
// it may be a file; the caller decides where. Writes end before the first ReadAt.
type Spool interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

const spoolBlock = 64 << 10

// memorySpool is a list of blocks, so that growing never copies.
type memorySpool struct {
	blocks [][]byte // of spoolBlock bytes, all full but the last
	size   int64
}

func (m *memorySpool) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		last := len(m.blocks) - 1
		if last < 0 || len(m.blocks[last]) == cap(m.blocks[last]) {
			m.blocks = append(m.blocks, make([]byte, 0, spoolBlock))
			continue
		}
		b := m.blocks[last]
		n := copy(b[len(b):cap(b)], p[written:])
		m.blocks[last] = b[:len(b)+n]
		written += n
	}
	m.size += int64(written)
	return written, nil
}

func (m *memorySpool) ReadAt(p []byte, off int64) (int, error) {
	read := 0
	for read < len(p) && off < m.size {
		n := copy(p[read:], m.blocks[off/spoolBlock][off%spoolBlock:])
		read += n
		off += int64(n)
	}
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

func (m *memorySpool) Close() error {
	m.blocks, m.size = nil, 0
	return nil
}
