package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestDiskFull: while the disk is full, orders are taken and outcomes go out
// from memory up to its bound; beyond it they are failed(storage); once there
// is room all of it is durable without anyone's help.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "agent.db")
	ctx := t.Context()
	s := open(t, path, store.Options{MemoryLimit: 10})
	must(t, s.Begin(ctx, orders(0, 20), 1, 1))
	ballast := fill(t, dir)

	if err := s.Begin(ctx, orders(20, 25), 2, 1); err == nil {
		t.Fatal("Begin called orders durable on a full disk")
	}
	if s.Fault() == nil {
		t.Error("Fault is nil on a full disk")
	}
	if err := s.Begin(ctx, orders(100, 120), 3, 1); err == nil {
		t.Error("Begin took more orders than memory may hold")
	}
	due, _ := s.Due(1<<60, 100)
	if len(due) != 25 {
		t.Fatalf("%d orders are due, want the 20 before the disk was full and 5 after", len(due))
	}
	for _, o := range due {
		if err := s.Finish(ctx, captured(o)); err == nil {
			t.Error("Finish called an outcome durable on a full disk")
		}
	}
	rows, err := s.Take(ctx, 100)
	must(t, err)
	counts := make(map[fleet.Outcome]int)
	for _, r := range rows {
		counts[r.Capture.Outcome]++
		if r.Capture.Outcome == fleet.Failed && r.Capture.Cause != fleet.CauseStorage {
			t.Errorf("%v: failed(%v)", r.Capture.Occurrence, r.Capture.Cause)
		}
	}
	if counts[fleet.Captured] != 10 || counts[fleet.Failed] != 15 {
		t.Errorf("outcomes %v, want 10 captured in memory and 15 failed", counts)
	}
	must(t, s.Ack(ctx, []int64{rows[0].ID, rows[1].ID})) // the line works without a disk

	must(t, os.Remove(ballast))
	must(t, s.Sync(ctx))
	if err := s.Fault(); err != nil {
		t.Errorf("Fault = %v with room on the disk", err)
	}
	must(t, s.Close())
	s = open(t, path, store.Options{})
	if held, _, pending := s.Counts(); held != 0 || pending != 23 {
		t.Errorf("after a restart %d orders held and %d outcomes pending, want 0 and 23", held, pending)
	}
	if n, _ := s.Last(); n != 2 {
		t.Errorf("the highest nonce is %d, want 2", n)
	}
}

// smallDisk mounts a file system of 1 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "small", dir).CombinedOutput(); err != nil {
		t.Skipf("no small disk: %v: %s", err, out)
	}
	t.Cleanup(func() { run(t, "umount", "-l", dir) })
	return dir
}

// fill takes all room there is.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	return name
}
