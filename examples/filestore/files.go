package filestore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Open opens the store in dir, which is made if it is not there. A file that cannot be read is an error.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("filestore: open: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("filestore: open: %w", err)
	}
	s := &Store{dir: dir, clock: backend.Clock(nil), records: make(map[string]backend.Record, len(files))}
	for _, file := range files {
		rec, err := s.read(file)
		if err != nil {
			return nil, fmt.Errorf("filestore: open: %s: %w", filepath.Base(file), err)
		}
		s.records[rec.Key] = rec
	}
	return s, nil
}

// path names the file of a key by its hash: a key may hold what a file name may not.
func (s *Store) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:])+".json")
}

func (s *Store) read(file string) (rec backend.Record, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, err
	}
	if s.path(rec.Key) != file {
		return rec, errors.New("not the file of its key")
	}
	if rec.Status == idempotency.InFlight {
		rec.Result = nil // encoding/json has made a null of it
	}
	return rec, nil
}

// write makes the file of key hold rec, or removes it where rec is zero. The rename makes it one step: a process that is
// killed leaves the old record or the new one. The two fsyncs, of the file and of the directory that names it, make it last.
func (s *Store) write(key string, rec backend.Record) error {
	if rec.Key == "" {
		if err := os.Remove(s.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return flush(s.dir)
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	draft := filepath.Join(s.dir, "draft") // one is enough: the mutex is held
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		return err
	}
	if err := flush(draft); err != nil {
		return err
	}
	if err := os.Rename(draft, s.path(key)); err != nil {
		return err
	}
	return flush(s.dir)
}

func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
