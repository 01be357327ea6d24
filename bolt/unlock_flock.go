//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bolt

import (
	"os"
	"syscall"
)

// giveUp closes a file whose database cannot be closed. Closing alone would keep the lock, which lasts as long as the
// mapping does.
func giveUp(f *os.File) error {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return f.Close()
}
