package child

import "syscall"

// attributes put the child into a group of its own, so that the terminal's
// Ctrl-C reaches it through us, and end it when we are killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
