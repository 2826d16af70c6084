package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
)

// Layout of a bbolt file, version 2: pages of a fixed size; page 0 and 1 are the two copies of the meta page, the valid
// one with the higher transaction number counts. Numbers are in the byte order of the machine, which is little endian on
// everything we build for.
const (
	pageHeader     = 16 // id (8), flags (2), count (2), overflow (4)
	elementSize    = 16 // branch: pos (4), ksize (4), child (8); leaf: flags (4), pos (4), ksize (4), vsize (4)
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagMeta       = 0x04
	flagFreelist   = 0x10
	leafIsBucket   = 0x01
	bucketHeader   = 16 // root page (8), sequence (8)
	metaMagic      = 0xED0CDAED
	metaVersion    = 2
	noFreelist     = ^uint64(0)
	maxPageDepth   = 64
	maxPageSize    = 64 << 10
	defaultPage    = 4096
	metaChecksumAt = 56
)

// Verify checks a cache file that nobody has open (else it returns ErrInUse): both that every page which the tree reaches is in order, so that bbolt
// can be let near it, and that every record has its checksum. It reads the file and maps nothing, so that whatever is
// wrong comes as an error that wraps ErrDamaged. An empty file is in order; bbolt makes a new one of it.
func Verify(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() == 0 {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// bbolt holds this lock exclusively. Pages that another process is about to write would be taken for damaged.
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrInUse
	case err != nil:
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return verifyFile(context.Background(), f, nil)
}

// verifyFile verifies the state that m describes, or the last one.
func verifyFile(ctx context.Context, f *os.File, m *meta) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return verify(ctx, f, info.Size(), m)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

type meta struct {
	pageSize, root, freelist, pages, txid uint64
}

type verifier struct {
	ctx  context.Context
	file io.ReaderAt
	size int64
	meta meta
	used []byte // one bit per page
}

func verify(ctx context.Context, file io.ReaderAt, size int64, m *meta) error {
	if m == nil {
		found, err := findMeta(file, size)
		if err != nil {
			return err
		}
		m = &found
	}
	if m.pages > uint64(size)/m.pageSize {
		return damaged("the file is cut off: %d of %d pages are there", uint64(size)/m.pageSize, m.pages)
	}
	v := &verifier{ctx: ctx, file: file, size: size, meta: *m, used: make([]byte, m.pages/8+1)}
	v.used[0] |= 3
	if m.freelist != noFreelist {
		if err := v.freelist(m.freelist); err != nil {
			return err
		}
	}
	return v.topLevel(m.root)
}

// findMeta returns the meta page that counts.
func findMeta(file io.ReaderAt, size int64) (meta, error) {
	var best meta
	found := false
	for _, at := range []int64{0, defaultPage, 2 * defaultPage, 4 * defaultPage, 8 * defaultPage, 16 * defaultPage} {
		b := make([]byte, pageHeader+metaChecksumAt+8)
		if at+int64(len(b)) > size {
			break
		}
		if _, err := file.ReadAt(b, at); err != nil {
			return best, err
		}
		m, ok := parseMeta(b)
		if ok && (at == 0 || uint64(at) == m.pageSize) && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	if !found {
		return best, damaged("no valid meta page")
	}
	return best, nil
}

func parseMeta(page []byte) (m meta, ok bool) {
	b := page[pageHeader:]
	le := binary.LittleEndian
	h := fnv.New64a()
	h.Write(b[:metaChecksumAt])
	m = meta{pageSize: uint64(le.Uint32(b[8:])), root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:])}
	ok = le.Uint32(b) == metaMagic && le.Uint32(b[4:]) == metaVersion && h.Sum64() == le.Uint64(b[metaChecksumAt:]) &&
		m.pageSize >= 1024 && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
	return m, ok
}

// page reads a page with its overflow, and marks it as used: nothing else may lead to it.
func (v *verifier) page(id uint64) ([]byte, error) {
	if err := v.ctx.Err(); err != nil {
		return nil, err
	}
	if id < 2 || id >= v.meta.pages {
		return nil, damaged("page %d is outside of the file", id)
	}
	header := make([]byte, pageHeader)
	at := int64(id * v.meta.pageSize)
	if _, err := v.file.ReadAt(header, at); err != nil {
		return nil, damaged("page %d: %v", id, err)
	}
	le := binary.LittleEndian
	overflow := uint64(le.Uint32(header[12:]))
	if got := le.Uint64(header); got != id {
		return nil, damaged("page %d says that it is page %d", id, got)
	}
	if overflow >= v.meta.pages-id || (overflow+1)*v.meta.pageSize > maxRecord*2 {
		return nil, damaged("page %d is longer than can be", id)
	}
	for i := id; i <= id+overflow; i++ {
		if v.used[i/8]&(1<<(i%8)) != 0 {
			return nil, damaged("page %d is used twice", i)
		}
		v.used[i/8] |= 1 << (i % 8)
	}
	b := make([]byte, (overflow+1)*v.meta.pageSize)
	if _, err := v.file.ReadAt(b, at); err != nil {
		return nil, damaged("page %d: %v", id, err)
	}
	return b, nil
}

func (v *verifier) freelist(id uint64) error {
	b, err := v.page(id)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint16(b[8:]) != flagFreelist {
		return damaged("page %d is not a free list", id)
	}
	n, at := uint64(le.Uint16(b[10:])), uint64(pageHeader)
	if n == 0xFFFF {
		n, at = le.Uint64(b[at:]), at+8
	}
	if n > (uint64(len(b))-at)/8 {
		return damaged("free list is longer than its page")
	}
	var last uint64
	for ; n > 0; n, at = n-1, at+8 {
		free := le.Uint64(b[at:])
		if free <= max(last, 1) || free >= v.meta.pages {
			return damaged("free list names page %d", free)
		}
		last = free
		v.used[free/8] |= 1 << (free % 8)
	}
	return nil
}

// walker goes through one tree of pages in order of keys.
type walker struct {
	*verifier
	last []byte // the key before; nil at first
	leaf func(flags uint32, key, value []byte) error
}

func (v *verifier) tree(root uint64, leaf func(flags uint32, key, value []byte) error) error {
	w := &walker{verifier: v, leaf: leaf}
	return w.subtree(root, 0, nil)
}

// subtree verifies the page id and all below it; first is the key by which the branch above knows it.
func (w *walker) subtree(id uint64, depth int, first []byte) error {
	if depth > maxPageDepth {
		return damaged("pages are nested too deeply")
	}
	b, err := w.page(id)
	if err != nil {
		return err
	}
	return w.elements(id, b, depth, first)
}

func (w *walker) elements(id uint64, b []byte, depth int, first []byte) error {
	le := binary.LittleEndian
	flags, n := le.Uint16(b[8:]), int(le.Uint16(b[10:]))
	if flags != flagBranch && flags != flagLeaf {
		return damaged("page %d has flags %#x", id, flags)
	}
	if pageHeader+n*elementSize > len(b) || flags == flagBranch && n == 0 {
		return damaged("page %d has %d elements", id, n)
	}
	for i := range n {
		kind, key, value, err := element(b, flags, i, n)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		// A search goes down where the branch's keys send it: every key must be where it is looked for.
		if bytes.Compare(key, first) < 0 || flags == flagBranch && i > 0 && bytes.Compare(key, w.last) <= 0 {
			return damaged("page %d is not where its keys are looked for", id)
		}
		if flags == flagBranch {
			err = w.subtree(le.Uint64(b[pageHeader+i*elementSize+8:]), depth+1, key)
		} else {
			err = w.next(kind, key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) next(flags uint32, key, value []byte) error {
	if w.last != nil && bytes.Compare(w.last, key) >= 0 {
		return damaged("keys are out of order")
	}
	w.last = append(w.last[:0], key...)
	return w.leaf(flags, key, value)
}

// element i of the n elements of a page.
func element(b []byte, page uint16, i, n int) (flags uint32, key, value []byte, err error) {
	le := binary.LittleEndian
	at := pageHeader + i*elementSize
	e := b[at : at+elementSize]
	pos, ksize, vsize := le.Uint32(e), le.Uint32(e[4:]), uint32(0)
	if page == flagLeaf {
		flags, pos, ksize, vsize = le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])
	}
	start := uint64(at) + uint64(pos)
	middle := start + uint64(ksize)
	end := middle + uint64(vsize)
	if start < uint64(pageHeader+n*elementSize) || end > uint64(len(b)) {
		return 0, nil, nil, damaged("element %d is outside of it", i)
	}
	return flags, b[start:middle], b[middle:end], nil
}

// topLevel verifies the buckets: "meta" first, because it says which schema the others have.
func (v *verifier) topLevel(root uint64) error {
	found := map[string][]byte{}
	err := v.tree(root, func(flags uint32, key, value []byte) error {
		if flags != leafIsBucket || len(value) < bucketHeader {
			return damaged("%q is not a bucket", key)
		}
		found[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	numbers := map[string]uint64{}
	err = v.bucket(found, bucketMeta, func(key, value []byte) (err error) {
		numbers[string(key)], err = parseNumber(value)
		return err
	})
	if err == nil {
		err = checkSchema(numbers["schema"])
	}
	if err != nil {
		return err
	}
	for _, name := range buckets[1:] {
		if err := v.sum(found, name, numbers); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return nil
}

// sum verifies one bucket: each value, and that nothing is missing or too much.
func (v *verifier) sum(found map[string][]byte, name []byte, numbers map[string]uint64) error {
	var sum, count uint64
	err := v.bucket(found, name, func(key, value []byte) error {
		sum += sumOf(key, value)
		count++
		return checkValue(name, value)
	})
	if err != nil {
		return err
	}
	if sum != numbers[sumKey(name)] || bytes.Equal(name, bucketEntries) && count != numbers["entries"] {
		return damaged("its sum is not that of its content")
	}
	return nil
}

// bucket calls f for each key and value of a bucket.
func (v *verifier) bucket(found map[string][]byte, name []byte, f func(key, value []byte) error) error {
	value, ok := found[string(name)]
	if !ok {
		return damaged("bucket %s is not there", name)
	}
	leaf := func(flags uint32, key, value []byte) error {
		if flags != 0 || len(key) == 0 {
			return damaged("an element of another kind")
		}
		return f(key, value)
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return v.tree(root, leaf)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != flagLeaf {
		return damaged("bucket %s has a page of another kind", name)
	}
	w := &walker{verifier: v, leaf: leaf}
	return w.elements(0, inline, 1, nil)
}

// checkValue verifies the checksum of a value.
func checkValue(bucket, value []byte) error {
	switch string(bucket) {
	case string(bucketEntries), string(bucketLosses):
		if len(value) == 0 && bytes.Equal(bucket, bucketLosses) {
			return nil
		}
		_, _, err := checkRecord(value)
		return err
	case string(bucketGroups):
		if len(value) == 0 {
			return nil
		}
		fallthrough
	case string(bucketIntermediates), string(bucketState), string(bucketContacts), string(bucketRevocations):
		_, err := unseal(value)
		return err
	}
	return nil
}
