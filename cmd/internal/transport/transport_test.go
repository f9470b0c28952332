package transport

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
)

func options(t testing.TB) Options {
	t.Helper()
	dir := t.TempDir()
	s, err := seed.Write(t.Context(), dir, seed.Plan{Agents: 4})
	if err != nil {
		t.Fatal(err)
	}
	pki, err := gateway.LoadPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	return Options{PKI: pki, Roster: s.Roster, Payload: Batch(64), Window: 4}
}

var lines = map[string]func(context.Context, Options) (Line, error){"ours": Ours, "raw": Raw}

// TestLines sends on each line, twice: all that was sent is acknowledged.
func TestLines(t *testing.T) {
	o := options(t)
	for name, open := range lines {
		t.Run(name, func(t *testing.T) {
			l, err := open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if n, err := l.Run(t.Context(), 20*time.Millisecond); err != nil || n == 0 {
					t.Errorf("%d batches, %v", n, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBatch reads a batch back: its records are those of different cameras.
func TestBatch(t *testing.T) {
	cs, err := wire.ParseCaptures(Batch(64))
	if err != nil || len(cs) != 64 {
		t.Fatalf("%d records, %v", len(cs), err)
	}
	seen := map[fleet.CameraID]bool{}
	for _, c := range cs {
		if seen[c.Camera] = true; c.Outcome != fleet.Captured || c.Delay < 0 {
			t.Errorf("%+v", c)
		}
	}
	if len(seen) != 64 {
		t.Errorf("%d cameras in 64 records", len(seen))
	}
}

func BenchmarkLine(b *testing.B) {
	o := options(b)
	for name, open := range lines {
		b.Run(name, func(b *testing.B) {
			l, err := open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			var u0, u1 syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u0)
			var n uint64
			for b.Loop() {
				k, err := l.Run(b.Context(), 100*time.Millisecond)
				if err != nil {
					b.Fatal(err)
				}
				n += k
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u1)
			cpu := time.Duration(u1.Utime.Nano() + u1.Stime.Nano() - u0.Utime.Nano() - u0.Stime.Nano())
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(n), "cpu-ns/batch")
		})
	}
}
