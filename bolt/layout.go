package bolt

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// The layout. Everything is in one top-level bucket, the log:
//
//	id (8 bytes, growing, below 1<<63)        -> record
//	0xff "expiry"   bucket: ExpiresAt, id     -> nothing
//	0xff "format"   version and hash seed
//	0xff "index"    bucket: hash of key, id   -> nothing
//	0xff "stale"    bucket: TouchedAt, id     -> nothing, InFlight only
//
// Numbers are big endian, so that they sort. In a plain tree of many keys every claim lands on a page of its own, which
// is written with each commit, and so is the page above it. Here records are appended: the claims of a commit share a
// few pages at the right edge, where the heads of the other buckets are too (BenchmarkBoltPages counts the
// pages). The rest is derived from the records and written late:
//
//   - expiry and stale know the ids up to expiry's sequence. The tail above it, a few hundred records at most, is read
//     where they are asked, and written to them in one go. Most records are Done by then and were never in stale.
//   - index, the only one in random order, knows the ids up to its own sequence. Above that, memory knows, and the log
//     itself after a restart. It is written sorted, many pairs to a page: see recent.go. A pair whose record is gone
//     means nothing and is scrubbed away in time, so that removing records touches no random pages either.
//
// The idea is that of the log-structured merge tree (O'Neil, Cheng, Gawlick, O'Neil, 1996), with bbolt's pages as
// its only component on disk.
var (
	expiryName = []byte("\xffexpiry")
	formatName = []byte("\xffformat")
	indexName  = []byte("\xffindex")
	staleName  = []byte("\xffstale")
)

const (
	formatVersion = 1
	seedSize      = 16
)

// pair says that the record with this id may be the one of a key with this hash.
type pair struct{ hash, id uint64 }

func (p pair) key() []byte { return twoNumbers(p.hash, p.id) }

func twoNumbers(a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), a), b)
}

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), id) }

// timeKey sorts by time, then id. The sign bit is turned so that times before 1970 sort first.
func timeKey(t time.Time, id uint64) []byte { return twoNumbers(uint64(t.UnixMicro())^1<<63, id) }

func splitTimeKey(k []byte) (t time.Time, id uint64, err error) {
	if len(k) != 16 {
		return t, 0, fmt.Errorf("%w: index key of %d bytes", ErrDamaged, len(k))
	}
	at := int64(binary.BigEndian.Uint64(k) ^ 1<<63)
	return time.UnixMicro(at).UTC(), binary.BigEndian.Uint64(k[8:]), nil
}

// hash places a key in the index. The seed, random for each store, keeps clients who choose their keys from choosing
// collisions; those that happen cost a second look and no more.
func (c *core) hash(key string) uint64 {
	var buf [seedSize + 128]byte
	b := append(append(buf[:0], c.seed[:]...), key...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

// prepare loads what is recent, or creates the layout in a database without it.
func (c *core) prepare(foreign func(*bbolt.Tx) error) error {
	err := c.transact(false, func(tx *bbolt.Tx) error {
		if tx.Bucket(c.bucket) == nil {
			return errNoLayout
		}
		return c.load(tx)
	})
	if err == nil {
		c.unsure.Store(new(error)) // a process that was killed may have left what the disk does not have
		c.catchUp()
	}
	if !errors.Is(err, errNoLayout) {
		return err
	}
	return c.transact(true, func(tx *bbolt.Tx) error {
		if err := foreign(tx); err != nil {
			return err
		}
		if err := create(tx, c.bucket); err != nil {
			return err
		}
		return c.load(tx)
	})
}

var errNoLayout = errors.New("no layout")

func (c *core) transact(writable bool, fn func(tx *bbolt.Tx) error) error {
	tx, err := c.begin(writable)
	if err != nil {
		return err
	}
	defer c.end(tx)
	return guard(func() error {
		if err := fn(tx); err != nil || !writable {
			return err
		}
		return tx.Commit()
	})
}

// load checks the format and loads what memory must know.
func (c *core) load(tx *bbolt.Tx) error {
	var r reading
	if err := r.attach(c, tx); err != nil {
		return err
	}
	format := r.log.Get(formatName)
	switch {
	case len(format) != 1+seedSize:
		return fmt.Errorf("%w: its bucket was not made by this package", ErrDamaged)
	case format[0] != formatVersion:
		return fmt.Errorf("%w: format version %d, this program reads version %d", ErrDamaged, format[0], formatVersion)
	}
	copy(c.seed[:], format[1:])
	c.scrubAt = idKey(mathrand.Uint64()) // anywhere: runs too short for a full round would else never see the end
	if err := r.openAll(); err != nil {
		return err
	}
	return r.loadRecent(c)
}

func create(tx *bbolt.Tx, name []byte) error {
	top, err := tx.CreateBucket(name)
	if err != nil {
		return err
	}
	for _, sub := range [][]byte{expiryName, indexName, staleName} {
		if _, err := top.CreateBucket(sub); err != nil {
			return err
		}
	}
	format := make([]byte, 1+seedSize)
	format[0] = formatVersion
	rand.Read(format[1:])
	return top.Put(formatName, format)
}

// onlyOurs refuses a database file that has buckets, but not ours: Open was given the wrong file.
func onlyOurs(tx *bbolt.Tx) error {
	if name, _ := tx.Cursor().First(); name != nil {
		return fmt.Errorf("%w: a database of another program (New takes one that is open already)", ErrDamaged)
	}
	return nil
}

// reading is a transaction on the layout, together with what was recent when it began. Its buckets but the log are nil
// until they are opened, which is a good part of what a look at one key costs.
type reading struct {
	recent                    captured
	log, expiry, stale, index *bbolt.Bucket
}

func (r *reading) attach(c *core, tx *bbolt.Tx) error {
	if r.log = tx.Bucket(c.bucket); r.log == nil {
		return fmt.Errorf("%w: the store's bucket is gone", ErrDamaged)
	}
	return nil
}

func (r *reading) open(b **bbolt.Bucket, name []byte) error {
	if *b != nil {
		return nil
	}
	if *b = r.log.Bucket(name); *b == nil {
		return fmt.Errorf("%w: a bucket of the store is gone", ErrDamaged)
	}
	return nil
}

func (r *reading) openAll() error {
	return cmp.Or(r.open(&r.expiry, expiryName), r.open(&r.stale, staleName), r.open(&r.index, indexName))
}

// timed is the highest id that expiry and stale know.
func (r *reading) timed() uint64 { return r.expiry.Sequence() }

// entries calls fn for the records from id on, until it returns false. One that can't be read comes with its error.
func (r *reading) entries(from uint64, fn func(id uint64, rec *backend.Record, err error) bool) {
	cur := r.log.Cursor()
	for k, v := cur.Seek(idKey(from)); len(k) == 8; k, v = cur.Next() {
		rec, err := decodeRecord(v)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if !fn(binary.BigEndian.Uint64(k), &rec, err) {
			return
		}
	}
}

// get returns the record with this id; a zero one if there is none.
func (r *reading) get(id uint64) (backend.Record, error) {
	v := r.log.Get(idKey(id))
	if v == nil {
		return backend.Record{}, nil
	}
	rec, err := decodeRecord(v)
	if err != nil {
		return rec, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return rec, nil
}

// find returns the record of key, live or dead, and its id; id 0 means that there is none. A snapshot holds at most one
// record of a key, so the order of looking does not matter.
func (r *reading) find(hash uint64, key string) (id uint64, rec backend.Record, err error) {
	var room [4]uint64
	for _, id := range r.recent.ids(hash, room[:0]) {
		if rec, err := r.match(id, key); err != nil || rec.Key != "" {
			return id, rec, err
		}
	}
	if err := r.open(&r.index, indexName); err != nil {
		return 0, backend.Record{}, err
	}
	prefix := binary.BigEndian.AppendUint64(make([]byte, 0, 8), hash)
	cur := r.index.Cursor()
	for k, _ := cur.Seek(prefix); len(k) == 16 && bytes.HasPrefix(k, prefix); k, _ = cur.Next() {
		id := binary.BigEndian.Uint64(k[8:])
		if rec, err := r.match(id, key); err != nil || rec.Key != "" {
			return id, rec, err
		}
	}
	return 0, backend.Record{}, nil
}

// match returns the record with this id if it is the one of key, else a zero one.
func (r *reading) match(id uint64, key string) (backend.Record, error) {
	rec, err := r.get(id)
	if err != nil || rec.Key != key {
		return backend.Record{}, err
	}
	return rec, nil
}

// live is find for a record that counts at now; else ErrNotFound.
func (r *reading) live(hash uint64, key string, now time.Time) (backend.Record, error) {
	_, rec, err := r.find(hash, key)
	if err == nil && !rec.LiveAt(now) {
		err = idempotency.ErrNotFound
	}
	return rec, err
}

// loadRecent rebuilds what memory must know from the part of the log that index does not cover.
func (r *reading) loadRecent(c *core) error {
	var failed error
	r.entries(r.index.Sequence()+1, func(id uint64, rec *backend.Record, err error) bool {
		switch {
		case err == nil:
			c.recent.add(pair{c.hash(rec.Key), id})
		case !errors.Is(err, errRecordChecksum): // a record that is altered loses its own key, not the others
			failed = err
		}
		return failed == nil
	})
	return failed
}
