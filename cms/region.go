package cms

import "runtime"

// region collects content of unknown size that an AEAD cipher needs in one piece. It grows without copying, so that it takes
// no more memory than what it holds, up to regionSize; beyond, and where the system cannot reserve room, as a slice does.
type region struct {
	data   []byte
	mapped []byte // nil: data is on the heap
	free   func([]byte)
	guard  runtime.Cleanup
}

// regionSize is how much room is reserved for content whose size is not known, in bytes.
const regionSize = 256 << 20

// newRegion makes room for size bytes; -1 when the size is not known.
func newRegion(size int64) *region {
	r := &region{}
	if size < 0 {
		size = regionSize
	}
	if size < copyBuffer {
		r.data = make([]byte, 0, size)
		return r
	}
	if r.mapped, r.free = reserve(size); r.mapped != nil {
		r.data = r.mapped[:0]
		r.guard = runtime.AddCleanup(r, r.free, r.mapped) // of a writer that was dropped
	}
	return r
}

// append adds p.
func (r *region) append(p []byte) {
	if r.mapped == nil || len(r.data)+len(p) <= cap(r.data) {
		r.data = append(r.data, p...)
		return
	}
	larger := append(make([]byte, 0, 2*cap(r.data)), r.data...)
	r.release()
	r.data = append(larger, p...)
}

// release wipes the content and gives the memory back. No slice of data may be used afterwards.
func (r *region) release() {
	if r.mapped != nil {
		r.guard.Stop()
		r.free(r.mapped)
		r.mapped = nil
	} else {
		clear(r.data)
	}
	r.data = nil
}
