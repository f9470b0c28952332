//go:build !linux

package camtest

func reusePort(int) error { return nil }
