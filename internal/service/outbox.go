package service

import (
	"errors"
	"io"
	"sync"
	"time"
)

const (
	outboxMemory = 512 << 10
	outboxChunk  = 64 << 10
)

// errAbandoned reports that the answer was given up.
var errAbandoned = errors.New("the answer was given up")

// outbox lets an answer be produced while the caller still sends. A simple caller sends its whole mail before it reads
// anything; without room in between, both sides would wait for each other. Bytes wait in a little memory, and when the
// caller does not take them for a while, in a spool. Bytes must be ciphertext.
//
// A reader that is slow but moves is waited for. One goroutine writes and closes, another one drains.
type outbox struct {
	spools *spools
	// patience is how long the writer waits for the reader before it spools.
	patience time.Duration

	mu    sync.Mutex
	moved *sync.Cond
	// mem[head:] waits in memory, and goes out before what is in the spool.
	mem  []byte
	head int
	// whole is the room of mem when that is not a small one.
	whole *[outboxMemory]byte
	// spool[read:written] waits in the spool; nil when there is none.
	spool         *meteredSpool
	read, written int64
	progress      time.Time // when bytes last went out, or the memory became full
	closed        bool      // no more bytes come
	flowing       bool      // bytes go out
	err           error     // nothing moves any more
}

func newOutbox(spools *spools, patience time.Duration) *outbox {
	o := &outbox{spools: spools, patience: patience, progress: time.Now()}
	o.moved = sync.NewCond(&o.mu)
	return o
}

// Write takes p, at once or when there is room.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := p
	for len(rest) > 0 && o.err == nil {
		room := outboxMemory - (len(o.mem) - o.head)
		switch {
		case o.spool == nil && room > 0:
			n := min(room, len(rest))
			o.keep(rest[:n])
			rest = rest[n:]
		case time.Since(o.progress) >= o.patience:
			if o.err = o.spill(rest); o.err == nil {
				rest = nil
			}
		default:
			o.waitFor(o.patience - time.Since(o.progress))
		}
		o.moved.Broadcast()
	}
	return len(p) - len(rest), o.err
}

// rooms are used again, so that large mails one after the other leave no garbage.
var rooms = sync.Pool{New: func() any { return new([outboxMemory]byte) }}

// room makes place for n bytes more. A short answer needs no more than a chunk.
func (o *outbox) room(n int) {
	if o.head > 0 && len(o.mem)+n > cap(o.mem) {
		o.mem = o.mem[:copy(o.mem, o.mem[o.head:])]
		o.head = 0
	}
	switch {
	case len(o.mem)+n <= cap(o.mem):
	case o.mem == nil && n <= outboxChunk:
		o.mem = make([]byte, 0, outboxChunk)
	default:
		o.whole = rooms.Get().(*[outboxMemory]byte)
		o.mem = append(o.whole[:0], o.mem...)
	}
}

func (o *outbox) keep(p []byte) {
	o.room(len(p))
	if o.mem = append(o.mem, p...); len(o.mem)-o.head == outboxMemory {
		o.progress = time.Now()
	}
}

func (o *outbox) spill(p []byte) error {
	if o.spool == nil {
		spool, err := o.spools.open()
		if err != nil {
			return err
		}
		o.spool, o.read, o.written = spool, 0, 0
	}
	n, err := o.spool.Write(p)
	o.written += int64(n)
	return err
}

// waitFor waits until something moved, or for d.
func (o *outbox) waitFor(d time.Duration) {
	timer := time.AfterFunc(d, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.moved.Broadcast()
	})
	o.moved.Wait()
	timer.Stop()
}

// Close says that nothing more comes.
func (o *outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.moved.Broadcast()
	return o.err
}

// abandon stops both sides. It reports whether bytes had begun to go out.
func (o *outbox) abandon() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = errAbandoned
	}
	o.moved.Broadcast()
	return o.flowing
}

// drain writes everything to w until the outbox is closed and empty. It holds back the first bytes until there are
// enough of them to matter, so that a short answer which goes wrong can still be refused properly.
func (o *outbox) drain(w io.Writer) error {
	buf := make([]byte, outboxChunk)
	for {
		n, err := o.next(buf)
		if err != nil || n == 0 {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			o.mu.Lock()
			o.err = err
			o.moved.Broadcast()
			o.mu.Unlock()
			return err
		}
	}
}

// next takes the next bytes; 0 means that there will be none.
func (o *outbox) next(buf []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && !o.ready() {
		o.moved.Wait()
	}
	o.progress = time.Now()
	if o.err != nil {
		return 0, o.err
	}
	o.moved.Broadcast()
	if o.head < len(o.mem) {
		n := copy(buf, o.mem[o.head:])
		o.flowing = true
		if o.head += n; o.head == len(o.mem) {
			o.mem, o.head = o.mem[:0], 0
		}
		return n, nil
	}
	return o.unspool(buf)
}

func (o *outbox) ready() bool {
	waiting := len(o.mem) - o.head
	return o.closed || o.spool != nil || waiting >= outboxChunk || o.flowing && waiting > 0
}

// unspool reads from the spool, and drops it when it is empty.
func (o *outbox) unspool(buf []byte) (int, error) {
	if o.spool == nil {
		return 0, nil
	}
	n, err := o.spool.ReadAt(buf[:min(int64(len(buf)), o.written-o.read)], o.read)
	if n == 0 && err != nil {
		o.err = err
		return 0, err
	}
	if o.read += int64(n); o.read == o.written {
		_ = o.spool.Close()
		o.spool = nil
	}
	o.flowing = true
	return n, nil
}

// release drops what is left. Both sides must have ended.
func (o *outbox) release() {
	if o.spool != nil {
		_ = o.spool.Close()
		o.spool = nil
	}
	if o.whole != nil {
		clear(o.whole[:])
		rooms.Put(o.whole)
		o.mem, o.whole = nil, nil
	}
}

// spools hands out spools of one request, together no larger than left.
type spools struct {
	make func() (Spool, error)
	mu   sync.Mutex
	left int64
}

// errSpoolFull reports that a caller left too much waiting.
var errSpoolFull = NewProblem(CodeTooLarge, "the encrypted copies that wait are larger than the limit",
	"read the answer while sending, or send fewer Bcc recipients at once")

func (s *spools) open() (*meteredSpool, error) {
	if s.make == nil {
		return &meteredSpool{Spool: &memorySpool{}, all: s}, nil
	}
	spool, err := s.make()
	if err != nil {
		return nil, err
	}
	return &meteredSpool{Spool: spool, all: s}, nil
}

// take reports whether n more bytes may wait; a negative n gives them back.
func (s *spools) take(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.left {
		return false
	}
	s.left -= n
	return true
}

// meteredSpool counts against the bound of its request.
type meteredSpool struct {
	Spool
	all  *spools
	size int64
}

func (m *meteredSpool) Write(p []byte) (int, error) {
	if !m.all.take(int64(len(p))) {
		return 0, errSpoolFull
	}
	m.size += int64(len(p))
	return m.Spool.Write(p)
}

func (m *meteredSpool) Close() error {
	m.all.take(-m.size)
	m.size = 0
	return m.Spool.Close()
}

// memorySpool is a Spool in memory.
type memorySpool struct{ data []byte }

func (m *memorySpool) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	return len(p), nil
}

func (m *memorySpool) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memorySpool) Close() error {
	m.data = nil
	return nil
}
