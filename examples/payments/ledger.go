package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.aimon.at/idempotency"
)

// ledger is the outside world: an append-only file of charges, a line of JSON each, fsynced before append returns. It does
// not know that a key is to be charged once, so whatever slips past the manager shows up as a second line.
type ledger struct {
	mu      sync.Mutex
	file    *os.File
	charges []charge
	// fences holds, for each key, the highest fence that asked or charged. An attempt with a lower one was overtaken. It
	// need not outlive the process: no attempt does.
	fences map[string]int64
	broken error // the first failure; what the file holds since then is not known until it is opened again
}

func openLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: file, fences: map[string]int64{}}
	if err := errors.Join(l.load(), syncDir(filepath.Dir(path))); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}

// load reads the charges. A last line without its end was being written when the process was killed: that charge did
// not happen and nobody was told so; it is cut off. The sync makes sure of the lines that are counted from here on.
func (l *ledger) load() error {
	data, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	for line := range bytes.Lines(whole) {
		var c charge
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("line %d: %w", len(l.charges)+1, err)
		}
		l.note(c)
	}
	if len(whole) < len(data) {
		if err := l.file.Truncate(int64(len(whole))); err != nil {
			return err
		}
	}
	return l.file.Sync()
}

func (l *ledger) note(c charge) {
	l.charges = append(l.charges, c)
	l.fences[c.Key] = max(l.fences[c.Key], c.Fence)
}

// append charges. An error means that nothing was charged, unless it is ErrOutcomeUnknown.
func (l *ledger) append(ctx context.Context, c charge) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken != nil:
		return l.broken
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.Fence < l.fences[c.Key]:
		return fmt.Errorf("ledger: a later attempt has asked: %w", idempotency.ErrLeaseLost)
	}
	_, err = l.file.Write(append(line, '\n'))
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.broken = fmt.Errorf("ledger: out of order: %w", err)
		return fmt.Errorf("ledger: %w: %w", idempotency.ErrOutcomeUnknown, err)
	}
	l.note(c)
	return nil
}

// find says whether key was charged. From then on no attempt with a lower fence charges it: without that the answer
// "not charged" could be outdated before the one who asked has acted on it.
func (l *ledger) find(key string, fence int64) (c charge, found bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return charge{}, false, l.broken
	}
	l.fences[key] = max(l.fences[key], fence)
	i := slices.IndexFunc(l.charges, func(c charge) bool { return c.Key == key })
	if i < 0 {
		return charge{}, false, nil
	}
	return l.charges[i], true, nil
}

func (l *ledger) all() []charge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]charge{}, l.charges...)
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = os.ErrClosed
	return l.file.Close()
}

// syncDir makes the name of a new file last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
