//go:build !linux

package worker

// limit does nothing where a running child's limits cannot be set.
func limit(int, uint64) {}
