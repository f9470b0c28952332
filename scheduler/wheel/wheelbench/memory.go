package wheelbench

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// heap returns the bytes of living objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// resident returns a line of /proc/self/status in bytes (VmRSS, VmHWM:
// proc_pid_status(5)); false where there is no such file.
func resident(line string) (float64, bool) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, after, ok := strings.Cut(string(b), line+":")
	kb := 0.0
	if !ok {
		return 0, false
	}
	if _, err := fmt.Sscan(after, &kb); err != nil {
		return 0, false
	}
	return kb * 1024, true
}

// settle gives back what is free, so that growth is seen.
func settle() { debug.FreeOSMemory() }

// resetPeak makes VmHWM begin anew (proc_pid_clear_refs(5)); false where the
// system does not let us.
func resetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200) == nil
}
