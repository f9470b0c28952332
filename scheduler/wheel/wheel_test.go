package wheel_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

func Example() {
	w := wheel.New(1000)
	w.Add(1500, 7)
	w.Advance(1499, func([]wheel.Due) { fmt.Println("early") })
	w.Advance(1500, func(due []wheel.Due) { fmt.Println(due[0].Key, "is due") })
	// Output: 7 is due
}

// model is the wheel as a sorted slice.
type model struct {
	now     fleet.Instant
	entries []modelEntry
}

type modelEntry struct {
	at     fleet.Instant
	key    uint32
	handle wheel.Handle
}

func (m *model) advance(now fleet.Instant) (due []wheel.Due) {
	m.now = max(now, m.now)
	slices.SortStableFunc(m.entries, func(a, b modelEntry) int { return int(a.at - b.at) })
	for len(m.entries) > 0 && m.entries[0].at <= m.now {
		due = append(due, wheel.Due{At: m.entries[0].at, Key: m.entries[0].key})
		m.entries = m.entries[1:]
	}
	return due
}

// sortDue orders by time and key: entries of one millisecond come in any order.
func sortDue(d []wheel.Due) []wheel.Due {
	slices.SortFunc(d, func(a, b wheel.Due) int {
		if a.At != b.At {
			return int(a.At - b.At)
		}
		return int(a.Key) - int(b.Key)
	})
	return d
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := fleet.Instant(rapid.Int64Range(0, 1<<42).Draw(t, "start"))
		w, m := wheel.New(start), &model{now: start}
		var gone []wheel.Handle
		far := rapid.SampledFrom([]int64{3, 70, 5000, 1 << 20, 1 << 33})
		for key := range uint32(rapid.IntRange(1, 120).Draw(t, "ops")) {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 5:
				at := m.now + fleet.Instant(rapid.Int64Range(-10, far.Draw(t, "scale")).Draw(t, "in"))
				h := w.Add(at, key)
				m.entries = append(m.entries, modelEntry{max(at, m.now), key, h})
			case op < 7 && len(m.entries) > 0:
				i := rapid.IntRange(0, len(m.entries)-1).Draw(t, "cancel")
				if !w.Cancel(m.entries[i].handle) {
					t.Fatalf("Cancel(%v) = false for a live entry", m.entries[i])
				}
				gone = append(gone, m.entries[i].handle)
				m.entries = slices.Delete(m.entries, i, i+1)
			default:
				now := m.now + fleet.Instant(rapid.Int64Range(-5, far.Draw(t, "scale")).Draw(t, "by"))
				for _, e := range m.entries {
					if e.at <= now {
						gone = append(gone, e.handle)
					}
				}
				var got []wheel.Due
				last := fleet.Instant(-1)
				w.Advance(now, func(d []wheel.Due) {
					for _, x := range d {
						if x.At < last {
							t.Fatalf("%d fired after %d", x.At, last)
						}
						last = x.At
					}
					got = append(got, d...)
				})
				if want := m.advance(now); !slices.Equal(sortDue(got), sortDue(want)) {
					t.Fatalf("Advance(%d) fired %v, want %v", now, got, want)
				}
			}
			for _, h := range gone {
				if w.Cancel(h) {
					t.Fatal("a handle was cancelled twice, or after it fired")
				}
			}
			if w.Len() != len(m.entries) {
				t.Fatalf("Len = %d, want %d", w.Len(), len(m.entries))
			}
			next, ok := w.Next()
			if ok != (len(m.entries) > 0) {
				t.Fatalf("Next says %v with %d entries", ok, len(m.entries))
			}
			for _, e := range m.entries {
				if next > e.at {
					t.Fatalf("Next = %d is after an entry at %d", next, e.at)
				}
			}
		}
	})
}

func TestRearmInsideFire(t *testing.T) {
	w := wheel.New(0)
	w.Add(10, 1)
	var fired []fleet.Instant
	for now := fleet.Instant(0); now <= 100; now += 7 {
		w.Advance(now, func(d []wheel.Due) {
			for _, x := range d {
				fired = append(fired, x.At)
				w.Add(x.At+10, x.Key)
			}
		})
	}
	want := []fleet.Instant{10, 20, 30, 40, 50, 60, 70, 80, 90}
	if !slices.Equal(fired, want) {
		t.Errorf("fired at %v, want %v", fired, want)
	}
}

func TestHerd(t *testing.T) {
	w := wheel.New(0)
	const n = 100_000
	for k := range uint32(n) {
		w.Add(60_000, k)
	}
	seen := make([]bool, n)
	w.Advance(59_999, func([]wheel.Due) { t.Fatal("early") })
	w.Advance(60_000, func(d []wheel.Due) {
		for _, x := range d {
			if seen[x.Key] {
				t.Fatalf("key %d fired twice", x.Key)
			}
			seen[x.Key] = true
		}
	})
	if i := slices.Index(seen, false); i >= 0 || w.Len() != 0 {
		t.Errorf("key %d did not fire; %d entries left", i, w.Len())
	}
}

func FuzzOps(f *testing.F) {
	f.Add([]byte{1, 5, 2, 9, 3, 200})
	f.Fuzz(func(t *testing.T, ops []byte) {
		w := wheel.New(0)
		var handles []wheel.Handle
		for i := 0; i+1 < len(ops); i += 2 {
			switch v := int64(ops[i+1]); ops[i] % 4 {
			case 0:
				handles = append(handles, w.Add(w.Now()+fleet.Instant(v), uint32(i)))
			case 1:
				handles = append(handles, w.Add(w.Now()+fleet.Instant(v<<(v%40)), uint32(i)))
			case 2:
				if len(handles) > 0 {
					w.Cancel(handles[int(v)%len(handles)])
				}
			case 3:
				now := w.Now() + fleet.Instant(v*v*v)
				w.Advance(now, func(d []wheel.Due) {
					for _, x := range d {
						if x.At > now {
							t.Fatal("early")
						}
					}
				})
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	w := wheel.New(0)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		w.Add(fleet.Instant(rng.Int64N(300_000)), i)
	}
}

func BenchmarkCancel(b *testing.B) {
	w := wheel.New(0)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := uint32(0); b.Loop(); i++ {
		w.Cancel(w.Add(fleet.Instant(rng.Int64N(300_000)), i))
	}
}

// BenchmarkFire fires and files again, a million tasks each every 5 minutes.
func BenchmarkFire(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := wheel.New(0)
	const n = 1_000_000
	for i := range uint32(n) {
		w.Add(fleet.Instant(fleet.Phase(fleet.CameraID(i), 1, 300e9).Milliseconds()), i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	fires := 0
	for now := fleet.Instant(0); b.Loop(); {
		now += 10
		w.Advance(now, func(d []wheel.Due) {
			fires += len(d)
			for _, x := range d {
				w.Add(x.At+300_000, x.Key)
			}
		})
	}
	b.ReportMetric(float64(fires)/b.Elapsed().Seconds(), "fires/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/task")
}
