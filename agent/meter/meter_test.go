package meter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/meter"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func Example() {
	m := meter.Meter{Root: "/nowhere"} // a kernel that tells nothing
	fmt.Println(m.Read() == fleet.Load{})
	// Output: true
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	write(t, root, "stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n")
	write(t, root, "pressure/cpu", "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0 avg300=0 total=0\n")
	write(t, root, "self/statm", "5000 1000 10 1 0 1 0\n")
	write(t, root, "meminfo", "MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n")
	m := &meter.Meter{Root: root}
	want := fleet.Load{Pressure: 0.125, RSS: 1000 * uint64(os.Getpagesize()), Available: 1 << 20}
	if got := m.Read(); got != want {
		t.Errorf("Read = %+v, want %+v", got, want)
	}
	write(t, root, "stat", "cpu  130 0 60 840 70 0 0 0 0 0\n") // 40 of 100 ticks
	want.CPU = 0.4
	if got := m.Read(); got != want {
		t.Errorf("Read = %+v, want %+v", got, want)
	}
	write(t, root, "stat", "cpu  1 0 0 1 0 0 0 0\n") // counters went back
	want.CPU = 0
	if got := m.Read(); got != want {
		t.Errorf("Read = %+v, want %+v", got, want)
	}
}

func TestBoot(t *testing.T) {
	root := t.TempDir()
	m := &meter.Meter{Root: root}
	if _, _, known := m.Boot(); known {
		t.Error("a boot is known where nothing tells")
	}
	write(t, root, "sys/kernel/random/boot_id", "0b6f\n")
	write(t, root, "uptime", "350735.47 234388.90\n")
	if id, up, known := m.Boot(); id != "0b6f" || up != 350735470*time.Millisecond || !known {
		t.Errorf("Boot = %q, %v, %v", id, up, known)
	}
}

// FuzzRead: whatever the files hold, shares stay shares.
func FuzzRead(f *testing.F) {
	f.Add("cpu  100 0 50 800 50", "some avg10=12.50 ", "5000 1000", "MemAvailable: 1 kB")
	f.Fuzz(func(t *testing.T, stat, psi, statm, mem string) {
		root := t.TempDir()
		m := &meter.Meter{Root: root}
		write(t, root, "stat", "cpu  0 0 0 1 0")
		m.Read()
		write(t, root, "stat", stat)
		write(t, root, "pressure/cpu", psi)
		write(t, root, "self/statm", statm)
		write(t, root, "meminfo", mem)
		if l := m.Read(); !(l.CPU >= 0 && l.CPU <= 1) || !(l.Pressure >= 0 && l.Pressure <= 1) {
			t.Errorf("Read = %+v", l)
		}
	})
}
