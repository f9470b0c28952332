package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// columns returns the width of the terminal that f is, 0 when it is none.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
