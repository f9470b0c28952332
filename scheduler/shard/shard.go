// Package shard says who may run on a store.
//
//	Lock(dir) ──► held until Close, or until the process ends, however it ends
//
// Several schedulers share the work by fenced leases in a later version; one
// alone needs a lock on its directory.
package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrHeld says that another process works in the directory.
var ErrHeld = errors.New("another process works here")

// Lock is a hold on a directory.
type Lock struct{ f *os.File }

// LockDir takes the directory for this process, making it if need be. The
// kernel frees it when the process ends.
func LockDir(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrHeld
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return &Lock{f}, nil
}

// Close frees the directory.
func (l *Lock) Close() error { return l.f.Close() }
