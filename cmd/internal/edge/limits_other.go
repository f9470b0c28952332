//go:build !linux

package edge

func freeBytes(string) (uint64, bool) { return 0, false }

func fileLimit() (uint64, bool) { return 0, false }
