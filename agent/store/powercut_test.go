package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// writer is a process to be cut off: it takes orders, finishes them and
// acknowledges some, and says on its output what the store called durable.
func writer() {
	s, err := store.Open(os.Getenv("SHUTTERFLEET_STORE_WRITER"), store.Options{Codec: codec, Linger: -1, Batch: 8})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	nonce, _ := s.Last()
	for n := int(nonce) * 8; ; n += 8 {
		nonce++
		next := orders(n, n+8)
		check(s.Begin(ctx, next, nonce, 1))
		fmt.Println("begun", n, n+8)
		s.Due(1<<60, 8)
		for i, o := range next[:6] { // two of eight stay held
			check(s.Finish(ctx, captured(o)))
			fmt.Println("finished", n+i)
		}
		rows, err := s.Take(ctx, 3)
		check(err)
		ids := make([]int64, 0, 3)
		for _, r := range rows {
			fmt.Println("delivered", int(r.Capture.Nominal)/1000)
			ids = append(ids, r.ID)
		}
		check(s.Ack(ctx, ids))
	}
}

func check(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// TestNothingFinishedIsLostInPowerCuts takes the power away twenty times, and
// its long form a hundred times: the store lies on an ext4 image in memory, its process is stopped at a random
// moment, and the image is copied as it is then: what the kernel had not
// written yet is lost, as in a real cut. Kill alone cannot show this. It needs
// root, mkfs.ext4 and loop devices.
func TestNothingFinishedIsLostInPowerCuts(t *testing.T) {
	cuts := 20
	if testing.Short() {
		cuts = 3
	}
	powerCuts(t, cuts)
}

func powerCuts(t *testing.T, cuts int) {
	t.Helper()
	dir := imageFolder(t)
	disk, mnt := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	must(t, os.WriteFile(disk, nil, 0o600))
	must(t, os.Truncate(disk, 24<<20))
	run(t, "mkfs.ext4", "-q", "-F", disk)
	lost, begun, finished := 0, 0, 0
	for cut := range cuts {
		must(t, os.MkdirAll(mnt, 0o700))
		run(t, "mount", "-o", "loop", disk, mnt)
		told, image := cutOff(t, filepath.Join(mnt, "agent.db"), disk, filepath.Join(dir, "cut"))
		run(t, "umount", mnt)
		if !image {
			t.Fatalf("cut %d: the writer said nothing", cut)
		}
		must(t, os.Rename(filepath.Join(dir, "cut"), disk))
		run(t, "mount", "-o", "loop", disk, mnt)
		b, f, l := audit(t, filepath.Join(mnt, "agent.db"), told)
		run(t, "umount", mnt)
		begun, finished, lost = begun+b, finished+f, lost+l
	}
	t.Logf("%d cuts: %d orders and %d outcomes were called durable, %d lost", cuts, begun, finished, lost)
	if lost > 0 || finished == 0 {
		t.Errorf("%d of %d were lost", lost, begun+finished)
	}
}

func imageFolder(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is missing: apt install e2fsprogs util-linux", p)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("mounting an image needs root")
	}
	dir, err := os.MkdirTemp("/dev/shm", "powercut")
	if err != nil {
		t.Skipf("no /dev/shm: %v", err)
	}
	t.Cleanup(func() {
		_ = exec.Command("umount", filepath.Join(dir, "mnt")).Run()
		_ = os.RemoveAll(dir)
	})
	probe := filepath.Join(dir, "probe")
	must(t, os.WriteFile(probe, nil, 0o600))
	must(t, os.Truncate(probe, 1<<20))
	run(t, "mkfs.ext4", "-q", "-F", probe)
	must(t, os.MkdirAll(filepath.Join(dir, "mnt"), 0o700))
	if out, err := exec.Command("mount", "-o", "loop", probe, filepath.Join(dir, "mnt")).CombinedOutput(); err != nil {
		t.Skipf("no loop devices here: %v: %s", err, out)
	}
	run(t, "umount", filepath.Join(dir, "mnt"))
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// cutOff lets a writer run for a random while, stops it, copies the disk as it
// is, and returns what the writer had said by then.
func cutOff(t *testing.T, db, disk, copied string) (told []string, ok bool) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SHUTTERFLEET_STORE_WRITER="+db)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string, 1<<16) // all that a writer says in its short life
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	if first, open := <-lines; open {
		told, ok = append(told, first), true
	}
	wait := time.NewTimer(time.Duration(rand.IntN(30_000)) * time.Microsecond)
	for more := ok; more; {
		select {
		case l, open := <-lines:
			told, more = append(told, l), open
		case <-wait.C:
			more = false
		}
	}
	must(t, cmd.Process.Signal(syscall.SIGSTOP))
	awaitStopped(t, cmd.Process.Pid)
	in, err := os.Open(disk)
	must(t, err)
	to, err := os.Create(copied)
	must(t, err)
	_, err = io.Copy(to, in)
	must(t, err)
	must(t, in.Close())
	must(t, to.Close())
	must(t, cmd.Process.Kill())
	for l := range lines { // what it said before it was stopped, and we had not read
		told = append(told, l)
	}
	_ = cmd.Wait()
	return told, ok
}

// awaitStopped waits until a process is stopped: the signal alone does not wait
// for a system call under way.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		must(t, err)
		if _, rest, ok := strings.Cut(string(b), ") "); ok && strings.HasPrefix(rest, "T") {
			return
		}
	}
	t.Fatal("the writer did not stop")
}

// audit opens the store after the cut and looks for all that was called durable.
func audit(t *testing.T, path string, told []string) (begun, finished, lost int) {
	t.Helper()
	s, err := store.Open(path, store.Options{Codec: codec})
	if err != nil {
		t.Fatalf("the store does not open after a cut: %v", err)
	}
	defer func() { must(t, s.Close()) }()
	have := make(map[int]bool)
	delivered := make(map[int]bool)
	for _, l := range told {
		var n int
		if _, err := fmt.Sscanf(l, "delivered %d", &n); err == nil {
			delivered[n] = true
		}
		if strings.HasPrefix(l, "error") {
			t.Fatal(l)
		}
	}
	rows, err := s.Take(t.Context(), 1<<20)
	must(t, err)
	for _, r := range rows {
		have[int(r.Capture.Nominal)/1000] = true
	}
	held, _ := s.Due(1<<60, 1<<20)
	inHand := make(map[int]bool)
	for _, o := range held {
		inHand[int(o.Nominal)/1000] = true
	}
	for _, l := range told {
		var a, b int
		if _, err := fmt.Sscanf(l, "finished %d", &a); err == nil {
			finished++
			if !have[a] && !delivered[a] {
				t.Errorf("outcome %d was durable and is lost", a)
				lost++
			}
		}
		if _, err := fmt.Sscanf(l, "begun %d %d", &a, &b); err == nil {
			begun += b - a
			for n := a; n < b; n++ {
				if !have[n] && !delivered[n] && !inHand[n] {
					t.Errorf("order %d was durable and is lost", n)
					lost++
				}
			}
		}
	}
	// The next writer begins with a clean table, where the last one's nonce ends.
	for _, o := range held {
		must(t, s.Finish(t.Context(), fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Missed, Cause: fleet.CauseDeadline}))
	}
	for {
		rows, err := s.Take(t.Context(), 1<<20)
		must(t, err)
		ids := make([]int64, len(rows))
		for i, r := range rows {
			ids[i] = r.ID
		}
		must(t, s.Ack(t.Context(), ids))
		if len(rows) == 0 {
			break
		}
	}
	return begun, finished, lost
}
