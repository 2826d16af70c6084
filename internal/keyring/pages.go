package keyring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its file: a wrong number in it is a panic or a fault, and a live page in the list of free ones is overwritten
// later. So the file is verified here first, on a copy in memory, by bbolt's own format (version 2): both meta pages, every
// page reachable exactly once, keys in order, and every other page in the free list.

const (
	// maxFile is the largest keyring read, in bytes.
	maxFile = 64 << 20

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	headerSize  = 16 // of a page and of an element
	metaSize    = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	// manyFree in the count of a free list says that the first number is the count.
	manyFree = 0xFFFF
	// maxDepth bounds the levels of pages and buckets.
	maxDepth = 32
)

// boltFile is a whole file in memory. bbolt writes numbers in the byte order of the machine.
type boltFile struct {
	data     []byte
	pageSize int
	pages    uint64 // the high-water mark: pages in use or free
	seen     map[uint64]bool
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// verifyPages reads the file and returns ErrDamaged when bbolt could stumble over it.
func verifyPages(f *os.File) error {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile+1))
	if err != nil {
		return err
	}
	return verifyBolt(data)
}

func verifyBolt(data []byte) error {
	if len(data) > maxFile {
		return damaged("the file is larger than %d bytes", maxFile)
	}
	b := &boltFile{data: data, seen: map[uint64]bool{}}
	root, freelist, err := b.metas()
	if err != nil {
		return err
	}
	if err := b.tree(root, nil, nil, 0); err != nil {
		return err
	}
	return b.free(freelist)
}

// metas checks both meta pages and returns where the newer one points. Both have to be good: bbolt would fall back to the
// older state when the newer page is bad, and so lose the last change without a word. A crash cannot leave a bad one, as
// all of it lies in one sector.
func (b *boltFile) metas() (root, freelist uint64, err error) {
	if len(b.data) < headerSize+metaSize {
		return 0, 0, damaged("the file is cut short")
	}
	b.pageSize = int(binary.NativeEndian.Uint32(b.data[headerSize+8:]))
	if b.pageSize < 512 || b.pageSize > 1<<16 || b.pageSize&(b.pageSize-1) != 0 || len(b.data) < 4*b.pageSize {
		return 0, 0, damaged("the page size is wrong or the file is cut short")
	}
	newest := uint64(0)
	for i := range uint64(2) {
		page := b.data[int(i)*b.pageSize:][:b.pageSize]
		m := page[headerSize:][:metaSize]
		h := fnv.New64a()
		h.Write(m[:metaSize-8])
		good := binary.NativeEndian.Uint64(page) == i && binary.NativeEndian.Uint16(page[8:]) == flagMeta &&
			binary.NativeEndian.Uint32(m) == boltMagic && binary.NativeEndian.Uint32(m[4:]) == boltVersion &&
			int(binary.NativeEndian.Uint32(m[8:])) == b.pageSize && binary.NativeEndian.Uint64(m[56:]) == h.Sum64()
		if !good {
			return 0, 0, damaged("head page %d is wrong", i)
		}
		if txid := binary.NativeEndian.Uint64(m[48:]); i == 0 || txid > newest {
			newest = txid
			root, freelist, b.pages = binary.NativeEndian.Uint64(m[16:]), binary.NativeEndian.Uint64(m[32:]), binary.NativeEndian.Uint64(m[40:])
		}
		b.seen[i] = true
	}
	if b.pages > uint64(len(b.data)/b.pageSize) {
		return 0, 0, damaged("the file is cut short")
	}
	return root, freelist, nil
}

// page returns a page with its overflow pages and enters all of them as seen.
func (b *boltFile) page(id uint64) (page []byte, err error) {
	if id < 2 || id >= b.pages {
		return nil, damaged("page %d does not exist", id)
	}
	head := b.data[int(id)*b.pageSize:]
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || overflow >= b.pages-id {
		return nil, damaged("page %d has a wrong head", id)
	}
	for i := id; i <= id+overflow; i++ {
		if b.seen[i] {
			return nil, damaged("page %d is used twice", i)
		}
		b.seen[i] = true
	}
	return head[:int(overflow+1)*b.pageSize], nil
}

// tree verifies the pages of a bucket below id, whose keys lie in [low, high); nil is no bound.
func (b *boltFile) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return damaged("pages are nested too deeply")
	}
	page, err := b.page(id)
	if err != nil {
		return err
	}
	switch binary.NativeEndian.Uint16(page[8:]) {
	case flagLeaf:
		return b.leaf(page, low, high, depth)
	case flagBranch:
		return b.branch(page, low, high, depth)
	}
	return damaged("page %d is of a wrong kind", id)
}

func (b *boltFile) branch(page, low, high []byte, depth int) error {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 || headerSize+count*headerSize > len(page) {
		return damaged("a branch page has a wrong count")
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := headerSize + i*headerSize
		key, ok := part(page, at, binary.NativeEndian.Uint32(page[at:]), binary.NativeEndian.Uint32(page[at+4:]))
		if !ok {
			return damaged("a branch page points outside of itself")
		}
		keys[i], children[i] = key, binary.NativeEndian.Uint64(page[at+8:])
	}
	if err := ordered(keys, low, high); err != nil {
		return err
	}
	for i, child := range children {
		next := high
		if i+1 < count {
			next = keys[i+1]
		}
		if err := b.tree(child, keys[i], next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *boltFile) leaf(page, low, high []byte, depth int) error {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if headerSize+count*headerSize > len(page) {
		return damaged("a leaf page has a wrong count")
	}
	keys := make([][]byte, count)
	for i := range count {
		at := headerSize + i*headerSize
		kind, pos := binary.NativeEndian.Uint32(page[at:]), binary.NativeEndian.Uint32(page[at+4:])
		ksize, vsize := binary.NativeEndian.Uint32(page[at+8:]), binary.NativeEndian.Uint32(page[at+12:])
		key, keyOK := part(page, at, pos, ksize)
		if !keyOK || len(key) == 0 || kind > 1 {
			return damaged("a leaf page points outside of itself")
		}
		value, valueOK := part(page, at, pos+ksize, vsize)
		if !valueOK {
			return damaged("a leaf page points outside of itself")
		}
		keys[i] = key
		if kind == 1 {
			if err := b.bucket(value, depth+1); err != nil {
				return err
			}
		}
	}
	return ordered(keys, low, high)
}

// bucket verifies a nested bucket: the number of its root page, or the page itself inside of the value.
func (b *boltFile) bucket(value []byte, depth int) error {
	if len(value) < headerSize {
		return damaged("a bucket is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return b.tree(root, nil, nil, depth)
	}
	page := value[headerSize:]
	if depth > maxDepth || len(page) < headerSize || binary.NativeEndian.Uint16(page[8:]) != flagLeaf ||
		binary.NativeEndian.Uint64(page) != 0 || binary.NativeEndian.Uint32(page[12:]) != 0 {
		return damaged("a bucket is of a wrong kind")
	}
	return b.leaf(page, nil, nil, depth)
}

// free verifies that the free list holds every page that was not reached, once, and no other.
func (b *boltFile) free(id uint64) error {
	page, err := b.page(id)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(page[8:]) != flagFreelist {
		return damaged("the free list is of a wrong kind")
	}
	count, list := uint64(binary.NativeEndian.Uint16(page[10:])), page[headerSize:]
	if count == manyFree {
		count, list = binary.NativeEndian.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return damaged("the free list is cut short")
	}
	for i := range count {
		free := binary.NativeEndian.Uint64(list[i*8:])
		if free >= b.pages || b.seen[free] {
			return damaged("page %d is in the free list and in use, or twice in it", free)
		}
		b.seen[free] = true
	}
	if uint64(len(b.seen)) != b.pages {
		return damaged("%d pages are neither in use nor free", b.pages-uint64(len(b.seen)))
	}
	return nil
}

// part returns size bytes at offset pos from the element at position at.
func part(page []byte, at int, pos, size uint32) ([]byte, bool) {
	begin := uint64(at) + uint64(pos)
	if begin+uint64(size) > uint64(len(page)) {
		return nil, false
	}
	return page[begin : begin+uint64(size)], true
}

// ordered reports keys that do not grow, or that lie outside of [low, high). The first one has to be low itself: when a page
// changes, bbolt looks for its first key in the page above, and would enter it twice if that had another one.
func ordered(keys [][]byte, low, high []byte) error {
	if low != nil && (len(keys) == 0 || !bytes.Equal(keys[0], low)) {
		return damaged("a page does not begin where the one above says")
	}
	for i, key := range keys {
		if i > 0 && bytes.Compare(keys[i-1], key) >= 0 || bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return damaged("keys are out of order")
		}
	}
	return nil
}
