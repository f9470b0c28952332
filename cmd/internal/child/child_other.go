//go:build !linux

package child

import "syscall"

// attributes: elsewhere the child notices its parent's death by the end of its
// standard input, if it looks.
func attributes() *syscall.SysProcAttr { return nil }
