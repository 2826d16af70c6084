package cms

import (
	"bytes"
	"runtime"
	"testing"
)

func TestRegion(t *testing.T) {
	for _, size := range []int64{-1, 0, 10, copyBuffer, 3 * copyBuffer} {
		r := newRegion(size)
		var want []byte
		for i := range 10 {
			p := bytes.Repeat([]byte{byte(i)}, copyBuffer)
			r.append(p)
			want = append(want, p...)
		}
		if !bytes.Equal(r.data, want) {
			t.Errorf("%d: other content", size)
		}
		r.release()
		r.release()
	}
	runtime.KeepAlive(newRegion(-1)) // dropped: the collector gives it back
	runtime.GC()
}
