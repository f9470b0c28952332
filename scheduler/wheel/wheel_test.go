package wheel

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// model is the wheel as a sorted slice.
type model []timer

type timer struct {
	h   Handle
	due Due
}

func (m *model) add(t timer) {
	i, _ := slices.BinarySearchFunc(*m, t, func(a, b timer) int { return cmp.Compare(a.due.At, b.due.At) })
	*m = slices.Insert(*m, i, t)
}

func (m *model) cancel(h Handle) bool {
	n := len(*m)
	*m = slices.DeleteFunc(*m, func(t timer) bool { return t.h == h })
	return len(*m) < n
}

func (m *model) advance(now fleet.Instant) (due []Due) {
	for len(*m) > 0 && (*m)[0].due.At <= now {
		due = append(due, (*m)[0].due)
		*m = (*m)[1:]
	}
	return due
}

func byKey(a, b Due) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key)) }

// distances that meet every ring, its edges, and what lies beyond.
var distances = []int64{0, 1, 2, 40, 4095, 4096, 4097, 8191, 8192, 8193, 1 << 16, 1<<23 - 1, 1 << 23, 1<<24 + 5,
	1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<33 + 7, 1<<40 - 1, 1 << 40, 1<<41 + 3, 1 << 50}

// play runs one sequence of operations on wheel and model; each word of ops
// says what to do.
func play(t interface{ Fatalf(string, ...any) }, start int64, ops []uint64) {
	w := New(fleet.Instant(start))
	var m model
	now, key := start, uint32(0)
	var handles []Handle
	pick := func(x uint64) int64 {
		d := distances[x%uint64(len(distances))]
		if d > 1 && x>>8&1 == 1 {
			d = int64(x>>9) % d
		}
		return d
	}
	add := func(at int64) {
		key++
		h := w.Add(fleet.Instant(at), key)
		m.add(timer{h, Due{key, fleet.Instant(at)}})
		handles = append(handles, h)
	}
	for _, op := range ops {
		switch x := op >> 3; op & 7 {
		case 0, 1, 2:
			add(now + pick(x))
		case 3:
			add(now - int64(x%10000))
		case 4, 5:
			if len(handles) > 0 {
				h := handles[x%uint64(len(handles))]
				if got, want := w.Cancel(h), m.cancel(h); got != want {
					t.Fatalf("Cancel(%x) = %v, want %v", h, got, want)
				}
			}
		default:
			if next, ok := w.Next(); ok != (len(m) > 0) || ok && next > max(m[0].due.At, fleet.Instant(now)) {
				t.Fatalf("Next = %v, %v, want at most %v", int64(next), ok, m)
			} else if ok && x&1 == 0 && int64(next) > now {
				now = int64(next)
			} else {
				now += pick(x >> 1)
			}
			advance(t, w, &m, now, add, x)
		}
		if w.Len() != len(m) {
			t.Fatalf("Len = %d, want %d", w.Len(), len(m))
		}
	}
	now += 1 << 51
	advance(t, w, &m, now, add, 0)
	if w.Len() != 0 || w.dead != 0 {
		t.Fatalf("%d live and %d dead left", w.Len(), w.dead)
	}
}

// advance compares one Advance; with x&2 the first batch also re-arms.
func advance(t interface{ Fatalf(string, ...any) }, w *Wheel, m *model, now int64, add func(int64), x uint64) {
	var got []Due
	rearm := x&2 != 0
	w.Advance(fleet.Instant(now), func(batch []Due) {
		if len(batch) == 0 || len(batch) > maxBatch {
			t.Fatalf("a batch of %d", len(batch))
		}
		got = append(got, batch...)
		if rearm {
			rearm = false
			add(int64(batch[0].At) + int64(x>>2)%9000 + 1)
		}
		w.Advance(math.MaxInt64, func([]Due) { t.Fatalf("Advance inside fire fired") })
	})
	want := m.advance(fleet.Instant(now))
	slices.SortFunc(got, byKey)
	slices.SortFunc(want, byKey)
	if !slices.Equal(got, want) {
		t.Fatalf("Advance(%d) fired %v, want %v", now, got, want)
	}
}

func TestAgainstSortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-1<<45, 1<<45).Draw(t, "start")
		play(t, start, rapid.SliceOfN(rapid.Uint64(), 1, 400).Draw(t, "ops"))
	})
}

func FuzzOperations(f *testing.F) {
	f.Add(int64(0), []byte("add add cancel advance"))
	f.Add(int64(1767225600000), []byte{0, 7, 255, 1, 4, 6, 6, 3, 9, 15, 23, 31})
	f.Fuzz(func(t *testing.T, start int64, b []byte) {
		ops := make([]uint64, 0, len(b)/3)
		for ; len(b) >= 3; b = b[3:] {
			ops = append(ops, uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16)
		}
		play(t, start>>16, ops)
	})
}

// TestOrderAndExactness checks a dense fleet: fired in order of instants, at the exact
// tick, through every cascade.
func TestOrderAndExactness(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := New(0)
	const n = 20000
	for k := range uint32(n) {
		w.Add(fleet.Instant(1+rng.Int64N(300_000)), k)
	}
	fired := 0
	for range 3 * 300_000 {
		next, ok := w.Next()
		if !ok || next > 900_000 {
			break
		}
		last := fleet.Instant(0)
		w.Advance(next, func(batch []Due) {
			for _, d := range batch {
				if d.At != next || d.At < last {
					t.Fatalf("due at %d fired at %d after %d", d.At, next, last)
				}
				last = d.At
				fired++
				w.Add(d.At+300_000, d.Key)
			}
		})
	}
	if w.Len() != n || fired < 2*n {
		t.Errorf("%d timers, %d fired", w.Len(), fired)
	}
}

// TestFreeze: after a long pause one Advance catches up with every period of
// every timer, in order.
func TestFreeze(t *testing.T) {
	w := New(0)
	for k := range uint32(100) {
		w.Add(fleet.Instant(k+1), k)
	}
	fired, last := 0, fleet.Instant(0)
	w.Advance(3000, func(batch []Due) {
		for _, d := range batch {
			if d.At < last {
				t.Fatalf("%d after %d", d.At, last)
			}
			last = d.At
			fired++
			w.Add(d.At+100, d.Key)
		}
	})
	if fired != 3000 {
		t.Errorf("%d fired, want 3000", fired)
	}
}

// TestCancelledAreReclaimed: adding and cancelling for ever keeps memory
// bounded though time stands still, in the rings and beyond them.
func TestCancelledAreReclaimed(t *testing.T) {
	for _, d := range []int64{5_000, 60_000, 1 << 25, 1 << 45} {
		w := New(0)
		for k := range uint32(1000) {
			w.Add(fleet.Instant(d+int64(k)), k)
		}
		for k := range uint32(200_000) {
			if !w.Cancel(w.Add(fleet.Instant(d+int64(k%977)), k)) {
				t.Fatal("not cancelled")
			}
		}
		if w.dead > 4000 || w.Len() != 1000 || w.records.used > 6000 {
			t.Errorf("distance %d: %d dead, %d live, %d records", d, w.dead, w.Len(), w.records.used)
		}
	}
}

func TestStaleHandles(t *testing.T) {
	w := New(0)
	old := w.Add(5, 1)
	w.Advance(10, func([]Due) {})
	again := w.Add(15, 2)
	if w.Cancel(old) || w.Cancel(0) || w.Cancel(math.MaxUint64) {
		t.Error("a stale handle cancelled something")
	}
	if uint32(old) != uint32(again) {
		t.Error("the record was not taken again; the test shows nothing")
	}
	if !w.Cancel(again) || w.Cancel(again) || w.Len() != 0 {
		t.Error("a living handle must cancel once")
	}
}
