package worker

import (
	"syscall"
	"unsafe"
)

// limit bounds a child's address space and its files. A child that has ended
// already needs none.
func limit(pid int, memory uint64) {
	const rlimitAS, rlimitFsize = 9, 1
	set := func(what uintptr, most uint64) {
		r := syscall.Rlimit{Cur: most, Max: most}
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), what, uintptr(unsafe.Pointer(&r)), 0, 0, 0)
	}
	set(rlimitAS, memory)
	set(rlimitFsize, 0)
}
