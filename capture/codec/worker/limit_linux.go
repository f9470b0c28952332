package worker

import "golang.org/x/sys/unix"

// limit bounds the address space of a process that was just started. No core
// file is written either: it would hold a picture.
func limit(pid int, memory uint64) error {
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil {
		return err
	}
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: memory, Max: memory}, nil)
}
