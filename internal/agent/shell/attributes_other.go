//go:build unix && !linux

package shell

import "syscall"

// attributes make the process lead its own group, and on a terminal its own
// session, which is hung up when the agent dies.
func attributes(terminal bool) *syscall.SysProcAttr {
	if terminal {
		return &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	return &syscall.SysProcAttr{Setpgid: true}
}
