package shard_test

import (
	"errors"
	"testing"

	"github.com/shutterfleet/shutterfleet/scheduler/shard"
)

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	l, err := shard.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shard.LockDir(dir); !errors.Is(err, shard.ErrHeld) {
		t.Errorf("second lock: %v, want ErrHeld", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = shard.LockDir(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
