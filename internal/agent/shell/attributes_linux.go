package shell

import "syscall"

// attributes make the process lead its own group, on a terminal its own
// session, and die with the agent: the kernel sends SIGKILL when the thread
// that started it ends, and the Go runtime keeps its threads.
func attributes(terminal bool) *syscall.SysProcAttr {
	if terminal {
		return &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
