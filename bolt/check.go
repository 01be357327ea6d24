package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts the pages of its file: one that is damaged makes it panic, fault, or run in a circle until its stack is
// used up, some of it in goroutines where nobody can recover. So Open walks all pages first, with a reader that trusts
// nothing. It checks what bbolt relies on: that each page is what its parent says, within the file, used
// once, and holds keys in order. It does not read what the values mean; records have a checksum of their own.
//
// The file format is that of bbolt's internal/common: numbers in the byte order of the machine.

const (
	pageHeader  = 16 // id u64, flags u16, count u16, overflow u32
	elementSize = 16 // leaf: flags, pos, key size, value size, all u32; branch: pos u32, key size u32, page u64
	bucketHead  = 16 // root page u64, sequence u64; a root of 0 is followed by the page itself
	metaSize    = 64
	metaMagic   = 0xED0CDAED

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	noFreelist   = ^uint64(0)

	maxDepth = 64
)

var order = binary.NativeEndian

type meta struct {
	pageSize, root, freelist, pages, txid uint64
}

// readMeta reads the meta page at the front of b; ok is false if it is not a valid one.
func readMeta(b []byte) (m meta, ok bool) {
	if len(b) < pageHeader+metaSize {
		return m, false
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m = meta{
		pageSize: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	return m, order.Uint32(b) == metaMagic && order.Uint64(b[56:]) == sum.Sum64() && m.pageSize >= 512 && m.pageSize <= 1<<24
}

// checkPages walks the database in f, which nobody is writing to.
func checkPages(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := newestMeta(f)
	if err != nil {
		return err
	}
	c := checker{f: f, meta: m}
	// The file may be longer than the pages in use, but not shorter. Compare by division: a product could overflow.
	if m.pages > uint64(info.Size())/m.pageSize {
		return fmt.Errorf("%w: cut short at %d bytes", ErrDamaged, info.Size())
	}
	c.used = make([]bool, m.pages)
	if err := c.tree(m.root, nil, nil, 0); err != nil {
		return err
	}
	if m.freelist != noFreelist {
		return c.freelist()
	}
	return nil
}

// newestMeta returns the meta page that bbolt will use. The second one is a page into the file, of which the size is in
// the first; when that is unreadable, page sizes are tried as bbolt tries them.
func newestMeta(f *os.File) (best meta, err error) {
	found := false
	look := func(at int64) (uint64, error) {
		b := make([]byte, pageHeader+metaSize)
		if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		m, ok := readMeta(b)
		if ok && (!found || m.txid > best.txid) {
			found, best = true, m
		}
		if !ok {
			return 0, nil
		}
		return m.pageSize, nil
	}
	size, err := look(0)
	if err != nil {
		return best, err
	}
	if size != 0 {
		_, err = look(int64(size))
	} else {
		for at := int64(1024); at <= 1024<<14 && !found && err == nil; at *= 2 {
			_, err = look(at)
		}
	}
	if err == nil && !found {
		err = fmt.Errorf("%w: it has no valid meta page", ErrDamaged)
	}
	return best, err
}

type checker struct {
	f    *os.File
	meta meta
	used []bool
}

func damagedPage(id uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, what)
}

// page reads a page with its overflow, which nobody else may use.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.meta.pages {
		return nil, damagedPage(id, "out of range")
	}
	head := make([]byte, c.meta.pageSize)
	if _, err := c.f.ReadAt(head, int64(id*c.meta.pageSize)); err != nil {
		return nil, fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	if order.Uint64(head) != id {
		return nil, damagedPage(id, "says that it is another")
	}
	more := uint64(order.Uint32(head[12:]))
	if more >= c.meta.pages-id {
		return nil, damagedPage(id, "runs beyond the end")
	}
	for i := id; i <= id+more; i++ {
		if c.used[i] {
			return nil, damagedPage(i, "is used twice")
		}
		c.used[i] = true
	}
	if more == 0 {
		return head, nil
	}
	b := make([]byte, (more+1)*c.meta.pageSize)
	if _, err := c.f.ReadAt(b, int64(id*c.meta.pageSize)); err != nil {
		return nil, fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	return b, nil
}

// tree checks the page and all below it; its keys are in [low, high), nil for no bound.
func (c *checker) tree(id uint64, low, high []byte, depth int) error {
	b, err := c.page(id)
	if err != nil {
		return err
	}
	return c.node(id, b, low, high, depth)
}

func (c *checker) node(id uint64, b, low, high []byte, depth int) error {
	if depth > maxDepth {
		return damagedPage(id, "too deep")
	}
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != branchFlag && flags != leafFlag || flags == branchFlag && count == 0 {
		return damagedPage(id, "is not a tree page")
	}
	if pageHeader+count*elementSize > len(b) {
		return damagedPage(id, "has too many elements")
	}
	var children []uint64
	keys := make([][]byte, count)
	for i := range count {
		at := pageHeader + i*elementSize
		e := b[at:]
		var kind uint32
		var pos, ksize, vsize uint64
		if flags == branchFlag {
			pos, ksize = uint64(order.Uint32(e)), uint64(order.Uint32(e[4:]))
			children = append(children, order.Uint64(e[8:]))
		} else {
			kind, pos, ksize, vsize = order.Uint32(e), uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
		}
		from := uint64(at) + pos
		if pos < elementSize || ksize == 0 || from+ksize+vsize > uint64(len(b)) || kind > 1 {
			return damagedPage(id, "has an element out of range")
		}
		keys[i] = b[from : from+ksize]
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || i == 0 && low != nil && bytes.Compare(keys[i], low) < 0 ||
			high != nil && bytes.Compare(keys[i], high) >= 0 {
			return damagedPage(id, "has keys out of order")
		}
		if kind == 1 {
			if err := c.bucket(id, b[from+ksize:from+ksize+vsize], depth); err != nil {
				return err
			}
		}
	}
	for i, child := range children {
		end := high
		if i+1 < len(children) {
			end = keys[i+1]
		}
		if err := c.tree(child, keys[i], end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) bucket(id uint64, v []byte, depth int) error {
	if len(v) < bucketHead {
		return damagedPage(id, "has a bucket cut short")
	}
	if root := order.Uint64(v); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	inline := v[bucketHead:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != leafFlag {
		return damagedPage(id, "has a bucket without a page")
	}
	return c.node(id, inline, nil, nil, depth+1)
}

// freelist checks the list of free pages, each of which must be in nobody's use.
func (c *checker) freelist() error {
	id := c.meta.freelist
	b, err := c.page(id)
	if err != nil {
		return err
	}
	if order.Uint16(b[8:]) != freelistFlag {
		return damagedPage(id, "is not a list of free pages")
	}
	count, at := uint64(order.Uint16(b[10:])), pageHeader
	if count == 0xFFFF { // the count did not fit and stands first in the list
		count, at = order.Uint64(b[at:]), at+8
	}
	if count > uint64(len(b)-at)/8 {
		return damagedPage(id, "lists more pages than it holds")
	}
	for i := range count {
		free := order.Uint64(b[uint64(at)+8*i:])
		if free < 2 || free >= c.meta.pages || c.used[free] {
			return damagedPage(free, "is free and in use, or out of range")
		}
		c.used[free] = true
	}
	return nil
}
