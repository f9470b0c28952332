// Package meter reads what a box bears from /proc: its processors' use and
// pressure, and memory. What a kernel does not tell is zero, not an error.
package meter

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Meter reads one box. Its zero value reads /proc. Its methods may be called
// at once.
type Meter struct {
	Root string // default /proc

	mu          sync.Mutex
	busy, total uint64 // of /proc/stat, at the last reading
}

// Read returns CPU, Pressure, RSS and Available; the other fields are not the
// box's. CPU is the share since the reading before, and 0 at the first.
func (m *Meter) Read() fleet.Load {
	return fleet.Load{CPU: m.cpu(), Pressure: m.pressure(), RSS: m.rss(), Available: m.available()}
}

// Boot returns which boot of the box this is, and how long ago it was, with the
// time it slept; known is false where the kernel does not tell.
func (m *Meter) Boot() (id string, up time.Duration, known bool) {
	id = strings.TrimSpace(m.file("sys", "kernel", "random", "boot_id"))
	text, _, _ := strings.Cut(m.file("uptime"), " ")
	s, err := strconv.ParseFloat(text, 64)
	if id == "" || err != nil || !(s >= 0 && s < 1e9) {
		return "", 0, false
	}
	return id, time.Duration(s * float64(time.Second)), true
}

func (m *Meter) file(name ...string) string {
	root := m.Root
	if root == "" {
		root = "/proc"
	}
	b, err := os.ReadFile(filepath.Join(append([]string{root}, name...)...))
	if err != nil {
		return ""
	}
	return string(b)
}

// cpu reads the first line of /proc/stat: user nice system idle iowait irq
// softirq steal (proc(5)); idle and iowait are rest.
func (m *Meter) cpu() float64 {
	line, _, _ := strings.Cut(m.file("stat"), "\n")
	f := strings.Fields(line)
	if len(f) < 5 || f[0] != "cpu" {
		return 0
	}
	var total, rest uint64
	for i, text := range f[1:min(len(f), 9)] {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0
		}
		total += n
		if i == 3 || i == 4 {
			rest += n
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	busy, all := total-rest-m.busy, total-m.total
	first := m.total == 0 || total < m.total || total-rest < m.busy
	m.busy, m.total = total-rest, total
	if first || all == 0 {
		return 0
	}
	return min(1, float64(busy)/float64(all))
}

// pressure reads "some avg10=1.23 avg60=... " of /proc/pressure/cpu, percent.
func (m *Meter) pressure() float64 {
	for line := range strings.Lines(m.file("pressure", "cpu")) {
		rest, ok := strings.CutPrefix(line, "some avg10=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return 0
		}
		return v / 100
	}
	return 0
}

func (m *Meter) rss() uint64 {
	f := strings.Fields(m.file("self", "statm"))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// available reads "MemAvailable:  123 kB" of /proc/meminfo.
func (m *Meter) available() uint64 {
	for line := range strings.Lines(m.file("meminfo")) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "MemAvailable:" {
			continue
		}
		kB, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return 0
		}
		return kB << 10
	}
	return 0
}
