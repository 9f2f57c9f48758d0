package e2e

import "syscall"

// attributes gives a process a group of its own, and ends it with the tests
// however they end.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
