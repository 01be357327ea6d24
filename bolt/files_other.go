//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bolt

import "os"

// giveUp closes a file whose database cannot be closed.
func giveUp(f *os.File) error { return f.Close() }

// syncDir does nothing where a directory is no file.
func syncDir(string) error { return nil }
