package wheel

import (
	"cmp"
	"encoding/binary"
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

// take removes a timer that fired, and reports whether it was there.
func (m *model) take(d Due) bool {
	i, _ := slices.BinarySearchFunc(*m, d.At, func(a timer, at fleet.Instant) int { return cmp.Compare(a.due.At, at) })
	for ; i < len(*m) && (*m)[i].due.At == d.At; i++ {
		if (*m)[i].due == d {
			*m = slices.Delete(*m, i, i+1)
			return true
		}
	}
	return false
}

// distances that meet every ring, its edges, and what lies beyond.
var distances = []int64{0, 1, 2, 40, 4095, 4096, 4097, 8191, 8192, 8193, 1 << 16, 1<<23 - 1, 1 << 23, 1<<24 + 5,
	1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<33 + 7, 1<<40 - 1, 1 << 40, 1<<41 + 3, 1 << 50}

// failer is what play needs of *testing.T and *rapid.T.
type failer interface{ Fatalf(string, ...any) }

// game plays operations on a wheel and its model alike.
type game struct {
	t       failer
	w       *Wheel
	m       model
	now     int64
	key     uint32
	handles []Handle // of all ever added
}

// play runs one sequence of operations; each word says what to do. At the end
// everything left fires.
func play(t failer, start int64, ops []uint64) {
	g := &game{t: t, w: New(fleet.Instant(start)), now: start}
	for _, op := range ops {
		switch x := op >> 3; op & 7 {
		case 0, 1:
			g.add(g.now + distance(x))
		case 2: // many at a time, so that chunks fill and cancelled ones are swept
			for i := range x >> 8 & 127 {
				g.add(g.now + distance(x) + int64(i*(x>>15&3)))
			}
		case 3:
			g.add(g.now - int64(x%10000))
		case 4:
			g.cancel(x)
		case 5:
			for i := range min(x>>8&127, uint64(len(g.handles))) {
				g.cancel(x>>15 + i)
			}
		default:
			next, ok := g.w.Next()
			if ok != (len(g.m) > 0) || ok && next > max(g.m[0].due.At, fleet.Instant(g.now)) {
				t.Fatalf("Next = %v, %v, want at most %v", int64(next), ok, g.m)
			}
			if ok && x&1 == 0 && int64(next) > g.now {
				g.now = int64(next)
			} else {
				g.now += distance(x >> 1)
			}
			g.advance(x)
		}
		if g.w.Len() != len(g.m) {
			t.Fatalf("Len = %d, want %d", g.w.Len(), len(g.m))
		}
	}
	g.now += 1 << 51
	g.advance(0)
	if g.w.Len() != 0 || g.w.dead != 0 || g.w.free.n != g.w.records.used {
		t.Fatalf("%d live and %d dead left, %d of %d records free", g.w.Len(), g.w.dead, g.w.free.n, g.w.records.used)
	}
}

// distance picks one of distances, or less.
func distance(x uint64) int64 {
	d := distances[x%uint64(len(distances))]
	if d > 1 && x>>8&1 == 1 {
		d = int64(x>>9) % d
	}
	return d
}

func (g *game) add(at int64) {
	g.key++
	h := g.w.Add(fleet.Instant(at), g.key)
	g.m.add(timer{h, Due{g.key, fleet.Instant(at)}})
	g.handles = append(g.handles, h)
}

func (g *game) cancel(x uint64) {
	if len(g.handles) == 0 {
		return
	}
	h := g.handles[x%uint64(len(g.handles))]
	if got, want := g.w.Cancel(h), g.m.cancel(h); got != want {
		g.t.Fatalf("Cancel(%x) = %v, want %v", h, got, want)
	}
}

// advance moves time to g.now. What fires must wait in the model and be due,
// in order of instants but for what was late when added; nothing due may be
// left. With x&2 the first batch also adds and cancels.
func (g *game) advance(x uint64) {
	before := g.w.Now()
	last, acts := before, x&2 != 0
	g.w.Advance(fleet.Instant(g.now), func(batch []Due) {
		if len(batch) == 0 || len(batch) > maxBatch {
			g.t.Fatalf("a batch of %d", len(batch))
		}
		for _, d := range batch {
			switch {
			case !g.m.take(d):
				g.t.Fatalf("Advance(%d) fired %v, which does not wait", g.now, d)
			case int64(d.At) > g.now:
				g.t.Fatalf("Advance(%d) fired %v early", g.now, d)
			case d.At > before && d.At < last:
				g.t.Fatalf("Advance(%d) fired %v after one of %d", g.now, d, last)
			}
			last = max(last, d.At)
		}
		if acts {
			acts = false
			g.add(int64(batch[0].At) + int64(x>>2)%9000 + 1)
			g.cancel(x >> 2)
			g.cancel(x >> 7)
		}
		g.w.Advance(math.MaxInt64, func([]Due) { g.t.Fatalf("Advance inside fire fired") })
	})
	if len(g.m) > 0 && int64(g.m[0].due.At) <= g.now {
		g.t.Fatalf("Advance(%d) left %v", g.now, g.m[0].due)
	}
	if g.w.Now() != fleet.Instant(g.now) {
		g.t.Fatalf("Now = %d after Advance(%d)", g.w.Now(), g.now)
	}
}

func TestAgainstSortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-1<<45, 1<<45).Draw(t, "start")
		slow := rapid.Bool().Draw(t, "slow") // time seldom moves, so that many wait and are cancelled
		least := 1
		if slow {
			least = 100
		}
		ops := rapid.SliceOfN(rapid.Uint64(), least, 200).Draw(t, "ops")
		for i := range ops {
			ops[i] *= 0x9e3779b97f4a7c15 // rapid prefers small numbers; every bit has a meaning here
			ops[i] ^= ops[i] >> 29
			if slow && ops[i]&7 >= 6 && i%16 != 0 {
				ops[i] = ops[i]&^7 | 5 - uint64(i&1)*3
			}
		}
		play(t, start, ops)
	})
}

// FuzzWheel plays sequences of operations, four bytes each. Its corpus in
// testdata has one for each part of the wheel: rings and their edges, late and
// far timers, sweeping, and changes from inside fire.
func FuzzWheel(f *testing.F) {
	f.Fuzz(func(t *testing.T, start int64, b []byte) {
		ops := make([]uint64, 0, 256)
		for ; len(b) >= 4 && len(ops) < 256; b = b[4:] {
			ops = append(ops, uint64(binary.LittleEndian.Uint32(b)))
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

// TestFreeze: after a pause of 3 s one Advance catches up with every period of
// every timer, each once and in order, and the next tick is on time again.
func TestFreeze(t *testing.T) {
	const tasks, first, frozen = 2000, 10_000, 13_000
	every := func(key uint32) fleet.Instant { return fleet.Instant(20 + key%500) }
	w := New(0)
	for k := range uint32(tasks) {
		w.Add(every(k), k)
	}
	seen := map[Due]int{}
	last := fleet.Instant(0)
	rearm := func(batch []Due) {
		for _, d := range batch {
			if d.At < last {
				t.Fatalf("%d after %d", d.At, last)
			}
			last = d.At
			seen[d]++
			w.Add(d.At+every(d.Key), d.Key)
		}
	}
	for now := range fleet.Instant(first + 1) {
		w.Advance(now, rearm)
	}
	w.Advance(frozen, rearm)
	want := 0
	for k := range uint32(tasks) {
		for at := every(k); at <= frozen; at += every(k) {
			if want++; seen[Due{k, at}] != 1 {
				t.Fatalf("task %d of %d fired %d times", k, at, seen[Due{k, at}])
			}
		}
	}
	if len(seen) != want {
		t.Errorf("%d fires, want %d", len(seen), want)
	}
	soonest := fleet.Instant(math.MaxInt64)
	for k := range uint32(tasks) {
		soonest = min(soonest, frozen+every(k)-frozen%every(k))
	}
	if next, ok := w.Next(); !ok || next != soonest {
		t.Errorf("Next = %d, %v, want %d", next, ok, soonest)
	}
}

// TestClockSteps holds what the package comment says of a clock that steps.
func TestClockSteps(t *testing.T) {
	const hour = 3_600_000
	w := New(10 * hour)
	fired := []uint32{}
	fire := func(batch []Due) {
		for _, d := range batch {
			fired = append(fired, d.Key)
		}
	}
	expect := func(what string, want ...uint32) {
		t.Helper()
		if !slices.Equal(fired, want) {
			t.Errorf("%s: fired %v, want %v", what, fired, want)
		}
		fired = fired[:0]
	}
	w.Add(10*hour+1, 1)
	w.Add(11*hour, 2)
	w.Add(12*hour+1, 3)
	w.Advance(12*hour, fire)
	expect("two hours forward", 1, 2)
	w.Advance(11*hour, fire)
	expect("an hour back")
	if next, _ := w.Next(); w.Now() != 12*hour || next != 12*hour+1 {
		t.Errorf("after a step back it is %d, next %d", w.Now(), next)
	}
	w.Add(11*hour+5, 4)
	w.Advance(11*hour+1, fire)
	expect("added where time has been", 4)
	w.Advance(12*hour+1, fire)
	expect("the clock has come to where it was", 3)
}

// TestNoAllocations: in the steady state nothing on the way of a task
// allocates, neither with few nor with many due.
func TestNoAllocations(t *testing.T) {
	const every = 10_000
	w := New(0)
	for k := range uint32(50_000) {
		w.Add(fleet.Instant(1+k%every), k)
	}
	now := fleet.Instant(0)
	rearm := func(batch []Due) {
		for _, d := range batch {
			w.Add(d.At+every, d.Key)
		}
	}
	step := func() {
		now += 3
		w.Advance(now, rearm)
		h := w.Add(now+every/2, 1)
		if _, ok := w.Next(); !ok || !w.Cancel(h) || w.Cancel(h) {
			t.Fatal("the task just added does not wait")
		}
	}
	for now < 3*every {
		step()
	}
	if n := testing.AllocsPerRun(2*every, step); n != 0 {
		t.Errorf("%v allocations per step", n)
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

// TestFarAfterCancelled: far timers are found though all that were far before
// them were cancelled and swept, and time has passed those.
func TestFarAfterCancelled(t *testing.T) {
	const far = 1 << 41
	w := New(0)
	var hs []Handle
	for k := range uint32(5000) {
		hs = append(hs, w.Add(far+fleet.Instant(k), k))
	}
	for _, h := range hs {
		w.Cancel(h)
	}
	for w.far.n > 0 { // the last of them are swept only with more cancellations
		w.Cancel(w.Add(far, 1))
	}
	w.Advance(2*far, func([]Due) { t.Error("a cancelled timer fired") })
	w.Add(4*far, 7)
	fired := 0
	w.Advance(4*far, func(batch []Due) { fired += len(batch) })
	if fired != 1 {
		t.Errorf("%d fired, want 1", fired)
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
