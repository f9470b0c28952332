package wheel

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const interval = 300_000 // 5 min, the usual one

func filled(n int) (*Wheel, []Handle) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := New(0)
	hs := make([]Handle, n)
	for k := range hs {
		hs[k] = w.Add(fleet.Instant(1+rng.Int64N(interval)), uint32(k))
	}
	return w, hs
}

func BenchmarkAdd1M(b *testing.B) {
	b.ReportAllocs()
	adds := 0
	for b.Loop() {
		w := New(0)
		for k := range uint32(1_000_000) {
			w.Add(fleet.Instant(1+k*2654435761%interval), k)
		}
		adds += w.Len()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(adds), "ns/add")
}

func BenchmarkCancel1M(b *testing.B)  { benchCancel(b, 1_000_000) }
func BenchmarkCancel10M(b *testing.B) { benchCancel(b, 10_000_000) }

// benchCancel cancels all, in random order.
func benchCancel(b *testing.B, n int) {
	b.ReportAllocs()
	ops := 0
	for b.Loop() {
		b.StopTimer()
		w, hs := filled(n)
		rand.New(rand.NewPCG(3, 4)).Shuffle(n, func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
		b.StartTimer()
		for _, h := range hs {
			w.Cancel(h)
		}
		ops += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ops), "ns/cancel")
}

func BenchmarkRearm1M(b *testing.B)  { benchRearm(b, 1_000_000) }
func BenchmarkRearm10M(b *testing.B) { benchRearm(b, 10_000_000) }

// benchRearm advances by 1 ms ticks; each fired timer is filed again from
// inside fire.
func benchRearm(b *testing.B, n int) {
	b.ReportAllocs()
	w, _ := filled(n)
	now, fired := fleet.Instant(0), 0
	rearm := func(batch []Due) {
		fired += len(batch)
		for _, d := range batch {
			w.Add(d.At+interval, d.Key)
		}
	}
	for range interval { // into the steady state
		now++
		w.Advance(now, rearm)
	}
	fired = 0
	for b.Loop() {
		now++
		w.Advance(now, rearm)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fired), "ns/fire")
	b.ReportMetric(float64(w.Bytes())/float64(n), "B/task")
}

// BenchmarkHerd drains a million timers due at one instant.
func BenchmarkHerd(b *testing.B) {
	b.ReportAllocs()
	w := New(0)
	now := fleet.Instant(0)
	for b.Loop() {
		b.StopTimer()
		now += 60_000
		for k := range uint32(1_000_000) {
			w.Add(now, k)
		}
		b.StartTimer()
		w.Advance(now, func([]Due) {})
	}
}

// TestBytesPerTask holds the promise of at most 24 bytes for each of a million
// recurring tasks, in the steady state and by the allocator's own count.
func TestBytesPerTask(t *testing.T) {
	if testing.Short() {
		t.Skip("a million timers")
	}
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	rng := rand.New(rand.NewPCG(1, 2))
	w := New(0)
	for k := range uint32(n) {
		w.Add(fleet.Instant(1+rng.Int64N(interval)), k)
	}
	for now := fleet.Instant(0); now < interval+20_000; now += 7 {
		w.Advance(now, func(batch []Due) {
			for _, d := range batch {
				w.Add(d.At+interval, d.Key)
			}
		})
	}
	per := float64(heap()-before) / n
	t.Logf("%.1f B per task by the allocator, %.1f counted", per, float64(w.Bytes())/n)
	if per > 24 {
		t.Errorf("%.1f B per task, want at most 24", per)
	}
	runtime.KeepAlive(w)
}
