package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func init() { backend.Register("bolt", openURL) }

// openURL opens bolt:///absolute/path or bolt:relative/path. The parameters timeout (as time.ParseDuration reads it) and
// bucket are those of WithLockTimeout and WithBucket.
func openURL(ctx context.Context, u *url.URL) (idempotency.Store, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, fail("open", err)
	}
	path := u.Path
	if u.Opaque != "" {
		var err error
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return nil, fmt.Errorf("bolt: open: %w: the path is not a URL's", idempotency.ErrInvalidOption)
		}
	}
	if u.Host != "" || u.User != nil || u.Fragment != "" || path == "" {
		return nil, fmt.Errorf("bolt: open: %w: want bolt:///path or bolt:path", idempotency.ErrInvalidOption)
	}
	var opts []Option
	for name, values := range u.Query() {
		switch name {
		case "timeout":
			d, err := time.ParseDuration(values[0])
			if err != nil {
				return nil, fmt.Errorf("bolt: open: %w: timeout: %w", idempotency.ErrInvalidOption, err)
			}
			opts = append(opts, WithLockTimeout(d))
		case "bucket":
			opts = append(opts, WithBucket(values[0]))
		default:
			return nil, fmt.Errorf("bolt: open: %w: parameter %q", idempotency.ErrInvalidOption, name)
		}
	}
	return Open(path, opts...)
}

// Open opens the store in the file at path, which is created with mode 0600 if it does not exist; its directory must. Only
// one process, and one handle in it, has the file open at a time: another waits for the lock time-out and fails.
//
// The page structure of an existing file is checked first, in time proportional to its size: a file that was cut
// short, altered, or is not a database is ErrDamaged, and so is the database of another program. Nothing is repaired.
func Open(path string, opts ...Option) (*Store, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	var file *os.File
	db, err := openDB(path, cfg.lockTimeout, &file)
	if err != nil {
		return nil, fail("open", err)
	}
	c, err := coreOf(db, cfg.bucket, onlyOurs)
	if err != nil {
		_ = closeDB(db, file, c)
		return nil, fail("open", err)
	}
	s := newStore(c, cfg)
	s.file = file
	return s, nil
}

// openDB opens the database after a look at its pages. The look happens in read-only mode, under the shared lock, so
// no writer is at work meanwhile.
func openDB(path string, timeout time.Duration, file **os.File) (db *bbolt.DB, err error) {
	options := bbolt.Options{
		Timeout:      timeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages is not written with each commit: after a sweep of many entries it would be most of what a
		// commit writes. It is rebuilt when the file is opened.
		NoFreelistSync: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			*file = f
			return f, err
		},
	}
	open := func() error {
		return guard(func() (err error) {
			db, err = bbolt.Open(path, 0o600, &options)
			return err
		})
	}
	info, err := os.Stat(path)
	fresh := err != nil || info.Size() == 0
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: not a regular file", idempotency.ErrInvalidOption)
	case err == nil && info.Size() > 0:
		options.ReadOnly = true
		if err = open(); err == nil {
			err = checkPages(*file)
			_ = db.Close()
		}
		options.ReadOnly = false
		if err != nil {
			return nil, explain(err, *file)
		}
	}
	if err = open(); err != nil {
		return nil, explain(err, *file)
	}
	if fresh { // bbolt syncs the file, but not the name by which it will be found
		if err := syncDir(filepath.Dir(path)); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	return db, nil
}

// explain names the cause of a failed opening, and closes the file that a panic has left open and locked.
func explain(err error, file *os.File) error {
	if file != nil {
		_ = giveUp(file)
	}
	var (
		path  *fs.PathError
		errno syscall.Errno
	)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("the file is in use by another process or handle: %w", err)
	case errors.Is(err, ErrDamaged), errors.As(err, &path), errors.As(err, &errno):
		return err
	default: // bbolt did not like what it read
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
}

// closeDB closes a database of our own. One that panicked may hold its own locks for ever, on which Close would wait; then
// the file alone is closed, and the mapping is left to the end of the process.
func closeDB(db *bbolt.DB, file *os.File, c *core) error {
	if c.broken.Load() {
		return giveUp(file)
	}
	return db.Close()
}

// New returns a store in a database that is open already. The store has a top-level bucket of its own (WithBucket) and
// leaves everything else alone; nobody else may write to that bucket. Any number of stores may be made for one
// bucket: they share their commits and wake each other's watchers. Close of such a store leaves the database open.
//
// New refuses a read-only database, and one with NoSync set unless AllowNoSync is given. The options of the
// database are the caller's: FreelistMapType and NoFreelistSync are what Open uses.
func New(db *bbolt.DB, opts ...Option) (*Store, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	switch {
	case db == nil:
		return nil, fmt.Errorf("bolt: new: %w: no database", idempotency.ErrInvalidOption)
	case db.IsReadOnly():
		return nil, fmt.Errorf("bolt: new: %w: the database is read-only", idempotency.ErrInvalidOption)
	case db.NoSync && !cfg.allowNoSync:
		return nil, fmt.Errorf("bolt: new: %w: the database has NoSync set and would forget acknowledged claims", idempotency.ErrInvalidOption)
	}
	c, err := coreOf(db, cfg.bucket, func(*bbolt.Tx) error { return nil })
	if err != nil {
		return nil, fail("new", err)
	}
	return newStore(c, cfg), nil
}
