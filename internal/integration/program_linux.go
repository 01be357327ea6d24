package integration

import (
	"errors"
	"syscall"
)

// attributes of a process of its own group, which a terminal's Ctrl-C does not reach, and which gets the signal death from
// the kernel when this process dies.
func attributes(as *owner, death syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
	if as != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	return attr
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
